package registry

import (
	"encoding/binary"
	"slices"
	"time"

	"mobileid/internal/mobileid"
)

// orphan is a receipt whose answer never came: who waited for it has died, or
// the link was lost.
type orphan struct {
	row       int64 // of receipts_unmatched
	receipt   mobileid.Receipt
	operator  string // of its account
	reference *int32 // user_message_reference, null where the operator does not echo it
}

// doubt is a Message that went in doubt at some time.
type doubt struct {
	id       mobileid.ID
	operator string
	dest     mobileid.Pseudonym
	since    time.Time // admitted first
	parts    int
	resends  int
	answered []int32 // parts that have an operator's id
}

// reference is the 16-bit number that the bridge writes into submit_sm: a part
// of the id (SMPP 3.4, 5.3.2.17).
func (d *doubt) reference() int32 { return int32(binary.BigEndian.Uint16(d.id[7:9])) }

// mayBeOf reports whether a receipt may be of the Message.
func (o *orphan) mayBeOf(d *doubt) bool {
	at := o.receipt.At
	return o.operator == d.operator && o.receipt.Dest == d.dest &&
		at.After(d.since.Add(-clockSkew)) && at.Before(d.since.Add(receiptWindow)) &&
		(o.reference == nil || *o.reference == d.reference())
}

// adoption gives an orphan to a part of a Message.
type adoption struct {
	orphan *orphan
	doubt  *doubt
	part   int32
}

// adopt finds the Messages that orphans belong to, in the order in which they
// came. One belongs to a Message when it can be of no other that went in doubt:
// same operator, same number, in its time, and with its reference where that is
// echoed. Where two fit it is left alone: an operator's daily file tells more
// (package reconcile).
//
// A text of one part may have been written twice, and each receipt of either is
// its own. Which part a receipt of a longer text is of cannot be told and makes
// no difference, as long as each part was written once: the Message is delivered
// when all are. So it takes the next part that has no answer, and a longer text
// that was written again none.
func adopt(orphans []orphan, doubts []doubt) []adoption {
	var out []adoption
	for i := range orphans {
		o := &orphans[i]
		var found *doubt
		candidates := 0
		for j := range doubts {
			if o.mayBeOf(&doubts[j]) {
				candidates++
				found = &doubts[j]
			}
		}
		if candidates != 1 {
			continue
		}
		if part, ok := found.place(); ok {
			out = append(out, adoption{o, found, part})
		}
	}
	return out
}

// place returns the part that the next receipt of the Message is of, and takes
// it.
func (d *doubt) place() (part int32, ok bool) {
	if d.parts == 1 {
		return 1, true
	}
	if d.resends > 0 {
		return 0, false
	}
	for part := int32(1); part <= int32(d.parts); part++ {
		if !slices.Contains(d.answered, part) {
			d.answered = append(d.answered, part)
			return part, true
		}
	}
	return 0, false
}
