package smpp

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"mobileid/cmd/smscsim/smsc"
	"mobileid/internal/mobileid"
	"mobileid/smpp/profile"
)

// faultRow is a fault of the operator's and what it may cost. Each is judged by
// what he truly received and by what is stored in the end.
type faultRow struct {
	name  string
	fault smsc.Fault
	also  []smsc.Fault // that the fault needs to show
	tune  func(*Config, *smsc.Config)

	// missing: answers get lost, so a code may come once more and a notice stay
	// in doubt.
	missing  bool
	cuts     bool                  // a link is lost over it
	bothUp   bool                  // nothing is asked before both links are
	answer   uint32                // what is refused for good is refused with this; 0: nothing is
	sameDest bool                  // all Messages are for one number
	receipts receiptsOf            // what comes of them
	state    mobileid.MessageState // that receipts say; "" = delivered
	unread   int                   // receipts that cannot be read, at least
	check    func(f *faultRun)
}

// receiptsOf is which receipts come.
type receiptsOf int

const (
	everyReceipt  receiptsOf = iota // one for each submit_sm taken, at least
	noReceipts                      // none that can be read
	someUnmatched                   // some name an id that nobody was given
)

const faultMessages = 40 // half of them codes

// shortTimers make what is missing seen soon.
func shortTimers(c *Config, _ *smsc.Config) {
	c.Profile.Timers.Response, c.Profile.Timers.EnquireLink = 200*time.Millisecond, 100*time.Millisecond
}

