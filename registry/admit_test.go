package registry_test

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"mobileid/internal/mobileid"
)

func TestACodeTravelsFromRequestToReceipt(t *testing.T) {
	e := newEnv(t)
	e.tariff()
	p := e.bind(10 * cost)
	c := e.challenge(p, "k1")
	items := e.issue(c)
	if len(items) != 1 || items[0].ID != c.Message.ID || items[0].Lane != mobileid.LaneOTP || items[0].Person != p.binding.Person {
		t.Fatalf("to publish: %+v", items)
	}
	e.wantChallenge(c.Request.ID, mobileid.ChallengePending, "")
	b := e.bridge()
	a := e.admit(b, c.Message.ID)[0]
	if a.Verdict != mobileid.VerdictMine || string(a.Sealed) != "sealed text" || a.Resend || a.Dest != p.binding.Number || a.TextID != "code" {
		t.Fatalf("admission: %+v", a)
	}
	e.wantCharge(c.Message.ID, "pending")
	e.settle(b, e.outcome(c.Message.ID, mobileid.MessageSent, p.binding.Number, "op-1"))
	e.wantMessage(c.Message.ID, mobileid.MessageSent, "")
	e.wantCharge(c.Message.ID, "posted")
	e.wantErased(c.Message.ID, true)
	if n := e.receipts(e.receipt(p.binding.Number, "op-1", mobileid.MessageDelivered)); n != 1 {
		t.Fatalf("matched %d", n)
	}
	e.wantMessage(c.Message.ID, mobileid.MessageDelivered, "receipt")
	conf, err := e.Confirm(e.ctx(), client, c.Request.ID, mobileid.KeyPart{1}, "c0ffee")
	must(t, err)
	if conf.Replayed || conf.Purpose != "login" || !conf.ConfirmedAt.Equal(e.clk.now()) {
		t.Fatalf("confirmation: %+v", conf)
	}
	e.wantChallenge(c.Request.ID, mobileid.ChallengeConfirmed, "")
	steps, err := e.Explain(e.ctx(), c.Request.ID)
	must(t, err)
	same, err := e.Explain(e.ctx(), c.Message.ID)
	must(t, err)
	if len(steps) != len(same) {
		t.Fatalf("explained by challenge in %d steps, by message in %d", len(steps), len(same))
	}
	hops := map[string]bool{}
	for _, s := range steps {
		hops[s.Hop] = true
		t.Logf("%s %-12s %s %v %v", s.At.Format(time.TimeOnly), s.Hop, s.What, s.Record, s.Facts)
	}
	for _, hop := range []string{"edge", "kafka", "registry", "bridge", "operator", "receipt", "charge", "confirmation"} {
		if !hops[hop] {
			t.Errorf("no step of %s", hop)
		}
	}
}

func TestABridgeGetsNothingOfAnotherOperator(t *testing.T) {
	var log bytes.Buffer
	e := newEnvLog(t, slog.New(slog.NewJSONHandler(&log, nil)))
	e.tariff()
	p := e.bind(2 * cost)
	mine, other := e.challenge(p, "mine"), e.notice(p, "other")
	e.issue(mine)
	e.queue(other)
	wrong, err := e.OpenBridge(e.ctx(), "ucell", "test", time.Hour)
	must(t, err)
	for _, a := range e.admit(wrong, mine.Message.ID, other.Message.ID) {
		if a.Verdict != mobileid.VerdictDrop || a.Sealed != nil || a.State != mobileid.MessageQueued {
			t.Fatalf("%+v", a)
		}
	}
	if n := strings.Count(log.String(), "of another operator"); n != 1 {
		t.Errorf("%d alarms, want 1", n)
	}
	e.wantCharge(mine.Message.ID, "none")
	// Not even the hint that a code in doubt is due is lost to a stray record.
	b := e.bridge()
	e.admit(b, mine.Message.ID)
	e.settle(b, e.outcome(mine.Message.ID, mobileid.MessageInDoubt, p.binding.Number, ""))
	e.admit(wrong, mine.Message.ID)
	e.wantMessage(mine.Message.ID, mobileid.MessageInDoubt, "")
	if due, err := e.DueRetries(e.ctx(), operator, 10); err != nil || len(due) != 1 {
		t.Fatalf("due: %v, %v", due, err)
	}
}

