package gateway

import (
	"context"
	"net/http"
	"time"

	"mobileid/internal/mobileid"
)

// resendBody answers the wish for another code. Which code lives is told by the
// challenge: its `sends` has grown when it was made.
type resendBody struct {
	ID          mobileid.ID `json:"id"`
	ResendID    mobileid.ID `json:"resend_id"`
	AcceptedAt  time.Time   `json:"accepted_at"`
	CanResendAt time.Time   `json:"can_resend_at"`
}

// resendChallenge asks for a challenge's next code (decree clauses 16, 25). What a
// client may not know decides nothing here: of a person who has no code the same times
// and numbers are kept.
func (g *Gateway) resendChallenge(w http.ResponseWriter, r *http.Request, client mobileid.Client) error {
	id, err := g.pathID(r, client, mobileid.KindChallenge)
	if err != nil {
		return err
	}
	live, err := g.deps.Registry.LiveChallenge(r.Context(), client.ID, id)
	if isNotFound(err) {
		return g.unseen(id)
	}
	if err != nil {
		return err
	}
	allowed := func() error { return g.resendable(live, client.Disclosure != mobileid.DisclosureFull) }
	got, err := g.accepted(w, r, client, func(ctx context.Context, c mobileid.Client, key string, body []byte) (mobileid.Accepted, error) {
		return g.accepter.AcceptResend(ctx, c, key, body, live, allowed)
	})
	if err != nil {
		return err
	}
	w.Header().Set("Location", "/v1/challenges/"+id.String())
	return writeJSON(w, http.StatusAccepted, resendBody{
		ID: id, ResendID: got.ID, AcceptedAt: got.At.UTC(), CanResendAt: got.At.Add(g.cfg.Resend.After).UTC(),
	})
}

// resendable refuses when no further code may be asked for, or not yet.
func (g *Gateway) resendable(live mobileid.LiveChallenge, blind bool) error {
	state := live.State
	if blind && hidden(state, live.Reason) {
		state = mobileid.ChallengePending
		if live.Cancelled {
			state = mobileid.ChallengeCancelled
		}
	}
	now := g.now()
	switch {
	case state == mobileid.ChallengeConfirmed:
		return confirmedAlready()
	case state != mobileid.ChallengePending:
		return ended(state)
	case !now.Before(g.expiry(live.ID, live.Purpose, live.ExpiresAt)):
		return ended(mobileid.ChallengeExpired)
	case live.Sends > g.cfg.Resend.Most:
		return &mobileid.Error{
			Kind: mobileid.KindConflict, Code: "resends_used",
			Message: "this challenge has had all its codes: ask for a new challenge",
		}
	case now.Before(live.CanResendAt):
		return &mobileid.Error{
			Kind: mobileid.KindLimited, Code: "resend_too_early", RetryAfter: live.CanResendAt.Sub(now),
			Message: "another code may be asked for later; nothing was done",
		}
	}
	return nil
}

func confirmedAlready() error {
	return &mobileid.Error{
		Kind: mobileid.KindConflict, Code: "challenge_confirmed", Message: "the code was right already: this challenge has done its work",
	}
}

// AcceptResend accepts the wish for a challenge's next code, if allowed does not refuse
// a new one; the body is empty or {}. ExpiresAt is the latest time at which it can
// still be made.
func (a *Accepter) AcceptResend(ctx context.Context, client mobileid.Client, key string, body []byte,
	live mobileid.LiveChallenge, allowed func() error,
) (mobileid.Accepted, error) {
	if err := admissible(client, mobileid.ScopeChallenges, key, body); err != nil {
		return mobileid.Accepted{}, err
	}
	if err := parseNothing(body); err != nil {
		return mobileid.Accepted{}, err
	}
	got, _, err := a.identifyIf(ctx, client, mobileid.KindResend, key, struct {
		Is        string      `json:"is"`
		Challenge mobileid.ID `json:"challenge"`
	}{"resend", live.ID}, allowed)
	if err != nil {
		return mobileid.Accepted{}, err
	}
	got.ExpiresAt = got.At.Add(a.cfg.CodeDeadline)
	return got, a.publishOne(ctx, mobileid.TopicOTPRequests, mobileid.TypeResendRequested, "resend", live.Person, got,
		mobileid.ResendRequested{
			ID: got.ID, Challenge: live.ID, Client: client.ID, Person: live.Person.String(), Deadline: got.ExpiresAt,
		})
}
