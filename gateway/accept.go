package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"mobileid/internal/mobileid"
)

// AcceptConfig configures an Accepter. A zero duration takes the default.
type AcceptConfig struct {
	Purposes             map[string]mobileid.Purpose
	CodeDeadline         time.Duration // accept -> read by a consumer, for codes; 30 s
	NotificationDeadline time.Duration // the same for notifications; 24 h
	Grace                time.Duration // after a deadline, before an unseen request counts as ended; 15 s
	PublishTimeout       time.Duration // longest wait for Kafka; 900 ms
	Source               string        // ce_source of what is published; "/mobileid/gateway"
}

// AcceptDeps are the ports of an Accepter; all are required but Reg and Now.
type AcceptDeps struct {
	Publisher  Publisher
	Quotas     Quotas
	Keys       Keys
	Texts      Texts
	IDKey      mobileid.IDKey
	Pseudonyms mobileid.PseudonymKey
	Reg        prometheus.Registerer // nil = no metrics
	Now        func() time.Time      // nil = time.Now
}

// Accepter makes a request durable, or refuses it with a *mobileid.Error and
// publishes nothing. It is safe for concurrent use.
//
// The order of its steps is what keeps the promises:
//
//  1. Scope, key, body, purpose: they depend on the request alone.
//  2. Find the key. Known with another body: KindMismatch. Known with this
//     body: a repetition, which has been paid for; go to 5.
//  3. Spend the quota. A refusal leaves no trace of the key, so that the same
//     key may be sent again later and is then paid for.
//  4. Claim the key, with an id made from the present time. Whoever is second
//     at the same moment is given the first one's id and goes on with that.
//  5. Publish, a repetition too: a key may be claimed and its record never
//     written (crash, Kafka away). Doubled records are normal on Kafka and die
//     at the registry, which knows the id.
//
// So an id is paid for once, except when copies of one request arrive within
// the few milliseconds between 2 and 4; then each copy pays.
type Accepter struct {
	cfg   AcceptConfig
	deps  AcceptDeps
	limit deadlines
	total *prometheus.CounterVec
}

// NewAccepter checks that nothing is missing; all that is comes back together.
func NewAccepter(cfg AcceptConfig, deps AcceptDeps) (*Accepter, error) {
	if err := errors.Join(
		need("Publisher", deps.Publisher != nil), need("Quotas", deps.Quotas != nil),
		need("Keys", deps.Keys != nil), need("Texts", deps.Texts != nil),
	); err != nil {
		return nil, err
	}
	orDefault(&cfg.CodeDeadline, 30*time.Second)
	orDefault(&cfg.NotificationDeadline, 24*time.Hour)
	orDefault(&cfg.Grace, 15*time.Second)
	orDefault(&cfg.PublishTimeout, 900*time.Millisecond)
	if cfg.Source == "" {
		cfg.Source = "/mobileid/gateway"
	}
	if deps.Now == nil {
		deps.Now = time.Now
	}
	a := &Accepter{
		cfg: cfg, deps: deps,
		limit: deadlines{code: cfg.CodeDeadline, notification: cfg.NotificationDeadline, grace: cfg.Grace},
		total: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mobileid_accepted_total",
			Help: "Requests that became durable, by kind and whether the key was seen before.",
		}, []string{"kind", "replayed"}),
	}
	if deps.Reg != nil {
		if err := deps.Reg.Register(a.total); err != nil {
			return nil, fmt.Errorf("gateway: %w", err)
		}
	}
	return a, nil
}

func need(name string, there bool) error {
	if there {
		return nil
	}
	return fmt.Errorf("gateway: %s is missing", name)
}

func orDefault(d *time.Duration, def time.Duration) {
	if *d <= 0 {
		*d = def
	}
}