func TestAdmissionDecidesByWhatIsStored(t *testing.T) {
	type fixture struct {
		*env
		p person
		c mobileid.NewChallenge
		b int64
	}
	inDoubt := func(f fixture) {
		f.admit(f.b, f.c.Message.ID)
		f.settle(f.b, f.outcome(f.c.Message.ID, mobileid.MessageInDoubt, f.p.binding.Number, ""))
	}
	cases := []struct {
		name      string
		funds     mobileid.Money
		before    func(fixture)
		verdict   mobileid.Verdict
		message   mobileid.MessageState
		reason    string
		challenge mobileid.ChallengeState
		charge    string
		resend    bool
	}{
		{
			name: "new is mine", funds: cost, before: func(fixture) {},
			verdict: mobileid.VerdictMine, message: "admitted", challenge: "pending", charge: "pending",
		},
		{
			name: "an empty account is no_funds", before: func(fixture) {},
			verdict: mobileid.VerdictRefused, message: "no_funds", reason: "balance", challenge: "no_funds", charge: "none",
		},
		{
			name: "one tiyin short is no_funds", funds: cost - 1, before: func(fixture) {},
			verdict: mobileid.VerdictRefused, message: "no_funds", reason: "balance", challenge: "no_funds", charge: "none",
		},
		{
			name: "a suspended binding is no_funds", funds: cost,
			before:  func(f fixture) { f.exec(`update bindings set sms_suspended = true where id = $1`, f.p.binding.ID) },
			verdict: mobileid.VerdictRefused, message: "no_funds", reason: "suspended", challenge: "no_funds", charge: "none",
		},
		{
			name: "a revoked binding is fenced", funds: cost,
			before:  func(f fixture) { must(f.t, f.Revoke(f.ctx(), f.p.binding.ID)) },
			verdict: mobileid.VerdictRefused, message: "fenced", reason: "binding_changed", challenge: "fenced", charge: "none",
		},
		{
			name: "another version of the binding is fenced", funds: cost,
			before:  func(f fixture) { f.exec(`update bindings set version = version + 1 where id = $1`, f.p.binding.ID) },
			verdict: mobileid.VerdictRefused, message: "fenced", reason: "binding_changed", challenge: "fenced", charge: "none",
		},
		{
			name: "past its deadline is expired", funds: cost,
			before:  func(f fixture) { f.clk.advance(codeLife) },
			verdict: mobileid.VerdictRefused, message: "expired", reason: "deadline", challenge: "expired", charge: "none",
		},
		{
			name: "a code that was used is cancelled", funds: cost,
			before: func(f fixture) {
				_, err := f.Confirm(f.ctx(), client, f.c.Request.ID, mobileid.KeyPart{1}, "c0ffee")
				must(f.t, err)
			},
			verdict: mobileid.VerdictRefused, message: "cancelled", reason: "challenge_confirmed", challenge: "confirmed", charge: "none",
		},
		{
			name: "an ended challenge stopped it already", funds: cost,
			before: func(f fixture) {
				must(f.t, f.EndChallenge(f.ctx(), f.c.Request.ID, mobileid.ChallengeLost, mobileid.ReasonCodeLost))
			},
			verdict: mobileid.VerdictDrop, message: "cancelled", reason: "challenge_lost", challenge: "lost", charge: "none",
		},
		{
			name: "mine twice is dropped", funds: cost,
			before:  func(f fixture) { f.admit(f.b, f.c.Message.ID) },
			verdict: mobileid.VerdictDrop, message: "admitted", challenge: "pending", charge: "pending",
		},
		{
			name: "another live bridge has it", funds: cost,
			before:  func(f fixture) { f.admit(f.bridge(), f.c.Message.ID) },
			verdict: mobileid.VerdictDrop, message: "admitted", challenge: "pending", charge: "pending",
		},
		{
			name: "a dead owner leaves it in doubt", funds: cost,
			before: func(f fixture) {
				other := f.bridge()
				f.admit(other, f.c.Message.ID)
				f.kill(other)
			},
			verdict: mobileid.VerdictDrop, message: "in_doubt", reason: "owner_lost", challenge: "pending", charge: "pending",
		},
		{
			name: "a code in doubt gets its one extra try", funds: cost, before: inDoubt,
			verdict: mobileid.VerdictMine, message: "admitted", challenge: "pending", charge: "pending", resend: true,
		},
		{
			name: "a code in doubt twice waits", funds: cost,
			before:  func(f fixture) { inDoubt(f); inDoubt(f) },
			verdict: mobileid.VerdictDrop, message: "in_doubt", challenge: "pending", charge: "pending",
		},
		{
			name: "a code in doubt of a revoked binding waits", funds: cost,
			before:  func(f fixture) { inDoubt(f); must(f.t, f.Revoke(f.ctx(), f.p.binding.ID)) },
			verdict: mobileid.VerdictDrop, message: "in_doubt", challenge: "pending", charge: "pending",
		},
		{
			name: "a code in doubt past its deadline waits", funds: cost,
			before:  func(f fixture) { inDoubt(f); f.clk.advance(codeLife) },
			verdict: mobileid.VerdictDrop, message: "in_doubt", challenge: "pending", charge: "pending",
		},
		{
			name: "a retry that is not due waits", funds: cost,
			before: func(f fixture) {
				f.admit(f.b, f.c.Message.ID)
				o := f.outcome(f.c.Message.ID, mobileid.MessageRetry, f.p.binding.Number, "")
				o.RetryAt = f.clk.now().Add(time.Second)
				f.settle(f.b, o)
			},
			verdict: mobileid.VerdictDrop, message: "retry", challenge: "pending", charge: "pending",
		},
		{
			name: "a retry that is due is mine, and paid for already", funds: cost,
			before: func(f fixture) {
				f.admit(f.b, f.c.Message.ID)
				o := f.outcome(f.c.Message.ID, mobileid.MessageRetry, f.p.binding.Number, "")
				o.RetryAt = f.clk.now().Add(time.Second)
				f.settle(f.b, o)
				f.clk.advance(time.Second)
			},
			verdict: mobileid.VerdictMine, message: "admitted", challenge: "pending", charge: "pending",
		},
		{
			name: "a retry of a revoked binding is fenced and given back", funds: cost,
			before: func(f fixture) {
				f.admit(f.b, f.c.Message.ID)
				f.settle(f.b, f.outcome(f.c.Message.ID, mobileid.MessageRetry, f.p.binding.Number, ""))
				must(f.t, f.Revoke(f.ctx(), f.p.binding.ID))
			},
			verdict: mobileid.VerdictRefused, message: "fenced", reason: "binding_changed", challenge: "fenced", charge: "voided",
		},
		{
			name: "what is sent is dropped", funds: cost,
			before: func(f fixture) {
				f.admit(f.b, f.c.Message.ID)
				f.settle(f.b, f.outcome(f.c.Message.ID, mobileid.MessageSent, f.p.binding.Number, "x"))
			},
			verdict: mobileid.VerdictDrop, message: "sent", challenge: "pending", charge: "posted",
		},
	}
	e := newEnv(t)
	e.tariff()
	for i, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			e.clk.advance(time.Hour)
			p := e.bind(tc.funds)
			f := fixture{env: e, p: p, c: e.challenge(p, "k"+tc.name), b: e.bridge()}
			e.issue(f.c)
			tc.before(f)
			a := e.admit(f.b, f.c.Message.ID)[0]
			if a.Verdict != tc.verdict || a.State != tc.message || a.Resend != tc.resend {
				t.Errorf("case %d: %s %s resend=%v, want %s %s resend=%v", i, a.Verdict, a.State, a.Resend, tc.verdict, tc.message, tc.resend)
			}
			if mine := a.Verdict == mobileid.VerdictMine; mine != (len(a.Sealed) > 0) {
				t.Errorf("sealed text of %d bytes with verdict %s", len(a.Sealed), a.Verdict)
			}
			e.wantMessage(f.c.Message.ID, tc.message, tc.reason)
			if have := e.challengeState(f.c.Request.ID); have != tc.challenge {
				t.Errorf("challenge is %s, want %s", have, tc.challenge)
			}
			e.wantCharge(f.c.Message.ID, tc.charge)
			e.wantErased(f.c.Message.ID, tc.message.Terminal() || tc.message == mobileid.MessageSent)
			live := query[int](e, `select count(*) from live_challenges where challenge_id = $1`, f.c.Request.ID[:])
			if (live == 1) != (tc.challenge == mobileid.ChallengePending) {
				t.Errorf("%d live rows of a challenge that is %s", live, tc.challenge)
			}
		})
	}
}

