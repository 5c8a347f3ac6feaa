package demo

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"time"

	"mobileid/cmd/mobileid/config/sandbox"
	"mobileid/internal/mobileid"
)

// accounts are the persons' prepaid accounts, as the page shows them.
type accounts struct{ d *demo }

// Accounts returns what pays for each person.
func (a accounts) Accounts(ctx context.Context) ([]*mobileid.SubscriberView, error) {
	people := a.d.persons()
	who := make([]mobileid.Pseudonym, len(people))
	for i, p := range people {
		pinfl, err := mobileid.ParsePINFL(p.pinfl)
		if err != nil {
			return nil, err
		}
		who[i] = a.d.pseudonyms.Person(pinfl)
	}
	found, err := a.d.app.Registry().Subscribers(ctx, who)
	if err != nil {
		return nil, err
	}
	out := make([]*mobileid.SubscriberView, len(people))
	for i := range who {
		if v, ok := found[who[i]]; ok {
			out[i] = &v
		}
	}
	return out, nil
}

// TopUp has the operator tell that money has come to a person.
func (a accounts) TopUp(ctx context.Context, person int, amount mobileid.Money) error {
	return a.d.topUp(ctx, a.d.persons()[person], amount)
}

// topUp tells of money as an operator does: by his client, over the public API.
func (d *demo) topUp(ctx context.Context, p person, amount mobileid.Money) error {
	if p.number == "" {
		return &mobileid.Error{Kind: mobileid.KindNotFound, Code: "unbound", Message: "no number is bound to " + p.label + ", so there is no account to top up"}
	}
	token, _, err := askIssuer(ctx, d.world.TokenURL(), d.dir, sandbox.Billing, string(mobileid.ScopeBalance))
	if err != nil {
		return err
	}
	operator := &tourist{url: "http://" + d.listener.Addr().String(), client: http.DefaultClient, token: token}
	name := rand.Text()
	body := fmt.Sprintf(`{"events":[{"number":%q,"kind":"top_up","amount":%d,"seq":%q,"at":%q}]}`,
		p.number, amount, name, time.Now().Format(time.RFC3339Nano))
	return operator.call(ctx, http.MethodPost, "/v1/balance-events", name, body, http.StatusAccepted, nil)
}
