package consumers

import (
	"context"
	"time"

	"mobileid/internal/mobileid"
)

// After a change of the SIM a code is not enough for a day, or for as long as the
// purpose looks back; when nobody says, one may ask again soon.
const (
	swappedPause = 24 * time.Hour
	unknownPause = time.Minute
)

// simAsk is a code that may be made when its purpose wants to know nothing more of
// the SIM.
type simAsk struct {
	id      mobileid.ID // of the request
	purpose mobileid.Purpose
	binding mobileid.Binding
}

// simAnswer is what follows of the SIM.
type simAnswer struct {
	check  mobileid.SIMCheck // "" is not asked
	stepUp string            // why a code is not enough; "" = it is
	until  time.Time
}

// simChecks asks of all codes of a batch at once, so that no record is held for
// longer than one question may last. nil stands for no code.
func (h *otpRequests) simChecks(ctx context.Context, asks []*simAsk) ([]simAnswer, error) {
	out := make([]simAnswer, len(asks))
	if h.SIM == nil {
		return out, nil
	}
	err := eachOf(len(asks), len(asks), func(i int) error {
		if asks[i] != nil {
			out[i] = h.simCheck(ctx, asks[i])
		}
		return nil
	})
	if err == nil {
		err = ctx.Err() // nobody has heard an answer: that is none
	}
	return out, err
}

// simCheck asks of one. Whoever has shown himself otherwise (a step-up) is asked about
// for the time since then only: it satisfies what was before it, and not what comes
// after. Less than an hour cannot be asked about.
func (h *otpRequests) simCheck(ctx context.Context, a *simAsk) simAnswer {
	age := a.purpose.SIMMaxAge
	since := h.Now().Sub(a.binding.SteppedUpAt)
	satisfied := !a.binding.SteppedUpAt.IsZero() && since < age
	if satisfied {
		age = since.Truncate(time.Hour)
	}
	if age < time.Hour || a.purpose.Enrollment() {
		return simAnswer{}
	}
	check := h.SIM.Check(ctx, mobileid.SIMQuestion{For: a.id, Number: a.binding.MSISDN, MaxAge: age})
	switch {
	case check == mobileid.SIMSwapped:
		return simAnswer{check, mobileid.ReasonSIMSwapped, h.Now().Add(min(swappedPause, a.purpose.SIMMaxAge))}
	case check == mobileid.SIMUnknown && !satisfied && a.purpose.SIMUnknown == mobileid.SIMUnknownStepUp:
		return simAnswer{check, mobileid.ReasonSIMUnknown, h.Now().Add(unknownPause)}
	}
	return simAnswer{check: check}
}
