package page

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"mobileid/internal/mobileid"
)

// fakeSystem is a scripted system behind the page: it answers /v1 as the
// gateway would and lets a request walk its hops by the clock. It stands in
// for other rooms, so that what is tested here is the page alone.
type fakeSystem struct {
	ids   mobileid.IDKey
	pace  time.Duration // between two hops
	code  string
	mu    sync.Mutex
	runs  map[mobileid.ID]*fakeRun
	feed  map[chan HandsetEvent]struct{}
	reads int // Kafka records asked for
	// waits holds a Message from its end until its row has been read once: on a
	// busy machine the page would miss the sealed text.
	waits bool

	breaks Controls // nil: nothing can be broken

	granted [2]mobileid.Money // to each person
	stopped [2]time.Time      // since when his SMS are; zero: they are not
}

type fakeRun struct {
	id, message mobileid.ID
	person      int
	at          time.Time
	notice      bool
	confirmedAt time.Time
	endedAs     mobileid.ChallengeState // instead of pending
	tries       int
	wire        []HandsetEvent
	seen        bool // its row was read before its end
	broke       bool // the money was out
	reversed    bool // its money was given back
}

const (
	fakePINFL  = "31405806440024" // synthetic
	fakeNumber = "998901234567"
	poorPINFL  = "41202916310019" // synthetic
	poorNumber = "998901000002"
	fakePrice  = mobileid.Money(120_00)
	opID       = "7f3a01c9"
)

func newFake(t testing.TB, pace time.Duration) *fakeSystem {
	t.Helper()
	ids, err := mobileid.NewIDKey([]byte("a key for the page's tests"))
	if err != nil {
		t.Fatal(err)
	}
	return &fakeSystem{
		ids: ids, pace: pace, code: "482913",
		runs: map[mobileid.ID]*fakeRun{}, feed: map[chan HandsetEvent]struct{}{},
		granted: [2]mobileid.Money{50_000_00, 2 * fakePrice},
	}
}

func (f *fakeSystem) config(addr string) Config {
	return Config{
		Addr:     addr,
		Purposes: []Choice{{"sign_in", "Sign in"}, {"permit_access", "Permit data access"}},
		Locales:  []Choice{{"uz-Latn", "Oʻzbekcha"}, {"ru", "Русский"}, {"en", "English"}},
		Notice:   Notice{TextID: "notice.data_access", Slots: map[string]string{"system": "tax"}, NowSlot: "at"},
		Engine: Engine{
			Postgres: "PostgreSQL 15.18", Kafka: "kfake (Kafka protocol over TCP)", Redis: "miniredis",
			SMSC: "smscsim (SMPP 3.4)", Version: "mobileid dev",
		},
	}
}

func (f *fakeSystem) deps() Deps {
	return Deps{Tokens: f, Records: f, Registry: f, Handsets: f, Accounts: f, Controls: f.breaks, Persons: func() []Person {
		return []Person{
			{"Person 1", fakePINFL, maskedTo(fakeNumber), "Beeline", ""},
			{"Person 2", poorPINFL, maskedTo(poorNumber), "Beeline", "money for two messages"},
			{"Person 3", "60911040000040", "", "", "no number bound"},
		}
	}}
}

func (f *fakeSystem) Token(context.Context) (Token, error) {
	return Token{"eyJhbGciOiJFUzI1NiIsImtpZCI6ImRlbW8ifQ.ZXhhbXBsZQ.c2lnbmF0dXJl", "oneid", time.Now().Add(time.Hour)}, nil
}

func (f *fakeSystem) begin(kind mobileid.IDKind, key string) *fakeRun {
	return f.beginFor(0, kind, key)
}

