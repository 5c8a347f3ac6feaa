package app_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"mobileid/cmd/govsim/world"
	"mobileid/cmd/mobileid/app/apptest"
	"mobileid/cmd/mobileid/config"
	"mobileid/internal/mobileid"
)

// neighbour is a second relying party: less may be asked by it.
func neighbour(id string) config.Client {
	return config.Client{
		ID: id, Scopes: []string{"challenges", "notifications"}, Purposes: []string{"verify"},
		Disclosure: "full", Mode: "live", Kafka: true,
		Quota: config.Quota{Rate: 1000, Per: time.Second, Burst: 1000},
	}
}

// refusal is one request that must not be accepted.
type refusal struct {
	name, method, path, token, key, contentType, body string

	status      int
	code, field string
}

func badRequests(s *looker, theirs string) []refusal {
	good := apptest.ChallengeBody(apptest.PINFL(1), "sign_in")
	wrongCheck := []byte(apptest.PINFL(1))
	wrongCheck[13] = '0' + (wrongCheck[13]-'0'+1)%10
	with := func(member string) string { return strings.TrimSuffix(good, "}") + "," + member + "}" }
	notice := func(text, slots string) string {
		return fmt.Sprintf(`{"pinfl":%q,"text_id":%q,"slots":%s}`, apptest.PINFL(1), text, slots)
	}
	madeUp, err := mobileid.NewIDKey([]byte(strings.Repeat("k", 32)))
	if err != nil {
		s.t.Fatal(err)
	}
	stranger := madeUp.Make(mobileid.KindChallenge, portal, "x", time.Now()).String()
	const challenges, notices = "/v1/challenges", "/v1/notifications"
	cases := []refusal{
		{name: "unknown field", body: with(`"colour":"red"`), status: 400, code: "unknown_field", field: "colour"},
		{name: "unknown field that is data", body: with(`"12345678901234":1`), status: 400, code: "unknown_field", field: "?"},
		{name: "check digit", body: apptest.ChallengeBody(string(wrongCheck), "sign_in"), status: 400, code: "pinfl_check_digit", field: "pinfl"},
		{name: "PINFL too short", body: apptest.ChallengeBody("3010190", "sign_in"), status: 400, code: "pinfl_length", field: "pinfl"},
		{name: "PINFL with letters", body: apptest.ChallengeBody("3010190000001x", "sign_in"), status: 400, code: "pinfl_digits", field: "pinfl"},
		{name: "no PINFL", body: `{"purpose":"sign_in"}`, status: 400, code: "field_missing", field: "pinfl"},
		{name: "no purpose", body: fmt.Sprintf(`{"pinfl":%q}`, apptest.PINFL(1)), status: 400, code: "field_missing", field: "purpose"},
		{name: "unknown purpose", body: apptest.ChallengeBody(apptest.PINFL(1), "dance"), status: 400, code: "purpose_unknown", field: "purpose"},
		{name: "purpose of others", token: theirs, body: good, status: 403, code: "purpose_forbidden", field: "purpose"},
		{name: "a field twice", body: with(`"purpose":"verify"`), status: 400, code: "duplicate_field", field: "purpose"},
		{name: "another type", body: `{"pinfl":12345678901234}`, status: 400, code: "wrong_type", field: "pinfl"},
		{name: "unknown locale", body: strings.Replace(good, `"en"`, `"de"`, 1), status: 400, code: "locale_unknown", field: "locale"},
		{name: "context hash", body: with(`"context_hash":"abc"`), status: 400, code: "context_hash_format", field: "context_hash"},
		{name: "client ref", body: with(`"client_ref":"my friend"`), status: 400, code: "client_ref_format", field: "client_ref"},
		{name: "value too long", body: apptest.ChallengeBody(apptest.PINFL(1), strings.Repeat("p", 200)), status: 400, code: "too_long", field: "purpose"},
		{name: "no JSON", body: `pinfl=1`, status: 400, code: "json_syntax"},
		{name: "two values", body: good + good, status: 400, code: "json_trailing"},
		{name: "an array", body: `[]`, status: 400, code: "wrong_type"},
		{name: "empty body", body: " ", status: 400, code: "body_empty"},
		{name: "oversized body", body: with(`"client_ref":"` + strings.Repeat("a", 20_000) + `"`), status: 413, code: "body_too_large"},
		{name: "not JSON by its type", contentType: "text/plain", body: good, status: 415, code: "content_type", field: "Content-Type"},
		{name: "no key", key: "-", body: good, status: 400, code: "idempotency_key_missing", field: "Idempotency-Key"},
		{name: "key with a space", key: "a b", body: good, status: 400, code: "idempotency_key_format", field: "Idempotency-Key"},
		{name: "key too long", key: strings.Repeat("k", 129), body: good, status: 400, code: "idempotency_key_format", field: "Idempotency-Key"},
		{name: "no token", token: "-", body: good, status: 401, code: "token_missing"},
		{name: "not a token", token: "abc.def.ghi", body: good, status: 401, code: "token_invalid"},
		{name: "token of another issuer", token: foreignToken(s), body: good, status: 401, code: "token_invalid"},
		{name: "token of nobody we know", token: s.TokenOf("stranger"), body: good, status: 401, code: "client_unknown"},
		{name: "scope of notices", token: s.Token("notifications"), body: good, status: 403, code: "scope_missing"},
		{name: "scope of codes", path: notices, token: s.Token("challenges"), body: apptest.NoticeBody(apptest.PINFL(1)), status: 403, code: "scope_missing"},
		{name: "no such method", method: http.MethodPut, body: good, status: 405, code: "method_not_allowed"},

		{name: "no such text", path: notices, body: notice("notice.none", "{}"), status: 400, code: "text_unknown", field: "text_id"},
		{name: "a code's text as a notice", path: notices, body: notice("otp.sign_in", "{}"), status: 400, code: "text_unknown", field: "text_id"},
		{name: "unknown slot", path: notices, body: notice("notice.data_access", `{"system":"tax","at":"2026-11-23T09:00:00Z","x":"y"}`), status: 400, code: "slot_unknown", field: "slots.x"},
		{name: "missing slot", path: notices, body: notice("notice.data_access", `{"system":"tax"}`), status: 400, code: "slot_missing", field: "slots.at"},
		{name: "slot of free text", path: notices, body: notice("notice.data_access", `{"system":"my own words","at":"2026-11-23T09:00:00Z"}`), status: 400, code: "slot_value", field: "slots.system"},

		{name: "made-up id", method: http.MethodGet, path: challenges + "/" + stranger, status: 404, code: "not_found"},
		{name: "no id at all", method: http.MethodGet, path: challenges + "/me", status: 404, code: "not_found"},
		{name: "verify a made-up id", path: challenges + "/" + stranger + "/verify", body: `{"code":"123456"}`, status: 404, code: "not_found"},
	}
	for i := range cases {
		c := &cases[i]
		if c.method == "" {
			c.method = http.MethodPost
		}
		if c.path == "" {
			c.path = challenges
		}
		if c.token == "" {
			c.token = s.Token()
		}
		if c.key == "" && c.method == http.MethodPost {
			c.key = s.NewKey()
		}
	}
	return cases
}

