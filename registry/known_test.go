package registry_test

import (
	"testing"

	"mobileid/internal/mobileid"
)

// What is known may come again without a code: the stored Message is put on
// its lane while it is queued, and nothing else changes.
func TestAKnownRequestComesAgainWithoutACode(t *testing.T) {
	e := newEnv(t)
	p := e.bind(0)
	c, other := e.challenge(p, "c"), e.challenge(p, "o")
	e.issue(c)
	bound, known, err := e.Known(e.ctx(), []mobileid.Pseudonym{p.binding.Person, {}}, []mobileid.ID{c.Request.ID, other.Request.ID, c.Request.ID})
	must(t, err)
	if len(known) != 1 || !known[c.Request.ID] || len(bound) != 1 || bound[p.binding.Person] != p.binding {
		t.Fatalf("known %v, bound %v", known, bound)
	}
	again := c
	again.Binding, again.Message, again.Nonce = nil, nil, ""
	if items := e.issue(again); len(items) != 1 || items[0].ID != c.Message.ID || items[0].Operator != c.Message.Operator {
		t.Fatalf("publishes %+v", items)
	}
	e.wantChallenge(c.Request.ID, mobileid.ChallengePending, "")
	live, err := e.LiveChallenge(e.ctx(), client, c.Request.ID)
	must(t, err)
	if live.Nonce != c.Nonce {
		t.Fatalf("the live code is %q", live.Nonce)
	}
	e.admit(e.bridge(), c.Message.ID)
	if items := e.issue(again); len(items) != 0 {
		t.Fatalf("what a bridge has is published again: %+v", items)
	}
}
