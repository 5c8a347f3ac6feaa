// Package apptest runs the whole system on a test's engines, in this process
// or in children that can be killed.
//
// Its promise: a test sees what a user sees. It asks over HTTP or Kafka with a
// token of the simulated issuer, reads codes off the simulated handset, and
// the engines are real servers or the embedded ones, as internal/testenv was
// told.
package apptest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"mobileid/cmd/govsim/world"
	"mobileid/cmd/mobileid/app"
	"mobileid/cmd/mobileid/config"
	"mobileid/cmd/mobileid/config/sandbox"
	"mobileid/cmd/smscsim/smsc"
	"mobileid/internal/mobileid"
	"mobileid/internal/testenv"
	"mobileid/registry"
)

// Options change how the system is put together. The zero value is the whole
// system in this process.
type Options struct {
	// Roles that run in this process; nil means all, empty means none.
	Roles []string
	// Through puts a proxy before an engine, so that the test can take it away.
	Through struct{ Postgres, Kafka, Redis, SMSC bool }
	// Change edits the configuration before anything starts.
	Change func(*config.Config)
	// Log gets the program's log as JSON lines; nil means the test's own log at
	// warnings.
	Log io.Writer
	// LogLevel is from where Log is written; zero means info.
	LogLevel slog.Level
	// MoreClients are relying parties beside the sandbox's one. TokenOf gives
	// their tokens.
	MoreClients []config.Client
	// ReceiptDelay of the simulated operator; zero means 20 ms.
	ReceiptDelay time.Duration
	// Charset is what data_coding 0 means at the simulated operator; "" = gsm7.
	Charset string
	Window  int
}

// System is a running system.
type System struct {
	T      testing.TB
	Env    *testenv.Env
	SMSC   *smsc.Server
	World  *world.World
	Config *config.Config
	// ConfigFile is the same configuration for `mobileid serve --config`.
	ConfigFile string
	// Registry is a connection of the test's own.
	Registry *registry.DB
	// The proxies of Options.Through; nil without.
	PostgresProxy, RedisProxy, SMSCProxy *testenv.Proxy

	URL string   // of the public API
	App *app.App // the one started last; nil before
	dir string
	log *slog.Logger

	mu    sync.Mutex
	token string
	keys  int
	stop  func() error // of the running app; nil when none runs
}

// Start starts a system and stops it with the test.
func Start(t testing.TB, o Options) *System {
	t.Helper()
	s := &System{T: t, Env: testenv.New(t), dir: t.TempDir()}
	s.log = slog.New(slog.NewJSONHandler(testWriter{t}, &slog.HandlerOptions{Level: slog.LevelWarn}))
	if o.Log != nil {
		s.log = slog.New(slog.NewJSONHandler(o.Log, &slog.HandlerOptions{Level: o.LogLevel}))
	}
	must(t, sandbox.WriteSecrets(s.dir))
	s.startWorld(o)
	s.configure(o)
	must(t, app.Migrate(t.Context(), s.Config, s.log))
	_, err := app.Topics(t.Context(), s.Config)
	must(t, err)
	s.Registry, err = registry.Open(t.Context(), registry.Config{DSN: s.Env.Postgres(), MaxConns: 4})
	must(t, err)
	t.Cleanup(s.Registry.Close)
	if o.Roles == nil {
		o.Roles = app.AllRoles()
	}
	if len(o.Roles) > 0 {
		s.Run(o.Roles...)
	}
	return s
}

func (s *System) startWorld(o Options) {
	password, err := sandbox.Secret(s.dir, "smpp")
	must(s.T, err)
	if o.ReceiptDelay == 0 {
		o.ReceiptDelay = 20 * time.Millisecond
	}
	s.SMSC, err = smsc.Start(smsc.Config{
		Accounts: map[string]string{sandbox.SystemID: password}, Charsets: map[string]string{sandbox.SystemID: o.Charset},
		ReceiptDelay: o.ReceiptDelay,
	})
	must(s.T, err)
	s.T.Cleanup(func() { must(s.T, s.SMSC.Close()) })
	secret, err := sandbox.Secret(s.dir, "client")
	must(s.T, err)
	clients := map[string]string{sandbox.Client: secret, sandbox.Billing: secret}
	for _, c := range o.MoreClients {
		clients[c.ID] = secret
	}
	s.World, err = world.Start(world.Config{Clients: clients, Log: s.log})
	must(s.T, err)
	s.T.Cleanup(func() { must(s.T, s.World.Close()) })
}