func (f *fakeSystem) beginFor(person int, kind mobileid.IDKind, key string) *fakeRun {
	at := time.Now()
	number := [2]string{fakeNumber, poorNumber}[person]
	id := f.ids.Make(kind, "oneid", key, at)
	r := &fakeRun{id: id, message: id, person: person, at: id.Time(), notice: kind == mobileid.KindMessage}
	if !r.notice {
		r.message = f.ids.Derive(mobileid.KindMessage, "oneid", id, 1)
	}
	text := f.code + " - tizimga kirish kodi. 5 daqiqa amal qiladi. Uni hech kimga aytmang."
	if r.notice {
		text = "Soliq xizmati maʼlumotlaringizdan foydalandi: 23.11.2026 17:05."
	}
	pdu := func(hop int, kind PDUKind, body string, fields ...Field) {
		raw, _ := hex.DecodeString("0000008c000000040000000000000007000101" + hex.EncodeToString([]byte(body)))
		e := HandsetEvent{
			At: r.at.Add(time.Duration(hop)*f.pace + 310*time.Microsecond), Kind: kind, To: number, From: "MobileID",
			OperatorID: opID, Raw: raw, Fields: append([]Field{{"sequence_number", "7"}}, fields...),
		}
		if kind == PDUSubmit {
			e.Text = text
		}
		r.wire = append(r.wire, e)
	}
	if f.spend(r) {
		return r
	}
	pdu(5, PDUSubmit, text, Field{"command_id", "submit_sm"}, Field{"destination_addr", number},
		Field{"registered_delivery", "1"}, Field{"validity_period", "000000000458000R"}, Field{"short_message", text})
	pdu(6, PDUResp, opID, Field{"command_id", "submit_sm_resp"}, Field{"command_status", "0x00000000 ESME_ROK"}, Field{"message_id", opID})
	pdu(8, PDUReceipt, "id:"+opID+" stat:DELIVRD err:000", Field{"command_id", "deliver_sm"}, Field{"esm_class", "0x04"})
	pdu(8, PDUReceiptAck, "", Field{"command_id", "deliver_sm_resp"})
	return r
}

// spend begins a run and says whether the money was out for it: then nothing is
// sent, and the person's SMS are stopped.
func (f *fakeSystem) spend(r *fakeRun) (broke bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.left(r.person) < fakePrice {
		r.broke, r.endedAs = true, mobileid.ChallengeNoFunds
		f.stopped[r.person] = r.at
	}
	f.runs[r.id] = r
	return r.broke
}

// giveBack reverses what was charged; the balances stay as they are.
func (f *fakeSystem) giveBack() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range f.runs {
		r.reversed = true
	}
}

// left is what a person can still spend.
func (f *fakeSystem) left(person int) mobileid.Money {
	left := f.granted[person]
	for _, r := range f.runs {
		if r.person == person && !r.broke {
			left -= fakePrice
		}
	}
	return left
}

// Accounts has none for Person 3, who has no number.
func (f *fakeSystem) Accounts(context.Context) ([]*mobileid.SubscriberView, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := make([]*mobileid.SubscriberView, 3)
	for i, since := range f.stopped {
		v := &mobileid.SubscriberView{Operator: "beeline", Known: true, Available: f.left(i), SuspendedSince: since}
		for _, r := range f.runs {
			if r.person == i && !r.broke && time.Since(r.at) < 7*f.pace {
				v.Reserved += fakePrice
			}
		}
		if !since.IsZero() {
			v.SuspendedWhy, v.ProbeAt = mobileid.SuspendedForBalance, since.Add(time.Minute)
		}
		out[i] = v
	}
	return out, nil
}

// TopUp lets the money come at once.
func (f *fakeSystem) TopUp(_ context.Context, person int, amount mobileid.Money) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if person >= len(f.granted) {
		return &mobileid.Error{Kind: mobileid.KindNotFound, Code: "unbound"}
	}
	f.granted[person] += amount
	f.stopped[person] = time.Time{}
	return nil
}

// deliver sends a run's PDUs to the subscribers as their time comes.
func (f *fakeSystem) deliver(ctx context.Context, r *fakeRun) {
	for _, e := range r.wire {
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Until(e.At)):
		}
		f.send(e)
	}
}

func (f *fakeSystem) send(e HandsetEvent) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for c := range f.feed {
		select {
		case c <- e:
		default:
		}
	}
}

func (f *fakeSystem) Subscribe() (<-chan HandsetEvent, func()) {
	c := make(chan HandsetEvent, 16)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.feed[c] = struct{}{}
	return c, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.feed, c)
	}
}

func (f *fakeSystem) Exchange(_ context.Context, operatorIDs []string) ([]HandsetEvent, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []HandsetEvent
	for _, r := range f.runs {
		for _, e := range r.wire {
			if len(operatorIDs) == 1 && operatorIDs[0] == r.message.String() && time.Now().After(e.At) {
				out = append(out, e)
			}
		}
	}
	return out, nil
}

