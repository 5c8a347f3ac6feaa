package app_test

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"mobileid/cmd/mobileid/app"
	"mobileid/cmd/mobileid/app/apptest"
	"mobileid/cmd/mobileid/config/sandbox"
	"mobileid/cmd/smscsim/smsc"
	"mobileid/internal/mobileid"
)

// birds is one run of the canary test: the system, what was planted in it, and
// what was collected on the way.
type birds struct {
	*caller
	t        *testing.T
	log      *safeBuffer
	logStart int64 // of the server's log
	n        int   // of the last person
	planted  []canary
	errs     bytes.Buffer // every error that was returned to Go
	urls     *urls
	careless []string // URLs with canaries in them, of the test's own doing
}

func (b *birds) plant(k kind, name, value string) string {
	b.planted = append(b.planted, canary{k, name, value})
	return value
}

// person binds a fresh person and plants PINFL and number.
func (b *birds) person(name string, money mobileid.Money) apptest.Person {
	b.n++
	p := b.s.Bind(b.n, money)
	b.plant(aPINFL, name, p.PINFL)
	b.plant(aNumber, name, p.Number)
	return p
}

// stranger is a PINFL that is bound to nobody.
func (b *birds) stranger(name string) string {
	b.n++
	return b.plant(aPINFL, name, apptest.PINFL(b.n))
}

// ask asks for a code and returns the id.
func (b *birds) ask(pinfl, purpose string) string {
	b.t.Helper()
	a := b.call(http.MethodPost, "/v1/challenges", apptest.ChallengeBody(pinfl, purpose))
	if a.Status != http.StatusAccepted {
		b.t.Fatalf("challenge: %d %s", a.Status, a.Body)
	}
	b.call(http.MethodGet, a.Header.Get("Location"), "") // a client goes where it is sent
	return a.JSON("id")
}

// code reads the n-th SMS of a number and plants its code and text.
func (b *birds) code(p apptest.Person, n int) string {
	b.t.Helper()
	code := b.s.Code(p.Number, n)
	b.plant(aCode, "code to "+strconv.Itoa(b.n), code)
	b.plant(aText, "text to "+strconv.Itoa(b.n), b.s.SMS(p.Number)[n-1])
	return code
}

// wrong plants a code that is not the right one, and repeats it.
func (b *birds) wrong(id, right string) {
	b.t.Helper()
	wrong := right
	for wrong == right {
		wrong = fmt.Sprintf("%06d", random(b.t, 1_000_000))
	}
	b.plant(aCode, "wrong code", wrong)
	b.refused("a wrong code", b.call(http.MethodPost, "/v1/challenges/"+id+"/verify", fmt.Sprintf(`{"code":%q}`, wrong)), http.StatusBadRequest)
}

func (b *birds) refused(what string, a apptest.Answer, status int) {
	b.t.Helper()
	if a.Status != status {
		b.t.Errorf("%s: status %d, want %d: %s", what, a.Status, status, a.Body)
	}
}

// message waits for a state of the Message of a challenge.
func (b *birds) message(id, state string) {
	b.t.Helper()
	var last apptest.Answer
	defer func() {
		if b.t.Failed() {
			b.t.Logf("last seen: %s", last.Body)
		}
	}()
	b.s.Until("the Message is "+state, func() bool {
		last = b.call(http.MethodGet, "/v1/challenges/"+id, "")
		return last.JSON("message.state") == state
	})
}

func (b *birds) fault(f smsc.Fault) {
	b.t.Helper()
	check(b.t, b.s.SMSC.SetFault(f))
}

// went keeps an error as everything that may print it would.
func (b *birds) went(err error) {
	for e := err; e != nil; e = errors.Unwrap(e) {
		fmt.Fprintf(&b.errs, "%v\n%+v\n%#v\n", e, e, e)
		slog.New(slog.NewJSONHandler(&b.errs, nil)).Error("x", "err", e)
	}
}

func random(t *testing.T, below int64) int {
	t.Helper()
	n, err := rand.Int(rand.Reader, big.NewInt(below))
	check(t, err)
	return int(n.Int64())
}

