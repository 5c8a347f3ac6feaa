package smsc

import (
	"syscall"
	"testing"
	"time"

	"mobileid/smpp/wire"
)

// benchWindow is how many submit_sm the benchmark's client leaves unanswered.
const benchWindow = 100

// BenchmarkSubmit says what a submit_sm costs on one bind: without its receipt,
// with it, and where the script must be asked for every fault. Whoever measures
// a bridge beside the simulator shares the machine with it, so cpu-ns/op counts
// more than ns/op: it is the processor time of the whole process, the client's
// included.
func BenchmarkSubmit(b *testing.B) {
	b.Run("without receipts", func(b *testing.B) { benchSubmit(b, 0) })
	b.Run("with receipts", func(b *testing.B) { benchSubmit(b, 1) })
	b.Run("with receipts under a fault", func(b *testing.B) { benchSubmit(b, 1, Fault{Kind: FaultWindow, N: benchWindow + 1}) })
}

func benchSubmit(b *testing.B, registered byte, faults ...Fault) {
	b.Helper()
	s := start(b, Config{MaxMessages: 1000, Faults: faults})
	c := bound(b, s)
	_ = c.conn.SetDeadline(time.Time{})
	raw := submit(1, func(m *wire.Message) { m.RegisteredDelivery = registered })
	burst := make([]byte, 0, benchWindow*len(raw))
	b.ReportAllocs()
	b.ResetTimer()
	before := cpu(b)
	for sent, answered, receipts, n := 0, 0, 0, b.N; answered < n || registered != 0 && receipts < n; {
		// Whatever the window has room for goes out in one write.
		burst = burst[:0]
		for ; sent < n && sent-answered < benchWindow; sent++ {
			wire.SetSequence(raw, uint32(sent)%wire.MaxSequence+1)
			burst = append(burst, raw...)
		}
		if len(burst) > 0 {
			c.write(burst)
		}
		burst = burst[:0]
		for more := true; more; more = wire.Buffered(c.br) {
			f, err := c.slab.Read()
			if err != nil {
				b.Fatal(err)
			}
			if f.Command == wire.SubmitSM.Response() {
				answered++
				continue
			}
			receipts++
			burst = wire.AppendCString(burst, f.Command.Response(), wire.StatusOK, f.Sequence, "")
		}
		if len(burst) > 0 {
			c.write(burst)
		}
	}
	b.ReportMetric(float64(cpu(b)-before)/float64(b.N), "cpu-ns/op")
	if n := s.Count(); n != b.N {
		b.Errorf("%d submits in the log, want %d", n, b.N)
	}
}

// cpu is the processor time that the process has used.
func cpu(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
