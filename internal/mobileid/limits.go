package mobileid

import "time"

// CodeRule bounds codes: Most at once, then evenly Most in a Per.
type CodeRule struct {
	Most int
	Per  time.Duration
}

// CodeLimits says how many codes there may be, over all clients.
type CodeLimits struct {
	Person []CodeRule // to one person
	Absent []CodeRule // and more of him whom nobody has seen (PresenceNone)
	Number []CodeRule // to one number
}

// CodeAsk is a code that somebody asks for.
type CodeAsk struct {
	ID       ID // of the request
	Person   Pseudonym
	Number   Pseudonym // zero: no number is known
	Presence Presence
}

// Presence is how the person takes part, as the relying party says.
type Presence string

// The presences.
const (
	PresenceSession     Presence = "session"      // he is signed in with the relying party
	PresenceFirstFactor Presence = "first_factor" // he has shown something else of his: a password, a card
	PresenceNone        Presence = "none"         // anybody may have typed his PINFL
)

// Valid reports whether p is in the list.
func (p Presence) Valid() bool {
	return p == PresenceSession || p == PresenceFirstFactor || p == PresenceNone
}
