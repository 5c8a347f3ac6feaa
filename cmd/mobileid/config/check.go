package config

import (
	"context"
	"crypto/x509"
	"fmt"
	"net"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"mobileid/gateway/receipt"
	"mobileid/internal/mobileid"
	"mobileid/registry"
)

// defaults are the values of everything that may be left out.
func defaults() Config {
	return Config{
		HTTP:       HTTP{Listen: "127.0.0.1:8080", Admin: "127.0.0.1:9090"},
		Postgres:   Postgres{MaxConns: 20},
		Kafka:      Kafka{Partitions: 12, Replication: 3, MinInsync: 2, ACLs: true},
		NumberInfo: NumberInfo{Budget: 500 * time.Millisecond, Cache: 10_000, CacheAge: time.Hour},
		SIMSwap:    SIMSwap{Budget: 500 * time.Millisecond},
		Ledger:     Ledger{CheckEvery: time.Hour},
		Deadlines:  Deadlines{CodeAccept: 30 * time.Second, Notice: 24 * time.Hour, Receipt: time.Hour, Grace: 10 * time.Second},
		Limits: Limits{
			Resend: Resend{After: time.Minute, Most: 3},
			Person: []CodeRule{{5, time.Hour}, {10, 24 * time.Hour}},
			Absent: []CodeRule{{2, time.Hour}, {3, 24 * time.Hour}},
			Number: []CodeRule{{5, time.Hour}, {10, 24 * time.Hour}},
			Wrong:  Wrong{Pause: 15 * time.Minute, Day: 10},
		},
		Charging: Charging{WarnBelow: 5},
	}
}

