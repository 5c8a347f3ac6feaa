package smpp

import (
	"testing"
	"time"

	"mobileid/cmd/smscsim/smsc"
	"mobileid/internal/mobileid"
)

// BenchmarkBridge is the bridge without a database: Take to settled on one
// bind at window 100 against smscsim in the same process, receipts off.
func BenchmarkBridge(b *testing.B) {
	server, err := smsc.Start(smsc.Config{Accounts: map[string]string{"mobileid": "secret"}, MaxMessages: 1000})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = server.Close() }()
	if err := server.SetFault(smsc.Fault{Kind: smsc.FaultNoReceipt}); err != nil {
		b.Fatal(err)
	}
	r := newBenchRig(b, server.Addr())
	items := make([]mobileid.AdmitItem, b.N)
	for i := range items {
		items[i] = mobileid.AdmitItem{ID: r.message(mobileid.LaneBulk, nil)}
	}
	b.ResetTimer()
	for len(items) > 0 {
		n := min(len(items), 500)
		if err := r.bridge.Take(b.Context(), items[:n]); err != nil {
			b.Fatal(err)
		}
		items = items[n:]
	}
	for deadline := time.Now().Add(time.Minute); ; {
		r.store.mu.Lock()
		settled, changed := len(r.store.outcomes), r.store.changed
		r.store.mu.Unlock()
		if settled >= b.N {
			break
		}
		select {
		case <-changed:
		case <-time.After(time.Until(deadline)):
			b.Fatalf("%d of %d settled", settled, b.N)
		}
	}
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "messages/s")
	r.stop()
}
