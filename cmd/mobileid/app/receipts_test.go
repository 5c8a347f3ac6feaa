package app_test

import (
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"mobileid/cmd/mobileid/app"
	"mobileid/cmd/mobileid/app/apptest"
	"mobileid/cmd/mobileid/config"
	"mobileid/cmd/smscsim/smsc"
	"mobileid/internal/mobileid"
	"mobileid/smpp/profile"
	"mobileid/smpp/wire"
)

// receiptRow is a way in which receipts come, and where it must lead.
type receiptRow struct {
	name   string
	code   bool         // a code; else a notice
	text   string       // of the notice, when not the catalogue's
	faults []smsc.Fault // for its number
	// then is what happens when it has been asked for.
	then func(r *receiptRun)
	// minutes: they pass before the end, so that a receipt is not waited for any
	// more.
	minutes bool

	state  string // "" = delivered
	charge string // "" = posted
	sms    int    // that the operator took; 0 = one
	told   int    // receipts that he was acknowledged; 0 = one
	kept   int    // of these, facts of the Message; 0 = one
	wait   int    // of these, of no Message
}

const receiptTariff = 120_00

// receiptSystem is a system whose operator is asked what became of his receipts.
type receiptSystem struct {
	*looker
	people int

	mu   sync.Mutex
	acks map[string][]wire.Status // by number, of deliver_sm_resp
}

func receiptsOf(t *testing.T, o apptest.Options) *receiptSystem {
	t.Helper()
	s := &receiptSystem{looker: look(t, o), acks: map[string][]wire.Status{}}
	events, cancel := s.SMSC.Subscribe()
	t.Cleanup(cancel)
	go func() {
		for e := range events {
			if e.Kind == smsc.EventReceiptAck {
				s.mu.Lock()
				s.acks[e.Receipt.Dest] = append(s.acks[e.Receipt.Dest], wire.Status(e.Receipt.AckStatus))
				s.mu.Unlock()
			}
		}
	}()
	return s
}

// receiptRun is a row under way.
type receiptRun struct {
	*receiptSystem
	row receiptRow
	who apptest.Person
	id  string
}

// ask has the row's Message under way.
func (s *receiptSystem) ask(row receiptRow) *receiptRun {
	s.t.Helper()
	s.people++
	r := &receiptRun{receiptSystem: s, row: row, who: s.Bind(s.people, 1000_00)}
	for _, f := range row.faults {
		f.To = r.who.Number
		s.fault(f)
	}
	if row.code {
		r.id = s.Ask(r.who, "sign_in")
	} else {
		r.id = s.notify(r.who)
	}
	if row.text != "" {
		r.isIn("queued") // no bridge runs
		s.reseal(r.id, mobileid.SealedText{To: r.who.Number, Text: row.text})
	}
	return r
}

// isIn waits for a state of the Message.
func (r *receiptRun) isIn(state string) {
	r.t.Helper()
	r.Until(r.row.name+": "+state, func() bool { return r.messageState(r.id) == state })
}

// took waits until the operator has taken so many.
func (r *receiptRun) took(n int) {
	r.t.Helper()
	r.Until(r.row.name+": the operator has it", func() bool { return len(r.SMS(r.who.Number)) == n })
}

// receipt has the operator send one more, of the n-th submit_sm from 0.
func (r *receiptRun) receipt(n int, state string) {
	r.t.Helper()
	var ids []string
	for _, m := range r.SMSC.Received() {
		if m.Dest == r.who.Number {
			ids = append(ids, m.MessageID)
		}
	}
	check(r.t, r.SMSC.SendReceipt(ids[n], state))
}

// acked counts the receipts that were answered so.
func (r *receiptRun) acked(status wire.Status) (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.acks[r.who.Number] {
		if s == status {
			n++
		}
	}
	return n
}

// waiting counts the receipts that belong to nothing.
func (r *receiptRun) waiting() int {
	r.t.Helper()
	return r.number(`select count(*) from receipts_unmatched where dest = (select number from bindings where id = $1)`, r.who.Binding)
}

// waits returns when a receipt of it finds nothing.
func (r *receiptRun) waits() {
	r.t.Helper()
	r.Until(r.row.name+": a receipt that finds nothing", func() bool { return r.waiting() == 1 })
}

