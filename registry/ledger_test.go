package registry_test

import (
	"fmt"
	"reflect"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5"
	"pgregory.net/rapid"

	"mobileid/internal/mobileid"
	"mobileid/registry/ledger"
)

// TestCheckFindsEveryTiyin books random charges the right way, finds them
// balanced, then falsifies one amount anywhere and finds exactly that.
func TestCheckFindsEveryTiyin(t *testing.T) {
	e := newEnv(t)
	rapid.Check(t, func(rt *rapid.T) {
		e.empty(`accounts, credits, transfers, bindings, messages restart identity`)
		n := rapid.IntRange(1, 4).Draw(rt, "accounts")
		for a := 1; a <= n; a++ {
			var pending, posted int64
			e.exec(`insert into accounts (owner) values ('a' || $1::bigint)`, a)
			for i := range rapid.IntRange(0, 5).Draw(rt, "charges") {
				amount := rapid.Int64Range(0, 1000).Draw(rt, "amount")
				state := rapid.SampledFrom([]string{"pending", "posted", "voided", "unknown", "reversed"}).Draw(rt, "state")
				id := e.key.Make(mobileid.KindMessage, client, string(rune('a'+a))+string(rune('a'+i)), now0)
				for step, tr := range transfersTo(state, amount) {
					e.exec(`insert into transfers values ($1, $2, $3, 'answer', $4, $5, $6, $7, now())`, id[:], step+1, tr.kind, a, operator, tr.held, tr.taken)
				}
				e.message1(id, int64(a), state, amount, len(transfersTo(state, amount)))
				switch state {
				case "pending":
					pending += amount
				case "posted":
					posted += amount
				}
			}
			granted := pending + posted + rapid.Int64Range(1, 100).Draw(rt, "left")
			e.exec(`insert into credits values ('s', $1::bigint::text, $1, $2, now(), 'top_up', $2, now())`, a, granted)
			e.exec(`update accounts set granted = $2, pending = $3, posted = $4 where id = $1`, a, granted, pending, posted)
		}
		e.wantBalanced()

		victim := rapid.IntRange(1, n).Draw(rt, "victim")
		off := rapid.Int64Range(1, 50).Draw(rt, "off")
		column := rapid.SampledFrom([]string{"granted", "pending", "posted"}).Draw(rt, "column")
		e.exec(`update accounts set granted = granted + $2, pending = pending + $3, posted = posted + $4 where id = $1`, victim,
			pickOff(column, "granted", off)+1000, pickOff(column, "pending", off), pickOff(column, "posted", off))
		e.exec(`insert into credits values ('t', '1', $1, 1000, now(), 'top_up', 1000, now())`, victim) // room for what is falsified
		r, err := e.CheckLedger(e.ctx())
		must(t, err)
		want := ledger.Report{Accounts: 1}
		switch column {
		case "granted":
			want.Granted = mobileid.Money(off)
		case "pending":
			want.Pending = mobileid.Money(off)
		case "posted":
			want.Posted = mobileid.Money(off)
		}
		want.Findings = []ledger.Finding{{
			Rule: ledger.RuleAccount, Subject: fmt.Sprint("account ", victim), What: fmt.Sprintf("%s is off by %s soum", column, mobileid.Money(off)),
		}}
		if !reflect.DeepEqual(r, want) {
			rt.Fatalf("found %+v, want %+v", r, want)
		}
	})
}

type transfer struct {
	kind        string
	held, taken int64
}

// transfersTo are the transfers of a Charge that has come to a state.
func transfersTo(state string, amount int64) []transfer {
	all := []transfer{{"pending", amount, 0}}
	switch state {
	case "posted", "reversed":
		all = append(all, transfer{"posted", -amount, amount})
	case "voided", "unknown":
		all = append(all, transfer{state, -amount, 0})
	}
	if state == "reversed" {
		all = append(all, transfer{state, 0, -amount})
	}
	return all
}

func pickOff(column, name string, off int64) int64 {
	if column == name {
		return off
	}
	return 0
}

func TestCheckFindsAChargeOfNoAccount(t *testing.T) {
	e := newEnv(t)
	id := e.key.Make(mobileid.KindMessage, client, "x", now0)
	e.exec(`insert into transfers values ($1, 1, 'posted', 'answer', 77, $2, 0, 5, now())`, id[:], operator)
	r, err := e.CheckLedger(e.ctx())
	must(t, err)
	if r.Balanced() || r.Orphans != 1 || r.Posted != 5 || r.Findings[0].Rule != ledger.RuleOrphan || r.Findings[0].Subject != "account 77" {
		t.Fatalf("%+v", r)
	}
}

// message1 inserts the Message of a Charge that has come to a state by that many
// transfers.
func (e *env) message1(id mobileid.ID, account int64, charge string, amount int64, steps int) {
	e.t.Helper()
	charged := int64(0)
	if charge == "posted" {
		charged = amount
	}
	e.exec(`
insert into messages (id, client, person, lane, operator, text_id, account_id, amount, deadline, parts, state, queued_at, charge, charge_step, charged)
values ($1, $2, $3, 'bulk', $4, 'notice.x', $5, $6, now(), 1, 'sent', now(), $7, $8, $9)`,
		id[:], client, make([]byte, 16), operator, account, amount, charge, steps, charged)
}

