package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/redis/go-redis/v9"

	"mobileid/cmd/mobileid/config"
	"mobileid/consumers"
	"mobileid/consumers/agencies"
	"mobileid/gateway"
	"mobileid/gateway/receipt"
	"mobileid/internal/mobileid"
	"mobileid/otp"
	"mobileid/otp/limits"
	"mobileid/registry"
	"mobileid/smpp"
	"mobileid/smpp/diameter"
)

// The roles of a process.
const (
	RoleGateway   = "gateway"
	RoleConsumers = "consumers"
	RoleBridge    = "bridge"
)

// AllRoles is every role: one process that is the whole system.
func AllRoles() []string { return []string{RoleGateway, RoleConsumers, RoleBridge} }

// Options are what a configuration file does not say.
type Options struct {
	Roles []string
	Log   *slog.Logger
	// Listener is used instead of http.listen, so that who chose a free port
	// keeps it.
	Listener net.Listener
	// Root serves what is outside the gateway's own paths: the demo's page.
	Root http.Handler
}

// App is the program, put together and not yet running.
type App struct {
	sims  *agencies.SIMSwap // nil: there is none to ask, or this process asks for none
	cfg   *config.Config
	opts  Options
	log   *slog.Logger
	reg   *prometheus.Registry
	kafka consumers.KafkaConfig

	progress   *progress
	ids        mobileid.IDKey
	pseudonyms mobileid.PseudonymKey
	clients    map[string]mobileid.Client

	db        *registry.DB
	redis     redis.UniversalClient
	codes     *otp.Service
	limits    *limits.Limits
	counted   *limits.Codes
	publisher *consumers.Publisher
	dlq       *consumers.SealedDLQ
	dlqSealer *mobileid.Sealer
	accepter  *gateway.Accepter
	gateway   *gateway.Gateway
	waiters   *gateway.Waiters
	bridges   []*smpp.Bridge
	chargers  []*diameter.Client
}

// New puts the parts together. It connects to nothing; an error means that
// the configuration is wrong.
func New(cfg *config.Config, opts Options) (*App, error) {
	for _, r := range opts.Roles {
		if !slices.Contains(AllRoles(), r) {
			return nil, fmt.Errorf("no role %q; the roles are %s", r, strings.Join(AllRoles(), ", "))
		}
	}
	a := &App{cfg: cfg, opts: opts, log: opts.Log, reg: prometheus.NewRegistry(), clients: cfg.ClientSet()}
	a.reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	a.progress = newProgress(a.log, a.reg)
	for _, step := range []func() error{a.openKeys, a.openEngines, a.buildEdge, a.buildBridges} {
		if err := step(); err != nil {
			a.Close()
			return nil, err
		}
	}
	return a, nil
}

func (a *App) has(role string) bool { return slices.Contains(a.opts.Roles, role) }

func (a *App) openKeys() (err error) {
	a.ids, err = mobileid.NewIDKey([]byte(a.cfg.Keys.ID.Reveal()))
	if err != nil {
		return err
	}
	a.pseudonyms, err = mobileid.NewPseudonymKey([]byte(a.cfg.Keys.Pseudonym.Reveal()))
	return err
}

// openEngines makes the clients of Postgres, Redis and Kafka. None connects.
func (a *App) openEngines() (err error) {
	a.kafka, err = kafkaConfig(a.cfg.Kafka)
	if err != nil {
		return err
	}
	a.db, err = registry.Open(context.Background(), registry.Config{
		DSN: a.cfg.Postgres.DSN.Reveal(), MaxConns: a.cfg.Postgres.MaxConns, Log: a.log, Reg: a.reg,
		Guards: registry.GuardRules(a.cfg.Limits.Wrong),
	})
	if err != nil {
		return err
	}
	a.redis = redisClient(a.cfg.Redis)
	a.limits = limits.New(a.redis, nil)
	a.counted = limits.NewCodes(a.redis, a.cfg.CodeLimits(), nil)
	a.codes, err = otp.New(otp.Config{Redis: a.redis, Keys: otpKeys(a.cfg.Keys.OTP)})
	if err != nil {
		return err
	}
	a.publisher = consumers.NewPublisher(a.kafka, consumers.PublisherConfig{Clients: a.clients, Log: a.log, Reg: a.reg})
	a.dlqSealer, err = mobileid.NewSealer(a.cfg.Keys.DLQPublic, nil)
	if err != nil {
		return err
	}
	a.dlq = consumers.NewDLQ(a.publisher, a.dlqSealer, nil)
	return nil
}

