package registry_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"mobileid/internal/mobileid"
	"mobileid/registry"
)

// sessions has n connections in use at once and returns the server's processes
// behind them: each relay takes a row and waits in its transaction until all
// have one.
func (e *env) sessions(n int) []int {
	e.t.Helper()
	e.exec(`delete from outbox`)
	e.exec(`insert into outbox (subject, client, state, version, at) select int8send(i), 'c', 'sent', 1, now() from generate_series(1, $1) i`, n)
	ctx, cancel := context.WithTimeout(e.ctx(), 10*time.Second)
	defer cancel()
	inside := make(chan struct{}, n)
	leave := make(chan struct{})
	var wg sync.WaitGroup
	for range n {
		relay := registry.NewRelay(e.DB, publisher(func([]mobileid.StatusChanged) error {
			inside <- struct{}{}
			select {
			case <-leave:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}), registry.RelayConfig{Batch: 1})
		wg.Go(func() {
			if _, err := relay.Once(ctx); err != nil {
				e.t.Error(err, cause(err))
			}
		})
	}
	for range n {
		select {
		case <-inside:
		case <-ctx.Done():
			e.t.Error("a relay did not come to its publisher")
		}
	}
	pids := query[[]int](e, `select array_agg(pid order by pid) from pg_stat_activity
		where datname = current_database() and application_name = 'mobileid' and state = 'idle in transaction'`)
	close(leave)
	wg.Wait()
	if len(pids) != n {
		e.t.Fatalf("%d connections are in use, want %d", len(pids), n)
	}
	return pids
}

// wantSessions turns the clock and compares the connections with those of
// before: none is in use any more, or all are.
func (e *env) wantSessions(at time.Time, before []int, replaced bool) []int {
	e.t.Helper()
	e.clk.ns.Store(at.UnixNano())
	now := e.sessions(len(before))
	kept := 0
	for _, pid := range now {
		if slices.Contains(before, pid) {
			kept++
		}
	}
	if want := map[bool]int{true: 0, false: len(before)}[replaced]; kept != want {
		e.t.Errorf("at %s %d of %d connections are still in use, want %d", at.Format(time.StampMilli), kept, len(before), want)
	}
	return now
}

func TestConnectionsAreReplacedAtAMonthsBegin(t *testing.T) {
	e := newEnv(t)
	december := time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)
	e.clk.ns.Store(december.Add(-time.Hour).UnixNano())
	old := e.sessions(5)
	old = e.wantSessions(december.Add(-time.Millisecond), old, false)
	// What has seen nothing of the month is used for its first second at least
	// and not after its second.
	old = e.wantSessions(december.Add(900*time.Millisecond), old, false)
	young := e.wantSessions(december.Add(2100*time.Millisecond), old, true)
	// What has seen 2.1 s of it lives for half of that at least.
	young = e.wantSessions(december.Add(3100*time.Millisecond), young, false)
	grown := e.wantSessions(december.Add(4300*time.Millisecond), young, true)
	late := e.wantSessions(december.AddDate(0, 0, 10), grown, true)
	e.wantSessions(december.AddDate(0, 0, 11), late, false)
}

// The month of a new schema is as empty as one that begins.
func TestConnectionsAreReplacedWhileASchemaIsNew(t *testing.T) {
	e := newEnv(t)
	e.exec(`update schema_migrations set applied_at = now()`)
	must(t, e.CheckSchema(e.ctx()))
	old := e.sessions(3)
	at := e.clk.now()
	old = e.wantSessions(at.Add(500*time.Millisecond), old, false)
	e.wantSessions(at.Add(2100*time.Millisecond), old, true)
}