func (s *System) configure(o Options) {
	through := func(want bool, addr string) (*testenv.Proxy, string) {
		if !want {
			return nil, addr
		}
		p := s.Env.Proxy(addr)
		return p, p.Addr()
	}
	a := sandbox.Addresses{
		Listen: testenv.FreeAddr(s.T), Admin: testenv.FreeAddr(s.T), DSN: s.Env.Postgres(), Kafka: s.Env.Kafka(),
		RedisCluster: s.Env.Set == testenv.Real, Issuer: s.World.URL(), Window: o.Window,
	}
	s.RedisProxy, a.Redis = through(o.Through.Redis, s.Env.RedisAddr())
	s.SMSCProxy, a.SMSC = through(o.Through.SMSC, s.SMSC.Addr())
	if o.Through.Postgres {
		dsn, err := url.Parse(a.DSN)
		must(s.T, err)
		s.PostgresProxy, dsn.Host = through(true, dsn.Host)
		a.DSN = dsn.String()
	}
	if o.Through.Kafka {
		s.T.Fatal("apptest: a Kafka broker names its own address; take it away through Env instead")
	}
	var err error
	s.ConfigFile, err = sandbox.WriteConfig(s.dir, a)
	must(s.T, err)
	s.Config, err = config.Load(s.ConfigFile, nil)
	must(s.T, err)
	s.Config.Clients = append(s.Config.Clients, o.MoreClients...)
	if s.RedisProxy != nil {
		// A cluster tells its clients to go round the proxy. One node has every
		// slot, so an ordinary client does as well.
		s.Config.Redis.Cluster = false
	}
	if o.Change != nil {
		o.Change(s.Config)
	}
	s.URL = "http://" + s.Config.HTTP.Listen
}

// Run starts an app with those roles in this process and waits until it is
// ready. It is stopped with the test, or by Stop.
func (s *System) Run(roles ...string) {
	s.T.Helper()
	a, ended := s.begin(roles)
	s.Until("the system is ready", func() bool {
		select {
		case err := <-ended:
			ended <- err // for stop
			s.T.Fatalf("the system ended before it was ready: %v", err)
		default:
		}
		return a.Ready(s.T.Context()) == nil
	})
	if slices.Contains(roles, app.RoleGateway) {
		s.awaitGateway()
	}
}

// Begin is Run for when an engine is away: it waits only until the gateway
// answers, which one of the roles must be.
func (s *System) Begin(roles ...string) {
	s.T.Helper()
	s.begin(roles)
	s.awaitGateway()
}

func (s *System) awaitGateway() {
	s.T.Helper()
	s.Until("the gateway answers", func() bool {
		_, err := s.TryAs("", http.MethodGet, "/livez", "", "")
		return err == nil
	})
}

func (s *System) begin(roles []string) (*app.App, chan error) {
	s.T.Helper()
	a, err := app.New(s.Config, app.Options{Roles: roles, Log: s.log})
	must(s.T, err)
	s.App = a
	ctx, cancel := context.WithCancel(context.WithoutCancel(s.T.Context()))
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	var once sync.Once
	stop := func() (err error) {
		once.Do(func() { cancel(); err = <-done })
		return err
	}
	s.mu.Lock()
	s.stop = stop
	s.mu.Unlock()
	s.T.Cleanup(func() { must(s.T, stop()) })
	return a, done
}

// Stop drains the app started last, as SIGTERM does.
func (s *System) Stop() {
	s.T.Helper()
	s.mu.Lock()
	stop := s.stop
	s.mu.Unlock()
	must(s.T, stop())
}