func faultRows() []faultRow {
	kind := func(k smsc.FaultKind) smsc.Fault { return smsc.Fault{Kind: k} }
	slow := smsc.Fault{Kind: smsc.FaultDelay, Delay: 20 * time.Millisecond}
	rows := []faultRow{
		{fault: smsc.Fault{Kind: smsc.FaultRefuseBind, Count: 2}},
		{fault: smsc.Fault{Kind: smsc.FaultIgnoreBind, Count: 1}, tune: func(c *Config, _ *smsc.Config) { c.Profile.Timers.Bind = 100 * time.Millisecond }},
		{fault: smsc.Fault{Kind: smsc.FaultMaxBinds, N: 1}, tune: twoBinds(profile.Transceiver, profile.Transceiver, 5), check: secondBindComes},
		{fault: smsc.Fault{Kind: smsc.FaultSessionInit, Delay: 50 * time.Millisecond}, also: []smsc.Fault{{Kind: smsc.FaultIgnoreBind, Count: 2}}},
		{fault: smsc.Fault{Kind: smsc.FaultIgnoreLink, Count: 1}, also: []smsc.Fault{slow}, tune: func(c *Config, _ *smsc.Config) {
			c.Profile.Timers.Response, c.Profile.Timers.EnquireLink = 200*time.Millisecond, 5*time.Millisecond
		}, missing: true, cuts: true},
		{fault: kind(smsc.FaultEnquireLink)},
		{fault: kind(smsc.FaultUnbind), missing: true, cuts: true},
		{fault: smsc.Fault{Kind: smsc.FaultUnbindMid, Count: 3}, also: []smsc.Fault{{Kind: smsc.FaultUnbindMid, Count: 25}}, missing: true, cuts: true},
		{fault: kind(smsc.FaultCut), missing: true, cuts: true},
		{fault: smsc.Fault{Kind: smsc.FaultDrop, Count: 3}, also: []smsc.Fault{{Kind: smsc.FaultDrop, Count: 25}}, missing: true, cuts: true},
		{name: "stall within the timer", fault: smsc.Fault{Kind: smsc.FaultStall, For: 200 * time.Millisecond}},
		{name: "stall beyond the timer", fault: smsc.Fault{Kind: smsc.FaultStall, For: 300 * time.Millisecond}, tune: shortTimers, missing: true},
		{fault: kind(smsc.FaultHalfOpen), tune: shortTimers, missing: true, cuts: true},

		{fault: kind(smsc.FaultByteWrites)},
		{fault: smsc.Fault{Kind: smsc.FaultMerge, N: 10}},
		{fault: smsc.Fault{Kind: smsc.FaultGarbage, Bytes: []byte{0xde, 0xad, 0xbe, 0xef, 0xde, 0xad, 0xbe, 0xef, 0xde, 0xad, 0xbe, 0xef, 0xde, 0xad, 0xbe, 0xef}}, missing: true, cuts: true},
		{fault: kind(smsc.FaultAlert)},

		{fault: smsc.Fault{Kind: smsc.FaultDelay, Delay: 100 * time.Millisecond}},
		{fault: smsc.Fault{Kind: smsc.FaultNoAnswer, Count: 3}, tune: shortTimers, missing: true},
		{fault: smsc.Fault{Kind: smsc.FaultNack, Count: 3}, answer: 0x03},
		{name: "nack that throttles", fault: smsc.Fault{Kind: smsc.FaultNack, Count: 3, Status: 0x58}},
		{fault: smsc.Fault{Kind: smsc.FaultStatus, Count: 3, Status: 0x0B}, answer: 0x0B},
		{fault: smsc.Fault{Kind: smsc.FaultEvery, N: 3}, check: refusedSome},
		{fault: smsc.Fault{Kind: smsc.FaultThrottle, Rate: 100, Burst: 5}, check: refusedSome},
		{fault: smsc.Fault{Kind: smsc.FaultThrottleDest, Rate: 20, Burst: 35}, sameDest: true, check: refusedSome},
		{fault: smsc.Fault{Kind: smsc.FaultWindow, N: 4}, also: []smsc.Fault{slow}, check: refusedSome},

		{
			fault: smsc.Fault{Kind: smsc.FaultIDs, Form: "hex", ReceiptForm: "decimal_zeros"},
			tune: func(c *Config, _ *smsc.Config) {
				c.Profile.IDs = profile.IDs{Answer: profile.Hex, Receipt: profile.Decimal}
			},
		},
		{fault: smsc.Fault{Kind: smsc.FaultReceipt, State: "UNDELIV"}, state: mobileid.MessageUndeliverable},
		{fault: kind(smsc.FaultReceiptFirst)},
		{fault: kind(smsc.FaultNoReceipt), receipts: noReceipts},
		{fault: smsc.Fault{Kind: smsc.FaultReceiptLate, Delay: 300 * time.Millisecond}},
		{fault: smsc.Fault{Kind: smsc.FaultReceiptRepeat, N: 3}, check: eachReceiptComes(3)},
		{fault: smsc.Fault{Kind: smsc.FaultReceiptReverse, N: 5}, check: eachReceiptComes(1)},
		{fault: kind(smsc.FaultReceiptOtherBind), tune: twoBinds(profile.Transceiver, profile.Receiver, 10), bothUp: true, check: theOtherBindHears},
		{fault: smsc.Fault{Kind: smsc.FaultReceiptUnknown, Count: 7}, receipts: someUnmatched},
		{fault: smsc.Fault{Kind: smsc.FaultReceiptDate, Delay: 48 * time.Hour}},
		{fault: kind(smsc.FaultReceiptReference), check: receiptsName},
		{fault: smsc.Fault{Kind: smsc.FaultReceiptWindow, N: 1}, check: eachReceiptComes(1)},
	}
	for _, form := range formsOf(smsc.FaultReceiptForm) {
		row := faultRow{name: "receipt_form " + form, fault: smsc.Fault{Kind: smsc.FaultReceiptForm, Form: form}}
		switch form {
		case "unparseable":
			row.receipts, row.unread = noReceipts, faultMessages
		case "csv":
			row.tune = func(c *Config, _ *smsc.Config) {
				err := c.Profile.Receipts.Pattern.UnmarshalText([]byte(`^(?P<stat>\d\d),\d{10},(?P<id>[0-9a-f]+),\d+,(?P<err>\d+)$`))
				if err != nil {
					panic(err)
				}
				c.Profile.Receipts.Rules = []profile.ReceiptRule{{Stat: "02", State: profile.Delivered}}
			}
		}
		rows = append(rows, row)
	}
	for _, form := range formsOf(smsc.FaultMalformed) {
		row := faultRow{name: "malformed " + form, fault: smsc.Fault{Kind: smsc.FaultMalformed, Form: form}}
		switch form {
		case "command_length", "huge_length":
			row.missing, row.cuts = true, true // nobody knows where the next PDU begins
		case "sm_length", "cut_body", "empty_body", "tlv_length":
			row.unread = 1
		}
		rows = append(rows, row)
	}
	return rows
}

