package consumers

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"mobileid/internal/mobileid"
)

// movedRoom has a person for each operator that a number may have moved to.
func movedRoom(t *testing.T, to ...string) *room {
	t.Helper()
	r := newRoom()
	for i, operator := range to {
		b := r.bind(t, byte(i+1))
		b.PortedTo = operator
		r.bindings[b.Person] = b
	}
	return r
}

func TestAMessageGoesToTheOperatorThatServesTheNumberNow(t *testing.T) {
	cases := []struct{ portedTo, want string }{
		{"", "beeline"},
		{"ucell", "ucell"},
		{"beeline", "beeline"}, // and back
		{"gone", "beeline"},    // no file, so no lane
	}
	var to []string
	for _, c := range cases {
		to = append(to, c.portedTo)
	}
	parts := func(n int) func(string) int { return func(string) int { return n } }
	operators := map[string]Operator{
		"beeline": {Parts: parts(2)}, "ucell": {Parts: parts(3), Charging: mobileid.ChargingOperator, OneSend: true},
	}
	sealer, _ := sealPair(t)
	r := movedRoom(t, to...)
	codes := NewOTPRequests(OTPDeps{
		Registry: r, Codes: r, Limits: r, Texts: r, Sealer: sealer, IDKey: testIDKey(t), Lanes: r, Operators: operators,
		Purposes: map[string]mobileid.Purpose{"sign_in": {ID: "sign_in", TextID: "otp.sign_in", Life: 3 * time.Minute, Digits: 6, Tries: 3}},
		Now:      func() time.Time { return noon },
	})
	notices := NewNotificationRequests(NotificationDeps{
		Registry: r, Texts: r, Sealer: sealer, Lanes: r, Operators: operators, Now: func() time.Time { return noon },
	})
	for i, c := range cases {
		t.Run(c.portedTo, func(t *testing.T) {
			person := byte(i + 1)
			code := challengeRequest(t, "code of "+c.want+c.portedTo, person)
			key := testIDKey(t)
			notice := mobileid.NotificationRequested{
				ID: key.Make(mobileid.KindMessage, "tax", "notice of "+c.want+c.portedTo, noon), Client: "tax",
				Person: mobileid.Pseudonym{person}.String(), TextID: "notice.x", BodyHash: key.BodyHash("tax", nil), Deadline: noon.Add(time.Hour),
			}
			r.lane = nil
			if err := codes.Handle(t.Context(), tracked(challengeMessage(t, code))); err != nil {
				t.Fatal(err)
			}
			if err := notices.Handle(t.Context(), tracked(message(t, mobileid.TypeNotificationRequested, notice.ID.String(), notice))); err != nil {
				t.Fatal(err)
			}
			want := operators[c.want]
			wantParts := want.Parts("")
			account := map[string]int64{"beeline": 7}[c.want] // at the other one that of the number there
			for _, m := range []*mobileid.NewMessage{r.challenges[code.ID].Message, r.notifications[notice.ID].Message} {
				if m.Operator != c.want || m.Parts != wantParts || m.Account != account || m.Charging != want.Charging || m.OneSend != want.OneSend || m.Fence.Version != 3 {
					t.Errorf("message %+v, want operator %s and %d parts", m, c.want, wantParts)
				}
			}
			if len(r.lane) != 2 || r.lane[0].Operator != c.want || r.lane[1].Operator != c.want {
				t.Errorf("lanes %+v", r.lane)
			}
		})
	}
}

// A configuration that lacks an operator is told of, each time by a counter
// that both handlers share and once by the log, and neither names a person.
func TestANumberThatMovedToAnOperatorWithoutAFileIsToldOf(t *testing.T) {
	var log bytes.Buffer
	reg := prometheus.NewRegistry()
	r := movedRoom(t, "gone", "gone", "lost", "ucell", "")
	c := newCarrier(map[string]Operator{"beeline": {}, "ucell": {}}, slog.New(slog.NewJSONHandler(&log, nil)), reg)
	for range 2 {
		for _, b := range r.bindings {
			c.operator(b)
		}
	}
	newCarrier(nil, nil, reg).operator(r.bindings[mobileid.Pseudonym{1}])
	for operator, want := range map[string]float64{"gone": 5, "lost": 2, "ucell": 0} {
		if have := testutil.ToFloat64(c.away.WithLabelValues(operator)); have != want {
			t.Errorf("%v counted of %s, want %v", have, operator, want)
		}
	}
	if lines := strings.Count(log.String(), "\n"); lines != 2 || !strings.Contains(log.String(), `"operator":"gone"`) {
		t.Errorf("%d lines: %s", lines, log.String())
	}
	if m := msisdn(t); strings.Contains(log.String(), m.RevealDigits()[3:]) {
		t.Error("the log has a number")
	}
}
