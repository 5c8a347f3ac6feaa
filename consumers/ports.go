package consumers

import (
	"context"
	"time"

	"mobileid/internal/mobileid"
)

// ChallengeRegistry is what otp.requests needs of the record of truth.
type ChallengeRegistry interface {
	// Known returns the active bindings of those persons who have one, and which
	// of those challenges are stored already.
	Known(ctx context.Context, persons []mobileid.Pseudonym, challenges []mobileid.ID) (
		bound map[mobileid.Pseudonym]mobileid.Binding, stored map[mobileid.ID]bool, err error)
	// IssueChallenges stores challenges and their Messages in one transaction
	// and returns the ids to put on lanes: new ones, and ones that came again
	// while their Message is still queued. For what is stored already nothing
	// changes: the first nonce and text stay, and it needs no new ones.
	IssueChallenges(ctx context.Context, list []mobileid.NewChallenge) ([]mobileid.LaneItem, error)
	// SentChallenges returns what is stored of those challenges that are.
	SentChallenges(ctx context.Context, ids []mobileid.ID) (map[mobileid.ID]mobileid.SentChallenge, error)
	// Resend stores a challenge's next code and its Message, once, and returns the id
	// to put on a lane, if there is one.
	Resend(ctx context.Context, n *mobileid.NewSend) (item mobileid.LaneItem, ok bool, err error)
}

// NotificationRegistry is what notification.requests needs of it.
type NotificationRegistry interface {
	// ActiveBindings returns the active bindings of those persons who have one.
	ActiveBindings(ctx context.Context, persons []mobileid.Pseudonym) (map[mobileid.Pseudonym]mobileid.Binding, error)
	// QueueNotifications is IssueChallenges for notifications.
	QueueNotifications(ctx context.Context, list []mobileid.NewNotification) ([]mobileid.LaneItem, error)
}

// BalanceRegistry is what balance.events needs of it.
type BalanceRegistry interface {
	// Tell stores what an operator tells of an account. (Source, Seq) names it: told
	// again, nothing changes, and told otherwise it is KindConflict. A number without
	// an account at that operator is KindNotFound.
	Tell(ctx context.Context, n mobileid.BalanceNews) error
}

// Codes makes codes. Each call makes another code under another nonce; which
// one is live is decided by the row that stores the nonce.
type Codes interface {
	Issue(ctx context.Context, id mobileid.ID, digits int, life time.Duration, tries int) (mobileid.IssuedCode, error)
}

// Limits bound how many codes persons and numbers get, over all clients.
type Limits interface {
	// Take takes one code for a request, once; wait > 0: there is none, until then.
	Take(ctx context.Context, ask mobileid.CodeAsk) (wait time.Duration, err error)
}

// SIMs say whether the SIM of a number was changed lately.
type SIMs interface {
	// Check answers within a budget of its own; whatever is no answer is unknown.
	Check(ctx context.Context, q mobileid.SIMQuestion) mobileid.SIMCheck
}

// Texts is the catalogue of texts.
type Texts interface {
	// Payer returns the system's account that pays for a text; "" is the subscriber.
	Payer(textID string) string
	Render(textID string, locale mobileid.Locale, slots map[string]string) (mobileid.Text, error)
}

// Lanes puts ids of Messages on their lanes; *Publisher does. What is left does
// not hold its record: the row of the Message is stored, and the sweeper puts
// queued ones on their lane again.
type Lanes interface {
	PublishLane(ctx context.Context, items []mobileid.LaneItem) (left map[mobileid.ID]bool, err error)
}

// EventPublisher writes events; *Publisher does.
type EventPublisher interface {
	Publish(ctx context.Context, topic string, events ...mobileid.Event) error
}

// Accepter is the edge's accepting of a request, without HTTP: scopes, limits,
// validation, id, idempotency, publish. key is the Idempotency-Key and body
// the JSON of the HTTP request of that name.
type Accepter interface {
	AcceptChallenge(ctx context.Context, client mobileid.Client, key string, body []byte) (mobileid.Accepted, error)
	AcceptNotification(ctx context.Context, client mobileid.Client, key string, body []byte) (mobileid.Accepted, error)
	AcceptBalance(ctx context.Context, client mobileid.Client, key string, body []byte) (mobileid.Accepted, error)
}
