package diameter

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/fiorix/go-diameter/v4/diam"

	"mobileid/internal/mobileid"
)

// state is that of the connection to a peer (RFC 3539, 3.4.1).
type state string

const (
	down    state = "down"
	okay    state = "okay"
	suspect state = "suspect" // silent for two intervals: nothing new is sent
	reopen  state = "reopen"  // connected again; used when no other peer is there
	leaving state = "leaving" // the peer, or we, said DPR
)

func states() []state { return []state{down, okay, suspect, reopen, leaving} }

const (
	// proofs are the watchdog answers that make a connection trusted again.
	proofs = 3
	// A peer that has let muteAfter requests in a row run into Tx is asked last for
	// muteFor, or until it answers one: it may answer the watchdog all the same.
	muteAfter = 3
	muteFor   = 30 * time.Second
	// leaveWithin is how long what is unanswered has when a peer goes, and how long
	// its answer to our DPR may take.
	leaveWithin = 2 * time.Second
)

var (
	errNotOurs     = errors.New("it has no application in common with us: want Auth-Application-Id 4 (credit control) from it")
	errHandshake   = errors.New("something else than an answer to our Capabilities-Exchange-Request came")
	errWatchdog    = errors.New("the watchdog was not answered")
	errPeerLeft    = errors.New("the peer said Disconnect-Peer-Request")
	errClientClose = errors.New("this client was closed")
)

// refusal is a CEA that is no success.
type refusal struct{ code uint32 }

func (e *refusal) Error() string {
	return fmt.Sprintf("Capabilities-Exchange-Answer says %d: compare origin_host and origin_realm with what the peer expects", e.code)
}

// peer keeps a connection to a Peer.
type peer struct {
	Peer

	client *Client
	loop   *mobileid.Loop

	mu      sync.Mutex
	state   state
	conn    *conn
	silent  int       // requests in a row that ran into Tx
	muteTil time.Time // asked last until then
}

// rank says how gladly a peer is used; negative: not at all.
func (p *peer) rank(now time.Time) (rank int, c *conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.conn == nil:
		return -1, nil
	case p.state == okay && now.Before(p.muteTil):
		return 1, p.conn
	case p.state == okay:
		return 2, p.conn
	case p.state == reopen:
		return 0, p.conn
	}
	return -1, nil
}

// wasSilent notes a request without an answer.
func (p *peer) wasSilent() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.silent++; p.silent >= muteAfter {
		p.muteTil = time.Now().Add(muteFor)
	}
}

// spoke notes an answer to a request.
func (p *peer) spoke() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.silent, p.muteTil = 0, time.Time{}
}

// become changes the state.
func (p *peer) become(s state, c *conn) {
	p.mu.Lock()
	was := p.state
	p.state, p.conn = s, c
	p.mu.Unlock()
	p.show()
	if was != s {
		p.client.cfg.Log.Info("charging peer", "peer", p.Name, "state", string(s), "was", string(was))
	}
}

func (p *peer) show() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range states() {
		v := 0.0
		if s == p.state {
			v = 1
		}
		p.client.metrics.state.WithLabelValues(p.Name, string(s)).Set(v)
	}
}

// run keeps the connection until ctx ends.
func (p *peer) run(ctx context.Context) {
	defer p.loop.Rest()
	pause := p.client.cfg.Backoff
	first := okay // a connection after one that was lost has to prove itself
	for ctx.Err() == nil {
		p.loop.Step()
		c, err := p.connect(ctx)
		if err == nil {
			p.count("up")
			began := time.Now()
			err = p.keep(ctx, c, first)
			first = reopen
			if time.Since(began) > p.client.cfg.Tw {
				pause = p.client.cfg.Backoff
			}
		} else {
			p.count(connectLabel(err))
		}
		p.become(down, nil)
		if ctx.Err() != nil {
			return
		}
		wait := jitter(pause)
		p.client.cfg.Log.Warn("charging peer is away", "peer", p.Name, "err", err, "again_in", wait)
		p.loop.Rest()
		sleep(ctx, wait)
		pause = min(2*pause, p.client.cfg.BackoffMax)
	}
}

func (p *peer) count(result string) {
	p.client.metrics.connects.WithLabelValues(p.Name, result).Inc()
}

func connectLabel(err error) string {
	if _, refused := errors.AsType[*refusal](err); refused {
		return "refused"
	}
	if errors.Is(err, errNotOurs) {
		return "no_application"
	}
	return "failed"
}

// connect makes a connection and exchanges capabilities.
func (p *peer) connect(ctx context.Context) (*conn, error) {
	cfg := &p.client.cfg
	ctx, cancel := context.WithTimeout(ctx, cfg.ConnectTimeout)
	defer cancel()
	nc, err := cfg.Dial(ctx, "tcp", p.Address)
	if err != nil {
		return nil, err
	}
	// Closing is what ends a read that waits.
	stop := context.AfterFunc(ctx, func() { _ = nc.Close() })
	firstHop := rand.Uint32()
	endToEnd := p.client.endToEnd()
	f, err := cfg.cer(nc.LocalAddr(), endToEnd)
	if err == nil {
		f.setHopByHop(firstHop)
		_, err = nc.Write(f)
	}
	r := newReader(nc)
	if err == nil {
		f, err = readFrame(r)
	}
	if err == nil {
		err = welcome(f, firstHop, endToEnd)
	}
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		_ = nc.Close()
		return nil, err
	}
	c := newConn(p, nc, firstHop+1)
	c.start(r)
	return c, nil
}

// welcome reads a CEA.
func welcome(f frame, hop, endToEnd uint32) error {
	if f.flags()&diam.RequestFlag != 0 || f.command() != diam.CapabilitiesExchange || f.hopByHop() != hop || f.endToEnd() != endToEnd {
		return errHandshake
	}
	switch c, err := readCapabilities(f); {
	case err != nil:
		return err
	case c.code != success:
		return &refusal{c.code}
	case !c.common:
		return errNotOurs
	}
	return nil
}

// sleep waits; it returns early when ctx ends.
func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// jitter is between three quarters and five quarters of d, so that processes
// that lost a peer together do not come back together.
func jitter(d time.Duration) time.Duration {
	return d*3/4 + rand.N(d/2+1)
}
