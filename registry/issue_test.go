package registry_test

import (
	"sync"
	"testing"
	"time"

	"mobileid/internal/mobileid"
)

func TestARequestDeliveredThreeTimesHasOneEffect(t *testing.T) {
	e := newEnv(t)
	e.tariff()
	p := e.bind(10 * cost)
	c, n := e.challenge(p, "c"), e.notice(p, "n")
	for i := range 3 {
		// Delivered again it comes with another code, as a consumer that does
		// not know of the first would make it.
		again := c
		again.Nonce += string(rune('a' + i))
		if items := e.issue(again, again); len(items) != 1 || items[0].ID != c.Message.ID {
			t.Fatalf("delivery %d publishes %+v", i, items)
		}
		if items := e.queue(n); len(items) != 1 || items[0].ID != n.Message.ID {
			t.Fatalf("delivery %d publishes %+v", i, items)
		}
	}
	live, err := e.LiveChallenge(e.ctx(), client, c.Request.ID)
	must(t, err)
	if live.Nonce != c.Nonce+"a" {
		t.Fatalf("the live code is %q, want that of the first delivery", live.Nonce)
	}
	if have := query[int](e, `select count(*) from messages`); have != 2 {
		t.Fatalf("%d messages, want 2", have)
	}
	if have := query[int](e, `select count(*) from outbox`); have != 3 {
		t.Fatalf("%d statuses, want pending, queued, queued", have)
	}
	e.admit(e.bridge(), c.Message.ID, n.Message.ID)
	if items := append(e.issue(c), e.queue(n)...); len(items) != 0 {
		t.Fatalf("what a bridge has is published again: %+v", items)
	}
}

func TestOneIdempotencyKeyHasOneEffect(t *testing.T) {
	e := newEnv(t)
	p := e.bind(0)
	first := e.challenge(p, "k")
	e.issue(first)
	e.clk.advance(time.Millisecond)

	second := e.challenge(p, "k") // the edge had forgotten the key
	e.clk.advance(time.Millisecond)
	other := e.challenge(p, "k")
	other.Request.BodyHash = "another body"
	e.clk.advance(time.Millisecond)
	notice := e.notice(p, "k")
	if items := e.issue(other, second); len(items) != 0 {
		t.Fatalf("published %+v", items)
	}
	if items := e.queue(notice); len(items) != 0 {
		t.Fatalf("published %+v", items)
	}
	e.wantChallenge(first.Request.ID, mobileid.ChallengePending, "")
	e.wantChallenge(second.Request.ID, mobileid.ChallengeConflict, "second_id")
	e.wantChallenge(other.Request.ID, mobileid.ChallengeConflict, "key_reused")
	e.wantMessage(notice.Request.ID, mobileid.MessageCancelled, "second_id")
	if have := query[int](e, `select count(*) from messages where ended_at is null`); have != 1 {
		t.Fatalf("%d open messages, want 1", have)
	}
}

func TestOneIdempotencyKeyInOneBatchGoesToTheFirstAccepted(t *testing.T) {
	e := newEnv(t)
	p := e.bind(0)
	first := e.challenge(p, "k")
	e.clk.advance(time.Millisecond)
	second := e.challenge(p, "k")
	e.issue(second, first)
	e.wantChallenge(first.Request.ID, mobileid.ChallengePending, "")
	e.wantChallenge(second.Request.ID, mobileid.ChallengeConflict, "second_id")
}

func TestWhatCannotBeSentEndsWhenItIsRead(t *testing.T) {
	e := newEnv(t)
	p := e.bind(0)
	late, lateNotice := e.challenge(p, "late"), e.notice(p, "late notice")
	e.clk.advance(2 * time.Hour)
	unbound, unboundNotice := e.challenge(p, "unbound"), e.notice(p, "unbound notice")
	unbound.Binding, unbound.Message, unboundNotice.Message = nil, nil, nil
	stale := e.challenge(p, "stale")
	must(t, e.Revoke(e.ctx(), p.binding.ID))
	if items := append(e.issue(late, unbound, stale), e.queue(lateNotice, unboundNotice)...); len(items) != 0 {
		t.Fatalf("published %+v", items)
	}
	e.wantChallenge(late.Request.ID, mobileid.ChallengeExpired, "deadline")
	e.wantChallenge(unbound.Request.ID, mobileid.ChallengeUnbound, "unbound")
	e.wantChallenge(stale.Request.ID, mobileid.ChallengeUnbound, "binding_changed")
	e.wantMessage(lateNotice.Request.ID, mobileid.MessageExpired, "deadline")
	e.wantMessage(unboundNotice.Request.ID, mobileid.MessageCancelled, "unbound")
	if have := query[int](e, `select count(*) from live_challenges`); have != 0 {
		t.Fatalf("%d live", have)
	}
}

