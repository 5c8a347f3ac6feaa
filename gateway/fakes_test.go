package gateway

import (
	"bytes"
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"mobileid/gateway/receipt"
	"mobileid/internal/mobileid"
)

const (
	goodPINFL   = "31210932040247"
	issuerURL   = "https://issuer.example"
	audience    = "mobileid"
	contextHash = "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"
)

// issuer signs tokens and serves its keys without a socket.
type issuer struct {
	mu      sync.Mutex
	kid     string
	key     *ecdsa.PrivateKey
	public  []jose.JSONWebKey
	away    bool
	hangs   bool // until the asker gives up
	fetches int
}

func newIssuer(t testing.TB) *issuer {
	t.Helper()
	i := &issuer{}
	i.rotate(t, "k1", false)
	return i
}

func (i *issuer) rotate(t testing.TB, kid string, keepOld bool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if !keepOld {
		i.public = nil
	}
	i.kid, i.key = kid, key
	i.public = append(i.public, jose.JSONWebKey{Key: key.Public(), KeyID: kid, Algorithm: "ES256", Use: "sig"})
}

func (i *issuer) setAway(away bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.away = away
}

func (i *issuer) setHangs(hangs bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.hangs = hangs
}

func (i *issuer) count() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.fetches
}

func (i *issuer) RoundTrip(r *http.Request) (*http.Response, error) {
	i.mu.Lock()
	i.fetches++
	hangs := i.hangs
	i.mu.Unlock()
	if hangs {
		<-r.Context().Done()
		return nil, r.Context().Err()
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.away {
		return nil, errors.New("connection refused")
	}
	var raw []json.RawMessage
	for _, k := range i.public {
		b, err := json.Marshal(k)
		if err != nil {
			return nil, err
		}
		raw = append(raw, b)
	}
	// A kind of key that we do not know stands among them.
	raw = append(raw, json.RawMessage(`{"kty":"XYZ","kid":"odd"}`))
	body, err := json.Marshal(map[string]any{"keys": raw})
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(bytes.NewReader(body))}, err
}

func (i *issuer) sign(t testing.TB, claims map[string]any) string {
	t.Helper()
	i.mu.Lock()
	defer i.mu.Unlock()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: i.key},
		(&jose.SignerOptions{}).WithType("at+jwt").WithHeader("kid", i.kid))
	if err != nil {
		t.Fatal(err)
	}
	s, err := jwt.Signed(signer).Claims(claims).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// fakeRegistry answers what a test puts into it.
type fakeRegistry struct {
	mu        sync.Mutex
	err       error
	views     map[mobileid.ID]mobileid.ChallengeView
	messages  map[mobileid.ID]mobileid.MessageView
	live      map[mobileid.ID]mobileid.LiveChallenge
	confirmed map[mobileid.ID]mobileid.KeyPart
	wrong     map[mobileid.ID]int
	ended     map[mobileid.ID]mobileid.ChallengeState
	confirm   error
	reads     int
	statement mobileid.PersonStatement
	asked     []mobileid.StatementQuery
	ceilings  map[mobileid.Pseudonym]*mobileid.Money
	ceiling   error
	questions []mobileid.PersonQuestion
	stepUps   []string
	days      []mobileid.OperatorLine
	dayAsked  []string
}

func (f *fakeRegistry) OperatorDay(_ context.Context, operator string, at time.Time) (mobileid.OperatorDay, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.dayAsked = append(f.dayAsked, operator+" "+at.Format(time.RFC3339))
	return mobileid.OperatorDay{Day: at, Operator: operator, Final: true, Lines: f.days}, f.err
}

func (f *fakeRegistry) PersonStatement(_ context.Context, q mobileid.StatementQuery) (mobileid.PersonStatement, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked = append(f.asked, q)
	return f.statement, f.err
}

func (f *fakeRegistry) SetDailyCeiling(_ context.Context, person mobileid.Pseudonym, ceiling *mobileid.Money) (mobileid.SubscriberView, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ceiling != nil || f.err != nil {
		return mobileid.SubscriberView{}, cmp.Or(f.ceiling, f.err)
	}
	f.ceilings[person] = ceiling
	return mobileid.SubscriberView{Operator: "beeline", Known: true, Available: 500_00, Ceiling: ceiling, SpentToday: 120_00}, nil
}

