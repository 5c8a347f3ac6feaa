package app_test

import (
	"context"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"mobileid/cmd/mobileid/app"
	"mobileid/cmd/mobileid/app/apptest"
	"mobileid/cmd/mobileid/config"
	"mobileid/internal/testenv"
)

// livez asks /livez of the admin address; 0 means that nobody listens.
func (l *looker) livez() (status int, body string) {
	l.t.Helper()
	req, err := http.NewRequestWithContext(l.t.Context(), http.MethodGet, "http://"+l.Config.HTTP.Admin+"/livez", nil)
	if err != nil {
		l.t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		l.t.Fatal(err)
	}
	return res.StatusCode, string(text)
}

func (l *looker) alive(when string) {
	l.t.Helper()
	l.Until(when+": /livez answers", func() bool { status, _ := l.livez(); return status != 0 })
	if status, body := l.livez(); status != http.StatusOK || body != "ok\n" {
		l.t.Errorf("%s: /livez %d %q", when, status, body)
	}
}

// TestNoEngineThatIsAwayMakesAProcessStuck lets every engine fall silent under
// the whole system, which is worse than refusing: then each step of each loop
// must end by its own timeout. It brings a broker of its own on both sets,
// because one that names its own address cannot have a proxy before it.
func TestNoEngineThatIsAwayMakesAProcessStuck(t *testing.T) {
	broker, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(broker.Close)
	s := look(t, apptest.Options{
		Through: struct{ Postgres, Kafka, Redis, SMSC bool }{Postgres: true, Redis: true, SMSC: true},
		Change:  func(c *config.Config) { c.Kafka.Brokers = broker.ListenAddrs() },
	})
	s.alive("all are there")
	p := s.Bind(1, 1000_00)
	s.Ask(p, "sign_in")
	s.Code(p.Number, 1)

	silence := map[string]any{"timeout": 0}
	back := make(chan struct{})
	heal := sync.OnceFunc(func() { close(back) })
	t.Cleanup(heal)
	heals := []func(){
		s.PostgresProxy.Toxic("timeout", "downstream", silence),
		s.SMSCProxy.Toxic("timeout", "downstream", silence),
	}
	s.Ask(p, "verify") // a consumer has it while Postgres is silent
	heals = append(heals, s.RedisProxy.Toxic("timeout", "downstream", silence))
	broker.Control(func(kmsg.Request) (kmsg.Response, error, bool) {
		broker.KeepControl()
		<-back
		return nil, nil, false //nolint:nilnil // not handled, says kfake
	})

	// The first round may be of steps that began before the silence.
	for range 2 {
		begun := s.App.StepsUnderWay()
		t.Logf("%d of %d loops are in a step: %v", len(begun), s.App.Loops(), slices.Sorted(maps.Keys(begun)))
		s.Until("each of these steps ends", func() bool {
			for name, step := range s.App.StepsUnderWay() {
				if begun[name] == step {
					return false
				}
			}
			return true
		})
	}
	s.alive("all are silent")
	if a, err := s.Try(http.MethodGet, "/livez", "", ""); err != nil || a.Status != http.StatusOK {
		t.Errorf("/livez of the public address: %d %v", a.Status, err)
	}

	heal()
	for _, h := range heals {
		h()
	}
	if a := s.Call(http.MethodGet, "/livez", "", ""); a.Status != http.StatusOK {
		t.Errorf("%d %s", a.Status, a.Body)
	}
	s.Until("it works again", func() bool {
		a, err := s.Try(http.MethodPost, "/v1/challenges", "again", apptest.ChallengeBody(p.PINFL, "sign_in"))
		return err == nil && a.Status == http.StatusAccepted
	})
	s.alive("all are back")
}

// TestAProcessThatWaitsForItsEnginesIsAlive starts each role before any engine.
func TestAProcessThatWaitsForItsEnginesIsAlive(t *testing.T) {
	s := look(t, apptest.Options{Roles: []string{}, Through: struct{ Postgres, Kafka, Redis, SMSC bool }{Postgres: true, Redis: true, SMSC: true}})
	s.PostgresProxy.Down()
	s.RedisProxy.Down()
	s.SMSCProxy.Down()
	s.Config.Kafka.Brokers = []string{testenv.FreeAddr(t)}
	for _, role := range app.AllRoles() {
		a, err := app.New(s.Config, app.Options{Roles: []string{role}, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
		done := make(chan error, 1)
		go func() { done <- a.Run(ctx) }()
		s.alive(role + " waits")
		stop()
		if err := <-done; err != nil {
			t.Error(role, err)
		}
	}
}

func TestEveryRoleHasLivezOnItsAdminAddress(t *testing.T) {
	s := look(t, apptest.Options{Roles: []string{}})
	for _, role := range app.AllRoles() {
		s.Run(role)
		s.alive(role)
		s.Stop()
	}
}