func formsOf(kind smsc.FaultKind) []string {
	for _, k := range smsc.Kinds() {
		if k.Kind == kind {
			return k.Forms
		}
	}
	return nil
}

// Whatever the operator does wrong: nothing is lost, nothing is doubled but codes
// of which an answer is missing, once (P5), receipts find their Messages, and the
// binds come back.
func TestEveryFaultOfTheOperator(t *testing.T) {
	driven := map[smsc.FaultKind]bool{}
	for _, row := range faultRows() {
		driven[row.fault.Kind] = true
		if row.name == "" {
			row.name = string(row.fault.Kind)
		}
		t.Run(row.name, func(t *testing.T) {
			t.Parallel() // they mostly wait
			row.run(t)
		})
	}
	for _, k := range smsc.Kinds() {
		if !driven[k.Kind] {
			t.Errorf("no row has the fault %s", k.Kind)
		}
	}
}

// faultRun is one row under way.
type faultRun struct {
	*rig
	row  faultRow
	dest map[mobileid.ID]string
	code map[mobileid.ID]bool
}

func (row faultRow) run(t *testing.T) {
	t.Helper()
	f := &faultRun{row: row, dest: map[mobileid.ID]string{}, code: map[mobileid.ID]bool{}}
	f.rig = newRig(t, func(c *Config, sc *smsc.Config) {
		c.Profile.Timers.ReconnectMax, c.Profile.Timers.Refused = 100*time.Millisecond, 50*time.Millisecond
		if row.tune != nil {
			row.tune(c, sc)
		}
	})
	now := false
	for _, k := range smsc.Kinds() {
		now = now || k.Kind == row.fault.Kind && k.Once
	}
	if now {
		row.also = append(row.also, smsc.Fault{Kind: smsc.FaultDelay, Delay: 20 * time.Millisecond}) // some is under way
	} else {
		f.fault(row.fault)
	}
	for _, also := range row.also {
		f.fault(also)
	}
	f.start()
	if row.bothUp {
		f.linkIs("a", LinkUp)
		f.linkIs("b", LinkUp)
	}
	f.ask(faultMessages)
	if now {
		// First codes are under way, then notices.
		for _, n := range []int{faultMessages / 3, faultMessages * 3 / 4} {
			if err := f.smsc.Wait(t.Context(), n); err != nil {
				t.Fatal(err)
			}
			f.fault(row.fault)
		}
	}
	f.settled()
	if row.cuts {
		f.linkUntil("a", "lost", func(v LinkView) bool { return v.Failure != "" })
	}
	// The operator is himself again: so is the bridge.
	if row.fault.Kind != smsc.FaultIDs { // he writes them so for ever
		f.smsc.Lift(row.fault.Kind)
	}
	f.linkIs("a", LinkUp)
	f.ask(2)
	f.settled()
	if row.check != nil {
		row.check(f)
	}
	f.judgeReceipts()
	f.stop()
	f.judge()
}