// foreignToken is a good token of an issuer that we do not believe.
func foreignToken(s *looker) string {
	s.t.Helper()
	w, err := world.Start(world.Config{Clients: map[string]string{portal: "secret"}})
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = w.Close() }()
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodPost, w.TokenURL(),
		strings.NewReader("grant_type=client_credentials&scope=challenges"))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.SetBasicAuth(portal, "secret")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	var got struct {
		Token string `json:"access_token"`
	}
	if err := json.NewDecoder(res.Body).Decode(&got); err != nil || got.Token == "" {
		s.t.Fatal("no foreign token", err)
	}
	return got.Token
}

func (s *looker) ask(c refusal) apptest.Answer {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), c.method, s.URL+c.path, strings.NewReader(c.body))
	if err != nil {
		s.t.Fatal(err)
	}
	if c.token != "-" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	if c.key != "-" && c.key != "" {
		req.Header.Set("Idempotency-Key", c.key)
	}
	if c.contentType == "" {
		c.contentType = "application/json"
	}
	req.Header.Set("Content-Type", c.contentType)
	return s.do(req)
}

func (s *looker) do(req *http.Request) apptest.Answer {
	s.t.Helper()
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	a := apptest.Answer{Status: res.StatusCode, Header: res.Header}
	var raw json.RawMessage
	if err := json.NewDecoder(res.Body).Decode(&raw); err == nil {
		a.Body = raw
	}
	return a
}

