package gateway

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"mobileid/gateway/receipt"
	"mobileid/internal/mobileid"
)

// Config configures a Gateway. Deadlines and purposes are the Accepter's.
type Config struct {
	Clients  []mobileid.Client
	Auth     AuthConfig
	Resend   mobileid.ResendRule // of one challenge; 60 s and 3
	MaxPolls int                 // open long polls of one client; 1000
	// ReceiptIssuer is iss of the receipts: the https URL that this API has outside.
	ReceiptIssuer string
	PublicURL     string // goes before /problems/{code} in `type`; "" = relative, which RFC 9457 allows
}

// Deps are the ports of a Gateway.
type Deps struct {
	Accepter *Accepter // required
	Registry Registry  // required
	Codes    Codes     // required
	Waiters  WaiterSet // required; NewWaiters

	Receipts   *receipt.Signer       // required
	Counted    Counted               // nil = nothing is given back
	HTTPClient *http.Client          // fetches the issuer's keys; nil = http.DefaultClient
	Ready      []Check               // conditions of /readyz
	Stuck      func() []string       // what /livez fails for, by name; nil = nothing
	Metrics    http.Handler          // /metrics; nil = not there
	Root       http.Handler          // everything outside our paths; nil = a small index at /
	Log        *slog.Logger          // nil = slog.Default()
	Reg        prometheus.Registerer // nil = no metrics
	Now        func() time.Time      // nil = time.Now
}

// Gateway is the HTTP edge. It starts no goroutine: a request's work happens
// in the goroutine that net/http gave it.
type Gateway struct {
	cfg      Config
	deps     Deps
	accepter *Accepter
	auth     *authenticator
	polls    *waiterCount
	days     chan struct{} // holds one while a statement of a day is made: it reads much
	metrics  *httpMetrics
	log      *slog.Logger
	now      func() time.Time
	mux      *http.ServeMux
	pages    *pages

	ready lastReady

	drain     chan struct{}
	drainOnce sync.Once
}

// New checks the configuration; all mistakes come back together.
func New(cfg Config, deps Deps) (*Gateway, error) {
	errs := []error{
		need("Accepter", deps.Accepter != nil), need("Registry", deps.Registry != nil),
		need("Codes", deps.Codes != nil), need("Waiters", deps.Waiters != nil), need("Receipts", deps.Receipts != nil),
		need("auth.issuer", cfg.Auth.Issuer != ""), need("auth.audience", cfg.Auth.Audience != ""),
	}
	if u, err := url.Parse(cfg.Auth.JWKSURL); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		errs = append(errs, errors.New("gateway: auth.jwks_url is not an http or https URL"))
	}
	seen := map[string]bool{}
	for i, c := range cfg.Clients {
		if c.ID == "" || seen[c.ID] {
			errs = append(errs, fmt.Errorf("gateway: clients[%d].id is missing or stands twice", i))
		}
		seen[c.ID] = true
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	orDefault(&cfg.Resend.After, time.Minute)
	if cfg.Resend.Most <= 0 {
		cfg.Resend.Most = 3
	}
	if cfg.MaxPolls <= 0 {
		cfg.MaxPolls = 1000
	}
	cfg.PublicURL = strings.TrimSuffix(cfg.PublicURL, "/")
	if deps.HTTPClient == nil {
		deps.HTTPClient = http.DefaultClient
	}
	if deps.Log == nil {
		deps.Log = slog.Default()
	}
	if deps.Now == nil {
		deps.Now = time.Now
	}
	deps.Registry = bounded{deps.Registry}
	metrics, err := newHTTPMetrics(deps.Reg)
	if err != nil {
		return nil, err
	}
	pages, err := newPages()
	if err != nil {
		return nil, err
	}
	g := &Gateway{
		cfg: cfg, deps: deps, accepter: deps.Accepter, metrics: metrics, pages: pages,
		auth:  newAuthenticator(cfg.Auth, cfg.Clients, deps.HTTPClient, deps.Now, deps.Log),
		polls: newWaiterCount(cfg.MaxPolls), log: deps.Log, now: deps.Now, mux: http.NewServeMux(),
		days: make(chan struct{}, 1), drain: make(chan struct{}),
	}
	for _, r := range g.routes() {
		g.mux.Handle(r.pattern, r.handler)
	}
	return g, nil
}