// ask brings n Messages, codes and notices in turn.
func (f *faultRun) ask(n int) {
	ids := map[mobileid.Lane][]mobileid.ID{}
	for i := range n {
		lane := mobileid.LaneOTP
		if i%2 == 1 {
			lane = mobileid.LaneBulk
		}
		dest := fmt.Sprintf("9989012345%02d", len(f.dest))
		if f.row.sameDest {
			dest = secretTo
		}
		id := f.message(lane, func(x *row) {
			plain, _ := json.Marshal(mobileid.SealedText{To: dest, Text: secretText})
			x.admission.Sealed, _ = f.sealer.Seal(x.admission.ID[:], plain)
			number, _ := mobileid.ParseMSISDN(dest)
			x.admission.Dest = f.bridge.numbers.Number(number)
		})
		f.dest[id], f.code[id] = dest, lane == mobileid.LaneOTP
		ids[lane] = append(ids[lane], id)
	}
	for lane, some := range ids {
		go f.bring(lane, some...)
	}
}

// settled waits until every Message is where it stays.
func (f *faultRun) settled() {
	f.t.Helper()
	f.store.until(f.t, "no Message is under way", func() bool {
		for id := range f.dest {
			switch state := f.store.state(id); {
			case state == mobileid.MessageSent:
			case state == mobileid.MessageRejected && f.row.answer != 0:
			case state == mobileid.MessageInDoubt && f.row.missing && (!f.code[id] || f.store.rows[id].admission.Resend):
			default:
				return false
			}
		}
		return true
	})
}

// took is what the operator took, by number.
func (f *faultRun) took() map[string][]smsc.Submit {
	out := map[string][]smsc.Submit{}
	for _, s := range f.smsc.Received() {
		if s.Status == 0 {
			out[s.Dest] = append(out[s.Dest], s)
		}
	}
	return out
}

// judge compares what is stored with what the operator received.
func (f *faultRun) judge() {
	took := f.took()
	if f.row.sameDest {
		if n := len(took[secretTo]); n != len(f.dest) {
			f.t.Errorf("%d submit_sm for %d Messages", n, len(f.dest))
		}
		return
	}
	answers := map[mobileid.ID][]mobileid.PartOutcome{}
	for k, p := range f.store.parts {
		answers[k.id] = append(answers[k.id], p)
	}
	for id, dest := range f.dest {
		state, n := f.store.state(id), len(took[dest])
		most := 1
		if f.row.missing && f.code[id] {
			most = 2
		}
		switch {
		case n > most:
			f.t.Errorf("the operator took %s %d times", dest, n)
		case n > 1 && !slices.ContainsFunc(f.outcomes(id), func(o string) bool { return strings.HasPrefix(o, string(mobileid.MessageInDoubt)) }):
			f.t.Errorf("the operator took %s %d times, and it was never in doubt", dest, n)
		case state == mobileid.MessageSent && n == 0:
			f.t.Errorf("%s is sent, and the operator has not taken it", dest)
		case state == mobileid.MessageRejected && n != 0:
			f.t.Errorf("%s is rejected, and the operator has taken it", dest)
		}
		known := 0
		for _, p := range answers[id] {
			if p.Status != 0 && p.Status != f.row.answer && !slices.Contains([]uint32{0x14, 0x58}, p.Status) {
				f.t.Errorf("%s was answered with %#x", dest, p.Status)
			}
			for _, s := range took[dest] {
				if p.OperatorID != "" && p.OperatorID == f.bridge.cfg.Profile.IDs.FromAnswer(s.MessageID) {
					known++
				}
			}
		}
		if state == mobileid.MessageSent && known == 0 {
			f.t.Errorf("%s is sent, and none of its operator ids is stored", dest)
		}
	}
	if n := len(f.bridge.held); n != 0 {
		f.t.Errorf("%d Messages are held after the end", n)
	}
	if n := len(f.store.unread); (n == 0) != (f.row.unread == 0) || n < f.row.unread {
		f.t.Errorf("%d receipts could not be read, want %d", n, f.row.unread)
	}
}

