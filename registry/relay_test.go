package registry_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"mobileid/internal/mobileid"
	"mobileid/registry"
)

type publisher func([]mobileid.StatusChanged) error

func (p publisher) PublishStatuses(_ context.Context, changes []mobileid.StatusChanged) (map[string]bool, error) {
	return nil, p(changes)
}

// partly is a Publisher that cannot reach the topics of some clients.
type partly func([]mobileid.StatusChanged) map[string]bool

func (p partly) PublishStatuses(_ context.Context, changes []mobileid.StatusChanged) (map[string]bool, error) {
	return p(changes), nil
}

func TestStatusesLeaveAtLeastOnceInTheirOrder(t *testing.T) {
	e := newEnv(t)
	c := e.challenge(e.bind(0), "k")
	e.issue(c)
	must(t, e.EndChallenge(e.ctx(), c.Request.ID, mobileid.ChallengeLost, "code_lost"))

	var seen []mobileid.StatusChanged
	fail := errors.New("kafka is away")
	var result error = mobileid.Unavailable("kafka_away", time.Second, fail)
	r := registry.NewRelay(e.DB, publisher(func(c []mobileid.StatusChanged) error {
		seen = append(seen, c...)
		return result
	}), registry.RelayConfig{})
	if _, err := r.Once(e.ctx()); !errors.Is(err, fail) {
		t.Fatalf("err = %v", err)
	}
	if have := query[int](e, `select count(*) from outbox`); have != 4 {
		t.Fatalf("%d rows left after a failed publish, want 4", have)
	}
	result, seen = nil, nil
	n, err := r.Once(e.ctx())
	must(t, err)
	if n != 4 || query[int](e, `select count(*) from outbox`) != 0 {
		t.Fatalf("relayed %d", n)
	}
	versions := map[mobileid.ID]int64{}
	for _, s := range seen {
		if s.Version <= versions[s.ID] {
			t.Errorf("%s: version %d after %d", s.State, s.Version, versions[s.ID])
		}
		versions[s.ID] = s.Version
		if s.Client != client || s.At.IsZero() {
			t.Errorf("%+v", s)
		}
		if want := s.State == "lost" || s.State == "cancelled"; s.Terminal != want {
			t.Errorf("%s: terminal = %v", s.State, s.Terminal)
		}
		if s.ID == c.Message.ID && s.Challenge != c.Request.ID {
			t.Errorf("the status of a code does not name its challenge")
		}
	}
	if len(versions) != 2 {
		t.Fatalf("%d subjects", len(versions))
	}
}

// More rows than a batch, all older than those of the others: kept without a
// pause they would be every batch.
func TestAClientWhoseTopicFailsKeepsItsRowsAndDelaysNobody(t *testing.T) {
	e := newEnv(t)
	const batch = 10
	add := func(client string, rows int) {
		e.exec(`insert into outbox (subject, client, state, version, at) select int8send(i), $2::text, 'sent', 1, now() from generate_series(1, $1) i`, rows, client)
	}
	add("fails", 3*batch)
	add("fine", 2*batch)
	told := map[string]int{}
	r := registry.NewRelay(e.DB, partly(func(changes []mobileid.StatusChanged) map[string]bool {
		left := map[string]bool{}
		for _, c := range changes {
			told[c.Client]++
			left[c.Client] = c.Client == "fails"
		}
		return left
	}), registry.RelayConfig{Batch: batch})
	for range 3 {
		_, err := r.Once(e.ctx())
		must(t, err)
	}
	if told["fine"] != 2*batch || told["fails"] != batch {
		t.Errorf("given to the publisher: %v", told)
	}
	if kept, others := query[int](e, `select count(*) from outbox where client = 'fails'`), query[int](e, `select count(*) from outbox where client <> 'fails'`); kept != 3*batch || others != 0 {
		t.Errorf("%d rows of the client whose topic fails are kept, want %d; %d of others, want 0", kept, 3*batch, others)
	}
	// A new relay knows of no pause, and the topic is back.
	r = registry.NewRelay(e.DB, partly(func([]mobileid.StatusChanged) map[string]bool { return nil }), registry.RelayConfig{})
	if n, err := r.Once(e.ctx()); err != nil || n != 3*batch || query[int](e, `select count(*) from outbox`) != 0 {
		t.Errorf("relayed %d: %v", n, err)
	}
}

func TestAClientThatIsHeldBackIsShown(t *testing.T) {
	e := newEnv(t)
	reg := prometheus.NewRegistry()
	db, err := registry.Open(e.ctx(), registry.Config{DSN: databaseDSN(e.name), Now: e.clk.now, Reg: reg})
	must(t, err)
	defer db.Close()
	e.exec(`insert into outbox (subject, client, state, version, at) select int8send(1), c, 'sent', 1, now() from unnest(array['fails', 'fine']) c`)
	failing := map[string]bool{"fails": true}
	r := registry.NewRelay(db, partly(func([]mobileid.StatusChanged) map[string]bool { return failing }), registry.RelayConfig{})
	look := func(after time.Duration, want ...string) {
		t.Helper()
		e.clk.advance(after)
		_, err := r.Once(e.ctx())
		must(t, err)
		families, err := reg.Gather()
		must(t, err)
		var shown []string
		for _, family := range families {
			for _, m := range family.GetMetric() {
				if family.GetName() == "mobileid_relay_clients_held" && m.GetGauge().GetValue() == 1 {
					shown = append(shown, m.GetLabel()[0].GetValue())
				}
			}
		}
		if !slices.Equal(shown, want) {
			t.Errorf("the gauge shows %v, want %v", shown, want)
		}
	}
	look(0, "fails")
	look(time.Second, "fails")
	look(time.Second, "fails") // tried again, in vain
	look(3*time.Second, "fails")
	failing = nil
	look(time.Second)
	failing = map[string]bool{"fails": true}
	e.exec(`insert into outbox (subject, client, state, version, at) values (int8send(1), 'fails', 'sent', 1, now())`)
	look(0, "fails")
	e.exec(`delete from outbox`) // as another relay does
	look(time.Minute)
}