// TestNoCanaryLeavesItsCage plants PINFLs, numbers, codes, texts and secrets
// on every path, and then reads every store: our log at debug level, the
// Postgres server's log, every topic, Redis, the metrics, what the edge answers,
// every URL that was requested, errors, the dead letters, and a dump of Postgres
// against the written list of columns.
func TestNoCanaryLeavesItsCage(t *testing.T) {
	log, urls := &safeBuffer{}, watchURLs(t)
	s := apptest.Start(t, apptest.Options{Log: log, LogLevel: slog.LevelDebug, Change: urls.beforeIssuer(t)})
	s.URL = urls.before(t, "the edge", s.URL)
	b := &birds{t: t, log: log, urls: urls, n: 100_000 + random(t, 800_000), caller: &caller{s: s, token: s.Token()}}
	at, err := os.Stat(s.Env.PostgresLog())
	check(t, err)
	b.logStart = at.Size()
	b.plantSecrets()

	seenID := b.deliver()
	b.refusals()
	b.balances()
	b.outsiders()
	b.violations()
	inFlight := b.inFlight()

	pieces := b.collect()
	b.proveEyes(pieces, seenID, inFlight)
	b.search(pieces)
	// Let the answer that never comes be lost, so that draining need not wait.
	s.SMSC.Reset()
	b.fault(smsc.Fault{Kind: smsc.FaultCut})
}

// search looks for every canary in every piece. Pieces that may hold the same
// are first searched as one, because almost always there is nothing.
func (b *birds) search(pieces []piece) {
	groups := map[string][]piece{}
	for _, p := range pieces {
		groups[fmt.Sprint(p.may)] = append(groups[fmt.Sprint(p.may)], p)
	}
	for _, group := range groups {
		var whole bytes.Buffer
		for _, p := range group {
			whole.Write(p.data)
			whole.WriteByte('\n')
		}
		for _, c := range b.planted {
			all := forms(c)
			if slices.Contains(group[0].may, c.kind) || formIn(all, whole.Bytes()) == "" {
				continue
			}
			for _, p := range group {
				if form := formIn(all, p.data); form != "" {
					b.t.Errorf("%s of %s (%s) is in %s", c.kind, c.name, form, p.where)
				}
			}
		}
	}
}

func (b *birds) plantSecrets() {
	dir := filepath.Join(filepath.Dir(b.s.ConfigFile), "secrets")
	for _, name := range []string{"id", "pseudonym", "otp", "client", "smpp", "bridge", "dlq"} {
		secret, err := os.ReadFile(filepath.Join(dir, name))
		check(b.t, err)
		b.plant(aSecret, "secret "+name, strings.TrimSpace(string(secret)))
	}
	parts := strings.Split(b.token, ".")
	b.plant(aSecret, "token's claims", parts[1])
	b.plant(aSecret, "token's signature", parts[2])
}

