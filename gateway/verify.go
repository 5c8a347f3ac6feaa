package gateway

import (
	"context"
	"net/http"
	"time"

	"mobileid/internal/mobileid"
)

// verifyChallenge compares a code. What it needs is checked from cheap to
// dear, and no try is counted before everything but the code is right. The
// Idempotency-Key and the code together are remembered by the Confirmation
// that they make and nowhere else: a wrong code sent twice is two tries, and a
// key that has confirmed confirms nothing with another code.
func (g *Gateway) verifyChallenge(w http.ResponseWriter, r *http.Request, client mobileid.Client) error {
	id, err := g.pathID(r, client, mobileid.KindChallenge)
	if err != nil {
		return err
	}
	key, err := idempotencyKey(r)
	if err != nil {
		return err
	}
	body, err := readBody(w, r)
	if err != nil {
		return err
	}
	req, err := parseVerify(body)
	if err != nil {
		return err
	}
	done, err := g.verify(r.Context(), client, id, g.accepter.deps.IDKey.KeyPart(client.ID, key+"\x00"+req.Code.Reveal()), req)
	if err != nil {
		return err
	}
	if done.Replayed {
		w.Header().Set("Idempotent-Replay", "true")
	}
	return g.answerConfirmed(w, client, done)
}

func (g *Gateway) verify(ctx context.Context, client mobileid.Client, id mobileid.ID, verifyKey mobileid.KeyPart,
	req verifyRequest,
) (mobileid.Confirmation, error) {
	var none mobileid.Confirmation
	live, err := g.deps.Registry.LiveChallenge(ctx, client.ID, id)
	if err != nil {
		if mobileid.KindOf(err) == mobileid.KindNotFound {
			return none, g.unseen(id)
		}
		return none, err
	}
	blind := client.Disclosure != mobileid.DisclosureFull
	exempt := g.accepter.cfg.Purposes[live.Purpose].Enrollment()
	switch {
	case live.State == mobileid.ChallengeConfirmed:
		// The evidence is in Postgres: a repetition needs no Redis.
		return g.confirm(ctx, client, id, verifyKey, req, blind)
	case blind && hidden(live.State, live.Reason):
		// The form is checked first, as for a live code: a refusal that counts
		// no try must not tell the two apart.
		if err := g.checkForm(live, req); err != nil {
			return none, err
		}
		if live.Cancelled {
			return none, ended(mobileid.ChallengeCancelled)
		}
		return none, g.decoy(ctx, live)
	case live.State == mobileid.ChallengeAccepted:
		return none, notReady()
	case live.State != mobileid.ChallengePending:
		return none, ended(live.State)
	case !g.now().Before(live.ExpiresAt):
		return none, ended(mobileid.ChallengeExpired)
	}
	if err := g.checkForm(live, req); err != nil {
		return none, err
	}
	if live.Barred && !exempt {
		// He may try no more today: nothing is compared.
		if _, err := g.deps.Registry.CountWrongTry(ctx, id, exempt); err != nil {
			return none, err
		}
		return none, g.end(ctx, id, mobileid.ChallengeExhausted)
	}
	result, left, err := g.deps.Codes.Verify(ctx, id, live.Nonce, req.Code)
	if err != nil {
		return none, err
	}
	switch result {
	case mobileid.CodeRight:
		return g.confirm(ctx, client, id, verifyKey, req, blind)
	case mobileid.CodeWrong:
		return none, g.wrong(ctx, live, left, exempt)
	case mobileid.CodeExhausted:
		return none, g.end(ctx, id, mobileid.ChallengeExhausted)
	case mobileid.CodeLost:
		err := g.end(ctx, id, mobileid.ChallengeLost)
		if blind && mobileid.CodeOf(err) == endedCode(mobileid.ChallengeLost) {
			return none, g.decoy(ctx, live)
		}
		return none, err
	default:
		return none, ended(mobileid.ChallengeExpired) // the sweeper will write it down
	}
}

// checkForm refuses what cannot be right whatever the code is; no try is
// counted.
func (g *Gateway) checkForm(live mobileid.LiveChallenge, req verifyRequest) error {
	if live.ContextHash != req.ContextHash {
		return contextMismatch()
	}
	if digits := g.accepter.cfg.Purposes[live.Purpose].Digits; digits > 0 && digits != req.digits {
		return codeFormat()
	}
	return nil
}

