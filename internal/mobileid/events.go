package mobileid

import (
	"fmt"
	"log/slog"
	"time"
)

// The ce_type of each event on the inner topics.
const (
	TypeChallengeRequested    = "mobileid.challenge.requested.v1"
	TypeResendRequested       = "mobileid.challenge.resend.requested.v1"
	TypeNotificationRequested = "mobileid.notification.requested.v1"
	TypeMessageQueued         = "mobileid.message.queued.v1"
	TypeStatusChanged         = "mobileid.status.changed.v1"
	TypeBalanceChanged        = "mobileid.balance.changed.v1"
)

// The ce_type of each command on in.<client>: the value is the body of the
// HTTP request of that name, the ce_id is the Idempotency-Key.
const (
	TypeChallengeCommand    = "mobileid.challenge.create.v1"
	TypeNotificationCommand = "mobileid.notification.create.v1"
	TypeBalanceCommand      = "mobileid.balance.event.v1"
)

// The ce_type of each answer on out.<client>, beside TypeStatusChanged: what
// became of a record of in.<client>.
const (
	TypeRequestAccepted = "mobileid.request.accepted.v1"
	TypeRequestRefused  = "mobileid.request.refused.v1"
)

// Locale is a language of the texts: a BCP 47 tag.
type Locale string

// The locales of the catalogue.
const (
	LocaleUzLatn Locale = "uz-Latn"
	LocaleRu     Locale = "ru"
	LocaleEn     Locale = "en"
)

// ChallengeRequested asks for a one-time code (topic otp.requests). The person
// is a pseudonym: the PINFL stays at the edge.
type ChallengeRequested struct {
	ID          ID        `json:"id"`
	Client      string    `json:"client"`
	Person      string    `json:"person"` // Pseudonym.String
	Purpose     string    `json:"purpose"`
	Locale      Locale    `json:"locale"`
	Presence    Presence  `json:"presence,omitempty"`     // "" is PresenceNone
	ContextHash string    `json:"context_hash,omitempty"` // SHA-256 of the client's context, lower-case hex
	ClientRef   string    `json:"client_ref,omitempty"`
	BodyHash    string    `json:"body_hash"` // IDKey.BodyHash of the canonical request
	Deadline    time.Time `json:"deadline"`  // read later than this, it ends expired, unsent
}

// ResendRequested asks for the next code of a challenge (topic otp.requests). ID
// names the request, so that it is done once; of two the younger counts.
type ResendRequested struct {
	ID        ID        `json:"id"`
	Challenge ID        `json:"challenge"`
	Client    string    `json:"client"`
	Person    string    `json:"person"`
	Deadline  time.Time `json:"deadline"` // read later than this, nothing is sent
}

// NotificationRequested asks to tell a person something (topic
// notification.requests). Slots are typed values of the catalogue, never free
// text and never personal data.
type NotificationRequested struct {
	ID        ID                `json:"id"` // of the Message
	Client    string            `json:"client"`
	Person    string            `json:"person"`
	TextID    string            `json:"text_id"`
	Slots     map[string]string `json:"slots,omitempty"`
	Locale    Locale            `json:"locale"`
	ClientRef string            `json:"client_ref,omitempty"`
	BodyHash  string            `json:"body_hash"`
	Deadline  time.Time         `json:"deadline"`
}

// BalanceChanged is one thing that an operator tells of a subscriber's prepaid
// account (topic balance.events).
type BalanceChanged struct {
	Source   string      `json:"source"` // SourceOfOperator
	Seq      string      `json:"seq"`    // the operator's name for it: told again, nothing changes
	Operator string      `json:"operator"`
	Number   string      `json:"number"` // Pseudonym.String
	Kind     BalanceKind `json:"kind"`
	Amount   Money       `json:"amount"` // tiyin; 0 with barred and unbarred
	At       time.Time   `json:"at"`     // by the operator's clock
}

// LaneRecord is a record of a lane: the id of a Message, nothing else.
type LaneRecord struct {
	ID ID `json:"id"`
}

// StatusChanged tells a state of a Message or a challenge (topics
// message.status and out.<client>). Versions of one subject only grow: a
// reader ignores an event whose version is not above the one it has.
type StatusChanged struct {
	ID        ID        `json:"id"`                 // challenge or Message
	Challenge ID        `json:"challenge,omitzero"` // of a Message that carries a code
	Client    string    `json:"client"`
	State     string    `json:"state"`
	Reason    string    `json:"reason,omitempty"`
	Version   int64     `json:"version"`
	Terminal  bool      `json:"terminal"`
	At        time.Time `json:"at"`
}

// RequestAccepted answers a record of in.<client>.
type RequestAccepted struct {
	RequestKey string `json:"request_key"` // ce_id of the record
	ID         ID     `json:"id"`
}

// RequestRefused answers a record of in.<client> that was not accepted; the
// fields are those of the HTTP problem (RFC 9457).
type RequestRefused struct {
	RequestKey string `json:"request_key"`
	Status     int    `json:"status"`
	Code       string `json:"code"`
	Field      string `json:"field,omitempty"`
	Detail     string `json:"detail"`
	Retryable  bool   `json:"retryable"`
	RetryAfter int    `json:"retry_after_seconds,omitempty"`
}

// SealedText is what the sealed column of a Message opens to.
type SealedText struct {
	To   string `json:"to"`   // E.164 digits without plus
	Text string `json:"text"` // as rendered, before the charset is chosen
}

const maskSealed = "SealedText(hidden)"

// String returns the mask.
func (SealedText) String() string { return maskSealed }

// Format prints the mask for every verb. Encoding to JSON stays clear: the
// JSON is what gets sealed.
func (SealedText) Format(f fmt.State, _ rune) { writeMask(f, maskSealed) }

// LogValue gives slog the mask.
func (SealedText) LogValue() slog.Value { return slog.StringValue(maskSealed) }

// Event is a record of any topic: the CloudEvents 1.0 attributes of binary
// mode and the JSON value.
type Event struct {
	ID          string // ce_id
	Type        string // ce_type
	Source      string // ce_source
	Subject     string // ce_subject
	Time        time.Time
	TraceParent string // W3C trace context, "" if none
	Key         string // record key
	Value       []byte // JSON
}

// Format prints what the event is, for every verb, and never its value: that
// of an in.<client> record holds a PINFL.
func (e Event) Format(f fmt.State, _ rune) {
	writeMask(f, "Event("+e.Type+" "+e.ID+")")
}

// LogValue gives slog the same.
func (e Event) LogValue() slog.Value {
	return slog.GroupValue(slog.String("ce_type", e.Type), slog.String("ce_id", e.ID), slog.String("ce_subject", e.Subject))
}
