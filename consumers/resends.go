package consumers

import (
	"context"
	"strconv"
	"time"

	"mobileid/internal/mobileid"
)

// resends makes the next codes of challenges. A person's requests are on one
// partition, so the challenge is stored by then, or never will be: of what is not
// stored, or has ended, nothing is sent, as of what came too early, too often or too
// late. The registry decides all of it again under its locks.
func (h *otpRequests) resends(ctx context.Context, recs []*Record) error {
	list, bad := readAllRequests(recs, mobileid.TypeResendRequested, h.clocks,
		func(r mobileid.ResendRequested) (mobileid.ID, string) { return r.ID, r.Person })
	if len(list) == 0 {
		return bad
	}
	ids := make([]mobileid.ID, len(list))
	for i, r := range list {
		ids[i] = r.value.Challenge
	}
	sent, err := h.Registry.SentChallenges(ctx, ids)
	if err != nil {
		return err
	}
	bindings, _, err := h.Registry.Known(ctx, personsOf(list), nil)
	if err != nil {
		return err
	}
	sends, asks := make([]*mobileid.NewSend, len(list)), make([]*simAsk, len(list))
	for i, r := range list {
		c := sent[r.value.Challenge]
		p, known := h.Purposes[c.Purpose]
		// An enrollment may ask as often as it likes (decree clauses 16, 25).
		used := c.Sends > h.Resend.Most && !p.Enrollment()
		if !known || used || c.Client != r.value.Client || c.Person != r.person || h.Now().After(r.value.Deadline) {
			continue // there is nothing to store
		}
		if sends[i], err = h.next(ctx, r, c, p, bindings); err != nil {
			return err
		}
		if n := sends[i]; n.Binding != nil {
			asks[i] = &simAsk{r.value.ID, p, *n.Binding}
		}
	}
	sims, err := h.simChecks(ctx, asks)
	if err != nil {
		return err
	}
	var items []mobileid.LaneItem
	for i, n := range sends {
		if n == nil {
			continue
		}
		if n.Binding != nil {
			if err := h.fill(ctx, n, sent[n.Request.Challenge], sims[i]); err != nil {
				return err
			}
		}
		item, ok, err := h.Registry.Resend(ctx, n)
		if err != nil {
			return err
		}
		if ok {
			items = append(items, item)
		}
	}
	if err := publishThenFinish(ctx, h.Lanes, items, list); err != nil {
		return err
	}
	return bad
}

// next is a sending whose code, if it has a Binding, is still to be made.
func (h *otpRequests) next(ctx context.Context, r request[mobileid.ResendRequested], c mobileid.SentChallenge, p mobileid.Purpose,
	bindings map[mobileid.Pseudonym]mobileid.Binding,
) (*mobileid.NewSend, error) {
	now := h.Now()
	n := &mobileid.NewSend{
		Request: r.value, Number: c.Sends + 1, ExpiresAt: now.Add(p.Life), CanResendAt: now.Add(h.Resend.After), Source: r.rec.Ref,
	}
	b, bound := bindings[r.person]
	if c.Resend == r.value.ID {
		return n, nil
	}
	wait, err := h.take(ctx, mobileid.CodeAsk{ID: r.value.ID, Person: r.person, Number: b.Number, Presence: c.Presence}, p)
	if err != nil {
		return nil, err
	}
	if wait > 0 {
		n.RetryAt = now.Add(wait)
		return n, nil
	}
	if !bound || c.State != mobileid.ChallengePending || c.TriesLeft == 0 {
		return n, nil
	}
	n.Binding = &b
	return n, nil
}

// fill makes the code and the Message, or says why there is none.
func (h *otpRequests) fill(ctx context.Context, n *mobileid.NewSend, c mobileid.SentChallenge, sim simAnswer) (err error) {
	n.SIMCheck, n.StepUp = sim.check, sim.stepUp
	if n.StepUp != "" {
		n.RetryAt = sim.until
		return nil
	}
	n.Nonce, n.Message, err = h.code(ctx, codeFor{
		id: c.ID, client: c.Client, number: n.Number, locale: c.Locale, tries: c.TriesLeft, until: n.ExpiresAt,
	}, h.Purposes[c.Purpose], *n.Binding)
	return err
}

// codeFor says what a code is made for.
type codeFor struct {
	id     mobileid.ID // of the challenge
	client string
	number int // of the sending
	locale mobileid.Locale
	tries  int
	until  time.Time
}

// code makes a code and the Message that carries it.
func (h *otpRequests) code(ctx context.Context, f codeFor, p mobileid.Purpose, b mobileid.Binding) (nonce string, m *mobileid.NewMessage, err error) {
	issued, err := h.Codes.Issue(ctx, f.id, p.Digits, p.Life, f.tries)
	if err != nil {
		return "", nil, err
	}
	text, err := h.Texts.Render(p.TextID, localeOf(f.locale, b), map[string]string{
		slotCode:    issued.Code.Reveal(),
		slotMinutes: strconv.Itoa(max(1, int(p.Life/time.Minute))),
	})
	if err != nil {
		return "", nil, err
	}
	m, err = h.compose.message(mobileid.NewMessage{
		ID:       h.IDKey.Derive(mobileid.KindMessage, f.client, f.id, f.number),
		Client:   f.client,
		Lane:     mobileid.LaneOTP,
		TextID:   p.TextID,
		Deadline: f.until,
	}, b, text)
	return issued.Nonce, m, err
}
