package gateway

import (
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"time"

	"mobileid/internal/mobileid"
)

// Limits of single values.
const (
	maxBody      = 16 << 10 // longest request body, in bytes
	maxKey       = 128      // longest Idempotency-Key, in characters
	maxValue     = 128      // longest short value, in bytes
	maxClientRef = 64
	maxSlots     = 32
	maxSlotValue = 256
)

// challengeRequest is POST /v1/challenges. Its JSON is also what the body hash
// is taken over, so that spaces and the order of members do not make another
// request; the tags keep that form.
type challengeRequest struct {
	Is          string `json:"is"` // one key on two routes is two requests
	Person      string `json:"person"`
	Purpose     string `json:"purpose"`
	Service     string `json:"service,omitempty"`
	Locale      string `json:"locale"`
	Presence    string `json:"presence,omitempty"`
	ContextHash string `json:"context_hash"`
	ClientRef   string `json:"client_ref"`
	who         who    // only its pseudonym leaves
}

func parseChallenge(body []byte) (challengeRequest, error) {
	r := challengeRequest{Is: "challenge"}
	var pinfl, personID string
	err := decodeObject(body, map[string]field{
		"pinfl":        text("pinfl", &pinfl),
		"person_id":    text("person_id", &personID),
		"purpose":      text("purpose", &r.Purpose),
		"service":      text("service", &r.Service),
		"locale":       text("locale", &r.Locale),
		"presence":     text("presence", &r.Presence),
		"context_hash": text("context_hash", &r.ContextHash),
		"client_ref":   text("client_ref", &r.ClientRef),
	})
	if err != nil {
		return r, err
	}
	if r.who, err = parseWho(pinfl, personID); err != nil {
		return r, err
	}
	if r.Purpose == "" {
		return r, missing("purpose")
	}
	if r.ContextHash, err = parseContextHash(r.ContextHash); err != nil {
		return r, err
	}
	return r, firstError(checkLocale(r.Locale), checkPresence(r.Presence), checkClientRef(r.ClientRef))
}

func checkPresence(s string) error {
	if s == "" || mobileid.Presence(s).Valid() {
		return nil
	}
	return mobileid.Invalid("presence", "presence_unknown", "session, first_factor or none, which is the default")
}

// notificationRequest is POST /v1/notifications.
type notificationRequest struct {
	Is        string            `json:"is"`
	Person    string            `json:"person"`
	TextID    string            `json:"text_id"`
	Slots     map[string]string `json:"slots"`
	Locale    string            `json:"locale"`
	ClientRef string            `json:"client_ref"`
	who       who
}

func parseNotification(body []byte) (notificationRequest, error) {
	r := notificationRequest{Is: "notification", Slots: map[string]string{}}
	var pinfl, personID string
	err := decodeObject(body, map[string]field{
		"pinfl":      text("pinfl", &pinfl),
		"person_id":  text("person_id", &personID),
		"text_id":    text("text_id", &r.TextID),
		"slots":      stringMap("slots", maxSlots, maxSlotValue, &r.Slots),
		"locale":     text("locale", &r.Locale),
		"client_ref": text("client_ref", &r.ClientRef),
	})
	if err != nil {
		return r, err
	}
	if r.who, err = parseWho(pinfl, personID); err != nil {
		return r, err
	}
	if r.TextID == "" {
		return r, missing("text_id")
	}
	return r, firstError(checkLocale(r.Locale), checkClientRef(r.ClientRef))
}

// A report of balances.
const (
	maxEvents = 100             // in one body
	maxSeq    = 64              // characters
	maxAhead  = 5 * time.Minute // that an operator's clock may be ahead of ours
)

// balanceRequest is POST /v1/balance-events.
type balanceRequest struct {
	Is       string         `json:"is"`
	Operator string         `json:"operator"`
	Events   []balanceEvent `json:"events"`
}

type balanceEvent struct {
	Number string               `json:"number"` // pseudonym: the number stays at the edge
	Kind   mobileid.BalanceKind `json:"kind"`
	Amount int64                `json:"amount"` // tiyin
	Seq    string               `json:"seq"`
	At     time.Time            `json:"at"`
	key    mobileid.Pseudonym
}