func (r *receiptRun) kept() int {
	r.t.Helper()
	return r.number(`select count(*) from receipts r join messages m on m.id = r.message_id where m.id = $1 or m.challenge_id = $1`, r.rawID(r.id))
}

// overdue lets the time for a receipt pass.
func (r *receiptRun) overdue() {
	r.t.Helper()
	_, err := r.pool.Exec(r.t.Context(), `update messages set deadline = now() - interval '2 hours' where id = $1`, r.rawID(r.id))
	check(r.t, err)
	r.isIn("unconfirmed")
}

// run asks for what each row says and judges where it led. between happens when
// all have been asked for.
func (s *receiptSystem) run(between func([]*receiptRun), rows ...receiptRow) {
	s.t.Helper()
	runs := make([]*receiptRun, len(rows))
	for i, row := range rows {
		runs[i] = s.ask(row)
	}
	if between != nil {
		between(runs)
	}
	for _, r := range runs {
		if r.row.then != nil {
			r.row.then(r)
		}
	}
	if slices.ContainsFunc(rows, func(row receiptRow) bool { return row.minutes }) {
		// Once, and all of them together: the sweeper looks at none twice.
		_, err := s.pool.Exec(s.t.Context(), `
update receipts_unmatched set received_at = received_at - interval '3 minutes' where received_at > now() - interval '2 minutes'`)
		check(s.t, err)
	}
	for _, r := range runs {
		s.t.Run(r.row.name, r.judge)
	}
	s.balanced()
}

func (r *receiptRun) judge(t *testing.T) {
	row := r.row
	or := func(n int) int { return max(n, 1) }
	if row.state == "" {
		row.state = "delivered"
	}
	if row.charge == "" {
		row.charge = "posted"
	}
	r.isIn(row.state)
	r.Until(row.name+": all receipts are acknowledged", func() bool { return r.acked(wire.StatusOK) >= or(row.told) })
	r.Until(row.name+": what waits has found its Message", func() bool { return r.waiting() == row.wait })
	if n := r.acked(wire.StatusOK); n != or(row.told) {
		t.Errorf("%d receipts are acknowledged, want %d", n, or(row.told))
	}
	want := or(row.kept)
	if row.wait > 0 {
		want = row.kept
	}
	if n := r.kept(); n != want {
		t.Errorf("%d receipts are kept of it, want %d", n, want)
	}
	if n := len(r.SMS(r.who.Number)); n != or(row.sms) {
		t.Errorf("%d submit_sm, want %d", n, or(row.sms))
	}
	if got := r.charge(r.id); got != row.charge {
		t.Errorf("charges: %q, want one %s", got, row.charge)
	}
	posted := 0
	if row.charge == "posted" {
		posted = receiptTariff
	}
	if n := r.number(`select posted from accounts where id = $1`, r.who.Account); n != posted {
		t.Errorf("%d tiyin posted, want %d", n, posted)
	}
	if n := r.number(`select pending from accounts where id = $1`, r.who.Account); n != 0 {
		t.Errorf("%d tiyin still reserved", n)
	}
	if got := r.messageState(r.id); got != row.state {
		t.Errorf("it became %s afterwards", got)
	}
}

// never is a submit_sm_resp that comes when nobody waits any more.
var never = smsc.Fault{Kind: smsc.FaultDelay, Delay: time.Hour, Count: 1}

