package mobileid

import (
	"slices"
	"time"
)

// Scope is a right of a client.
type Scope string

// The scopes.
const (
	ScopeChallenges    Scope = "challenges"      // ask for codes, verify them, read their state
	ScopeNotifications Scope = "notifications"   // ask to tell a person something
	ScopeChargesRead   Scope = "charges:read"    // read what any person was charged, and why
	ScopeChargesWrite  Scope = "charges:write"   // set the ceiling of any person's day
	ScopeBalance       Scope = "balance:write"   // tell of the prepaid accounts at Client.Operator
	ScopeStatements    Scope = "statements:read" // read what Client.Operator is owed for a day
)

// Scopes is the closed list.
func Scopes() []Scope {
	return []Scope{ScopeChallenges, ScopeNotifications, ScopeChargesRead, ScopeChargesWrite, ScopeBalance, ScopeStatements}
}

// Disclosure is what a client may learn about a person.
type Disclosure string

// The disclosures.
const (
	DisclosureFull  Disclosure = "full"  // sees the truth
	DisclosureBlind Disclosure = "blind" // cannot tell bound from unbound
)

// Mode keeps trial clients away from operators.
type Mode string

// The modes.
const (
	ModeLive Mode = "live"
	ModeTest Mode = "test"
)

// Client is a relying party's account with us.
type Client struct {
	ID         string
	Scopes     []Scope
	Purposes   []string // purposes it may ask codes for
	Disclosure Disclosure
	Mode       Mode
	Quota      Quota
	Operator   string // for which it speaks: whose accounts it may tell of, whose statements it may read; "" = none
	Kafka      bool   // has in.<client> and out.<client>
	Principal  string // Kafka principal of its topics, for example "User:oneid"
}

// Quota bounds a client's requests: Rate in a Per, Burst at once.
type Quota struct {
	Rate  int
	Per   time.Duration
	Burst int
}

// Has reports whether the client holds the scope.
func (c Client) Has(s Scope) bool { return slices.Contains(c.Scopes, s) }

// May reports whether the client may ask codes for the purpose.
func (c Client) May(purpose string) bool { return slices.Contains(c.Purposes, purpose) }

// Purpose is why a code is asked (decree clause 29).
type Purpose struct {
	ID     string
	TextID string        // in the catalogue of texts
	Life   time.Duration // of the code, from issue
	Digits int           // length of the code
	Tries  int           // wrong codes after which the challenge is dead

	// Enrollment marks a purpose that only an enrollment may ask codes for; what is
	// counted of persons and numbers says nothing of it (decree clauses 16, 25).
	Enrollment bool
}