func newFakeRegistry() *fakeRegistry {
	return &fakeRegistry{
		views: map[mobileid.ID]mobileid.ChallengeView{}, messages: map[mobileid.ID]mobileid.MessageView{},
		live: map[mobileid.ID]mobileid.LiveChallenge{}, confirmed: map[mobileid.ID]mobileid.KeyPart{},
		ceilings: map[mobileid.Pseudonym]*mobileid.Money{}, wrong: map[mobileid.ID]int{}, ended: map[mobileid.ID]mobileid.ChallengeState{},
	}
}

func (f *fakeRegistry) Challenge(_ context.Context, client string, id mobileid.ID) (mobileid.ChallengeView, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reads++
	v, ok := f.views[id]
	if f.err != nil {
		return v, f.err
	}
	if !ok || v.Client != client {
		return v, notFound("no row")
	}
	return v, nil
}

func (f *fakeRegistry) Message(_ context.Context, client string, id mobileid.ID) (mobileid.MessageView, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	v, ok := f.messages[id]
	if f.err != nil {
		return v, f.err
	}
	if !ok || v.Client != client {
		return v, notFound("no row")
	}
	return v, nil
}

func (f *fakeRegistry) LiveChallenge(_ context.Context, client string, id mobileid.ID) (mobileid.LiveChallenge, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	v, ok := f.live[id]
	if f.err != nil {
		return v, f.err
	}
	if !ok || v.Client != client {
		return v, notFound("no row")
	}
	return v, nil
}

func (f *fakeRegistry) CountWrongTry(_ context.Context, id mobileid.ID, _ bool) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.wrong[id]++
	return f.wrong[id], f.err
}

func (f *fakeRegistry) EndChallenge(_ context.Context, id mobileid.ID, state mobileid.ChallengeState, _ string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ended[id] = state
	v := f.live[id]
	if v.State == mobileid.ChallengePending {
		v.State = state
		f.live[id] = v
	}
	return f.err
}

func (f *fakeRegistry) Confirmation(_ context.Context, client string, id mobileid.ID) (mobileid.Confirmation, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	live, ok := f.live[id]
	if f.err != nil {
		return mobileid.Confirmation{}, f.err
	}
	if _, confirmed := f.confirmed[id]; !ok || !confirmed || live.Client != client {
		return mobileid.Confirmation{}, notFound("no row")
	}
	return f.confirmation(live), nil
}

// confirmation is what a confirmed challenge has left.
func (f *fakeRegistry) confirmation(live mobileid.LiveChallenge) mobileid.Confirmation {
	return mobileid.Confirmation{
		Challenge: live.ID, Client: live.Client, Purpose: live.Purpose, ContextHash: live.ContextHash, ConfirmedAt: live.ID.Time().Add(time.Second),
		Person: live.Person, Presence: mobileid.PresenceSession, Enrolled: "app", SIMCheck: mobileid.SIMNotAsked,
	}
}

func (f *fakeRegistry) AskPerson(_ context.Context, q mobileid.PersonQuestion) (mobileid.PersonAnswer, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.questions = append(f.questions, q)
	a := mobileid.PersonAnswer{Bound: mobileid.AnswerYes, SMS: mobileid.AnswerYes}
	if q.Number != nil {
		a.Number = mobileid.AnswerNo
	}
	return a, f.err
}

func (f *fakeRegistry) StepUp(_ context.Context, person mobileid.Pseudonym, client, method string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stepUps = append(f.stepUps, person.String()+" "+client+" "+method)
	return f.err
}

func (f *fakeRegistry) CancelChallenge(_ context.Context, client string, id mobileid.ID) (mobileid.ChallengeState, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	live, stored := f.live[id]
	if !stored {
		live = mobileid.LiveChallenge{ID: id, Client: client, State: mobileid.ChallengeCancelled}
		f.views[id] = mobileid.ChallengeView{ID: id, Client: client}
	}
	view := f.views[id]
	if live.State == mobileid.ChallengePending {
		live.State = mobileid.ChallengeCancelled
	}
	live.Cancelled = live.State != mobileid.ChallengeConfirmed
	view.State, view.Cancelled = live.State, live.Cancelled
	f.live[id], f.views[id] = live, view
	return live.State, f.err
}

