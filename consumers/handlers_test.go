package consumers

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"

	"mobileid/internal/mobileid"
)

// room stands in for the neighbouring rooms: registry, codes, texts and lanes.
// Its registry keeps the one property that the handlers build on: what is
// stored under an id stays.
type room struct {
	mu            sync.Mutex
	bindings      map[mobileid.Pseudonym]mobileid.Binding
	challenges    map[mobileid.ID]mobileid.NewChallenge
	notifications map[mobileid.ID]mobileid.NewNotification
	issued        int
	codes         map[string]string // nonce: code
	lane          []mobileid.LaneItem
	calls         []string
	payers        map[string]string // by text id
	sent          map[mobileid.ID]mobileid.SentChallenge
	resent        []*mobileid.NewSend
	asks          []mobileid.CodeAsk
	wait          time.Duration
	failAt        string
	err           error
}

func newRoom() *room {
	return &room{
		bindings:   map[mobileid.Pseudonym]mobileid.Binding{},
		challenges: map[mobileid.ID]mobileid.NewChallenge{}, notifications: map[mobileid.ID]mobileid.NewNotification{},
		codes: map[string]string{},
	}
}

func (r *room) step(name string) error {
	r.calls = append(r.calls, name)
	if r.failAt == name {
		return r.err
	}
	return nil
}

func (r *room) ActiveBindings(_ context.Context, persons []mobileid.Pseudonym) (map[mobileid.Pseudonym]mobileid.Binding, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := map[mobileid.Pseudonym]mobileid.Binding{}
	for _, p := range persons {
		if b, ok := r.bindings[p]; ok {
			out[p] = b
		}
	}
	return out, r.step("bindings")
}

func (r *room) Known(ctx context.Context, persons []mobileid.Pseudonym, ids []mobileid.ID) (
	map[mobileid.Pseudonym]mobileid.Binding, map[mobileid.ID]bool, error,
) {
	bound, err := r.ActiveBindings(ctx, persons)
	r.mu.Lock()
	defer r.mu.Unlock()
	out := map[mobileid.ID]bool{}
	for _, id := range ids {
		if _, ok := r.challenges[id]; ok {
			out[id] = true
		}
	}
	return bound, out, err
}

func (r *room) IssueChallenges(_ context.Context, list []mobileid.NewChallenge) ([]mobileid.LaneItem, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.step("store"); err != nil {
		return nil, err
	}
	var items []mobileid.LaneItem
	for _, c := range list {
		if _, known := r.challenges[c.Request.ID]; !known {
			r.challenges[c.Request.ID] = c
		}
		if m := r.challenges[c.Request.ID].Message; m != nil { // queued still
			items = append(items, mobileid.LaneItem{ID: m.ID, Operator: m.Operator, Lane: m.Lane, Person: m.Person})
		}
	}
	return items, nil
}

func (r *room) SentChallenges(_ context.Context, ids []mobileid.ID) (map[mobileid.ID]mobileid.SentChallenge, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := map[mobileid.ID]mobileid.SentChallenge{}
	for _, id := range ids {
		if c, ok := r.sent[id]; ok {
			out[id] = c
		}
	}
	return out, r.step("sent")
}

func (r *room) Resend(_ context.Context, n *mobileid.NewSend) (mobileid.LaneItem, bool, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.resent = append(r.resent, n)
	if err := r.step("resend"); err != nil || n.Message == nil {
		return mobileid.LaneItem{}, false, err
	}
	return mobileid.LaneItem{ID: n.Message.ID, Operator: n.Message.Operator, Lane: n.Message.Lane, Person: n.Message.Person}, true, nil
}

func (r *room) QueueNotifications(_ context.Context, list []mobileid.NewNotification) ([]mobileid.LaneItem, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.step("store"); err != nil {
		return nil, err
	}
	var items []mobileid.LaneItem
	for _, n := range list {
		r.notifications[n.Request.ID] = n
		if m := n.Message; m != nil {
			items = append(items, mobileid.LaneItem{ID: m.ID, Operator: m.Operator, Lane: m.Lane, Person: m.Person})
		}
	}
	return items, nil
}

func (r *room) Issue(_ context.Context, _ mobileid.ID, digits int, _ time.Duration, _ int) (mobileid.IssuedCode, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.step("issue"); err != nil {
		return mobileid.IssuedCode{}, err
	}
	r.issued++
	nonce, code := fmt.Sprint("nonce-", r.issued), fmt.Sprintf("%0*d", digits, r.issued)
	r.codes[nonce] = code
	return mobileid.IssuedCode{Nonce: nonce, Code: mobileid.NewCode(code)}, nil
}

