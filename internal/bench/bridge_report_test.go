package bench

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// The systems of the table.
const ours = "Mobile-ID"

// aim is what a figure should be, and whether it is.
type aim struct {
	what string
	met  bool
}

func (a aim) String() string {
	if a.met {
		return a.what + ": met"
	}
	return a.what + ": missed"
}

func words(aims []aim) string {
	out := make([]string, len(aims))
	for i, a := range aims {
		out[i] = a.String()
	}
	return strings.Join(out, "; ")
}

// bridgeReport gathers the figures of bench-bridge. They are printed when all
// are there: the ratios need them, and go test prints lines of its own between.
type bridgeReport struct {
	messages int
	notes    []string // what makes the figures other than the standard ones
	header   string
	kannel   string // its version; "" = not measured

	carried []carried
	kannels []kannelCarried
	limited []limitedRow
}

type limitedRow struct {
	system string
	limit  limit
	held   held
}

func newBridgeReport(b *testing.B) *bridgeReport {
	b.Helper()
	r := &bridgeReport{messages: bridgeMessages}
	if set := os.Getenv("MOBILEID_BENCH_MESSAGES"); set != "" {
		_, err := fmt.Sscan(set, &r.messages)
		must(b, err)
	}
	if r.messages != bridgeMessages {
		r.notes = append(r.notes, fmt.Sprintf("%d messages a row instead of %d (MOBILEID_BENCH_MESSAGES)", r.messages, bridgeMessages))
	}
	if d := shortened(b, limitFor); d < limitFor {
		r.notes = append(r.notes, fmt.Sprintf("nothing is counted or left to settle for longer than %s (MOBILEID_BENCH_PACED)", d))
	}
	return r
}

// prepare is prepare with what all rows have in common.
func (r *bridgeReport) prepare(b *testing.B, set setup) *system {
	b.Helper()
	set.window, set.receipt, set.silent = bridgeWindow, bridgeReceipt, true
	s := prepare(b, set)
	s.unusual = append(s.unusual, r.notes...)
	return s
}

// keepHeader keeps what the figures depend on, of the first row.
func (r *bridgeReport) keepHeader(b *testing.B, s *system) {
	b.Helper()
	if r.header == "" {
		r.header = s.describe(b)
	}
}

// add keeps a row; who waits sees it at once.
func (r *bridgeReport) add(c carried) {
	r.carried = append(r.carried, c)
	fmt.Fprintf(os.Stderr, "%s: %.0f messages/s\n", c.row.name, c.rate)
}

func (r *bridgeReport) addKannel(c kannelCarried) {
	r.kannels = append(r.kannels, c)
	fmt.Fprintf(os.Stderr, "Kannel, %s, %d connections: %.0f messages/s\n", c.kannelSetup, c.connections, c.rate())
}

func (r *bridgeReport) addLimited(system string, l limit, h held) {
	r.limited = append(r.limited, limitedRow{system, l, h})
	fmt.Fprintf(os.Stderr, "%s, %s: %.0f accepted/s, %.2f %% throttled\n", system, l.name, h.limited.accepted, 100*h.limited.throttled)
}

// rateOf is the rate of a row, 0 when it was not measured.
func (r *bridgeReport) rateOf(row bridgeRow) float64 {
	for _, c := range r.carried {
		if c.row == row {
			return c.rate
		}
	}
	return 0
}

// bestKannel is Kannel's best row with or without receipts, 0 when there is none.
func (r *bridgeReport) bestKannel(receipts bool) (best float64) {
	for _, k := range r.kannels {
		if k.receipts == receipts {
			best = max(best, k.rate())
		}
	}
	return best
}

func (r *bridgeReport) print() {
	fmt.Println()
	fmt.Print("```\n", r.header)
	if r.kannel != "" {
		fmt.Printf("Kannel     %s: bearerbox and smsbox, window %d; no store, or its spool store, which does not fsync; reports kept in memory\n", r.kannel, bridgeWindow)
	}
	fmt.Print("```\n\n")
	if r.kannel == "" {
		fmt.Print(kannelMissing, "\n\n")
	}
	r.printFull(os.Stdout)
	r.printKannel(os.Stdout)
	r.printLimited(os.Stdout)
}

