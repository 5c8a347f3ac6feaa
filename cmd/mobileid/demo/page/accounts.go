package page

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"mobileid/internal/mobileid"
)

// topUp is what the button says: money for two Messages of the demo.
const topUp mobileid.Money = 240_00

// Accounts are the prepaid accounts of Deps.Persons, which are named by their
// place in that list.
type Accounts interface {
	// Accounts returns the account that pays for each, in the order of the list;
	// nil where none does.
	Accounts(ctx context.Context) ([]*mobileid.SubscriberView, error)
	// TopUp has the operator tell that money has come, as he does. It returns when
	// we have taken his word; what follows is seen in Accounts.
	TopUp(ctx context.Context, person int, amount mobileid.Money) error
}

// accountJSON has no name and no number: its place in the list says whose it is.
type accountJSON struct {
	Known    bool      `json:"known"` // the operator has told the balance
	Balance  string    `json:"balance"`
	Reserved string    `json:"reserved"`
	Stopped  string    `json:"stopped"` // balance or barred; "" = SMS are sent
	Since    time.Time `json:"since,omitzero"`
	ProbeAt  time.Time `json:"probe_at,omitzero"`
}

// sendAccounts writes the accounts when one has changed. As with the totals, a
// failed read changes nothing.
func (s *server) sendAccounts(ctx context.Context, st *stream, last string) (string, error) {
	if s.deps.Accounts == nil {
		return last, nil
	}
	ctx, cancel := context.WithTimeout(ctx, countsEvery)
	defer cancel()
	found, err := s.deps.Accounts.Accounts(ctx)
	if err != nil {
		s.cfg.Log.Debug("no accounts for the page", "code", mobileid.CodeOf(err))
		return last, nil
	}
	told := make([]*accountJSON, len(found))
	for i, a := range found {
		if a != nil {
			told[i] = &accountJSON{
				Known: a.Known, Balance: a.Available.String(), Reserved: a.Reserved.String(),
				Stopped: a.SuspendedWhy, Since: a.SuspendedSince, ProbeAt: a.ProbeAt,
			}
		}
	}
	now, err := json.Marshal(told)
	if err != nil || string(now) == last {
		return last, err
	}
	return string(now), st.event("accounts", told)
}

// topUpOf tops up the n-th person of the list, the first being 1.
func (s *server) topUpOf(w http.ResponseWriter, r *http.Request) {
	n, err := strconv.Atoi(r.PathValue("n"))
	if err != nil || n < 1 || s.deps.Accounts == nil || s.deps.Persons == nil || n > len(s.deps.Persons()) {
		http.Error(w, "no person to top up there: they are counted from 1, in the order of /demo/setup", http.StatusNotFound)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), readTimeout)
	defer cancel()
	if err := s.deps.Accounts.TopUp(ctx, n-1, topUp); err != nil {
		s.fail(w, r, err)
		return
	}
	writeJSON(w, http.StatusAccepted, map[string]any{"told": mobileid.BalanceTopUp, "amount": topUp.String()})
}
