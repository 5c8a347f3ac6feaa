package config

import (
	"slices"
	"strings"
	"testing"
	"time"

	"mobileid/consumers/texts"
	"mobileid/internal/mobileid"
	"mobileid/registry/ledger"
)

func tashkent(year int, month time.Month, day int) time.Time {
	return time.Date(year, month, day, 0, 0, 0, 0, mobileid.Tashkent)
}

func TestTheTariffsSampleIsAValidManualOfTheDefaults(t *testing.T) {
	raw, err := beside("tariffs.sample.yaml")
	if err != nil {
		t.Fatal(err)
	}
	got, wrong := ReadTariffs(raw, []string{"beeline"}, texts.Default().Kinds())
	if len(wrong) > 0 {
		t.Fatal(wrong)
	}
	first := ledger.Tariff{
		Operator: "beeline", Price: 110_00, Unit: ledger.UnitMessage, RefundUndelivered: true,
		From: tashkent(2026, 2, 1), Until: tashkent(2026, 7, 1), Author: "pricing office", Act: "Decision 14 of 2026-01-12",
	}
	second := first
	second.Price, second.From, second.Until, second.Act = 120_00, first.Until, time.Time{}, "Decision 31 of 2026-06-15"
	third := second
	third.Kind, third.Price, third.Unit, third.RefundUndelivered, third.Act = "notice", 60_00, ledger.UnitPart, false, first.Act
	if !slices.Equal(got, []ledger.Tariff{first, second, third}) {
		t.Errorf("the sample says\n%+v", got)
	}
}