// notMeasured stands where there is nothing to compare with.
const notMeasured = "not measured"

func (r *bridgeReport) printFull(w io.Writer) {
	fmt.Fprintf(w, "Full speed, %d messages a row; CPU in seconds a thousand messages:\n\n", r.messages)
	fmt.Fprintln(w, "| messages waiting on the lane | messages/s | aim | to Kannel's best row | aim | bridge | PostgreSQL | Kafka | Redis | smscsim |")
	fmt.Fprintln(w, "|---|---|---|---|---|---|---|---|---|---|")
	for _, c := range r.carried {
		rate, times := aimBare, float64(aimKannel)
		if c.row.receipts {
			rate, times = aimReceipts, aimKannelReceipts
		}
		best := r.bestKannel(c.row.receipts)
		got := over(c.rate, best)
		aims := []string{aim{fmt.Sprintf("%d/s", rate), c.rate >= float64(rate)}.String(), aim{fmt.Sprintf("%.0f times", times), got >= times}.String()}
		ratio := fmt.Sprintf("%.2f times (%.0f / %.0f)", got, c.rate, best)
		if best == 0 {
			ratio, aims[1] = notMeasured, ""
		}
		if c.row.bridges > 1 { // the aims are of one
			aims[0], aims[1] = "", ""
		}
		fmt.Fprintf(w, "| %s | %.0f | %s | %s | %s | %.3f | %.3f | %.3f | %.3f | %.3f |\n", c.row.name, c.rate, aims[0], ratio, aims[1],
			c.cpu["bridge"], c.cpu["PostgreSQL"], c.cpu["Kafka"], c.cpu["Redis"], c.cpu["smscsim"])
	}
	fmt.Fprintf(w, "\nGrowth, notices, charged: %s\n", r.growth())
}

// growth compares the rows that differ by the number of bridges alone.
func (r *bridgeReport) growth() string {
	one := r.rateOf(bridgeRows[0])
	var out []string
	for _, c := range r.carried {
		same := c.row
		same.name, same.bridges = bridgeRows[0].name, bridgeRows[0].bridges
		switch {
		case same != bridgeRows[0]:
		case c.row.bridges == 1:
			out = append(out, fmt.Sprintf("1 bridge %.0f/s", c.rate))
		default:
			out = append(out, fmt.Sprintf("%d bridges %.0f/s (%.2f times one)", c.row.bridges, c.rate, over(c.rate, one)))
		}
	}
	return cmp.Or(strings.Join(out, ", "), notMeasured)
}

func (r *bridgeReport) printKannel(w io.Writer) {
	if len(r.kannels) == 0 {
		return
	}
	fmt.Fprintf(w, "\nKannel at full speed, %s after %s of warm-up; CPU in seconds a thousand messages; a row with receipts is as fast as\n"+
		"the slower of its two figures; the best of its kind in bold:\n\n", r.kannels[0].lasted.Round(time.Second), r.kannels[0].warmed)
	fmt.Fprintln(w, "| Kannel | HTTP connections | accepted by the operator/s | reports called back/s | bearerbox | smsbox | smscsim | load generator |")
	fmt.Fprintln(w, "|---|---|---|---|---|---|---|---|")
	for _, k := range r.kannels {
		mark := ""
		if k.rate() == r.bestKannel(k.receipts) {
			mark = "**"
		}
		calls := ""
		if k.receipts {
			calls = fmt.Sprintf("%.0f", k.calls)
		}
		fmt.Fprintf(w, "| %s%s%s | %d | %.0f | %s | %.3f | %.3f | %.3f | %.3f |\n", mark, k.kannelSetup, mark, k.connections, k.accepted, calls,
			k.cpu["bearerbox"], k.cpu["smsbox"], k.cpu["smscsim"], k.cpu["load generator"])
	}
}

