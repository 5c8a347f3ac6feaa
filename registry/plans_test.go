package registry

import (
	"testing"
	"time"
)

var december = time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)

func TestPlansAreMadeAnewWhileAMonthIsYoung(t *testing.T) {
	for share, want := range map[float64]struct{ least, most int }{
		1:   {10, 14}, // doubling from 2 s to 2 h
		0.5: {17, 23}, // growing by a half each time
	} {
		made, times := december.Add(-time.Hour), 0
		for now := made; now.Before(december.Add(2 * time.Hour)); now = now.Add(100 * time.Millisecond) {
			begin := december
			if now.Before(december) {
				begin = december.AddDate(0, -1, 0)
			}
			if (planned{made, share}).outgrown(now, begin) {
				made = now
				times++
			}
			if seen := max(made.Sub(begin), 0); now.Sub(begin) > max(2*seen, plansLive)+100*time.Millisecond {
				t.Fatalf("share %v: plans that have seen %s of the month are used %s into it", share, seen, now.Sub(begin))
			}
		}
		if times < want.least || times > want.most {
			t.Errorf("share %v: plans were made %d times, want %d to %d", share, times, want.least, want.most)
		}
	}
	late := planned{december.Add(20 * 24 * time.Hour), 0.5}
	if late.outgrown(december.Add(21*24*time.Hour), december) {
		t.Error("late in a month a day makes no difference")
	}
}

func TestAMonthBeginsToFillWhenTheSchemaIsThere(t *testing.T) {
	p := &plans{}
	at := december.AddDate(0, 1, 0).Add(-time.Hour) // in Tashkent a month later
	for _, c := range []struct{ installed, want time.Time }{
		{time.Unix(0, 0), december}, // not known
		{december.Add(-time.Hour), december},
		{at.Add(-time.Hour), at.Add(-time.Hour)},
	} {
		p.installed.Store(c.installed.UnixNano())
		if _, begin := p.begin(at.In(time.FixedZone("Tashkent", 5*60*60))); !begin.Equal(c.want) {
			t.Errorf("schema of %s: begins at %s, want %s", c.installed, begin, c.want)
		}
	}
}