func (f *fakeRegistry) Confirm(_ context.Context, client string, id mobileid.ID, key mobileid.KeyPart, hash string) (
	mobileid.Confirmation, error,
) {
	f.mu.Lock()
	defer f.mu.Unlock()
	live := f.live[id]
	out := f.confirmation(live)
	out.ContextHash = hash
	if f.confirm != nil {
		return out, f.confirm
	}
	if by, ok := f.confirmed[id]; ok {
		if by != key {
			return out, &mobileid.Error{Kind: mobileid.KindConflict, Code: "code_used", Message: "used"}
		}
		out.Replayed = true
		return out, nil
	}
	f.confirmed[id] = key
	live.State = mobileid.ChallengeConfirmed
	f.live[id] = live
	return out, nil
}

// fakeCodes holds one code for all.
type fakeCodes struct {
	code   string
	result mobileid.CodeResult // "" = compare
	left   int
	err    error
	calls  int
}

func (f *fakeCodes) Verify(_ context.Context, _ mobileid.ID, _ string, code mobileid.Code) (mobileid.CodeResult, int, error) {
	f.calls++
	switch {
	case f.err != nil:
		return "", 0, f.err
	case f.result != "":
		return f.result, 0, nil
	case code.Reveal() == f.code:
		return mobileid.CodeRight, f.left, nil
	}
	f.left--
	return mobileid.CodeWrong, f.left, nil
}

type published struct {
	topic string
	event mobileid.Event
}

type fakePublisher struct {
	mu   sync.Mutex
	err  error
	hang bool
	list []published
}

func (f *fakePublisher) Publish(ctx context.Context, topic string, events ...mobileid.Event) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.hang {
		<-ctx.Done()
		return ctx.Err()
	}
	if err := errors.Join(f.err, ctx.Err()); err != nil {
		return err
	}
	for _, e := range events {
		f.list = append(f.list, published{topic, e})
	}
	return nil
}

func (f *fakePublisher) all() []published {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]published(nil), f.list...)
}

type fakeQuotas struct {
	mu    sync.Mutex
	after time.Duration
	err   error
	spent int
}

func (f *fakeQuotas) Spend(context.Context, mobileid.Client) (time.Duration, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil || f.after > 0 {
		return f.after, f.err
	}
	f.spent++
	return 0, nil
}

type claim struct {
	id   mobileid.ID
	hash string
}

// fakeKeys is a set-if-absent memory that can also look.
type fakeKeys struct {
	mu  sync.Mutex
	m   map[mobileid.KeyPart]claim
	err error
}

func (f *fakeKeys) Claim(_ context.Context, _ string, part mobileid.KeyPart, id mobileid.ID, hash string) (
	mobileid.ID, string, error,
) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, ok := f.m[part]; !ok && f.err == nil {
		f.m[part] = claim{id, hash}
	}
	return f.m[part].id, f.m[part].hash, f.err
}

func (f *fakeKeys) Find(_ context.Context, _ string, part mobileid.KeyPart) (mobileid.ID, string, bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	c, ok := f.m[part]
	return c.id, c.hash, ok, f.err
}

type fakeTexts struct{}

func (fakeTexts) Check(textID string, _ mobileid.Locale, slots map[string]string) error {
	if textID != "service.ready" {
		return mobileid.Invalid("text_id", "text_unknown", "no such text in the catalogue")
	}
	for name := range slots {
		if name != "reference" {
			return mobileid.Invalid("slots."+echoName(name), "slot_unknown", "the text has no such slot")
		}
	}
	return nil
}

// clock is a time that stands still until it is moved.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// edge is a whole gateway on fakes.
type edge struct {
	t        testing.TB
	g        *Gateway
	h        http.Handler
	issuer   *issuer
	registry *fakeRegistry
	codes    *fakeCodes
	kafka    *fakePublisher
	quotas   *fakeQuotas
	keys     *fakeKeys
	waiters  *Waiters
	clock    *clock
	idKey    mobileid.IDKey
	log      *bytes.Buffer
	logMu    sync.Mutex
	contract *contract // checks every exchange; nil = does not
	ready    error
	receipt  string // of the last verify
	reg      *prometheus.Registry
}

type logWriter struct{ e *edge }

func (w logWriter) Write(b []byte) (int, error) {
	w.e.logMu.Lock()
	defer w.e.logMu.Unlock()
	return w.e.log.Write(b)
}

func (e *edge) logged() string {
	e.logMu.Lock()
	defer e.logMu.Unlock()
	return e.log.String()
}

