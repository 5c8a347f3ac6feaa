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
		e.exec(`truncate accounts, credits, charges, bindings restart identity`)
		n := rapid.IntRange(1, 4).Draw(rt, "accounts")
		for a := 1; a <= n; a++ {
			var pending, posted int64
			e.exec(`insert into accounts (owner) values ('a' || $1::bigint)`, a)
			for i := range rapid.IntRange(0, 5).Draw(rt, "charges") {
				amount := rapid.Int64Range(0, 1000).Draw(rt, "amount")
				state := rapid.SampledFrom([]string{"pending", "posted", "voided", "reversed"}).Draw(rt, "state")
				id := e.key.Make(mobileid.KindMessage, client, string(rune('a'+a))+string(rune('a'+i)), now0)
				e.exec(`insert into charges (message_id, account_id, amount, state, reserved_at) values ($1, $2, $3, $4, now())`, id[:], a, amount, state)
				switch state {
				case "pending":
					pending += amount
				case "posted":
					posted += amount
				}
			}
			granted := pending + posted + rapid.Int64Range(1, 100).Draw(rt, "left")
			e.exec(`insert into credits values ('s', $1::bigint::text, $1, $2, now())`, a, granted)
			e.exec(`update accounts set granted = $2, pending = $3, posted = $4 where id = $1`, a, granted, pending, posted)
		}
		e.wantBalanced()

		victim := rapid.IntRange(1, n).Draw(rt, "victim")
		off := rapid.Int64Range(1, 50).Draw(rt, "off")
		column := rapid.SampledFrom([]string{"granted", "pending", "posted"}).Draw(rt, "column")
		e.exec(`update accounts set granted = granted + $2, pending = pending + $3, posted = posted + $4 where id = $1`, victim,
			pickOff(column, "granted", off)+1000, pickOff(column, "pending", off), pickOff(column, "posted", off))
		e.exec(`insert into credits values ('t', '1', $1, 1000, now())`, victim) // room for what is falsified
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

func pickOff(column, name string, off int64) int64 {
	if column == name {
		return off
	}
	return 0
}

func TestCheckFindsAChargeOfNoAccount(t *testing.T) {
	e := newEnv(t)
	id := e.key.Make(mobileid.KindMessage, client, "x", now0)
	e.exec(`insert into charges (message_id, account_id, amount, state, reserved_at) values ($1, 77, 5, 'posted', now())`, id[:])
	r, err := e.CheckLedger(e.ctx())
	must(t, err)
	if r.Balanced() || r.Orphans != 1 || r.Posted != 5 {
		t.Fatalf("%+v", r)
	}
}
