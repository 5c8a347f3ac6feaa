package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/pprof"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"mobileid/cmd/mobileid/config"
	"mobileid/consumers"
	"mobileid/consumers/agencies"
	"mobileid/gateway"
	"mobileid/internal/mobileid"
	"mobileid/registry"
	"mobileid/smpp"
)

// Consumer groups: a role's processes share the partitions of its topics.
const (
	groupIngress       = "mobileid.ingress"
	groupOTP           = "mobileid.otp"
	groupNotifications = "mobileid.notifications"
	groupBalance       = "mobileid.balance"
)

// bridgeGroup is a group for each lane: a lane never waits for another.
func bridgeGroup(operator string, lane mobileid.Lane) string {
	return "mobileid.bridge." + operator + "." + string(lane)
}

const shutdownLimit = 10 * time.Second

// stages lists what runs, in the order in which it stops: what takes work in,
// what decides, what carries out, what tells about it, the probes. All but the
// probes begin when the start has found the engines as they must be.
func (a *App) stages() []stage {
	var intake, deciding, lanes, bridges, telling stage
	if a.has(RoleGateway) {
		intake = append(intake, part{"http", a.serveHTTP})
		telling = append(telling, part{"status tail", a.tailStatuses})
	}
	if a.has(RoleConsumers) {
		if topics := a.ingressTopics(); len(topics) > 0 {
			intake = append(intake, a.group(groupIngress, topics, a.ingress()))
		}
		deciding = append(deciding,
			a.group(groupOTP, []string{mobileid.TopicOTPRequests}, a.otpRequests()),
			a.group(groupNotifications, []string{mobileid.TopicNotificationRequests}, a.notificationRequests()),
			a.group(groupBalance, []string{mobileid.TopicBalanceEvents}, consumers.NewBalanceEvents(consumers.BalanceDeps{Registry: a.db, Reg: a.reg})))
		telling = append(telling, part{"sweeper", a.sweep}, part{"ledger watch", a.watchLedger}, part{"status relay", a.relay}, part{"inbound relay", a.relayInbound}, part{"binding relay", a.relayBindings}, part{"lag exporter", a.watchLag})
	}
	for _, b := range a.bridges {
		for _, lane := range []mobileid.Lane{mobileid.LaneOTP, mobileid.LaneBulk} {
			lanes = append(lanes, a.lane(b, lane))
		}
		bridges = append(bridges, part{"bridge " + b.Operator(), b.Run})
	}
	telling = append(telling, a.keepShares()...)
	telling = append(telling, part{"durability", a.watchDurability})
	started := make(chan struct{})
	stages := []stage{intake, deciding, lanes, bridges, telling}
	for _, s := range stages {
		s.after(started)
	}
	start := part{"start", func(ctx context.Context) error { return a.start(ctx, started) }}
	return slices.Concat([]stage{{start}}, stages, []stage{{{"admin", a.serveAdmin}, {"progress", a.progress.run}}})
}

func (a *App) group(name string, topics []string, h consumers.Handler) part {
	g := consumers.NewGroup(consumers.GroupConfig{
		Kafka: a.kafka, Group: name, Topics: topics, Handler: h, DLQ: a.dlq, Log: a.log, Reg: a.reg, Watch: a.progress.loop,
	})
	return part{"group " + name, g.Run}
}

// lane feeds a bridge, as long as it carries: a member of the group that does not
// would keep its partitions from the other bridges of the operator. A batch is what the windows write within about a
// second on a slow operator: what Take cannot admit in time comes again.
func (a *App) lane(b *smpp.Bridge, lane mobileid.Lane) part {
	name := bridgeGroup(b.Operator(), lane)
	g := consumers.NewGroup(consumers.GroupConfig{
		Kafka: a.kafka, Group: name, Topics: []string{mobileid.TopicSMS(b.Operator(), lane)},
		Handler: laneHandler(b), DLQ: a.dlq, Log: a.log, Reg: a.reg, Watch: a.progress.loop,
		MaxBatch: min(max(b.Windows()*5, minLaneBatch), maxLaneBatch),
	})
	return part{"group " + name, func(ctx context.Context) error { return b.WhileCarrying(ctx, g.Run) }}
}

