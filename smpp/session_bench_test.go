package smpp

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	gosmpp "github.com/fiorix/go-smpp/smpp"
	"github.com/fiorix/go-smpp/smpp/pdu/pdufield"
	"github.com/fiorix/go-smpp/smpp/pdu/pdutext"

	"mobileid/smpp/wire"
)

// A cell of the table is the median of some rounds.
const (
	benchRounds = 3
	benchWarm   = 300 * time.Millisecond
	benchRound  = 1500 * time.Millisecond
)

// figures are what a client did in one round.
type figures struct {
	perSecond, allocations, cpuMicros float64 // the latter two per message
}

// client writes submit_sm until it is stopped, counting the answers.
type client func(b *testing.B, addr string, window int, answers *atomic.Int64) (stop func())

// BenchmarkSession is make bench-smpp: submit_sm a second on one bind, by
// window, of three clients in turn. The SMSC is a process of its own.
func BenchmarkSession(b *testing.B) {
	dir := os.Getenv("MOBILEID_BENCH_BIN")
	if dir == "" {
		b.Skip("run make bench-smpp")
	}
	loadBefore := loadAverage()
	stub := exec.Command(filepath.Join(dir, "smscstub"))
	in, err := stub.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := stub.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := stub.Start(); err != nil {
		b.Fatal(err)
	}
	defer func() { _ = in.Close(); _ = stub.Wait() }()
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		b.Fatal(err)
	}
	addr := strings.TrimSpace(line)

	commit, _ := os.ReadFile(filepath.Join(dir, "commit"))
	fmt.Printf("built from %s\nmachine    %s, %d cores; %s; load average before the start %s\n"+
		"load       submit_sm of 37 octets of text, registered_delivery 1; the median of %d rounds of %s each\n\n",
		strings.TrimSpace(string(commit)), cpuModel(), runtime.NumCPU(), runtime.Version(), loadBefore, benchRounds, benchRound)
	windows := []int{1, 10, 100, 1000}
	fmt.Println("| client | window | submit_sm/s | of the limit | of go-smpp | allocations a message | client CPU a message |")
	fmt.Println("|---|---|---|---|---|---|---|")
	for _, window := range windows {
		cells := map[string]figures{}
		names := []string{"bytes on a bare socket (the limit)", "our session", "go-smpp's Transmitter"}
		for i, c := range []client{rawClient, ourClient, theirClient} {
			cells[names[i]] = measure(b, c, addr, window)
		}
		for _, name := range names {
			f := cells[name]
			fmt.Printf("| %s | %d | %.0f | %.2f | %.2f | %.1f | %.2f us |\n", name, window, f.perSecond,
				f.perSecond/cells[names[0]].perSecond, f.perSecond/cells[names[2]].perSecond, f.allocations, f.cpuMicros)
		}
	}
}

func measure(b *testing.B, c client, addr string, window int) figures {
	b.Helper()
	var rounds []figures
	for range benchRounds {
		var answers atomic.Int64
		stop := c(b, addr, window, &answers)
		time.Sleep(benchWarm)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		count, cpu, began := answers.Load(), ownCPU(), time.Now()
		time.Sleep(benchRound)
		n, used, took := float64(answers.Load()-count), ownCPU()-cpu, time.Since(began)
		runtime.ReadMemStats(&after)
		stop()
		if n == 0 {
			b.Fatalf("no answers at window %d", window)
		}
		rounds = append(rounds, figures{n / took.Seconds(), float64(after.Mallocs-before.Mallocs) / n, used.Seconds() * 1e6 / n})
	}
	slices.SortFunc(rounds, func(x, y figures) int { return cmp.Compare(x.perSecond, y.perSecond) })
	return rounds[len(rounds)/2]
}

// benchMessage is what each client writes.
func benchMessage() wire.Message {
	return wire.Message{
		Command: wire.SubmitSM, Source: wire.Address{TON: 5, Addr: "MobileID"}, Dest: wire.Address{TON: 1, NPI: 1, Addr: secretTo},
		ShortMessage: []byte(strings.Repeat("x", 37)), RegisteredDelivery: 1,
	}
}

