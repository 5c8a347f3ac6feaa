package bench

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mobileid/cmd/smscsim/smsc"
	"mobileid/internal/mobileid"
)

const (
	bridgeWindow   = 100
	bridgeMessages = 100_000 // of each row at full speed
	bridgeReceipt  = 100 * time.Millisecond
	bridgeLimit    = 2 * time.Minute
	bridgeText     = "123456 is your code for my.gov.uz. Tell it to nobody."

	aimBare           = 20_000 // messages a second without receipts
	aimReceipts       = 15_000
	aimKannel         = 2 // times Kannel's best row without receipts
	aimKannelReceipts = 4
)

// bridgeRow is a row of the table of bench-bridge: a bridge at full speed.
type bridgeRow struct {
	name     string
	lane     mobileid.Lane
	charged  bool
	receipts bool
	bridges  int
}

var bridgeRows = []bridgeRow{
	{"notices, charged", mobileid.LaneBulk, true, false, 1},
	{"notices, not charged", mobileid.LaneBulk, false, false, 1},
	{"codes, charged", mobileid.LaneOTP, true, false, 1},
	{"notices, charged, with receipts", mobileid.LaneBulk, true, true, 1},
	{"notices, not charged, with receipts", mobileid.LaneBulk, false, true, 1},
	{"codes, charged, with receipts", mobileid.LaneOTP, true, true, 1},
	{"notices, charged, two bridges", mobileid.LaneBulk, true, false, 2},
	{"notices, charged, four bridges", mobileid.LaneBulk, true, false, 4},
}

// BenchmarkBridge is `make bench-bridge`: how fast a bridge carries what
// already waits for it, freely and as operators hold it back, beside Kannel
// where that is installed.
//
// Messages are in Postgres, sealed, and their ids on the lane, when the bridge
// starts. At full speed the clock runs from the first admission to the last
// settling or receipt. Nobody but the bridge runs: what it announces stays in
// the outbox.
func BenchmarkBridge(b *testing.B) {
	r := newBridgeReport(b)
	// An Env of its own a row: its cleanups are those of the sub-benchmark.
	for i, row := range bridgeRows {
		b.Run(fmt.Sprint("full-", i+1), func(b *testing.B) { r.add(row.run(b, r)) })
	}
	for i, l := range limits {
		b.Run(fmt.Sprint("limit-", i+1), func(b *testing.B) { r.addLimited(ours, l, l.carry(b, r)) })
	}
	if programs, ok := findKannel(); ok {
		r.kannel = programs.version
		programs.measure(b, r)
	} else {
		fmt.Fprintln(os.Stderr, kannelMissing)
	}
	r.print()
}

// carried is what a row at full speed came to.
type carried struct {
	row  bridgeRow
	rate float64            // messages a second
	cpu  map[string]float64 // seconds a thousand messages, by process
}

// run measures one row.
func (row bridgeRow) run(b *testing.B, r *bridgeReport) carried {
	s := r.prepare(b, setup{})
	if !row.receipts {
		s.fault(b, smsc.Fault{Kind: smsc.FaultNoReceipt})
	}
	s.preload(b, row, r.messages)
	r.keepHeader(b, s)
	before := s.usages()
	for n := range row.bridges {
		admin := s.startRole(b, "bridge", fmt.Sprintf("bridge %d", n+1))
		if dir := os.Getenv("MOBILEID_BENCH_PROFILES"); dir != "" && n == 0 {
			path := filepath.Join(dir, strings.ReplaceAll(b.Name(), "/", "-"))
			finish := s.profile(b, admin, path)
			defer finish()
		}
	}
	s.awaitCarried(b, row, r.messages)
	cpu := perThousand(before, s.usages(), r.messages)
	for n := range row.bridges {
		cpu["bridge"] += cpu[fmt.Sprintf("mobileid bridge %d", n+1)]
	}

	var took float64
	must(b, s.sql.QueryRow(b.Context(), `
select extract(epoch from (select max(at) from outbox) - (select min(admitted_at) from messages))`).Scan(&took))
	s.checkCarried(b, row, r.messages)
	return carried{row, float64(r.messages) / took, cpu}
}

// perThousand is the seconds of processor that each process took for a
// thousand messages.
func perThousand(before, after map[string]usage, messages int) map[string]float64 {
	out := map[string]float64{}
	for name, u := range after {
		out[name] = (u.CPU - before[name].CPU) * 1000 / float64(max(messages, 1))
	}
	return out
}
