package gateway

import (
	"context"
	"net/http"
	"slices"
	"time"

	"mobileid/internal/mobileid"
)

// acceptedBody answers a POST that became durable.
type acceptedBody struct {
	ID          mobileid.ID `json:"id"`
	State       string      `json:"state"`
	AcceptedAt  time.Time   `json:"accepted_at"`
	ExpiresAt   time.Time   `json:"expires_at"`
	CanResendAt time.Time   `json:"can_resend_at,omitzero"`
}

func (g *Gateway) createChallenge(w http.ResponseWriter, r *http.Request, client mobileid.Client) error {
	return g.create(w, r, client, "/v1/challenges/", g.accepter.AcceptChallenge)
}

func (g *Gateway) createNotification(w http.ResponseWriter, r *http.Request, client mobileid.Client) error {
	return g.create(w, r, client, "/v1/messages/", g.accepter.AcceptNotification)
}

func (g *Gateway) create(w http.ResponseWriter, r *http.Request, client mobileid.Client, where string,
	accept func(context.Context, mobileid.Client, string, []byte) (mobileid.Accepted, error),
) error {
	got, err := g.accepted(w, r, client, accept)
	if err != nil {
		return err
	}
	w.Header().Set("Location", where+got.ID.String())
	out := acceptedBody{
		ID: got.ID, State: string(mobileid.ChallengeAccepted),
		AcceptedAt: got.At.UTC(), ExpiresAt: got.ExpiresAt.UTC(),
	}
	if got.ID.Kind() == mobileid.KindChallenge {
		out.CanResendAt = got.At.Add(g.cfg.Resend.After).UTC()
	}
	return writeJSON(w, http.StatusAccepted, out)
}

// accepted has a request accepted and sets the headers of its answer.
func (g *Gateway) accepted(w http.ResponseWriter, r *http.Request, client mobileid.Client,
	accept func(context.Context, mobileid.Client, string, []byte) (mobileid.Accepted, error),
) (got mobileid.Accepted, err error) {
	key, err := idempotencyKey(r)
	if err != nil {
		return got, err
	}
	body, err := readBody(w, r)
	if err != nil {
		return got, err
	}
	if got, err = accept(r.Context(), client, key, body); err != nil {
		return got, err
	}
	recordOf(r).id = got.ID
	ratePolicy(w.Header(), client)
	if got.Replayed {
		w.Header().Set("Idempotent-Replay", "true")
	}
	return got, nil
}

// challengeBody is a challenge as its client sees it.
type challengeBody struct {
	ID          mobileid.ID             `json:"id"`
	State       mobileid.ChallengeState `json:"state"`
	Reason      string                  `json:"reason,omitempty"`
	Version     int64                   `json:"version"`
	Terminal    bool                    `json:"terminal"`
	Purpose     string                  `json:"purpose,omitempty"`
	ExpiresAt   time.Time               `json:"expires_at,omitzero"`
	Message     *messageStateBody       `json:"message,omitempty"`
	Number      string                  `json:"number_masked,omitempty"`
	TriesLeft   *int                    `json:"tries_left,omitempty"`
	ConfirmedAt time.Time               `json:"confirmed_at,omitzero"`
	Sends       int                     `json:"sends,omitempty"`
	CanResendAt time.Time               `json:"can_resend_at,omitzero"`
	RetryAt     time.Time               `json:"retry_at,omitzero"`
}

type messageStateBody struct {
	State mobileid.MessageState `json:"state"`
}

func (b challengeBody) shown() shown { return shown{b.Version, b.Terminal, b} }

