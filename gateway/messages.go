package gateway

import (
	"context"
	"time"

	"mobileid/internal/mobileid"
)

// messageBody is a Message as its client sees it.
type messageBody struct {
	ID        mobileid.ID           `json:"id"`
	State     mobileid.MessageState `json:"state"`
	Reason    string                `json:"reason,omitempty"`
	Version   int64                 `json:"version"`
	Terminal  bool                  `json:"terminal"`
	TextID    string                `json:"text_id,omitempty"`
	Parts     int                   `json:"parts,omitempty"`
	ExpiresAt time.Time             `json:"expires_at,omitzero"`
	EndedAt   time.Time             `json:"ended_at,omitzero"`
}

// messageAccepted is shown of a Message that no consumer has stored yet; the
// registry has no such state.
const messageAccepted mobileid.MessageState = "accepted"

func (b messageBody) shown() shown { return shown{b.Version, b.Terminal, b} }

func (g *Gateway) readMessage(ctx context.Context, client mobileid.Client, id mobileid.ID) (shown, error) {
	view, err := g.deps.Registry.Message(ctx, client.ID, id)
	if isNotFound(err) {
		if g.accepter.limit.gone(id, g.now()) {
			return messageBody{ID: id, State: mobileid.MessageExpired, Reason: mobileid.ReasonNotProcessed, Terminal: true}.shown(), nil
		}
		return messageBody{ID: id, State: messageAccepted}.shown(), nil
	}
	if err != nil {
		return shown{}, err
	}
	body := messageBody{
		ID: id, State: view.State, Reason: view.Reason, Version: view.Version, Terminal: view.State.Terminal(),
		TextID: view.TextID, Parts: view.Parts, ExpiresAt: view.Deadline.UTC(), EndedAt: view.EndedAt.UTC(),
	}
	if client.Disclosure != mobileid.DisclosureFull {
		body = g.blindMessage(body)
	}
	return body.shown(), nil
}

// blindMessage hides everything after the row was written: any later state says
// that the person is bound, or is not. At the deadline it ends `unconfirmed`,
// which promises nothing.
func (g *Gateway) blindMessage(b messageBody) messageBody {
	deadline := g.accepter.limit.of(b.ID).UTC()
	b = messageBody{ID: b.ID, State: mobileid.MessageQueued, Version: 1, TextID: b.TextID, ExpiresAt: deadline}
	if !g.now().Before(deadline) {
		b.State, b.Version, b.Terminal = mobileid.MessageUnconfirmed, 2, true
	}
	return b
}
