package gateway

import (
	"cmp"
	"encoding/csv"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"time"

	"mobileid/internal/mobileid"
)

// What a person was charged, and why, for the one client that shows it to him: the
// portal's cabinet. docs/statements.md is the contract of both forms.

// StatementPage is how many Charges a page has.
const StatementPage = 50

// StatementBody is a person's statement as JSON. An amount is soum.
type StatementBody struct {
	Charges       []chargeBody `json:"charges"`
	NextPageToken string       `json:"next_page_token,omitempty"`
	Account       *accountBody `json:"account,omitempty"` // of the active binding
}

type chargeBody struct {
	MessageID mobileid.ID           `json:"message_id"`
	At        time.Time             `json:"at"` // accepted
	Client    string                `json:"client"`
	TextID    string                `json:"text_id"`
	Kind      string                `json:"kind"`
	Operator  string                `json:"operator"`
	State     mobileid.MessageState `json:"state"`
	Reason    string                `json:"reason,omitempty"`
	Parts     int                   `json:"parts"`
	TariffID  int64                 `json:"tariff_id,omitempty"`
	Act       string                `json:"act,omitempty"`
	Price     string                `json:"price"`
	Unit      string                `json:"unit"`
	Amount    string                `json:"amount"`
	Charging  mobileid.Charging     `json:"charging"`
	Charge    mobileid.ChargeState  `json:"charge"`
	Net       string                `json:"net"`
	Steps     []stepBody            `json:"steps"`
}

type stepBody struct {
	At    time.Time            `json:"at"`
	Kind  mobileid.ChargeState `json:"kind"`
	Why   string               `json:"why"`
	Words string               `json:"words"`
	Held  string               `json:"held"`  // change of what is reserved
	Taken string               `json:"taken"` // change of what is charged
}

type accountBody struct {
	Operator       string    `json:"operator"`
	BalanceKnown   bool      `json:"balance_known"`
	Available      string    `json:"available,omitempty"`
	Reserved       string    `json:"reserved"`
	SMSSuspended   bool      `json:"sms_suspended"`
	SuspendedSince time.Time `json:"suspended_since,omitzero"`
	SuspendedWhy   string    `json:"suspended_why,omitempty"`
	DailyCeiling   *string   `json:"daily_ceiling"` // null: none
	SpentToday     string    `json:"spent_today"`
}

// NewStatementBody is a statement as its reader sees it, with words of a language.
func NewStatementBody(s mobileid.PersonStatement, words mobileid.Locale) StatementBody {
	b := StatementBody{Charges: make([]chargeBody, len(s.Charges))}
	for i := range s.Charges {
		c := &s.Charges[i]
		steps := make([]stepBody, len(c.Transfers))
		for j, t := range c.Transfers {
			steps[j] = stepBody{t.At, t.Kind, t.Why, mobileid.TransferWords(t.Kind, t.Why, words), t.Held.String(), t.Taken.String()}
		}
		b.Charges[i] = chargeBody{
			MessageID: c.Message, At: c.Message.Time(), Client: c.Client, TextID: c.TextID, Kind: mobileid.TextKind(c.TextID), Operator: c.Operator,
			State: c.State, Reason: c.Reason, Parts: c.Parts, TariffID: c.Tariff, Act: c.Act, Price: c.Price.String(), Unit: c.Unit,
			Amount: c.Amount.String(), Charging: c.Charging, Charge: c.Charge, Net: c.Net.String(), Steps: steps,
		}
	}
	if s.More {
		b.NextPageToken = s.Charges[len(s.Charges)-1].Message.String()
	}
	if s.Account != nil {
		a := newAccountBody(*s.Account)
		b.Account = &a
	}
	return b
}

func newAccountBody(v mobileid.SubscriberView) accountBody {
	a := accountBody{
		Operator: v.Operator, BalanceKnown: v.Known, Reserved: v.Reserved.String(), SpentToday: v.SpentToday.String(),
		SMSSuspended: !v.SuspendedSince.IsZero(), SuspendedSince: v.SuspendedSince, SuspendedWhy: v.SuspendedWhy,
	}
	if v.Known {
		a.Available = v.Available.String()
	}
	if v.Ceiling != nil {
		c := v.Ceiling.String()
		a.DailyCeiling = &c
	}
	return a
}

// StatementContract names the columns that StatementCSV writes, and their version.
const StatementContract = "person/2"

// personLine is a line of a person's statement as CSV: a step of a Charge, or a
// Message without a Charge, which has none.
type personLine struct {
	*mobileid.PersonCharge

	step  *mobileid.PersonTransfer // nil: none
	words mobileid.Locale
}

// of is a value of the line's step; nothing where there is none.
func (l *personLine) of(value func(t *mobileid.PersonTransfer) any) any {
	if l.step == nil {
		return nil
	}
	return value(l.step)
}