// deliver walks the paths of a Message to its end, and returns an id that the
// log and Redis must know.
func (b *birds) deliver() string {
	good := b.person("who confirms", 1000_00)
	id := b.ask(good.PINFL, "sign_in")
	code := b.code(good, 1)
	b.wrong(id, code)
	for range 2 { // the second is a repetition
		a := b.call(http.MethodPost, "/v1/challenges/"+id+"/verify", fmt.Sprintf(`{"code":%q}`, code))
		if a.Status != http.StatusOK && a.JSON("code") != "code_used" {
			b.t.Fatalf("verify: %d %s", a.Status, a.Body)
		}
	}
	b.message(id, "delivered")

	noticed := b.person("who is told", 1000_00)
	a := b.call(http.MethodPost, "/v1/notifications", apptest.NoticeBody(noticed.PINFL))
	b.s.Await(a.JSON("id"), "delivered")
	b.plant(aText, "notice", b.s.SMS(noticed.Number)[0])

	refused := b.person("whom the operator refuses", 1000_00)
	b.fault(smsc.Fault{Kind: smsc.FaultStatus, Status: 0x0B, To: refused.Number})
	b.message(b.ask(refused.PINFL, "sign_in"), "rejected")

	absent := b.person("whose phone is off", 1000_00)
	b.fault(smsc.Fault{Kind: smsc.FaultReceipt, State: "UNDELIV", To: absent.Number})
	b.message(b.ask(absent.PINFL, "sign_in"), "undeliverable")
	b.code(absent, 1)

	poor := b.person("without money", 0)
	b.message(b.ask(poor.PINFL, "sign_in"), "no_funds")

	b.s.Await(b.ask(b.stranger("unbound"), "sign_in"), "unbound")

	again := b.person("sent twice", 1000_00)
	b.fault(smsc.Fault{Kind: smsc.FaultDrop, Count: 1})
	twice := b.ask(again.PINFL, "sign_in")
	defer func() {
		if b.t.Failed() {
			for _, m := range b.s.SMSC.Received() {
				b.t.Logf("%v %s %s %v", m.At, m.Dest, m.MessageID, m.Answered)
			}
			b.t.Log(b.log.String())
		}
	}()
	b.code(again, 2)
	b.message(twice, "delivered")
	return id
}

