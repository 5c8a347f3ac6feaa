package page

import (
	"context"
	"embed"
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"mobileid/internal/mobileid"
)

//go:embed assets
var assets embed.FS

// Config is what the page needs to know and cannot ask for.
type Config struct {
	// Addr is the host:port the demo listens on, for example
	// "127.0.0.1:8080". Requests for another Host are refused with 421;
	// "localhost" and "[::1]" with the same port are the same host.
	Addr     string
	Purposes []Choice // what a code may be asked for
	Locales  []Choice // languages of the texts
	Notice   Notice   // what "Send a notice" asks for
	Engine   Engine
	// NoHandset says that the texts go to real phones: none is drawn.
	NoHandset bool
	Done      <-chan struct{}  // closed when the program stops: ends the event streams; nil = never
	Log       *slog.Logger     // nil = silent
	Now       func() time.Time // nil = time.Now
}

// Choice is one line of a list: the value for the API and the words for people.
type Choice struct {
	ID    string `json:"id"`
	Label string `json:"label"`
}

// Notice names a text of the catalogue and its slots. NowSlot names the slot
// that the page fills with the present time (RFC 3339, UTC); "" = none.
type Notice struct {
	TextID  string            `json:"text_id"`
	Slots   map[string]string `json:"slots,omitempty"`
	NowSlot string            `json:"now_slot,omitempty"`
}

// Engine says what the demo runs on, each with its version where it has one,
// for example "PostgreSQL 15.18".
type Engine struct {
	Postgres string `json:"postgres"`
	Kafka    string `json:"kafka"`
	Redis    string `json:"redis"`
	SMSC     string `json:"smsc"`
	Version  string `json:"version"` // of this program, with its name
}

// Person is one of the demo's synthetic persons.
type Person struct {
	Label    string // "Person 1"
	PINFL    string // synthetic; the browser's request needs it
	Masked   string // MSISDN.Masked of the bound number; "" when there is none
	Operator string // for people, for example "Beeline"; "" without a number
	Note     string // what is special about this one, for example "no balance"; may be empty
}

// Token is a live bearer token of the demo's relying party.
type Token struct {
	Value   string
	Client  string // whose it is
	Expires time.Time
}

// Record is a Kafka record as it was read back from the broker.
type Record struct {
	Time    time.Time
	Key     []byte
	Headers []Field // in the record's order
	Value   []byte
}

// Field is a name and its value.
type Field struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Rows are what Postgres holds about one challenge or Message: each one
// row_to_json of the row, the columns named as in registry/migrations; nil
// when there is no such row (yet). Transfers, Parts and Receipts are JSON arrays. No row
// with a clear PINFL or number (bindings) belongs here.
type Rows struct {
	Challenge    json.RawMessage
	Message      json.RawMessage
	Account      json.RawMessage
	Confirmation json.RawMessage
	Transfers    json.RawMessage // of the Message's Charge
	Parts        json.RawMessage // message_parts of the Message
	Receipts     json.RawMessage // receipts of the Message
}

// PDUKind is what the simulated operator saw pass.
type PDUKind string

// The kinds.
const (
	PDUSubmit     PDUKind = "submit"      // submit_sm, from us
	PDUResp       PDUKind = "resp"        // submit_sm_resp, the operator's answer
	PDUReceipt    PDUKind = "receipt"     // deliver_sm with a delivery receipt
	PDUReceiptAck PDUKind = "receipt_ack" // deliver_sm_resp, from us
)

// HandsetEvent is one PDU at the simulated operator. A submit that was taken is
// also what appears on the handset, which is why Text may be shown: it is the
// simulator's.
type HandsetEvent struct {
	At         time.Time
	Kind       PDUKind
	To         string  // destination_addr, digits
	From       string  // source_addr
	Text       string  // decoded short_message of a submit; "" otherwise
	OperatorID string  // message_id of the answer; on every kind once it is known
	Status     uint32  // command_status of an answer, on a submit that of its own
	Fields     []Field // the decoded PDU, in wire order
	Raw        []byte  // the PDU as it stood on the wire
}

// onHandset reports whether a person reads it: what the operator refused is on
// no handset.
func (e HandsetEvent) onHandset() bool { return e.Kind == PDUSubmit && e.Status == 0 }

// Counts are the totals since the demo started.
type Counts struct {
	Accepted  int64          // requests answered 202
	Delivered int64          // Messages delivered
	Confirmed int64          // challenges confirmed
	Charged   mobileid.Money // posted
	// Of the operator's ground truth; 0 without Controls.
	Lost    int64    // SMS that the books call sent and the operator never had, and Messages without an end
	Doubled int64    // SMS beyond the first of one text
	Broken  Breakage // Controls.Broken
}

// Tokens issues tokens of the demo's relying party.
type Tokens interface {
	Token(ctx context.Context) (Token, error)
}

// Records reads one record back from Kafka.
type Records interface {
	Record(ctx context.Context, ref mobileid.RecordRef) (Record, error)
}

