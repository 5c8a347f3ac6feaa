package gateway

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"mobileid/internal/mobileid"
)

// refusal says what is wrong, and what must be said of it.
type refusal struct {
	name   string
	set    func(e *edge) // makes the world wrong
	call   func(e *edge) call
	status int
	code   string
	field  string
	header map[string]string // must contain
}

func post(path, body string) func(e *edge) call {
	return func(e *edge) call {
		return call{method: "POST", path: path, body: body, key: "k", token: e.token("oneid")}
	}
}

func with(f func(e *edge) call, change func(e *edge, c *call)) func(e *edge) call {
	return func(e *edge) call {
		c := f(e)
		change(e, &c)
		return c
	}
}

var (
	ask  = post("/v1/challenges", challengeOf(goodPINFL))
	tell = post("/v1/notifications", `{"pinfl":"`+goodPINFL+`","text_id":"service.ready"}`)

	statement = post("/v1/persons:statement", `{"pinfl":"`+goodPINFL+`"}`)
)

func ceiling(amount string) func(e *edge) call {
	return post("/v1/persons:dailyCeiling", `{"pinfl":"`+goodPINFL+`","amount":`+amount+`}`)
}

// theDay asks for what an operator is owed for a day, as the operator's client.
func theDay(operator, day string) func(e *edge) call {
	return func(e *edge) call {
		return call{method: "GET", path: "/v1/operators/" + operator + "/statements/" + day, token: e.token("billing")}
	}
}

func verifying(state mobileid.ChallengeState, body string) func(e *edge) call {
	return func(e *edge) call {
		return call{method: "POST", path: verifyPath(e.stored("oneid", state)), body: body, key: "v", token: e.token("oneid")}
	}
}

func resending(state mobileid.ChallengeState, change func(*mobileid.LiveChallenge)) func(e *edge) call {
	return func(e *edge) call {
		id := e.stored("oneid", state)
		live := e.registry.live[id]
		live.CanResendAt = e.g.now()
		if change != nil {
			change(&live)
		}
		e.registry.live[id] = live
		return call{method: "POST", path: challengePath(id) + "/resend", key: "r", token: e.token("oneid")}
	}
}

func cancelling(state mobileid.ChallengeState) func(e *edge) call {
	return func(e *edge) call {
		return call{method: "POST", path: challengePath(e.stored("oneid", state)) + "/cancel", token: e.token("oneid")}
	}
}

func bodied(body string) func(*edge, *call) { return func(_ *edge, c *call) { c.body = body } }

func confirmed(e *edge) call {
	id := e.stored("oneid", mobileid.ChallengePending)
	e.registry.confirmed[id] = mobileid.KeyPart{}
	return call{method: "GET", path: "/v1/confirmations/" + id.String(), token: e.token("oneid")}
}

var (
	lookup = post("/v1/persons:lookup", `{"pinfl":"`+goodPINFL+`"}`)
	stepUp = post("/v1/persons:stepUp", `{"pinfl":"`+goodPINFL+`","method":"face_id"}`)
	asking = post("/v1/verifications", `{"pinfl":"`+goodPINFL+`","number":"+998901234567"}`)
)

func reading(state mobileid.ChallengeState, query string) func(e *edge) call {
	return func(e *edge) call {
		return call{method: "GET", path: challengePath(e.stored("oneid", state)) + query, token: e.token("oneid")}
	}
}

func aMessage(query string) func(e *edge) call {
	return func(e *edge) call {
		id := e.idKey.Make(mobileid.KindMessage, "oneid", "m", e.g.now())
		return call{method: "GET", path: "/v1/messages/" + id.String() + query, token: e.token("oneid")}
	}
}