// buildEdge makes the accepter, which the ingress of Kafka producers shares
// with the HTTP edge, and the edge itself.
func (a *App) buildEdge() (err error) {
	a.accepter, err = gateway.NewAccepter(gateway.AcceptConfig{
		Purposes:     a.cfg.PurposeSet(),
		CodeDeadline: a.cfg.Deadlines.CodeAccept, NotificationDeadline: a.cfg.Deadlines.Notice,
		Grace: a.cfg.Deadlines.Grace,
	}, gateway.AcceptDeps{
		Publisher: a.publisher, Quotas: a.limits, Keys: a.limits, Texts: a.cfg.Texts,
		IDKey: a.ids, Pseudonyms: a.pseudonyms, Reg: a.reg,
	})
	if err != nil || !a.has(RoleGateway) {
		return err
	}
	a.waiters = gateway.NewWaiters()
	keys, err := a.cfg.ReceiptKeys()
	if err != nil {
		return err
	}
	receipts, err := receipt.NewSigner(keys)
	if err != nil {
		return err
	}
	a.gateway, err = gateway.New(gateway.Config{
		Clients: sortedClients(a.cfg),
		Auth:    gateway.AuthConfig{Issuer: a.cfg.Auth.Issuer, Audience: a.cfg.Auth.Audience, JWKSURL: a.cfg.Auth.JWKSURL},
		Resend:  mobileid.ResendRule(a.cfg.Limits.Resend), ReceiptIssuer: a.cfg.Receipts.Issuer,
	}, gateway.Deps{
		Accepter: a.accepter, Registry: a.db, Codes: a.codes, Counted: a.counted, Receipts: receipts, Waiters: a.waiters,
		Ready: a.readiness(), Stuck: a.progress.names, Metrics: a.metricsHandler(), Root: a.opts.Root, Log: a.log, Reg: a.reg,
	})
	return err
}

func (a *App) buildBridges() error {
	if !a.has(RoleBridge) {
		return nil
	}
	private := make([]string, len(a.cfg.Keys.BridgePrivate))
	for i, k := range a.cfg.Keys.BridgePrivate {
		private[i] = k.Reveal()
	}
	if len(private) == 0 {
		return errors.New("the bridge role needs keys.bridge_private: it opens the sealed texts")
	}
	opener, err := mobileid.NewOpener(private...)
	if err != nil {
		return err
	}
	host, _ := os.Hostname() // only a name for people; "" is one too
	for _, o := range a.cfg.Operators {
		// Nil: none is asked. What was queued while it was is told as long as it stands
		// in the file.
		var charger smpp.Charger
		if o.Charging.By == mobileid.ChargingDiameter || len(o.Diameter.Peers) > 0 {
			if charger, err = a.openCharger(o); err != nil {
				return err
			}
		}
		a.bridges = append(a.bridges, smpp.NewBridge(smpp.Config{
			Profile: o.Profile(), Name: fmt.Sprintf("%s/%d", host, os.Getpid()),
			ChargeTimeout: o.Charging.Timeout, ChargesAtOnce: o.Charging.AtOnce,
		}, smpp.Deps{
			Store: a.db, Opener: opener, Numbers: a.pseudonyms, Charger: charger, Log: a.log, Reg: a.reg, Watch: a.progress.loop,
			InboundSealer: a.bridgeSealer(), UnreadSealer: a.dlqSealer,
		}))
	}
	return nil
}

