package gateway

import (
	"net/http"
	"slices"

	"mobileid/internal/mobileid"
)

// problemType is one row of the table of codes: what a `type` URL resolves to.
type problemType struct {
	Code      string
	Status    int
	Title     string // the same for every occurrence (RFC 9457, 3.1.3)
	Retryable bool   // the same request may succeed later
	Meaning   string // for the page: what happened and what to do
}

// kindType is what a kind of error becomes when its code has no row: rooms
// behind the ports may have codes of their own.
var kindType = kindTypes(map[mobileid.Kind]problemType{
	mobileid.KindInvalid: {
		Code: "invalid", Title: "Request is wrong",
		Meaning: "A part of the request is wrong; `field` names it. Repeating the request will not help.",
	},
	mobileid.KindUnauthorized: {
		Code: "unauthorized", Title: "Not authenticated",
		Meaning: "We do not know who asks. Get a token from the issuer.",
	},
	mobileid.KindForbidden: {
		Code: "forbidden", Title: "Not allowed",
		Meaning: "The client is known and may not do this.",
	},
	mobileid.KindNotFound: {
		Code: "not_found", Title: "No such thing",
		Meaning: "No such id for this client. An id that was given by us to this client is never answered so.",
	},
	mobileid.KindConflict: {
		Code: "conflict", Title: "Contradicts the present state",
		Meaning: "The request contradicts what is stored.",
	},
	mobileid.KindMismatch: {
		Code: "mismatch", Title: "Key used for another request",
		Meaning: "The Idempotency-Key was used before with another body.",
	},
	mobileid.KindTooLarge: {
		Code: "too_large", Title: "Body too large",
		Meaning: "The body is over the limit.",
	},
	mobileid.KindLimited: {
		Code: "rate_limited", Title: "Too many requests",
		Meaning: "Come again after `Retry-After` seconds.",
	},
	mobileid.KindUnavailable: {
		Code: "unavailable", Title: "A part is away",
		Meaning: "A part of the system is away. Surely nothing was done; repeat after `Retry-After` seconds.",
	},
	mobileid.KindUnknown: {
		Code: "unknown_outcome", Title: "Outcome unknown",
		Meaning: "Perhaps the request was taken. Repeat it with the same Idempotency-Key: it is taken once.",
	},
	mobileid.KindInternal: {
		Code: "internal", Title: "Internal error",
		Meaning: "Our fault. Repeat with the same Idempotency-Key; if it stays, tell us the `traceId`.",
	},
})

// kindTypes takes status and retryable from the kind.
func kindTypes(rows map[mobileid.Kind]problemType) map[mobileid.Kind]problemType {
	for kind, row := range rows {
		row.Status, row.Retryable = kind.Status(), kind.Retryable()
		rows[kind] = row
	}
	return rows
}

