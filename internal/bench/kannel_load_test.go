package bench

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// kannelBacklog is how many Messages may wait in Kannel. There are always some,
// and the load does not take the processors from Kannel to pile up more.
const kannelBacklog = 5000

// kannelLoad asks Kannel to send, over HTTP connections that stay open. What it
// writes and reads of HTTP is the least there is, so that the load costs the
// machine little.
type kannelLoad struct {
	addr     string
	requests []string // whole requests, asked in turn
	operator func() (map[string]int, error)

	next, taken, refused atomic.Int64 // requests; those answered 202; all others
	arrived              atomic.Int64 // accepted by the operator
}

// load prepares the requests: the texts and numbers of our own rows.
func (k *kannel) load(b *testing.B, callback string) *kannelLoad {
	b.Helper()
	l := &kannelLoad{addr: k.sendsms, operator: k.counters}
	for n := range persons {
		q := url.Values{"username": {"bench"}, "password": {k.password}, "from": {"MobileID"}, "to": {number(n)[1:]}, "text": {bridgeText}}
		if k.receipts {
			q.Set("dlr-mask", "3") // delivered, and not delivered
			q.Set("dlr-url", callback)
		}
		l.requests = append(l.requests, "GET /cgi-bin/sendsms?"+q.Encode()+" HTTP/1.1\r\nHost: "+k.sendsms+"\r\n\r\n")
	}
	return l
}

// run asks over so many connections until ctx ends. The error says why nothing
// could be asked.
func (l *kannelLoad) run(ctx context.Context, connections int) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var all sync.WaitGroup
	all.Go(func() { l.follow(ctx, cancel) })
	for range connections {
		all.Go(func() {
			if err := l.ask(ctx); err != nil {
				cancel(err)
			}
		})
	}
	all.Wait()
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// follow keeps arrived by the operator's counters.
func (l *kannelLoad) follow(ctx context.Context, cancel context.CancelCauseFunc) {
	for ctx.Err() == nil {
		got, err := l.operator()
		if err != nil {
			cancel(err)
			return
		}
		l.arrived.Store(int64(got["submits"] - got["refused"]))
		pause(ctx, 20*time.Millisecond)
	}
}

// waiting is how many Messages Kannel has taken and the operator has not.
func (l *kannelLoad) waiting() int { return int(l.taken.Load() - l.arrived.Load()) }

// kannelTries is how often in a row a request may fail. Kannel closes
// connections that were idle for a while, and one may be in use again just then.
const kannelTries = 10

// ask asks over one connection at a time.
func (l *kannelLoad) ask(ctx context.Context) error {
	for failed := 0; ctx.Err() == nil; {
		n, err := l.askOver(ctx)
		if failed++; n > 0 {
			failed = 1
		}
		if failed >= kannelTries && ctx.Err() == nil {
			return fmt.Errorf("sendsms: %w", err)
		}
		pause(ctx, time.Millisecond)
	}
	return nil
}

// askOver asks until a connection or ctx ends, and says how often it was
// answered.
func (l *kannelLoad) askOver(ctx context.Context) (answered int, err error) {
	conn, err := net.Dial("tcp", l.addr)
	if err != nil {
		return 0, err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	defer conn.Close()
	for in := bufio.NewReader(conn); ctx.Err() == nil; {
		if l.waiting() >= kannelBacklog {
			pause(ctx, 5*time.Millisecond)
			continue
		}
		status, err := exchange(conn, in, l.requests[int(l.next.Add(1))%len(l.requests)])
		if err != nil {
			return answered, err
		}
		answered++
		if status == http.StatusAccepted {
			l.taken.Add(1)
			continue
		}
		l.refused.Add(1)
		pause(ctx, 5*time.Millisecond)
	}
	return answered, ctx.Err()
}

// exchange writes a request and reads its answer, whose body it drops.
func exchange(w io.Writer, in *bufio.Reader, request string) (status int, err error) {
	if _, err := io.WriteString(w, request); err != nil {
		return 0, err
	}
	first, length, err := head(in)
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(first, " ")
	code, _, _ := strings.Cut(rest, " ")
	if status, err = strconv.Atoi(code); err != nil {
		return 0, fmt.Errorf("not an answer of HTTP: %w", err)
	}
	_, err = in.Discard(length)
	return status, err
}

// head reads the first line and the headers, and of these Content-Length.
func head(in *bufio.Reader) (first string, length int, err error) {
	for n := 0; ; n++ {
		line, err := in.ReadString('\n')
		if err != nil {
			return "", 0, err
		}
		line = strings.TrimRight(line, "\r\n")
		if n == 0 {
			first = line
			continue
		}
		if line == "" {
			return first, length, nil
		}
		if name, value, _ := strings.Cut(line, ":"); strings.EqualFold(name, "Content-Length") {
			if length, err = strconv.Atoi(strings.TrimSpace(value)); err != nil {
				return "", 0, err
			}
		}
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// callbacks is who Kannel calls with delivery reports.
type callbacks struct {
	url   string
	calls atomic.Int64
}

// listen answers every call 200 until the bench ends.
func (c *callbacks) listen(b testing.TB) {
	b.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(b, err)
	c.url = "http://" + l.Addr().String() + "/report"
	var all sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	all.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { c.serve(ctx, conn) })
		}
	})
	b.Cleanup(func() {
		_ = l.Close()
		cancel()
		all.Wait()
	})
}

