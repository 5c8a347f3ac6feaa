package gateway

import (
	"fmt"
	"net/http"
	"time"

	"mobileid/gateway/receipt"
	"mobileid/internal/mobileid"
)

// confirmedBody is a Confirmation as its client sees it.
type confirmedBody struct {
	ID          mobileid.ID             `json:"id"`
	State       mobileid.ChallengeState `json:"state"`
	Purpose     string                  `json:"purpose"`
	ContextHash string                  `json:"context_hash,omitempty"`
	ConfirmedAt time.Time               `json:"confirmed_at"`
	PersonID    string                  `json:"person_id"`
	Receipt     string                  `json:"receipt"` // signed; package receipt
}

// getConfirmation answers with the evidence of a confirmed challenge, as verify did.
func (g *Gateway) getConfirmation(w http.ResponseWriter, r *http.Request, client mobileid.Client) error {
	id, err := g.pathID(r, client, mobileid.KindChallenge)
	if err != nil {
		return err
	}
	done, err := g.deps.Registry.Confirmation(r.Context(), client.ID, id)
	if isNotFound(err) {
		return &mobileid.Error{Kind: mobileid.KindNotFound, Code: "not_confirmed", Message: "this challenge is not confirmed"}
	}
	if err != nil {
		return err
	}
	return g.answerConfirmed(w, client, done)
}

func (g *Gateway) answerConfirmed(w http.ResponseWriter, client mobileid.Client, done mobileid.Confirmation) error {
	personID := g.accepter.deps.IDKey.PersonID(client.ID, done.Person)
	at := receipt.At(done.ConfirmedAt.UTC())
	signed, err := g.deps.Receipts.Sign(receipt.Claims{
		Issuer: g.cfg.ReceiptIssuer, Subject: personID, Audience: client.ID, ID: done.Challenge.String(),
		IssuedAt: at, AuthTime: at, Methods: []string{"sms", "otp"}, Class: classOf(done),
		Purpose: done.Purpose, ContextHash: done.ContextHash, Presence: string(done.Presence), Enrolled: done.Enrolled, SIMCheck: string(done.SIMCheck),
	})
	if err != nil {
		return fmt.Errorf("sign a receipt: %w", err)
	}
	return writeJSON(w, http.StatusOK, confirmedBody{
		ID: done.Challenge, State: mobileid.ChallengeConfirmed, Purpose: done.Purpose, ContextHash: done.ContextHash,
		ConfirmedAt: done.ConfirmedAt.UTC(), PersonID: personID, Receipt: signed,
	})
}

// classOf is the acr of a receipt: an SMS is one factor, what the relying party says
// of another one is its own word.
func classOf(done mobileid.Confirmation) string {
	switch done.Presence {
	case mobileid.PresenceFirstFactor:
		return "urn:mobileid:acr:sms-and-first-factor"
	case mobileid.PresenceSession:
		return "urn:mobileid:acr:sms-in-session"
	case mobileid.PresenceNone:
	}
	return "urn:mobileid:acr:sms"
}

// jwks publishes the keys that receipts are verified with.
func (g *Gateway) jwks(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/jwk-set+json")
	w.Header().Set("Cache-Control", "public, max-age=300")
	_, _ = w.Write(g.deps.Receipts.JWKS())
}