func (g *Gateway) readChallenge(ctx context.Context, client mobileid.Client, id mobileid.ID) (shown, error) {
	view, err := g.deps.Registry.Challenge(ctx, client.ID, id)
	if isNotFound(err) {
		return g.unseenChallenge(id).shown(), nil
	}
	if err != nil {
		return shown{}, err
	}
	body := challengeBody{
		ID: id, State: view.State, Reason: view.Reason, Version: view.Version, Terminal: view.State.Terminal(),
		Purpose: view.Purpose, ExpiresAt: g.expiry(id, view.Purpose, view.ExpiresAt), Number: view.Masked,
		TriesLeft: &view.TriesLeft, ConfirmedAt: view.ConfirmedAt.UTC(),
		Sends: view.Sends, CanResendAt: view.CanResendAt.UTC(), RetryAt: view.RetryAt.UTC(),
	}
	if view.MessageState != "" {
		body.Message = &messageStateBody{view.MessageState}
	}
	if client.Disclosure != mobileid.DisclosureFull {
		body = blindChallenge(body, view, g.now())
	}
	if body.Terminal {
		body.TriesLeft = nil
	}
	if body.Terminal || body.Sends > g.cfg.Resend.Most {
		body.CanResendAt = time.Time{}
	}
	return body.shown(), nil
}

// unseenChallenge is an id that we gave and no consumer has stored: on its way,
// or past the time at which one would still take it.
func (g *Gateway) unseenChallenge(id mobileid.ID) challengeBody {
	limit := g.accepter.limit
	if limit.gone(id, g.now()) {
		return challengeBody{
			ID: id, State: mobileid.ChallengeExpired, Reason: mobileid.ReasonNotProcessed, Terminal: true,
			ExpiresAt: limit.of(id).UTC(),
		}
	}
	return challengeBody{ID: id, State: mobileid.ChallengeAccepted}
}

// expiry is the stored time; a challenge that never had a code gets the one
// that its purpose would have given it.
func (g *Gateway) expiry(id mobileid.ID, purpose string, stored time.Time) time.Time {
	if stored.IsZero() {
		stored = id.Time().Add(g.accepter.cfg.Purposes[purpose].Life)
	}
	return stored.UTC()
}

// hidden reports whether an end tells something about the person. A blind
// client sees `pending` until the time of the code is over.
func hidden(s mobileid.ChallengeState, reason string) bool {
	// Only the bound have a SIM of which something is known; wrong codes are counted of
	// anybody.
	if s == mobileid.ChallengeStepUp {
		return mobileid.ReasonOfSIM(reason)
	}
	return slices.Contains([]mobileid.ChallengeState{
		mobileid.ChallengeUnbound, mobileid.ChallengeNoFunds, mobileid.ChallengeFenced,
		mobileid.ChallengeUndeliverable, mobileid.ChallengeFailed,
		// Only the bound have a code that a newer one replaces, or that is lost.
		mobileid.ChallengeSuperseded, mobileid.ChallengeLost,
	}, s)
}

// endedVersion is above the number of codes that a challenge may have.
const endedVersion = 1000

// blindChallenge keeps what does not depend on the person. The version is one
// of the shown states (0 accepted, the number of codes while it is pending, and
// endedVersion): the stored one would count the Messages' steps, which exist for
// the bound only.
//
// Limit: the times at which pending begins, and whether a right code exists at
// all, still differ between persons for an observer with many samples.
func blindChallenge(b challengeBody, v mobileid.ChallengeView, now time.Time) challengeBody {
	b.Reason, b.Message, b.Number = "", nil, ""
	if hidden(v.State, v.Reason) {
		b.State, b.RetryAt = mobileid.ChallengePending, time.Time{}
		switch {
		case v.Cancelled:
			b.State = mobileid.ChallengeCancelled
		case v.TriesLeft <= 0:
			b.State = mobileid.ChallengeExhausted
		case !now.Before(b.ExpiresAt):
			b.State = mobileid.ChallengeExpired
		}
		b.Terminal = b.State.Terminal()
	}
	switch {
	case b.Terminal:
		b.Version = endedVersion
	case b.State == mobileid.ChallengePending:
		b.Version = int64(b.Sends)
	default:
		b.Version = 0
	}
	return b
}
