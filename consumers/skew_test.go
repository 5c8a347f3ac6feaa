package consumers

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/segmentio/kafka-go"

	"mobileid/internal/mobileid"
)

// Both handlers count, in one counter; what is late, or ahead by what clocks
// may differ, is not counted.
func TestIdsOfTheFutureAreCounted(t *testing.T) {
	reg := prometheus.NewRegistry()
	r := newRoom()
	sealer, _ := sealPair(t)
	now := func() time.Time { return noon }
	operators := map[string]Operator{"beeline": {Parts: func(string) int { return 1 }}}
	codes := NewOTPRequests(OTPDeps{
		Registry: r, Codes: r, Limits: r, Texts: r, Sealer: sealer, IDKey: testIDKey(t), Lanes: r, Operators: operators, Now: now, Reg: reg,
		Purposes: map[string]mobileid.Purpose{"sign_in": {ID: "sign_in"}},
	})
	notices := NewNotificationRequests(NotificationDeps{Registry: r, Texts: r, Sealer: sealer, Lanes: r, Operators: operators, Now: now, Reg: reg})
	var asked, told []kafka.Message
	for _, ahead := range []time.Duration{-time.Hour, 0, aheadAfter, aheadAfter + time.Millisecond} {
		at := noon.Add(ahead)
		c := challengeRequest(t, ahead.String(), 1)
		c.ID = testIDKey(t).Make(mobileid.KindChallenge, c.Client, ahead.String(), at)
		asked = append(asked, challengeMessage(t, c))
		n := mobileid.NotificationRequested{
			ID: testIDKey(t).Make(mobileid.KindMessage, c.Client, ahead.String(), at), Client: c.Client, Person: c.Person,
			TextID: "notice.x", BodyHash: c.BodyHash, Deadline: at.Add(time.Hour),
		}
		told = append(told, message(t, mobileid.TypeNotificationRequested, n.ID.String(), n))
	}
	for i, h := range []Handler{codes, notices} {
		if err := h.Handle(t.Context(), tracked([][]kafka.Message{asked, told}[i]...)); err != nil {
			t.Fatal(err)
		}
		if n := metric(t, reg, "mobileid_consumer_ids_ahead_total", nil); n != float64(i+1) {
			t.Errorf("%v counted after %d handlers", n, i+1)
		}
	}
}