// codeTypes are the codes with a row of their own.
var codeTypes = []problemType{
	{"body_empty", 400, "Body is missing", false, "The body must be one JSON object."},
	{"json_syntax", 400, "Body is not JSON", false, "The body is not well-formed JSON in UTF-8."},
	{"json_trailing", 400, "More than one JSON value", false, "Something follows the JSON object."},
	{"unknown_field", 400, "Unknown field", false, "`field` is not part of this request. Names are case-sensitive. " +
		"`?` stands for a name that could be data in the wrong place."},
	{"duplicate_field", 400, "Field stands twice", false, "JSON readers differ in which of two they take; so we refuse."},
	{"wrong_type", 400, "Wrong JSON type", false, "The value of `field` has another JSON type than the API says."},
	{"field_missing", 400, "Field is missing", false, "`field` is required and must not be empty."},
	{"too_long", 400, "Value too long", false, "The value of `field` is too long."},
	{"too_many", 400, "Too many members", false, "`field` has too many members."},
	{"content_type", 415, "Not JSON", false, "Send Content-Type: application/json."},
	{"body_too_large", 413, "Body too large", false, "A body has at most 16384 bytes."},
	{"presence_unknown", 400, "Unknown presence", false, "How the person takes part: `session`, `first_factor` or `none`."},
	{"not_confirmed", 404, "Not confirmed", false, "The challenge has no confirmation: its state says what it has instead."},
	{"service_unknown", 400, "Unknown service", false, "`service` is one of those agreed for the client."},
	{
		"lending_excluded", 403, "Lending is excluded", false,
		"Financial services in the field of lending may not use Mobile-ID, for any purpose (Resolution 479 of 30 August 2022, item 1-b and clause 3).",
	},
	{"person_id_unknown", 400, "Unknown person_id", false, "Not a person_id that was given to this client: each client has its own."},
	{"person_twice", 400, "Person named twice", false, "Give the `pinfl` or the `person_id`, not both."},
	{"method_unknown", 400, "Unknown method", false, "How the person has shown himself: `face_id`."},
	{"resend_too_early", 429, "Too early for another code", true, "Another code may be asked for after `Retry-After` seconds."},
	{"resends_used", 409, "No further code", false, "A challenge has a first code and a few more. Ask for a new challenge."},
	{"challenge_confirmed", 409, "Challenge is confirmed", false, "The code was right already. Its confirmation stands."},
	{"body_unread", 400, "Body not received", true, "The body did not arrive in time or the connection broke."},
	{"method_not_allowed", 405, "Method not allowed", false, "The header Allow names the methods of this path."},
	{
		"idempotency_key_missing", 400, "Idempotency-Key is missing", false,
		"Every POST needs the header Idempotency-Key: a new value for a new request, the same for a repetition.",
	},
	{"idempotency_key_format", 400, "Idempotency-Key is wrong", false, "1 to 128 visible ASCII characters."},
	{
		"idempotency_key_reused", 422, "Idempotency-Key used before", false,
		"This key was used for another request within 24 hours. A new request needs a new key.",
	},
	{
		"key_of_older_id", 409, "Idempotency-Key of an unreadable id", false,
		"The id that this key was given is not readable any more, for example since our key changed. Use a new key.",
	},
	{"x_correlator_format", 400, "x-correlator is wrong", false, "At most 256 characters of a-z A-Z 0-9 - _ : ; . / < > { }."},
	{"timeout_format", 400, "timeoutMs is wrong", false, "timeoutMs is a whole number from 0 to 30000."},
	{"after_format", 400, "after is wrong", false, "after is the version of an earlier answer, a whole number."},

	{"pinfl_length", 400, "PINFL has not 14 digits", false, "A PINFL has 14 digits."},
	{"pinfl_digits", 400, "PINFL has other characters", false, "A PINFL has ASCII digits only."},
	{"pinfl_century", 400, "PINFL begins wrong", false, "The first digit is 1 to 6."},
	{"pinfl_date", 400, "PINFL holds no date", false, "Digits 2 to 7 are a birth date, DDMMYY."},
	{"pinfl_check_digit", 400, "PINFL check digit is wrong", false, "Most often one digit was mistyped."},
	{"purpose_unknown", 400, "No such purpose", false, "The purposes of a client are agreed when it is registered."},
	{"test_mode", 403, "Client in test mode", false, "Its requests never reach an operator, and there is no sandbox yet."},
	{"purpose_forbidden", 403, "Purpose not allowed", false, "The purpose exists, but not for this client."},
	{"locale_unknown", 400, "No such locale", false, "The locales are uz-Latn, ru and en."},
	{"context_hash_format", 400, "context_hash is wrong", false, "64 hexadecimal digits (SHA-256)."},
	{
		"context_mismatch", 400, "Context differs", false,
		"The context_hash of the verification is not the one of the challenge. No try was counted.",
	},
	{"client_ref_format", 400, "client_ref is wrong", false, "At most 64 letters, digits and . _ : - and no personal data."},
	{"code_format", 400, "Code has a wrong form", false, "The code is digits, as many as the SMS shows. No try was counted."},
	{"msisdn_format", 400, "Number is wrong", false, "A number is +998 and nine digits, for example +998901234567."},
	{"balance_kind", 400, "No such kind of news", false, "`kind` is top_up, balance, barred or unbarred."},
	{"amount_format", 400, "Amount is wrong", false, "Whole tiyin (100 are one soum) as a JSON number, from 0 to 100000000000000; no fraction, no exponent."},
	{"amount_unexpected", 400, "Amount makes no sense", false, "barred and unbarred have no `amount`."},
	{"seq_format", 400, "seq is wrong", false, "1 to 64 letters, digits and . _ : - that name this event among all of the operator, and no number of a subscriber."},
	{"seq_repeated", 400, "seq stands twice", false, "Two events of one body have the same `seq`. Nothing of the body was taken."},
	{"time_ahead", 400, "Time is ahead", false, "`at` is more than five minutes ahead of our clock: everything that is told until then would count as older. Set the clock."},
	{"text_unknown", 400, "No such text", false, "`text_id` is not in the catalogue, or not for notifications."},
	{"slot_unknown", 400, "No such slot", false, "The text has no slot of that name."},
	{"slot_missing", 400, "Slot is missing", false, "The text needs the slot that `field` names."},
	{"slot_value", 400, "Slot value is wrong", false, "The value does not fit the type of the slot."},

	{"time_format", 400, "Time is wrong", false, "RFC 3339, with its zone: 2026-11-23T09:00:00Z."},
	{"day_format", 400, "Day is wrong", false, "A date of this century, a day of Asia/Tashkent: 2026-11-30."},
	{"time_order", 400, "Times are the wrong way round", false, "`until` is after `from`."},
	{"page_token_format", 400, "page_token is wrong", false, "page_token is `next_page_token` of an earlier answer."},
	{"money_format", 400, "Amount is wrong", false, "Soum with at most two decimals, in a string: \"120.50\"."},
	{"accept_unknown", 400, "Accept is wrong", false, "The answer is application/json, or text/csv."},
	{"disclosure_blind", 403, "Client sees nothing of persons", false, "Charges are told to clients whose disclosure is `full`."},
	{"unbound", 409, "Person is not bound", false, "The person has no active binding, so no account that pays."},

	{"token_missing", 401, "Token is missing", false, "Send Authorization: Bearer and an access token."},
	{"token_invalid", 401, "Token is not valid", false, "Signature, issuer, audience or form of the token are wrong."},
	{"token_expired", 401, "Token has expired", false, "Ask the issuer for a new one."},
	{"client_unknown", 401, "Client is unknown", false, "The token is good, but its client has no account here."},
	{"scope_missing", 403, "Scope is missing", false, "The token, or the client's account, lacks the scope."},
	{"operator_missing", 403, "Client of no operator", false, "The client's account here does not say for which operator it speaks."},
	{"operator_other", 403, "Client of another operator", false, "The client speaks for one operator, and this is another."},
	{"quota_exceeded", 429, "Quota is spent", true, "Come again after `Retry-After` seconds. Repetitions cost nothing."},
	{"statement_busy", 429, "Another statement is being made", true, "A statement reads a whole day, so one is made at a time. Come again after `Retry-After` seconds."},
	{"waiters_exceeded", 429, "Too many long polls", true, "This client has as many open long polls as it may."},

	{"code_wrong", 400, "Code is wrong", false, "`tries_left` says how many tries are left."},
	{
		"code_used", 409, "Code was used", false,
		"This challenge was confirmed by a verification with another Idempotency-Key.",
	},
	{"challenge_not_ready", 409, "No code yet", true, "The request is accepted and no code is issued yet."},

	// Told on out.<client> only, where the same codes are used.
	{"wrong_client", 403, "Another client's name", false, "ce_source is not the client that the topic belongs to."},
	{"type_unknown", 400, "No such command", false, "ce_type is not a command of the ingress topics."},
	{"too_late", 409, "Record waited too long", false, "Ask again with a new ce_id."},

	{"kafka_away", 503, "Queue is away", true, "Nothing was done; repeat with the same Idempotency-Key."},
	{"redis_away", 503, "Memory of codes and limits is away", true, "Nothing was done; repeat."},
	// What registry says itself: these are its codes.
	{"database_away", 503, "Registry is away", true, "Nothing was done; repeat after `Retry-After` seconds."},
	{"database_timeout", 503, "Registry is slow", true, "Perhaps it was done. Repeat with the same Idempotency-Key."},
	{"database_lost", 503, "Connection to the registry was lost", true, "Perhaps it was done. Repeat with the same Idempotency-Key."},
	{"confirm_busy", 503, "Challenge is changing", true, "Others change the challenge just now. Repeat with the same Idempotency-Key."},
	{"registry_refused", 400, "Registry refuses a value", false, "The registry's own rules refuse a value of this request."},

	{"issuer_away", 503, "Token issuer is away", true, "The key of the token could not be fetched."},
	{
		"outcome_unknown", 503, "Outcome unknown", true,
		"Perhaps the request was taken. Repeat it with the same Idempotency-Key: it is taken once.",
	},
}

