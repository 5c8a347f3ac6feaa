package registry_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"mobileid/internal/mobileid"
	"mobileid/registry"
)

// inboundTopic is a topic of inbound messages in memory.
type inboundTopic struct {
	got  []mobileid.InboundMessage
	away error
}

func (p *inboundTopic) PublishInbound(_ context.Context, messages []mobileid.InboundMessage) error {
	p.got = append(p.got, messages...) // perhaps written, whatever is answered
	return p.away
}

func (e *env) inbound(text string) mobileid.InboundMessage {
	return mobileid.InboundMessage{
		ID: mobileid.NewInboundID(), Operator: operator, Account: account, Number: mobileid.Pseudonym{1},
		Part: mobileid.InboundPart{Reference: 65535, Total: 255, Number: 255}, Fingerprint: mobileid.Fingerprint{9}, Sealed: []byte(text), At: e.clk.now(),
	}
}

func TestAnInboundMessageIsPublishedAtLeastOnceAndKeptAWhile(t *testing.T) {
	e := newEnv(t)
	a := e.inbound("sealed a")
	e.clk.advance(time.Second)
	b := e.inbound("sealed b")
	b.Number, b.Part = mobileid.Pseudonym{}, mobileid.InboundPart{} // from a short code, whole
	b.Fingerprint = mobileid.Fingerprint{}                          // as before there were any
	for range 2 {
		must(t, e.StoreInbound(e.ctx(), []mobileid.InboundMessage{a, b, a}))
	}
	topic := &inboundTopic{away: mobileid.Unavailable("kafka_away", time.Second, nil)}
	relay := registry.NewInboundRelay(e.DB, topic, nil)
	if _, err := relay.Once(e.ctx()); mobileid.KindOf(err) != mobileid.KindUnavailable {
		t.Fatalf("err = %v", err)
	}
	topic.away = nil
	for i, want := range []int{2, 0} {
		if n, err := relay.Once(e.ctx()); err != nil || n != want {
			t.Fatalf("look %d: %d, %v; want %d", i, n, err, want)
		}
	}
	if len(topic.got) != 4 {
		t.Fatalf("%d published, want both before and after the broker's fault", len(topic.got))
	}
	for i, want := range []mobileid.InboundMessage{a, b} {
		got := topic.got[2+i]
		got.At, want.At = got.At.UTC(), want.At.UTC()
		if got.ID != want.ID || got.Operator != want.Operator || got.Account != want.Account || got.Number != want.Number ||
			got.Part != want.Part || got.Fingerprint != want.Fingerprint || !slices.Equal(got.Sealed, want.Sealed) || !got.At.Equal(want.At) {
			t.Errorf("%+v\nwant %+v", got, want)
		}
	}
	if n := query[int](e, `select count(*) from inbound where fingerprint is null`); n != 1 {
		t.Errorf("%d rows without a fingerprint", n)
	}
	rows := func() int { return query[int](e, `select count(*) from inbound`) }
	s := registry.NewSweeper(e.DB, registry.SweepConfig{Grace: time.Second}, nil, nil)
	e.clk.advance(7 * 24 * time.Hour)
	e.sweep(s)
	if rows() != 2 {
		t.Error("forgotten too early")
	}
	late := e.inbound("sealed late")
	late.At = late.At.Add(-8 * 24 * time.Hour)
	must(t, e.StoreInbound(e.ctx(), []mobileid.InboundMessage{late}))
	e.clk.advance(time.Second)
	e.sweep(s)
	if rows() != 1 {
		t.Errorf("%d rows, want the one that was not published", rows())
	}
}

func TestReceiptsThatCannotBeReadAreKeptAFewAndForAWhile(t *testing.T) {
	e := newEnv(t)
	unread := func(account string, n int) []mobileid.UnreadReceipt {
		all := make([]mobileid.UnreadReceipt, n)
		for i := range all {
			all[i] = mobileid.UnreadReceipt{Account: account, Why: "unparseable", Sealed: []byte("sealed"), At: e.clk.now()}
		}
		return all
	}
	kept := func(operator string) int {
		all, err := e.Unread(e.ctx(), operator)
		must(t, err)
		for _, u := range all {
			if u.Why != "unparseable" || string(u.Sealed) != "sealed" || !u.At.Equal(e.clk.now()) {
				t.Fatalf("%+v", u)
			}
		}
		return len(all)
	}
	must(t, e.KeepUnread(e.ctx(), append(unread("beeline/a", 250), unread("ucell/a", 1)...)))
	must(t, e.KeepUnread(e.ctx(), unread("beeline/a", 1)))
	if have := [3]int{kept("beeline"), kept("ucell"), kept("mobiuz")}; have != [3]int{200, 1, 0} {
		t.Errorf("kept %v, want 200 of the one that is wrong every time, and 1", have)
	}
	s := registry.NewSweeper(e.DB, registry.SweepConfig{Grace: time.Second}, nil, nil)
	rows := func() int { return query[int](e, `select count(*) from receipts_unread`) }
	e.clk.advance(30 * 24 * time.Hour)
	e.sweep(s)
	if rows() != 201 {
		t.Error("forgotten too early")
	}
	e.clk.advance(time.Second)
	e.sweep(s)
	if rows() != 0 {
		t.Errorf("%d kept for ever", rows())
	}
}
