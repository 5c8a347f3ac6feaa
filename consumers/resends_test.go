package consumers

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"mobileid/internal/mobileid"
)

// resendOf is a wish for the next code of a challenge of that person.
func resendOf(t testing.TB, r *room, b mobileid.Binding, change func(*mobileid.SentChallenge)) (mobileid.ResendRequested, []*Record) {
	t.Helper()
	id := testIDKey(t).Make(mobileid.KindChallenge, "oneid", "c", noon.Add(-time.Minute))
	c := mobileid.SentChallenge{
		ID: id, Client: "oneid", Person: b.Person, Purpose: "sign_in", Locale: mobileid.LocaleEn, State: mobileid.ChallengePending, Sends: 1, TriesLeft: 2,
	}
	if change != nil {
		change(&c)
	}
	r.sent = map[mobileid.ID]mobileid.SentChallenge{id: c}
	q := mobileid.ResendRequested{
		ID: testIDKey(t).Make(mobileid.KindResend, "oneid", "r", noon), Challenge: id, Client: "oneid", Person: b.Person.String(), Deadline: noon.Add(30 * time.Second),
	}
	return q, tracked(message(t, mobileid.TypeResendRequested, q.ID.String(), q))
}

func TestTheNextCodeIsStoredSealedAndPutOnItsLane(t *testing.T) {
	r := newRoom()
	var opener *mobileid.Opener
	h := otpHandler(t, r, &opener)
	b := r.bind(t, 1)
	q, recs := resendOf(t, r, b, nil)
	if err := h.Handle(context.Background(), recs); err != nil {
		t.Fatal(err)
	}
	if len(r.resent) != 1 || len(r.lane) != 1 || !recs[0].isDone() {
		t.Fatalf("stored %d, published %d", len(r.resent), len(r.lane))
	}
	n := r.resent[0]
	if n.Request != q || n.Number != 2 || !n.ExpiresAt.Equal(noon.Add(3*time.Minute)) || !n.CanResendAt.Equal(noon.Add(time.Minute)) || n.Nonce == "" {
		t.Errorf("%+v", n)
	}
	if want := testIDKey(t).Derive(mobileid.KindMessage, "oneid", q.Challenge, 2); n.Message.ID != want || n.Message.Lane != mobileid.LaneOTP {
		t.Errorf("Message %s, want %s", n.Message.ID, want)
	}
	plain, err := opener.Open(n.Message.ID[:], n.Message.Sealed)
	if err != nil {
		t.Fatal(err)
	}
	var text mobileid.SealedText
	if err := json.Unmarshal(plain, &text); err != nil || !strings.Contains(text.Text, r.codes[n.Nonce]) || !strings.Contains(text.Text, "otp.sign_in en") {
		t.Errorf("%v", err)
	}
}

func TestNoNextCodeIsMade(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*mobileid.SentChallenge)
		stored int // for the times and numbers of whoever may not know
	}{
		"ended":            {func(c *mobileid.SentChallenge) { c.State = mobileid.ChallengeUnbound }, 1},
		"no try is left":   {func(c *mobileid.SentChallenge) { c.TriesLeft = 0 }, 1},
		"all codes made":   {func(c *mobileid.SentChallenge) { c.Sends = 4 }, 0},
		"another client's": {func(c *mobileid.SentChallenge) { c.Client = "shop" }, 0},
		"another person's": {func(c *mobileid.SentChallenge) { c.Person[0]++ }, 0},
		"purpose gone":     {func(c *mobileid.SentChallenge) { c.Purpose = "gone" }, 0},
		"never stored":     {func(c *mobileid.SentChallenge) { *c = mobileid.SentChallenge{} }, 0},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRoom()
			var opener *mobileid.Opener
			h := otpHandler(t, r, &opener)
			_, recs := resendOf(t, r, r.bind(t, 1), c.change)
			if err := h.Handle(context.Background(), recs); err != nil {
				t.Fatal(err)
			}
			if r.issued != 0 || len(r.lane) != 0 || len(r.resent) != c.stored || !recs[0].isDone() {
				t.Errorf("%d codes, %d stored, %d published", r.issued, len(r.resent), len(r.lane))
			}
		})
	}
}

func TestTooManyCodesAreStoredAndNotSent(t *testing.T) {
	for name, bound := range map[string]bool{"bound": true, "who may not be known to be unbound": false} {
		t.Run(name, func(t *testing.T) {
			r := newRoom()
			var opener *mobileid.Opener
			h := otpHandler(t, r, &opener)
			b := r.bind(t, 1)
			if !bound {
				delete(r.bindings, b.Person)
			}
			r.wait = 7 * time.Minute
			q, _ := resendOf(t, r, b, nil)
			c := mobileid.ChallengeRequested{
				ID: testIDKey(t).Make(mobileid.KindChallenge, "oneid", "new", noon), Client: "oneid", Person: b.Person.String(), Purpose: "sign_in",
				Presence: mobileid.PresenceSession, BodyHash: testIDKey(t).BodyHash("oneid", nil), Deadline: noon.Add(30 * time.Second),
			}
			recs := tracked(message(t, mobileid.TypeResendRequested, q.ID.String(), q), message(t, mobileid.TypeChallengeRequested, c.ID.String(), c))
			if err := h.Handle(context.Background(), recs); err != nil {
				t.Fatal(err)
			}
			if r.issued != 0 || len(r.lane) != 0 {
				t.Fatalf("%d codes, %d published", r.issued, len(r.lane))
			}
			until := noon.Add(7 * time.Minute)
			if !r.challenges[c.ID].RetryAt.Equal(until) || len(r.resent) != 1 || !r.resent[0].RetryAt.Equal(until) {
				t.Errorf("challenge %s, resend %+v", r.challenges[c.ID].RetryAt, r.resent)
			}
			number := b.Number
			if !bound {
				number = mobileid.Pseudonym{}
			}
			want := []mobileid.CodeAsk{
				{ID: c.ID, Person: b.Person, Number: number, Presence: mobileid.PresenceSession},
				{ID: q.ID, Person: b.Person, Number: number, Presence: mobileid.PresenceNone}, // as it was asked first
			}
			if !slices.Equal(r.asks, want) {
				t.Errorf("asked %+v", r.asks)
			}
		})
	}
}

func TestCodesOfAnEnrollmentAreNotCounted(t *testing.T) {
	r := newRoom()
	var opener *mobileid.Opener
	h := otpHandler(t, r, &opener).(*otpRequests)
	p := h.Purposes["sign_in"]
	p.Use = mobileid.UseEnrollment
	h.Purposes["sign_in"] = p
	r.wait = time.Hour
	_, recs := resendOf(t, r, r.bind(t, 1), func(c *mobileid.SentChallenge) { c.Sends = 30 })
	if err := h.Handle(context.Background(), recs); err != nil || len(r.lane) != 1 || len(r.asks) != 0 {
		t.Errorf("%v: %d sent, asked %+v", err, len(r.lane), r.asks)
	}
}