// Each line is what one wrong file is refused with, whole.
func TestAWrongFileOfTariffsIsRefusedWithEveryMistake(t *testing.T) {
	const head = "author: pricing office\nact: Decision 14 of 2026-11-12\n"
	row := func(more string) string { return head + "tariffs: [{operator: beeline, " + more + "}]\n" }
	const price = `want soum in quotes, not negative, with at most two decimals, for example "120.50" (tariff_price)`
	for name, c := range map[string]struct {
		file string
		want []string
	}{
		"negative":             {row(`price: "-1", from: 2026-12-01`), []string{"tariffs[0].price: " + price}},
		"negative, not quoted": {row(`price: -120, from: 2026-12-01`), []string{"tariffs[0].price: " + price}},
		"half a tiyin":         {row(`price: "120.005", from: 2026-12-01`), []string{"tariffs[0].price: " + price}},
		"an exponent":          {row(`price: "1e3", from: 2026-12-01`), []string{"tariffs[0].price: " + price}},
		"a binary fraction":    {row(`price: 120.1, from: 2026-12-01`), []string{"tariffs[0].price: want text, in quotes"}},
		"a bare exponent":      {row(`price: 1e3, from: 2026-12-01`), []string{"tariffs[0].price: " + price}},
		"not a number":         {row(`price: .nan, from: 2026-12-01`), []string{"tariffs[0].price: want text, in quotes"}},
		"words":                {row(`price: free, from: 2026-12-01`), []string{"tariffs[0].price: " + price}},
		"no price":             {row(`from: 2026-12-01`), []string{"tariffs[0].price: " + price}},
		"a slip of the pen":    {row(`price: "1000000.01", from: 2026-12-01`), []string{"tariffs[0].price: more than 1000000.00 soum (tariff_price)"}},
		"more than there is":   {row(`price: "92233720368547758.08", from: 2026-12-01`), []string{"tariffs[0].price: " + price}},
		"a gap": {
			head + "tariffs:\n  - {operator: beeline, price: \"1\", from: 2026-12-01, until: 2026-12-31}\n  - {operator: beeline, price: \"2\", from: 2027-01-01}\n",
			[]string{"tariffs[0].until: no price from 2026-12-31 to 2027-01-01, where tariffs[1] begins (tariff_gap)"},
		},
		"an overlap": {
			head + "tariffs:\n  - {operator: beeline, price: \"2\", from: 2027-01-01}\n  - {operator: beeline, price: \"1\", from: 2026-12-01, until: 2027-01-02}\n",
			[]string{"tariffs[1].until: two prices from 2027-01-01, where tariffs[0] begins, to 2027-01-02 (tariff_overlap)"},
		},
		"an end": {
			row(`price: "1", from: 2026-12-01, until: 2027-01-01`),
			[]string{"tariffs[0].until: no price from 2027-01-01 on: the last version of a chain has no until (tariff_gap)"},
		},
		"a date twice": {
			head + "tariffs:\n  - {operator: beeline, price: \"1\", from: 2026-12-01}\n  - {operator: beeline, price: \"1\", from: 2026-12-01}\n",
			[]string{"tariffs[1].from: 2026-12-01 is the from of tariffs[0] already (tariff_twice)"},
		},
		"no act": {
			"author: a\ntariffs:\n  - {operator: beeline, price: \"1\", from: 2026-12-01}\n  - {operator: beeline, kind: otp, price: \"1\", from: 2026-12-01, act: b}\n",
			[]string{"tariffs[0].act: missing: the decision that the price rests on, its number and date (tariff_act)"},
		},
		"an act of two lines": {
			"author: a\nact: \"a\\nb\"\ntariffs:\n  - {operator: beeline, price: \"1\", from: 2026-12-01}\n  - {operator: beeline, kind: otp, price: \"1\", from: 2026-12-01}\n",
			[]string{"act: want one line of at most 500 bytes of UTF-8 (tariff_act)"},
		},
		"no author": {
			"act: a\ntariffs:\n  - {operator: beeline, price: \"1\", from: 2026-12-01}\n  - {operator: beeline, kind: otp, price: \"1\", from: 2026-12-01}\n",
			[]string{"author: missing: who answers for it (tariff_author)"},
		},
		"an operator nobody knows": {
			head + "tariffs: [{operator: ucell, price: \"1\", from: 2026-12-01}]", []string{`tariffs[0].operator: no operator "ucell" in operators (tariff_operator)`},
		},
		"no operator": {head + "tariffs: [{price: \"1\", from: 2026-12-01}]", []string{`tariffs[0].operator: no operator "" in operators (tariff_operator)`}},
		"a kind nobody sends": {
			row(`kind: otp.sign_in, price: "1", from: 2026-12-01`),
			[]string{`tariffs[0].kind: no text is of kind "otp.sign_in"; known: notice, otp, and "" for the others (tariff_kind)`},
		},
		"another unit":  {row(`price: "1", unit: byte, from: 2026-12-01`), []string{"tariffs[0].unit: message or part (tariff_unit)"}},
		"perhaps":       {row(`price: "1", refund_undelivered: perhaps, from: 2026-12-01`), []string{"tariffs[0].refund_undelivered: want true or false"}},
		"no day":        {row(`price: "1", from: 2026-02-30`), []string{"tariffs[0].from: want a date, YYYY-MM-DD (tariff_date)"}},
		"no from":       {row(`price: "1"`), []string{"tariffs[0].from: want a date, YYYY-MM-DD (tariff_date)"}},
		"an hour":       {row(`price: "1", from: 2026-12-01, until: 2027-01-01T12:00:00Z`), []string{"tariffs[0].until: want a date, YYYY-MM-DD (tariff_date)"}},
		"backwards":     {row(`price: "1", from: 2026-12-01, until: 2026-11-01`), []string{"tariffs[0].until: not after its from (tariff_date)"}},
		"another word":  {row(`price: "1", from: 2026-12-01, to: 2027-01-01`), []string{"tariffs[0].to: unknown key; known here: act, from, kind, operator, price, refund_undelivered, unit, until"}},
		"no rows":       {head + "tariffs: []", []string{"tariffs: at least one row (tariffs.sample.yaml is the manual)"}},
		"another shape": {head + "tariffs: {}", []string{"tariffs: want a list"}},
		"several": {
			"tariffs:\n  - {operator: x, price: -1, from: yesterday}\n",
			[]string{
				`tariffs[0].operator: no operator "x" in operators (tariff_operator)`, "tariffs[0].price: " + price,
				"tariffs[0].from: want a date, YYYY-MM-DD (tariff_date)", "author: missing: who answers for it (tariff_author)",
				"tariffs[0].act: missing: the decision that the price rests on, its number and date (tariff_act)",
			},
		},
	} {
		got, wrong := ReadTariffs([]byte(c.file), []string{"beeline"}, texts.Default().Kinds())
		if got != nil || !slices.Equal(wrong, c.want) {
			t.Errorf("%s: %d tariffs,\n  %s\nwant\n  %s", name, len(got), strings.Join(wrong, "\n  "), strings.Join(c.want, "\n  "))
		}
	}
	if _, wrong := ReadTariffs([]byte("a: b: c"), nil, nil); len(wrong) != 1 || !strings.HasPrefix(wrong[0], "not YAML: ") {
		t.Errorf("%v", wrong)
	}
}

