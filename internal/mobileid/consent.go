package mobileid

import "time"

// Warning is a text that is shown before a person agrees, and what of it a consent
// has to store.
type Warning struct {
	TextID  string
	Version int // of the text
	Locale  Locale
	Text    string // nothing personal
	Price   Money  // shown in it
	Unit    string // that the price is of: message or part
}

// Consent is that a person agreed to be charged for SMS (decree clauses 12, 22),
// before anything was taken of him.
type Consent struct {
	Person   Pseudonym
	Number   Pseudonym // that SMS will go to
	Operator string    // whose price was shown
	Kind     string    // of the texts whose price it was; "" = the common one
	Warning  Warning
	TariffID int64  // the version that the price is of
	By       string // who showed it: an employee's id, or "app"
	At       time.Time
}
