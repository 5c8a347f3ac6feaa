package profile

import "time"

// Class is what is done about a command_status that answers a submit_sm.
type Class string

// The classes.
const (
	ClassPace      Class = "pace"      // too fast: the same Message again when the pace allows, no try counted
	ClassRetry     Class = "retry"     // not now: again later
	ClassPermanent Class = "permanent" // final for this Message
	ClassConfig    Class = "config"    // final for this Message, and our settings are wrong: alarm
	ClassSession   Class = "session"   // trouble of the bind: it is renewed, and the Message written again
	ClassBalance   Class = "balance"   // the subscriber cannot pay: final
	ClassUnknown   Class = "unknown"   // the operator may have taken it: in doubt
)

// Classes lists them.
func Classes() []Class {
	return []Class{ClassPace, ClassRetry, ClassPermanent, ClassConfig, ClassSession, ClassBalance, ClassUnknown}
}

// StatusRule is what one command_status means.
type StatusRule struct {
	Name  string // for people, for example RSYSERR
	Class Class
	After time.Duration // of ClassRetry: how much later, doubling with each try
	Tries int           // of ClassRetry: how many more at most, then permanent; 0: until the Message's deadline
}

// Statuses is the table of an operator by command_status. ESME_ROK is not in it.
type Statuses map[uint32]StatusRule

// Rule returns the rule for a status. One that has none is permanent, because
// what nobody knows must not be sent again and again; mapped is false then, for
// the caller to count it.
func (s Statuses) Rule(status uint32) (rule StatusRule, mapped bool) {
	if r, ok := s[status]; ok {
		return r, true
	}
	return StatusRule{Class: ClassPermanent}, false
}
