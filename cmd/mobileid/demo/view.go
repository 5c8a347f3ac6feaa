package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"mobileid/cmd/mobileid/app"
	"mobileid/cmd/mobileid/config/sandbox"
	"mobileid/cmd/mobileid/demo/page"
	"mobileid/internal/mobileid"
	"mobileid/registry"
)

// The notice that the page and the tour send.
const (
	noticeText   = "notice.data_access"
	noticeSystem = "public_services"
)

// page makes the handler of the demo's page.
func (d *demo) page() http.Handler {
	deps := page.Deps{
		Tokens:   &tokens{url: d.world.TokenURL(), dir: d.dir},
		Persons:  d.pagePersons,
		Records:  records{d.app},
		Registry: rows{db: d.app.Registry()},
		Handsets: d.pdus,
		Accounts: accounts{d},
	}
	if d.smsc != nil {
		truth := &truth{smsc: d.smsc, db: d.app.Registry(), began: d.began, grace: d.grace}
		deps.Registry, deps.Controls = rows{db: d.app.Registry(), truth: truth}, &controls{d: d}
	}
	return page.New(d.pageConfig(), deps)
}

func (d *demo) pageConfig() page.Config {
	return page.Config{
		Addr: d.listener.Addr().String(),
		Purposes: []page.Choice{
			{ID: "sign_in", Label: "Sign in"},
			{ID: "verify", Label: "Verify"},
			{ID: "confirm_application", Label: "Confirm an application"},
			{ID: "permit_access", Label: "Permit access to data"},
		},
		Locales: []page.Choice{
			{ID: string(mobileid.LocaleUzLatn), Label: "Oʻzbekcha"},
			{ID: string(mobileid.LocaleRu), Label: "Русский"},
			{ID: string(mobileid.LocaleEn), Label: "English"},
		},
		Notice: page.Notice{TextID: noticeText, Slots: map[string]string{"system": noticeSystem}, NowSlot: "at"},
		Engine: page.Engine{
			Postgres: d.postgresVersion, Kafka: "kfake, in this process", Redis: "miniredis, in this process",
			SMSC: d.operatorName(), Version: "mobileid " + app.Version(),
		},
		NoHandset: d.smsc == nil,
		Done:      d.pageDone, Log: d.opts.Log,
	}
}

func (d *demo) operatorName() string {
	if d.smsc == nil {
		return d.opts.SystemID + " at " + d.opts.SMSC
	}
	return "smscsim, in this process"
}

// networkName is what stands on the handset.
func (d *demo) networkName() string {
	if d.smsc == nil {
		return d.opts.SMSC
	}
	return "Beeline"
}

func (d *demo) pagePersons() []page.Person {
	var out []page.Person
	for _, p := range d.persons() {
		shown := page.Person{Label: p.label, PINFL: p.pinfl, Note: p.note}
		if m, err := mobileid.ParseMSISDN(p.number); err == nil {
			shown.Operator, shown.Masked = d.networkName(), m.Masked()
		}
		out = append(out, shown)
	}
	return out
}

// tokens gets tokens from the simulated issuer, as a relying party does, and
// keeps one until it is half used up.
type tokens struct {
	url, dir string

	mu   sync.Mutex
	held page.Token
	life time.Duration
}

// Token returns a token with at least half of its life left.
func (t *tokens) Token(ctx context.Context) (page.Token, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if time.Until(t.held.Expires) > t.life/2 {
		return t.held, nil
	}
	token, life, err := askIssuer(ctx, t.url, t.dir, sandbox.Client, "challenges notifications")
	if err != nil {
		return page.Token{}, err
	}
	t.life = life
	t.held = page.Token{Value: token, Client: sandbox.Client, Expires: time.Now().Add(life)}
	return t.held, nil
}

// askIssuer gets a token for a client of the demo's configuration.
func askIssuer(ctx context.Context, at, dir, client, scopes string) (token string, life time.Duration, err error) {
	secret, err := sandbox.Secret(dir, "client")
	if err != nil {
		return "", 0, err
	}
	form := url.Values{"grant_type": {"client_credentials"}, "scope": {scopes}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, at, strings.NewReader(form.Encode()))
	if err != nil {
		return "", 0, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.SetBasicAuth(client, secret)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", 0, mobileid.Unavailable("issuer_away", time.Second, err)
	}
	defer func() { _ = res.Body.Close() }()
	var got struct {
		Token string `json:"access_token"`
		Life  int    `json:"expires_in"`
	}
	err = json.NewDecoder(res.Body).Decode(&got)
	if err != nil || res.StatusCode != http.StatusOK {
		return "", 0, fmt.Errorf("the token issuer answered %d: %w", res.StatusCode, err)
	}
	return got.Token, time.Duration(got.Life) * time.Second, nil
}

// records reads Kafka records back.
type records struct{ app *app.App }

// Record reads one.
func (r records) Record(ctx context.Context, ref mobileid.RecordRef) (page.Record, error) {
	m, err := r.app.ReadRecord(ctx, ref)
	if err != nil {
		return page.Record{}, err
	}
	out := page.Record{Time: m.Time, Key: m.Key, Value: m.Value}
	for _, h := range m.Headers {
		out.Headers = append(out.Headers, page.Field{Name: h.Key, Value: string(h.Value)})
	}
	return out, nil
}

// rows reads the record of truth.
type rows struct {
	db    *registry.DB
	truth *truth // nil: nobody but the operator knows
}

// Rows returns what is stored about an id.
func (r rows) Rows(ctx context.Context, id mobileid.ID) (page.Rows, error) {
	got, err := r.db.Rows(ctx, id)
	return page.Rows(got), err
}

// Explain returns the masked timeline.
func (r rows) Explain(ctx context.Context, id mobileid.ID) ([]mobileid.Step, error) {
	return r.db.Explain(ctx, id)
}

// Counts returns the totals.
func (r rows) Counts(ctx context.Context) (page.Counts, error) {
	t, err := r.db.Totals(ctx)
	out := page.Counts{Accepted: t.Requests, Delivered: t.Delivered, Confirmed: t.Confirmed, Charged: t.Charged}
	if err == nil && r.truth != nil {
		out.Lost, out.Doubled, err = r.truth.count(ctx)
	}
	return out, err
}
