package gateway

import (
	"net/http"
	"time"

	"mobileid/internal/mobileid"
)

// reportBody answers a report of balances that became durable. Nothing is read of
// it later, so there is no place and no state.
type reportBody struct {
	ID         mobileid.ID `json:"id"`
	AcceptedAt time.Time   `json:"accepted_at"`
}

// createBalanceEvents takes what an operator tells of its subscribers' accounts.
func (g *Gateway) createBalanceEvents(w http.ResponseWriter, r *http.Request, client mobileid.Client) error {
	got, err := g.accepted(w, r, client, g.accepter.AcceptBalance)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusAccepted, reportBody{ID: got.ID, AcceptedAt: got.At.UTC()})
}
