package gateway

import (
	"net/http"

	"mobileid/internal/mobileid"
)

// cancelChallenge takes a challenge back: no code of it works from then on. It may
// come before the challenge is issued, and it may be repeated. It answers with the
// challenge as a GET would.
func (g *Gateway) cancelChallenge(w http.ResponseWriter, r *http.Request, client mobileid.Client) error {
	id, err := g.pathID(r, client, mobileid.KindChallenge)
	if err != nil {
		return err
	}
	body, err := readBody(w, r)
	if err != nil {
		return err
	}
	if err := parseNothing(body); err != nil {
		return err
	}
	// An id that will never have a row needs none to be stopped.
	if g.accepter.limit.gone(id, g.now()) {
		if _, err := g.deps.Registry.LiveChallenge(r.Context(), client.ID, id); isNotFound(err) {
			return ended(mobileid.ChallengeExpired)
		}
	}
	state, err := g.deps.Registry.CancelChallenge(r.Context(), client.ID, id)
	switch {
	case err != nil:
		return err
	case state == mobileid.ChallengeConfirmed:
		return confirmedAlready()
	}
	now, err := g.readChallenge(r.Context(), client, id)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, now.body)
}
