// Package reconcile reads an operator's daily file and decides which of its
// lines belongs to which Message in doubt.
//
// Its promise: no line settles two Messages and no Message is settled twice;
// the order of the lines changes nothing; what is not certain is left to a
// person. A file with one mistake is wrong as a whole, and each mistake is told
// with its line. What the operator debited is compared with what we have posted
// (Judge), and each difference has one name. Nothing here reads a database;
// docs/reconciliation.md is the contract for operators.
package reconcile

import (
	"time"

	"mobileid/internal/mobileid"
)

// Line is one row of a file, in our words.
type Line struct {
	No        int // in the file, from 1
	Submitted time.Time
	Done      time.Time // zero: not told
	Dest      mobileid.Pseudonym
	Masked    string // the number, for a person
	ID        string // the operator's message id, normalised; "": not told
	Reference int    // echoed user_message_reference; NoReference: not told
	State     mobileid.MessageState
	Reason    string // of State, when it does not say it all
	Stat, Err string // as written
	Parts     int    // how many parts the line stands for
	Priced    bool   // the file says what the operator debited for it
	Charged   mobileid.Money
}

// NoReference is the Reference of a line that has none.
const NoReference = -1

// At is when the operator says it happened.
func (l *Line) At() time.Time {
	if l.Done.IsZero() {
		return l.Submitted
	}
	return l.Done
}

// Message is one that may have lines in the file that no answer accounts for.
type Message struct {
	ID          mobileid.ID
	Dest        mobileid.Pseudonym
	From, Until time.Time // it was written, if at all, between these
	ValidUntil  time.Time // the operator tries no longer than this
	State       mobileid.MessageState
	Version     int32    // of State
	IDs         []string // operator ids of its answered parts
	Missing     []int    // its parts that no answer is known of, ascending
	Tries       int      // how often it may have been written
	Told        bool     // the file has a line of it that adds nothing
	Open        bool     // may be settled; others only explain lines
	Uncharged   bool     // nothing is posted for it
	Undecided   bool     // nobody knows yet whether it is to be paid
}

// Reference is the 16-bit number that a Message carries as
// user_message_reference.
func Reference(id mobileid.ID) int { return int(id[7])<<8 | int(id[8]) }