func TestARefusalNamesCodeAndFieldAndPublishesNothing(t *testing.T) {
	poor := neighbour("poor")
	poor.Quota = config.Quota{Rate: 1, Per: time.Hour, Burst: 1}
	poor.Purposes = []string{"sign_in"}
	s := look(t, apptest.Options{MoreClients: []config.Client{neighbour("other"), poor, neighbour("stranger")}, Change: func(c *config.Config) {
		// The issuer knows the stranger; we do not.
		c.Clients = slices.DeleteFunc(c.Clients, func(cl config.Client) bool { return cl.ID == "stranger" })
	}})
	p := s.Bind(1, 0)
	// One accepted request of each of two clients: what follows may not add to it.
	ours := s.Ask(p, "sign_in")
	theirs := s.TokenOf("poor")
	paid, err := s.TryAs(theirs, http.MethodPost, "/v1/challenges", "first", apptest.ChallengeBody(p.PINFL, "sign_in"))
	if err != nil || paid.Status != http.StatusAccepted {
		t.Fatal(paid.Status, err)
	}
	s.Await(ours, "no_funds")
	s.Until("the statuses are out", func() bool { return s.number(`select count(*) from outbox`) == 0 })
	s.Until("both have ended", func() bool {
		return s.number(`select count(*) from challenges where state = 'no_funds'`) == 2 && s.number(`select count(*) from outbox`) == 0
	})
	before, rows := s.ends(), s.totals()

	cases := append(badRequests(s, s.TokenOf("other")),
		refusal{
			name: "quota", method: http.MethodPost, path: "/v1/challenges", token: theirs, key: "second",
			body: apptest.ChallengeBody(p.PINFL, "sign_in"), status: 429, code: "quota_exceeded",
		},
		refusal{
			name: "the key of another request", method: http.MethodPost, path: "/v1/challenges", token: theirs, key: "first",
			body: apptest.ChallengeBody(apptest.PINFL(2), "sign_in"), status: 422, code: "idempotency_key_reused", field: "Idempotency-Key",
		},
		refusal{name: "another client's id", method: http.MethodGet, path: "/v1/challenges/" + ours, token: theirs, status: 404, code: "not_found"},
		refusal{
			name: "verify another client's id", method: http.MethodPost, path: "/v1/challenges/" + ours + "/verify", key: "v", token: theirs,
			body: `{"code":"123456"}`, status: 404, code: "not_found",
		},
		refusal{
			name: "a code of letters", method: http.MethodPost, path: "/v1/challenges/" + ours + "/verify", key: "v", token: s.Token(),
			body: `{"code":"12345a"}`, status: 400, code: "code_format", field: "code",
		},
		refusal{name: "timeout", method: http.MethodGet, path: "/v1/challenges/" + ours + "?timeoutMs=soon", token: s.Token(), status: 400, code: "timeout_format", field: "timeoutMs"},
		refusal{name: "after", method: http.MethodGet, path: "/v1/challenges/" + ours + "?after=x", token: s.Token(), status: 400, code: "after_format", field: "after"},
	)
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) { s.refused(t, c) })
	}
	if after := s.ends(); !maps.Equal(before, after) {
		t.Errorf("records were published:\nbefore %v\nafter  %v", before, after)
	}
	if after := s.totals(); after != rows {
		t.Errorf("rows were written: before %s, after %s", rows, after)
	}
}

func (s *looker) refused(t *testing.T, c refusal) {
	t.Helper()
	a := s.ask(c)
	if a.Status != c.status || a.JSON("code") != c.code || a.JSON("field") != c.field {
		t.Errorf("%d code %q field %q, want %d %q %q: %s", a.Status, a.JSON("code"), a.JSON("field"), c.status, c.code, c.field, a.Body)
	}
	if got := a.Header.Get("Content-Type"); got != "application/problem+json" {
		t.Errorf("Content-Type %q", got)
	}
	if a.JSON("traceId") == "" || a.JSON("title") == "" || a.JSON("retryable") == "" || a.JSON("status") != fmt.Sprint(c.status) {
		t.Errorf("members are missing: %s", a.Body)
	}
	if (c.status == 429 || c.status == 503) && a.Header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	if strings.Contains(string(a.Body), apptest.PINFL(1)) {
		t.Errorf("the answer repeats the PINFL")
	}
	s.page(t, a.JSON("type"))
}

// page fails unless the type of a problem resolves to a page.
func (s *looker) page(t *testing.T, typ string) {
	t.Helper()
	if strings.HasPrefix(typ, "/") {
		typ = s.URL + typ
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, typ, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	if a := s.do(req); a.Status != http.StatusOK || !strings.HasPrefix(a.Header.Get("Content-Type"), "text/html") {
		t.Errorf("%s answers %d %s", typ, a.Status, a.Header.Get("Content-Type"))
	}
}

// totals counts every row that a request may leave.
func (s *looker) totals() string {
	s.t.Helper()
	return s.words(`
select format('%s challenges, %s messages, %s keys, %s transfers, %s wrong tries',
	(select count(*) from challenges), (select count(*) from messages), (select count(*) from idempotency),
	(select count(*) from transfers), (select coalesce(sum(tries), 0) from wrong_tries))`)
}