func refusals() []refusal {
	noToken := func(_ *edge, c *call) { c.token = "" }
	away := func(e *edge) { e.registry.err = mobileid.Unavailable("database_away", time.Second, nil) }
	kafkaGone := func(e *edge) { e.kafka.err = mobileid.Unavailable("kafka_write", 0, errors.New("no leader")) }
	redisGone := func(e *edge) { e.keys.err = mobileid.Unavailable("redis_away", time.Second, nil) }
	poor := func(e *edge) { e.quotas.after = 1500 * time.Millisecond }
	broken := func(e *edge) {
		e.registry.err = &mobileid.Error{Kind: mobileid.KindInternal, Code: "x", Message: goodPINFL}
	}
	registrySays := func(kind mobileid.Kind, code string) func(*edge) {
		return func(e *edge) {
			e.registry.err = &mobileid.Error{Kind: kind, Code: code, Message: "said by the registry"}
		}
	}
	keyed := func(key string) func(*edge, *call) { return func(_ *edge, c *call) { c.key = key } }
	headed := func(k, v string) func(*edge, *call) {
		return func(_ *edge, c *call) { c.header = map[string]string{k: v} }
	}
	scoped := func(scope string) func(*edge, *call) {
		return func(e *edge, c *call) {
			c.token = e.tokenWith("oneid", func(m map[string]any) { m["scope"] = scope })
		}
	}
	taken := func(e *edge) {
		e.do(call{method: "POST", path: "/v1/challenges", body: challengeOf("40201902050010"), key: "k", token: e.token("oneid")})
		e.kafka.list = nil
	}
	claims := func(change func(map[string]any)) func(*edge, *call) {
		return func(e *edge, c *call) { c.token = e.tokenWith("oneid", change) }
	}
	body := func(s string) func(e *edge) call { return post("/v1/challenges", s) }
	p := `"pinfl":"` + goodPINFL + `"`
	big := `{` + p + `,"purpose":"` + strings.Repeat("a", maxBody) + `"}`
	return []refusal{
		{name: "empty body", call: body(" "), status: 400, code: "body_empty"},
		{name: "not JSON", call: body(`{"pinfl":`), status: 400, code: "json_syntax", field: "pinfl"},
		{name: "not UTF-8", call: body("{\"pinfl\":\"\xff\"}"), status: 400, code: "json_syntax"},
		{name: "array", call: body(`[]`), status: 400, code: "wrong_type"},
		{name: "trailing data", call: body(`{` + p + `,"purpose":"login"} {}`), status: 400, code: "json_trailing"},
		{name: "unknown field", call: body(`{` + p + `,"purpose":"login","msisdn":"+998901234567"}`), status: 400, code: "unknown_field", field: "msisdn"},
		{name: "field in another case", call: body(`{"PINFL":"1"}`), status: 400, code: "unknown_field", field: "PINFL"},
		{name: "a value in a name's place is not repeated", call: body(`{"` + goodPINFL + `":1}`), status: 400, code: "unknown_field", field: "?"},
		{name: "duplicate field", call: body(`{` + p + `,` + p + `,"purpose":"login"}`), status: 400, code: "duplicate_field", field: "pinfl"},
		{name: "wrong type", call: body(`{"pinfl":31210932040247,"purpose":"login"}`), status: 400, code: "wrong_type", field: "pinfl"},
		{name: "null", call: body(`{` + p + `,"purpose":null}`), status: 400, code: "wrong_type", field: "purpose"},
		{name: "pinfl missing", call: body(`{"purpose":"login"}`), status: 400, code: "field_missing", field: "pinfl"},
		{name: "pinfl check digit", call: body(`{"pinfl":"31210932040248","purpose":"login"}`), status: 400, code: "pinfl_check_digit", field: "pinfl"},
		{name: "pinfl too short", call: body(`{"pinfl":"312","purpose":"login"}`), status: 400, code: "pinfl_length", field: "pinfl"},
		{name: "pinfl with letters", call: body(`{"pinfl":"3121093204024x","purpose":"login"}`), status: 400, code: "pinfl_digits", field: "pinfl"},
		{name: "purpose missing", call: body(`{` + p + `}`), status: 400, code: "field_missing", field: "purpose"},
		{name: "purpose unknown", call: body(`{` + p + `,"purpose":"nothing"}`), status: 400, code: "purpose_unknown", field: "purpose"},
		{name: "purpose too long", call: body(`{` + p + `,"purpose":"` + strings.Repeat("a", 200) + `"}`), status: 400, code: "too_long", field: "purpose"},
		{name: "purpose of others", call: with(body(`{`+p+`,"purpose":"sign"}`), func(e *edge, c *call) { c.token = e.token("shop") }), status: 403, code: "purpose_forbidden", field: "purpose"},
		{name: "client in test mode", call: with(body(`{`+p+`,"purpose":"login"}`), func(e *edge, c *call) { c.token = e.token("trial") }), status: 403, code: "test_mode"},
		{name: "locale", call: body(`{` + p + `,"purpose":"login","locale":"de"}`), status: 400, code: "locale_unknown", field: "locale"},
		{name: "context hash", call: body(`{` + p + `,"purpose":"login","context_hash":"abc"}`), status: 400, code: "context_hash_format", field: "context_hash"},
		{name: "client ref", call: body(`{` + p + `,"purpose":"login","client_ref":"a b"}`), status: 400, code: "client_ref_format", field: "client_ref"},
		{name: "PINFL for a client ref", call: body(`{` + p + `,"purpose":"login","client_ref":"of:31210632040244"}`), status: 400, code: "client_ref_format", field: "client_ref"},
		{name: "oversized body", call: body(big), status: 413, code: "body_too_large"},
		{name: "content type", call: with(ask, headed("Content-Type", "text/plain")), status: 415, code: "content_type", field: "Content-Type"},
		{name: "no key", call: with(ask, keyed("")), status: 400, code: "idempotency_key_missing", field: "Idempotency-Key"},
		{name: "key with a space", call: with(ask, keyed("a b")), status: 400, code: "idempotency_key_format", field: "Idempotency-Key"},
		{name: "long key", call: with(ask, keyed(strings.Repeat("k", 129))), status: 400, code: "idempotency_key_format", field: "Idempotency-Key"},
		{name: "key used for another body", set: taken, call: ask, status: 422, code: "idempotency_key_reused", field: "Idempotency-Key"},
		{name: "key of an id that no longer checks", set: olderID(ask), call: ask, status: 409, code: "key_of_older_id", field: "Idempotency-Key"},
		{name: "correlator", call: with(ask, headed("x-correlator", "a b")), status: 400, code: "x_correlator_format", field: "x-correlator"},
		{name: "quota", set: poor, call: ask, status: 429, code: "quota_exceeded", header: map[string]string{"Retry-After": "2", "RateLimit": `"client";r=0;t=2`, "RateLimit-Policy": `"client";q=100;w=60`}},

		{name: "no token", call: with(ask, noToken), status: 401, code: "token_missing", header: map[string]string{"WWW-Authenticate": "Bearer realm"}},
		{name: "basic", call: with(ask, headed("Authorization", "Basic abc")), status: 401, code: "token_missing"},
		{name: "garbage token", call: with(ask, func(_ *edge, c *call) { c.token = "abc" }), status: 401, code: "token_invalid", header: map[string]string{"WWW-Authenticate": "invalid_token"}},
		{name: "token of alg none", call: with(ask, func(_ *edge, c *call) { c.token = "eyJhbGciOiJub25lIn0.e30." }), status: 401, code: "token_invalid"},
		{name: "changed token", call: with(ask, func(_ *edge, c *call) { c.token = c.token[:len(c.token)-6] + "AAAAAA" }), status: 401, code: "token_invalid"},
		{name: "expired token", call: with(ask, claims(func(m map[string]any) { m["exp"] = 1 })), status: 401, code: "token_expired"},
		{name: "token without exp", call: with(ask, claims(func(m map[string]any) { delete(m, "exp") })), status: 401, code: "token_invalid"},
		{name: "token not valid yet", call: with(ask, claims(func(m map[string]any) { m["nbf"] = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC).Unix() })), status: 401, code: "token_invalid"},
		{name: "other issuer", call: with(ask, claims(func(m map[string]any) { m["iss"] = "https://other.example" })), status: 401, code: "token_invalid"},
		{name: "other audience", call: with(ask, claims(func(m map[string]any) { m["aud"] = "other" })), status: 401, code: "token_invalid"},
		{name: "unknown client", call: with(ask, claims(func(m map[string]any) { m["client_id"] = "nobody" })), status: 401, code: "client_unknown"},
		{name: "scope not in token", call: with(ask, scoped("notifications")), status: 403, code: "scope_missing", header: map[string]string{"WWW-Authenticate": "insufficient_scope"}},
		{name: "scope not of client", call: with(tell, func(e *edge, c *call) { c.token = e.token("shop") }), status: 403, code: "scope_missing"},

		{name: "Kafka away", set: kafkaGone, call: ask, status: 503, code: "kafka_away", header: map[string]string{"Retry-After": "1"}},
		{name: "Kafka lies", set: func(e *edge) { e.kafka.err = errors.New("timed out") }, call: ask, status: 503, code: "outcome_unknown", header: map[string]string{"Retry-After": "1"}},
		{name: "Redis away", set: redisGone, call: ask, status: 503, code: "redis_away", header: map[string]string{"Retry-After": "1"}},
		{name: "limits away", set: func(e *edge) { e.quotas.err = mobileid.Unavailable("redis_away", time.Second, nil) }, call: ask, status: 503, code: "redis_away"},
		{name: "foreign id under the key", set: func(e *edge) {
			part := e.idKey.KeyPart("oneid", "k")
			e.keys.m[part] = claim{mobileid.ID{}, "h"}
			e.keys.err = &mobileid.Error{Kind: mobileid.KindInternal, Code: "claim_unreadable", Message: "secret words"}
		}, call: ask, status: 500, code: "internal"},

		{name: "text unknown", call: post("/v1/notifications", `{`+p+`,"text_id":"x"}`), status: 400, code: "text_unknown", field: "text_id"},
		{name: "text missing", call: post("/v1/notifications", `{`+p+`}`), status: 400, code: "field_missing", field: "text_id"},
		{name: "slot unknown", call: post("/v1/notifications", `{`+p+`,"text_id":"service.ready","slots":{"x":"y"}}`), status: 400, code: "slot_unknown", field: "slots.x"},
		{name: "slot twice", call: post("/v1/notifications", `{`+p+`,"text_id":"service.ready","slots":{"x":"y","x":"z"}}`), status: 400, code: "duplicate_field", field: "slots.x"},
		{name: "slot type", call: post("/v1/notifications", `{`+p+`,"text_id":"service.ready","slots":{"reference":1}}`), status: 400, code: "wrong_type", field: "slots.reference"},
		{name: "slots type", call: post("/v1/notifications", `{`+p+`,"text_id":"service.ready","slots":[]}`), status: 400, code: "wrong_type", field: "slots"},
		{name: "notification without token", call: with(tell, noToken), status: 401, code: "token_missing"},
		{name: "notification quota", set: poor, call: tell, status: 429, code: "quota_exceeded"},
		{name: "notification under a challenge's key", set: func(e *edge) {
			e.do(ask(e))
			e.kafka.list = nil
		}, call: tell, status: 422, code: "idempotency_key_reused", field: "Idempotency-Key"},
		{name: "notification, key of an id that no longer checks", set: olderID(tell), call: tell, status: 409, code: "key_of_older_id", field: "Idempotency-Key"},
		{name: "notification too large", call: post("/v1/notifications", big), status: 413, code: "body_too_large"},
		{name: "notification type", call: with(tell, headed("Content-Type", "text/plain")), status: 415, code: "content_type", field: "Content-Type"},
		{name: "notification, Kafka away", set: kafkaGone, call: tell, status: 503, code: "kafka_away"},
		{name: "notification, inner error", set: func(e *edge) { e.quotas.err = &mobileid.Error{Kind: mobileid.KindInternal} }, call: tell, status: 500, code: "internal"},

		{name: "events missing", call: report(`{}`), status: 400, code: "field_missing", field: "events"},
		{name: "no event", call: report(`{"events":[]}`), status: 400, code: "field_missing", field: "events"},
		{name: "events of another type", call: report(`{"events":{}}`), status: 400, code: "wrong_type", field: "events"},
		{name: "too many events", call: report(events(slices.Repeat([]string{`{}`}, maxEvents+1)...)), status: 400, code: "too_many", field: "events"},
		{name: "an event of another type", call: report(`{"events":[1]}`), status: 400, code: "wrong_type", field: "events[0]"},
		{name: "an operator in the body", call: report(events(topUp(`"operator":"ucell"`))), status: 400, code: "unknown_field", field: "events[0].operator"},
		{name: "a source in the body", call: report(`{"source":"operator:ucell","events":[` + topUp() + `]}`), status: 400, code: "unknown_field", field: "source"},
		{name: "number missing", call: report(events(topUp(), topUp(`"number":""`, `"seq":"s2"`))), status: 400, code: "field_missing", field: "events[1].number"},
		{name: "number wrong", call: report(events(topUp(`"number":"+79161234567"`))), status: 400, code: "msisdn_format", field: "events[0].number"},
		{name: "kind missing", call: report(events(topUp(`"kind":""`))), status: 400, code: "field_missing", field: "events[0].kind"},
		{name: "kind unknown", call: report(events(topUp(`"kind":"gift"`))), status: 400, code: "balance_kind", field: "events[0].kind"},
		{name: "amount missing", call: report(events(`{"number":"+998901234567","kind":"balance","seq":"s","at":"2026-11-23T09:00:00Z"}`)), status: 400, code: "field_missing", field: "events[0].amount"},
		{name: "negative amount", call: report(events(topUp(`"amount":-1`))), status: 400, code: "amount_format", field: "events[0].amount"},
		{name: "fractional amount", call: report(events(topUp(`"amount":0.5`))), status: 400, code: "amount_format", field: "events[0].amount"},
		{name: "amount with an exponent", call: report(events(topUp(`"amount":1e3`))), status: 400, code: "amount_format", field: "events[0].amount"},
		{name: "amount as text", call: report(events(topUp(`"amount":"5"`))), status: 400, code: "amount_format", field: "events[0].amount"},
		{name: "amount too large", call: report(events(topUp(`"amount":100000000000001`))), status: 400, code: "amount_format", field: "events[0].amount"},
		{name: "amount of a bar", call: report(events(topUp(`"kind":"barred"`))), status: 400, code: "amount_unexpected", field: "events[0].amount"},
		{name: "seq missing", call: report(events(topUp(`"seq":""`))), status: 400, code: "field_missing", field: "events[0].seq"},
		{name: "seq with a space", call: report(events(topUp(`"seq":"a b"`))), status: 400, code: "seq_format", field: "events[0].seq"},
		{name: "seq too long", call: report(events(topUp(`"seq":"` + strings.Repeat("s", 65) + `"`))), status: 400, code: "seq_format", field: "events[0].seq"},
		{name: "number for a seq", call: report(events(topUp(`"seq":"998901234567"`))), status: 400, code: "seq_format", field: "events[0].seq"},
		{name: "seq twice", call: report(events(topUp(), topUp(`"amount":7`))), status: 400, code: "seq_repeated", field: "events[1].seq"},
		{name: "time missing", call: report(events(topUp(`"at":""`))), status: 400, code: "field_missing", field: "events[0].at"},
		{name: "time without an offset", call: report(events(topUp(`"at":"2026-11-23T09:00:00"`))), status: 400, code: "time_format", field: "events[0].at"},
		{name: "time ahead", call: report(events(topUp(`"at":"2026-11-23T09:05:01Z"`))), status: 400, code: "time_ahead", field: "events[0].at"},
		{name: "report without token", call: with(report(events(topUp())), noToken), status: 401, code: "token_missing"},
		{name: "report of a client without the scope", call: with(report(events(topUp())), func(e *edge, c *call) { c.token = e.token("shop") }), status: 403, code: "scope_missing"},
		{name: "report of a client of no operator", call: with(report(events(topUp())), func(e *edge, c *call) { c.token = e.token("oneid") }), status: 403, code: "operator_missing"},
		{name: "report in test mode", call: with(report(events(topUp())), func(e *edge, c *call) { c.token = e.token("trial") }), status: 403, code: "test_mode"},
		{name: "report under a key of another", set: func(e *edge) {
			e.do(report(events(topUp(`"seq":"other"`)))(e))
			e.kafka.list = nil
		}, call: report(events(topUp())), status: 422, code: "idempotency_key_reused", field: "Idempotency-Key"},
		{name: "report, key of an id that no longer checks", set: olderID(report(events(topUp()))), call: report(events(topUp())), status: 409, code: "key_of_older_id", field: "Idempotency-Key"},
		{name: "report too large", call: report(events(topUp()) + strings.Repeat(" ", maxBody)), status: 413, code: "body_too_large"},
		{name: "report type", call: with(report(events(topUp())), headed("Content-Type", "text/plain")), status: 415, code: "content_type", field: "Content-Type"},
		{name: "report quota", set: poor, call: report(events(topUp())), status: 429, code: "quota_exceeded"},
		{name: "report, inner error", set: func(e *edge) { e.quotas.err = &mobileid.Error{Kind: mobileid.KindInternal} }, call: report(events(topUp())), status: 500, code: "internal"},
		{name: "report, Kafka away", set: kafkaGone, call: report(events(topUp())), status: 503, code: "kafka_away"},

		{name: "code of letters", call: verifying("pending", verifyBody("12345a")), status: 400, code: "code_format", field: "code"},
		{name: "code of other length", call: verifying("pending", verifyBody("12345")), status: 400, code: "code_format", field: "code"},
		{name: "code missing", call: verifying("pending", `{}`), status: 400, code: "field_missing", field: "code"},
		{name: "other context", call: verifying("pending", `{"code":"123456"}`), status: 400, code: "context_mismatch", field: "context_hash"},
		{name: "verify without key", call: with(verifying("pending", verifyBody("123456")), keyed("")), status: 400, code: "idempotency_key_missing", field: "Idempotency-Key"},
		{name: "resend with a field", call: with(resending("pending", nil), bodied(`{"a":1}`)), status: 400, code: "unknown_field", field: "a"},
		{name: "resend without key", call: with(resending("pending", nil), keyed("")), status: 400, code: "idempotency_key_missing", field: "Idempotency-Key"},
		{name: "resend without token", call: with(resending("pending", nil), noToken), status: 401, code: "token_missing"},
		{name: "resend without scope", call: with(resending("pending", nil), scoped("notifications")), status: 403, code: "scope_missing"},
		{name: "resend too large", call: with(resending("pending", nil), bodied(big)), status: 413, code: "body_too_large"},
		{name: "resend type", call: with(resending("pending", nil), headed("Content-Type", "text/plain")), status: 415, code: "content_type", field: "Content-Type"},
		{name: "resend too early", call: resending("pending", func(l *mobileid.LiveChallenge) { l.CanResendAt = l.CanResendAt.Add(7 * time.Second) }), status: 429, code: "resend_too_early", header: map[string]string{"Retry-After": "7"}},
		{name: "resend a fifth time", call: resending("pending", func(l *mobileid.LiveChallenge) { l.Sends = 4 }), status: 409, code: "resends_used"},
		{name: "resend of what is over", call: resending("pending", func(l *mobileid.LiveChallenge) { l.ExpiresAt = l.CanResendAt }), status: 409, code: "challenge_expired"},
		{name: "resend of what is confirmed", call: resending("confirmed", nil), status: 409, code: "challenge_confirmed"},
		{name: "resend of what was cancelled", call: resending("cancelled", nil), status: 409, code: "challenge_cancelled"},
		{name: "resend quota", set: poor, call: resending("pending", nil), status: 429, code: "quota_exceeded", header: map[string]string{"Retry-After": "2"}},
		{name: "resend, registry away", set: away, call: resending("pending", nil), status: 503, code: "database_away"},
		{name: "cancel what is confirmed", call: cancelling("confirmed"), status: 409, code: "challenge_confirmed"},
		{name: "cancel with a field", call: with(cancelling("pending"), bodied(`{"a":1}`)), status: 400, code: "unknown_field", field: "a"},
		{name: "cancel without token", call: with(cancelling("pending"), noToken), status: 401, code: "token_missing"},
		{name: "cancel without scope", call: with(cancelling("pending"), scoped("notifications")), status: 403, code: "scope_missing"},
		{name: "cancel too large", call: with(cancelling("pending"), bodied(big)), status: 413, code: "body_too_large"},
		{name: "cancel type", call: with(cancelling("pending"), headed("Content-Type", "text/plain")), status: 415, code: "content_type", field: "Content-Type"},
		{name: "cancel, registry away", set: away, call: cancelling("pending"), status: 503, code: "database_away"},
		{name: "resend, registry broken", set: broken, call: resending("pending", nil), status: 500, code: "internal"},
		{name: "resend a made-up id", call: post("/v1/challenges/ch_"+strings.Repeat("0", 39)+"/resend", ""), status: 404, code: "not_found"},
		{name: "resend with a key of another body", set: taken, call: with(resending("pending", nil), keyed("k")), status: 422, code: "idempotency_key_reused", field: "Idempotency-Key"},
		{name: "cancel, registry broken", set: broken, call: cancelling("pending"), status: 500, code: "internal"},
		{name: "cancel a made-up id", call: post("/v1/challenges/ch_"+strings.Repeat("0", 39)+"/cancel", ""), status: 404, code: "not_found"},
		{name: "confirmation without token", call: with(confirmed, noToken), status: 401, code: "token_missing"},
		{name: "confirmation without scope", call: with(confirmed, scoped("notifications")), status: 403, code: "scope_missing"},
		{name: "confirmation of another client", call: with(confirmed, func(e *edge, c *call) { c.token = e.token("shop") }), status: 404, code: "not_found"},
		{name: "confirmation, correlator", call: with(confirmed, headed("x-correlator", "a b")), status: 400, code: "x_correlator_format", field: "x-correlator"},
		{name: "confirmation, registry away", set: away, call: confirmed, status: 503, code: "database_away"},
		{name: "confirmation, registry broken", set: broken, call: confirmed, status: 500, code: "internal"},
		{name: "lookup without token", call: with(lookup, noToken), status: 401, code: "token_missing"},
		{name: "lookup without scope", call: with(lookup, scoped("charges:read")), status: 403, code: "scope_missing"},
		{name: "lookup too large", call: with(lookup, bodied(big)), status: 413, code: "body_too_large"},
		{name: "lookup type", call: with(lookup, headed("Content-Type", "text/plain")), status: 415, code: "content_type", field: "Content-Type"},
		{name: "lookup of nobody", call: with(lookup, bodied(`{}`)), status: 400, code: "field_missing", field: "pinfl"},
		{name: "lookup with a field", call: with(lookup, bodied(`{"msisdn":"1"}`)), status: 400, code: "unknown_field", field: "msisdn"},
		{name: "lookup quota", set: poor, call: lookup, status: 429, code: "quota_exceeded", header: map[string]string{"Retry-After": "2"}},
		{name: "lookup, limits broken", set: func(e *edge) { e.quotas.err = &mobileid.Error{Kind: mobileid.KindInternal} }, call: lookup, status: 500, code: "internal"},
		{name: "lookup, limits away", set: func(e *edge) { e.quotas.err = mobileid.Unavailable("redis_away", time.Second, nil) }, call: lookup, status: 503, code: "redis_away"},
		{name: "step up without token", call: with(stepUp, noToken), status: 401, code: "token_missing"},
		{name: "step up without scope", call: with(stepUp, scoped("charges:read")), status: 403, code: "scope_missing"},
		{name: "step up too large", call: with(stepUp, bodied(big)), status: 413, code: "body_too_large"},
		{name: "step up type", call: with(stepUp, headed("Content-Type", "text/plain")), status: 415, code: "content_type", field: "Content-Type"},
		{name: "step up of nobody", call: with(stepUp, bodied(`{}`)), status: 400, code: "field_missing", field: "pinfl"},
		{name: "step up with a field", call: with(stepUp, bodied(`{"msisdn":"1"}`)), status: 400, code: "unknown_field", field: "msisdn"},
		{name: "step up quota", set: poor, call: stepUp, status: 429, code: "quota_exceeded", header: map[string]string{"Retry-After": "2"}},
		{name: "step up, limits broken", set: func(e *edge) { e.quotas.err = &mobileid.Error{Kind: mobileid.KindInternal} }, call: stepUp, status: 500, code: "internal"},
		{name: "step up, limits away", set: func(e *edge) { e.quotas.err = mobileid.Unavailable("redis_away", time.Second, nil) }, call: stepUp, status: 503, code: "redis_away"},
		{name: "verification without token", call: with(asking, noToken), status: 401, code: "token_missing"},
		{name: "verification without scope", call: with(asking, scoped("charges:read")), status: 403, code: "scope_missing"},
		{name: "verification too large", call: with(asking, bodied(big)), status: 413, code: "body_too_large"},
		{name: "verification type", call: with(asking, headed("Content-Type", "text/plain")), status: 415, code: "content_type", field: "Content-Type"},
		{name: "verification of nobody", call: with(asking, bodied(`{}`)), status: 400, code: "field_missing", field: "pinfl"},
		{name: "verification with a field", call: with(asking, bodied(`{"msisdn":"1"}`)), status: 400, code: "unknown_field", field: "msisdn"},
		{name: "verification quota", set: poor, call: asking, status: 429, code: "quota_exceeded", header: map[string]string{"Retry-After": "2"}},
		{name: "verification, limits broken", set: func(e *edge) { e.quotas.err = &mobileid.Error{Kind: mobileid.KindInternal} }, call: asking, status: 500, code: "internal"},
		{name: "verification, limits away", set: func(e *edge) { e.quotas.err = mobileid.Unavailable("redis_away", time.Second, nil) }, call: asking, status: 503, code: "redis_away"},
		{name: "step up in test mode", call: with(stepUp, func(e *edge, c *call) { c.token = e.token("trial") }), status: 403, code: "test_mode"},
		{name: "step up by a signature", call: with(stepUp, bodied(`{"pinfl":"`+goodPINFL+`","method":"signature"}`)), status: 400, code: "method_unknown", field: "method"},
		{name: "verification in test mode", call: with(asking, func(e *edge, c *call) { c.token = e.token("trial") }), status: 403, code: "test_mode"},
		{name: "verification for a blind client", call: with(asking, func(e *edge, c *call) { c.token = e.token("cabinet") }), status: 403, code: "disclosure_blind"},
		{name: "verification for lending", call: with(asking, func(e *edge, c *call) { c.token = e.token("lender") }), status: 403, code: "lending_excluded", field: "service"},
		{name: "verification of a foreign number", call: with(asking, bodied(`{"pinfl":"`+goodPINFL+`","number":"+79161234567"}`)), status: 400, code: "msisdn_format", field: "number"},
		{name: "a person named twice", call: with(asking, bodied(`{"pinfl":"`+goodPINFL+`","person_id":"ps_1"}`)), status: 400, code: "person_twice", field: "person_id"},
		{name: "another client's person_id", call: func(e *edge) call {
			return post("/v1/challenges", `{"purpose":"login","person_id":"`+e.idKey.PersonID("shop", mobileid.Pseudonym{1})+`"}`)(e)
		}, status: 400, code: "person_id_unknown", field: "person_id"},
		{name: "verify too large", call: verifying("pending", big), status: 413, code: "body_too_large"},
		{name: "verify type", call: with(verifying("pending", verifyBody("123456")), headed("Content-Type", "text/plain")), status: 415, code: "content_type", field: "Content-Type"},
		{name: "verify without token", call: with(verifying("pending", verifyBody("123456")), noToken), status: 401, code: "token_missing"},
		{name: "verify without scope", call: with(verifying("pending", verifyBody("123456")), scoped("notifications")), status: 403, code: "scope_missing"},
		{name: "verify expired", call: verifying("expired", verifyBody("123456")), status: 409, code: "challenge_expired"},
		{name: "verify superseded", call: verifying("superseded", verifyBody("123456")), status: 409, code: "challenge_superseded"},
		{name: "verify accepted", call: verifying("accepted", verifyBody("123456")), status: 409, code: "challenge_not_ready"},
		{name: "exhausted", set: func(e *edge) { e.codes.result = mobileid.CodeExhausted }, call: verifying("pending", verifyBody("123456")), status: 409, code: "challenge_exhausted"},
		{name: "lost", set: func(e *edge) { e.codes.result = mobileid.CodeLost }, call: verifying("pending", verifyBody("123456")), status: 409, code: "challenge_lost"},
		{name: "expired in Redis", set: func(e *edge) { e.codes.result = mobileid.CodeExpired }, call: verifying("pending", verifyBody("123456")), status: 409, code: "challenge_expired"},
		{name: "fenced", set: func(e *edge) {
			e.registry.confirm = &mobileid.Error{Kind: mobileid.KindConflict, Code: "challenge_fenced", Message: "the binding changed"}
		}, call: verifying("pending", verifyBody("123456")), status: 409, code: "challenge_fenced"},
		{name: "verify, codes away", set: func(e *edge) { e.codes.err = mobileid.Unavailable("redis_away", time.Second, nil) }, call: verifying("pending", verifyBody("123456")), status: 503, code: "redis_away", header: map[string]string{"Retry-After": "1"}},
		{name: "verify, registry away", set: away, call: verifying("pending", verifyBody("123456")), status: 503, code: "database_away"},
		{name: "verify, registry slow", set: registrySays(mobileid.KindUnknown, "database_timeout"), call: verifying("pending", verifyBody("123456")), status: 503, code: "database_timeout", header: map[string]string{"Retry-After": "1"}},
		{name: "verify, registry lost", set: registrySays(mobileid.KindUnknown, "database_lost"), call: verifying("pending", verifyBody("123456")), status: 503, code: "database_lost", header: map[string]string{"Retry-After": "1"}},
		{name: "verify, registry refuses", set: registrySays(mobileid.KindInvalid, "registry_refused"), call: verifying("pending", verifyBody("123456")), status: 400, code: "registry_refused"},
		{name: "verify, challenge busy", set: func(e *edge) {
			e.registry.confirm = mobileid.Unavailable("confirm_busy", time.Second, nil)
		}, call: verifying("pending", verifyBody("123456")), status: 503, code: "confirm_busy", header: map[string]string{"Retry-After": "1"}},
		{name: "verify, an error that is not ours", set: func(e *edge) { e.registry.err = errors.New(goodPINFL) }, call: verifying("pending", verifyBody("123456")), status: 500, code: "internal"},
		{name: "verify, registry broken", set: broken, call: verifying("pending", verifyBody("123456")), status: 500, code: "internal"},
		{name: "verify a made-up id", call: post("/v1/challenges/ch_"+strings.Repeat("0", 39)+"/verify", verifyBody("123456")), status: 404, code: "not_found"},

		{name: "read a made-up id", call: func(e *edge) call {
			return call{method: "GET", path: "/v1/challenges/ch_000000000000000000000000000000000000000", token: e.token("oneid")}
		}, status: 404, code: "not_found"},
		{name: "read another client's id", call: with(reading("pending", ""), func(e *edge, c *call) { c.token = e.token("shop") }), status: 404, code: "not_found"},
		{name: "read without token", call: with(reading("pending", ""), noToken), status: 401, code: "token_missing"},
		{name: "read without scope", call: with(reading("pending", ""), scoped("notifications")), status: 403, code: "scope_missing"},
		{name: "timeout not a number", call: reading("pending", "?timeoutMs=x"), status: 400, code: "timeout_format", field: "timeoutMs"},
		{name: "timeout too long", call: reading("pending", "?timeoutMs=30001"), status: 400, code: "timeout_format", field: "timeoutMs"},
		{name: "after not a number", call: reading("pending", "?after=-1"), status: 400, code: "after_format", field: "after"},
		{name: "too many polls", set: func(e *edge) { e.g.polls.max = 0 }, call: reading("pending", "?timeoutMs=1"), status: 429, code: "waiters_exceeded"},
		{name: "registry away", set: away, call: reading("pending", ""), status: 503, code: "database_away", header: map[string]string{"Retry-After": "1"}},
		{name: "registry broken", set: broken, call: reading("pending", ""), status: 500, code: "internal"},
		{name: "message: challenge's id", call: func(e *edge) call {
			return call{method: "GET", path: "/v1/messages/" + e.stored("oneid", "pending").String(), token: e.token("oneid")}
		}, status: 404, code: "not_found"},
		{name: "message without token", call: with(aMessage(""), noToken), status: 401, code: "token_missing"},
		{name: "message without scope", call: with(aMessage(""), scoped("")), status: 403, code: "scope_missing"},
		{name: "message timeout", call: aMessage("?timeoutMs=x"), status: 400, code: "timeout_format", field: "timeoutMs"},
		{name: "message polls", set: func(e *edge) { e.g.polls.max = 0 }, call: aMessage("?timeoutMs=1"), status: 429, code: "waiters_exceeded"},
		{name: "message registry away", set: away, call: aMessage(""), status: 503, code: "database_away"},
		{name: "message registry broken", set: broken, call: aMessage(""), status: 500, code: "internal"},

		{name: "statement without token", call: with(statement, noToken), status: 401, code: "token_missing"},
		{name: "statement without scope", call: with(statement, scoped("challenges charges:write")), status: 403, code: "scope_missing"},
		{name: "statement for a blind client", call: with(statement, func(e *edge, c *call) { c.token = e.token("cabinet") }), status: 403, code: "disclosure_blind"},
		{name: "statement in test mode", call: with(statement, func(e *edge, c *call) { c.token = e.token("trial") }), status: 403, code: "test_mode"},
		{name: "statement quota", set: poor, call: statement, status: 429, code: "quota_exceeded", header: map[string]string{"Retry-After": "2"}},
		{name: "statement too large", call: post("/v1/persons:statement", big), status: 413, code: "body_too_large"},
		{name: "statement type", call: with(statement, headed("Content-Type", "text/plain")), status: 415, code: "content_type", field: "Content-Type"},
		{name: "statement as XML", call: with(statement, headed("Accept", "application/xml")), status: 400, code: "accept_unknown", field: "Accept"},
		{name: "statement of nobody", call: post("/v1/persons:statement", `{}`), status: 400, code: "field_missing", field: "pinfl"},
		{name: "statement of a wrong PINFL", call: post("/v1/persons:statement", `{"pinfl":"31210932040248"}`), status: 400, code: "pinfl_check_digit", field: "pinfl"},
		{name: "statement from a day", call: post("/v1/persons:statement", `{`+p+`,"from":"2026-11-23"}`), status: 400, code: "time_format", field: "from"},
		{name: "statement until a far year", call: post("/v1/persons:statement", `{`+p+`,"until":"9999-12-31T00:00:00Z"}`), status: 400, code: "time_format", field: "until"},
		{name: "statement backwards", call: post("/v1/persons:statement", `{`+p+`,"from":"2026-11-23T00:00:00Z","until":"2026-11-23T05:00:00+05:00"}`), status: 400, code: "time_order", field: "until"},
		{name: "statement, a number for a time", call: post("/v1/persons:statement", `{`+p+`,"from":1}`), status: 400, code: "wrong_type", field: "from"},
		{name: "statement of a made-up page", call: post("/v1/persons:statement", `{`+p+`,"page_token":"2"}`), status: 400, code: "page_token_format", field: "page_token"},
		{name: "statement after a challenge", call: func(e *edge) call {
			return post("/v1/persons:statement", `{`+p+`,"page_token":"`+e.stored("oneid", "pending").String()+`"}`)(e)
		}, status: 400, code: "page_token_format", field: "page_token"},
		{name: "statement in Cyrillic Uzbek", call: post("/v1/persons:statement", `{`+p+`,"locale":"uz-Cyrl"}`), status: 400, code: "locale_unknown", field: "locale"},
		{name: "statement with a number", call: post("/v1/persons:statement", `{`+p+`,"msisdn":"1"}`), status: 400, code: "unknown_field", field: "msisdn"},
		{name: "statement, registry away", set: away, call: statement, status: 503, code: "database_away"},
		{name: "statement, registry broken", set: broken, call: statement, status: 500, code: "internal"},

		{name: "ceiling without token", call: with(ceiling(`"1"`), noToken), status: 401, code: "token_missing"},
		{name: "ceiling without scope", call: with(ceiling(`"1"`), scoped("challenges charges:read")), status: 403, code: "scope_missing"},
		{name: "ceiling for a blind client", call: with(ceiling(`"1"`), func(e *edge, c *call) { c.token = e.token("cabinet") }), status: 403, code: "disclosure_blind"},
		{name: "ceiling quota", set: poor, call: ceiling(`"1"`), status: 429, code: "quota_exceeded"},
		{name: "ceiling too large", call: post("/v1/persons:dailyCeiling", big), status: 413, code: "body_too_large"},
		{name: "ceiling type", call: with(ceiling(`"1"`), headed("Content-Type", "text/plain")), status: 415, code: "content_type", field: "Content-Type"},
		{name: "ceiling without amount", call: post("/v1/persons:dailyCeiling", `{`+p+`}`), status: 400, code: "field_missing", field: "amount"},
		{name: "ceiling of nobody", call: post("/v1/persons:dailyCeiling", `{"amount":"1"}`), status: 400, code: "field_missing", field: "pinfl"},
		{name: "ceiling as a number", call: ceiling(`1200`), status: 400, code: "wrong_type", field: "amount"},
		{name: "ceiling below nothing", call: ceiling(`"-1"`), status: 400, code: "money_format", field: "amount"},
		{name: "ceiling of thousandths", call: ceiling(`"1.005"`), status: 400, code: "money_format", field: "amount"},
		{name: "ceiling of nothing", call: ceiling(`""`), status: 400, code: "money_format", field: "amount"},
		{name: "ceiling too high", call: ceiling(`"10000000.01"`), status: 400, code: "money_format", field: "amount"},
		{name: "ceiling beyond numbers", call: ceiling(`"99999999999999999999"`), status: 400, code: "money_format", field: "amount"},
		{name: "ceiling of an unbound person", set: func(e *edge) {
			e.registry.ceiling = &mobileid.Error{Kind: mobileid.KindConflict, Code: "unbound", Message: "no active binding"}
		}, call: ceiling(`"1"`), status: 409, code: "unbound"},
		{name: "ceiling, registry away", set: away, call: ceiling(`"1"`), status: 503, code: "database_away"},
		{name: "ceiling, registry broken", set: broken, call: ceiling(`"1"`), status: 500, code: "internal"},

		{name: "day without token", call: with(theDay("beeline", "2026-11-23"), noToken), status: 401, code: "token_missing"},
		{name: "day without scope", call: with(theDay("beeline", "2026-11-23"), func(e *edge, c *call) {
			c.token = e.tokenWith("billing", func(m map[string]any) { m["scope"] = "balance:write" })
		}), status: 403, code: "scope_missing"},
		{name: "day of another operator", call: theDay("ucell", "2026-11-23"), status: 403, code: "operator_other"},
		{name: "day of another operator, in other letters", call: theDay("Beeline", "2026-11-23"), status: 403, code: "operator_other"},
		{name: "day, for a client of no operator", call: with(theDay("beeline", "2026-11-23"), func(e *edge, c *call) { c.token = e.token("oneid") }), status: 403, code: "operator_missing"},
		{name: "day in test mode", call: with(theDay("beeline", "2026-11-23"), func(e *edge, c *call) { c.token = e.token("trial") }), status: 403, code: "test_mode"},
		{name: "day quota", set: poor, call: theDay("beeline", "2026-11-23"), status: 429, code: "quota_exceeded", header: map[string]string{"Retry-After": "2"}},
		{name: "day as XML", call: with(theDay("beeline", "2026-11-23"), headed("Accept", "application/xml")), status: 400, code: "accept_unknown", field: "Accept"},
		{name: "day as a time", call: theDay("beeline", "2026-11-23T00:00:00Z"), status: 400, code: "day_format", field: "day"},
		{name: "day that there is not", call: theDay("beeline", "2026-02-30"), status: 400, code: "day_format", field: "day"},
		{name: "day of a far year", call: theDay("beeline", "9999-12-31"), status: 400, code: "day_format", field: "day"},
		{name: "day while another is made", set: func(e *edge) { e.g.days <- struct{}{} }, call: theDay("beeline", "2026-11-23"), status: 429, code: "statement_busy", header: map[string]string{"Retry-After": "5"}},
		{name: "day, registry away", set: away, call: theDay("beeline", "2026-11-23"), status: 503, code: "database_away"},
		{name: "day, registry broken", set: broken, call: theDay("beeline", "2026-11-23"), status: 500, code: "internal"},

		{name: "no such path", call: func(*edge) call { return call{method: "GET", path: "/v1/nothing"} }, status: 404, code: "not_found"},
		{name: "method", call: func(*edge) call { return call{method: "DELETE", path: "/v1/challenges"} }, status: 405, code: "method_not_allowed", header: map[string]string{"Allow": "POST"}},
		{name: "problem code", call: func(*edge) call { return call{method: "GET", path: "/problems/nothing"} }, status: 404, code: "not_found"},
	}
}

