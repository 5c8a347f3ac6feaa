package gateway

import (
	"context"
	"time"

	"mobileid/internal/mobileid"
)

// Registry is what the edge reads and the transactions it makes (verify, and a
// person's ceiling).
type Registry interface {
	// Challenge returns KindNotFound when there is no row of that client.
	Challenge(ctx context.Context, client string, id mobileid.ID) (mobileid.ChallengeView, error)
	// Message returns KindNotFound when there is no row of that client.
	Message(ctx context.Context, client string, id mobileid.ID) (mobileid.MessageView, error)
	// LiveChallenge returns KindNotFound when there is no row of that client.
	LiveChallenge(ctx context.Context, client string, id mobileid.ID) (mobileid.LiveChallenge, error)
	// CountWrongTry counts a wrong code for good and returns how many tries of its
	// challenge are used: all, when the person may try no more today. A code of an
	// enrollment is exempt from that.
	CountWrongTry(ctx context.Context, id mobileid.ID, exempt bool) (used int, err error)
	// EndChallenge ends a pending challenge; no-op when it has ended already.
	EndChallenge(ctx context.Context, id mobileid.ID, state mobileid.ChallengeState, reason string) error
	// CancelChallenge ends a challenge, or leaves word for whoever will store it, and
	// returns the state that it is in now.
	CancelChallenge(ctx context.Context, client string, id mobileid.ID) (mobileid.ChallengeState, error)
	// Confirm is the one insert that makes a right code a Confirmation.
	Confirm(ctx context.Context, client string, id mobileid.ID, verifyKey mobileid.KeyPart,
		contextHash string) (mobileid.Confirmation, error)
	// Confirmation returns KindNotFound when there is no row of that client.
	Confirmation(ctx context.Context, client string, id mobileid.ID) (mobileid.Confirmation, error)
	// AskPerson answers what is known of a person, and keeps who asked.
	AskPerson(ctx context.Context, q mobileid.PersonQuestion) (mobileid.PersonAnswer, error)
	// StepUp stores that a person has shown himself otherwise than by a code.
	StepUp(ctx context.Context, person mobileid.Pseudonym, client, method string) error
	// PersonStatement returns a page of a person's Charges, newest first. Of a person
	// that nobody knows it is empty.
	PersonStatement(ctx context.Context, q mobileid.StatementQuery) (mobileid.PersonStatement, error)
	// OperatorDay returns what an operator is owed for the day in Asia/Tashkent that at
	// is in. A day without transfers has no lines.
	OperatorDay(ctx context.Context, operator string, at time.Time) (mobileid.OperatorDay, error)
	// SetDailyCeiling bounds what a person's Messages may cost him a day; nil: nothing
	// does. KindConflict, code "unbound", when no account pays for him.
	SetDailyCeiling(ctx context.Context, person mobileid.Pseudonym, ceiling *mobileid.Money) (mobileid.SubscriberView, error)
}

// Codes compares a code with the live one.
type Codes interface {
	Verify(ctx context.Context, id mobileid.ID, nonce string, code mobileid.Code) (
		result mobileid.CodeResult, left int, err error)
}

// Counted gives back what was taken of the limits of a person and a number for codes
// that turned out right.
type Counted interface {
	GiveBack(ctx context.Context, ask mobileid.CodeAsk) error
}

// Publisher writes to Kafka with acks=all. An error is of KindUnavailable when
// surely nothing was written; any other error counts as "perhaps written".
type Publisher interface {
	Publish(ctx context.Context, topic string, events ...mobileid.Event) error
}

// Quotas spends one request of a client's quota; retryAfter > 0 is a refusal.
type Quotas interface {
	Spend(ctx context.Context, client mobileid.Client) (retryAfter time.Duration, err error)
}

// Keys remembers (client, Idempotency-Key) for 24 hours.
type Keys interface {
	// Claim stores id and bodyHash unless the key is taken, and returns what is
	// stored now.
	Claim(ctx context.Context, client string, part mobileid.KeyPart, id mobileid.ID, bodyHash string) (
		stored mobileid.ID, hash string, err error)
	// Find looks at a key without taking it: a repeated request is recognised
	// before the quota is spent.
	Find(ctx context.Context, client string, part mobileid.KeyPart) (
		stored mobileid.ID, hash string, found bool, err error)
}

// Texts checks a notification against the catalogue.
type Texts interface {
	Check(textID string, locale mobileid.Locale, slots map[string]string) error
}

// WaiterSet tells a long poll that something about an id changed.
type WaiterSet interface {
	// Wait registers; the channel gets a value after each change until cancel.
	Wait(id mobileid.ID) (changed <-chan struct{}, cancel func())
}

// Check is one condition of readiness.
type Check struct {
	Name  string // shown at /readyz
	Check func(ctx context.Context) error
	Part  bool // of what another check is about: it is shown, and does not decide
}