// judgeReceipts waits for the receipts of what the operator took.
func (f *faultRun) judgeReceipts() {
	f.t.Helper()
	want := map[string]string{} // operator id -> number
	for dest, all := range f.took() {
		for _, s := range all {
			if f.row.fault.Kind == smsc.FaultDrop && !s.Answered {
				continue // he forgets it with the link
			}
			want[f.bridge.cfg.Profile.IDs.FromAnswer(s.MessageID)] = dest
		}
	}
	unmatched := 0
	if f.row.receipts == someUnmatched {
		unmatched = f.row.fault.Count
	}
	say := "the receipts"
	if f.row.receipts == noReceipts {
		// The two that were asked for at the end have theirs.
		f.store.until(f.t, say, func() bool {
			return len(f.store.receipts) == len(f.dest)-faultMessages && len(f.store.unread) >= f.row.unread
		})
		return
	}
	f.store.until(f.t, say, func() bool {
		has := map[string]bool{}
		for _, r := range f.store.receipts {
			if _, ours := want[r.OperatorID]; ours {
				has[r.OperatorID] = true
			}
		}
		return len(has) == len(want)-unmatched && len(f.store.receipts) >= len(want)
	})
	f.store.mu.Lock()
	defer f.store.mu.Unlock()
	strange := 0
	for _, r := range f.store.receipts {
		dest, ours := want[r.OperatorID]
		if !ours {
			strange++
			continue
		}
		number, _ := mobileid.ParseMSISDN(dest)
		if r.Dest != f.bridge.numbers.Number(number) {
			f.t.Errorf("the receipt of %s is stored for another number", dest)
		}
		if want := f.row.state; r.State != mobileid.MessageDelivered && (want == "" || r.State != want) {
			f.t.Errorf("the receipt of %s says %q", dest, r.State)
		}
	}
	if strange != unmatched {
		f.t.Errorf("%d receipts name an id that nobody was given, want %d", strange, unmatched)
	}
}

// refusedSome: the fault showed itself.
func refusedSome(f *faultRun) {
	refused := 0
	for _, s := range f.smsc.Received() {
		if s.Status != 0 {
			refused++
		}
	}
	if refused == 0 {
		f.t.Error("the operator refused nothing")
	}
}

func secondBindComes(f *faultRun) {
	f.linkIs("b", LinkUp)
	if n := f.smsc.Bound(); n != 2 {
		f.t.Errorf("%d binds", n)
	}
}

// eachReceiptComes waits for so many of each Message of the fault.
func eachReceiptComes(times int) func(*faultRun) {
	return func(f *faultRun) {
		f.store.until(f.t, "all receipts", func() bool {
			n := map[string]int{}
			for _, r := range f.store.receipts {
				n[r.OperatorID]++
			}
			full := 0
			for _, got := range n {
				if got == times {
					full++
				}
			}
			return full >= faultMessages
		})
	}
}

// theOtherBindHears: what went on bind a came back on bind b.
func theOtherBindHears(f *faultRun) {
	on := func(l *link) float64 { return testutil.ToFloat64(l.metrics.receipts.WithLabelValues("stored")) }
	f.store.until(f.t, "receipts", func() bool { return len(f.store.receipts) == len(f.dest) })
	f.stop() // they are counted behind the statement
	a, b := on(f.bridge.links[0]), on(f.bridge.links[1])
	if b < faultMessages || a+b != float64(len(f.dest)) {
		f.t.Errorf("%v receipts came on the bind that submitted, %v on the other", a, b)
	}
}

func receiptsName(f *faultRun) {
	f.store.until(f.t, "receipts", func() bool { return len(f.store.receipts) >= faultMessages })
	f.store.mu.Lock()
	defer f.store.mu.Unlock()
	named := map[uint16]bool{}
	for _, r := range f.store.receipts {
		if r.Reference != nil {
			named[*r.Reference] = true
		}
	}
	missing := 0
	for id := range f.dest {
		if !named[reference(id)] {
			missing++
		}
	}
	if missing > len(f.dest)-faultMessages {
		f.t.Errorf("%d Messages are named by no receipt", missing)
	}
}