// word is what ids of clients, operators and purposes look like: safe in topic
// names, URLs and metric labels.
var word = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,31}$`)

// check adds every mistake of meaning.
func (c *Config) check(wrong *Mistakes) {
	c.checkEngines(wrong)
	c.checkKeys(wrong)
	c.checkAuth(wrong)
	c.checkDeadlines(wrong)
	c.checkLimits(wrong)
	if n := c.Charging.WarnBelow; n < 0 || n > mostWarned {
		wrong.addf("charging.warn_below", "from 0, which is never, to %d", mostWarned)
	}
	c.checkPurposes(wrong)
	c.checkClients(wrong)
	c.checkOperators(wrong)
	c.checkNumberInfo(wrong)
	c.checkSIMSwap(wrong)
	if _, err := c.NumberPlan(); err != nil {
		*wrong = append(*wrong, err...)
	}
}

// mostWarned bounds charging.warn_below: somebody with money for that many Messages
// is not warned that it ends.
const mostWarned = 1000

func (c *Config) checkEngines(wrong *Mistakes) {
	checkAddr("http.listen", c.HTTP.Listen, wrong)
	checkAddr("http.admin", c.HTTP.Admin, wrong)
	c.checkDSN(wrong)
	if c.Postgres.MaxConns < 8 {
		wrong.addf("postgres.max_conns", "at least 8: each hot path holds a connection of its own")
	}
	checkAddrs("redis.addrs", c.Redis.Addrs, wrong)
	checkAddrs("kafka.brokers", c.Kafka.Brokers, wrong)
	if c.Kafka.Partitions < 1 {
		wrong.addf("kafka.partitions", "at least 1")
	}
	if c.Kafka.Replication < 1 || c.Kafka.MinInsync < 1 || c.Kafka.MinInsync > c.Kafka.Replication {
		wrong.addf("kafka.min_insync", "from 1 to kafka.replication")
	}
	if !c.Kafka.LessDurable && (c.Kafka.Replication < 3 || c.Kafka.MinInsync < 2) {
		wrong.addf("kafka.replication", "an accepted request must survive a broker: replication 3 and min_insync 2, or say allow_less_durable: true")
	}
	if (c.Kafka.SASLUser == "") != c.Kafka.SASLPass.IsZero() {
		wrong.addf("kafka.sasl_password", "sasl_user and sasl_password come together")
	}
	if c.Kafka.CAFile != "" {
		pem, err := os.ReadFile(c.Kafka.CAFile)
		switch {
		case err != nil:
			wrong.addf("kafka.ca_file", "%v", err)
		case !x509.NewCertPool().AppendCertsFromPEM(pem):
			wrong.addf("kafka.ca_file", "no PEM certificate in it")
		}
	}
}

// checkDSN has the registry read it, because only that room knows what Postgres
// takes. Its Open connects to nothing, and a context that has ended keeps even a
// DSN that asks for ready connections from dialling.
func (c *Config) checkDSN(wrong *Mistakes) {
	if c.Postgres.DSN.IsZero() {
		wrong.addf("postgres.dsn", "missing; give env:NAME or file:PATH")
		return
	}
	ended, end := context.WithCancel(context.Background())
	end()
	db, err := registry.Open(ended, registry.Config{DSN: c.Postgres.DSN.Reveal()})
	if err != nil {
		// The parser's own words may repeat a part of the DSN.
		wrong.addf("postgres.dsn", "cannot be parsed; want postgres://USER:PASSWORD@HOST:PORT/DATABASE")
		return
	}
	db.Close()
}

func (c *Config) checkKeys(wrong *Mistakes) {
	if len(c.Keys.ID.Reveal()) < 16 {
		wrong.addf("keys.id", "at least 16 bytes")
	}
	if len(c.Keys.Pseudonym.Reveal()) < 16 {
		wrong.addf("keys.pseudonym", "at least 16 bytes")
	}
	if len(c.Keys.OTP) == 0 {
		wrong.addf("keys.otp", "at least one key")
	}
	for i, k := range c.Keys.OTP {
		path := fmt.Sprintf("keys.otp[%d]", i)
		if !word.MatchString(k.ID) {
			wrong.addf(path+".id", "want a short word")
		}
		if len(k.Secret.Reveal()) < 16 {
			wrong.addf(path+".secret", "at least 16 bytes")
		}
	}
	c.checkReceipts(wrong)
	for path, public := range map[string]string{"keys.bridge_public": c.Keys.BridgePublic, "keys.dlq_public": c.Keys.DLQPublic} {
		if _, err := mobileid.NewSealer(public, nil); err != nil {
			wrong.addf(path, "%v; `mobileid keys new` makes a pair", err)
		}
	}
	for path, list := range map[string][]Secret{"keys.bridge_private": c.Keys.BridgePrivate, "keys.dlq_private": c.Keys.DLQPrivate} {
		for i, private := range list {
			if _, err := mobileid.NewOpener(private.Reveal()); err != nil {
				wrong.addf(fmt.Sprintf("%s[%d]", path, i), "not a base64 X25519 private key; `mobileid keys new` makes a pair")
			}
		}
	}
	if !fits(c.Keys.BridgePublic, c.Keys.BridgePrivate) {
		wrong.addf("keys.bridge_private", "none of them opens what keys.bridge_public seals; `mobileid keys new` makes a pair")
	}
}

func (c *Config) checkReceipts(wrong *Mistakes) {
	if len(c.Keys.Receipts) == 0 {
		wrong.addf("keys.receipts", "at least one key; `mobileid keys new --receipt` makes one")
	}
	seen := map[string]bool{}
	for i, k := range c.Keys.Receipts {
		path := fmt.Sprintf("keys.receipts[%d]", i)
		checkID(path+".id", k.ID, seen, wrong)
		if _, err := receipt.ParseKey(k.ID, []byte(k.Secret.Reveal())); err != nil {
			wrong.addf(path+".secret", "%v", err)
		}
	}
	if u, err := url.Parse(c.Receipts.Issuer); err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		wrong.addf("receipts.issuer", "the URL that the public API has outside")
	}
}

// fits tries whether a private key opens what the public one seals. Retired
// keys may stand beside it. Where a key is missing or unreadable there is
// nothing to try.
func fits(public string, private []Secret) bool {
	if len(private) == 0 {
		return true
	}
	sealer, err := mobileid.NewSealer(public, nil)
	if err != nil {
		return true
	}
	halves := make([]string, len(private))
	for i, p := range private {
		halves[i] = p.Reveal()
	}
	opener, err := mobileid.NewOpener(halves...)
	if err != nil {
		return true
	}
	sealed, err := sealer.Seal(nil, nil)
	if err != nil {
		return true
	}
	_, err = opener.Open(nil, sealed)
	return err == nil
}

func (c *Config) checkAuth(wrong *Mistakes) {
	if c.Auth.Issuer == "" {
		wrong.addf("auth.issuer", "missing")
	}
	if c.Auth.Audience == "" {
		wrong.addf("auth.audience", "missing")
	}
	if u, err := url.Parse(c.Auth.JWKSURL); err != nil || (u.Scheme != "https" && u.Scheme != "http") || u.Host == "" {
		wrong.addf("auth.jwks_url", "want an http(s) URL")
	}
}

func (c *Config) checkDeadlines(wrong *Mistakes) {
	d := c.Deadlines
	for path, v := range map[string]time.Duration{
		"deadlines.code_accept": d.CodeAccept, "deadlines.notice": d.Notice, "deadlines.receipt": d.Receipt,
		"deadlines.grace": d.Grace,
	} {
		if v < time.Second {
			wrong.addf(path, "at least 1s")
		}
	}
	if c.Ledger.CheckEvery < time.Minute {
		wrong.addf("ledger.check_every", "at least 1m: it reads every transfer that is not archived")
	}
	// A record must outlive every deadline on its topic.
	for _, t := range mobileid.Topics() {
		notices := t.Name == mobileid.TopicNotificationRequests || t.Name == mobileid.TopicSMS("<operator>", mobileid.LaneBulk)
		if notices && d.Notice >= t.Retention {
			wrong.addf("deadlines.notice", "must be shorter than the retention of %s, %s", t.Name, t.Retention)
		}
	}
}

func (c *Config) checkLimits(wrong *Mistakes) {
	if r := c.Limits.Resend; r.After < time.Second || r.After > time.Hour {
		wrong.addf("limits.resend.after", "from 1s to 1h")
	}
	if r := c.Limits.Resend; r.Most < 0 || r.Most > 10 {
		wrong.addf("limits.resend.most", "from 0 to 10")
	}
	for name, rules := range map[string][]CodeRule{"person": c.Limits.Person, "absent": c.Limits.Absent, "number": c.Limits.Number} {
		for i, r := range rules {
			if r.Most < 1 || r.Per < time.Minute || r.Per > 48*time.Hour {
				wrong.addf(fmt.Sprintf("limits.%s[%d]", name, i), "most at least 1, per from 1m to 48h")
			}
		}
	}
	if w := c.Limits.Wrong; w.Pause < 0 || w.Pause > time.Hour {
		wrong.addf("limits.wrong.pause", "from 0s to 1h: a pause always ends")
	}
	if w := c.Limits.Wrong; w.Day < 1 || w.Day > 100 {
		wrong.addf("limits.wrong.day", "from 1 to 100 (NIST SP 800-63B-4, 3.2.2)")
	}
}

func (c *Config) checkPurposes(wrong *Mistakes) {
	seen := map[string]bool{}
	for i, p := range c.Purposes {
		path := fmt.Sprintf("purposes[%d]", i)
		checkID(path+".id", p.ID, seen, wrong)
		if !slices.Contains(mobileid.Uses(), p.Use) {
			wrong.addf(path+".use", "one of %v (decree clause 29)", mobileid.Uses())
		}
		if p.Use == mobileid.UseOther && p.Basis == "" {
			wrong.addf(path+".basis", "missing: which act lets codes be asked for it (decree clause 29, item 5)")
		}
		if err := c.Texts.CheckPurpose(mobileid.Purpose(p)); err != nil {
			wrong.addf(path, "%v", err)
		}
		if p.Life < time.Minute || p.Life > time.Hour {
			wrong.addf(path+".life", "from 1m to 1h")
		}
		if p.Digits < 6 {
			wrong.addf(path+".digits", "at least 6")
		}
		if p.Tries < 1 || p.Tries > 10 {
			wrong.addf(path+".tries", "from 1 to 10")
		}
		p.checkSIM(path, wrong)
	}
}

func (c *Config) checkClients(wrong *Mistakes) {
	seen := map[string]bool{}
	purposes := c.PurposeSet()
	for i, cl := range c.Clients {
		path := fmt.Sprintf("clients[%d]", i)
		checkID(path+".id", cl.ID, seen, wrong)
		for _, s := range cl.Scopes {
			if !slices.Contains(mobileid.Scopes(), mobileid.Scope(s)) {
				wrong.addf(path+".scopes", "unknown scope %q; known: %v", s, mobileid.Scopes())
			}
		}
		charges := slices.Contains(cl.Scopes, string(mobileid.ScopeChargesRead)) || slices.Contains(cl.Scopes, string(mobileid.ScopeChargesWrite))
		if charges && cl.Disclosure != string(mobileid.DisclosureFull) {
			wrong.addf(path+".disclosure", "full, for charges:read and charges:write: what they tell depends on the person")
		}
		checkAsks(path, cl, purposes, wrong)
		if d := mobileid.Disclosure(cl.Disclosure); d != mobileid.DisclosureFull && d != mobileid.DisclosureBlind {
			wrong.addf(path+".disclosure", "full or blind")
		}
		if m := mobileid.Mode(cl.Mode); m != mobileid.ModeLive && m != mobileid.ModeTest {
			wrong.addf(path+".mode", "live or test")
		}
		if cl.Quota.Rate < 1 || cl.Quota.Burst < 1 || cl.Quota.Per < time.Second {
			wrong.addf(path+".quota", "rate and burst at least 1, per at least 1s")
		}
		c.checkOperatorOf(path, cl, wrong)
		if cl.Kafka && c.Kafka.ACLs && cl.Principal == "" {
			wrong.addf(path+".principal", "missing: the ACL of in.%s needs to know who writes it", cl.ID)
		}
	}
}

// checkAsks checks what a client asks codes for.
func checkAsks(path string, cl Client, purposes map[string]mobileid.Purpose, wrong *Mistakes) {
	for _, p := range cl.Purposes {
		purpose, ok := purposes[p]
		switch {
		case !ok:
			wrong.addf(path+".purposes", "no purpose %q in purposes", p)
		case purpose.Enrollment():
			wrong.addf(path+".purposes", "%q is of an enrollment, which alone may ask codes for it", p)
		}
	}
	services := map[string]bool{}
	for j, s := range cl.Services {
		at := fmt.Sprintf("%s.services[%d]", path, j)
		checkID(at+".id", s.ID, services, wrong)
		if s.Class != mobileid.ServiceOrdinary && s.Class != mobileid.ServiceLending {
			wrong.addf(at+".class", "ordinary or lending")
		}
	}
}

// checkOperatorOf checks for which operator a client speaks.
func (c *Config) checkOperatorOf(path string, cl Client, wrong *Mistakes) {
	speaks := slices.Contains(cl.Scopes, string(mobileid.ScopeBalance)) || slices.Contains(cl.Scopes, string(mobileid.ScopeStatements))
	switch {
	case cl.Operator != "" && !slices.Contains(c.OperatorIDs(), cl.Operator):
		wrong.addf(path+".operator", "no operator %q in operators: nobody here has an account there", cl.Operator)
	case speaks && cl.Operator == "":
		wrong.addf(path+".operator", "missing: with the scope %s or %s the client speaks for one operator only", mobileid.ScopeBalance, mobileid.ScopeStatements)
	case !speaks && cl.Operator != "":
		wrong.addf(path+".operator", "says nothing without the scope %s or %s", mobileid.ScopeBalance, mobileid.ScopeStatements)
	}
}

func (c *Config) checkOperators(wrong *Mistakes) {
	if len(c.OperatorFiles) == 0 {
		wrong.addf("operators", "at least one file of an operator")
	}
	seen := map[string]bool{}
	for _, o := range c.Operators {
		seen[o.ID] = true
	}
	for i, n := range c.Numbers {
		if n.Operator != "" && !seen[n.Operator] {
			wrong.addf(fmt.Sprintf("numbers[%d].operator", i), "no operator %q in operators", n.Operator)
		}
	}
	checkFree(c.Operators, c.Texts.FreeKinds(), wrong)
}

// checkFree wants a sender for what subscribers do not pay for where the operator
// would debit them by himself.
func checkFree(operators []Operator, kinds []string, wrong *Mistakes) {
	for i, o := range operators {
		for _, kind := range kinds {
			if s := o.Profile().Sender(kind); o.Charging.By == mobileid.ChargingOperator && !(s.Free && s.Kind == kind) {
				wrong.addf(fmt.Sprintf("operators[%d]", i),
					"operator %q debits subscribers by himself, and texts of kind %q are free for them: give senders of its file one with kind: %s and free: true",
					o.ID, kind, kind)
			}
		}
	}
}

func (c *Config) checkNumberInfo(wrong *Mistakes) {
	n := c.NumberInfo
	if (n.URL == "") != n.Token.IsZero() {
		wrong.addf("number_info.token", "url and token come together")
	}
	if n.URL != "" && !isPrivateURL(n.URL) {
		wrong.addf("number_info.url", "want an https URL, or an http one of this machine: numbers and the token go there")
	}
	if n.Budget < 50*time.Millisecond || n.Budget > 5*time.Second {
		wrong.addf("number_info.budget", "from 50ms to 5s")
	}
	if n.Cache < 1 || n.Cache > 1_000_000 {
		wrong.addf("number_info.cache", "from 1 to 1000000")
	}
	if n.CacheAge < time.Second || n.CacheAge > 24*time.Hour {
		wrong.addf("number_info.cache_age", "from 1s to 24h")
	}
}

func (c *Config) checkSIMSwap(wrong *Mistakes) {
	s := c.SIMSwap
	if (s.URL == "") != s.Token.IsZero() {
		wrong.addf("sim_swap.token", "url and token come together")
	}
	if s.URL != "" && (!isPrivateURL(s.URL) || strings.HasSuffix(s.URL, "/")) {
		wrong.addf("sim_swap.url", "want an https URL, or an http one of this machine, without / at its end: numbers and the token go there")
	}
	if s.Budget < 50*time.Millisecond || s.Budget > 5*time.Second {
		wrong.addf("sim_swap.budget", "from 50ms to 5s")
	}
}

// mostSIMAge is how far SIM Swap can be asked to look back.
const mostSIMAge = 2400 * time.Hour

func (p *Purpose) checkSIM(path string, wrong *Mistakes) {
	if p.SIMMaxAge < 0 || p.SIMMaxAge > mostSIMAge || p.SIMMaxAge%time.Hour != 0 {
		wrong.addf(path+".sim_max_age", "whole hours from 1h to 2400h, or 0: nobody is asked")
	}
	if p.SIMMaxAge != 0 && p.Use == mobileid.UseEnrollment {
		wrong.addf(path+".sim_max_age", "not for an enrollment: no refusal of it outside the closed lists (decree clauses 16, 18, 25, 27)")
	}
	switch p.SIMUnknown {
	case "":
	case mobileid.SIMUnknownAllow, mobileid.SIMUnknownStepUp:
		if p.SIMMaxAge == 0 {
			wrong.addf(path+".sim_unknown", "says nothing without sim_max_age")
		}
	default:
		wrong.addf(path+".sim_unknown", "allow or step_up")
	}
}

// isPrivateURL reports whether nobody on the way can read what goes there.
func isPrivateURL(s string) bool {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" {
		return false
	}
	ip := net.ParseIP(u.Hostname())
	return u.Scheme == "https" || u.Scheme == "http" && (u.Hostname() == "localhost" || ip != nil && ip.IsLoopback())
}

// NumberPlan reads the dated table of network codes.
func (c *Config) NumberPlan() (mobileid.NumberPlan, Mistakes) {
	var wrong Mistakes
	rows := make([]mobileid.PlanRow, len(c.Numbers))
	for i, n := range c.Numbers {
		rows[i] = mobileid.PlanRow{Code: n.Code, Operator: n.Operator}
		for key, out := range map[string]*time.Time{"from": &rows[i].From, "until": &rows[i].Until} {
			text := map[string]string{"from": n.From, "until": n.Until}[key]
			if text == "" && key == "until" {
				continue
			}
			at, err := time.ParseInLocation(time.DateOnly, text, mobileid.Tashkent)
			if err != nil {
				wrong.addf(fmt.Sprintf("numbers[%d].%s", i, key), "want a date, YYYY-MM-DD")
				continue
			}
			*out = at
		}
	}
	plan, errs := mobileid.NewNumberPlan(rows)
	for _, err := range errs {
		wrong = append(wrong, "numbers"+err.Error())
	}
	return plan, wrong
}

func checkID(path, id string, seen map[string]bool, wrong *Mistakes) {
	switch {
	case !word.MatchString(id):
		wrong.addf(path, "want a word of a-z, 0-9, _ and -, at most 32 characters")
	case seen[id]:
		wrong.addf(path, "%q stands twice", id)
	}
	seen[id] = true
}

func checkAddr(path, addr string, wrong *Mistakes) {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		wrong.addf(path, "want host:port")
		return
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		wrong.addf(path, "want host:port, the port a number up to 65535")
	}
}

func checkAddrs(path string, addrs []string, wrong *Mistakes) {
	if len(addrs) == 0 {
		wrong.addf(path, "at least one host:port")
	}
	for i, a := range addrs {
		checkAddr(fmt.Sprintf("%s[%d]", path, i), a, wrong)
	}
}