var testClients = []mobileid.Client{
	{
		ID: "oneid", Scopes: mobileid.Scopes(), Purposes: []string{"login", "sign"},
		Disclosure: mobileid.DisclosureFull, Quota: mobileid.Quota{Rate: 100, Per: time.Minute},
	},
	{
		ID: "shop", Scopes: []mobileid.Scope{mobileid.ScopeChallenges}, Purposes: []string{"login"},
		Disclosure: mobileid.DisclosureBlind,
	},
	{ID: "cabinet", Scopes: mobileid.Scopes(), Disclosure: mobileid.DisclosureBlind},
	{
		ID: "billing", Scopes: []mobileid.Scope{mobileid.ScopeBalance, mobileid.ScopeStatements}, Operator: "beeline",
		Disclosure: mobileid.DisclosureBlind, Quota: mobileid.Quota{Rate: 10, Per: time.Second},
	},
	{
		ID: "bank", Scopes: mobileid.Scopes(), Purposes: []string{"login", "sign"}, Disclosure: mobileid.DisclosureFull,
		Services: []mobileid.Service{{ID: "cards", Class: mobileid.ServiceOrdinary}, {ID: "loans", Class: mobileid.ServiceLending}},
	},
	{
		ID: "lender", Scopes: mobileid.Scopes(), Purposes: []string{"login", "sign"}, Disclosure: mobileid.DisclosureFull,
		Services: []mobileid.Service{{ID: "loans", Class: mobileid.ServiceLending}},
	},
	{ID: "trial", Scopes: mobileid.Scopes(), Purposes: []string{"login"}, Mode: mobileid.ModeTest},
}

// testReceipts signs with a key that is made once.
var testReceipts = sync.OnceValue(func() *receipt.Signer {
	text, err := receipt.NewKey()
	if err != nil {
		panic(err)
	}
	key, err := receipt.ParseKey("test", []byte(text))
	if err != nil {
		panic(err)
	}
	s, err := receipt.NewSigner([]receipt.Key{key})
	if err != nil {
		panic(err)
	}
	return s
})

type option func(*Config, *Deps)

