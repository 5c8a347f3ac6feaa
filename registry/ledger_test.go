package registry_test

import (
	"testing"

	"pgregory.net/rapid"

	"mobileid/internal/mobileid"
	"mobileid/registry/ledger"
)

// TestCheckFindsEveryTiyin books random charges the right way, finds them
// balanced, then falsifies one amount anywhere and finds exactly that.
func TestCheckFindsEveryTiyin(t *testing.T) {
	e := newEnv(t)
	rapid.Check(t, func(rt *rapid.T) {
		e.exec(`truncate accounts, credits, transfers, bindings restart identity`)
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
		if r != want {
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
	if r.Balanced() || r.Orphans != 1 || r.Posted != 5 {
		t.Fatalf("%+v", r)
	}
}