// Every refusal is a problem with a stable code and the field's name, its type
// resolves, nothing is published and nothing personal is repeated or logged.
func TestRefusalsAreProblemsAndPublishNothing(t *testing.T) {
	c := newContract(t)
	for _, x := range refusals() {
		t.Run(x.name, func(t *testing.T) {
			e := newEdge(t, nil)
			if x.set != nil {
				x.set(e)
			}
			e.contract = c
			in := x.call(e)
			w := e.do(in)
			if w.Header().Get("Content-Type") != "application/problem+json" {
				t.Fatalf("status %d, Content-Type %q, body %s", w.Code, w.Header().Get("Content-Type"), w.Body)
			}
			p := decode[problem](t, w)
			if w.Code != x.status || p.Status != x.status || p.Code != x.code || p.Field != x.field {
				t.Errorf("have %d %q field %q, want %d %q %q; %s", w.Code, p.Code, p.Field, x.status, x.code, x.field, w.Body)
			}
			for k, v := range x.header {
				if !strings.Contains(w.Header().Get(k), v) {
					t.Errorf("header %s is %q, want %q in it", k, w.Header().Get(k), v)
				}
			}
			if x.status == 503 != (p.Retryable && w.Code == 503) || x.status == 400 && p.Retryable {
				t.Errorf("retryable is %v with %d", p.Retryable, w.Code)
			}
			if page := e.do(call{method: "GET", path: p.Type}); page.Code != 200 {
				t.Errorf("type %s does not resolve: %d", p.Type, page.Code)
			}
			if n := len(e.kafka.all()); n != 0 {
				t.Errorf("%d records published", n)
			}
			for _, secret := range []string{goodPINFL, "998901234567", "79161234567", "31210932040248", "123456", "connection refused", "secret words"} {
				if strings.Contains(w.Body.String(), secret) {
					t.Errorf("the problem repeats %q: %s", secret, w.Body)
				}
				if secret != "connection refused" && strings.Contains(e.logged(), secret) {
					t.Errorf("the log has %q: %s", secret, e.logged())
				}
			}
		})
	}
	t.Run("what works", func(t *testing.T) { everythingThatWorks(t, c) })
	if unseen := c.unseen(); len(unseen) > 0 {
		slices.Sort(unseen)
		t.Errorf("the description promises answers that no test has seen:\n%s", strings.Join(unseen, "\n"))
	}
}

