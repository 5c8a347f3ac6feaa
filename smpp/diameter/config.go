package diameter

import (
	"context"
	"log/slog"
	"net"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"mobileid/internal/mobileid"
)

// Mode is how a Message is charged (TS 32.299, 5.2.2).
type Mode string

// The modes.
const (
	// ECUR reserves, and tells later what was used: CCR INITIAL and TERMINATION.
	ECUR Mode = "ecur"
	// IEC debits at once and refunds what was not used: CCR EVENT. A Message that
	// is in doubt to the end has been paid.
	IEC Mode = "iec"
)

// FailureHandling is what becomes of a reservation without an answer
// (Credit-Control-Failure-Handling, RFC 8506, 8.14). What an answer of the
// server says is in force from then on, for all sessions: we reserve with one
// request, so a value for the rest of its session would never be used.
type FailureHandling string

// The values, and what they are here. None of them makes a refusal of what is
// unknown.
const (
	// Continue: the other peer, then Unknown, and the caller may send on credit.
	Continue FailureHandling = "continue"
	// Terminate: no other peer, unless the request was surely not processed; then
	// UnknownHold.
	Terminate FailureHandling = "terminate"
	// RetryAndTerminate: the other peer, then UnknownHold.
	RetryAndTerminate FailureHandling = "retry_and_terminate"
)

// DebitFailure is the same for IEC (Direct-Debiting-Failure-Handling, RFC 8506,
// 8.15). The other peer is always asked: a debit can be told from its replay.
type DebitFailure string

// The values.
const (
	// TerminateOrBuffer: UnknownHold when the debit has surely not been made
	// (nothing was sent, or each peer said 3002, 3004 or 3005), else Unknown. The
	// caller asks again, which is the buffer.
	TerminateOrBuffer DebitFailure = "terminate_or_buffer"
	// DebitContinue: Unknown.
	DebitContinue DebitFailure = "continue"
)

// Peer is one Diameter node that we connect to: a charging server, or an agent
// in front of some.
type Peer struct {
	Name    string // of metrics and logs; the address when empty
	Address string // host:port
	// DestinationHost is the server behind it that requests are meant for; empty
	// leaves that to whoever routes the realm.
	DestinationHost string
}

// Service is what a kind of Message is for the charging system. 0 is not sent.
type Service struct {
	Identifier  uint32 // Service-Identifier (439)
	RatingGroup uint32 // Rating-Group (432)
}

// Dialer opens a connection to host:port.
type Dialer func(ctx context.Context, network, address string) (net.Conn, error)

// Config is how an operator's charging system wants to be asked. Zero values
// stand for the defaults named at the fields; those without one must be given.
type Config struct {
	// OriginHost names this process to the peers. A peer keeps one connection a
	// name, so each process of an operator has its own.
	OriginHost  string
	OriginRealm string
	// SessionHost begins each Session-Id. It is the same for all processes of an
	// operator, or one would reserve again what another has reserved.
	SessionHost      string
	DestinationRealm string
	ServiceContext   string // "8.32274@3gpp.org": release 8 of TS 32.274
	Peers            []Peer // one or two, in the order of preference

	Mode            Mode            // ECUR
	FailureHandling FailureHandling // Continue
	DebitFailure    DebitFailure    // TerminateOrBuffer
	// PlainUnits puts the units into the request itself. Else they go within
	// Multiple-Services-Credit-Control, which is the only place that 3GPP has for
	// them (TS 32.299, 6.4.2), for one service too; servers that know RFC 8506
	// alone may want them plain.
	PlainUnits bool
	Services   map[string]Service // by kind; a kind without one is asked for by the context alone
	Sender     string             // alphanumeric originator that subscribers see; "" is not told

	// Tx is how long a peer may take for an answer: 3 s, not the RFC's 10, since a
	// code is worth nothing after that, and the other peer needs its time too.
	Tx time.Duration
	// Tw is the watchdog's interval (RFC 3539): 30 s, jitter of two seconds either
	// way, or of a tenth when that is less.
	Tw             time.Duration
	ConnectTimeout time.Duration // 5 s, for TCP and the exchange of capabilities
	Backoff        time.Duration // 1 s before a connection is tried again, doubling
	BackoffMax     time.Duration // 30 s
	Window         int           // 1000 requests without an answer; who comes after waits
	LateFor        time.Duration // 1 minute: how long an answer is waited for when its caller has gone

	// Late is told of the answer to a reservation, or a direct debit, that came
	// after its caller had gone. Who is told Yes has a reservation to settle. It is
	// called by one goroutine, one by one.
	Late func(id string, r Result)

	Dial     Dialer // TCP
	Log      *slog.Logger
	Registry prometheus.Registerer
	Watch    mobileid.Watch
}

func (c *Config) withDefaults() Config {
	out := *c
	d := func(have *time.Duration, otherwise time.Duration) {
		if *have == 0 {
			*have = otherwise
		}
	}
	d(&out.Tx, 3*time.Second)
	d(&out.Tw, 30*time.Second)
	d(&out.ConnectTimeout, 5*time.Second)
	d(&out.Backoff, time.Second)
	d(&out.BackoffMax, 30*time.Second)
	d(&out.LateFor, time.Minute)
	if out.ServiceContext == "" {
		out.ServiceContext = "8.32274@3gpp.org"
	}
	if out.Mode == "" {
		out.Mode = ECUR
	}
	if out.FailureHandling == "" {
		out.FailureHandling = Continue
	}
	if out.DebitFailure == "" {
		out.DebitFailure = TerminateOrBuffer
	}
	if out.Window == 0 {
		out.Window = 1000
	}
	if out.Dial == nil {
		out.Dial = (&net.Dialer{}).DialContext
	}
	if out.Log == nil {
		out.Log = slog.New(slog.DiscardHandler)
	}
	peers := make([]Peer, len(c.Peers))
	for i, p := range c.Peers {
		if p.Name == "" {
			p.Name = p.Address
		}
		peers[i] = p
	}
	out.Peers = peers
	return out
}