// rawClient writes prebuilt bytes and looks at nothing but the lengths of the
// answers: no client can be faster.
func rawClient(b *testing.B, addr string, window int, answers *atomic.Int64) func() {
	b.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		b.Fatal(err)
	}
	raw, err := benchMessage().Encode()
	if err != nil {
		b.Fatal(err)
	}
	const most = 64 // PDUs a write
	buf := []byte(strings.Repeat(string(raw), most))
	came := make(chan int, window)
	var owners sync.WaitGroup
	owners.Go(func() {
		defer close(came)
		br := bufio.NewReaderSize(conn, 256<<10)
		const answerLen = wire.HeaderLen + len("0123456789\x00")
		for {
			if _, err := br.Peek(answerLen); err != nil {
				return
			}
			n := br.Buffered() / answerLen
			_, _ = br.Discard(n * answerLen)
			answers.Add(int64(n))
			came <- n
		}
	})
	owners.Go(func() {
		for free, sequence := window, uint32(0); ; {
			n := min(free, most)
			if n == 0 {
				more, open := <-came
				if !open {
					return
				}
				free += more
				continue
			}
			for i := range n {
				sequence = sequence%wire.MaxSequence + 1
				wire.SetSequence(buf[i*len(raw):], sequence)
			}
			if _, err := conn.Write(buf[:n*len(raw)]); err != nil {
				return
			}
			free -= n
		}
	})
	return func() {
		_ = conn.Close()
		for range came { // the reader may wait for room
		}
		owners.Wait()
	}
}

// ourClient is our session: whenever slots come back, as many submit_sm are
// submitted.
func ourClient(b *testing.B, addr string, window int, answers *atomic.Int64) func() {
	b.Helper()
	bridge := NewBridge(Config{Profile: testProfile(addr, window)}, Deps{Store: newStore()})
	s, err := bridge.links[0].connect(b.Context(), addr)
	if err != nil {
		b.Fatal(err)
	}
	m := benchMessage()
	permit := func(now time.Time) (time.Time, bool) { return now.Add(time.Second), true }
	done := func(a answer) {
		if a.fate == answered {
			answers.Add(1)
		}
	}
	s.cfg.freed = func() {
		n := s.offers(time.Now()).free
		if n == 0 || !s.reserve(n) {
			return // ended
		}
		requests := make([]*request, n)
		for i := range requests {
			raw, _ := m.Encode()
			requests[i] = &request{raw: raw, command: wire.SubmitSM, permit: permit, done: done}
		}
		s.submit(requests...)
	}
	ctx, cancel := context.WithCancel(b.Context())
	s.cfg.freed() // all of them; then it is the reading goroutine's
	go func() { _ = s.run(ctx) }()
	return func() { cancel(); <-s.gone }
}

// theirClient is go-smpp's own Transmitter, as many callers as the window has
// slots: its Submit waits for the answer.
func theirClient(b *testing.B, addr string, window int, answers *atomic.Int64) func() {
	b.Helper()
	tr := &gosmpp.Transmitter{Addr: addr, User: "mobileid", Passwd: "secret", WindowSize: uint(window), RespTimeout: 10 * time.Second}
	if s := <-tr.Bind(); s.Status() != gosmpp.Connected {
		b.Fatalf("%s: %v", s.Status(), s.Error())
	}
	var owners sync.WaitGroup
	var over atomic.Bool
	for range window {
		owners.Go(func() {
			for !over.Load() {
				if _, err := tr.Submit(&gosmpp.ShortMessage{
					Src: "MobileID", SourceAddrTON: 5, Dst: secretTo, DestAddrTON: 1, DestAddrNPI: 1,
					Text: pdutext.Raw(strings.Repeat("x", 37)), Register: pdufield.FinalDeliveryReceipt,
				}); err == nil {
					answers.Add(1)
				}
			}
		})
	}
	return func() {
		over.Store(true)
		owners.Wait()
		_ = tr.Close()
	}
}

func ownCPU() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func cpuModel() string {
	raw, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(raw)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}

func loadAverage() string {
	raw, _ := os.ReadFile("/proc/loadavg")
	first, _, _ := strings.Cut(string(raw), " ")
	return first
}