func TestTheYoungestChallengeIsTheLiveOne(t *testing.T) {
	e := newEnv(t)
	e.tariff()
	p, q := e.bind(10*cost), e.bind(10*cost)
	oldest := e.challenge(p, "1")
	e.clk.advance(time.Second)
	old := e.challenge(p, "2")
	e.clk.advance(time.Second)
	newer, newest := e.challenge(p, "3"), e.challenge(p, "4")
	newest.Request.ID = e.key.Make(mobileid.KindChallenge, client, "4", e.clk.now().Add(time.Second))
	newest.Message.ID = e.key.Derive(mobileid.KindMessage, client, newest.Request.ID, 1)
	otherPerson := e.challenge(q, "5")
	otherPurpose := e.challenge(p, "6")
	otherPurpose.Request.Purpose = "sign"

	e.issue(old)
	e.issue(oldest, otherPerson, otherPurpose) // HTTP order and Kafka order may differ
	e.wantChallenge(oldest.Request.ID, mobileid.ChallengeSuperseded, "newer")
	e.wantChallenge(old.Request.ID, mobileid.ChallengePending, "")

	if items := e.issue(newer, newest); len(items) != 1 || items[0].ID != newest.Message.ID {
		t.Fatalf("published %+v", items)
	}
	e.wantChallenge(newest.Request.ID, mobileid.ChallengePending, "")
	e.wantChallenge(newer.Request.ID, mobileid.ChallengeSuperseded, "newer")
	e.wantChallenge(old.Request.ID, mobileid.ChallengeSuperseded, "newer")
	e.wantMessage(old.Message.ID, mobileid.MessageCancelled, "challenge_superseded")
	e.wantErased(old.Message.ID, true)
	e.wantChallenge(otherPerson.Request.ID, mobileid.ChallengePending, "")
	e.wantChallenge(otherPurpose.Request.ID, mobileid.ChallengePending, "")
	if have := query[int](e, `select count(*) from live_challenges`); have != 3 {
		t.Fatalf("%d live, want 3", have)
	}
}

func TestASupersededCodeThatWaitsForItsRetryIsGivenBack(t *testing.T) {
	e := newEnv(t)
	e.tariff()
	p := e.bind(cost)
	old := e.challenge(p, "1")
	e.issue(old)
	b := e.bridge()
	e.admit(b, old.Message.ID)
	e.settle(b, e.outcome(old.Message.ID, mobileid.MessageRetry, p.binding.Number, ""))
	e.clk.advance(time.Second)
	newer := e.challenge(p, "2")
	e.issue(newer)
	e.wantMessage(old.Message.ID, mobileid.MessageCancelled, "challenge_superseded")
	e.wantCharge(old.Message.ID, "voided")
	if a := e.admit(b, newer.Message.ID)[0]; a.Verdict != mobileid.VerdictMine {
		t.Fatalf("the money that was given back does not pay for the next: %+v", a)
	}
}

func TestManyIssuersOfOnePersonLeaveOneLiveChallenge(t *testing.T) {
	e := newEnv(t)
	p := e.bind(0)
	const n = 12
	cs := make([]mobileid.NewChallenge, n)
	for i := range cs {
		e.clk.advance(time.Millisecond)
		cs[i] = e.challenge(p, string(rune('a'+i)))
	}
	var wg sync.WaitGroup
	for i := range cs {
		wg.Go(func() {
			if _, err := e.IssueChallenges(e.ctx(), []mobileid.NewChallenge{cs[i]}); err != nil {
				t.Error(err, cause(err))
			}
		})
	}
	wg.Wait()
	if have := query[int](e, `select count(*) from challenges where state = 'pending'`); have != 1 {
		t.Fatalf("%d pending", have)
	}
	e.wantChallenge(cs[n-1].Request.ID, mobileid.ChallengePending, "")
	live := query[[]byte](e, `select challenge_id from live_challenges`)
	if string(live) != string(cs[n-1].Request.ID[:]) {
		t.Fatal("the live row names another challenge")
	}
}

func TestThePriceIsTheOneInForceWhenQueued(t *testing.T) {
	e := newEnv(t)
	e.price(operator, 100, now0.Add(-time.Hour))
	e.price(operator, 200, now0.Add(time.Minute))
	p := e.bind(1000)
	before := e.notice(p, "before")
	e.queue(before)
	e.clk.advance(time.Minute)
	after := e.notice(p, "after")
	e.queue(after)
	e.admit(e.bridge(), before.Message.ID, after.Message.ID)
	for id, want := range map[mobileid.ID]int64{before.Message.ID: 100, after.Message.ID: 200} {
		if have := query[int64](e, `select held from transfers where message_id = $1`, id[:]); have != want {
			t.Errorf("charged %d, want %d", have, want)
		}
	}
	e.wantBalanced()
}

func TestACreditIsToldOnce(t *testing.T) {
	e := newEnv(t)
	p := e.bind(0)
	for range 3 {
		must(t, e.Credit(e.ctx(), p.binding.Account, "operator:beeline", "7", 500))
	}
	if have := query[int64](e, `select granted from accounts where id = $1`, p.binding.Account); have != 500 {
		t.Fatalf("granted %d", have)
	}
	if err := e.Credit(e.ctx(), p.binding.Account, "operator:beeline", "7", 501); mobileid.CodeOf(err) != "credit_differs" {
		t.Fatalf("err = %v", err)
	}
	e.wantBalanced()
}