func (f *fakeSystem) Record(_ context.Context, ref mobileid.RecordRef) (Record, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reads++
	for _, r := range f.runs {
		if ref.Topic == mobileid.TopicOTPRequests || ref.Topic == mobileid.TopicNotificationRequests {
			return Record{
				Time: r.at.Add(f.pace), Key: []byte("5g8ou1m2p3k4a6q7r8s9t0u1v2"),
				Headers: []Field{{"ce_id", r.id.String()}, {"ce_type", mobileid.TypeChallengeRequested}},
				Value:   fmt.Appendf(nil, `{"id":%q,"client":"oneid","purpose":"sign_in"}`, r.id),
			}, nil
		}
		return Record{Time: r.at.Add(3 * f.pace), Key: []byte("5g8ou1m2"), Value: fmt.Appendf(nil, `{"id":%q}`, r.message)}, nil
	}
	return Record{}, errors.New("no such record")
}

func (f *fakeSystem) Explain(_ context.Context, id mobileid.ID) ([]mobileid.Step, error) {
	return []mobileid.Step{
		{At: id.Time(), Hop: "edge", What: "accepted from oneid"},
		{At: id.Time().Add(f.pace), Hop: "kafka", What: "otp.requests[3]@17"},
	}, nil
}

func (f *fakeSystem) Counts(context.Context) (Counts, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	c := Counts{Accepted: int64(len(f.runs))}
	for _, r := range f.runs {
		if time.Since(r.at) > 9*f.pace && !r.broke {
			c.Delivered++
			c.Charged += 12000
		}
		if !r.confirmedAt.IsZero() {
			c.Confirmed++
		}
	}
	return c, nil
}

func (f *fakeSystem) Rows(_ context.Context, id mobileid.ID) (Rows, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	r := f.runs[id]
	if r == nil {
		return Rows{}, &mobileid.Error{Kind: mobileid.KindNotFound, Code: "not_found"}
	}
	now := time.Now()
	if last := r.at.Add(8 * f.pace); f.waits && !r.seen && now.After(last) {
		now = last
	}
	rows := f.rows(r, now)
	r.seen = r.seen || len(rows.Message) > 0
	return rows, nil
}

// rows are what Postgres would hold at that time, spelled as row_to_json does.
func (f *fakeSystem) rows(r *fakeRun, now time.Time) Rows {
	hop := func(n int) (any, bool) {
		at := r.at.Add(time.Duration(n) * f.pace)
		if now.Before(at) {
			return nil, false
		}
		return at.Format("2006-01-02T15:04:05.999999-07:00"), true
	}
	row := func(v any) json.RawMessage {
		raw, _ := json.Marshal(v)
		return raw
	}
	bytea := func(id mobileid.ID) string { return `\x` + hex.EncodeToString(id[:]) }
	var out Rows
	queued, ok := hop(2)
	if !ok {
		return out
	}
	topic := mobileid.TopicNotificationRequests
	lane := mobileid.LaneBulk
	if !r.notice {
		topic, lane = mobileid.TopicOTPRequests, mobileid.LaneOTP
		c := map[string]any{
			"id": bytea(r.id), "client": "oneid", "purpose": "sign_in", "state": "pending", "issued_at": queued,
			"message_id": bytea(r.message), "source_topic": topic, "source_partition": 3, "source_offset": 17,
			"wrong_tries": r.tries, "tries": 3, "ended_at": nil, "reason": "",
		}
		switch {
		case !r.confirmedAt.IsZero():
			c["state"], c["ended_at"] = "confirmed", r.confirmedAt
			out.Confirmation = row(map[string]any{"challenge_id": bytea(r.id), "binding_id": 1, "confirmed_at": r.confirmedAt})
		case r.endedAs != "":
			c["state"], c["ended_at"], c["reason"] = r.endedAs, queued, "balance"
		}
		out.Challenge = row(c)
	}
	m := map[string]any{
		"id": bytea(r.message), "client": "oneid", "lane": lane, "operator": "beeline", "state": "queued", "parts": 1,
		"sealed": `\x01a4c0` + strings.Repeat("5be19d", 30), "queued_at": queued, "published_at": queued, "amount": 12000,
		"source_topic": topic, "source_partition": 3, "source_offset": 17, "lane_partition": -1, "lane_offset": -1,
	}
	if at, ok := hop(4); ok && r.broke {
		m["state"], m["ended_at"], m["reason"], m["sealed"] = "no_funds", at, "balance", nil
		out.Message = row(m)
		return out
	}
	if at, ok := hop(4); ok {
		m["state"], m["admitted_at"], m["lane_partition"], m["lane_offset"] = "admitted", at, 1, 42
		transfers := []any{map[string]any{"message_id": bytea(r.message), "step": 1, "kind": "pending", "why": "admitted", "held": 12000, "taken": 0, "at": at}}
		acc := map[string]any{"id": 1, "owner": "subscriber:…:beeline", "granted": 5000000, "pending": 12000, "posted": 0}
		if at, ok := hop(7); ok {
			m["state"], m["submitted_at"] = "sent", at
			acc["pending"], acc["posted"] = 0, 12000
			transfers = append(transfers, map[string]any{"message_id": bytea(r.message), "step": 2, "kind": "posted", "why": "answer", "held": -12000, "taken": 12000, "at": at})
			if r.reversed {
				transfers = append(transfers, map[string]any{"message_id": bytea(r.message), "step": 3, "kind": "reversed", "why": "receipt", "held": 0, "taken": -12000, "at": at})
				acc["posted"] = 0
			}
			out.Parts = row([]any{map[string]any{
				"message_id": bytea(r.message), "part": 1, "operator_id": r.message.String(), "sequence": 7, "status": 0, "answered_at": at,
			}})
		}
		out.Transfers, out.Account = row(transfers), row(acc)
	}
	if at, ok := hop(9); ok {
		m["state"], m["ended_at"], m["sealed"] = "delivered", at, nil
		out.Receipts = row([]any{map[string]any{"part": 1, "stat": "DELIVRD", "err": "000", "received_at": at}})
	}
	out.Message = row(m)
	return out
}