const minLaneBatch, maxLaneBatch = 20, 500

// laneHandler gives ids from a lane to the bridge. When Take returns, the rows
// are the job and the offsets may go.
func laneHandler(b *smpp.Bridge) consumers.Handler {
	return consumers.HandlerFunc(func(ctx context.Context, recs []*consumers.Record) error {
		items := make([]mobileid.AdmitItem, 0, len(recs))
		for _, r := range recs {
			id, err := consumers.DecodeLane(r.Event)
			if err != nil {
				return err
			}
			items = append(items, mobileid.AdmitItem{ID: id, Source: r.Ref})
		}
		return b.Take(ctx, items)
	})
}

func (a *App) ingressTopics() []string {
	var topics []string
	for _, c := range a.cfg.Clients {
		if c.Kafka {
			topics = append(topics, mobileid.TopicIn(c.ID))
		}
	}
	return topics
}

func (a *App) ingress() consumers.Handler {
	return consumers.NewIngress(consumers.IngressDeps{
		Accepter: a.accepter, Clients: a.clients, Out: a.publisher, Log: a.log,
	})
}

func (a *App) otpRequests() consumers.Handler {
	return consumers.NewOTPRequests(consumers.OTPDeps{
		Registry: a.db, Codes: a.codes, Limits: a.counted, SIM: a.simSwap(), Texts: a.cfg.Texts, Sealer: a.bridgeSealer(), IDKey: a.ids,
		Purposes: a.cfg.PurposeSet(), Resend: mobileid.ResendRule(a.cfg.Limits.Resend), Lanes: a.publisher, Operators: carriers(a.cfg.Operators),
		Log: a.log, Reg: a.reg,
	})
}

// simSwap is the port to the operators' SIM Swap service; nil: there is none to ask.
func (a *App) simSwap() consumers.SIMs {
	s := a.cfg.SIMSwap
	if s.URL == "" {
		return nil
	}
	a.sims = agencies.NewSIMSwap(agencies.SIMSwapConfig{URL: s.URL, Token: s.Token.Reveal(), Budget: s.Budget, Reg: a.reg})
	return a.sims
}

func (a *App) notificationRequests() consumers.Handler {
	return consumers.NewNotificationRequests(consumers.NotificationDeps{
		Registry: a.db, Texts: a.cfg.Texts, Sealer: a.bridgeSealer(), Lanes: a.publisher,
		Operators: carriers(a.cfg.Operators), Log: a.log, Reg: a.reg,
	})
}

// carriers are the operators as a Message needs them. Parts are counted as the
// bridge writes them: reconciliation expects a line of the operator's file for each.
func carriers(operators []config.Operator) map[string]consumers.Operator {
	out := make(map[string]consumers.Operator, len(operators))
	for _, o := range operators {
		options := o.Text.Options()
		out[o.ID] = consumers.Operator{Parts: options.Count, Charging: o.Charging.By, OneSend: o.Charging.OneSend()}
	}
	return out
}

// bridgeSealer seals to the bridge's public key, which the configuration's
// check has read already.
func (a *App) bridgeSealer() *mobileid.Sealer {
	s, err := mobileid.NewSealer(a.cfg.Keys.BridgePublic, nil)
	if err != nil {
		panic("the checked configuration has a bad keys.bridge_public: " + err.Error())
	}
	return s
}

func (a *App) sweep(ctx context.Context) error {
	return registry.NewSweeper(a.db, registry.SweepConfig{
		Grace: a.cfg.Deadlines.Grace, ReceiptWait: a.cfg.Deadlines.Receipt, WarnBelow: a.cfg.Charging.WarnBelow, Loop: a.progress.loop("sweeper"),
	}, a.publisher, a.codes).Run(ctx)
}

func (a *App) watchLedger(ctx context.Context) error {
	return registry.NewLedgerWatch(a.db, registry.LedgerWatchConfig{Every: a.cfg.Ledger.CheckEvery}).Run(ctx)
}

func (a *App) relay(ctx context.Context) error {
	return registry.NewRelay(a.db, a.publisher, registry.RelayConfig{Loop: a.progress.loop("status relay")}).Run(ctx)
}

