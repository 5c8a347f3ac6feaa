package limits

import (
	"fmt"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"pgregory.net/rapid"

	"mobileid/internal/mobileid"
)

var codeRules = mobileid.CodeLimits{
	Person: []mobileid.CodeRule{{Most: 5, Per: time.Hour}, {Most: 10, Per: 24 * time.Hour}},
	Absent: []mobileid.CodeRule{{Most: 2, Per: time.Hour}},
	Number: []mobileid.CodeRule{{Most: 5, Per: time.Hour}},
}

type codesAt struct {
	*Codes
	t   testing.TB
	at  time.Time
	n   int
	key mobileid.IDKey
}

func newCodesAt(t testing.TB, addr string) *codesAt {
	t.Helper()
	key, err := mobileid.NewIDKey([]byte("0123456789abcdef"))
	if err != nil {
		t.Fatal(err)
	}
	c := &codesAt{t: t, at: start, key: key}
	rdb := connect(t, addr)
	c.Codes = NewCodes(rdb, codeRules, func() time.Time { return c.at })
	return c
}

func (c *codesAt) ask(person, number byte) mobileid.CodeAsk {
	c.n++
	return mobileid.CodeAsk{
		ID: c.key.Make(mobileid.KindChallenge, "oneid", fmt.Sprint(c.n), c.at), Person: mobileid.Pseudonym{person}, Number: mobileid.Pseudonym{number},
		Presence: mobileid.PresenceSession,
	}
}

func (c *codesAt) take(ask mobileid.CodeAsk) time.Duration {
	c.t.Helper()
	wait, err := c.Take(c.t.Context(), ask)
	if err != nil {
		c.t.Fatal(err)
	}
	return wait
}

func (c *codesAt) want(ask mobileid.CodeAsk, wait time.Duration) {
	c.t.Helper()
	if got := c.take(ask); got != wait {
		c.t.Errorf("code %d: wait %s, want %s", c.n, got, wait)
	}
}

func TestAPersonGetsSoManyCodesAnHourAndADay(t *testing.T) {
	c := newCodesAt(t, miniredis.RunT(t).Addr())
	for range 5 {
		c.want(c.ask(1, 0), 0)
	}
	c.want(c.ask(1, 0), 12*time.Minute)
	c.want(c.ask(2, 0), 0) // another person
	for range 5 {
		c.at = c.at.Add(12 * time.Minute)
		c.want(c.ask(1, 0), 0)
	}
	c.at = c.at.Add(12 * time.Minute) // the hour would allow one, the day does not
	if wait := c.take(c.ask(1, 0)); wait <= time.Hour || wait > 3*time.Hour {
		t.Errorf("wait %s", wait)
	}
}

func TestWhomNobodyHasSeenGetsFewer(t *testing.T) {
	c := newCodesAt(t, miniredis.RunT(t).Addr())
	absent := func() mobileid.CodeAsk {
		ask := c.ask(1, 0)
		ask.Presence = mobileid.PresenceNone
		return ask
	}
	c.want(absent(), 0)
	c.want(absent(), 0)
	c.want(absent(), 30*time.Minute)
	c.want(c.ask(1, 0), 0) // who is seen is not held up by it
}

func TestARequestIsCountedOnceAndARefusalNotAtAll(t *testing.T) {
	c := newCodesAt(t, miniredis.RunT(t).Addr())
	again := c.ask(1, 1)
	for range 10 {
		c.want(again, 0)
	}
	for range 4 {
		c.want(c.ask(1, 1), 0)
	}
	c.want(c.ask(1, 2), 12*time.Minute)
	// The number is used up, and what was taken of another person comes back.
	for range 10 {
		c.want(c.ask(2, 1), 12*time.Minute)
	}
	for range 5 {
		c.want(c.ask(2, 3), 0)
	}
}

func TestARightCodeIsGivenBackOnce(t *testing.T) {
	c := newCodesAt(t, miniredis.RunT(t).Addr())
	for range 100 { // signs in all day
		ask := c.ask(1, 1)
		c.want(ask, 0)
		if err := c.GiveBack(t.Context(), ask); err != nil {
			t.Fatal(err)
		}
	}
	last := c.ask(1, 1)
	for range 4 {
		c.want(c.ask(1, 1), 0)
	}
	c.want(last, 0)
	for range 3 {
		if err := c.GiveBack(t.Context(), last); err != nil {
			t.Fatal(err)
		}
	}
	c.want(c.ask(1, 1), 0)
	c.want(c.ask(1, 1), 12*time.Minute)
}

// A code that was asked for long ago has been given back by time.
func TestWhatIsNotOwedAnyMoreIsNotGivenBack(t *testing.T) {
	server := miniredis.RunT(t)
	c := newCodesAt(t, server.Addr())
	var old []mobileid.CodeAsk
	for range 5 {
		old = append(old, c.ask(1, 0))
		c.want(old[len(old)-1], 0)
	}
	c.at = c.at.Add(time.Hour)
	server.FastForward(time.Hour)
	for range 5 {
		c.want(c.ask(1, 0), 0)
	}
	for _, ask := range old {
		if err := c.GiveBack(t.Context(), ask); err != nil {
			t.Fatal(err)
		}
	}
	if wait := c.take(c.ask(1, 0)); wait < 12*time.Minute {
		t.Errorf("wait %s", wait)
	}
}

// Never more than the burst and the pace allow, and who is refused for a time is let
// in after it.
func TestNobodyGetsMoreCodesThanTheRulesSay(t *testing.T) {
	server := miniredis.RunT(t)
	c := newCodesAt(t, server.Addr())
	rapid.Check(t, func(rt *rapid.T) {
		server.FlushAll()
		var got []time.Time
		took := func() time.Duration {
			wait := c.take(c.ask(1, 1))
			if wait == 0 {
				got = append(got, c.at)
			}
			for _, r := range codeRules.Person {
				n := 0
				for _, at := range got {
					if c.at.Sub(at) < r.Per {
						n++
					}
				}
				if n >= 2*r.Most {
					rt.Fatalf("%d codes in %s", n, r.Per)
				}
			}
			return wait
		}
		pass := func(d time.Duration) {
			c.at = c.at.Add(d)
			server.FastForward(d)
		}
		for range rapid.IntRange(1, 60).Draw(rt, "steps") {
			pass(time.Duration(rapid.Int64Range(0, (40*time.Minute).Milliseconds()).Draw(rt, "pause")) * time.Millisecond)
			if wait := took(); wait > 0 && rapid.Bool().Draw(rt, "waits") {
				pass(wait)
				if again := took(); again != 0 {
					rt.Fatalf("told to wait %s, and then %s more", wait, again)
				}
			}
		}
	})
}
