package mobileid

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"log/slog"
	"time"
)

// TypeInboundReceived is the ce_type on sms.inbound.
const TypeInboundReceived = "mobileid.inbound.received.v1"

// InboundID names a message that a subscriber sent to us: random, because it
// has no name that an operator would repeat.
type InboundID [16]byte

// NewInboundID makes one.
func NewInboundID() (id InboundID) {
	_, _ = rand.Read(id[:]) // never fails (crypto/rand)
	return id
}

// String prints 32 hex digits.
func (id InboundID) String() string { return hex.EncodeToString(id[:]) }

// Fingerprint is the same for the same message from the same number, whenever
// and over whatever link it came: SMPP gives it no name, and an operator that
// missed our answer sends it again. It is keyed (Opener.Fingerprint). The zero value
// says that there is none.
type Fingerprint [16]byte

// String prints 32 hex digits, or nothing for none.
func (p Fingerprint) String() string {
	if p == (Fingerprint{}) {
		return ""
	}
	return hex.EncodeToString(p[:])
}

// InboundMessage is a message from a subscriber, or a part of one: parts are
// kept as they come, and whoever reads them puts them together.
type InboundMessage struct {
	ID          InboundID
	Operator    string
	Account     string    // the operator account, "operator/system_id"
	Number      Pseudonym // who sent it; zero: not a number of this country
	Part        InboundPart
	Fingerprint Fingerprint
	Sealed      []byte // SealedInbound to the bridge's key, with the id as associated data
	At          time.Time
}

// InboundPart is the place of a part in its text. The zero value says that the
// text came whole.
type InboundPart struct {
	Reference int `json:"reference"` // the same in all parts of a text of one number
	Total     int `json:"total"`
	Number    int `json:"number"` // from 1
}

// InboundReceived tells that a subscriber sent something (topic sms.inbound).
type InboundReceived struct {
	ID          string      `json:"id"`
	Version     int64       `json:"version"` // always 1: it does not change
	Operator    string      `json:"operator"`
	Number      string      `json:"number,omitempty"` // Pseudonym.String
	Part        InboundPart `json:"part,omitzero"`
	Fingerprint string      `json:"fingerprint,omitempty"` // Fingerprint.String
	ReceivedAt  time.Time   `json:"received_at"`
	Sealed      []byte      `json:"sealed"`
}

// SealedInbound is what the sealed field of an inbound message opens to.
type SealedInbound struct {
	From       string `json:"from"` // as the operator wrote them
	To         string `json:"to"`
	DataCoding byte   `json:"data_coding"` // SMPP 3.4, 5.2.19; 0: the operator's own alphabet
	Octets     []byte `json:"octets"`      // of the text, without a user data header
}

const maskInbound = "SealedInbound(hidden)"

// String returns the mask.
func (SealedInbound) String() string { return maskInbound }

// Format prints the mask for every verb. Encoding to JSON stays clear: the
// JSON is what gets sealed.
func (SealedInbound) Format(f fmt.State, _ rune) { writeMask(f, maskInbound) }

// LogValue gives slog the mask.
func (SealedInbound) LogValue() slog.Value { return slog.StringValue(maskInbound) }

// UnreadReceipt is a receipt that the bridge could not read, kept for somebody
// who can.
type UnreadReceipt struct {
	Account string
	Why     string // malformed, unparseable
	Sealed  []byte // the PDU, cut at 4096 octets, to the key of the dead letters, with the account as associated data
	At      time.Time
}