// endedMeaning says what to tell of a challenge that has ended.
var endedMeaning = map[mobileid.ChallengeState]string{
	mobileid.ChallengeExpired:       "Its time is over. Ask for a new code.",
	mobileid.ChallengeExhausted:     "Too many wrong codes. Ask for a new code.",
	mobileid.ChallengeLost:          "We lost the live code. It is our fault: ask for a new code.",
	mobileid.ChallengeSuperseded:    "A newer challenge for the same person and purpose took its place.",
	mobileid.ChallengeConflict:      "Its Idempotency-Key was used for another request.",
	mobileid.ChallengeUnbound:       "The person has no active binding.",
	mobileid.ChallengeNoFunds:       "The balance of the subscriber was not enough for the SMS.",
	mobileid.ChallengeFenced:        "The binding changed after the code was issued.",
	mobileid.ChallengeUndeliverable: "The operator could not deliver the SMS.",
	mobileid.ChallengeFailed:        "The SMS could not be sent.",
	mobileid.ChallengeCancelled:     "Its client has taken it back.",
	mobileid.ChallengeLimited:       "Too many codes, or too many wrong ones. Ask for a new code at `retry_at`.",
	mobileid.ChallengeStepUp:        "A code is not enough now: the person shows his face (Face-ID), or waits until `retry_at`.",
}

// problemTable is every row by its code.
var problemTable = buildProblemTable()

func buildProblemTable() map[string]problemType {
	table := map[string]problemType{}
	for _, t := range kindType {
		table[t.Code] = t
	}
	for _, t := range codeTypes {
		table[t.Code] = t
	}
	for state, meaning := range endedMeaning {
		code := endedCode(state)
		table[code] = problemType{code, http.StatusConflict, "Challenge has ended: " + string(state), false, meaning}
	}
	return table
}

// endedCode is the code of a verification that came too late.
func endedCode(state mobileid.ChallengeState) string { return "challenge_" + string(state) }

// sortedProblems is the table for the pages.
func sortedProblems() []problemType {
	out := make([]problemType, 0, len(problemTable))
	for _, t := range problemTable {
		out = append(out, t)
	}
	slices.SortFunc(out, func(a, b problemType) int {
		if a.Status != b.Status {
			return a.Status - b.Status
		}
		if a.Code < b.Code {
			return -1
		}
		return 1
	})
	return out
}