// printLimited prints the rows of each limit together, ours first.
func (r *bridgeReport) printLimited(w io.Writer) {
	fmt.Fprint(w, "\nAs operators hold back, by the operator's own counters, after a time to settle that is not counted; no receipts:\n\n")
	fmt.Fprintln(w, "| the operator | sender | settled for | counted for | accepted/s | throttled | without it, directly before, accepted/s | aim | to Kannel |")
	fmt.Fprintln(w, "|---|---|---|---|---|---|---|---|---|")
	rows := slices.Clone(r.limited)
	order := func(l limit) int { return slices.IndexFunc(limits, func(o limit) bool { return o.name == l.name }) }
	slices.SortStableFunc(rows, func(x, y limitedRow) int { return order(x.limit) - order(y.limit) })
	for _, row := range rows {
		base, aims, ratio := "", "", ""
		if row.limit.based {
			base = fmt.Sprintf("%.0f", row.held.base.accepted)
		}
		if row.system == ours {
			aims, ratio = words(row.limit.aims(row.held)), notMeasured
			if k := r.kannelUnder(row.limit); k > 0 {
				ratio = fmt.Sprintf("%.2f times (%.0f / %.0f)", row.held.limited.accepted/k, row.held.limited.accepted, k)
			}
		}
		fmt.Fprintf(w, "| %s | %s | %s | %.1fs | %.0f | %.2f %% | %s | %s | %s |\n", row.limit.name, row.system, row.held.settled,
			row.held.limited.lasted.Seconds(), row.held.limited.accepted, 100*row.held.limited.throttled, base, aims, ratio)
	}
	if full := r.rateOf(bridgeRows[0]); full > 0 {
		fmt.Fprintf(w, "\nThe row of full speed of the same messages, first admission to last settling: %.0f/s.\n", full)
	}
}

// kannelUnder is what Kannel brought through under a limit, 0 when that was not
// measured.
func (r *bridgeReport) kannelUnder(l limit) float64 {
	for _, row := range r.limited {
		if row.system != ours && row.limit.name == l.name {
			return row.held.limited.accepted
		}
	}
	return 0
}

func TestAimsAndRatiosArePrintedInWords(t *testing.T) {
	r := &bridgeReport{messages: 10}
	for i, rate := range []float64{20_000, 19_999, 1, 15_000, 14_999, 1, 24_000, 30_000} {
		r.carried = append(r.carried, carried{row: bridgeRows[i], rate: rate, cpu: map[string]float64{"bridge": .01}})
	}
	printed := func() string {
		var w strings.Builder
		r.printFull(&w)
		return w.String()
	}
	for _, want := range []string{
		"| notices, charged | 20000 | 20000/s: met | not measured |  | 0.010 |",
		"| notices, not charged | 19999 | 20000/s: missed | not measured |",
		"| notices, charged, with receipts | 15000 | 15000/s: met |",
		"| notices, not charged, with receipts | 14999 | 15000/s: missed |",
		"| notices, charged, two bridges | 24000 |  | not measured |  |",
		"Growth, notices, charged: 1 bridge 20000/s, 2 bridges 24000/s (1.20 times one), 4 bridges 30000/s (1.50 times one)\n",
	} {
		if got := printed(); !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	r.kannels = []kannelCarried{
		{kannelSetup: kannelSetup{}, accepted: 9000},
		{kannelSetup: kannelSetup{spool: true}, accepted: 10_000},
		{kannelSetup: kannelSetup{receipts: true}, accepted: 9000, calls: 3750},
	}
	for _, want := range []string{
		"| notices, charged | 20000 | 20000/s: met | 2.00 times (20000 / 10000) | 2 times: met |",
		"| notices, not charged | 19999 | 20000/s: missed | 2.00 times (19999 / 10000) | 2 times: missed |",
		"| notices, charged, with receipts | 15000 | 15000/s: met | 4.00 times (15000 / 3750) | 4 times: met |",
		"| notices, charged, four bridges | 30000 |  | 3.00 times (30000 / 10000) |  |",
	} {
		if got := printed(); !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
}