var personColumns = []mobileid.Column[personLine]{
	{Name: "contract", Value: func(*personLine) any { return StatementContract }},
	{Name: "message_id", Value: func(l *personLine) any { return l.Message.String() }},
	{Name: "accepted_at", Value: func(l *personLine) any { return tashkent(l.Message.Time()) }},
	{Name: "client", Value: func(l *personLine) any { return l.Client }},
	{Name: "text_id", Value: func(l *personLine) any { return l.TextID }},
	{Name: "kind", Value: func(l *personLine) any { return mobileid.TextKind(l.TextID) }},
	{Name: "operator", Value: func(l *personLine) any { return l.Operator }},
	{Name: "state", Value: func(l *personLine) any { return string(l.State) }},
	{Name: "reason", Value: func(l *personLine) any { return l.Reason }},
	{Name: "parts", Value: func(l *personLine) any { return l.Parts }},
	{Name: "tariff_id", Value: func(l *personLine) any {
		if l.Tariff == 0 {
			return nil
		}
		return l.Tariff
	}},
	{Name: "act", Value: func(l *personLine) any { return l.Act }},
	{Name: "price_soum", Value: func(l *personLine) any { return l.Price }},
	{Name: "unit", Value: func(l *personLine) any { return l.Unit }},
	{Name: "amount_soum", Value: func(l *personLine) any { return l.Amount }},
	{Name: "charging", Value: func(l *personLine) any { return string(l.Charging) }},
	{Name: "charge", Value: func(l *personLine) any { return string(l.Charge) }},
	{Name: "net_soum", Value: func(l *personLine) any { return l.Net }},
	{Name: "step", Value: func(l *personLine) any { return l.of(func(t *mobileid.PersonTransfer) any { return t.Step }) }},
	{Name: "step_at", Value: func(l *personLine) any { return l.of(func(t *mobileid.PersonTransfer) any { return tashkent(t.At) }) }},
	{Name: "step_kind", Value: func(l *personLine) any { return l.of(func(t *mobileid.PersonTransfer) any { return string(t.Kind) }) }},
	{Name: "step_why", Value: func(l *personLine) any { return l.of(func(t *mobileid.PersonTransfer) any { return t.Why }) }},
	{Name: "step_words", Value: func(l *personLine) any {
		return l.of(func(t *mobileid.PersonTransfer) any { return mobileid.TransferWords(t.Kind, t.Why, l.words) })
	}},
	{Name: "held_soum", Value: func(l *personLine) any { return l.of(func(t *mobileid.PersonTransfer) any { return t.Held }) }},
	{Name: "taken_soum", Value: func(l *personLine) any { return l.of(func(t *mobileid.PersonTransfer) any { return t.Taken }) }},
}

// StatementColumns are the columns of a person's statement as CSV (RFC 4180), one
// line a step of a Charge. A Message without a Charge has one line, without a step.
var StatementColumns = mobileid.ColumnNames(personColumns)

// StatementCSV writes the Charges of a statement, with words of a language and with
// the header line when head is set.
func StatementCSV(out io.Writer, s mobileid.PersonStatement, words mobileid.Locale, head bool) error {
	w := csv.NewWriter(out)
	if head {
		_ = w.Write(StatementColumns) // an error is kept until the end
	}
	for i := range s.Charges {
		c := &s.Charges[i]
		for j := range c.Transfers {
			_ = w.Write(mobileid.CSVCells(personColumns, &personLine{c, &c.Transfers[j], words}))
		}
		if len(c.Transfers) == 0 {
			_ = w.Write(mobileid.CSVCells(personColumns, &personLine{c, nil, words}))
		}
	}
	w.Flush()
	return w.Error()
}

// tashkent writes a time with the zone of a statement's days.
func tashkent(at time.Time) string { return at.In(mobileid.Tashkent).Format(time.RFC3339Nano) }

// personStatement answers POST /v1/persons:statement.
func (g *Gateway) personStatement(w http.ResponseWriter, r *http.Request, client mobileid.Client) error {
	asCSV, err := wantsCSV(r.Header.Get("Accept"))
	if err != nil {
		return err
	}
	body, err := g.aboutPerson(w, r, client)
	if err != nil {
		return err
	}
	pinfl, q, words, err := parseStatement(body)
	if err != nil {
		return err
	}
	if err := g.accepter.spend(r.Context(), client); err != nil {
		return err
	}
	q.Person, q.Limit = g.accepter.deps.Pseudonyms.Person(pinfl), StatementPage
	s, err := g.deps.Registry.PersonStatement(r.Context(), q)
	if err != nil {
		return err
	}
	// Whoever asks us keeps who looked at what; that somebody did is a fact of ours.
	g.log.InfoContext(r.Context(), "a person's charges were read", "client", client.ID, "trace_id", recordOf(r).trace.id())
	words = cmp.Or(words, s.Locale, mobileid.LocaleEn)
	h := w.Header()
	h.Set("Content-Language", string(words))
	if !asCSV {
		return writeJSON(w, http.StatusOK, NewStatementBody(s, words))
	}
	h.Set("Content-Type", "text/csv; charset=utf-8; header=present")
	h.Set("Cache-Control", "no-store")
	if s.More {
		h.Set("Next-Page-Token", s.Charges[len(s.Charges)-1].Message.String())
	}
	w.WriteHeader(http.StatusOK)
	_ = StatementCSV(w, s, words, true) // a client that has left is nobody's error
	return nil
}

