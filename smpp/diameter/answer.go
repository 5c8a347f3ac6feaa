package diameter

import (
	"errors"
	"fmt"
)

// Answer is what the charging system says of a Message.
type Answer int

// The answers. Of Unknown and UnknownHold nobody knows whether something is
// reserved: the same Request may be asked again.
const (
	Unknown     Answer = iota // the caller decides
	UnknownHold               // unknown, and the failure handling in force allows nothing on credit
	Yes                       // 2001: reserved, or debited
	No                        // 4012, or less was granted than the Message needs: the money does not suffice
	Free                      // 4011: costs nothing, nothing is to be settled
	Denied                    // 4010: the service is denied to the subscriber
	NoUser                    // 5030: the charging system does not know the subscriber
)

// String names an answer: a metric label.
func (a Answer) String() string {
	switch a {
	case UnknownHold:
		return "unknown_hold"
	case Yes:
		return "yes"
	case No:
		return "no"
	case Free:
		return "free"
	case Denied:
		return "denied"
	case NoUser:
		return "no_user"
	case Unknown:
	}
	return "unknown"
}

// Reason says how a Result came to be: a closed list.
type Reason string

// The reasons.
const (
	Answered   Reason = "answered"    // Code decided
	Partly     Reason = "partly"      // less was granted than asked for; that is given back
	Exists     Reason = "exists"      // what was sent again was refused: the first may have been taken
	Busy       Reason = "busy"        // each peer said that it did not process it (3002, 3004, 3005)
	Silent     Reason = "silent"      // no answer within Tx, or within the context
	LinkLost   Reason = "link_lost"   // the connection ended, or became suspect, before the answer
	NoPeer     Reason = "no_peer"     // nothing was sent: no peer is connected
	NoPlace    Reason = "no_place"    // nothing was sent: the window stayed full until the context ended
	Unreadable Reason = "unreadable"  // an answer without a Result-Code, or that breaks the protocol
	HeldByPeer Reason = "its_peer"    // the session is with a peer that is away, and may not move
	BadRequest Reason = "bad_request" // nothing was sent: no id, number or units
)

// Result is an answer and how it came: what metrics, logs and an explanation to
// a person need. Nothing in it is personal.
type Result struct {
	Answer Answer
	Reason Reason
	Code   uint32 // Result-Code, or Experimental-Result-Code, that decided; 0: none came
	Vendor uint32 // of an Experimental-Result-Code
	Peer   string // that answered, or was asked last; "": none
	Resent bool   // what it was asked was marked as sent again
}

// Error is a settlement or refund that is not known to be done. It may be asked
// for again, unless it is ErrNoSession.
type Error struct{ Result }

func (e *Error) Error() string {
	switch {
	case e.Reason == BadRequest:
		return "charging: a request without an id, number or units, or with more units than the Message has"
	case e.Code != 0:
		return fmt.Sprintf("charging: %s says %d (%s): ask again later, or look into the operator's record", e.Peer, e.Code, e.Reason)
	default:
		return fmt.Sprintf("charging: no answer (%s): ask again later", e.Reason)
	}
}

// Is finds ErrNoSession.
func (e *Error) Is(target error) bool { return target == ErrNoSession && e.Code == unknownSession }

// ErrNoSession is a settlement of used units whose session the charging system
// does not know (5002): it has lapsed, or was settled by a request whose answer
// was lost. To ask again changes nothing; reconciliation tells which it was.
var ErrNoSession = errors.New("charging: the session is not known (5002): leave it to reconciliation")

// Result codes that mean something here.
const (
	success          = 2001
	limitedSuccess   = 2002
	unableToDeliver  = 3002
	tooBusy          = 3004
	loopDetected     = 3005
	endUserDenied    = 4010 // DIAMETER_END_USER_SERVICE_DENIED
	notApplicable    = 4011 // DIAMETER_CREDIT_CONTROL_NOT_APPLICABLE
	limitReached     = 4012 // DIAMETER_CREDIT_LIMIT_REACHED
	unknownSession   = 5002 // DIAMETER_UNKNOWN_SESSION_ID
	unknownSubscr    = 5030 // DIAMETER_USER_UNKNOWN
	ratingFailed     = 5031 // DIAMETER_RATING_FAILED
	unsupported      = 3001 // DIAMETER_COMMAND_UNSUPPORTED
	firstPermanent   = 5000
	oneAboveOfResult = 6000
)

// succeeded are the codes of success.
func succeeded(code uint32) bool { return code == success || code == limitedSuccess }

// untouched are the codes that say that nobody processed the request, and that
// another peer may: "temporary" errors of RFC 8506 (7).
func untouched(code uint32) bool {
	return code == unableToDeliver || code == tooBusy || code == loopDetected
}

// judge reads the answer to a reservation or debit. resent: it was marked as sent
// again, so what came first may have been processed.
//
// RFC 8506 has a server answer a replay from its record, and some do not: they
// find the session there already and refuse (CGRateS by 5030, others by 5012).
// The RFC's own codes of credit control, 4010 to 4012, are of the money and stand;
// of all others only 5030 means a refusal, and not then.
func (r *reply) judge(units int, resent bool) (Answer, Reason) {
	switch code := r.decides(); {
	case code == 0:
		return Unknown, Unreadable
	case r.vendor != 0:
		return Unknown, Answered
	case succeeded(code) && r.hasGranted && r.granted < uint64(units):
		return No, Partly
	case succeeded(code):
		return Yes, Answered
	case code == limitReached:
		return No, Answered
	case code == endUserDenied:
		return Denied, Answered
	case code == notApplicable:
		return Free, Answered
	case code == unknownSubscr && !resent:
		return NoUser, Answered
	case untouched(code):
		return Unknown, Busy
	case resent && code >= firstPermanent && code < oneAboveOfResult:
		return Unknown, Exists
	}
	return Unknown, Answered
}