func parseBalance(body []byte, operator string, keys mobileid.PseudonymKey, now time.Time) (balanceRequest, error) {
	r := balanceRequest{Is: "balance", Operator: operator}
	var list []json.RawMessage
	err := decodeObject(body, map[string]field{"events": objects("events", maxEvents, &list)})
	if err != nil {
		return r, err
	}
	if len(list) == 0 {
		return r, missing("events")
	}
	seen := map[string]bool{}
	for i, raw := range list {
		e, err := parseBalanceEvent(raw, keys, now)
		if err == nil && seen[e.Seq] {
			err = mobileid.Invalid("seq", "seq_repeated", "two events of one body have this seq")
		}
		if err != nil {
			return r, inItem("events", i, err)
		}
		seen[e.Seq] = true
		r.Events = append(r.Events, e)
	}
	return r, nil
}

func parseBalanceEvent(raw []byte, keys mobileid.PseudonymKey, now time.Time) (e balanceEvent, err error) {
	var number, kind, at string
	var amount *int64
	err = decodeObject(raw, map[string]field{
		"number": text("number", &number),
		"kind":   text("kind", &kind),
		"amount": tiyin("amount", &amount),
		"seq":    text("seq", &e.Seq),
		"at":     text("at", &at),
	})
	if err != nil {
		return e, err
	}
	for _, m := range []struct{ name, value string }{{"number", number}, {"kind", kind}, {"seq", e.Seq}, {"at", at}} {
		if m.value == "" {
			return e, missing(m.name)
		}
	}
	msisdn, err := mobileid.ParseMSISDN(number)
	if err != nil {
		return e, mobileid.Invalid("number", mobileid.CodeOf(err), "a number is +998 and nine digits")
	}
	e.key = keys.Number(msisdn)
	e.Number = e.key.String()
	switch e.Kind = mobileid.BalanceKind(kind); e.Kind {
	case mobileid.BalanceTopUp, mobileid.BalanceTold:
		if amount == nil {
			return e, missing("amount")
		}
		e.Amount = *amount
	case mobileid.BalanceBarred, mobileid.BalanceUnbarred:
		if amount != nil {
			return e, mobileid.Invalid("amount", "amount_unexpected", "barred and unbarred have no amount")
		}
	default:
		return e, mobileid.Invalid("kind", "balance_kind", "the kind is top_up, balance, barred or unbarred")
	}
	if !isName(e.Seq, maxSeq) {
		return e, mobileid.Invalid("seq", "seq_format", "1 to 64 letters, digits and . _ : - and no number of a subscriber")
	}
	if e.At, err = time.Parse(time.RFC3339Nano, at); err != nil {
		return e, mobileid.Invalid("at", "time_format", "a timestamp of RFC 3339, for example 2026-11-23T10:00:00+05:00")
	}
	// As Postgres keeps it.
	if e.At = e.At.UTC().Truncate(time.Microsecond); e.At.After(now.Add(maxAhead)) {
		return e, mobileid.Invalid("at", "time_ahead", "the time is more than five minutes ahead: nothing would be newer than this for so long")
	}
	return e, nil
}

// inItem says in which item of a list a mistake is.
func inItem(list string, i int, err error) error {
	e, ok := errors.AsType[*mobileid.Error](err)
	if !ok {
		return err
	}
	in := *e
	in.Field = strings.TrimSuffix(list+"["+strconv.Itoa(i)+"]."+e.Field, ".")
	return &in
}

// parseNothing takes no body, or an object without members.
func parseNothing(body []byte) error {
	if len(body) == 0 {
		return nil
	}
	return decodeObject(body, nil)
}

// verifyRequest is POST /v1/challenges/{id}/verify.
type verifyRequest struct {
	Code        mobileid.Code
	digits      int
	ContextHash string
}

// A code of any purpose has between minDigits and maxDigits digits.
const (
	minDigits = 4
	maxDigits = 10
)

func parseVerify(body []byte) (verifyRequest, error) {
	var r verifyRequest
	var code string
	err := decodeObject(body, map[string]field{
		"code":         text("code", &code),
		"context_hash": text("context_hash", &r.ContextHash),
	})
	if err != nil {
		return r, err
	}
	if code == "" {
		return r, missing("code")
	}
	if len(code) < minDigits || len(code) > maxDigits || strings.Trim(code, "0123456789") != "" {
		return r, codeFormat()
	}
	r.Code, r.digits = mobileid.NewCode(code), len(code)
	r.ContextHash, err = parseContextHash(r.ContextHash)
	return r, err
}