func TestAdmissionKnowsNothingOfAnIDWithoutARow(t *testing.T) {
	e := newEnv(t)
	id := e.key.Make(mobileid.KindMessage, client, "none", e.clk.now())
	a := e.admit(e.bridge(), id, id)
	if len(a) != 1 || a[0].ID != id || a[0].Verdict != mobileid.VerdictUnknown {
		t.Fatalf("%+v", a)
	}
}

func TestABridgeWhoseLeaseEndedAdmitsNothing(t *testing.T) {
	e := newEnv(t)
	e.tariff()
	p := e.bind(cost)
	c := e.challenge(p, "k")
	e.issue(c)
	b := e.bridge()
	must(t, e.RenewBridge(e.ctx(), b, time.Hour))
	must(t, e.CloseBridge(e.ctx(), b))
	_, err := e.Admit(e.ctx(), b, []mobileid.AdmitItem{{ID: c.Message.ID}})
	if mobileid.CodeOf(err) != "bridge_ended" {
		t.Fatalf("err = %v", err)
	}
	if mobileid.CodeOf(e.RenewBridge(e.ctx(), b, time.Hour)) != "bridge_ended" {
		t.Fatal("a lease that had ended was renewed")
	}
	e.wantMessage(c.Message.ID, mobileid.MessageQueued, "")
}