// TestEachRuleOfTheLedgerNamesItsRow falsifies one row for each rule, behind the
// back of what would refuse it, and finds the rule and the row, and nothing once it
// is put right.
func TestEachRuleOfTheLedgerNamesItsRow(t *testing.T) {
	e := newEnv(t)
	e.tariff()
	e.exec(`alter table transfers disable trigger user`)
	e.exec(`alter table credits disable trigger user`)
	b, p := e.bridge(), e.bind(10*cost)
	sent, waits := e.notice(p, "sent"), e.notice(p, "waits")
	e.queue(sent, waits)
	e.admit(b, sent.Message.ID, waits.Message.ID)
	e.settle(b, e.outcome(sent.Message.ID, mobileid.MessageSent, p.binding.Number, "1"))
	e.wantBalanced()
	account := fmt.Sprint("account ", p.binding.Account)
	for _, c := range []struct {
		name, wrong, right string
		rule               ledger.Rule
		subject            string
	}{
		{"granted", `update accounts set granted = granted + 1`, `update accounts set granted = granted - 1`, ledger.RuleAccount, account},
		{"pending", `update accounts set pending = pending + 1`, `update accounts set pending = pending - 1`, ledger.RuleAccount, account},
		{"posted", `update accounts set posted = posted - 1`, `update accounts set posted = posted + 1`, ledger.RuleAccount, account},
		{"late", `update accounts set late = late + 1`, `update accounts set late = late - 1`, ledger.RuleAccount, account},
		{
			"no account", `update transfers set account_id = account_id + 1000`, `update transfers set account_id = account_id - 1000`,
			ledger.RuleOrphan, fmt.Sprint("account ", p.binding.Account+1000),
		},
		{
			"no message", `create table kept as select * from messages where state = 'sent'; delete from messages where state = 'sent'`,
			`insert into messages select * from kept; drop table kept`, ledger.RuleMessage, sent.Message.ID.String(),
		},
		{
			"account of the message", `update messages set account_id = account_id + 1 where state = 'sent'`,
			`update messages set account_id = account_id - 1 where state = 'sent'`, ledger.RulePayer, sent.Message.ID.String(),
		},
		{
			"operator of one transfer", `update transfers set operator = 'other' where kind = 'posted'`,
			`update transfers set operator = 'beeline' where kind = 'posted'`, ledger.RulePayer, sent.Message.ID.String(),
		},
		{
			"counted steps", `update messages set charge_step = 3 where state = 'sent'`,
			`update messages set charge_step = 2 where state = 'sent'`, ledger.RuleSteps, sent.Message.ID.String(),
		},
		{
			"a gap", `update transfers set step = 3 where kind = 'posted'`,
			`update transfers set step = 2 where kind = 'posted'`, ledger.RuleSteps, sent.Message.ID.String(),
		},
		{
			"two are pending", `update transfers set kind = 'pending' where kind = 'posted'`,
			`update transfers set kind = 'posted' where step = 2`, ledger.RulePending, sent.Message.ID.String(),
		},
		{
			"pending is not the first", `update transfers set kind = case step when 1 then 'posted' else 'pending' end where kind = 'posted' or step = 1 and taken = 0 and message_id in (select id from messages where state = 'sent')`,
			`update transfers set kind = case step when 1 then 'pending' else 'posted' end where message_id in (select id from messages where state = 'sent')`,
			ledger.RulePending, sent.Message.ID.String(),
		},
		{
			"state", `update messages set charge = 'voided' where state = 'sent'`,
			`update messages set charge = 'posted' where state = 'sent'`, ledger.RuleState, sent.Message.ID.String(),
		},
		{
			"more than the price", `update messages set amount = 1 where state = 'sent'`,
			`update messages set amount = 12000 where state = 'sent'`, ledger.RuleOver, sent.Message.ID.String(),
		},
		{
			"charged", `update messages set charged = 1 where state = 'sent'`,
			`update messages set charged = 12000 where state = 'sent'`, ledger.RuleTaken, sent.Message.ID.String(),
		},
		{
			"held", `update messages set amount = 12001 where state = 'admitted'`,
			`update messages set amount = 12000 where state = 'admitted'`, ledger.RuleHeld, waits.Message.ID.String(),
		},
		{
			"an ended one holds money", `update messages set ended_at = now(), sealed = null, seal_key = null where state = 'admitted'`,
			`update messages set ended_at = null where state = 'admitted'`, ledger.RuleOpen, waits.Message.ID.String(),
		},
	} {
		e.execs(c.wrong)
		r, err := e.CheckLedger(e.ctx())
		must(t, err)
		if r.Balanced() || !slices.ContainsFunc(r.Findings, func(f ledger.Finding) bool { return f.Rule == c.rule && f.Subject == c.subject && f.What != "" }) {
			t.Errorf("%s: want %s of %s, found %+v", c.name, c.rule, c.subject, r)
		}
		e.execs(c.right)
		e.wantBalanced()
	}
}

// execs runs several statements.
func (e *env) execs(sql string) {
	e.t.Helper()
	_, err := e.pool.Exec(e.ctx(), sql, pgx.QueryExecModeSimpleProtocol)
	must(e.t, err)
}