// AcceptChallenge accepts the body of POST /v1/challenges for a client.
// ExpiresAt is the latest time at which the code can still be valid.
func (a *Accepter) AcceptChallenge(ctx context.Context, client mobileid.Client, key string, body []byte) (
	mobileid.Accepted, error,
) {
	if err := admissible(client, mobileid.ScopeChallenges, key, body); err != nil {
		return mobileid.Accepted{}, err
	}
	req, err := parseChallenge(body)
	if err != nil {
		return mobileid.Accepted{}, err
	}
	purpose, ok := a.cfg.Purposes[req.Purpose]
	if !ok {
		return mobileid.Accepted{}, mobileid.Invalid("purpose", "purpose_unknown", "no such purpose")
	}
	if purpose.Enrollment() || !client.May(req.Purpose) {
		return mobileid.Accepted{}, &mobileid.Error{
			Kind: mobileid.KindForbidden, Code: "purpose_forbidden", Field: "purpose",
			Message: "this client may not ask codes for that purpose",
		}
	}
	if err := checkService(client, req.Service); err != nil {
		return mobileid.Accepted{}, err
	}
	person, err := a.person(client, req.who)
	if err != nil {
		return mobileid.Accepted{}, err
	}
	req.Person = person.String()
	got, hash, err := a.identify(ctx, client, mobileid.KindChallenge, key, req)
	if err != nil {
		return mobileid.Accepted{}, err
	}
	deadline := a.limit.of(got.ID)
	got.ExpiresAt = deadline.Add(purpose.Life)
	return got, a.publishOne(ctx, mobileid.TopicOTPRequests, mobileid.TypeChallengeRequested, "challenge", person, got,
		mobileid.ChallengeRequested{
			ID: got.ID, Client: client.ID, Person: req.Person, Purpose: req.Purpose,
			Locale: mobileid.Locale(req.Locale), Presence: mobileid.Presence(req.Presence), ContextHash: req.ContextHash, ClientRef: req.ClientRef,
			BodyHash: hash, Deadline: deadline,
		})
}

// AcceptNotification accepts the body of POST /v1/notifications for a client.
// ExpiresAt is the time after which the Message is not sent any more.
func (a *Accepter) AcceptNotification(ctx context.Context, client mobileid.Client, key string, body []byte) (
	mobileid.Accepted, error,
) {
	if err := admissible(client, mobileid.ScopeNotifications, key, body); err != nil {
		return mobileid.Accepted{}, err
	}
	req, err := parseNotification(body)
	if err != nil {
		return mobileid.Accepted{}, err
	}
	if err := a.deps.Texts.Check(req.TextID, mobileid.Locale(req.Locale), req.Slots); err != nil {
		return mobileid.Accepted{}, err
	}
	person, err := a.person(client, req.who)
	if err != nil {
		return mobileid.Accepted{}, err
	}
	req.Person = person.String()
	got, hash, err := a.identify(ctx, client, mobileid.KindMessage, key, req)
	if err != nil {
		return mobileid.Accepted{}, err
	}
	got.ExpiresAt = a.limit.of(got.ID)
	return got, a.publishOne(ctx, mobileid.TopicNotificationRequests, mobileid.TypeNotificationRequested, "notification", person, got,
		mobileid.NotificationRequested{
			ID: got.ID, Client: client.ID, Person: req.Person, TextID: req.TextID, Slots: req.Slots,
			Locale: mobileid.Locale(req.Locale), ClientRef: req.ClientRef, BodyHash: hash, Deadline: got.ExpiresAt,
		})
}

// AcceptBalance accepts the body of POST /v1/balance-events for an operator's
// client: each event is a record of its own, under the pseudonym of its number. Of
// whose accounts the client may tell is its configuration's to say, never the
// body's. It may be published again: the registry knows each event by its seq.
func (a *Accepter) AcceptBalance(ctx context.Context, client mobileid.Client, key string, body []byte) (
	mobileid.Accepted, error,
) {
	if err := admissible(client, mobileid.ScopeBalance, key, body); err != nil {
		return mobileid.Accepted{}, err
	}
	if client.Operator == "" {
		return mobileid.Accepted{}, &mobileid.Error{
			Kind: mobileid.KindForbidden, Code: "operator_missing", Message: "this client speaks for no operator",
		}
	}
	req, err := parseBalance(body, client.Operator, a.deps.Pseudonyms, a.deps.Now())
	if err != nil {
		return mobileid.Accepted{}, err
	}
	got, _, err := a.identify(ctx, client, mobileid.KindBalance, key, req)
	if err != nil {
		return mobileid.Accepted{}, err
	}
	source := mobileid.SourceOfOperator(client.Operator)
	events := make([]mobileid.Event, len(req.Events))
	for i, e := range req.Events {
		events[i], err = a.event(ctx, mobileid.TypeBalanceChanged, source+"/"+e.Seq, got, e.key, mobileid.BalanceChanged{
			Source: source, Seq: e.Seq, Operator: client.Operator, Number: e.Number,
			Kind: e.Kind, Amount: mobileid.Money(e.Amount), At: e.At,
		})
		if err != nil {
			return got, err
		}
	}
	return got, a.publish(ctx, mobileid.TopicBalanceEvents, "balance", got, events...)
}

