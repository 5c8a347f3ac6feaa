package mobileid

import "time"

// Answer is yes, no or unknown; the last is no refusal.
type Answer string

// The answers.
const (
	AnswerYes     Answer = "yes"
	AnswerNo      Answer = "no"
	AnswerUnknown Answer = "unknown"
)

// AnswerOf is yes or no.
func AnswerOf(yes bool) Answer {
	if yes {
		return AnswerYes
	}
	return AnswerNo
}

// PersonQuestion is what a client asks of a person (decree clause 29, item 2).
type PersonQuestion struct {
	Client    string
	Person    Pseudonym
	Number    *Pseudonym // whether this is his; nil: not asked
	ClientRef string
}

// PersonAnswer is what is known.
type PersonAnswer struct {
	Bound  Answer // he has an active binding
	Number Answer // it is of that number; "" when it was not asked
	SMS    Answer // SMS to it are not suspended
	At     time.Time
}