func TestAnOperatorInUseNeedsAPriceInForce(t *testing.T) {
	withSecrets(t)
	const head = "author: a\nact: b\ntariffs:\n"
	for name, c := range map[string]struct {
		tariffs, operator string // "" = the sample
		want              string // of the one mistake; "" = none
	}{
		"the sample":   {},
		"a price":      {tariffs: head + `  - {operator: beeline, price: "0", from: 2000-01-01}`},
		"of codes":     {tariffs: head + `  - {operator: beeline, kind: otp, price: "1", from: 2000-01-01}`, want: `tariffs: operator "beeline" has no price in force: tariffs.sample.yaml needs a row of kind ""`},
		"not yet":      {tariffs: head + `  - {operator: beeline, price: "1", from: 9999-01-01}`, want: `tariffs: operator "beeline" has no price in force`},
		"not in use":   {tariffs: head + `  - {operator: beeline, price: "1", from: 9999-01-01}`, operator: "enabled: false"},
		"wrong itself": {tariffs: head + `  - {operator: beeline, price: "1", from: tomorrow}`, want: "tariffs.sample.yaml: tariffs[0].from: want a date"},
	} {
		_, err := parse(sample(t), nil, texts.Default(), func(name string) ([]byte, error) {
			raw, err := beside(name)
			switch {
			case name == "tariffs.sample.yaml" && c.tariffs != "":
				raw = []byte(c.tariffs)
			case name == "operator.sample.yaml" && c.operator != "":
				raw = []byte(strings.Replace(string(raw), "enabled: true", c.operator, 1))
			}
			return raw, err
		})
		wrong, _ := err.(Mistakes) //nolint:errorlint // parse returns it bare
		if (c.want == "") != (err == nil) || c.want != "" && (len(wrong) != 1 || !strings.HasPrefix(wrong[0], c.want)) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	for key, want := range map[string]string{"": "tariffs: missing: name the file of tariffs", "tariffs: nowhere.yaml": "tariffs: open "} {
		_, err := parse([]byte(strings.Replace(string(sample(t)), "tariffs: tariffs.sample.yaml", key, 1)), nil, texts.Default(), beside)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "tariffs.sample.yaml is the manual") {
			t.Errorf("%q: %v", key, err)
		}
	}
}

func FuzzReadTariffs(f *testing.F) {
	// Not the sample: what is long takes its time to be made shorter.
	f.Add([]byte("author: a\nact: b\ntariffs: [{operator: beeline, price: \"1.5\", from: 2026-12-01}]"))
	f.Add([]byte("tariffs: [{kind: otp, unit: part, until: 2026-12-02, refund_undelivered: no}, null, 1]"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		tariffs, wrong := ReadTariffs(raw, []string{"beeline"}, texts.Default().Kinds())
		if (len(tariffs) == 0) == (len(wrong) == 0) {
			t.Errorf("%d tariffs, mistakes: %v", len(tariffs), wrong)
		}
		for _, v := range tariffs {
			if v.Price < 0 || v.Price > ledger.MaxPrice || v.Act == "" || v.Author == "" || v.Operator != "beeline" || v.From.IsZero() {
				t.Errorf("accepted: %+v", v)
			}
		}
	})
}