// route is one line of what the edge serves.
type route struct {
	pattern string
	handler http.Handler
}

// routes is the table of what the edge serves; openapi.yaml describes the same,
// and a test walks both.
func (g *Gateway) routes() []route {
	challenges := []mobileid.Scope{mobileid.ScopeChallenges}
	notifications := []mobileid.Scope{mobileid.ScopeNotifications}
	balance := []mobileid.Scope{mobileid.ScopeBalance}
	// A code's Message is a Message too.
	either := []mobileid.Scope{mobileid.ScopeNotifications, mobileid.ScopeChallenges}
	table := []route{
		{"POST /v1/challenges", g.authed(challenges, g.createChallenge)},
		{"GET /v1/challenges/{id}", g.authed(challenges, g.get(mobileid.KindChallenge, g.readChallenge))},
		{"POST /v1/challenges/{id}/verify", g.authed(challenges, g.verifyChallenge)},
		{"POST /v1/challenges/{id}/resend", g.authed(challenges, g.resendChallenge)},
		{"POST /v1/challenges/{id}/cancel", g.authed(challenges, g.cancelChallenge)},
		{"GET /v1/confirmations/{id}", g.authed(challenges, g.getConfirmation)},
		{"GET /.well-known/jwks.json", http.HandlerFunc(g.jwks)},
		{"POST /v1/notifications", g.authed(notifications, g.createNotification)},
		{"POST /v1/balance-events", g.authed(balance, g.createBalanceEvents)},
		{"GET /v1/messages/{id}", g.authed(either, g.get(mobileid.KindMessage, g.readMessage))},
		{"GET /v1/operators/{operator}/statements/{day}", g.authed([]mobileid.Scope{mobileid.ScopeStatements}, g.operatorDay)},
		{"POST /v1/persons:lookup", g.authed([]mobileid.Scope{mobileid.ScopeChallenges, mobileid.ScopeNotifications, mobileid.ScopeVerifications}, g.lookupPerson)},
		{"POST /v1/persons:stepUp", g.authed([]mobileid.Scope{mobileid.ScopeStepUp}, g.stepUp)},
		{"POST /v1/verifications", g.authed([]mobileid.Scope{mobileid.ScopeVerifications}, g.verifyPerson)},
		{"POST /v1/persons:statement", g.authed([]mobileid.Scope{mobileid.ScopeChargesRead}, g.personStatement)},
		{"POST /v1/persons:dailyCeiling", g.authed([]mobileid.Scope{mobileid.ScopeChargesWrite}, g.dailyCeiling)},

		{"GET /livez", http.HandlerFunc(g.livez)},
		{"GET /readyz", http.HandlerFunc(g.readyz)},
		{"GET /openapi.yaml", http.HandlerFunc(g.pages.openAPI)},
		{"GET /docs", http.HandlerFunc(g.pages.docs)},
		{"GET /problems/{code}", http.HandlerFunc(g.problemPage)},
		{"GET /problems", http.HandlerFunc(g.pages.problems)},
	}
	if g.deps.Metrics != nil {
		table = append(table, route{"GET /metrics", g.deps.Metrics})
	}
	if g.deps.Root == nil {
		table = append(table, route{"GET /{$}", http.HandlerFunc(g.pages.index)})
	}
	return table
}

// Drain ends every long poll with its present answer, now and from now on, so
// that http.Server.Shutdown need not wait for them. Give it to
// RegisterOnShutdown.
func (g *Gateway) Drain() { g.drainOnce.Do(func() { close(g.drain) }) }

// NewServer is the one place where the timeouts of an HTTP server are set.
// ReadTimeout is for head and body of a request and does not end a long poll
// that was read in time; WriteTimeout does, so it is longer than the longest.
func NewServer(handler http.Handler) *http.Server {
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       15 * time.Second,
		WriteTimeout:      maxPoll + 15*time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
	}
}