// refusals puts PINFLs, numbers and codes where they do not belong.
func (b *birds) refusals() {
	p := b.person("misplaced", 1000_00)
	pinfl, number := p.PINFL, "+"+p.Number
	typo := []byte(pinfl)
	typo[13] = '0' + (typo[13]-'0'+1)%10
	b.plant(aPINFL, "mistyped", string(typo))
	challenge, notice := "/v1/challenges", "/v1/notifications"
	for _, x := range []struct{ path, body string }{
		{challenge, fmt.Sprintf(`{"pinfl":%q,"purpose":"sign_in"}`, typo)},
		{challenge, fmt.Sprintf(`{"pinfl":%q,"purpose":"sign_in","%s":1}`, pinfl, pinfl)},
		{challenge, fmt.Sprintf(`{"pinfl":%q,"purpose":"sign_in","phone":%q}`, pinfl, number)},
		{challenge, fmt.Sprintf(`{"pinfl":%q,"purpose":"sign_in","p%s":1}`, pinfl, pinfl)},
		{challenge, fmt.Sprintf(`{"pinfl":%q,"pinfl":%q}`, pinfl, pinfl)},
		{challenge, fmt.Sprintf(`{"pinfl":%q,"%[1]s":1,"%[1]s":1}`, pinfl)},
		{challenge, fmt.Sprintf(`{"pinfl":%q,"purpose":%q}`, pinfl, pinfl)},
		{challenge, fmt.Sprintf(`{"pinfl":%q,"purpose":"sign_in","locale":%q}`, pinfl, pinfl)},
		{challenge, fmt.Sprintf(`{"pinfl":%q,"purpose":"sign_in","context_hash":%q}`, pinfl, pinfl)},
		{challenge, fmt.Sprintf(`{"pinfl":%q,"purpose":"sign_in","client_ref":%q}`, pinfl, number)},
		{challenge, fmt.Sprintf(`{"pinfl":%q,"purpose":"sign_in","client_ref":%q}`, pinfl, pinfl)},
		{challenge, fmt.Sprintf(`{"pinfl":%q,"purpose":"sign_in","client_ref":"case-%s"}`, pinfl, p.Number)},
		{challenge, fmt.Sprintf(`{"pinfl":%s}`, pinfl)},
		{challenge, fmt.Sprintf(`{"pinfl":"%s"`, pinfl)},
		{challenge, fmt.Sprintf(`%s`, pinfl)},
		{challenge, fmt.Sprintf(`{"pinfl":"%s"} %s`, pinfl, pinfl)},
		{challenge, fmt.Sprintf(`{"pinfl":%q,"purpose":"sign_in"}%s`, pinfl, strings.Repeat(pinfl, 20_000))},
		{notice, fmt.Sprintf(`{"pinfl":%q,"text_id":%q}`, pinfl, pinfl)},
		{notice, fmt.Sprintf(`{"pinfl":%q,"text_id":"notice.data_access","slots":{"system":%q,"at":"2026-11-23T09:00:00Z"}}`, pinfl, number)},
		{notice, fmt.Sprintf(`{"pinfl":%q,"text_id":"notice.data_access","slots":{"system":"tax","at":%q}}`, pinfl, pinfl)},
		{notice, fmt.Sprintf(`{"pinfl":%q,"text_id":"notice.data_access","slots":{"system":"tax","at":"2026-11-23T09:00:00Z","%s":"x"}}`, pinfl, pinfl)},
		{notice, fmt.Sprintf(`{"pinfl":%q,"text_id":"notice.data_access","slots":{"system":"tax","at":"2026-11-23T09:00:00Z"},"client_ref":%q}`, pinfl, pinfl)},
	} {
		if a := b.call(http.MethodPost, x.path, x.body); a.Status/100 != 4 {
			b.t.Errorf("status %d to %s", a.Status, x.body)
		}
	}
	escaped := strings.ReplaceAll(number, "+", "%2B")
	for _, path := range []string{
		"/v1/challenges/" + pinfl, "/v1/messages/" + pinfl, "/v1/persons/" + pinfl, "/" + pinfl, "/problems/" + pinfl,
		"/v1/challenges/ch_" + pinfl + "?timeoutMs=" + pinfl, "/v1/messages/ms_x?number=" + escaped,
		"/v1/challenges?pinfl=" + pinfl, "/metrics/" + escaped, "/demo/messages?id=" + pinfl,
	} {
		b.careless = append(b.careless, path)
		if a := b.call(http.MethodGet, path, ""); a.Status/100 != 4 {
			b.t.Errorf("status %d to GET %s", a.Status, path)
		}
	}
	id := b.ask(p.PINFL, "verify")
	b.code(p, 1)
	verify := "/v1/challenges/" + id + "/verify"
	b.careless = append(b.careless, "/v1/challenges/"+id+"?timeoutMs="+pinfl+"&after="+pinfl)
	b.call(http.MethodGet, b.careless[len(b.careless)-1], "")
	for _, body := range []string{
		fmt.Sprintf(`{"code":%q}`, pinfl), fmt.Sprintf(`{"code":%q}`, number), fmt.Sprintf(`{"code":"000000","%s":""}`, pinfl),
		fmt.Sprintf(`{"code":"000000","context_hash":%q}`, pinfl),
	} {
		b.refused("a PINFL for a code", b.call(http.MethodPost, verify, body), http.StatusBadRequest)
	}
	good := apptest.ChallengeBody(pinfl, "permit_access")
	b.call(http.MethodPost, challenge, good, "Content-Type", "text/"+pinfl)
	b.call(http.MethodPost, challenge, good, "Idempotency-Key", "a b "+pinfl)
	b.call(http.MethodPost, challenge, good, "Idempotency-Key", "key-"+pinfl, "x-correlator", "of-"+pinfl)
	b.call(http.MethodPost, challenge, good, "Authorization", "Bearer "+pinfl)
	b.call(http.MethodPost, challenge, good, "Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(pinfl+":"+number)))
	b.call(http.MethodPost, challenge, good, "traceparent", "00-"+pinfl+"-"+pinfl+"-00", "User-Agent", pinfl, "Forwarded", "for="+pinfl)
	b.call(http.MethodPut, challenge, pinfl)
}

// balances has the operator tell of a person, rightly and wrongly.
func (b *birds) balances() {
	p, barred := b.person("with a balance", 1000_00), b.person("barred", 1000_00)
	nobody := fmt.Sprintf("99891%07d", b.n) // of whom nothing is kept: no canary
	token := b.s.TokenOf(sandbox.Billing, string(mobileid.ScopeBalance))
	b.plant(aSecret, "the operator's token", strings.Split(token, ".")[2])
	event := func(number, kind, amount, seq string) string {
		return `{"events":[` + balanceEvent(number, kind, amount, seq) + `]}`
	}
	for i, x := range []struct {
		status int
		body   string
	}{
		{http.StatusAccepted, event(p.Number, "balance", "100000", "s1")},
		{http.StatusAccepted, event(nobody, "top_up", "100000", "s2")},
		{http.StatusAccepted, event(p.Number, "top_up", "5", "s3")},
		{http.StatusAccepted, event(p.Number, "top_up", "6", "s3")}, // parked
		{http.StatusAccepted, event(barred.Number, "barred", "", "s4")},
		{http.StatusBadRequest, event(p.Number, "top_up", "5", p.Number)},
		{http.StatusBadRequest, event(p.Number+"0", "top_up", "5", "s5")},
		{http.StatusBadRequest, event(p.Number, "+"+p.Number, "5", "s5")},
		{http.StatusBadRequest, event(p.Number, "top_up", p.Number+".5", "s5")},
		{http.StatusBadRequest, strings.Replace(event(p.Number, "top_up", "5", "s5"), `"number"`, `"`+p.Number+`"`, 1)},
	} {
		a := b.call(http.MethodPost, "/v1/balance-events", x.body, "Authorization", "Bearer "+token)
		b.refused(fmt.Sprint("report ", i), a, x.status)
	}
	b.s.Until("the contradiction is parked, and the bar is told", func() bool {
		have := map[string]bool{}
		for _, r := range readTopics(b.t, b.s.Env.Kafka()) {
			have[r.Topic] = true
		}
		return have[mobileid.TopicDLQ(mobileid.TopicBalanceEvents)] && have[mobileid.TopicRegistryEvents]
	})
}

// outsiders writes good records and poison on the client's own topic, and
// poison on an inner one.
func (b *birds) outsiders() {
	p, told := b.person("over Kafka", 1000_00), b.person("told over Kafka", 1000_00)
	bad := b.stranger("poison")
	kind, from := mobileid.TypeChallengeCommand, "/clients/"+sandbox.Client
	good := apptest.ChallengeBody(bad, "sign_in")
	produce(b.t, b.s.Env.Kafka(),
		outside(p.PINFL, apptest.ChallengeBody(p.PINFL, "sign_in"), "ce_id", b.s.NewKey(), "ce_type", kind, "ce_source", from),
		outside("", apptest.NoticeBody(told.PINFL), "ce_id", b.s.NewKey(), "ce_type", mobileid.TypeNotificationCommand),
		// Refused, and told so:
		outside("", fmt.Sprintf(`{"pinfl":%q,"purpose":"sign_in","%s":1}`, bad, bad), "ce_id", b.s.NewKey(), "ce_type", kind),
		outside("", fmt.Sprintf(`{"pinfl":%q,"purpose":%q}`, bad, bad), "ce_id", b.s.NewKey(), "ce_type", kind),
		outside("", good, "ce_id", b.s.NewKey(), "ce_type", bad),
		outside("", good, "ce_id", b.s.NewKey(), "ce_type", kind, "ce_source", "/clients/"+bad),
		outside("", good, "ce_id", b.s.NewKey(), "ce_type", kind, "ce_subject", bad, "traceparent", bad, bad, bad),
		// Poison:
		outside(bad, `{"pinfl":`+bad, "ce_id", b.s.NewKey(), "ce_type", kind),
		outside(bad, good, "ce_type", kind),
		outside(bad, good, "ce_id", b.s.NewKey(), "ce_id", bad, "ce_type", kind),
		outside("", good, "ce_id", b.s.NewKey(), "ce_type", kind, "ce_time", bad),
		outside("", good, "ce_id", b.s.NewKey(), "ce_type", kind, "ce_specversion", bad),
	)
	// An inner topic that a wrong program wrote to. What stands there is the
	// test's own doing; what is made of it is not.
	inner := outside("", fmt.Sprintf(`{"id":"%[1]s","person":"%[1]s"}`, b.stranger("inner poison")), "ce_id", "poison", "ce_type", mobileid.TypeChallengeRequested)
	inner.Topic = mobileid.TopicOTPRequests
	produce(b.t, b.s.Env.Kafka(), inner)
	b.code(p, 1)
	b.s.Until("the notice arrives", func() bool { return len(b.s.SMS(told.Number)) == 1 })
	b.parked(6)
}

// parked waits until that many dead letters lie there.
func (b *birds) parked(n int) {
	b.t.Helper()
	b.s.Until(fmt.Sprintf("%d dead letters", n), func() bool {
		list, err := app.ListParked(b.t.Context(), b.s.Config, nil)
		check(b.t, err)
		return len(list) >= n
	})
}

// violations forces a unique and a check violation, at the registry's own
// functions and under a running handler.
func (b *birds) violations() {
	t, s := b.t, b.s
	p := b.person("bound twice", 1000_00)
	key, err := mobileid.NewPseudonymKey([]byte(s.Config.Keys.Pseudonym.Reveal()))
	check(t, err)
	bind := func(pinfl, number, operator string) error {
		who, err := mobileid.ParsePINFL(pinfl)
		check(t, err)
		msisdn, err := mobileid.ParseMSISDN("+" + number)
		check(t, err)
		_, err = s.Registry.Bind(t.Context(), mobileid.NewBinding{
			PINFL: who, MSISDN: msisdn, Person: key.Person(who), Number: key.Number(msisdn), Operator: operator,
		})
		return err
	}
	conn, err := pgx.Connect(t.Context(), s.Env.Postgres())
	check(t, err)
	t.Cleanup(func() { _ = conn.Close(t.Context()) })
	for _, sql := range []string{
		`alter table bindings add constraint canary_operator check (operator <> 'canary')`,
		`create unique index canary_pinfl on bindings (pinfl)`,
		`alter table challenges add constraint canary_ref check (client_ref <> 'canary')`,
	} {
		_, err = conn.Exec(t.Context(), sql)
		check(t, err)
	}
	b.n++
	free := b.plant(aNumber, "free", fmt.Sprintf("99890%07d", b.n))
	twice, refused := bind(p.PINFL, free, sandbox.Operator), bind(b.stranger("check violation"), free, "canary")
	if mobileid.KindOf(twice) != mobileid.KindConflict || mobileid.KindOf(refused) != mobileid.KindInvalid {
		t.Errorf("unique violation: %v; check violation: %v", twice, refused)
	}
	_, err = conn.Exec(t.Context(), `update bindings set state = 'revoked' where pinfl = $1`, p.PINFL)
	check(t, err)
	other := bind(p.PINFL, free, sandbox.Operator) // the unique index on the clear PINFL itself
	if mobileid.KindOf(other) != mobileid.KindInvalid {
		t.Errorf("unique violation on a clear column: %v", other)
	}
	for _, e := range []error{twice, refused, other} {
		b.went(e)
	}
	q := b.person("whose challenge the schema refuses", 1000_00)
	a := b.call(http.MethodPost, "/v1/challenges", fmt.Sprintf(`{"pinfl":%q,"purpose":"sign_in","client_ref":"canary"}`, q.PINFL))
	b.refused("a challenge that the schema will refuse", a, http.StatusAccepted)
	b.parked(7)
}

// inFlight leaves a code that the operator has not answered: its text is
// sealed in a row and its code is live in Redis while everything is read.
func (b *birds) inFlight() string {
	p := b.person("in flight", 1000_00)
	b.fault(smsc.Fault{Kind: smsc.FaultNoAnswer, To: p.Number})
	id := b.ask(p.PINFL, "sign_in")
	b.code(p, 1)
	return id
}

// collect reads every store.
func (b *birds) collect() []piece {
	t, s := b.t, b.s
	var inner string
	for _, c := range b.planted {
		if c.name == "inner poison" {
			inner = c.value
		}
	}
	recs := slices.DeleteFunc(readTopics(t, s.Env.Kafka()), func(r record) bool {
		return r.Topic == mobileid.TopicOTPRequests && bytes.Contains(r.Value, []byte(inner))
	})
	pieces := append(topicPieces(t, recs), redisPieces(t, s.Env.RedisAddr())...)
	pieces = append(pieces, readDump(t, dumpPostgres(t, s.Env.Postgres()))...)
	for _, path := range []string{"/openapi.yaml", "/docs", "/problems", "/readyz", "/"} {
		b.call(http.MethodGet, path, "")
	}
	pieces = append(pieces, b.answers...)
	pieces = append(pieces, b.metrics(s.URL+"/metrics"), b.metrics("http://"+s.Config.HTTP.Admin+"/metrics"))
	pieces = append(pieces, piece{where: "errors returned to Go", data: b.errs.Bytes()}, b.explained(recs), b.listed())
	pieces = append(pieces, b.requested()...)
	// The logs come last: reading the rest is logged too.
	word := markPostgresLog(t, s.Env.Postgres())
	s.Until("the Postgres server's log is written", func() bool {
		return bytes.Contains(postgresLog(t, s.Env.PostgresLog(), b.logStart), []byte(word))
	})
	return append(pieces,
		piece{where: "the Postgres server's log", data: postgresLog(t, s.Env.PostgresLog(), b.logStart)},
		piece{where: "our log", data: []byte(b.log.String())})
}

// requested are the URLs. The careless ones must have been seen, or the eyes
// on URLs are blind.
func (b *birds) requested() []piece {
	b.t.Helper()
	pieces, own := b.urls.collected(b.careless)
	if len(own) != 2*len(b.careless) { // as it was sent, and as it came
		b.t.Errorf("%d of %d URLs with canaries were seen", len(own), 2*len(b.careless))
	}
	for _, p := range own {
		if !slices.ContainsFunc(b.planted, func(c canary) bool { return c.in(p.data) != "" }) {
			b.t.Errorf("no canary is seen in %s", p.data)
		}
	}
	return pieces
}

// metrics reads an exposition. A sample's value may be any number, so it is
// left out; what a metric is named and labelled stays.
func (b *birds) metrics(url string) piece {
	res, err := http.Get(url)
	check(b.t, err)
	defer func() { _ = res.Body.Close() }()
	raw, err := io.ReadAll(res.Body)
	check(b.t, err)
	var out bytes.Buffer
	for line := range strings.Lines(string(raw)) {
		if i := strings.LastIndexByte(line, ' '); i > 0 && line[0] != '#' {
			line = line[:i] + "\n"
		}
		out.WriteString(line)
	}
	return piece{where: url, data: out.Bytes()}
}

// explained is `mobileid explain` of every id that was given.
func (b *birds) explained(recs []record) piece {
	var out bytes.Buffer
	for _, r := range recs {
		if r.Topic != mobileid.TopicMessageStatus {
			continue
		}
		id, err := mobileid.ParseID(string(r.Key))
		check(b.t, err)
		steps, err := b.s.Registry.Explain(b.t.Context(), id)
		check(b.t, err)
		fmt.Fprintf(&out, "%+v\n", steps)
	}
	return piece{where: "explain", data: out.Bytes()}
}

// listed is `mobileid dlq list`.
func (b *birds) listed() piece {
	list, err := app.ListParked(b.t.Context(), b.s.Config, nil)
	check(b.t, err)
	return piece{where: "dlq list", data: fmt.Appendf(nil, "%+v", list)}
}

// proveEyes finds each planted value where it may be, and something in each
// store, so that finding nothing elsewhere means something.
func (b *birds) proveEyes(pieces []piece, seenID, inFlight string) {
	b.t.Helper()
	find := func(where string) []byte {
		var all []byte
		for _, p := range pieces {
			if strings.HasPrefix(p.where, where) {
				all = append(all, p.data...)
			}
		}
		if len(all) == 0 {
			b.t.Errorf("nothing was read of %s", where)
		}
		return all
	}
	for where, want := range map[string]string{
		"our log": seenID, "redis ": seenID[:0] + inFlight, "value of " + mobileid.TopicOTPRequests: seenID,
		"value of " + mobileid.TopicOut(sandbox.Client): seenID, "http://": `mobileid_accepted_total{kind="challenge"`,
		"errors returned to Go": "registry_refused", "explain": "delivered", "answer ": seenID, "dump outside": "PostgreSQL",
		"URL at the edge": "/v1/challenges/" + seenID + "/verify", "URL at the issuer": "/.well-known/jwks.json",
		"URL requested": "/v1/challenges/" + seenID,
	} {
		if !bytes.Contains(find(where), []byte(want)) {
			b.t.Errorf("%q is not in %s, where it must be: the test is blind there", want, where)
		}
	}
	if !bytes.Contains(find("our log"), []byte(`"reason":"registry_refused"`)) {
		b.t.Error("the log tells nothing of the check violation: was it forced?")
	}
	b.proveClear(find)
	b.proveSealed(inFlight)
}

// proveClear finds persons in the columns of the written list, in the values
// of the client's own topic, and codes and texts on the handset.
func (b *birds) proveClear(find func(string) []byte) {
	b.t.Helper()
	columns, own := map[kind][]byte{}, find("value of "+mobileid.TopicIn(sandbox.Client))
	for at, k := range mayHold {
		columns[k] = find("column " + at)
	}
	var handset bytes.Buffer
	for _, m := range b.s.SMSC.Received() {
		handset.WriteString(m.Text + "\n")
	}
	for _, c := range b.planted {
		var at []byte
		switch unbound := c.kind == aPINFL && slices.Contains([]string{"unbound", "mistyped", "poison", "inner poison", "check violation"}, c.name); {
		case unbound || c.name == "wrong code" || c.name == "free" || c.kind == aSecret:
			continue
		case c.kind == aPINFL || c.kind == aNumber:
			at = columns[c.kind]
		default:
			at = handset.Bytes()
		}
		if c.in(at) == "" {
			b.t.Errorf("%s of %s is not where it may be: the test is blind", c.kind, c.name)
		}
		if c.kind == aPINFL && strings.Contains(c.name, "over Kafka") && c.in(own) == "" {
			b.t.Errorf("%s of %s is not on the client's topic", c.kind, c.name)
		}
	}
}

// proveSealed opens a dead letter and the text that is in flight: the values
// are there, and readable only with the keys.
func (b *birds) proveSealed(inFlight string) {
	b.t.Helper()
	list, err := app.ListParked(b.t.Context(), b.s.Config, nil)
	check(b.t, err)
	var opened bytes.Buffer
	for _, p := range list {
		rec, err := app.ShowParked(b.t.Context(), b.s.Config, p.At)
		check(b.t, err)
		fmt.Fprintf(&opened, "%s %s %v\n", rec.Key, rec.Value, rec.Headers)
	}
	text := b.openText(inFlight)
	for _, c := range b.planted {
		if strings.HasSuffix(c.name, "poison") && c.in(opened.Bytes()) == "" {
			b.t.Errorf("%s of %s is in no dead letter: was it parked?", c.kind, c.name)
		}
		if c.name == "in flight" && c.kind == aNumber && c.in(text) == "" {
			b.t.Error("the sealed text does not open to the number")
		}
	}
}

func (b *birds) openText(challenge string) []byte {
	b.t.Helper()
	conn, err := pgx.Connect(b.t.Context(), b.s.Env.Postgres())
	check(b.t, err)
	defer func() { _ = conn.Close(b.t.Context()) }()
	id, err := mobileid.ParseID(challenge)
	check(b.t, err)
	var message, sealed []byte
	check(b.t, conn.QueryRow(b.t.Context(), `select id, sealed from messages where challenge_id = $1`, id[:]).Scan(&message, &sealed))
	keys := make([]string, len(b.s.Config.Keys.BridgePrivate))
	for i, k := range b.s.Config.Keys.BridgePrivate {
		keys[i] = k.Reveal()
	}
	opener, err := mobileid.NewOpener(keys...)
	check(b.t, err)
	plain, err := opener.Open(message, sealed)
	check(b.t, err)
	return plain
}