// newEdge makes a gateway; now nil = a clock that stands still.
func newEdge(t testing.TB, now func() time.Time, opts ...option) *edge {
	t.Helper()
	idKey, err := mobileid.NewIDKey(bytes.Repeat([]byte{1}, 32))
	if err != nil {
		t.Fatal(err)
	}
	pseudonyms, err := mobileid.NewPseudonymKey(bytes.Repeat([]byte{2}, 32))
	if err != nil {
		t.Fatal(err)
	}
	e := &edge{
		t: t, issuer: newIssuer(t), registry: newFakeRegistry(), codes: &fakeCodes{code: "123456", left: 3},
		kafka: &fakePublisher{}, quotas: &fakeQuotas{}, keys: &fakeKeys{m: map[mobileid.KeyPart]claim{}},
		waiters: NewWaiters(), clock: &clock{at: time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)},
		idKey: idKey, log: &bytes.Buffer{}, reg: prometheus.NewRegistry(),
	}
	if now == nil {
		now = e.clock.now
	}
	accepter, err := NewAccepter(AcceptConfig{Purposes: map[string]mobileid.Purpose{
		"login": {ID: "login", Life: 3 * time.Minute, Digits: 6, Tries: 3},
		"sign":  {ID: "sign", Life: 5 * time.Minute, Digits: 8, Tries: 3},

		"enroll": {ID: "enroll", Use: mobileid.UseEnrollment, Life: 15 * time.Minute, Digits: 6, Tries: 5},
	}}, AcceptDeps{
		Publisher: e.kafka, Quotas: e.quotas, Keys: e.keys, Texts: fakeTexts{},
		IDKey: idKey, Pseudonyms: pseudonyms, Reg: e.reg, Now: now,
	})
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{
		Clients: testClients,
		Auth:    AuthConfig{Issuer: issuerURL, Audience: audience, JWKSURL: issuerURL + "/jwks"},

		ReceiptIssuer: "https://mobileid.example.uz",
	}
	deps := Deps{
		Accepter: accepter, Registry: e.registry, Codes: e.codes, Waiters: e.waiters, Receipts: testReceipts(),
		HTTPClient: &http.Client{Transport: e.issuer}, Metrics: promhttp.HandlerFor(e.reg, promhttp.HandlerOpts{}),
		Ready: []Check{{Name: "kafka", Check: func(context.Context) error { return e.ready }}},
		Log:   slog.New(slog.NewJSONHandler(logWriter{e}, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Reg:   e.reg, Now: now,
	}
	for _, o := range opts {
		o(&cfg, &deps)
	}
	if e.g, err = New(cfg, deps); err != nil {
		t.Fatal(err)
	}
	e.h = e.g.Handler()
	return e
}

// token is a good one for the client, with all scopes.
func (e *edge) token(client string) string { return e.tokenWith(client, nil) }

func (e *edge) tokenWith(client string, change func(claims map[string]any)) string {
	at := e.g.now()
	claims := map[string]any{
		"iss": issuerURL, "aud": audience, "sub": client, "client_id": client, "scope": "challenges notifications charges:read charges:write balance:write statements:read verifications step_up:write",
		"iat": at.Unix(), "nbf": at.Unix(), "exp": at.Add(time.Hour).Unix(),
	}
	if change != nil {
		change(claims)
	}
	return e.issuer.sign(e.t, claims)
}

// call is one request; its zero fields are left out.
type call struct {
	method, path, body, key, token string
	header                         map[string]string
	ctx                            context.Context
}

func (e *edge) do(c call) *httptest.ResponseRecorder {
	e.t.Helper()
	ctx := c.ctx
	if ctx == nil {
		ctx = context.Background()
	}
	var body io.Reader = http.NoBody
	if c.body != "" {
		body = strings.NewReader(c.body)
	}
	r := httptest.NewRequestWithContext(ctx, c.method, c.path, body)
	if c.body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	if c.key != "" {
		r.Header.Set("Idempotency-Key", c.key)
	}
	if c.token != "" {
		r.Header.Set("Authorization", "Bearer "+c.token)
	}
	for k, v := range c.header {
		r.Header.Set(k, v)
	}
	w := httptest.NewRecorder()
	e.h.ServeHTTP(w, r)
	if e.contract != nil {
		e.contract.check(e.t, r, c.body, w)
	}
	return w
}

func decode[T any](t testing.TB, w *httptest.ResponseRecorder) T {
	t.Helper()
	var v T
	if err := json.Unmarshal(w.Body.Bytes(), &v); err != nil {
		t.Fatalf("status %d, body %q: %v", w.Code, w.Body, err)
	}
	return v
}

func challengeOf(pinfl string) string {
	return fmt.Sprintf(`{"pinfl":%q,"purpose":"login","context_hash":%q}`, pinfl, contextHash)
}

// stored makes a challenge with a row in that state and returns its id.
func (e *edge) stored(client string, state mobileid.ChallengeState) mobileid.ID {
	e.t.Helper()
	id := e.idKey.Make(mobileid.KindChallenge, client, fmt.Sprint("stored", len(e.registry.live)), e.g.now())
	expires := e.g.now().Add(3 * time.Minute)
	e.registry.mu.Lock()
	defer e.registry.mu.Unlock()
	e.registry.live[id] = mobileid.LiveChallenge{
		ID: id, Client: client, State: state, Purpose: "login", Nonce: "n", ContextHash: contextHash, Tries: 3, ExpiresAt: expires,
		Sends: 1, CanResendAt: e.g.now().Add(time.Minute),
	}
	e.registry.views[id] = mobileid.ChallengeView{
		ID: id, Client: client, State: state, Version: 1, Purpose: "login", ExpiresAt: expires, TriesLeft: 3,
		MessageState: mobileid.MessageSent, Masked: "+998 90 *** ** 67", Sends: 1, CanResendAt: e.g.now().Add(time.Minute),
	}
	return id
}

// storedFor makes one that asks for another proof than a code, for a reason.
func (e *edge) storedFor(client, reason string) mobileid.ID {
	e.t.Helper()
	id := e.stored(client, mobileid.ChallengeStepUp)
	e.registry.mu.Lock()
	defer e.registry.mu.Unlock()
	live, view := e.registry.live[id], e.registry.views[id]
	live.Reason, view.Reason, view.RetryAt = reason, reason, e.g.now().Add(time.Hour)
	live.Nonce, view.MessageState, view.Masked = "", "", ""
	e.registry.live[id], e.registry.views[id] = live, view
	return id
}

func challengePath(id mobileid.ID) string { return "/v1/challenges/" + id.String() }
func verifyPath(id mobileid.ID) string    { return challengePath(id) + "/verify" }

func verifyBody(code string) string {
	return fmt.Sprintf(`{"code":%q,"context_hash":%q}`, code, contextHash)
}
