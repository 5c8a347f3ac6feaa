package consumers

import (
	"context"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"mobileid/internal/mobileid"
)

// The slots of the texts that carry a code.
const (
	slotCode    = "code"
	slotMinutes = "minutes" // the code's life, rounded down to whole minutes, at least 1
)

// firstSend is the send number of the Message that is made with a challenge.
const firstSend = 1

// OTPDeps are the ports of the handler of otp.requests. All but SIM, Now, Log and
// Reg are required.
type OTPDeps struct {
	Registry  ChallengeRegistry
	Codes     Codes
	Limits    Limits
	SIM       SIMs // nil: nobody is asked whether a SIM was changed
	Texts     Texts
	Sealer    Sealer // to the bridge's public key
	IDKey     mobileid.IDKey
	Purposes  map[string]mobileid.Purpose // by id
	Resend    mobileid.ResendRule
	Lanes     Lanes
	Operators map[string]Operator // by id, those that have a file; a Message goes to no other that a number has moved to
	Now       func() time.Time
	Log       *slog.Logger
	Reg       prometheus.Registerer
}

type otpRequests struct {
	OTPDeps
	compose composer
	clocks  skew
}

// NewOTPRequests handles mobileid.otp.requests: for a bound person it issues a
// code, renders and seals its text, stores challenge and Message in one
// transaction of the whole batch, and puts the Message's id on the operator's
// otp lane.
//
// A record that comes again issues no code when its challenge is stored: each
// would stay in Redis for its life, and repetitions of one Idempotency-Key are
// not metered. If it is stored in between, the code that was issued is one that
// nobody will ever see: the row keeps its first nonce, and its sealed text the
// first code (the registry inserts it once), so the one SMS that is sent is the one that
// verifies. A request
// past its deadline and a person without a binding are stored without a
// Message, and the registry ends them.
func NewOTPRequests(d OTPDeps) Handler {
	d.Now = clock(d.Now)
	if d.Log == nil {
		d.Log = slog.New(slog.DiscardHandler)
	}
	return &otpRequests{d, composer{d.Sealer, d.Texts, newCarrier(d.Operators, d.Log, d.Reg)}, newSkew(d.Now, d.Reg)}
}

// Handle stores and publishes the good records of the batch, then answers with
// the error of the first bad one, if any. What asks for a next code comes after
// what asks for a first: so do the records of one challenge.
func (h *otpRequests) Handle(ctx context.Context, recs []*Record) error {
	var first, next []*Record
	for _, rec := range recs {
		if rec.Event.Type == mobileid.TypeResendRequested {
			next = append(next, rec)
		} else {
			first = append(first, rec)
		}
	}
	bad := h.firsts(ctx, first)
	if len(next) == 0 || bad != nil && mobileid.KindOf(bad) != mobileid.KindInvalid {
		return bad
	}
	if err := h.resends(ctx, next); err != nil {
		return err
	}
	return bad
}

func (h *otpRequests) firsts(ctx context.Context, recs []*Record) error {
	list, bad := readAllRequests(recs, mobileid.TypeChallengeRequested, h.clocks,
		func(r mobileid.ChallengeRequested) (mobileid.ID, string) { return r.ID, r.Person })
	list, unknown := h.knownPurposes(list)
	if bad == nil {
		bad = unknown
	}
	if len(list) == 0 {
		return bad
	}
	bindings, known, err := h.look(ctx, list)
	if err != nil {
		return err
	}
	challenges := make([]mobileid.NewChallenge, len(list))
	if err := each(len(list), func(i int) (err error) {
		if known[i] {
			challenges[i] = h.bare(list[i])
			return nil
		}
		challenges[i], err = h.challenge(ctx, list[i], bindings)
		return err
	}); err != nil {
		return err
	}
	if err := h.giveCodes(ctx, list, challenges); err != nil {
		return err
	}
	items, err := h.Registry.IssueChallenges(ctx, challenges)
	if err != nil {
		return err
	}
	if err := publishThenFinish(ctx, h.Lanes, items, list); err != nil {
		return err
	}
	return bad
}

