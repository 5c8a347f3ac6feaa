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
	ScopeVerifications Scope = "verifications"   // ask whether a person is bound, and with which number
	ScopeStepUp        Scope = "step_up:write"   // say that a person has shown his face
	ScopeBalance       Scope = "balance:write"   // tell of the prepaid accounts at Client.Operator
	ScopeStatements    Scope = "statements:read" // read what Client.Operator is owed for a day
)

// Scopes is the closed list.
func Scopes() []Scope {
	return []Scope{ScopeChallenges, ScopeNotifications, ScopeChargesRead, ScopeChargesWrite, ScopeBalance, ScopeStatements, ScopeVerifications, ScopeStepUp}
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
	Services   []Service
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

// Service returns the service that a request names, or the only one of a client that
// names none; ok = false: it has several and none is named, or no such one. A client
// without services has one ordinary service without a name.
func (c Client) Service(id string) (s Service, ok bool) {
	switch {
	case id == "" && len(c.Services) == 0:
		return Service{Class: ServiceOrdinary}, true
	case id == "" && len(c.Services) == 1:
		return c.Services[0], true
	}
	for _, s := range c.Services {
		if s.ID == id {
			return s, true
		}
	}
	return Service{}, false
}

// Purpose is why a code is asked.
type Purpose struct {
	ID     string
	Use    Use
	Basis  string        // the act that it rests on
	TextID string        // in the catalogue of texts
	Life   time.Duration // of the code, from issue
	Digits int           // length of the code
	Tries  int           // wrong codes after which the challenge is dead

	SIMMaxAge  time.Duration // no code within so many whole hours of a change of the SIM; 0 = nobody is asked
	SIMUnknown SIMUnknownIs  // what follows when nobody says; "" is allow
}

// SIMUnknownIs says what follows when nobody says whether a SIM was changed.
type SIMUnknownIs string

// What may follow.
const (
	SIMUnknownAllow  SIMUnknownIs = "allow"   // the code is sent, and the receipt says that it was unknown
	SIMUnknownStepUp SIMUnknownIs = "step_up" // a code is not enough
)

// Use is what a purpose is for: an item of decree clause 29, or an enrollment.
type Use string

// The uses.
const (
	UseSignIn      Use = "sign_in"     // item 1
	UseVerify      Use = "verify"      // item 2
	UseApplication Use = "application" // item 3: confirm an application
	UsePermission  Use = "permission"  // item 4: permit access to personal data
	UseOther       Use = "other"       // item 5: by an act that Basis names
	UseEnrollment  Use = "enrollment"  // clauses 16 and 25: only an enrollment asks for it
)

// Uses is the closed list.
func Uses() []Use {
	return []Use{UseSignIn, UseVerify, UseApplication, UsePermission, UseOther, UseEnrollment}
}

// Enrollment reports whether only an enrollment may ask codes for the purpose. What is
// counted of persons and numbers says nothing of those codes: there is no refusal
// outside the closed lists (clauses 16, 18, 25, 27).
func (p Purpose) Enrollment() bool { return p.Use == UseEnrollment }

// Service is what a relying party offers, for which it asks codes.
type Service struct {
	ID    string
	Class ServiceClass
}

// ServiceClass says what kind of service it is.
type ServiceClass string

// The classes. Financial services in the field of lending are excluded from Mobile-ID
// altogether (decree item 1-b and clause 3).
const (
	ServiceOrdinary ServiceClass = "ordinary"
	ServiceLending  ServiceClass = "lending"
)
