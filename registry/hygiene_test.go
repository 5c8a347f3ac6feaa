package registry_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"mobileid/internal/mobileid"
	"mobileid/registry"
)

// TestErrorsCarryNoValueOfARow forces the refusals whose text in Postgres
// quotes the row, and reads all that comes out of them.
func TestErrorsCarryNoValueOfARow(t *testing.T) {
	var log bytes.Buffer
	e := newEnvLog(t, slog.New(slog.NewJSONHandler(&log, nil)))
	p := e.bind(0)
	const canary = "canary4711"
	odd := e.notice(p, "odd")
	odd.Message.Lane = canary // check violation; the detail would show the whole row
	odd.Message.Sealed = []byte(canary)
	far := e.notice(p, "far")
	far.Message.ID = e.key.Make(mobileid.KindMessage, client, "far", now0.AddDate(5, 0, 0)) // no partition
	twice := e.notice(p, "twice")
	e.queue(twice)
	clash := e.notice(p, "clash")
	clash.Message.ID = twice.Message.ID // unique violation
	clash.Request.Client, clash.Message.Client = canary, canary
	nul := e.notice(p, "nul")
	nul.Message.TextID = canary + "\x00" // not text for Postgres

	var errs []error
	for _, n := range []mobileid.NewNotification{odd, far, clash, nul} {
		_, err := e.QueueNotifications(e.ctx(), []mobileid.NewNotification{n})
		errs = append(errs, err)
	}
	errs = append(errs, e.Credit(e.ctx(), p.binding.Account, canary, canary, -1))
	for i, err := range errs {
		if mobileid.KindOf(err) != mobileid.KindInvalid {
			t.Errorf("error %d is of kind %s: %v %v", i, mobileid.KindOf(err), err, cause(err))
		}
	}
	if want := "messages_2026_11_pkey"; !strings.Contains(fmt.Sprint(cause(errs[2])), "23505") || !strings.Contains(fmt.Sprint(cause(errs[2])), want) {
		t.Errorf("the cause does not name SQLSTATE and constraint %s: %v", want, cause(errs[2]))
	}
	// A relay and a sweeper log what goes wrong.
	ctx, cancel := context.WithCancel(e.ctx())
	r := registry.NewRelay(e.DB, publisher(func([]mobileid.StatusChanged) error { cancel(); return errs[0] }), registry.RelayConfig{})
	must(t, r.Run(ctx))
	e.exec(`alter table live_challenges add constraint broken check (false) not valid`)
	_, err := e.IssueChallenges(e.ctx(), []mobileid.NewChallenge{e.challenge(p, canary)})
	errs = append(errs, err)
	e.exec(`alter table messages rename to ` + canary)
	errs = append(errs, registry.NewSweeper(e.DB, registry.SweepConfig{Grace: time.Second}, nil, nil).Sweep(e.ctx()))

	var all strings.Builder
	all.WriteString(log.String())
	for _, err := range errs {
		for ; err != nil; err = unwrap(err) {
			fmt.Fprintf(&all, "%v|%+v|%#v|%q\n", err, err, err, err)
		}
	}
	personal := []string{canary, p.binding.MSISDN.RevealDigits(), "sealed text", "Failing row", "DETAIL", p.binding.Person.String(), fmt.Sprintf("%x", p.binding.Person[:])}
	for _, leak := range personal {
		if strings.Contains(all.String(), leak) {
			t.Errorf("an error or log line holds %q:\n%s", leak, all.String())
		}
	}
}

// unwrap goes one step down, and into the first of joined errors.
func unwrap(err error) error {
	if many, ok := err.(interface{ Unwrap() []error }); ok {
		return errors.Join(many.Unwrap()[1:]...)
	}
	return errors.Unwrap(err)
}

func TestADatabaseThatIsAwayIsUnavailable(t *testing.T) {
	db, err := registry.Open(t.Context(), registry.Config{DSN: "postgres://nobody:secret4711@127.0.0.1:1/none?connect_timeout=1"})
	must(t, err)
	defer db.Close()
	start := time.Now()
	_, err = db.Challenge(t.Context(), client, mobileid.ID{1})
	if mobileid.KindOf(err) != mobileid.KindUnavailable {
		t.Fatalf("kind %s: %v (%v)", mobileid.KindOf(err), err, cause(err))
	}
	if took := time.Since(start); took > 3*time.Second {
		t.Fatalf("took %s", took)
	}
	if all := fmt.Sprintf("%v %v %#v", err, cause(err), cause(err)); strings.Contains(all, "secret4711") {
		t.Fatal(all)
	}
	if err := db.CheckSchema(t.Context()); mobileid.KindOf(err) != mobileid.KindUnavailable {
		t.Fatalf("check schema: %v", err)
	}
	_, err = registry.Open(t.Context(), registry.Config{DSN: "postgres://secret4711@:bad:port"})
	if mobileid.CodeOf(err) != "dsn_format" || strings.Contains(fmt.Sprintf("%v %v", err, cause(err)), "secret4711") {
		t.Fatalf("err = %v", err)
	}
}

func TestACancelledCallSaysSo(t *testing.T) {
	e := newEnv(t)
	ctx, cancel := context.WithCancel(e.ctx())
	cancel()
	_, err := e.Challenge(ctx, client, mobileid.ID{1})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("err = %v (%v)", err, cause(err))
	}
}

func TestAKilledSessionIsRetriedByTheCaller(t *testing.T) {
	e := newEnv(t)
	tx, err := e.pool.Begin(e.ctx())
	must(t, err)
	p := e.bind(0)
	_, err = tx.Exec(e.ctx(), `select from bindings where id = $1 for update`, p.binding.ID)
	must(t, err)
	done := make(chan error, 1)
	go func() { done <- e.Revoke(e.ctx(), p.binding.ID) }()
	e.blocked()
	e.exec(`select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`)
	if err := <-done; mobileid.KindOf(err) != mobileid.KindUnavailable {
		t.Fatalf("kind %s: %v (%v)", mobileid.KindOf(err), err, cause(err))
	}
	must(t, tx.Rollback(e.ctx()))
	must(t, e.Revoke(e.ctx(), p.binding.ID))
	must(t, e.Revoke(e.ctx(), p.binding.ID))
	if err := e.Revoke(e.ctx(), 1<<40); mobileid.KindOf(err) != mobileid.KindNotFound {
		t.Fatalf("err = %v", err)
	}
}
