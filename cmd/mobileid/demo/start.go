package demo

import (
	"context"
	"errors"
	"fmt"
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
	"mobileid/consumers"
	"mobileid/internal/engines"
	"mobileid/internal/mobileid"
)

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
		if d.temp, err = engines.NewTemporary("mobileid-demo-", d.opts.Log); err != nil {
			return err
		}
		d.dir = d.temp.Dir
		return nil
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
	if d.temp == nil {
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

// startWorld starts the simulated agencies, and the simulated operator unless a
// person has brought his own.
func (d *demo) startWorld() error {
	if err := d.startOperator(); err != nil {
		return err
	}
	secret, err := sandbox.Secret(d.dir, "client")
	if err != nil {
		return err
	}
	token, err := sandbox.Secret(d.dir, "number_info")
	if err != nil {
		return err
	}
	d.world, err = world.Start(world.Config{
		Clients: map[string]string{sandbox.Client: secret, sandbox.Billing: secret}, NumberInfoToken: token, Numbers: d.served(), Log: d.opts.Log,
	})
	if err != nil {
		return fmt.Errorf("start the simulated agencies: %w", err)
	}
	d.sayf("agencies (govsim: token issuer, number-info) on %s", d.world.URL())
	return nil
}

// configure writes the configuration file and reads it back.
func (d *demo) configure(ctx context.Context) (*config.Config, error) {
	var err error
	d.listener, err = listenNear(ctx, d.opts.Listen, d.sayf)
	if err != nil {
		return nil, err
	}
	admin, err := engines.FreeAddr(ctx)
	if err != nil {
		return nil, err
	}
	path, err := sandbox.WriteConfig(d.dir, sandbox.Addresses{
		DSN: d.dsn, Listen: d.listener.Addr().String(), Admin: admin.String(), Redis: d.redis.Addr(), Kafka: d.kafka.Brokers(),
		SMSC: d.operator, SystemID: d.opts.SystemID, Issuer: d.world.URL(), NumberInfo: d.world.NumberInfoURL(),
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
	// The bridge has the address of the configuration: `mobileid links` asks there.
	rest := *cfg
	rest.HTTP.Admin = "127.0.0.1:0"
	d.app, err = app.New(&rest, app.Options{
		Roles: []string{app.RoleGateway, app.RoleConsumers}, Log: d.opts.Log, Listener: d.listener, Root: root,
	})
	if err != nil {
		return err
	}
	d.bridge = newBridgeRole(func() (*app.App, error) {
		return app.New(cfg, app.Options{Roles: []string{app.RoleBridge}, Log: d.opts.Log})
	})
	d.grace = cfg.Deadlines.Receipt + cfg.Deadlines.Grace + time.Minute
	d.pseudonyms, err = mobileid.NewPseudonymKey([]byte(cfg.Keys.Pseudonym.Reveal()))
	if err != nil {
		return err
	}
	if d.router, err = d.app.Router(); err != nil {
		return err
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