// unseen answers for an id that has no row yet, or never will.
func (g *Gateway) unseen(id mobileid.ID) error {
	if g.accepter.limit.gone(id, g.now()) {
		return ended(mobileid.ChallengeExpired)
	}
	return notReady()
}

func contextMismatch() error {
	return mobileid.Invalid("context_hash", "context_mismatch", "not the context of this challenge; no try was counted")
}

func notReady() error {
	return &mobileid.Error{
		Kind: mobileid.KindConflict, Code: "challenge_not_ready", RetryAfter: time.Second,
		Message: "no code is issued yet; no try was counted",
	}
}

func ended(state mobileid.ChallengeState) error {
	return &mobileid.Error{Kind: mobileid.KindConflict, Code: endedCode(state), Message: endedMeaning[state]}
}

func (g *Gateway) confirm(ctx context.Context, client mobileid.Client, id mobileid.ID, verifyKey mobileid.KeyPart,
	req verifyRequest, blind bool,
) (mobileid.Confirmation, error) {
	done, err := g.deps.Registry.Confirm(ctx, client.ID, id, verifyKey, req.ContextHash)
	if err == nil {
		g.giveBack(ctx, done)
		return done, nil
	}
	if blind && mobileid.CodeOf(err) == endedCode(mobileid.ChallengeFenced) {
		return done, ended(mobileid.ChallengeExpired)
	}
	return done, err
}

// wrong counts the try for good; the last one ends the challenge.
func (g *Gateway) wrong(ctx context.Context, live mobileid.LiveChallenge, left int, exempt bool) error {
	used, err := g.deps.Registry.CountWrongTry(ctx, live.ID, exempt)
	if err != nil {
		return err
	}
	// Two counters, one of which forgets: the lower answer is the true one.
	left = max(0, min(left, live.Tries-used))
	if left == 0 {
		if err := g.deps.Registry.EndChallenge(ctx, live.ID, mobileid.ChallengeExhausted, mobileid.ReasonWrongCodes); err != nil {
			return err
		}
	}
	return wrongWith(left)
}

func wrongWith(left int) error {
	return &wrongCodeError{
		refusal:   mobileid.Invalid("code", "code_wrong", "the code is not the one of the SMS"),
		triesLeft: left,
	}
}

func (g *Gateway) end(ctx context.Context, id mobileid.ID, state mobileid.ChallengeState) error {
	reason := mobileid.ReasonWrongCodes
	if state == mobileid.ChallengeLost {
		reason = mobileid.ReasonCodeLost
	}
	if err := g.deps.Registry.EndChallenge(ctx, id, state, reason); err != nil {
		return err
	}
	return ended(state)
}

// decoy answers a blind client about a person who has no live code, as if
// there were one and the code were wrong.
func (g *Gateway) decoy(ctx context.Context, live mobileid.LiveChallenge) error {
	if !g.now().Before(g.expiry(live.ID, live.Purpose, live.ExpiresAt)) {
		return ended(mobileid.ChallengeExpired)
	}
	used, err := g.deps.Registry.CountWrongTry(ctx, live.ID, g.accepter.cfg.Purposes[live.Purpose].Enrollment())
	if err != nil {
		return err
	}
	if used > live.Tries || live.Barred {
		return ended(mobileid.ChallengeExhausted)
	}
	return wrongWith(max(0, live.Tries-used))
}

// giveBack gives back what the codes of a confirmed challenge were counted for: who
// types the right ones is not held up by how many he needs. If it fails, he is short of
// one for a while.
func (g *Gateway) giveBack(ctx context.Context, done mobileid.Confirmation) {
	if done.Replayed || g.deps.Counted == nil {
		return
	}
	for _, asked := range []mobileid.ID{done.Challenge, done.Resend} {
		if asked.IsZero() {
			continue
		}
		err := g.deps.Counted.GiveBack(ctx, mobileid.CodeAsk{ID: asked, Person: done.Person, Number: done.Number, Presence: done.Presence})
		if err != nil {
			g.log.Warn("a right code is not given back to the limits of its person", "err", err)
		}
	}
}
