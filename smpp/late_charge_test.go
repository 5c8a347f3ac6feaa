package smpp

import (
	"context"
	"testing"
	"time"

	"mobileid/internal/mobileid"
	"mobileid/smpp/wire"
)

// What is known of a Charge is not forgotten when the answer is late.
func TestALateAnswerKeepsWhatIsKnownOfTheCharge(t *testing.T) {
	answer := func(context.Context, int, mobileid.Pseudonym) ChargeAnswer { return ChargeFree }
	s := &stub{answer: answer, calls: map[mobileid.ID]int{}, told: map[mobileid.ID][]string{}}
	late := func(int, submitted) reply { return reply{status: wire.StatusOK, after: 12 * time.Second} }
	inBubbleWith(t, func(c *Config) { c.ChargesAtOnce = 100 }, late, func(r *rig) {
		r.bridge.charging.charger, r.charging, s.store = s, mobileid.ChargingDiameter, r.store
	}, func(r *rig, _ *operator) {
		id := r.message(mobileid.LaneBulk, nil)
		r.mustTake(mobileid.LaneBulk, id)
		r.until(id, mobileid.MessageSent)
		if note := r.last(id).Charge; note != mobileid.ChargeFree {
			t.Errorf("outcomes %q; the last one says %q of the Charge, want free", r.outcomes(id), note)
		}
	})
}
