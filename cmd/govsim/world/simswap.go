package world

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"sync"
	"time"

	"mobileid/internal/mobileid"
)

// simSwapPath is of CAMARA SIM Swap 2.1.0.
const simSwapPath = "/sim-swap/v2"

// What the contract says of maxAge, in hours.
const (
	simSwapHours    = 240 // when it is left out
	mostSwapHours   = 2400
	refuseNotFound  = "IDENTIFIER_NOT_FOUND"
	refuseNotServed = "SERVICE_NOT_APPLICABLE"
	refuseRange     = "OUT_OF_RANGE"
)

// refusals are the answers of the contract that a number may be given, and why.
var refusals = map[string]struct {
	status  int
	message string
}{
	refuseNotFound:  {http.StatusNotFound, "The number is not known here."},
	refuseNotServed: {http.StatusUnprocessableEntity, "The service is not offered for this number."},
	refuseRange:     {http.StatusBadRequest, "maxAge is longer than is kept."},
}

var correlator = regexp.MustCompile(`^[a-zA-Z0-9-_:;./<>{}]{0,256}$`)

// simSwap is the operators' common service that says whether the SIM of a number was
// changed lately. A number that it was told nothing of was not.
type simSwap struct {
	*faults
	token bearer
	now   func() time.Time

	mu      sync.Mutex
	changed map[mobileid.MSISDN]time.Time
	refused map[mobileid.MSISDN]string // code of refusals
}

func newSIMSwap(cfg Config) *simSwap {
	return &simSwap{
		faults: newFaults(), token: newBearer(cfg.SIMSwapToken), now: cfg.Now,
		changed: map[mobileid.MSISDN]time.Time{}, refused: map[mobileid.MSISDN]string{},
	}
}

func (s *simSwap) routes(mux *http.ServeMux) {
	mux.HandleFunc("POST "+simSwapPath+"/check", s.postCheck)
}

func (s *simSwap) postCheck(w http.ResponseWriter, r *http.Request) {
	given := r.Header.Get("x-correlator")
	if !correlator.MatchString(given) {
		problem(w, http.StatusBadRequest, "INVALID_ARGUMENT", "x-correlator is not of the pattern.")
		return
	}
	if given != "" {
		w.Header().Set("x-correlator", given)
	}
	if !s.token.admits(r) {
		problem(w, http.StatusUnauthorized, "UNAUTHENTICATED", "The token is unknown.")
		return
	}
	var question struct {
		PhoneNumber string `json:"phoneNumber"`
		MaxAge      *int   `json:"maxAge"`
	}
	decoder := json.NewDecoder(r.Body)
	decoder.DisallowUnknownFields()
	if decoder.Decode(&question) != nil {
		problem(w, http.StatusBadRequest, "INVALID_ARGUMENT", `Want {"phoneNumber": "+998...", "maxAge": hours}.`)
		return
	}
	if question.PhoneNumber == "" {
		problem(w, http.StatusUnprocessableEntity, "MISSING_IDENTIFIER", "phoneNumber is missing.")
		return
	}
	number, err := mobileid.ParseMSISDN(question.PhoneNumber)
	if err != nil || question.PhoneNumber[0] != '+' {
		problem(w, http.StatusBadRequest, "INVALID_ARGUMENT", "phoneNumber is not one.")
		return
	}
	hours := simSwapHours
	if question.MaxAge != nil {
		hours = *question.MaxAge
	}
	if hours < 1 || hours > mostSwapHours {
		problem(w, http.StatusBadRequest, refuseRange, "maxAge is from 1 to 2400.")
		return
	}
	if s.play(w, r) {
		return
	}
	swapped, code := s.look(number, time.Duration(hours)*time.Hour)
	if why, refused := refusals[code]; refused {
		problem(w, why.status, code, why.message)
		return
	}
	answer(w, http.StatusOK, map[string]bool{"swapped": swapped})
}

func problem(w http.ResponseWriter, status int, code, message string) {
	answer(w, status, map[string]any{"status": status, "code": code, "message": message})
}

func (s *simSwap) look(number mobileid.MSISDN, age time.Duration) (swapped bool, refused string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at, changed := s.changed[number]
	return changed && s.now().Sub(at) < age, s.refused[number]
}

// simSwapOrder is an order of the control API: what it says of numbers is added to
// what is known, and how the service behaves is replaced.
type simSwapOrder struct {
	Swapped map[string]*int   `json:"swapped"` // hours ago; null forgets
	Refused map[string]string `json:"refused"` // code of refusals; "" forgets
	faultOrder
}

// carryOut takes an order. A bad one changes nothing.
func (s *simSwap) carryOut(order simSwapOrder) error {
	if err := order.check(); err != nil {
		return err
	}
	changed, refused := map[mobileid.MSISDN]time.Time{}, map[mobileid.MSISDN]string{}
	for given, hours := range order.Swapped {
		number, err := mobileid.ParseMSISDN(given)
		switch {
		case err != nil:
			return fmt.Errorf("sim-swap: %w", err)
		case hours == nil:
			changed[number] = time.Time{}
		case *hours < 0 || *hours > 10*mostSwapHours:
			return fmt.Errorf("sim-swap: hours ago from 0 to %d, or null", 10*mostSwapHours)
		default:
			changed[number] = s.now().Add(-time.Duration(*hours) * time.Hour)
		}
	}
	for given, code := range order.Refused {
		number, err := mobileid.ParseMSISDN(given)
		if err != nil {
			return fmt.Errorf("sim-swap: %w", err)
		}
		if _, known := refusals[code]; !known && code != "" {
			return fmt.Errorf("sim-swap: refused: want %s, %s, %s or nothing", refuseNotFound, refuseNotServed, refuseRange)
		}
		refused[number] = code
	}
	s.mu.Lock()
	maps.Copy(s.changed, changed)
	maps.DeleteFunc(s.changed, func(_ mobileid.MSISDN, at time.Time) bool { return at.IsZero() })
	maps.Copy(s.refused, refused)
	maps.DeleteFunc(s.refused, func(_ mobileid.MSISDN, code string) bool { return code == "" })
	s.mu.Unlock()
	s.obey(order.faultOrder)
	return nil
}

// simSwapState is what of it the control API shows: no numbers.
type simSwapState struct {
	Swapped int `json:"swapped"` // numbers
	Refused int `json:"refused"` // numbers
	Asked   int `json:"asked"`
	faultOrder
}

func (s *simSwap) shown() simSwapState {
	order, asked := s.state()
	s.mu.Lock()
	defer s.mu.Unlock()
	return simSwapState{Swapped: len(s.changed), Refused: len(s.refused), Asked: asked, faultOrder: order}
}