// wantsCSV reads the one header that says so: the first of both types in it.
func wantsCSV(accept string) (bool, error) {
	if accept == "" {
		return false, nil
	}
	for part := range strings.SplitSeq(accept, ",") {
		media, _, _ := strings.Cut(part, ";")
		switch strings.ToLower(strings.TrimSpace(media)) {
		case "text/csv":
			return true, nil
		case "application/json", "application/*", "*/*":
			return false, nil
		}
	}
	return false, mobileid.Invalid("Accept", "accept_unknown", "the answer is application/json or text/csv")
}

// dailyCeiling answers POST /v1/persons:dailyCeiling. It sets a value, so it may be
// repeated and needs no Idempotency-Key.
func (g *Gateway) dailyCeiling(w http.ResponseWriter, r *http.Request, client mobileid.Client) error {
	body, err := g.aboutPerson(w, r, client)
	if err != nil {
		return err
	}
	pinfl, ceiling, err := parseCeiling(body)
	if err != nil {
		return err
	}
	if err := g.accepter.spend(r.Context(), client); err != nil {
		return err
	}
	v, err := g.deps.Registry.SetDailyCeiling(r.Context(), g.accepter.deps.Pseudonyms.Person(pinfl), ceiling)
	if err != nil {
		return err
	}
	g.log.InfoContext(r.Context(), "a person's daily ceiling was set", "client", client.ID, "trace_id", recordOf(r).trace.id(), "none", ceiling == nil)
	return writeJSON(w, http.StatusOK, newAccountBody(v))
}

// aboutPerson reads the body of a request whose answer depends on a person, his money
// or his number: it is for clients that see the truth.
func (g *Gateway) aboutPerson(w http.ResponseWriter, r *http.Request, client mobileid.Client) ([]byte, error) {
	if client.Mode == mobileid.ModeTest {
		return nil, testMode()
	}
	if client.Disclosure != mobileid.DisclosureFull {
		return nil, &mobileid.Error{
			Kind: mobileid.KindForbidden, Code: "disclosure_blind", Message: "what depends on a person is told to clients whose disclosure is full",
		}
	}
	return readBody(w, r)
}

func parseStatement(body []byte) (pinfl mobileid.PINFL, q mobileid.StatementQuery, words mobileid.Locale, err error) {
	var person, from, until, token, locale string
	err = decodeObject(body, map[string]field{
		"pinfl": text("pinfl", &person), "from": text("from", &from), "until": text("until", &until), "page_token": text("page_token", &token),
		"locale": text("locale", &locale),
	})
	if err != nil {
		return pinfl, q, "", err
	}
	if pinfl, err = parsePINFL(person); err != nil {
		return pinfl, q, "", err
	}
	if err := checkLocale(locale); err != nil {
		return pinfl, q, "", err
	}
	for _, f := range []struct {
		name, text string
		to         *time.Time
	}{{"from", from, &q.From}, {"until", until, &q.Until}} {
		if f.text == "" {
			continue
		}
		at, err := time.Parse(time.RFC3339, f.text)
		if err != nil || at.Before(earliest) || at.After(latest) {
			return pinfl, q, "", mobileid.Invalid(f.name, "time_format", "a time is RFC 3339 with its zone, in this century: 2026-11-23T09:00:00Z")
		}
		*f.to = at
	}
	if !q.Until.IsZero() && !q.Until.After(q.From) {
		return pinfl, q, "", mobileid.Invalid("until", "time_order", "until is after from")
	}
	if token != "" {
		id, err := mobileid.ParseID(token)
		if err != nil || id.Kind() != mobileid.KindMessage {
			return pinfl, q, "", mobileid.Invalid("page_token", "page_token_format", "not the next_page_token of an answer")
		}
		q.Before = id
	}
	return pinfl, q, mobileid.Locale(locale), nil
}

// Times of a query are of this system's life.
var (
	earliest = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	latest   = time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)
)

func parseCeiling(body []byte) (pinfl mobileid.PINFL, ceiling *mobileid.Money, err error) {
	var person string
	said := false
	err = decodeObject(body, map[string]field{
		"pinfl": text("pinfl", &person),
		"amount": func(raw json.RawMessage) error {
			said = true
			if string(raw) == "null" {
				return nil
			}
			s, err := readString("amount", raw, maxValue)
			if err != nil {
				return err
			}
			m, err := mobileid.ParseMoney(s)
			if err != nil || m > maxCeiling {
				return mobileid.Invalid("amount", "money_format", "an amount is soum with at most two decimals, up to 10000000.00: \"120.50\"; null takes the ceiling away")
			}
			ceiling = &m
			return nil
		},
	})
	if err != nil {
		return pinfl, nil, err
	}
	if pinfl, err = parsePINFL(person); err == nil && !said {
		err = missing("amount") // to forget it must not take the ceiling away
	}
	return pinfl, ceiling, err
}

// maxCeiling is more than anybody's SMS cost in a day; above it stands a slip of
// the pen.
const maxCeiling mobileid.Money = 10_000_000_00