func admissible(client mobileid.Client, scope mobileid.Scope, key string, body []byte) error {
	if err := needScope(client, scope); err != nil {
		return err
	}
	// A trial must never reach an operator. Until there is a sandbox for it to
	// reach instead, refusing is the only way to keep that.
	if client.Mode == mobileid.ModeTest {
		return testMode()
	}
	if err := checkKey(key); err != nil {
		return err
	}
	if len(body) > maxBody {
		return tooLarge()
	}
	return nil
}

// checkService refuses what Mobile-ID is not for: financial services in the field of
// lending (decree item 1-b and clause 3), whatever the purpose.
func checkService(client mobileid.Client, id string) error {
	s, ok := client.Service(id)
	switch {
	case !ok && id == "":
		return mobileid.Invalid("service", "field_missing", "this client has several services: name the one that the code is for")
	case !ok:
		return mobileid.Invalid("service", "service_unknown", "no such service of this client")
	case s.Class == mobileid.ServiceLending:
		return &mobileid.Error{
			Kind: mobileid.KindForbidden, Code: "lending_excluded", Field: "service",
			Message: "Mobile-ID is not for financial services in the field of lending",
		}
	}
	return nil
}

func testMode() error {
	return &mobileid.Error{
		Kind: mobileid.KindForbidden, Code: "test_mode", Message: "this client is in test mode: nothing is sent for it",
	}
}

func tooLarge() error {
	return &mobileid.Error{
		Kind: mobileid.KindTooLarge, Code: "body_too_large",
		Message: fmt.Sprintf("a body has at most %d bytes", maxBody),
	}
}

// identify is steps 2 to 4 of the Accepter.
func (a *Accepter) identify(ctx context.Context, client mobileid.Client, kind mobileid.IDKind, key string, req any) (
	got mobileid.Accepted, hash string, err error,
) {
	return a.identifyIf(ctx, client, kind, key, req, nil)
}

// identifyIf is identify of what is new only if allowed does not refuse it: a
// repetition has its answer whatever has become of it since.
func (a *Accepter) identifyIf(ctx context.Context, client mobileid.Client, kind mobileid.IDKind, key string, req any, allowed func() error) (
	got mobileid.Accepted, hash string, err error,
) {
	canonical, err := json.Marshal(req)
	if err != nil {
		return got, "", fmt.Errorf("canonical request: %w", err)
	}
	hash = a.deps.IDKey.BodyHash(client.ID, canonical)
	part := a.deps.IDKey.KeyPart(client.ID, key)
	stored, storedHash, found, err := a.deps.Keys.Find(ctx, client.ID, part)
	if err != nil {
		return got, "", err
	}
	if found {
		got, err = a.known(client, kind, stored, storedHash, hash)
		return got, hash, err
	}
	if allowed != nil {
		if err := allowed(); err != nil {
			return got, "", err
		}
	}
	if err := a.spend(ctx, client); err != nil {
		return got, "", err
	}
	// The id keeps milliseconds, so the answer must not promise more.
	fresh := a.deps.IDKey.Make(kind, client.ID, key, a.deps.Now())
	stored, storedHash, err = a.deps.Keys.Claim(ctx, client.ID, part, fresh, hash)
	if err != nil {
		return got, "", err
	}
	if stored == fresh && storedHash == hash {
		return mobileid.Accepted{ID: fresh, At: fresh.Time()}, hash, nil
	}
	got, err = a.known(client, kind, stored, storedHash, hash)
	return got, hash, err
}