func (c *callbacks) serve(ctx context.Context, conn net.Conn) {
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	defer conn.Close()
	for in := bufio.NewReader(conn); ; {
		_, length, err := head(in)
		if err != nil {
			return
		}
		if _, err := in.Discard(length); err != nil {
			return
		}
		c.calls.Add(1)
		if _, err := io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"); err != nil {
			return
		}
	}
}

// TestTheLoadKeepsSomeWaitingAndNoMore has an operator who takes nothing, and a
// Kannel which closes each connection at its third request and refuses every
// fifth.
func TestTheLoadKeepsSomeWaitingAndNoMore(t *testing.T) {
	const connections, already = 4, kannelBacklog - 100
	ctx, cancel := context.WithCancel(t.Context())
	var asked, accepted atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		n := asked.Add(1)
		if n%3 == 0 {
			w.Header().Set("Connection", "close")
		}
		if n%5 == 0 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		accepted.Add(1)
		w.WriteHeader(http.StatusAccepted)
		_, _ = io.WriteString(w, "0: Accepted for delivery")
	}))
	defer s.Close()
	polls := 0
	l := &kannelLoad{
		addr: strings.TrimPrefix(s.URL, "http://"), requests: []string{"GET / HTTP/1.1\r\nHost: x\r\n\r\n"},
		operator: func() (map[string]int, error) { return map[string]int{"submits": 7, "refused": 7}, nil },
	}
	l.taken.Store(already)
	base := l.operator
	l.operator = func() (map[string]int, error) {
		if taken := l.taken.Load(); l.waiting() >= kannelBacklog && taken-already == accepted.Load() {
			if polls++; polls == 3 { // and if more would be asked, it would have been
				cancel()
			}
		}
		return base()
	}
	if err := l.run(ctx, connections); err != nil {
		t.Fatal(err)
	}
	taken := l.taken.Load() - already
	if taken < 100 || taken > 100+connections {
		t.Errorf("%d were taken, want 100, and one a connection more at most", taken)
	}
	if taken != accepted.Load() || l.refused.Load() == 0 {
		t.Errorf("%d taken of %d accepted, %d refused", taken, accepted.Load(), l.refused.Load())
	}
}

func TestALoadWithoutKannelEndsWithAnError(t *testing.T) {
	l := &kannelLoad{addr: "127.0.0.1:1", operator: func() (map[string]int, error) { return map[string]int{}, nil }}
	if err := l.run(t.Context(), 2); err == nil {
		t.Error("no error")
	}
	away := errors.New("away")
	l.operator = func() (map[string]int, error) { return nil, away }
	if err := l.run(t.Context(), 0); !errors.Is(err, away) {
		t.Errorf("the operator is away: %v", err)
	}
}

func TestACallbackIsAnsweredAndCounted(t *testing.T) {
	var c callbacks
	c.listen(t)
	for range 3 {
		res, err := http.Get(c.url)
		must(t, err)
		must(t, res.Body.Close())
		if res.StatusCode != http.StatusOK {
			t.Error(res.Status)
		}
	}
	if n := c.calls.Load(); n != 3 {
		t.Errorf("%d calls", n)
	}
}
