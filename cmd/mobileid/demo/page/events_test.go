package page

import (
	"bufio"
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

type pageServer struct {
	*httptest.Server
	fake *fakeSystem
	done chan struct{}
}

func servePage(t *testing.T) *pageServer {
	t.Helper()
	p := &pageServer{fake: newFake(t, time.Millisecond), done: make(chan struct{})}
	p.Server = httptest.NewUnstartedServer(nil)
	cfg := p.fake.config(p.Listener.Addr().String())
	cfg.Done = p.done
	p.Config.Handler = New(cfg, p.fake.deps())
	p.Config.WriteTimeout = time.Second // a stream must outlive it
	p.Start()
	t.Cleanup(p.Close)
	return p
}

// open starts a stream and waits for its first events, after which it is
// subscribed for certain.
func (p *pageServer) open(t *testing.T) (next func() (event, data string, ok bool)) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.URL+"/demo/events", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	res, err := p.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = res.Body.Close() })
	if res.StatusCode != http.StatusOK || res.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("%d %s", res.StatusCode, res.Header.Get("Content-Type"))
	}
	lines := bufio.NewScanner(res.Body)
	next = func() (event, data string, ok bool) {
		for lines.Scan() {
			name, value, _ := strings.Cut(lines.Text(), ": ")
			switch name {
			case "event":
				event = value
			case "data":
				return event, value, true
			}
		}
		// The end of the answer, not the end of our patience.
		if err := lines.Err(); err != nil {
			t.Errorf("the stream did not end: %v", err)
		}
		return "", "", false
	}
	for _, first := range []string{"counts", "accounts"} {
		if event, _, _ := next(); event != first {
			t.Fatalf("event %q, want %s", event, first)
		}
	}
	return next
}

func TestTheHandsetSeesATextAsTheOperatorGotIt(t *testing.T) {
	p := servePage(t)
	next := p.open(t)
	p.fake.send(HandsetEvent{At: time.Now(), Kind: PDUSubmit, To: fakeNumber, From: "MobileID", Text: "482913\nis <b>your</b> code"})
	event, data, _ := next()
	if event != "handset" || !strings.Contains(data, `"to":"+998 90 *** ** 67"`) || !strings.Contains(data, `482913\nis`) {
		t.Errorf("%s %s", event, data)
	}
	if strings.Contains(data, fakeNumber) {
		t.Error("the stream names the whole number")
	}
}

func TestCountsFollow(t *testing.T) {
	p := servePage(t)
	next := p.open(t)
	p.fake.begin('c', "k")
	event, data, _ := next()
	if event != "counts" || !strings.Contains(data, `"accepted":1`) || !strings.Contains(data, `"charged":"`) {
		t.Errorf("%s %s", event, data)
	}
}

func TestStreamsEndWithTheProgram(t *testing.T) {
	p := servePage(t)
	next := p.open(t)
	close(p.done)
	if event, data, ok := next(); ok {
		t.Errorf("%s %s after the end", event, data)
	}
}

func TestAStreamWhoseFeedClosedEnds(t *testing.T) {
	p := servePage(t)
	next := p.open(t)
	p.fake.mu.Lock()
	for c := range p.fake.feed {
		close(c)
		delete(p.fake.feed, c)
	}
	p.fake.mu.Unlock()
	if event, data, ok := next(); ok {
		t.Errorf("%s %s after the end", event, data)
	}
}

func TestOpenStreamsAreBounded(t *testing.T) {
	p := servePage(t)
	for range maxStreams {
		p.open(t)
	}
	res, err := p.Client().Get(p.URL + "/demo/events")
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusServiceUnavailable || res.Header.Get("Retry-After") == "" {
		t.Errorf("status %d, Retry-After %q", res.StatusCode, res.Header.Get("Retry-After"))
	}
}

// breaker remembers what was asked of it.
type breaker struct {
	mu     sync.Mutex
	asked  []Breakage
	broken Breakage
}

func (b *breaker) Break(_ context.Context, what Breakage) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.asked, b.broken = append(b.asked, what), what
	return nil
}

func (b *breaker) Broken(context.Context) Breakage {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.broken
}

func (b *breaker) mend() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.broken = ""
}

func TestAButtonBreaksAndThePageIsTold(t *testing.T) {
	fake, b := newFake(t, time.Millisecond), &breaker{}
	deps := fake.deps()
	ask := func(h http.Handler, path string) int {
		w := httptest.NewRecorder()
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, path, http.NoBody)
		r.Host = testAddr
		h.ServeHTTP(w, r)
		return w.Code
	}
	if code := ask(New(fake.config(testAddr), deps), "/demo/break/kill"); code != http.StatusNotFound {
		t.Errorf("without an operator of our own: %d", code)
	}
	deps.Controls = b
	h := New(fake.config(testAddr), deps)
	for path, want := range map[string]int{"kill": 204, "hang": 204, "throttle": 204, "everything": 404} {
		if code := ask(h, "/demo/break/"+path); code != want {
			t.Errorf("%s: %d, want %d", path, code, want)
		}
	}
	if len(b.asked) != 3 {
		t.Error(b.asked)
	}
}
