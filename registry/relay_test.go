package registry_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"mobileid/internal/mobileid"
	"mobileid/registry"
)

type publisher func([]mobileid.StatusChanged) error

func (p publisher) PublishStatuses(_ context.Context, changes []mobileid.StatusChanged) error {
	return p(changes)
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
