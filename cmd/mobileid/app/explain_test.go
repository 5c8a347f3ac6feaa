package app_test

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"mobileid/cmd/mobileid/app"
	"mobileid/cmd/mobileid/app/apptest"
	"mobileid/cmd/mobileid/config/sandbox"
	"mobileid/internal/mobileid"
)

// TestAnAcceptedRequestIsExplainedBeforeItIsStored has requests accepted that
// nobody reads.
func TestAnAcceptedRequestIsExplainedBeforeItIsStored(t *testing.T) {
	s := apptest.Start(t, apptest.Options{Roles: []string{app.RoleGateway}})
	asked, err := mobileid.ParseID(s.Ask(s.Bind(1, 1000_00), "sign_in"))
	if err != nil {
		t.Fatal(err)
	}
	key, err := mobileid.NewIDKey([]byte(s.Config.Keys.ID.Reveal()))
	if err != nil {
		t.Fatal(err)
	}
	d := s.Config.Deadlines
	explain := func(id mobileid.ID) ([]mobileid.Step, error) {
		return app.Explain(t.Context(), s.Config, id, slog.New(slog.DiscardHandler))
	}
	const accepted, notStored, expired = "edge accepted", "registry not stored", "edge from now on its client reads"
	for _, c := range []struct {
		id    mobileid.ID
		topic string
		ends  time.Duration // after the acceptance
		want  []string
	}{
		{asked, mobileid.TopicOTPRequests, d.CodeAccept + d.Grace, []string{accepted, notStored, expired}},
		{
			key.Make(mobileid.KindMessage, sandbox.Client, "k", time.Now().Add(-time.Minute)),
			mobileid.TopicNotificationRequests, d.Notice + d.Grace,
			[]string{accepted, notStored, expired},
		},
		{
			key.Make(mobileid.KindChallenge, sandbox.Client, "k", time.Now().Add(-time.Minute)),
			mobileid.TopicOTPRequests, d.CodeAccept + d.Grace,
			[]string{accepted, expired, notStored},
		},
	} {
		steps, err := explain(c.id)
		if err != nil || len(steps) != len(c.want) {
			t.Fatalf("%s: %v %v", c.id, steps, err)
		}
		if !steps[0].At.Equal(c.id.Time()) || steps[0].Facts["client"] != sandbox.Client {
			t.Errorf("%s: %+v", c.id, steps[0])
		}
		for i, want := range c.want {
			at, step := steps[i].At, steps[i]
			if told := fmt.Sprint(step.Hop, " ", step.What); !strings.HasPrefix(told, want) {
				t.Errorf("%s: step %d is %q, want %q", c.id, i, told, want)
			}
			if want == notStored && step.Facts["topic"] != c.topic {
				t.Errorf("%s: its topic is %q, want %s", c.id, step.Facts["topic"], c.topic)
			}
			if want == expired && !at.Equal(c.id.Time().Add(c.ends)) {
				t.Errorf("%s: its client reads expired %s after the acceptance, want %s", c.id, at.Sub(c.id.Time()), c.ends)
			}
		}
	}
	// As the last of these is told, so it is read.
	gone := key.Make(mobileid.KindChallenge, sandbox.Client, "k", time.Now().Add(-d.CodeAccept-d.Grace-time.Second))
	if a := s.Await(gone.String(), "expired"); a.JSON("reason") != mobileid.ReasonNotProcessed {
		t.Errorf("its client reads %s", a.Body)
	}
	for what, id := range map[string]mobileid.ID{
		"made up":              {6: byte(mobileid.KindChallenge), 10: 1},
		"of an unknown client": key.Make(mobileid.KindChallenge, "nobody", "k", time.Now()),
	} {
		if steps, err := explain(id); mobileid.KindOf(err) != mobileid.KindNotFound || len(steps) != 0 {
			t.Errorf("%s: %v %v", what, steps, err)
		}
	}
	s.Stop()
	s.Run(app.RoleConsumers)
	s.Until("it is stored", func() bool {
		steps, err := explain(asked)
		return err == nil && steps[1].Record != nil
	})
}