// Until looks every few milliseconds until ok, for at most 20 seconds.
func (s *System) Until(what string, ok func() bool) {
	s.T.Helper()
	limit := time.After(20 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-limit:
			s.T.Fatalf("20 s have passed and not yet: %s", what)
		case <-tick.C:
		}
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// testWriter is the test's log. A line after the test's end is dropped.
type testWriter struct{ t testing.TB }

func (w testWriter) Write(p []byte) (int, error) {
	if w.t.Context().Err() == nil {
		w.t.Log(strings.TrimSpace(string(p)))
	}
	return len(p), nil
}

// Token returns a token of the issuer with the given scopes; none means all.
func (s *System) Token(scopes ...string) string {
	s.T.Helper()
	return s.TokenOf(sandbox.Client, scopes...)
}

// TokenOf is Token for another client.
func (s *System) TokenOf(client string, scopes ...string) string {
	s.T.Helper()
	if len(scopes) == 0 {
		scopes = []string{"challenges", "notifications"}
	}
	secret, err := sandbox.Secret(s.dir, "client")
	must(s.T, err)
	form := url.Values{"grant_type": {"client_credentials"}, "scope": {strings.Join(scopes, " ")}}
	req, err := http.NewRequestWithContext(s.T.Context(), http.MethodPost, s.World.TokenURL(), strings.NewReader(form.Encode()))
	must(s.T, err)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.SetBasicAuth(client, secret)
	res, err := http.DefaultClient.Do(req)
	must(s.T, err)
	defer func() { _ = res.Body.Close() }()
	var got struct {
		Token string `json:"access_token"`
	}
	must(s.T, json.NewDecoder(res.Body).Decode(&got))
	if got.Token == "" {
		s.T.Fatalf("the issuer answered %d without a token", res.StatusCode)
	}
	return got.Token
}

// NewKey returns an Idempotency-Key that was not used before.
func (s *System) NewKey() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys++
	return fmt.Sprintf("key-%d", s.keys)
}

// Answer is an HTTP answer.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
}

// JSON returns a field of the body, "" if it is absent; "message.state" goes
// one level down.
func (a Answer) JSON(field string) string {
	var at any
	if json.Unmarshal(a.Body, &at) != nil {
		return ""
	}
	for name := range strings.SplitSeq(field, ".") {
		m, ok := at.(map[string]any)
		if !ok || m[name] == nil {
			return ""
		}
		at = m[name]
	}
	return fmt.Sprint(at)
}

// Call makes one request; key "" sends no Idempotency-Key. An error of the
// connection ends the test; Try returns it.
func (s *System) Call(method, path, key, body string) Answer {
	s.T.Helper()
	a, err := s.Try(method, path, key, body)
	must(s.T, err)
	return a
}

// Try is Call for when the answer may not come.
func (s *System) Try(method, path, key, body string) (Answer, error) {
	s.mu.Lock()
	if s.token == "" {
		s.token = s.Token()
	}
	token := s.token
	s.mu.Unlock()
	return s.TryAs(token, method, path, key, body)
}

