package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"

	"mobileid/cmd/govsim/world"
	"mobileid/cmd/mobileid/app"
	"mobileid/cmd/smscsim/smsc"
	"mobileid/internal/engines"
	"mobileid/internal/mobileid"
	"mobileid/registry"
)

// Options are the flags of `mobileid demo`.
type Options struct {
	Listen   string
	Data     string // "" = a temporary folder, removed at the end
	Postgres string // DSN of a database to have a schema in; "" = a private cluster
	Tour     bool
	SMSC     string       // host:port of a person's own operator; "" = the simulated one
	SystemID string       // the account there
	Password string       // and its password
	Number   string       // Person 1's number; "" = a made-up one
	Out      io.Writer    // what the person sees
	Log      *slog.Logger // the program's own log
}

// Run starts the demo, serves until ctx ends (or the tour is over), stops
// everything and says in one line what happened. A start that ctx cuts short is
// no failure; a tour that it cuts short has not passed.
func Run(ctx context.Context, o Options) error {
	d := &demo{opts: o, began: time.Now()}
	did, err := d.run(ctx)
	stopErr := d.stop()
	switch {
	case did == "": // the error says why nothing began
	case stopErr != nil: // and the error says what is left
		d.sayf("%s", did)
	default:
		d.sayf("%s; %s", did, d.left())
	}
	return errors.Join(err, stopErr)
}

// run returns the last line's words for what was done, "" when nothing began.
func (d *demo) run(ctx context.Context) (did string, err error) {
	err = d.start(ctx)
	switch {
	case err != nil && ctx.Err() != nil:
		return "stopped while it was starting", d.cut(err)
	case err != nil:
		return "", err
	}
	running, stopApp := context.WithCancel(ctx)
	defer stopApp()
	done := make(chan error, 1)
	go func() { done <- d.app.Run(running) }()
	d.running = ctx
	if err = d.bridge.start(ctx); err == nil {
		err = d.serve(ctx, done)
	}
	did = d.did() // while the app has its connections
	err = errors.Join(err, d.bridge.stop())
	d.kills.Wait()
	stopApp()
	if !d.ended {
		err = errors.Join(err, <-done)
	}
	return did, err
}

// cut is how a run ends that was stopped before it had got anywhere.
func (d *demo) cut(cause error) error {
	d.opts.Log.Info("stopped early", "cause", cause)
	if d.opts.Tour {
		return errors.New("the tour was stopped before its end")
	}
	return nil
}

// demo is one run.
type demo struct {
	opts  Options
	began time.Time
	dir   string
	temp  *engines.Temporary // nil: the folder is kept
	ended bool               // the app ended by itself; its error was returned

	postgres   *engines.Postgres
	kafka      *engines.Kafka
	redis      *engines.Redis
	smsc       *smsc.Server // nil: a person's own operator
	operator   string       // host:port
	world      *world.World
	listener   net.Listener
	app        *app.App // the gateway and the consumers
	bridge     *bridgeRole
	running    context.Context //nolint:containedctx // of the run; a button of the page outlives its own
	kills      sync.WaitGroup
	grace      time.Duration // after a deadline, until everything has ended
	pseudonyms mobileid.PseudonymKey
	router     *app.Router
	pageDone   chan struct{}
	before     registry.Totals // of a kept folder, before this run
	pdus       *pduLog
	watched    <-chan struct{} // closed when pdus follows nothing any more

	dsn             string       // of the tables
	schema          *givenSchema // nil on a private cluster
	postgresVersion string

	outMu sync.Mutex
}

// sayf prints a line for the person, with the time since the start.
func (d *demo) sayf(format string, args ...any) {
	d.outMu.Lock()
	defer d.outMu.Unlock()
	fmt.Fprintf(d.opts.Out, "%7.2fs  %s\n", time.Since(d.began).Seconds(), fmt.Sprintf(format, args...))
}

// serve waits until everything is ready, then for the end.
func (d *demo) serve(ctx context.Context, done chan error) error {
	err := d.awaitReady(ctx, done)
	switch {
	case ctx.Err() != nil:
		return d.cut(err)
	case err != nil:
		return err
	}
	url := "http://" + d.listener.Addr().String()
	if d.opts.Tour {
		return d.tour(ctx, url)
	}
	if d.opts.SMSC != "" {
		d.sayf("bound to %s as %s: real SMS go out, and the page has no handset", d.opts.SMSC, d.opts.SystemID)
	}
	d.sayf("ready: open %s   (Ctrl-C stops everything)", url)
	select {
	case <-ctx.Done():
		return nil
	case err := <-done:
		d.ended = true
		return err
	case err := <-d.bridge.ended:
		return err
	}
}

// awaitReady polls the app's own readiness: the bind to the operator is what
// comes last.
func (d *demo) awaitReady(ctx context.Context, done chan error) error {
	limit, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	var err error
	for {
		if err = errors.Join(d.app.Ready(limit), d.bridge.ready(limit)); err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case ended := <-done:
			d.ended = true
			return ended
		case ended := <-d.bridge.ended:
			return ended
		case <-limit.Done():
			return fmt.Errorf("the system did not get ready in 20 s: %w", err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// stop ends the engines; the app has ended before.
func (d *demo) stop() error {
	var errs []error
	if d.pageDone != nil {
		close(d.pageDone)
	}
	if d.smsc != nil {
		errs = append(errs, d.smsc.Close())
		<-d.watched
	}
	if d.router != nil {
		d.router.Close()
	}
	if d.world != nil {
		errs = append(errs, d.world.Close())
	}
	if d.kafka != nil {
		d.kafka.Stop()
	}
	if d.redis != nil {
		d.redis.Stop()
	}
	if d.schema != nil {
		errs = append(errs, d.schema.leave())
	}
	if d.postgres != nil {
		errs = append(errs, d.postgres.Stop())
	}
	if d.temp != nil {
		errs = append(errs, d.temp.Remove())
	}
	return errors.Join(errs...)
}
