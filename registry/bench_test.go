package registry_test

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"mobileid/internal/mobileid"
)

// BenchmarkHotPath admits and settles Messages in batches and stores their
// receipts, fsync on. One op is one Message through all; queueing is not timed. Beside the time stands what it
// costs the server: microseconds of processor a Message, which hardly depend on
// what else the machine does.
func BenchmarkHotPath(b *testing.B) {
	for _, lane := range []mobileid.Lane{mobileid.LaneBulk, mobileid.LaneOTP} {
		for _, batch := range []int{1, 30, 300} {
			b.Run(fmt.Sprintf("%s/%d", lane, batch), func(b *testing.B) { hotPath(b, lane, batch) })
		}
	}
}

func hotPath(b *testing.B, lane mobileid.Lane, batch int) {
	b.Helper()
	e := newEnv(b)
	e.tariff()
	persons := make([]person, 3000)
	for i := range persons {
		persons[i] = e.bind(1_000_000 * cost)
	}
	bridge := e.bridge()
	var admitting, settling, receiving float64
	b.ResetTimer()
	for done := 0; done < b.N; done += batch {
		b.StopTimer()
		var ids []mobileid.ID
		var outcomes []mobileid.Outcome
		var receipts []mobileid.Receipt
		add := func(m *mobileid.NewMessage) {
			ids = append(ids, m.ID)
			outcomes = append(outcomes, e.outcome(m.ID, mobileid.MessageSent, m.Dest, m.ID.String()))
			receipts = append(receipts, e.receipt(m.Dest, m.ID.String(), mobileid.MessageDelivered))
		}
		var codes []mobileid.NewChallenge
		var notices []mobileid.NewNotification
		for i := range batch {
			p := persons[(done+i)%len(persons)]
			if lane == mobileid.LaneBulk {
				notices = append(notices, e.notice(p, fmt.Sprint(done+i)))
				add(notices[i].Message)
				continue
			}
			c := e.challenge(p, fmt.Sprint(done+i))
			c.Request.Purpose = fmt.Sprint("p", done) // none supersedes another
			codes = append(codes, c)
			add(c.Message)
		}
		e.issue(codes...)
		e.queue(notices...)
		before := e.serverCPU()
		b.StartTimer()
		e.admit(bridge, ids...)
		b.StopTimer()
		between := e.serverCPU()
		b.StartTimer()
		e.settle(bridge, outcomes...)
		b.StopTimer()
		after := e.serverCPU()
		admitting, settling = admitting+between-before, settling+after-between
		b.StartTimer()
		e.receipts(receipts...)
		b.StopTimer()
		receiving += e.serverCPU() - after
		b.StartTimer()
	}
	b.StopTimer()
	b.ReportMetric(admitting/float64(b.N), "us-admit/op")
	b.ReportMetric(settling/float64(b.N), "us-settle/op")
	b.ReportMetric(receiving/float64(b.N), "us-receipt/op")
}

// serverCPU is what the backends of the registry's pool have used, in
// microseconds.
func (e *env) serverCPU() (us float64) {
	e.t.Helper()
	rows, err := e.pool.Query(e.ctx(), `select pid from pg_stat_activity where datname = current_database() and application_name = 'mobileid'`)
	must(e.t, err)
	defer rows.Close()
	for rows.Next() {
		var pid int
		must(e.t, rows.Scan(&pid))
		raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/schedstat", pid))
		must(e.t, err)
		ns, err := strconv.ParseFloat(strings.Fields(string(raw))[0], 64)
		must(e.t, err)
		us += ns / 1000
	}
	must(e.t, rows.Err())
	return us
}