func (a *App) relayInbound(ctx context.Context) error {
	return registry.NewInboundRelay(a.db, a.publisher, a.progress.loop("inbound relay")).Run(ctx)
}

func (a *App) relayBindings(ctx context.Context) error {
	return registry.NewBindingRelay(a.db, a.publisher, a.progress.loop("binding relay")).Run(ctx)
}

// watchLag exports how far each group is behind, the bridges' too: whoever has
// the consumers role speaks for all.
func (a *App) watchLag(ctx context.Context) error {
	groups := []consumers.GroupTopics{
		{Group: groupOTP, Topics: []string{mobileid.TopicOTPRequests}},
		{Group: groupNotifications, Topics: []string{mobileid.TopicNotificationRequests}},
		{Group: groupBalance, Topics: []string{mobileid.TopicBalanceEvents}},
	}
	if topics := a.ingressTopics(); len(topics) > 0 {
		groups = append(groups, consumers.GroupTopics{Group: groupIngress, Topics: topics})
	}
	for _, o := range a.cfg.Operators {
		for _, lane := range []mobileid.Lane{mobileid.LaneOTP, mobileid.LaneBulk} {
			groups = append(groups, consumers.GroupTopics{
				Group: bridgeGroup(o.ID, lane), Topics: []string{mobileid.TopicSMS(o.ID, lane)},
			})
		}
	}
	return consumers.NewLagExporter(a.kafka, groups, a.log, a.reg, a.progress.loop("lag exporter")).Run(ctx)
}

// tailStatuses wakes long polls: every gateway reads every partition.
func (a *App) tailStatuses(ctx context.Context) error {
	return consumers.Tail(ctx, a.kafka, mobileid.TopicMessageStatus, a.progress.loop, a.waiters.NotifyAll, a.waiters.Notify)
}

func (a *App) serveHTTP(ctx context.Context) error {
	l := a.opts.Listener
	if l == nil {
		var err error
		l, err = (&net.ListenConfig{}).Listen(ctx, "tcp", a.cfg.HTTP.Listen)
		if err != nil {
			return fmt.Errorf("http.listen: %w", err)
		}
	}
	return serve(ctx, gateway.NewServer(a.gateway.Handler()), l, a.gateway.Drain)
}

func (a *App) metricsHandler() http.Handler {
	return promhttp.HandlerFor(a.reg, promhttp.HandlerOpts{})
}

// admin is what is for the inside only.
func (a *App) admin() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", a.metricsHandler())
	mux.HandleFunc("GET /livez", a.progress.livez)
	mux.HandleFunc("GET /readyz", a.adminReady)
	a.handleLinks(mux)
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	return mux
}

func (a *App) serveAdmin(ctx context.Context) error {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", a.cfg.HTTP.Admin)
	if err != nil {
		return fmt.Errorf("http.admin: %w", err)
	}
	server := gateway.NewServer(a.admin())
	server.WriteTimeout = 2 * time.Minute                                  // a profile takes as long as it was asked to
	server.BaseContext = func(net.Listener) context.Context { return ctx } // a trace ends with the process
	return serve(ctx, server, l, func() {})
}

// adminReady is /readyz for processes without the gateway role.
func (a *App) adminReady(w http.ResponseWriter, r *http.Request) {
	if err := a.Ready(r.Context()); err != nil {
		a.log.InfoContext(r.Context(), "not ready", "err", err)
		http.Error(w, "not ready", http.StatusServiceUnavailable)
		return
	}
	_, _ = io.WriteString(w, "ready\n")
	for _, o := range a.operatorsReady() {
		if err := o.ready(); err != nil {
			_, _ = fmt.Fprintf(w, "smpp %s: %s\n", o.id, mobileid.CodeOf(err))
		}
	}
}

// serve serves until ctx ends; then requests that run may end.
func serve(ctx context.Context, s *http.Server, l net.Listener, drain func()) error {
	s.RegisterOnShutdown(drain)
	failed := make(chan error, 1)
	go func() { failed <- s.Serve(l) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownLimit)
	defer cancel()
	err := s.Shutdown(limit)
	if served := <-failed; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}
