package consumers

import (
	"context"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"mobileid/internal/mobileid"
)

// NotificationDeps are the ports of the handler of notification.requests. All
// but Now, Log and Reg are required.
type NotificationDeps struct {
	Registry  NotificationRegistry
	Texts     Texts
	Sealer    Sealer // to the bridge's public key
	Lanes     Lanes
	Operators map[string]Operator // by id, those that have a file; a Message goes to no other that a number has moved to
	Now       func() time.Time
	Log       *slog.Logger
	Reg       prometheus.Registerer
}

type notificationRequests struct {
	NotificationDeps
	compose composer
	clocks  skew
}

// NewNotificationRequests handles mobileid.notification.requests: for a bound
// person it renders and seals the text, stores the Message, and puts its id on
// the operator's bulk lane. A request past its deadline and a person without a
// binding are stored without a Message, and the registry ends them. A text
// that does not render (the edge checks it) parks the record.
func NewNotificationRequests(d NotificationDeps) Handler {
	d.Now = clock(d.Now)
	return &notificationRequests{d, composer{d.Sealer, d.Texts, newCarrier(d.Operators, d.Log, d.Reg)}, newSkew(d.Now, d.Reg)}
}

// Handle stores and publishes the good records of the batch, then answers with
// the error of the first bad one, if any.
func (h *notificationRequests) Handle(ctx context.Context, recs []*Record) error {
	list, bad := readAllRequests(recs, mobileid.TypeNotificationRequested, h.clocks,
		func(r mobileid.NotificationRequested) (mobileid.ID, string) { return r.ID, r.Person })
	if len(list) == 0 {
		return bad
	}
	bindings, err := h.Registry.ActiveBindings(ctx, personsOf(list))
	if err != nil {
		return err
	}
	good := list[:0:0]
	var stored []mobileid.NewNotification
	for _, r := range list {
		n, err := h.notification(r, bindings)
		switch {
		case err == nil:
			good, stored = append(good, r), append(stored, n)
		case mobileid.KindOf(err).Retryable():
			return err
		default:
			bad = err
		}
	}
	if len(good) == 0 {
		return bad
	}
	items, err := h.Registry.QueueNotifications(ctx, stored)
	if err != nil {
		return err
	}
	if err := publishThenFinish(ctx, h.Lanes, items, good); err != nil {
		return err
	}
	return bad
}

func (h *notificationRequests) notification(r request[mobileid.NotificationRequested], bindings map[mobileid.Pseudonym]mobileid.Binding) (mobileid.NewNotification, error) {
	n := mobileid.NewNotification{Request: r.value, Person: r.person, Source: r.rec.Ref}
	b, bound := bindings[r.person]
	if !bound || h.Now().After(r.value.Deadline) {
		return n, nil
	}
	text, err := h.Texts.Render(r.value.TextID, localeOf(r.value.Locale, b), r.value.Slots)
	if err != nil {
		return n, err
	}
	n.Message, err = h.compose.message(mobileid.NewMessage{
		ID:       r.value.ID,
		Client:   r.value.Client,
		Lane:     mobileid.LaneBulk,
		TextID:   r.value.TextID,
		Deadline: r.value.Deadline,
	}, b, text)
	return n, err
}
