package wire

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestRelativeTime(t *testing.T) {
	const hour = time.Hour
	for d, want := range map[time.Duration]string{
		5 * time.Minute:                         "000000000500000R",
		90*time.Second + 999*time.Millisecond:   "000000000130000R", // rounded down
		time.Minute - 1:                         "000000000059000R",
		hour - time.Second:                      "000000005959000R",
		hour:                                    "000000010000000R",
		24*hour - time.Second:                   "000000235959000R",
		24 * hour:                               "000001000000000R",
		28 * 24 * hour:                          "000028000000000R", // never a month
		31 * 24 * hour:                          "000031000000000R",
		32*24*hour - time.Second:                "000031235959000R",
		32 * 24 * hour:                          "000031235959000R", // the nearest
		1 << 62:                                 "000031235959000R",
		time.Second:                             "000000000001000R",
		0:                                       "000000000001000R", // 0 might be no limit
		-hour:                                   "000000000001000R",
		26*hour + 3*time.Minute + 4*time.Second: "000001020304000R",
	} {
		if got := RelativeTime(d); got != want || !isTime(got) {
			t.Errorf("%v: %s, want %s", d, got, want)
		}
	}
}

func TestAbsoluteTimeAtTheBordersOfMonthsYearsAndZones(t *testing.T) {
	zone := func(quarters int) *time.Location { return time.FixedZone("", quarters*15*60) }
	tashkent := zone(20)
	for want, at := range map[string]time.Time{
		"261123175542020+": time.Date(2026, 11, 23, 17, 55, 42, 0, tashkent),
		"261231235959920+": time.Date(2026, 12, 31, 23, 59, 59, 999_999_999, tashkent), // not the next year
		"270101000000020+": time.Date(2026, 12, 31, 19, 0, 0, 0, time.UTC).In(tashkent),
		"280229000000000+": time.Date(2028, 2, 29, 0, 0, 0, 0, time.UTC),
		"280301000000120+": time.Date(2028, 2, 29, 24, 0, 0, 100_000_000, tashkent),
		"270228235959000+": time.Date(2027, 2, 28, 23, 59, 59, 99_999_999, time.UTC),
		"260630214500948+": time.Date(2026, 6, 30, 21, 45, 0, 900_000_000, zone(48)),
		"260630214500048-": time.Date(2026, 6, 30, 21, 45, 0, 0, zone(-48)),
		"260630214500023+": time.Date(2026, 6, 30, 21, 45, 0, 0, zone(23)),
		"260630214500014-": time.Date(2026, 6, 30, 21, 45, 0, 0, zone(-14)),
		"000101000000000+": time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC),
		"991231235959000+": time.Date(2099, 12, 31, 23, 59, 59, 0, time.UTC),
		// What two digits of quarters cannot tell goes in UTC.
		"261231103000000+": time.Date(2027, 1, 1, 0, 30, 0, 0, zone(56)),
		"261231113000000+": time.Date(2027, 1, 1, 0, 0, 0, 0, time.FixedZone("", 12*3600+1800)),
		"270101113000000+": time.Date(2026, 12, 31, 23, 0, 0, 0, time.FixedZone("", -12*3600-1800)),
		"240131192249000+": time.Date(2024, 2, 1, 0, 0, 0, 0, time.FixedZone("LMT", 4*3600+37*60+11)),
	} {
		if got := AbsoluteTime(at); got != want || !isTime(got) {
			t.Errorf("%v: %s, want %s", at, got, want)
		}
	}
}

// instant reads an absolute time by the table of SMPP 3.4, 7.1.1.1.
func instant(s string) (time.Time, error) {
	var n [8]int
	for i, at := range [8]int{0, 2, 4, 6, 8, 10, 12, 13} {
		to := at + 2
		if i == 6 {
			to = at + 1
		}
		v, err := strconv.Atoi(s[at:to])
		if err != nil {
			return time.Time{}, err
		}
		n[i] = v
	}
	if n[1] < 1 || n[1] > 12 || n[2] < 1 || n[2] > 31 || n[3] > 23 || n[4] > 59 || n[5] > 59 || n[7] > 48 {
		return time.Time{}, fmt.Errorf("out of range: %s", s)
	}
	east := time.Duration(n[7]) * 15 * time.Minute
	switch s[15] {
	case '-':
		east = -east
	case '+':
	default:
		return time.Time{}, fmt.Errorf("no direction: %s", s)
	}
	return time.Date(2000+n[0], time.Month(n[1]), n[2], n[3], n[4], n[5], n[6]*1e8, time.UTC).Add(-east), nil
}

func TestAbsoluteTimeIsTheSameInstantInEveryZone(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		first, last := time.Date(2000, 1, 2, 0, 0, 0, 0, time.UTC), time.Date(2099, 12, 30, 0, 0, 0, 0, time.UTC)
		at := time.Unix(rapid.Int64Range(first.Unix(), last.Unix()).Draw(t, "seconds"), rapid.Int64Range(0, 999_999_999).Draw(t, "nanoseconds"))
		offset := rapid.OneOf(rapid.Map(rapid.IntRange(-60, 60), func(q int) int { return q * 900 }), rapid.IntRange(-50_000, 50_000)).Draw(t, "offset")
		s := AbsoluteTime(at.In(time.FixedZone("", offset)))
		if back, err := instant(s); err != nil || len(s) != timeLen || !back.Equal(at.Truncate(100*time.Millisecond)) {
			t.Fatalf("%s is %v, want %v (%v)", s, back, at.UTC(), err)
		}
		if want := fmt.Sprintf("%02d", max(offset, -offset)/900); offset%900 == 0 && max(offset, -offset) <= 48*900 && s[13:15] != want {
			t.Fatalf("%s does not tell the zone %s", s, want)
		}
	})
}
