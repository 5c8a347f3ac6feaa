package demo

import (
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"mobileid/cmd/mobileid/config/sandbox"
	"mobileid/cmd/smscsim/smsc"
	"mobileid/registry"
)

func TestAnSMSIsDoubledWhenOneHandsetGetsItTwice(t *testing.T) {
	sms := func(id, dest, reference, text string, part int, status uint32) smsc.Submit {
		return smsc.Submit{
			MessageID: id, Dest: dest, Text: text, Part: part, Status: status, Fields: map[string]string{"tlv_0x0204": reference},
		}
	}
	taken, doubled := compare([]smsc.Submit{
		sms("1", "90", "aa", "code 1", 1, 0),
		sms("", "90", "aa", "code 2", 1, 0x58), // refused
		sms("2", "90", "aa", "code 2", 1, 0),
		sms("3", "91", "aa", "code 1", 1, 0), // to another
		sms("4", "90", "bb", "code 1", 1, 0), // another Message
		sms("5", "90", "aa", "code 1", 2, 0), // another part
		sms("6", "90", "aa", "code 1", 1, 0), // the first once more
		sms("7", "90", "aa", "code 1", 1, 0),
	})
	if got := slices.Sorted(maps.Keys(taken)); doubled != 2 || !slices.Equal(got, []string{"1", "2", "3", "4", "5", "6", "7"}) {
		t.Errorf("%d doubled, taken %v", doubled, got)
	}
}

func TestAnSMSThatTheOperatorNeverHadIsLost(t *testing.T) {
	d := start(t, Options{})
	asker := &tourist{url: d.url, client: http.DefaultClient}
	for _, err := range []error{
		asker.getToken(t.Context()), asker.ask(t.Context(), persons()[0].pinfl, "sign_in"), asker.readCode(t.Context()), asker.awaitDelivery(t.Context()),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	another, err := smsc.Start(smsc.Config{Accounts: map[string]string{sandbox.SystemID: "secret"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = another.Close() })
	dsn, err := sandbox.Secret(d.dir, "dsn")
	if err != nil {
		t.Fatal(err)
	}
	db, err := registry.Open(t.Context(), registry.Config{DSN: dsn, MaxConns: 1, Log: slog.New(slog.DiscardHandler), Reg: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	for _, c := range []struct {
		began time.Time
		grace time.Duration
		lost  int64
	}{
		{time.Now().Add(-time.Hour), time.Hour, 1},
		{time.Now().Add(time.Hour), time.Hour, 0}, // before this run: that operator's log is not ours
	} {
		books := &truth{smsc: another, db: db, began: c.began, grace: c.grace}
		if lost, doubled, err := books.count(t.Context()); err != nil || lost != c.lost || doubled != 0 {
			t.Errorf("lost %d, doubled %d, %v; want %d lost", lost, doubled, err, c.lost)
		}
	}
}
