package agencies

import (
	"fmt"
	"testing"
	"time"

	"mobileid/internal/mobileid"
)

func number(t testing.TB, s string) mobileid.MSISDN {
	t.Helper()
	m, err := mobileid.ParseMSISDN(s)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestTheCacheKeepsTheLastAnswersForAWhile(t *testing.T) {
	at := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	c := newCache(3, time.Hour)
	n := func(i int) mobileid.MSISDN { return number(t, fmt.Sprintf("+99890%07d", i)) }
	for i := range 3 {
		c.put(n(i), "ucell", at)
	}
	if operator, since, ok := c.get(n(0), at.Add(time.Hour-1)); !ok || operator != "ucell" || !since.Equal(at) {
		t.Errorf("%q of %s, %v", operator, since, ok)
	}
	c.put(n(3), "beeline", at) // 1 was asked for longest ago
	for i, want := range []bool{true, false, true, true} {
		if _, _, ok := c.get(n(i), at); ok != want {
			t.Errorf("number %d is kept: %v", i, ok)
		}
	}
	c.put(n(0), "humans", at.Add(time.Minute))
	if operator, _, _ := c.get(n(0), at.Add(time.Minute)); operator != "humans" || c.recent.Len() != 3 || len(c.byNum) != 3 {
		t.Errorf("%q, %d and %d kept", operator, c.recent.Len(), len(c.byNum))
	}
	if _, _, ok := c.get(n(3), at.Add(time.Hour)); ok || c.recent.Len() != 2 || len(c.byNum) != 2 {
		t.Errorf("an answer of an hour ago: %v, %d and %d kept", ok, c.recent.Len(), len(c.byNum))
	}
}