// api answers /v1 like the gateway, as far as the page needs it.
func (f *fakeSystem) api(ctx context.Context) http.Handler {
	mux := http.NewServeMux()
	accept := func(kind mobileid.IDKind) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			var body struct{ PINFL string }
			_ = json.NewDecoder(r.Body).Decode(&body)
			person := 0
			if body.PINFL == poorPINFL {
				person = 1
			}
			run := f.beginFor(person, kind, r.Header.Get("Idempotency-Key"))
			go f.deliver(ctx, run)
			writeJSON(w, http.StatusAccepted, map[string]any{"id": run.id, "state": "accepted", "accepted_at": run.at})
		}
	}
	mux.HandleFunc("POST /v1/challenges", accept(mobileid.KindChallenge))
	mux.HandleFunc("POST /v1/notifications", accept(mobileid.KindMessage))
	mux.HandleFunc("GET /v1/challenges/{id}", func(w http.ResponseWriter, r *http.Request) {
		id, _ := mobileid.ParseID(r.PathValue("id"))
		f.mu.Lock()
		run := f.runs[id]
		state, sms := "accepted", ""
		if time.Since(run.at) > 2*f.pace {
			state, sms = "pending", "queued"
		}
		if time.Since(run.at) > 9*f.pace {
			sms = "delivered"
		}
		if !run.confirmedAt.IsZero() {
			state = "confirmed"
		}
		if run.broke && state == "pending" {
			state, sms = "no_funds", "no_funds"
		}
		f.mu.Unlock()
		writeJSON(w, http.StatusOK, map[string]any{"id": id, "state": state, "message": map[string]any{"state": sms}, "confirmed_at": run.confirmedAt})
	})
	mux.HandleFunc("POST /v1/challenges/{id}/verify", func(w http.ResponseWriter, r *http.Request) {
		id, _ := mobileid.ParseID(r.PathValue("id"))
		var body struct{ Code string }
		_ = json.NewDecoder(r.Body).Decode(&body)
		f.mu.Lock()
		defer f.mu.Unlock()
		run := f.runs[id]
		if body.Code != f.code {
			run.tries++
			writeJSON(w, http.StatusUnprocessableEntity, map[string]any{"code": "code_wrong", "title": "Wrong code", "tries_left": 3 - run.tries})
			return
		}
		run.confirmedAt = time.Now()
		writeJSON(w, http.StatusOK, map[string]any{"id": id, "state": "confirmed", "confirmed_at": run.confirmedAt})
	})
	return mux
}

// serve runs page and API on one origin of 127.0.0.1 until the test ends.
func (f *fakeSystem) serve(t *testing.T) (base string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	cfg := f.config(l.Addr().String())
	cfg.Done = t.Context().Done()
	mux := http.NewServeMux()
	mux.Handle("/", New(cfg, f.deps()))
	mux.Handle("/v1/", f.api(t.Context()))
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = srv.Serve(l)
	}()
	t.Cleanup(func() {
		_ = srv.Close()
		<-done
	})
	return "http://" + l.Addr().String()
}