// Registry returns the registry, for the demo and tests.
func (a *App) Registry() *registry.DB { return a.db }

// Ready says whether everything of this process's roles works.
func (a *App) Ready(ctx context.Context) error {
	for _, c := range a.readiness() {
		if c.Part {
			continue
		}
		if err := c.Check(ctx); err != nil {
			return fmt.Errorf("%s: %w", c.Name, err)
		}
	}
	return nil
}

func (a *App) readiness() []gateway.Check {
	checks := []gateway.Check{
		{Name: "postgres", Check: a.db.CheckSchema},
		{Name: "redis", Check: func(ctx context.Context) error { return otp.CheckServer(ctx, a.redis) }},
	}
	checks = append(checks, gateway.Check{Name: "kafka", Check: func(ctx context.Context) error {
		return consumers.Ping(ctx, a.kafka, mobileid.TopicOTPRequests)
	}})
	if a.has(RoleBridge) {
		checks = append(checks, operatorChecks(a.operatorsReady())...)
	}
	return checks
}

// Close frees what New made. Run does it too.
func (a *App) Close() {
	for _, c := range a.chargers { // the bridges have ended
		c.Close()
	}
	if a.sims != nil {
		a.sims.Close()
	}
	if a.publisher != nil {
		if err := a.publisher.Close(); err != nil {
			a.log.Warn("the Kafka writer did not close in time", "err", err)
		}
	}
	if a.redis != nil {
		_ = a.redis.Close()
	}
	if a.db != nil {
		a.db.Close()
	}
}

// Run runs the roles until ctx ends, then drains and returns nil.
func (a *App) Run(ctx context.Context) error {
	defer a.Close()
	err := runStages(ctx, a.log, a.stages())
	a.log.Info("stopped")
	return err
}

// askLimit bounds one question about an engine's settings.
const askLimit = 10 * time.Second

// start waits for Postgres, refuses engines that would lose something, and
// lets the others begin.
func (a *App) start(ctx context.Context, started chan<- struct{}) error {
	loop := a.progress.loop("start")
	defer loop.Rest()
	if err := a.awaitRegistry(ctx, loop); err != nil {
		return err
	}
	loop.Step()
	if err := a.refuseWrongEngines(ctx); err != nil {
		return err
	}
	loop.Step()
	if _, err := a.refuseLessDurable(ctx); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return nil
	}
	loop.Rest()
	a.log.Info("running", "roles", strings.Join(a.opts.Roles, ","))
	close(started)
	<-ctx.Done()
	return nil
}

// awaitRegistry waits for Postgres, which may be started after us, and loads the
// tariffs. An old schema does not get better by waiting, nor does a price that
// contradicts one in force: that ends the program.
func (a *App) awaitRegistry(ctx context.Context, loop *mobileid.Loop) error {
	for said := false; ; {
		loop.Step()
		try, cancel := context.WithTimeout(ctx, askLimit)
		err := a.db.CheckSchema(try)
		if err == nil {
			err = loadConfigured(try, a.db, a.cfg, a.log)
		}
		cancel()
		if err == nil || ctx.Err() != nil {
			return ctx.Err()
		}
		if k := mobileid.KindOf(err); k != mobileid.KindUnavailable && k != mobileid.KindUnknown {
			return err
		}
		if !said {
			a.log.Warn("waiting for Postgres", "err", err)
			said = true
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(500 * time.Millisecond):
		}
	}
}

// refuseWrongEngines looks at settings that would lose data later. An engine
// that is away now is looked at by /readyz instead.
func (a *App) refuseWrongEngines(ctx context.Context) error {
	err := otp.CheckServer(ctx, a.redis)
	if err != nil && mobileid.KindOf(err) != mobileid.KindUnavailable {
		return err
	}
	return nil
}
