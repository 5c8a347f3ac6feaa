package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"mobileid/cmd/govsim/world"
	"mobileid/cmd/mobileid/app"
	"mobileid/cmd/mobileid/config"
	"mobileid/cmd/mobileid/config/sandbox"
	"mobileid/cmd/smscsim/smsc"
	"mobileid/consumers"
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
	Out      io.Writer    // what the person sees
	Log      *slog.Logger // the program's own log
}

// Run starts the demo, serves until ctx ends (or the tour is over), stops
// everything and says in one line what happened.
func Run(ctx context.Context, o Options) (err error) {
	d := &demo{opts: o, began: time.Now()}
	defer func() { err = errors.Join(err, d.stop()) }()
	err = d.start(ctx)
	if err != nil {
		return errors.Join(err, ctx.Err())
	}
	running, stopApp := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- d.app.Run(running) }()
	err = d.serve(ctx, done)
	counts, countErr := d.counts()
	stopApp()
	if !d.ended {
		err = errors.Join(err, <-done)
	}
	if countErr == nil {
		d.summary(counts)
	}
	return err
}

// demo is one run.
type demo struct {
	opts  Options
	began time.Time
	dir   string
	temp  bool
	ended bool // the app ended by itself; its error was returned

	postgres   *engines.Postgres
	kafka      *engines.Kafka
	redis      *engines.Redis
	smsc       *smsc.Server
	world      *world.World
	listener   net.Listener
	app        *app.App
	pseudonyms mobileid.PseudonymKey
	plan       mobileid.NumberPlan
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

// start brings everything up to the point where the app can run.
func (d *demo) start(ctx context.Context) error {
	if err := d.folder(); err != nil {
		return err
	}
	if err := sandbox.WriteSecrets(d.dir); err != nil {
		return err
	}
	if err := d.startEngines(ctx); err != nil {
		return err
	}
	if err := d.startWorld(); err != nil {
		return err
	}
	cfg, err := d.configure(ctx)
	if err != nil {
		return err
	}
	if err := d.prepare(ctx, cfg); err != nil {
		return err
	}
	return d.build(ctx, cfg)
}

func (d *demo) folder() (err error) {
	d.dir = d.opts.Data
	if d.dir == "" {
		d.temp = true
		d.dir, err = os.MkdirTemp("", "mobileid-demo-")
		return err
	}
	return os.MkdirAll(d.dir, 0o700)
}

// startEngines starts the three engines side by side: PostgreSQL's initdb is
// what takes the time.
func (d *demo) startEngines(ctx context.Context) error {
	var wg sync.WaitGroup
	errs := make([]error, 3)
	pg := engines.PostgresConfig{
		DSN: d.opts.Postgres, Log: d.opts.Log, Progress: d.postgresSays,
	}
	kafkaDir := ""
	if !d.temp {
		pg.Dir, kafkaDir = filepath.Join(d.dir, "postgres"), filepath.Join(d.dir, "kafka")
	}
	wg.Go(func() {
		if d.postgres, errs[0] = engines.StartPostgres(ctx, pg); errs[0] == nil {
			errs[0] = d.settleIn(ctx)
		}
	})
	wg.Go(func() {
		d.kafka, errs[1] = engines.StartKafka(kafkaDir)
		if errs[1] == nil {
			d.sayf("Kafka (kfake, in this process) on %s", d.kafka.Brokers()[0])
		}
	})
	wg.Go(func() {
		d.redis, errs[2] = engines.StartRedis()
		if errs[2] == nil {
			d.sayf("Redis (miniredis, in this process) on %s", d.redis.Addr())
		}
	})
	wg.Wait()
	return errors.Join(errs...)
}

// postgresSays passes a phase on, and keeps the last, which names the version.
func (d *demo) postgresSays(line string) {
	d.postgresVersion, _, _ = strings.Cut(line, " on ")
	d.sayf("%s", line)
}

// startWorld starts the simulated operator and the simulated agencies.
func (d *demo) startWorld() (err error) {
	password, err := sandbox.Secret(d.dir, "smpp")
	if err != nil {
		return err
	}
	d.smsc, err = smsc.Start(smsc.Config{
		Addr: "127.0.0.1:0", Accounts: map[string]string{sandbox.SystemID: password},
		ReceiptDelay: 700 * time.Millisecond, Log: d.opts.Log,
		// An operator does not forget the receipts it owes when we are killed.
		StateFile: filepath.Join(d.dir, "operator-receipts.jsonl"),
	})
	if err != nil {
		return fmt.Errorf("start the simulated operator: %w", err)
	}
	d.pdus, d.watched = watchPDUs(d.smsc)
	d.sayf("operator (smscsim, SMPP 3.4) on %s", d.smsc.Addr())
	secret, err := sandbox.Secret(d.dir, "client")
	if err != nil {
		return err
	}
	d.world, err = world.Start(world.Config{Clients: map[string]string{sandbox.Client: secret}, Log: d.opts.Log})
	if err != nil {
		return fmt.Errorf("start the simulated agencies: %w", err)
	}
	d.sayf("agencies (govsim, token issuer) on %s", d.world.URL())
	return d.failPhones()
}

// configure writes the configuration file and reads it back.
func (d *demo) configure(ctx context.Context) (*config.Config, error) {
	var err error
	d.listener, err = listenNear(ctx, d.opts.Listen)
	if err != nil {
		return nil, err
	}
	if at := d.listener.Addr().String(); at != d.opts.Listen {
		d.sayf("%s is taken: the page will be at %s", d.opts.Listen, at)
	}
	admin, err := freePort(ctx)
	if err != nil {
		return nil, err
	}
	path, err := sandbox.WriteConfig(d.dir, sandbox.Addresses{
		DSN: d.dsn, Listen: d.listener.Addr().String(), Admin: admin, Redis: d.redis.Addr(), Kafka: d.kafka.Brokers(),
		SMSC: d.smsc.Addr(), Issuer: d.world.URL(),
	})
	if err != nil {
		return nil, err
	}
	cfg, err := config.Load(path, nil)
	if err != nil {
		return nil, err
	}
	d.sayf("configuration written to %s", path)
	return cfg, nil
}

// prepare does what `mobileid migrate` and `mobileid topics` do, and binds the
// persons.
func (d *demo) prepare(ctx context.Context, cfg *config.Config) error {
	var wg sync.WaitGroup
	var topics []consumers.TopicReport
	errs := make([]error, 2)
	wg.Go(func() { errs[0] = app.Migrate(ctx, cfg, d.opts.Log) })
	wg.Go(func() { topics, errs[1] = app.Topics(ctx, cfg) })
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	d.sayf("schema current, %d topics, tariff 120.00 soum a message", len(topics))
	return nil
}

func (d *demo) build(ctx context.Context, cfg *config.Config) error {
	d.pageDone = make(chan struct{})
	root := &lateHandler{}
	var err error
	d.app, err = app.New(cfg, app.Options{Roles: app.AllRoles(), Log: d.opts.Log, Listener: d.listener, Root: root})
	if err != nil {
		return err
	}
	d.pseudonyms, err = mobileid.NewPseudonymKey([]byte(cfg.Keys.Pseudonym.Reveal()))
	if err != nil {
		return err
	}
	var wrong config.Mistakes
	if d.plan, wrong = cfg.NumberPlan(); len(wrong) > 0 {
		return wrong
	}
	err = d.seed(ctx)
	if err != nil {
		return err
	}
	d.before, err = d.counts()
	if err != nil {
		return err
	}
	root.Handler = d.page()
	return nil
}

// lateHandler is filled in once what it shows exists.
type lateHandler struct{ http.Handler }

// serve waits until everything is ready, then for the end.
func (d *demo) serve(ctx context.Context, done chan error) error {
	if err := d.awaitReady(ctx, done); err != nil || ctx.Err() != nil {
		return err
	}
	url := "http://" + d.listener.Addr().String()
	if d.opts.Tour {
		return d.tour(ctx, url)
	}
	d.sayf("ready: open %s   (Ctrl-C stops everything)", url)
	select {
	case <-ctx.Done():
		return nil
	case err := <-done:
		d.ended = true
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
		if err = d.app.Ready(limit); err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case ended := <-done:
			d.ended = true
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
	if d.temp && d.dir != "" {
		errs = append(errs, os.RemoveAll(d.dir))
	}
	return errors.Join(errs...)
}

// listenNear listens on addr, or on the next free port above it.
func listenNear(ctx context.Context, addr string) (net.Listener, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("--listen: %w", err)
	}
	first, err := net.DefaultResolver.LookupPort(ctx, "tcp", port)
	if err != nil {
		return nil, fmt.Errorf("--listen: %w", err)
	}
	var l net.Listener
	for p := first; p < first+50; p++ {
		l, err = new(net.ListenConfig).Listen(ctx, "tcp", net.JoinHostPort(host, fmt.Sprint(p)))
		if err == nil || first == 0 {
			return l, err
		}
	}
	return nil, fmt.Errorf("--listen: no free port from %d to %d: %w", first, first+49, err)
}

func freePort(ctx context.Context) (string, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}
