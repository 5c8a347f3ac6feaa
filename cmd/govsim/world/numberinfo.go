package world

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"
	"sync"
	"time"

	"mobileid/internal/mobileid"
)

const numberInfoPath = "/number-info/v1/operator"

// The ways in which number-info can fail by order.
const (
	FaultNone    = ""
	FaultError   = "error"   // 500
	FaultGarbage = "garbage" // 200 with what is no JSON
	FaultHang    = "hang"    // no answer until the asker goes away
	FaultCut     = "cut"     // half an answer, then the connection is closed
)

// maxDelay leaves time to write the answer.
const maxDelay = requestLimit - time.Second

// numberInfo is the operators' common service that says who serves a number.
type numberInfo struct {
	token [sha256.Size]byte

	mu      sync.Mutex
	answers map[mobileid.MSISDN]string
	order   numberInfoOrder
	asked   int
	closing chan struct{}
}

// numberInfoOrder is how the service behaves.
type numberInfoOrder struct {
	Fault string `json:"fault"`
	Delay int    `json:"delay_ms"` // before each answer
	Times int    `json:"times"`    // how many requests suffer; 0 = all until the next order
}

func newNumberInfo(cfg Config) (*numberInfo, error) {
	n := &numberInfo{
		token:   sha256.Sum256([]byte(cfg.NumberInfoToken)), // of "": no header carries an empty token
		answers: map[mobileid.MSISDN]string{}, closing: make(chan struct{}),
	}
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
	token, bearer := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	got := sha256.Sum256([]byte(token))
	if !bearer || subtle.ConstantTimeCompare(n.token[:], got[:]) != 1 {
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
	order, operator := n.next(m)
	if !n.wait(r, order) {
		return
	}
	switch order.Fault {
	case FaultError:
		answer(w, http.StatusInternalServerError, map[string]string{"error": "by order of the control API"})
	case FaultGarbage:
		_, _ = io.WriteString(w, "<html>by order of the control API")
	case FaultCut:
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Length", "100")
		_, _ = io.WriteString(w, `{"status":`)
		panic(http.ErrAbortHandler) // closes the connection
	default:
		if operator == "" {
			answer(w, http.StatusOK, map[string]string{"status": "unknown"})
			return
		}
		answer(w, http.StatusOK, map[string]string{"status": "known", "operator": operator})
	}
}

// next counts a question and says how it is to be answered.
func (n *numberInfo) next(m mobileid.MSISDN) (numberInfoOrder, string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.asked++
	order := n.order
	if order.Times > 0 {
		n.order.Times--
		if n.order.Times == 0 {
			n.order = numberInfoOrder{}
		}
	}
	return order, n.answers[m]
}

// wait is the delay of an order; false if the asker went away, or the world ends.
func (n *numberInfo) wait(r *http.Request, order numberInfoOrder) bool {
	delay := time.Duration(order.Delay) * time.Millisecond
	if order.Fault == FaultHang {
		delay = 24 * time.Hour
	}
	if delay == 0 {
		return true
	}
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-r.Context().Done():
	case <-n.closing:
	}
	return false
}

// obey takes an order of the control API: answers are added to what is known,
// and how the service behaves is replaced.
func (n *numberInfo) obey(order numberInfoOrder, answers map[string]string) error {
	switch order.Fault {
	case FaultNone, FaultError, FaultGarbage, FaultHang, FaultCut:
	default:
		return fmt.Errorf("fault %q: want error, garbage, hang, cut or nothing", order.Fault)
	}
	if order.Delay < 0 || order.Delay > int(maxDelay/time.Millisecond) || order.Times < 0 {
		return fmt.Errorf("delay_ms: 0 to %d; times: 0 or more", maxDelay/time.Millisecond)
	}
	if err := n.know(answers); err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.order = order
	return nil
}

// numberInfoState is what of it the control API shows: no numbers.
type numberInfoState struct {
	Known int `json:"known"`
	Asked int `json:"asked"`
	numberInfoOrder
}

func (n *numberInfo) state() numberInfoState {
	n.mu.Lock()
	defer n.mu.Unlock()
	return numberInfoState{Known: len(n.answers), Asked: n.asked, numberInfoOrder: n.order}
}