func TestABatchThatDoesNotFitIsDecidedMessageByMessage(t *testing.T) {
	e := newEnv(t)
	p := e.bind(100)
	var ids []mobileid.ID
	// The price is that of the time of queueing: 60, 50, 40, and again 10.
	for i, amount := range []mobileid.Money{60, 50, 40, 10} {
		e.price(operator, amount, e.clk.now().Add(time.Second))
		e.clk.advance(time.Second)
		n := e.notice(p, string(rune('a'+i)))
		e.queue(n)
		ids = append(ids, n.Message.ID)
	}
	want := []mobileid.MessageState{"admitted", "no_funds", "admitted", "no_funds"}
	for i, a := range e.admit(e.bridge(), ids...) {
		if a.State != want[i] {
			t.Errorf("message %d is %s, want %s", i, a.State, want[i])
		}
	}
	e.wantBalanced()
}

// TestWhatIsNewIsAdmittedThoughTheRestCannotBe: a Message that comes again
// waits for a lock that is not given in time.
func TestWhatIsNewIsAdmittedThoughTheRestCannotBe(t *testing.T) {
	e := newEnv(t)
	e.tariff()
	p, b := e.bind(2*cost), e.bridge()
	old, fresh := e.notice(p, "old"), e.notice(p, "fresh")
	e.queue(old)
	e.admit(b, old.Message.ID)
	o := e.outcome(old.Message.ID, mobileid.MessageRetry, p.binding.Number, "")
	o.RetryAt = e.clk.now()
	e.settle(b, o)
	e.queue(fresh)

	tx, err := e.pool.Begin(e.ctx())
	must(t, err)
	_, err = tx.Exec(e.ctx(), `select from messages where id = $1 for update`, old.Message.ID[:])
	must(t, err)
	ctx, cancel := context.WithTimeout(e.ctx(), 500*time.Millisecond)
	defer cancel()
	lane := mobileid.RecordRef{Topic: "lane", Partition: 1, Offset: 1}
	got, err := e.Admit(ctx, b, []mobileid.AdmitItem{{ID: old.Message.ID}, {ID: fresh.Message.ID, Source: lane}})
	if mobileid.KindOf(err) != mobileid.KindUnknown {
		t.Fatalf("err = %v, want unknown", err)
	}
	if len(got) != 1 || got[0].ID != fresh.Message.ID || got[0].Verdict != mobileid.VerdictMine {
		t.Fatalf("%+v, want the new one, mine", got)
	}
	must(t, tx.Rollback(e.ctx()))
	e.wantMessage(fresh.Message.ID, mobileid.MessageAdmitted, "")
	// Whether the other was admitted is not known: now it surely is.
	if a := e.admit(b, old.Message.ID, fresh.Message.ID); a[1].Verdict != mobileid.VerdictDrop {
		t.Fatalf("%+v, want the new one once", a)
	}
	e.wantMessage(old.Message.ID, mobileid.MessageAdmitted, "")
	e.wantBalanced()
}
