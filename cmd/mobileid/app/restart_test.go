package app_test

import (
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"mobileid/cmd/mobileid/app"
	"mobileid/cmd/mobileid/app/apptest"
	"mobileid/cmd/mobileid/config"
)

// load asks side by side until told to stop, each request with its own key,
// repeated with the same key until it is accepted, as a client should.
type load struct {
	s     *looker
	stop  chan struct{}
	done  sync.WaitGroup
	mu    sync.Mutex
	ids   []string
	tries int
}

func (s *looker) load(people []apptest.Person, askers int) *load {
	l := &load{s: s, stop: make(chan struct{})}
	next := make(chan apptest.Person)
	l.done.Go(func() {
		defer close(next)
		for _, p := range people {
			select {
			case next <- p:
			case <-l.stop:
				return
			}
		}
	})
	for range askers {
		l.done.Go(func() {
			for p := range next {
				l.until202("/v1/challenges", apptest.ChallengeBody(p.PINFL, "sign_in"))
				l.until202("/v1/notifications", apptest.NoticeBody(p.PINFL))
			}
		})
	}
	return l
}

func (l *load) until202(path, body string) {
	key := l.s.NewKey()
	pause := time.NewTicker(20 * time.Millisecond)
	defer pause.Stop()
	for limit := time.Now().Add(20 * time.Second); time.Now().Before(limit); <-pause.C {
		a, err := l.s.Try(http.MethodPost, path, key, body)
		l.mu.Lock()
		l.tries++
		if err == nil && a.Status == http.StatusAccepted {
			l.ids = append(l.ids, a.JSON("id"))
			l.mu.Unlock()
			return
		}
		l.mu.Unlock()
		if err == nil && a.Status != http.StatusServiceUnavailable {
			l.s.t.Errorf("%s: %d %s", path, a.Status, a.Body)
			return
		}
	}
	l.s.t.Error("not accepted in 20 s")
}

func (l *load) accepted() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.ids)
}

// TestATerminatedProcessLosesAndDoublesNothing is promise P10, twice in one
// load: stopped as by SIGTERM, and started again.
func TestATerminatedProcessLosesAndDoublesNothing(t *testing.T) {
	s := look(t, apptest.Options{Window: 20, Change: func(c *config.Config) { c.Clients[0].Quota.Rate, c.Clients[0].Quota.Burst = 10_000, 10_000 }})
	const persons = 100
	people := make([]apptest.Person, persons)
	for n := range people {
		people[n] = s.Bind(n+1, 1000_00)
	}
	l := s.load(people, 8)
	for _, at := range []int{persons / 2, persons * 5 / 4} {
		s.Until("load", func() bool { return l.accepted() >= at })
		s.Stop()
		s.Run(app.AllRoles()...)
	}
	l.done.Wait()
	if len(l.ids) != 2*persons {
		t.Fatalf("%d of %d accepted", len(l.ids), 2*persons)
	}
	if l.tries == len(l.ids) {
		t.Error("no request met a stopped system: the test proves nothing")
	}
	s.Until("every Message is delivered", func() bool {
		return s.number(`select count(*) from messages where state = 'delivered'`) == 2*persons
	})
	for _, p := range people {
		if n := len(s.SMS(p.Number)); n != 2 {
			t.Errorf("%s got %d SMS, want a code and a notice", p.Number, n)
		}
	}
	if n := s.SMSC.Count(); n != 2*persons {
		t.Errorf("%d submit_sm for %d requests", n, 2*persons)
	}
	if got := s.words(`select charge || ' ' || count(*) from messages group by charge`); got != fmt.Sprint("posted ", 2*persons) {
		t.Errorf("charges: %s", got)
	}
	s.balanced()
}

// TestEveryAcceptedRequestEndsWhateverIsStopped is promise P1 with parts that
// never come back: nobody reads the requests, or nobody sends the Messages.
func TestEveryAcceptedRequestEndsWhateverIsStopped(t *testing.T) {
	s := look(t, apptest.Options{Roles: []string{}, Change: func(c *config.Config) {
		c.Deadlines = config.Deadlines{CodeAccept: time.Second, Notice: 1500 * time.Millisecond, Grace: time.Second}
		for i := range c.Purposes {
			c.Purposes[i].Life = 1500 * time.Millisecond
		}
	}})
	p, q := s.Bind(1, 1000_00), s.Bind(2, 1000_00)

	s.Run("gateway")
	unread := []string{s.Ask(p, "sign_in"), s.notify(p)}
	for _, id := range unread {
		if a := s.Await(id, "expired"); a.JSON("terminal") != "true" || a.JSON("reason") != "not_processed" {
			t.Errorf("nobody read it: %s", a.Body)
		}
	}
	s.Stop()

	// The consumers come too late for those, and no bridge for these.
	s.Run("gateway", "consumers")
	unsent := []string{s.Ask(q, "sign_in"), s.notify(q)}
	for _, id := range append(unsent, unread...) {
		s.Await(id, "expired")
	}
	s.Until("every row has ended", func() bool {
		return s.number(`select count(*) from challenges where ended_at is not null`) == 2 &&
			s.number(`select count(*) from messages where ended_at is not null and sealed is null`) >= 3 &&
			s.number(`select count(*) from messages where ended_at is null`) == 0
	})
	s.Stop()

	// What has ended stays ended when the bridge reads its lane.
	s.Run(app.AllRoles()...)
	r := s.Bind(3, 1000_00)
	s.Ask(r, "sign_in")
	s.Code(r.Number, 1)
	if n := s.SMSC.Count(); n != 1 {
		t.Errorf("%d SMS, want the last one's only", n)
	}
	if got := s.words(`select distinct state from challenges where id in ($1, $2)`, s.rawID(unread[0]), s.rawID(unsent[0])); got != "expired" {
		t.Errorf("the challenges are %s", got)
	}
	s.balanced()
}
