package app

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/twmb/franz-go/pkg/kfake"

	"mobileid/consumers"
	"mobileid/internal/mobileid"
)

func TestALoopIsStuckWhenOneStepTakesAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		reg := prometheus.NewRegistry()
		p := newProgress(slog.New(slog.NewTextHandler(&log, nil)), reg)
		var running sync.WaitGroup
		ctx, stop := context.WithCancel(t.Context())
		running.Go(func() { _ = p.run(ctx) })
		idle, busy, hung := p.loop("idle"), p.loop("busy"), p.loop("hung")
		busySteps := func(d time.Duration) { // long steps, but each one ends
			for end := time.Now().Add(d); time.Now().Before(end); {
				busy.Step()
				time.Sleep(stuckAfter / 2) // virtual time
			}
			busy.Rest()
		}
		want := func(names ...string) {
			t.Helper()
			synctest.Wait()
			if got := p.names(); !slices.Equal(got, names) {
				t.Errorf("stuck: %q, want %q", got, names)
			}
			status := http.StatusOK
			if len(names) > 0 {
				status = http.StatusServiceUnavailable
			}
			w := httptest.NewRecorder()
			p.livez(w, nil)
			if w.Code != status || !strings.Contains(w.Body.String(), strings.Join(names, ", ")) {
				t.Errorf("/livez: %d %q, want %d", w.Code, w.Body, status)
			}
			if n, err := testutil.GatherAndCount(reg, "mobileid_stuck_loops"); n != 1 || err != nil {
				t.Error(n, err)
			}
		}
		idle.Step()
		idle.Rest()
		busySteps(10 * stuckAfter)
		want()

		hung.Step()
		time.Sleep(stuckAfter - time.Second)
		want()
		busySteps(5 * stuckAfter)
		want("hung")
		if n := strings.Count(log.String(), "is stuck"); n != 1 || !strings.Contains(log.String(), "loop=hung") {
			t.Errorf("said %d times:\n%s", n, &log)
		}

		hung.Rest()
		busySteps(stuckAfter)
		want()
		if n := strings.Count(log.String(), "comes on again"); n != 1 {
			t.Errorf("said %d times:\n%s", n, &log)
		}
		hung.Step() // the next step has a minute of its own
		busySteps(stuckAfter)
		want()
		stop()
		running.Wait()
	})
}

// A process that was stopped (SIGSTOP, a frozen machine) finds its clock far
// ahead and every step it was in still under way.
func TestAProcessThatStoodStillIsNotStuck(t *testing.T) {
	p := newProgress(slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	loop := p.loop("loop")
	loop.Step()
	for range stuckLooks {
		p.look()
	}
	if got := p.names(); len(got) != 0 {
		t.Errorf("stuck after %d looks: %q", stuckLooks, got)
	}
	p.look()
	if got := p.names(); len(got) != 1 {
		t.Error("not stuck although looked at for a minute")
	}
}

// TestAHandlerThatNeverReturnsIsNamedUntilItDoes has a group on a broker, and a
// handler that does not heed the end of its context.
func TestAHandlerThatNeverReturnsIsNamedUntilItDoes(t *testing.T) {
	const topic = mobileid.TopicOTPRequests
	broker, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, topic))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(broker.Close)
	log := slog.New(slog.DiscardHandler)
	a := &App{log: log, reg: prometheus.NewRegistry(), kafka: consumers.KafkaConfig{Brokers: broker.ListenAddrs()}}
	a.progress = newProgress(log, a.reg)
	a.progress.every = 250 * time.Millisecond // stuck after 3 s: a fetch takes half a second
	a.publisher = consumers.NewPublisher(a.kafka, consumers.PublisherConfig{Log: log, Reg: a.reg})
	t.Cleanup(func() { _ = a.publisher.Close() })
	a.dlq = consumers.NewDLQ(a.publisher, nil, nil)

	told, release, handled := make(chan struct{}), make(chan struct{}), make(chan struct{})
	group := a.group("g", []string{topic}, consumers.HandlerFunc(func(ctx context.Context, _ []*consumers.Record) error {
		<-ctx.Done()
		close(told)
		<-release
		close(handled)
		return nil
	}))
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- runStages(ctx, log, []stage{{group}, {{"progress", a.progress.run}}}) }()
	letGo := sync.OnceFunc(func() { close(release) })
	t.Cleanup(func() {
		letGo()
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	err = a.publisher.Publish(t.Context(), topic, mobileid.Event{
		ID: "1", Type: mobileid.TypeChallengeRequested, Source: "test", Time: time.Now(), Key: "k", Value: []byte(`{}`),
	})
	if err != nil {
		t.Fatal(err)
	}
	await := func(c <-chan struct{}, what string) {
		t.Helper()
		select {
		case <-c:
		case <-time.After(20 * time.Second):
			t.Fatal("20 s have passed and not yet: " + what)
		}
	}
	livez := func(status int, body string) {
		t.Helper()
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for limit := time.Now().Add(20 * time.Second); ; <-tick.C {
			w := httptest.NewRecorder()
			a.admin().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/livez", nil))
			if w.Code == status && w.Body.String() == body {
				return
			}
			if time.Now().After(limit) {
				t.Fatalf("/livez: %d %q, want %d %q", w.Code, w.Body, status, body)
			}
		}
	}
	livez(http.StatusOK, "ok\n")
	await(told, "the handler's context ends")
	livez(http.StatusServiceUnavailable, "stuck: group g handles "+topic+"\n")
	letGo()
	await(handled, "the handler returns")
	livez(http.StatusOK, "ok\n")
}