// Registry reads the record of truth.
type Registry interface {
	// Rows returns what is stored about a challenge (with its Message) or a
	// Message; all nil when nothing is stored yet.
	Rows(ctx context.Context, id mobileid.ID) (Rows, error)
	// Explain returns the masked timeline that `mobileid explain` prints.
	Explain(ctx context.Context, id mobileid.ID) ([]mobileid.Step, error)
	Counts(ctx context.Context) (Counts, error)
}

// Handsets is the simulated operator's side.
type Handsets interface {
	// Subscribe gives every PDU from now on. The channel is bounded and the
	// sender never waits for it: a subscriber that falls behind loses events or
	// has its channel closed. cancel is called once.
	Subscribe() (events <-chan HandsetEvent, cancel func())
	// Exchange returns the PDUs of the messages the operator knows by these
	// ids (message_parts.operator_id, normalised), oldest first.
	Exchange(ctx context.Context, operatorIDs []string) ([]HandsetEvent, error)
}

// Deps are the page's ports; all are required but Persons, Accounts and Controls.
type Deps struct {
	Tokens   Tokens
	Persons  func() []Person
	Records  Records
	Registry Registry
	Handsets Handsets
	Accounts Accounts // nil: the page tells nothing of money
	Controls Controls // nil: nothing can be broken, and nobody knows what was lost
}

const (
	readTimeout = 5 * time.Second // bounds what one question of the browser may cost
	maxSeen     = 256             // Kafka records remembered
)

type server struct {
	cfg  Config
	deps Deps
	seat chan struct{} // one for each open event stream

	mu   sync.Mutex
	seen map[mobileid.RecordRef]Record // Kafka records read lately; at most maxSeen
}

// New returns the handler for "/" and "/demo/".
func New(cfg Config, deps Deps) http.Handler {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	s := &server{cfg: cfg, deps: deps, seat: make(chan struct{}, maxStreams), seen: map[mobileid.RecordRef]Record{}}
	mux := http.NewServeMux()
	mux.Handle("GET /{$}", asset("index.html", "text/html; charset=utf-8"))
	mux.Handle("GET /demo/style.css", asset("style.css", "text/css; charset=utf-8"))
	mux.Handle("GET /demo/app.js", asset("app.js", "text/javascript; charset=utf-8"))
	mux.HandleFunc("GET /demo/setup", s.setup)
	mux.HandleFunc("GET /demo/token", s.token)
	mux.HandleFunc("GET /demo/trace/{id}", s.trace)
	mux.HandleFunc("GET /demo/messages", s.messages)
	mux.HandleFunc("GET /demo/events", s.events)
	mux.HandleFunc("POST /demo/break/{what}", s.breakIt)
	mux.HandleFunc("POST /demo/top-up/{n}", s.topUpOf)
	return guard(cfg.Addr, mux)
}

// asset serves an embedded file. That it is embedded is checked at compile
// time by the tests, not by the reader of the page.
func asset(name, contentType string) http.Handler {
	body, err := fs.ReadFile(assets, "assets/"+name)
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if err != nil {
			http.Error(w, "not embedded: "+name, http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", contentType)
		_, _ = w.Write(body)
	})
}

type personJSON struct {
	Label    string `json:"label"`
	PINFL    string `json:"pinfl"`
	Masked   string `json:"masked"`
	Operator string `json:"operator"`
	Note     string `json:"note,omitempty"`
}

func (s *server) setup(w http.ResponseWriter, _ *http.Request) {
	persons := []personJSON{}
	if s.deps.Persons != nil {
		for _, p := range s.deps.Persons() {
			persons = append(persons, personJSON(p))
		}
	}
	writeJSON(w, http.StatusOK, map[string]any{
		"persons": persons, "purposes": s.cfg.Purposes, "locales": s.cfg.Locales,
		"notice": s.cfg.Notice, "engine": s.cfg.Engine, "handset": !s.cfg.NoHandset,
		"controls": s.deps.Controls != nil,
	})
}

func (s *server) token(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), readTimeout)
	defer cancel()
	t, err := s.deps.Tokens.Token(ctx)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	writeJSON(w, http.StatusOK, map[string]any{
		"access_token": t.Value, "client": t.Client, "expires_at": t.Expires.UTC(),
	})
}

// fail answers what did not work. The browser gets the stable code;
// the cause goes to our log.
func (s *server) fail(w http.ResponseWriter, r *http.Request, err error) {
	if errors.Is(err, context.Canceled) && r.Context().Err() != nil {
		return // the browser has gone
	}
	status := http.StatusInternalServerError
	switch mobileid.KindOf(err) {
	case mobileid.KindNotFound:
		status = http.StatusNotFound
	case mobileid.KindUnavailable:
		status = http.StatusServiceUnavailable
	default:
		if errors.Is(err, context.DeadlineExceeded) {
			status = http.StatusServiceUnavailable
		}
		s.cfg.Log.Warn("the demo page did not answer as asked", "route", r.Pattern, "code", mobileid.CodeOf(err))
	}
	writeJSON(w, status, map[string]string{"code": mobileid.CodeOf(err)})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		http.Error(w, "the answer cannot be written as JSON", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n'))
}
