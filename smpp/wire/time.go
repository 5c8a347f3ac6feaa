package wire

import (
	"fmt"
	"strings"
	"time"
)

// timeLen is the length of a time on the wire, without its NUL.
const timeLen = 16

const day = 24 * time.Hour

// maxRelative is the longest span that days, hours, minutes and seconds can
// tell. Months and years are as long as the operator thinks, and are left 0.
const maxRelative = 32*day - time.Second

// RelativeTime prints a span that the operator counts from when he takes the
// submit_sm, "YYMMDDhhmmss000R" (SMPP 3.4, 7.1.1.2): five minutes are
// "000000000500000R". Seconds are rounded down. A span that cannot be told is
// the nearest that can: one second, since 0 may be read as no limit at all, or
// a second less than 32 days.
func RelativeTime(d time.Duration) string {
	d = min(max(d, time.Second), maxRelative)
	return fmt.Sprintf("0000%02d%02d%02d%02d000R", d/day, d%day/time.Hour, d%time.Hour/time.Minute, d%time.Minute/time.Second)
}

// AbsoluteTime prints an instant, "YYMMDDhhmmsstnnp" (SMPP 3.4, 7.1.1.1), in
// the zone of t: nn is the distance to UTC in quarters of an hour, p is "+"
// east of it. In a zone that this cannot tell (more than 48 quarters, or not
// whole ones) the instant is printed in UTC. Tenths of a second are rounded
// down. The year has two digits, so the century is for the reader to know.
func AbsoluteTime(t time.Time) string {
	const quarter = 15 * 60
	_, offset := t.Zone()
	if offset%quarter != 0 || offset > 48*quarter || offset < -48*quarter {
		t, offset = t.UTC(), 0
	}
	sign := '+'
	if offset < 0 {
		sign, offset = '-', -offset
	}
	return fmt.Sprintf("%s%d%02d%c", t.Format("060102150405"), t.Nanosecond()/int(100*time.Millisecond), offset/quarter, sign)
}

// isTime reports whether s has the form of one of them.
func isTime(s string) bool {
	if len(s) != timeLen || !strings.ContainsRune("R+-", rune(s[timeLen-1])) {
		return false
	}
	for i := range timeLen - 1 {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}