// TryAs is Try with another token, "" for none.
func (s *System) TryAs(token, method, path, key, body string) (Answer, error) {
	ctx, cancel := context.WithTimeout(s.T.Context(), 35*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, s.URL+path, bytes.NewReader([]byte(body)))
	if err != nil {
		return Answer{}, err
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	if key != "" {
		req.Header.Set("Idempotency-Key", key)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return Answer{}, err
	}
	defer func() { _ = res.Body.Close() }()
	raw, err := io.ReadAll(res.Body)
	return Answer{res.StatusCode, res.Header, raw}, err
}

// Person is a synthetic person with a number.
type Person struct {
	PINFL   string
	Number  string // E.164 digits without plus
	Account int64
	Binding int64
	Who     mobileid.Pseudonym
}

// PINFL returns the n-th synthetic PINFL; it passes the sieve.
func PINFL(n int) string {
	thirteen := fmt.Sprintf("3010190%06d", n)
	return thirteen + string(mobileid.PINFLCheckDigit(thirteen))
}

// Bind binds the n-th person to the n-th number through the registry, with
// that much money.
func (s *System) Bind(n int, money mobileid.Money) Person {
	s.T.Helper()
	key, err := mobileid.NewPseudonymKey([]byte(s.Config.Keys.Pseudonym.Reveal()))
	must(s.T, err)
	pinfl, err := mobileid.ParsePINFL(PINFL(n))
	must(s.T, err)
	msisdn, err := mobileid.ParseMSISDN(fmt.Sprintf("+99890%07d", n))
	must(s.T, err)
	p := Person{PINFL: pinfl.Reveal(), Number: msisdn.RevealDigits(), Who: key.Person(pinfl)}
	p.Binding, err = s.Registry.Bind(s.T.Context(), mobileid.NewBinding{
		PINFL: pinfl, MSISDN: msisdn, Person: p.Who, Number: key.Number(msisdn),
		Operator: sandbox.Operator, Locale: mobileid.LocaleUzLatn,
	})
	must(s.T, err)
	bound, err := s.Registry.ActiveBindings(s.T.Context(), []mobileid.Pseudonym{p.Who})
	must(s.T, err)
	p.Account = bound[p.Who].Account
	must(s.T, s.Registry.Credit(s.T.Context(), p.Account, "test", fmt.Sprint("binding ", p.Binding), money))
	return p
}

// Ask asks for a code and returns the challenge's id.
func (s *System) Ask(p Person, purpose string) string {
	s.T.Helper()
	a := s.Call(http.MethodPost, "/v1/challenges", s.NewKey(), ChallengeBody(p.PINFL, purpose))
	if a.Status != http.StatusAccepted {
		s.T.Fatalf("challenge: status %d: %s", a.Status, a.Body)
	}
	return a.JSON("id")
}

// ChallengeBody is the body of POST /v1/challenges.
func ChallengeBody(pinfl, purpose string) string {
	return fmt.Sprintf(`{"pinfl":%q,"purpose":%q,"locale":"en"}`, pinfl, purpose)
}

// NoticeBody is the body of POST /v1/notifications.
func NoticeBody(pinfl string) string {
	return fmt.Sprintf(`{"pinfl":%q,"text_id":"notice.data_access","slots":{"system":"tax","at":"2026-11-23T09:00:00Z"},"locale":"en"}`, pinfl)
}

// SMS returns the texts that reached a number, oldest first.
func (s *System) SMS(number string) []string {
	var out []string
	for _, m := range s.SMSC.Received() {
		if m.Dest == number {
			out = append(out, m.Text)
		}
	}
	return out
}

// Code waits for the n-th SMS of a number (from 1) and reads the code in it.
func (s *System) Code(number string, n int) string {
	s.T.Helper()
	s.Until("the SMS arrives", func() bool { return len(s.SMS(number)) >= n })
	code := codeIn(s.SMS(number)[n-1])
	if code == "" {
		s.T.Fatal("no code in the SMS")
	}
	return code
}

// codeIn returns the first six digits in a row.
func codeIn(text string) string {
	run := 0
	for i, c := range text + " " {
		if c >= '0' && c <= '9' {
			run++
			continue
		}
		if run == 6 {
			return text[i-6 : i]
		}
		run = 0
	}
	return ""
}

// Verify repeats a code.
func (s *System) Verify(id, key, code string) Answer {
	s.T.Helper()
	return s.Call(http.MethodPost, "/v1/challenges/"+id+"/verify", key, fmt.Sprintf(`{"code":%q}`, code))
}

// Await long-polls /v1/challenges or /v1/messages until the state is one of
// those, and returns the last answer.
func (s *System) Await(id string, states ...string) Answer {
	s.T.Helper()
	path := "/v1/challenges/"
	if strings.HasPrefix(id, "ms_") {
		path = "/v1/messages/"
	}
	limit := time.Now().Add(40 * time.Second)
	after := ""
	for {
		a := s.Call(http.MethodGet, path+id+"?timeoutMs=5000"+after, "", "")
		for _, want := range states {
			if a.JSON("state") == want {
				return a
			}
		}
		if time.Now().After(limit) {
			s.T.Fatalf("%s is %s, want one of %v: %s", id, a.JSON("state"), states, a.Body)
		}
		after = "&after=" + a.JSON("version")
	}
}
