package ledger

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"mobileid/internal/mobileid"
)

// date is midnight in Asia/Tashkent.
func date(t testing.TB, text string) time.Time {
	t.Helper()
	at, err := time.ParseInLocation(time.DateOnly, text, mobileid.Tashkent)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

// version makes one of the operator beeline; until "" is none.
func version(t testing.TB, kind string, price mobileid.Money, from, until string) Tariff {
	t.Helper()
	v := Tariff{
		Operator: "beeline", Kind: kind, Price: price, Unit: UnitMessage, RefundUndelivered: true,
		From: date(t, from), Author: "pricing office", Act: "Decision 14 of 2026-11-12",
	}
	if until != "" {
		v.Until = date(t, until)
	}
	return v
}

func TestAMessageCostsByTheUnitOfItsTariff(t *testing.T) {
	for _, c := range []struct {
		tariff Tariff
		parts  int
		want   mobileid.Money
		code   string
	}{
		{Tariff{Price: 120_00, Unit: UnitMessage}, 3, 120_00, ""},
		{Tariff{Price: 120_00, Unit: UnitPart}, 3, 360_00, ""},
		{Tariff{Price: 0, Unit: UnitPart}, 3, 0, ""},
		{Tariff{Price: MaxPrice, Unit: UnitPart}, math.MaxInt16, MaxPrice * math.MaxInt16, ""}, // of messages.parts
		{Tariff{Price: math.MaxInt64 / 2, Unit: UnitPart}, 2, math.MaxInt64 - 1, ""},
		{Tariff{Price: math.MaxInt64/2 + 1, Unit: UnitPart}, 2, 0, "tariff_overflow"},
		{Tariff{Price: math.MaxInt64, Unit: UnitPart}, 255, 0, "tariff_overflow"},
		{Tariff{Price: 1, Unit: UnitPart}, -1, 0, "tariff_overflow"},
	} {
		got, err := c.tariff.Amount(c.parts)
		if got != c.want || mobileid.CodeOf(err) != c.code {
			t.Errorf("%+v in %d parts: %d (%v), want %d (%s)", c.tariff, c.parts, got, err, c.want, c.code)
		}
	}
}

// what tells a mistake without its words.
func what(ms []Mistake) string {
	out := make([]string, len(ms))
	for i, m := range ms {
		out[i] = fmt.Sprintf("%d %s %s", m.Row, m.Field, m.Code)
	}
	return strings.Join(out, ", ")
}

func TestWhatIsWrongWithTariffsIsToldAllAtOnce(t *testing.T) {
	v := func(from, until string) Tariff { return version(t, "", 100, from, until) }
	with := func(change func(*Tariff)) []Tariff {
		o := v("2026-12-01", "")
		change(&o)
		return []Tariff{v("2027-01-01", ""), o}
	}
	for name, c := range map[string]struct {
		ts   []Tariff
		want string // row, field, code
		says string
	}{
		"nothing":        {},
		"a chain":        {ts: []Tariff{v("2027-01-01", ""), v("2026-12-01", "2027-01-01"), v("2026-11-01", "")}},
		"two chains":     {ts: []Tariff{v("2027-01-01", ""), version(t, "otp", 100, "2027-01-01", "")}},
		"no operator":    {ts: with(func(o *Tariff) { o.Operator = "" }), want: "1 operator tariff_operator"},
		"negative":       {ts: with(func(o *Tariff) { o.Price = -1 }), want: "1 price tariff_price", says: "-0.01 is negative"},
		"a slip":         {ts: with(func(o *Tariff) { o.Price = MaxPrice + 1 }), want: "1 price tariff_price", says: "1000000.00"},
		"another unit":   {ts: with(func(o *Tariff) { o.Unit = "byte" }), want: "1 unit tariff_unit", says: "message or part"},
		"no author":      {ts: with(func(o *Tariff) { o.Author = " " }), want: "1 author tariff_author", says: "missing"},
		"no act":         {ts: with(func(o *Tariff) { o.Act = "" }), want: "1 act tariff_act", says: "missing"},
		"two lines":      {ts: with(func(o *Tariff) { o.Act = "a\nb" }), want: "1 act tariff_act", says: "one line"},
		"a long act":     {ts: with(func(o *Tariff) { o.Act = strings.Repeat("a", 501) }), want: "1 act tariff_act", says: "500"},
		"not UTF-8":      {ts: with(func(o *Tariff) { o.Act = "\xff" }), want: "1 act tariff_act", says: "UTF-8"},
		"no from":        {ts: with(func(o *Tariff) { o.From = time.Time{} }), want: "1 from tariff_date"},
		"until the same": {ts: with(func(o *Tariff) { o.Until = o.From }), want: "1 until tariff_date"},
		"a gap": {
			ts: []Tariff{v("2026-12-01", "2026-12-31"), v("2027-01-01", "")}, want: "0 until tariff_gap",
			says: "no price from 2026-12-31 to 2027-01-01, where tariffs[1] begins",
		},
		"an overlap": {
			ts: []Tariff{v("2027-01-01", ""), v("2026-12-01", "2027-01-02")}, want: "1 until tariff_overlap",
			says: "two prices from 2027-01-01, where tariffs[0] begins, to 2027-01-02",
		},
		"an end": {ts: []Tariff{v("2026-12-01", "2027-01-01")}, want: "0 until tariff_gap", says: "no price from 2027-01-01 on"},
		"an end of a kind": {
			ts: []Tariff{version(t, "otp", 1, "2026-12-01", "2027-01-01"), v("2026-12-01", "")}, want: "0 until tariff_gap",
		},
		"a date twice": {
			ts: []Tariff{v("2027-01-01", ""), v("2026-12-01", ""), v("2027-01-01", "")}, want: "2 from tariff_twice",
			says: "2027-01-01 is the from of tariffs[0] already",
		},
		"everything": {
			ts:   []Tariff{{Operator: "beeline", Price: -1, From: date(t, "2026-12-01"), Until: date(t, "2026-12-02")}},
			want: "0 price tariff_price, 0 unit tariff_unit, 0 author tariff_author, 0 act tariff_act, 0 until tariff_gap",
		},
	} {
		got := CheckTariffs(c.ts)
		if what(got) != c.want {
			t.Errorf("%s: %q, want %q", name, what(got), c.want)
		}
		if c.says != "" && (len(got) == 0 || !strings.Contains(got[0].String(), c.says)) {
			t.Errorf("%s: %v, want %q", name, got, c.says)
		}
	}
}

// stored gives versions ids in the order of loading.
func stored(ts ...Tariff) []Tariff {
	for i := range ts {
		ts[i].ID = int64(i) + 1
	}
	return ts
}

func TestLoadingTariffsReplacesNoPriceThatWasInForce(t *testing.T) {
	now := date(t, "2026-11-30").Add(9 * time.Hour)
	v := func(price mobileid.Money, from string) Tariff { return version(t, "", price, from, "") }
	otp := func(price mobileid.Money, from string) Tariff { return version(t, "otp", price, from, "") }
	otherAct := v(120, "2026-06-01")
	otherAct.Act = "Decision 15 of 2026-11-13"
	byAnother := v(120, "2026-06-01")
	byAnother.Author = "somebody else"
	until := func(o Tariff, text string) Tariff { o.Until = date(t, text); return o }
	at := func(o Tariff, from time.Time) Tariff { o.From = from; return o }

	for name, c := range map[string]struct {
		stored, wanted []Tariff
		want           string // an action with id and other for each, or the mistakes
	}{
		"the first ahead":               {nil, []Tariff{v(120, "2026-12-01")}, "load"},
		"the first in the past":         {nil, []Tariff{v(120, "2026-06-01")}, "load"},
		"a whole past":                  {nil, []Tariff{v(100, "2026-01-01"), v(120, "2026-06-01"), otp(90, "2026-06-01")}, "load,load,load"},
		"again":                         {stored(v(120, "2026-06-01")), []Tariff{v(120, "2026-06-01")}, "skip 1"},
		"again by another":              {stored(v(120, "2026-06-01")), []Tariff{byAnother}, "skip 1"},
		"one ahead":                     {stored(v(120, "2026-06-01")), []Tariff{v(120, "2026-06-01"), v(130, "2026-12-01")}, "skip 1,load"},
		"one now":                       {stored(v(120, "2026-06-01")), []Tariff{at(v(130, "2026-12-01"), now)}, "0 from tariff_in_the_past"},
		"one in the past":               {stored(v(120, "2026-06-01")), []Tariff{v(130, "2026-11-30")}, "0 from tariff_in_the_past"},
		"another price for a past date": {stored(v(120, "2026-06-01")), []Tariff{v(130, "2026-06-01")}, "0 from tariff_in_the_past"},
		"before the first":              {stored(v(120, "2026-06-01")), []Tariff{v(130, "2026-01-01")}, "0 from tariff_in_the_past"},
		"the same told otherwise":       {stored(v(120, "2026-06-01")), []Tariff{otherAct}, "agree 1"},
		"the same from another date":    {stored(v(120, "2026-06-01")), []Tariff{v(120, "2026-07-01")}, "agree 1"},
		"a past from before the first":  {stored(v(120, "2026-06-01")), []Tariff{v(100, "2026-01-01"), v(120, "2026-05-01")}, "agree 1,agree 1"},
		"a past that was another": {
			stored(v(120, "2026-06-01"), v(130, "2026-08-01")), []Tariff{v(120, "2026-07-01")}, "0 from tariff_in_the_past",
		},
		"a past that ended in time": {
			stored(v(120, "2026-06-01"), v(130, "2026-08-01")), []Tariff{v(120, "2026-07-01"), v(130, "2026-08-01")}, "agree 2,skip 2",
		},
		"ahead, of a chain that is":       {stored(v(120, "2026-06-01"), v(130, "2027-01-01")), []Tariff{v(140, "2027-01-01")}, "supersede 0 2"},
		"superseded, and loaded again":    {stored(v(120, "2026-06-01"), v(130, "2027-01-01"), v(140, "2027-01-01")), []Tariff{v(130, "2027-01-01")}, "skip 2 3"},
		"superseded twice":                {stored(v(120, "2026-06-01"), v(130, "2027-01-01"), v(140, "2027-01-01"), v(150, "2027-01-01")), []Tariff{v(130, "2027-01-01")}, "skip 2 4"},
		"a kind ahead":                    {stored(v(120, "2026-06-01")), []Tariff{otp(90, "2026-12-01")}, "load"},
		"a kind after the fact":           {stored(v(120, "2026-06-01")), []Tariff{otp(90, "2026-11-01")}, "0 from tariff_in_the_past"},
		"a kind at the same price":        {stored(v(120, "2026-06-01")), []Tariff{otp(120, "2026-11-01")}, "0 from tariff_in_the_past"},
		"the common chain after a kind's": {stored(otp(90, "2026-06-01")), []Tariff{v(120, "2026-01-01")}, "load"},
		"a chain that has not begun":      {stored(v(120, "2027-01-01")), []Tariff{v(110, "2026-06-01")}, "load"},
		"a chain's kind that has not begun, its common one neither": {
			stored(v(120, "2027-01-01"), otp(90, "2027-01-01")), []Tariff{otp(80, "2026-06-01")}, "load",
		},
		"until a stored one":         {stored(v(120, "2026-06-01"), v(130, "2027-03-01")), []Tariff{until(v(125, "2027-01-01"), "2027-03-01"), v(130, "2027-03-01")}, "load,skip 2"},
		"until after a stored one":   {stored(v(120, "2026-06-01"), v(130, "2027-02-01")), []Tariff{until(v(125, "2027-01-01"), "2027-03-01"), v(130, "2027-03-01")}, "0 until tariff_overlap"},
		"a stored one, until later":  {stored(v(120, "2026-06-01"), v(130, "2026-11-01")), []Tariff{until(v(120, "2026-06-01"), "2027-03-01"), v(140, "2027-03-01")}, "skip 1,load"},
		"what is wrong by itself":    {nil, []Tariff{v(-1, "2026-12-01")}, "0 price tariff_price"},
		"wrong by itself and beside": {stored(v(120, "2026-06-01")), []Tariff{v(1, "2026-12-01"), v(-1, "2026-06-01")}, "1 price tariff_price, 1 from tariff_in_the_past"},
	} {
		steps, wrong := PlanTariffs(c.stored, c.wanted, now)
		got := what(wrong)
		if len(wrong) == 0 {
			var told []string
			for _, s := range steps {
				one := string(s.Action)
				if s.ID != 0 || s.Other != 0 {
					one = fmt.Sprint(one, " ", s.ID)
				}
				if s.Other != 0 {
					one = fmt.Sprint(one, " ", s.Other)
				}
				told = append(told, one)
			}
			got = strings.Join(told, ",")
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q (%v)", name, got, c.want, wrong)
		}
	}
}

// TestPricesInForceNeverChange loads random files of tariffs at growing times.
// Beside it stands the plainest model: a price for every day, overwritten from
// a version's date to the next date of its chain.
func TestPricesInForceNeverChange(t *testing.T) {
	const days = 40
	begin := date(t, "2026-11-01")
	day := func(n int) time.Time { return begin.AddDate(0, 0, n) }
	kinds := []string{"", "otp", "notice"}
	rapid.Check(t, func(rt *rapid.T) {
		var loaded []Tariff
		model := map[string]*[days]mobileid.Money{} // 0 = none
		begins := map[string]*[days]bool{}
		for _, k := range kinds {
			model[k], begins[k] = &[days]mobileid.Money{}, &[days]bool{}
		}
		priced := func(kind string, n int) mobileid.Money {
			if p := model[kind][n]; p != 0 {
				return p
			}
			return model[""][n]
		}
		// force is checked, not taken from the code under test.
		force := func() map[string][]mobileid.Money {
			chains, all := Chains(loaded), map[string][]mobileid.Money{}
			for _, k := range kinds {
				for n := range days {
					v, ok := InForce(chains, "beeline", k, day(n))
					if want := priced(k, n); ok != (want != 0) || v.Price != want {
						rt.Fatalf("%q on day %d: %d (%t), want %d", k, n, v.Price, ok, want)
					}
					if inForce := countInForce(chains, v.Kind, day(n)); ok && inForce != 1 {
						rt.Fatalf("%q on day %d: %d versions are in force", v.Kind, n, inForce)
					}
					all[k] = append(all[k], v.Price)
				}
			}
			return all
		}
		last := force()
		for now := 0; now < days-1; now += rapid.IntRange(0, 8).Draw(rt, "days") {
			wanted := rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) Tariff {
				v := version(t, rapid.SampledFrom(kinds).Draw(rt, "kind"), mobileid.Money(rapid.IntRange(1, 4).Draw(rt, "price")), "2026-11-01", "")
				v.From = day(rapid.IntRange(0, days-1).Draw(rt, "from"))
				if rapid.Bool().Draw(rt, "bounded") {
					v.Until = day(rapid.IntRange(1, days).Draw(rt, "until"))
				}
				return v
			}), 1, 4).Draw(rt, "file")
			steps, wrong := PlanTariffs(loaded, wanted, day(now))
			if (len(wrong) == 0) != (steps != nil) {
				rt.Fatalf("%d steps and %d mistakes", len(steps), len(wrong))
			}
			for _, s := range steps {
				if !s.Action.Stores() {
					continue
				}
				v := s.Tariff
				v.ID = int64(len(loaded)) + 1
				loaded = append(loaded, v)
				from := int(v.From.Sub(begin).Hours() / 24)
				begins[v.Kind][from] = true
				for n := from; n < days && (n == from || !begins[v.Kind][n]); n++ {
					model[v.Kind][n] = v.Price
				}
			}
			next := force()
			for k, prices := range last {
				for n := 0; n <= now; n++ {
					if prices[n] != 0 && prices[n] != next[k][n] {
						rt.Fatalf("%q cost %d on day %d, and on day %d it cost %d then", k, prices[n], n, now, next[k][n])
					}
				}
			}
			for k := range begins {
				for n, first := 0, false; n < days; n++ {
					if first = first || begins[k][n]; first && next[k][n] == 0 {
						rt.Fatalf("%q has no price on day %d, after its first", k, n)
					}
				}
			}
			last = next
			if steps == nil {
				continue
			}
			again, wrong := PlanTariffs(loaded, wanted, day(now))
			if len(wrong) > 0 {
				rt.Fatalf("loaded again: %v", wrong)
			}
			for _, s := range again {
				if s.Action.Stores() {
					rt.Fatalf("loaded again: %+v", s)
				}
			}
		}
	})
}

func countInForce(chains []Version, kind string, at time.Time) (n int) {
	for _, v := range chains {
		if v.Kind == kind && v.InForce(at) {
			n++
		}
	}
	return n
}