// everythingThatWorks walks all routes under the contract.
func everythingThatWorks(t *testing.T, c *contract) {
	t.Helper()
	e := newEdge(t, nil)
	e.contract = c
	token := e.token("oneid")
	want := func(status int, in call) {
		t.Helper()
		if w := e.do(in); w.Code != status {
			t.Errorf("%s %s: %d, want %d; %s", in.method, in.path, w.Code, status, w.Body)
		}
	}
	for _, path := range []string{"/", "/livez", "/readyz", "/metrics", "/openapi.yaml", "/docs", "/problems", "/problems/code_wrong"} {
		want(200, call{method: "GET", path: path})
	}
	e.ready = errors.New("no broker")
	e.clock.add(readyLife)
	want(503, call{method: "GET", path: "/readyz"})
	e.g.deps.Stuck = func() []string { return []string{"sweeper"} }
	want(503, call{method: "GET", path: "/livez"})
	want(202, ask(e))
	want(202, with(tell, func(_ *edge, c *call) { c.key = "other" })(e))
	want(202, report(events(topUp(), `{"number":"+998901234568","kind":"barred","seq":"s:2","at":"2026-11-23T10:00:00+05:00"}`))(e))
	id := e.stored("oneid", mobileid.ChallengePending)
	want(200, call{method: "GET", path: challengePath(id), token: token})
	want(304, call{method: "GET", path: challengePath(id), token: token, header: map[string]string{"If-None-Match": `"1"`}})
	want(200, call{method: "POST", path: verifyPath(id), body: verifyBody("123456"), key: "v", token: token})
	want(200, confirmed(e))
	want(200, call{method: "GET", path: "/.well-known/jwks.json"})
	want(200, lookup(e))
	want(204, stepUp(e))
	want(200, asking(e))
	want(202, resending(mobileid.ChallengePending, nil)(e))
	want(200, cancelling(mobileid.ChallengePending)(e))
	m := e.idKey.Make(mobileid.KindMessage, "oneid", "m", e.g.now())
	want(200, call{method: "GET", path: "/v1/messages/" + m.String(), token: token})
	e.registry.messages[m] = mobileid.MessageView{
		ID: m, Client: "oneid", State: mobileid.MessageDelivered, Version: 4, TextID: "service.ready", Parts: 1,
		Deadline: e.g.now(), EndedAt: e.g.now(),
	}
	want(200, call{method: "GET", path: "/v1/messages/" + m.String(), token: token})
	want(304, call{method: "GET", path: "/v1/messages/" + m.String(), token: token, header: map[string]string{"If-None-Match": `"4"`}})
	want(200, statement(e))
	e.registry.statement = aStatement(m)
	want(200, statement(e))
	want(200, with(statement, func(_ *edge, c *call) { c.header = map[string]string{"Accept": "text/csv"} })(e))
	want(200, theDay("beeline", "2026-11-22")(e))
	e.registry.days = aDay()
	want(200, theDay("beeline", "2026-11-22")(e))
	want(200, with(theDay("beeline", "2026-11-22"), func(_ *edge, c *call) { c.header = map[string]string{"Accept": "text/csv"} })(e))
	for _, amount := range []string{`"1200.50"`, `"0"`, `null`} {
		want(200, ceiling(amount)(e))
	}
}