// knownPurposes leaves out requests for a purpose that this process does not
// know; the edge checked it, so that is a difference of configurations.
func (h *otpRequests) knownPurposes(list []request[mobileid.ChallengeRequested]) (known []request[mobileid.ChallengeRequested], bad error) {
	for _, r := range list {
		if _, ok := h.Purposes[r.value.Purpose]; ok {
			known = append(known, r)
			continue
		}
		h.Log.Error("purpose accepted by the edge and unknown here: compare the configurations", "purpose", r.value.Purpose)
		bad = mobileid.Invalid("/purpose", "purpose_unknown", "no such purpose")
	}
	return known, bad
}

// look returns the bindings of the persons, and for each request whether its
// challenge is stored already, or stands earlier in the same batch.
func (h *otpRequests) look(ctx context.Context, list []request[mobileid.ChallengeRequested]) (
	map[mobileid.Pseudonym]mobileid.Binding, []bool, error,
) {
	ids := make([]mobileid.ID, len(list))
	for i, r := range list {
		ids[i] = r.value.ID
	}
	bindings, stored, err := h.Registry.Known(ctx, personsOf(list), ids)
	if err != nil {
		return nil, nil, err
	}
	known := make([]bool, len(list))
	earlier := make(map[mobileid.ID]bool, len(list))
	for i, id := range ids {
		known[i] = stored[id] || earlier[id]
		earlier[id] = true
	}
	return bindings, known, nil
}

// bare is a challenge without binding, code and Message.
func (h *otpRequests) bare(r request[mobileid.ChallengeRequested]) mobileid.NewChallenge {
	p := h.Purposes[r.value.Purpose]
	return mobileid.NewChallenge{
		Request: r.value, Person: r.person, Tries: p.Tries, Exempt: p.Enrollment(),
		ExpiresAt: h.Now().Add(p.Life), ResendAt: h.Now().Add(h.Resend.After), Source: r.rec.Ref,
	}
}

// challenge is one whose code, if it has a Binding, is still to be made.
func (h *otpRequests) challenge(ctx context.Context, r request[mobileid.ChallengeRequested], bindings map[mobileid.Pseudonym]mobileid.Binding) (mobileid.NewChallenge, error) {
	p := h.Purposes[r.value.Purpose]
	c := h.bare(r)
	b, bound := bindings[r.person]
	if h.Now().After(r.value.Deadline) {
		return c, nil
	}
	// A person without a binding is counted alike: who may not know must not see it.
	wait, err := h.take(ctx, mobileid.CodeAsk{ID: r.value.ID, Person: r.person, Number: b.Number, Presence: r.value.Presence}, p)
	if err != nil {
		return c, err
	}
	if wait > 0 {
		c.RetryAt = h.Now().Add(wait)
		return c, nil
	}
	if !bound {
		return c, nil
	}
	c.Binding = &b
	return c, nil
}

// giveCodes makes the codes and Messages of challenges that may have one, by what is
// known of the SIM.
func (h *otpRequests) giveCodes(ctx context.Context, list []request[mobileid.ChallengeRequested], challenges []mobileid.NewChallenge) error {
	asks := make([]*simAsk, len(list))
	for i := range challenges {
		if c := &challenges[i]; c.Binding != nil {
			asks[i] = &simAsk{c.Request.ID, h.Purposes[c.Request.Purpose], *c.Binding}
		}
	}
	sims, err := h.simChecks(ctx, asks)
	if err != nil {
		return err
	}
	return each(len(list), func(i int) (err error) {
		c, p := &challenges[i], h.Purposes[list[i].value.Purpose]
		if c.Binding == nil {
			return nil
		}
		c.SIMCheck, c.StepUp = sims[i].check, sims[i].stepUp
		if c.StepUp != "" {
			c.RetryAt = sims[i].until
			return nil
		}
		c.Nonce, c.Message, err = h.code(ctx, codeFor{
			id: c.Request.ID, client: c.Request.Client, number: firstSend, locale: c.Request.Locale, tries: p.Tries, until: c.ExpiresAt,
		}, p, *c.Binding)
		return err
	})
}

// take takes a code of the limits of a person and a number. Those of an enrollment are
// not counted.
func (h *otpRequests) take(ctx context.Context, ask mobileid.CodeAsk, p mobileid.Purpose) (time.Duration, error) {
	if p.Enrollment() {
		return 0, nil
	}
	if ask.Presence == "" {
		ask.Presence = mobileid.PresenceNone
	}
	return h.Limits.Take(ctx, ask)
}
