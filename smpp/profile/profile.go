package profile

import (
	"time"

	"mobileid/internal/mobileid"
	"mobileid/internal/sms"
)

// Profile is one operator. operator.sample.yaml is the manual of its fields;
// the comments here say what the code makes of them.
type Profile struct {
	ID       string
	Enabled  bool // false: nothing is written, and what waits ends at its deadline
	Account  Account
	Binds    []Bind
	Timers   Timers
	Pace     Pace
	Senders  []Sender
	Dest     Dest
	Text     Text
	Validity Validity
	IDs      IDs
	Statuses Statuses // the common table with the operator's own rows laid over
	Receipts Receipts
	Charging Charging
}

// Account is who we are at the operator. All its binds share it, and its pace.
type Account struct {
	SystemID   string // 1 to 15 characters (SMPP 3.4, 5.2.1)
	Password   string // at most 8 characters (5.2.2)
	SystemType string // at most 12 characters (5.2.3)
}

// BindType is what a bind carries.
type BindType string

// The types of binds (SMPP 3.4, 4.1).
const (
	Transceiver BindType = "transceiver"
	Transmitter BindType = "transmitter"
	Receiver    BindType = "receiver"
)

// Carries reports whether submit_sm may be written on such a bind.
func (t BindType) Carries() bool { return t == Transceiver || t == Transmitter }

// Bind is one connection that is kept.
type Bind struct {
	Name   string   `yaml:"name"` // within the operator: logs, metrics, `mobileid links`
	Type   BindType `yaml:"type"`
	Hosts  []string `yaml:"hosts"`  // host:port; the next one is tried when one fails
	Window int      `yaml:"window"` // unanswered submit_sm at once, as the operator allows; at least 1
	TLS    TLS      `yaml:"tls"`
}

// TLS is how a bind's connection is secured.
type TLS struct {
	Enabled    bool   `yaml:"enabled"`
	CAFile     string `yaml:"ca_file"`     // PEM; "": the system's authorities
	ServerName string `yaml:"server_name"` // "": the host dialled
	CertFile   string `yaml:"cert_file"`   // PEM; with KeyFile, when the operator asks for ours
	KeyFile    string `yaml:"key_file"`
}

// Timers are those of SMPP 3.4, 7.2 and of the connection. All are above zero.
type Timers struct {
	Dial         time.Duration `yaml:"dial"`
	Bind         time.Duration `yaml:"bind"`          // for the bind's answer
	Response     time.Duration `yaml:"response"`      // for any other answer; then the outcome is unknown
	Write        time.Duration `yaml:"write"`         // for one write; then the peer is half open
	EnquireLink  time.Duration `yaml:"enquire_link"`  // of silence, then enquire_link is sent
	Inactivity   time.Duration `yaml:"inactivity"`    // without a submit_sm or receipt, then the bind is renewed; 0: never
	ReconnectMin time.Duration `yaml:"reconnect_min"` // doubling with jitter up to
	ReconnectMax time.Duration `yaml:"reconnect_max"`
	Refused      time.Duration `yaml:"refused"` // after wrong credentials: quick retries lock accounts
}

// Pace is how fast the operator takes submit_sm, over all binds and bridges.
type Pace struct {
	Rate     int  `yaml:"rate"`     // submit_sm a second; 0: unknown, it is looked for
	Burst    int  `yaml:"burst"`    // at once; at least 1
	Adaptive bool `yaml:"adaptive"` // slow down when throttled; false: the rate never changes by itself
}

// Sender is the source address for a kind of Message.
type Sender struct {
	Kind        string `yaml:"kind"` // first word of the text id, for example otp or notice; "": every other kind
	Addr        string `yaml:"addr"` // 1 to 20 characters (SMPP 3.4, 5.2.8)
	TON         uint8  `yaml:"ton"`
	NPI         uint8  `yaml:"npi"`
	ServiceType string `yaml:"service_type"` // at most 5 characters (5.2.11)
	Free        bool   `yaml:"free"`         // the operator does not debit the subscriber for what it sends
}

// Duplicates is what an operator who debits by himself does with an SMS that was
// written twice, because its first answer never came.
type Duplicates string

// What operators do with duplicates.
const (
	DuplicatesDebited  Duplicates = "debited"  // both are paid for: nothing is written twice
	DuplicatesFree     Duplicates = "free"     // the second is not debited
	DuplicatesRefunded Duplicates = "refunded" // both are, and reconciliation gives one back
)

// Charging is how subscribers pay for Messages to the operator.
type Charging struct {
	By         mobileid.Charging `yaml:"by"`         // ledger, diameter or operator
	Duplicates Duplicates        `yaml:"duplicates"` // with operator
	Timeout    time.Duration     `yaml:"timeout"`    // with diameter: for one answer
	AtOnce     int               `yaml:"at_once"`    // with diameter: Messages that are asked about at once
}

// OneSend reports whether no Message may be written twice, not even a code in
// doubt.
func (c Charging) OneSend() bool {
	return c.By == mobileid.ChargingOperator && c.Duplicates == DuplicatesDebited
}

// Dest is the form of destination_addr, which is 998 and nine digits.
type Dest struct {
	TON uint8 `yaml:"ton"`
	NPI uint8 `yaml:"npi"`
}

// Text is how texts are written.
type Text struct {
	Charset   sms.Charset `yaml:"charset"`
	Parts     sms.Style   `yaml:"parts"`
	Reference bool        `yaml:"reference"` // user_message_reference with each
}

// Options are those of internal/sms.
func (t Text) Options() sms.Options { return sms.Options{Charset: t.Charset, Style: t.Parts} }

// Sender returns the source address for a text id.
func (p Profile) Sender(textID string) Sender {
	kind := mobileid.TextKind(textID)
	var other Sender
	for _, s := range p.Senders {
		switch s.Kind {
		case kind:
			return s
		case "":
			other = s
		}
	}
	return other
}

// Windows is the sum of the windows of the binds that carry submit_sm.
func (p Profile) Windows() int {
	n := 0
	for _, b := range p.Binds {
		if b.Type.Carries() {
			n += b.Window
		}
	}
	return n
}