// Neither side of the contract has a route that the other one lacks, and what a
// route answers to nobody in particular is described too.
func TestTheMuxAndTheDescriptionHaveTheSameRoutes(t *testing.T) {
	e, c := newEdge(t, nil), newContract(t)
	e.contract = c
	described := map[string]bool{}
	for path, item := range object(c.doc["paths"]) {
		for method := range object(item) {
			described[strings.ToUpper(method)+" "+path] = true
		}
	}
	for _, r := range e.g.routes() {
		name := strings.TrimSuffix(r.pattern, "{$}")
		if !described[name] {
			t.Errorf("%q is served and not described", r.pattern)
			continue
		}
		delete(described, name)
		method, path, _ := strings.Cut(name, " ")
		e.do(call{method: method, path: strings.NewReplacer("{id}", "x", "{code}", "x", "{operator}", "x", "{day}", "x").Replace(path)})
	}
	for name := range described {
		t.Errorf("%q is described and not served", name)
	}
}

// olderID makes the request once and gives its key an id of another id key. A
// fault that stays must not look like one that passes: the ingress waits for
// those, and its whole partition with it.
func olderID(first func(*edge) call) func(*edge) {
	return func(e *edge) {
		e.do(first(e))
		e.kafka.list = nil
		for part, c := range e.keys.m {
			id := c.id
			id[len(id)-1] ^= 1
			e.keys.m[part] = claim{id, c.hash}
		}
	}
}