func codeFormat() error {
	return mobileid.Invalid("code", "code_format", "the code is the digits of the SMS, all of them; no try was counted")
}

func missing(name string) error {
	return mobileid.Invalid(name, "field_missing", "the field is required")
}

func parsePINFL(s string) (mobileid.PINFL, error) {
	if s == "" {
		return mobileid.PINFL{}, missing("pinfl")
	}
	return mobileid.ParsePINFL(s)
}

// who is the person of a request: his PINFL, or what we call him to this client.
type who struct {
	pinfl    mobileid.PINFL
	personID string
}

func parseWho(pinfl, personID string) (w who, err error) {
	if pinfl != "" && personID != "" {
		return w, mobileid.Invalid("person_id", "person_twice", "give the pinfl or the person_id, not both")
	}
	if personID != "" {
		return who{personID: personID}, nil
	}
	w.pinfl, err = parsePINFL(pinfl)
	return w, err
}

// person returns the pseudonym of whom a client names.
func (a *Accepter) person(client mobileid.Client, w who) (mobileid.Pseudonym, error) {
	if w.personID != "" {
		return a.deps.IDKey.ParsePersonID(client.ID, w.personID)
	}
	return a.deps.Pseudonyms.Person(w.pinfl), nil
}

// parseContextHash returns lower-case hex; "" stays "".
func parseContextHash(s string) (string, error) {
	if s == "" {
		return "", nil
	}
	s = strings.ToLower(s)
	if len(s) != 64 || strings.Trim(s, "0123456789abcdef") != "" {
		return "", mobileid.Invalid("context_hash", "context_hash_format", "a SHA-256 is 64 hexadecimal digits")
	}
	return s, nil
}

func checkLocale(s string) error {
	switch mobileid.Locale(s) {
	case "", mobileid.LocaleUzLatn, mobileid.LocaleRu, mobileid.LocaleEn:
		return nil
	}
	return mobileid.Invalid("locale", "locale_unknown", "the locales are uz-Latn, ru and en")
}

func checkClientRef(s string) error {
	if len(s) > maxClientRef {
		return mobileid.Invalid("client_ref", "client_ref_format", "at most 64 characters")
	}
	if !isWord(s) {
		return mobileid.Invalid("client_ref", "client_ref_format", "letters, digits and . _ : - only")
	}
	// It travels and is stored in clear, so what names a person stays outside.
	if mobileid.HoldsPersonal(s) {
		return mobileid.Invalid("client_ref", "client_ref_format", "no PINFL and no phone number; a reference of your own")
	}
	return nil
}

// isWord reports whether s is of letters, digits and the characters . _ : - only.
func isWord(s string) bool {
	for i := range len(s) {
		c := s[i]
		if !(c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || strings.IndexByte("._:-", c) >= 0) {
			return false
		}
	}
	return true
}

// isName reports whether s is a word of an outside system for something of its
// own, which may be stored in clear.
func isName(s string, most int) bool {
	return s != "" && len(s) <= most && isWord(s) && !mobileid.HoldsPersonal(s)
}

// checkKey wants 1 to 128 visible ASCII characters.
func checkKey(key string) error {
	if key == "" {
		return mobileid.Invalid("Idempotency-Key", "idempotency_key_missing", "the header Idempotency-Key is required")
	}
	for i := range len(key) {
		if key[i] < 0x21 || key[i] > 0x7e {
			return mobileid.Invalid("Idempotency-Key", "idempotency_key_format", "visible ASCII characters only")
		}
	}
	if len(key) > maxKey {
		return mobileid.Invalid("Idempotency-Key", "idempotency_key_format", "at most 128 characters")
	}
	return nil
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// deadlines are the times that follow from the accept time in an id. They are
// counted from the id and not from the clock, so that a repetition cannot give
// a request that has ended a second life.
type deadlines struct {
	code, notification, grace time.Duration
}

func (d deadlines) of(id mobileid.ID) time.Time {
	if id.Kind() == mobileid.KindChallenge {
		return id.Time().Add(d.code)
	}
	return id.Time().Add(d.notification)
}

// gone reports whether an id that has no row will never have one.
func (d deadlines) gone(id mobileid.ID, now time.Time) bool { return now.After(d.of(id).Add(d.grace)) }