// TestAReceiptEndsItsMessageHoweverItComes: by the whole way, each once, charged
// once, and what finds nothing is kept (promises P1, P3, P4, P5).
func TestAReceiptEndsItsMessageHoweverItComes(t *testing.T) {
	o := apptest.Options{Through: struct{ Postgres, Kafka, Redis, SMSC bool }{Postgres: true}}
	o.Change = func(c *config.Config) {
		op := &c.Operators[0]
		hears := op.Binds[0]
		hears.Name, hears.Type = "hears", profile.Receiver
		op.Binds = append(op.Binds, hears)
		op.Timers.ReconnectMin, op.Timers.ReconnectMax = 20*time.Millisecond, 100*time.Millisecond
	}
	s := receiptsOf(t, o)
	onOther := func() float64 {
		return s.metric("mobileid_smpp_receipts_total", `/hears"`, `result="stored"`)
	}
	cut := func(r *receiptRun) {
		r.took(1)
		r.fault(smsc.Fault{Kind: smsc.FaultCut})
	}
	for _, row := range []receiptRow{
		{name: "as it should", code: true},
		{name: "three times", faults: []smsc.Fault{{Kind: smsc.FaultReceiptRepeat, N: 3}}, told: 3},
		{
			name: "before submit_sm_resp", code: true,
			faults: []smsc.Fault{{Kind: smsc.FaultReceiptFirst}, {Kind: smsc.FaultDelay, Delay: 500 * time.Millisecond}},
			then:   (*receiptRun).waits,
		},
		{
			name: "on another bind", faults: []smsc.Fault{{Kind: smsc.FaultReceiptOtherBind}},
			then: func(r *receiptRun) {
				r.Until("it came on the other bind", func() bool { return onOther() == 1 })
			},
		},
		{
			name: "of an id that nobody was given", faults: []smsc.Fault{{Kind: smsc.FaultReceiptUnknown}}, minutes: true,
			then:  func(r *receiptRun) { r.waits(); r.isIn("sent"); r.overdue() },
			state: "unconfirmed", wait: 1,
		},
		{name: "dated two days ago", faults: []smsc.Fault{{Kind: smsc.FaultReceiptDate, Delay: 48 * time.Hour}}},
		{
			name: "two days late", faults: []smsc.Fault{{Kind: smsc.FaultNoReceipt}},
			then: func(r *receiptRun) { r.twoDaysLater("DELIVRD") }, state: "unconfirmed",
		},
		{
			name: "two days late, not delivered", faults: []smsc.Fault{{Kind: smsc.FaultNoReceipt}},
			then: func(r *receiptRun) { r.twoDaysLater("UNDELIV") }, state: "unconfirmed", charge: "reversed",
		},
		{
			name: "and the answer was lost with the link", faults: []smsc.Fault{never, {Kind: smsc.FaultReceiptLate, Delay: 200 * time.Millisecond}},
			then: func(r *receiptRun) { cut(r); r.isIn("in_doubt"); r.waits() }, minutes: true,
		},
		{
			name: "not delivered, and the answer was lost", minutes: true,
			faults: []smsc.Fault{never, {Kind: smsc.FaultReceipt, State: "UNDELIV"}, {Kind: smsc.FaultReceiptLate, Delay: 200 * time.Millisecond}},
			then:   func(r *receiptRun) { cut(r); r.isIn("in_doubt"); r.waits() }, state: "undeliverable", charge: "voided",
		},
		{
			name: "of both sendings of a code", code: true, minutes: true,
			faults: []smsc.Fault{never, {Kind: smsc.FaultReceiptLate, Delay: 200 * time.Millisecond}},
			then:   func(r *receiptRun) { cut(r); r.isIn("delivered"); r.waits() }, sms: 2, told: 2,
		},
		{
			name: "while Postgres is away", faults: []smsc.Fault{{Kind: smsc.FaultNoReceipt}},
			then: func(r *receiptRun) {
				r.isIn("sent")
				r.PostgresProxy.Down()
				r.receipt(0, "DELIVRD")
				r.Until("the operator is asked to come again", func() bool { return r.acked(wire.StatusTemporary) > 0 })
				if n := r.kept() + r.waiting() + r.acked(wire.StatusOK); n != 0 {
					r.t.Error("it is stored or acknowledged without Postgres")
				}
				r.PostgresProxy.Up()
			},
		},
		{
			name: "while Postgres does not answer", faults: []smsc.Fault{{Kind: smsc.FaultNoReceipt}},
			then: func(r *receiptRun) {
				r.isIn("sent")
				tx, err := r.pool.Begin(r.t.Context())
				check(r.t, err)
				_, err = tx.Exec(r.t.Context(), `select from messages where id = $1 for update`, r.rawID(r.id))
				check(r.t, err)
				r.receipt(0, "DELIVRD")
				r.Until("the operator is asked to come again", func() bool { return r.acked(wire.StatusTemporary) > 0 })
				if r.acked(wire.StatusOK) != 0 {
					r.t.Error("it is acknowledged before it is stored")
				}
				check(r.t, tx.Rollback(r.t.Context()))
			},
		},
	} {
		s.Until("both binds are there", func() bool { return s.SMSC.Bound() == 2 })
		s.run(nil, row)
	}
}