func (r *room) Take(_ context.Context, ask mobileid.CodeAsk) (time.Duration, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asks = append(r.asks, ask)
	return r.wait, r.step("limits")
}

func (r *room) Payer(textID string) string { return r.payers[textID] }

func (r *room) Render(textID string, locale mobileid.Locale, slots map[string]string) (mobileid.Text, error) {
	if textID == "notice.none" {
		return mobileid.Text{}, mobileid.Invalid("text_id", "text_unknown", "no such text")
	}
	return mobileid.NewText(fmt.Sprint(textID, " ", locale, " ", slots[slotCode], " ", slots[slotMinutes])), nil
}

func (r *room) PublishLane(_ context.Context, items []mobileid.LaneItem) (map[mobileid.ID]bool, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.step("lane"); err != nil {
		return nil, err
	}
	r.lane = append(r.lane, items...)
	return map[mobileid.ID]bool{}, nil
}

func msisdn(t testing.TB) mobileid.MSISDN {
	t.Helper()
	m, err := mobileid.ParseMSISDN("+998901234567")
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func (r *room) bind(t testing.TB, person byte) mobileid.Binding {
	t.Helper()
	b := mobileid.Binding{
		ID: int64(person), Version: 3, Person: mobileid.Pseudonym{person}, Number: mobileid.Pseudonym{person, 1},
		MSISDN: msisdn(t), Operator: "beeline", Account: 7, Locale: mobileid.LocaleRu,
	}
	r.bindings[b.Person] = b
	return b
}

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// tracked makes records of one partition that a tracker watches, as the runner
// does.
func tracked(list ...kafka.Message) []*Record {
	tr := newTracker(0)
	var recs []*Record
	for i, m := range list {
		m.Topic, m.Offset = topic, int64(i)
		r := NewRecord(m)
		tr.add(m.Offset)
		r.tracker = tr
		recs = append(recs, r)
	}
	return recs
}

func message(t testing.TB, eventType, id string, value any) kafka.Message {
	t.Helper()
	e, err := NewEvent(eventType, id, value)
	if err != nil {
		t.Fatal(err)
	}
	m, err := encode(topic, e)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func otpHandler(t testing.TB, r *room, opener **mobileid.Opener) Handler {
	t.Helper()
	sealer, o := sealPair(t)
	*opener = o
	return NewOTPRequests(OTPDeps{
		Registry: r, Codes: r, Limits: r, Texts: r, Sealer: sealer, IDKey: testIDKey(t), Lanes: r,
		Purposes:  map[string]mobileid.Purpose{"sign_in": {ID: "sign_in", TextID: "otp.sign_in", Life: 3 * time.Minute, Digits: 6, Tries: 3}},
		Resend:    mobileid.ResendRule{After: time.Minute, Most: 3},
		Operators: map[string]Operator{"beeline": {Parts: func(string) int { return 2 }}},
		Now:       func() time.Time { return noon },
	})
}

func challengeRequest(t testing.TB, n string, person byte) mobileid.ChallengeRequested {
	t.Helper()
	key := testIDKey(t)
	return mobileid.ChallengeRequested{
		ID: key.Make(mobileid.KindChallenge, "oneid", n, noon), Client: "oneid", Person: mobileid.Pseudonym{person}.String(),
		Purpose: "sign_in", BodyHash: key.BodyHash("oneid", nil), Deadline: noon.Add(30 * time.Second),
	}
}

func challengeMessage(t testing.TB, c mobileid.ChallengeRequested) kafka.Message {
	t.Helper()
	return message(t, mobileid.TypeChallengeRequested, c.ID.String(), c)
}

func TestACodeIsStoredSealedAndPutOnItsLane(t *testing.T) {
	r := newRoom()
	b := r.bind(t, 1)
	var opener *mobileid.Opener
	h := otpHandler(t, r, &opener)
	req := challengeRequest(t, "a", 1)
	recs := tracked(challengeMessage(t, req))
	if err := h.Handle(t.Context(), recs); err != nil {
		t.Fatal(err)
	}
	c := r.challenges[req.ID]
	if c.Binding == nil || c.Binding.ID != b.ID || c.Tries != 3 || !c.ExpiresAt.Equal(noon.Add(3*time.Minute)) || c.Source != recs[0].Ref {
		t.Fatalf("stored %+v", c)
	}
	m := c.Message
	want := testIDKey(t).Derive(mobileid.KindMessage, "oneid", req.ID, 1)
	if m == nil || m.ID != want || m.Lane != mobileid.LaneOTP || m.Operator != "beeline" || m.Account != 7 || m.Parts != 2 ||
		m.TextID != "otp.sign_in" || m.Client != "oneid" || m.Person != b.Person || m.Dest != b.Number ||
		!m.Deadline.Equal(c.ExpiresAt) || m.Fence != (mobileid.Fence{Kind: "binding", ID: 1, Version: 3}) {
		t.Fatalf("message %+v", m)
	}
	plain, err := opener.Open(m.ID[:], m.Sealed)
	if err != nil {
		t.Fatal(err)
	}
	var text mobileid.SealedText
	if err := json.Unmarshal(plain, &text); err != nil {
		t.Fatal(err)
	}
	if text.To != "998901234567" || text.Text != "otp.sign_in ru "+r.codes[c.Nonce]+" 3" {
		t.Fatalf("sealed %+v", text)
	}
	if len(r.lane) != 1 || r.lane[0].ID != want || !recs[0].isDone() {
		t.Fatalf("lane %v, done %v", r.lane, recs[0].isDone())
	}
}

// Each record of otp.requests delivered three times: the code in the one
// sealed text is the one behind the nonce that the row keeps.
func TestARequestDeliveredThreeTimesKeepsItsFirstCode(t *testing.T) {
	r := newRoom()
	r.bind(t, 1)
	r.bind(t, 2)
	var opener *mobileid.Opener
	h := otpHandler(t, r, &opener)
	reqs := []mobileid.ChallengeRequested{challengeRequest(t, "a", 1), challengeRequest(t, "b", 2)}
	one, two := challengeMessage(t, reqs[0]), challengeMessage(t, reqs[1])
	if err := h.Handle(t.Context(), tracked(one, two, one)); err != nil { // twice in one batch
		t.Fatal(err)
	}
	if err := h.Handle(t.Context(), tracked(two, one, two)); err != nil {
		t.Fatal(err)
	}
	if len(r.challenges) != 2 {
		t.Fatalf("%d challenges", len(r.challenges))
	}
	if r.issued != 2 {
		t.Errorf("%d codes issued for 2 challenges: the rest fill Redis", r.issued)
	}
	ids := map[mobileid.ID]bool{}
	for _, i := range r.lane {
		ids[i.ID] = true
	}
	if len(ids) != 2 {
		t.Fatalf("%d different ids on the lane, want 2", len(ids))
	}
	for _, req := range reqs {
		c := r.challenges[req.ID]
		plain, err := opener.Open(c.Message.ID[:], c.Message.Sealed)
		if err != nil {
			t.Fatal(err)
		}
		var text mobileid.SealedText
		if err := json.Unmarshal(plain, &text); err != nil {
			t.Fatal(err)
		}
		if text.Text != "otp.sign_in ru "+r.codes[c.Nonce]+" 3" {
			t.Fatalf("texted %q, but the row's nonce is of code %s", text.Text, r.codes[c.Nonce])
		}
	}
}

func TestUnboundAndLateRequestsAreStoredWithoutACode(t *testing.T) {
	r := newRoom()
	r.bind(t, 2)
	var opener *mobileid.Opener
	h := otpHandler(t, r, &opener)
	unbound, late := challengeRequest(t, "a", 1), challengeRequest(t, "b", 2)
	late.Deadline = noon.Add(-time.Millisecond)
	recs := tracked(challengeMessage(t, unbound), challengeMessage(t, late))
	if err := h.Handle(t.Context(), recs); err != nil {
		t.Fatal(err)
	}
	if r.issued != 0 || len(r.lane) != 0 {
		t.Fatalf("%d codes, %d on the lane", r.issued, len(r.lane))
	}
	if c := r.challenges[unbound.ID]; c.Binding != nil || c.Message != nil || c.ExpiresAt.IsZero() {
		t.Fatalf("unbound: %+v", c)
	}
	if c := r.challenges[late.ID]; c.Message != nil || c.Nonce != "" {
		t.Fatalf("late: %+v", c)
	}
	if !recs[0].isDone() || !recs[1].isDone() {
		t.Fatal("a stored record is not done")
	}
}

func TestGoodRequestsAreDoneBesideBadOnes(t *testing.T) {
	r := newRoom()
	r.bind(t, 1)
	var opener *mobileid.Opener
	h := otpHandler(t, r, &opener)
	unknown := challengeRequest(t, "b", 1)
	unknown.Purpose = "no_such"
	recs := tracked(
		message(t, mobileid.TypeChallengeRequested, "x", map[string]string{"id": "x"}),
		challengeMessage(t, challengeRequest(t, "a", 1)),
		message(t, mobileid.TypeNotificationRequested, "y", map[string]string{}),
		challengeMessage(t, unknown),
	)
	err := h.Handle(t.Context(), recs)
	if mobileid.KindOf(err) != mobileid.KindInvalid {
		t.Fatalf("have %v", err)
	}
	for i, want := range []bool{false, true, false, false} {
		if recs[i].isDone() != want {
			t.Errorf("record %d done: %v", i, !want)
		}
	}
}

// A neighbour that is away fails the batch with its own kind, and nothing
// counts as done before its id was given to the lane.
func TestARequestIsDoneOnlyWhenItsLaneWasAsked(t *testing.T) {
	for _, at := range []string{"bindings", "issue", "store", "lane"} {
		t.Run(at, func(t *testing.T) {
			r := newRoom()
			r.bind(t, 1)
			r.failAt, r.err = at, mobileid.Unavailable("away", time.Second, nil)
			var opener *mobileid.Opener
			h := otpHandler(t, r, &opener)
			recs := tracked(challengeMessage(t, challengeRequest(t, "a", 1)))
			if err := h.Handle(t.Context(), recs); mobileid.KindOf(err) != mobileid.KindUnavailable {
				t.Fatalf("have %v", err)
			}
			if recs[0].isDone() {
				t.Fatal("done")
			}
			r.failAt = ""
			if err := h.Handle(t.Context(), recs); err != nil || !recs[0].isDone() || len(r.lane) != 1 {
				t.Fatalf("the second time: %v, done %v, lane %v", err, recs[0].isDone(), r.lane)
			}
		})
	}
}

func TestANoticeIsStoredSealedAndPutOnTheBulkLane(t *testing.T) {
	r := newRoom()
	b := r.bind(t, 1)
	sealer, opener := sealPair(t)
	h := NewNotificationRequests(NotificationDeps{
		Registry: r, Texts: r, Sealer: sealer, Lanes: r,
		Operators: map[string]Operator{"beeline": {Parts: func(string) int { return 1 }}}, Now: func() time.Time { return noon },
	})
	key := testIDKey(t)
	request := func(n string, person byte, text string, deadline time.Time) mobileid.NotificationRequested {
		return mobileid.NotificationRequested{
			ID: key.Make(mobileid.KindMessage, "tax", n, noon), Client: "tax",
			Person: mobileid.Pseudonym{person}.String(), TextID: text, BodyHash: key.BodyHash("tax", nil), Deadline: deadline,
		}
	}
	later := noon.Add(time.Hour)
	good, unbound := request("a", 1, "notice.x", later), request("b", 9, "notice.x", later)
	late, badText := request("c", 1, "notice.x", noon.Add(-1)), request("d", 1, "notice.none", later)
	good.Locale = mobileid.LocaleEn
	var list []kafka.Message
	for _, n := range []mobileid.NotificationRequested{good, unbound, late, badText} {
		list = append(list, message(t, mobileid.TypeNotificationRequested, n.ID.String(), n))
	}
	recs := tracked(list...)
	if err := h.Handle(t.Context(), recs); mobileid.CodeOf(err) != "text_unknown" {
		t.Fatalf("have %v", err)
	}
	for i, want := range []bool{true, true, true, false} {
		if recs[i].isDone() != want {
			t.Errorf("record %d done: %v", i, !want)
		}
	}
	m := r.notifications[good.ID].Message
	if m == nil || m.ID != good.ID || m.Lane != mobileid.LaneBulk || m.Operator != b.Operator || !m.Deadline.Equal(later) {
		t.Fatalf("message %+v", m)
	}
	if _, err := opener.Open(good.ID[:], m.Sealed); err != nil {
		t.Fatal(err)
	}
	if r.notifications[unbound.ID].Message != nil || r.notifications[late.ID].Message != nil {
		t.Fatal("a message for nobody, or too late")
	}
	if len(r.lane) != 1 || r.lane[0].ID != good.ID {
		t.Fatalf("lane %v", r.lane)
	}
}
