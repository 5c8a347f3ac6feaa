package world

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"sync"

	"mobileid/internal/mobileid"
)

const numberInfoPath = "/number-info/v1/operator"

// numberInfo is the operators' common service that says who serves a number.
type numberInfo struct {
	*faults
	token bearer

	mu      sync.Mutex
	answers map[mobileid.MSISDN]string
}

func newNumberInfo(cfg Config) (*numberInfo, error) {
	n := &numberInfo{faults: newFaults(), token: newBearer(cfg.NumberInfoToken), answers: map[mobileid.MSISDN]string{}}
	return n, n.know(cfg.Numbers)
}

// know adds answers; an operator of "" forgets the number. A bad number changes
// nothing.
func (n *numberInfo) know(answers map[string]string) error {
	parsed := make(map[mobileid.MSISDN]string, len(answers))
	for number, operator := range answers {
		m, err := mobileid.ParseMSISDN(number)
		if err != nil {
			return fmt.Errorf("number-info: %w", err)
		}
		parsed[m] = operator
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	maps.Copy(n.answers, parsed)
	maps.DeleteFunc(n.answers, func(_ mobileid.MSISDN, operator string) bool { return operator == "" })
	return nil
}

func (n *numberInfo) routes(mux *http.ServeMux) {
	mux.HandleFunc("POST "+numberInfoPath, n.postOperator)
}

func (n *numberInfo) postOperator(w http.ResponseWriter, r *http.Request) {
	if !n.token.admits(r) {
		w.Header().Set("WWW-Authenticate", `Bearer realm="govsim"`)
		answer(w, http.StatusUnauthorized, map[string]string{"error": "unknown token"})
		return
	}
	var question struct {
		MSISDN string `json:"msisdn"`
	}
	err := json.NewDecoder(r.Body).Decode(&question)
	m, bad := mobileid.ParseMSISDN(question.MSISDN)
	if err != nil || bad != nil {
		answer(w, http.StatusBadRequest, map[string]string{"error": `want {"msisdn": "+998..."}`})
		return
	}
	if n.play(w, r) {
		return
	}
	if operator := n.serves(m); operator != "" {
		answer(w, http.StatusOK, map[string]string{"status": "known", "operator": operator})
		return
	}
	answer(w, http.StatusOK, map[string]string{"status": "unknown"})
}

// serves says who serves a number; "" is unknown.
func (n *numberInfo) serves(m mobileid.MSISDN) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.answers[m]
}

// carryOut takes an order of the control API: answers are added to what is known,
// and how the service behaves is replaced. A bad one changes nothing.
func (n *numberInfo) carryOut(order faultOrder, answers map[string]string) error {
	if err := order.check(); err != nil {
		return err
	}
	if err := n.know(answers); err != nil {
		return err
	}
	n.obey(order)
	return nil
}

// numberInfoState is what of it the control API shows: no numbers.
type numberInfoState struct {
	Known int `json:"known"`
	Asked int `json:"asked"`
	faultOrder
}

func (n *numberInfo) shown() numberInfoState {
	order, asked := n.state()
	n.mu.Lock()
	defer n.mu.Unlock()
	return numberInfoState{Known: len(n.answers), Asked: asked, faultOrder: order}
}
