package mobileid

import (
	"math"
	"testing"

	"pgregory.net/rapid"
)

func TestParseMoneyReadsSoumAndTiyin(t *testing.T) {
	for s, want := range map[string]Money{
		"0": 0, "120": 12000, "120.5": 12050, "120.05": 12005, "120.50": 12050, "0.01": 1,
		"92233720368547756.99": 9223372036854775699,
	} {
		if got, err := ParseMoney(s); err != nil || got != want {
			t.Errorf("%s: %d, %v", s, got, err)
		}
	}
}

func TestParseMoneyRefusesWhatIsNoAmount(t *testing.T) {
	for _, s := range []string{
		"", ".", ".5", "5.", "1.234", "1.2.3", "-1", "+1", "1 000", "1,5", "1e3", "0x10", "1_000", "1.-5", "1.5x",
		"١٢", "NaN", "92233720368547758", "99999999999999999999",
	} {
		if got, err := ParseMoney(s); CodeOf(err) != "money_format" || got != 0 {
			t.Errorf("%q: %d, %v", s, got, err)
		}
	}
}

func TestMoneyPrintsSoumWithTwoDecimals(t *testing.T) {
	for m, want := range map[Money]string{
		0: "0.00", 5: "0.05", 12050: "120.50", -1: "-0.01", -12050: "-120.50",
		math.MaxInt64: "92233720368547758.07", math.MinInt64: "-92233720368547758.08",
	} {
		if got := m.String(); got != want {
			t.Errorf("%d tiyin: %s, want %s", int64(m), got, want)
		}
	}
}

func TestMoneyComesBackAsItWasPrinted(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := Money(rapid.Int64Range(0, math.MaxInt64/100*100-1).Draw(t, "tiyin"))
		if back, err := ParseMoney(m.String()); err != nil || back != m {
			t.Fatalf("%s came back as %d, %v", m, back, err)
		}
	})
}

func FuzzParseMoney(f *testing.F) {
	f.Add("120.50")
	f.Add("1e9")
	f.Fuzz(func(t *testing.T, s string) {
		m, err := ParseMoney(s)
		if err != nil {
			return
		}
		if back, err := ParseMoney(m.String()); m < 0 || err != nil || back != m {
			t.Fatalf("%q gave %d, which came back as %d (%v)", s, m, back, err)
		}
	})
}