// twoDaysLater has the receipt come long after everything else is over.
func (r *receiptRun) twoDaysLater(state string) {
	r.t.Helper()
	r.isIn("sent")
	_, err := r.pool.Exec(r.t.Context(), `update message_parts set answered_at = answered_at - interval '48 hours' where message_id = $1`, r.rawID(r.id))
	check(r.t, err)
	r.overdue()
	r.receipt(0, state)
}

// TestReceiptsEndWhatADeadBridgeHad: of two processes the first has written all
// and dies; the second hears of it (promises P1, P3, P5, P10).
func TestReceiptsEndWhatADeadBridgeHad(t *testing.T) {
	s := receiptsOf(t, apptest.Options{Roles: []string{app.RoleGateway, app.RoleConsumers}})
	p := &pair{watcher: watch(t, s.System)}
	long := receiptRow{
		name: "a long text's in reverse order", text: strings.Repeat("Your data were used. ", 17),
		faults: []smsc.Fault{{Kind: smsc.FaultReceiptReverse, N: 3}}, sms: 3, told: 3, kept: 3,
	}
	kill := func(runs []*receiptRun) {
		p.start(0)
		runs[0].isIn("delivered")
		for _, r := range runs[1:] {
			r.took(1)
		}
		runs[1].isIn("sent")
		p.child[0].Kill()
		// Fifteen seconds pass: its lease ends.
		_, err := s.pool.Exec(t.Context(), `update bridges set lease_until = clock_timestamp() where id = $1`, p.lease[0])
		check(t, err)
		s.ForgetMembers(groupsOf(app.RoleBridge)...)
		p.start(1)
	}
	both := func(r *receiptRun) {
		r.took(2)
		if r.Code(r.who.Number, 1) != r.Code(r.who.Number, 2) {
			r.t.Error("the second SMS carries another code")
		}
	}
	s.run(kill,
		long,
		receiptRow{
			name: "in another process", faults: []smsc.Fault{{Kind: smsc.FaultNoReceipt}},
			then: func(r *receiptRun) { r.receipt(0, "DELIVRD") },
		},
		receiptRow{
			name: "of a notice without an answer", faults: []smsc.Fault{never}, minutes: true,
			then: func(r *receiptRun) { r.isIn("in_doubt"); r.waits() },
		},
		receiptRow{
			name: "of both sendings of a code", code: true, faults: []smsc.Fault{never}, sms: 2, told: 2,
			then: func(r *receiptRun) { both(r); r.isIn("delivered"); r.waits() }, minutes: true,
		},
		receiptRow{
			name: "of the first sending of a code only", code: true, faults: []smsc.Fault{never, {Kind: smsc.FaultNoReceipt}}, sms: 2,
			then: func(r *receiptRun) { both(r); r.isIn("sent"); r.receipt(0, "DELIVRD"); r.waits() }, minutes: true,
		},
	)
	if n := s.number(`select count(*) from retries`); n != 0 {
		t.Errorf("%d more tries are planned", n)
	}
}

// TestReceiptsAreFoundByIDsInTheFormsOfTheOperatorsFile: what the answer has in
// hexadecimal and the receipt in decimal is one id, where the file says so.
func TestReceiptsAreFoundByIDsInTheFormsOfTheOperatorsFile(t *testing.T) {
	s := receiptsOf(t, apptest.Options{Roles: []string{}})
	for _, c := range []struct {
		ids             profile.IDs
		answer, receipt string
	}{
		{profile.IDs{Answer: profile.Hex, Receipt: profile.Decimal}, "hex", "decimal"},
		{profile.IDs{Answer: profile.Decimal, Receipt: profile.Hex}, "decimal_zeros", "upper"},
	} {
		s.Config.Operators[0].IDs = c.ids
		s.Run(app.AllRoles()...)
		s.run(nil, receiptRow{
			name: c.answer + " and " + c.receipt, code: true,
			faults: []smsc.Fault{{Kind: smsc.FaultIDs, Form: c.answer, ReceiptForm: c.receipt}},
		})
		s.Stop()
	}
}