// spend takes one request from the client's quota.
func (a *Accepter) spend(ctx context.Context, client mobileid.Client) error {
	after, err := a.deps.Quotas.Spend(ctx, client)
	if err != nil || after <= 0 {
		return err
	}
	return &mobileid.Error{
		Kind: mobileid.KindLimited, Code: "quota_exceeded", RetryAfter: after,
		Message: "the quota of this client is spent; nothing was done",
	}
}

// known answers for a key that was claimed before.
func (a *Accepter) known(client mobileid.Client, kind mobileid.IDKind, stored mobileid.ID, storedHash, hash string) (
	mobileid.Accepted, error,
) {
	if storedHash != hash {
		return mobileid.Accepted{}, &mobileid.Error{
			Kind: mobileid.KindMismatch, Code: "idempotency_key_reused", Field: "Idempotency-Key",
			Message: "this key was used for another request; a new request needs a new key",
		}
	}
	if stored.Kind() != kind || !a.deps.IDKey.Check(client.ID, stored) {
		// Redis holds what this edge did not write, or the id key was changed.
		// No repetition changes that, so it must not look like a fault of ours
		// that passes: the ingress would wait for it until the claim ends.
		return mobileid.Accepted{}, &mobileid.Error{
			Kind: mobileid.KindConflict, Code: "key_of_older_id", Field: "Idempotency-Key",
			Message: "this key belongs to an id that cannot be read any more; a new request needs a new key",
		}
	}
	return mobileid.Accepted{ID: stored, At: stored.Time(), Replayed: true}, nil
}

// event makes a record of an accepted request, keyed by a pseudonym.
func (a *Accepter) event(ctx context.Context, eventType, id string, got mobileid.Accepted, key mobileid.Pseudonym, payload any) (
	mobileid.Event, error,
) {
	value, err := json.Marshal(payload)
	if err != nil {
		return mobileid.Event{}, fmt.Errorf("encode %s: %w", eventType, err)
	}
	return mobileid.Event{
		ID: id, Type: eventType, Source: a.cfg.Source, Subject: got.ID.String(), Time: a.deps.Now().UTC(),
		TraceParent: mobileid.TraceParentOf(ctx), Key: key.String(), Value: value,
	}, nil
}

// publishOne publishes the one record that a request makes.
func (a *Accepter) publishOne(ctx context.Context, topic, eventType, kind string, person mobileid.Pseudonym,
	got mobileid.Accepted, payload any,
) error {
	e, err := a.event(ctx, eventType, got.ID.String(), got, person, payload)
	if err != nil {
		return err
	}
	return a.publish(ctx, topic, kind, got, e)
}

// publish is step 5. It outlives the request's context: a client that hangs up
// must not turn a write that is under way into a guess.
func (a *Accepter) publish(ctx context.Context, topic, kind string, got mobileid.Accepted, events ...mobileid.Event) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), a.cfg.PublishTimeout)
	defer cancel()
	err := a.deps.Publisher.Publish(ctx, topic, events...)
	switch {
	case err == nil:
		a.total.WithLabelValues(kind, strconv.FormatBool(got.Replayed)).Inc()
		return nil
	case mobileid.KindOf(err) == mobileid.KindUnavailable:
		return mobileid.Unavailable("kafka_away", time.Second, err)
	default:
		return &mobileid.Error{
			Kind: mobileid.KindUnknown, Code: "outcome_unknown", RetryAfter: time.Second, Err: err,
			Message: "perhaps the request was taken: repeat it with the same Idempotency-Key",
		}
	}
}

// needScope refuses a client without the right; the code names what is missing.
func needScope(client mobileid.Client, anyOf ...mobileid.Scope) error {
	if slices.ContainsFunc(anyOf, client.Has) {
		return nil
	}
	return &mobileid.Error{
		Kind: mobileid.KindForbidden, Code: "scope_missing",
		Message: "the token or the client lacks the scope " + string(anyOf[0]),
	}
}
