//go:build twobridges

// Not part of make test yet: on real engines it has left codes in doubt
// (owner_lost) for 40 s, and why is not known. Run it with -tags twobridges.

package app_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"mobileid/cmd/mobileid/app"
	"mobileid/cmd/mobileid/app/apptest"
	"mobileid/cmd/mobileid/config"
	"mobileid/cmd/mobileid/config/sandbox"
	"mobileid/cmd/smscsim/smsc"
	"mobileid/internal/mobileid"
	"mobileid/internal/testenv/history"
)

// pair is two bridges of one operator, each in a process of its own.
type pair struct {
	*watcher
	child [2]*apptest.Child
	lease [2]int64 // of the registry
}

func (p *pair) start(i int) {
	p.t.Helper()
	newest := func() (id int64) {
		check(p.t, p.conn.QueryRow(p.t.Context(), `select coalesce(max(id), 0) from bridges`).Scan(&id))
		return id
	}
	before := newest()
	p.child[i] = p.s.Child(app.RoleBridge)
	p.s.Until("the bridge has its lease", func() bool { p.lease[i] = newest(); return p.lease[i] > before })
}

// has is what a bridge has admitted and not settled, as the client knows it, or
// had when it died.
func (p *pair) has(lease int64) (requests []string) {
	p.t.Helper()
	rows, err := p.conn.Query(p.t.Context(), `
select coalesce(challenge_id, id) from messages where owner = $1 and state in ('admitted', 'in_doubt')`, lease)
	check(p.t, err)
	ids, err := pgx.CollectRows(rows, pgx.RowTo[[]byte])
	check(p.t, err)
	for _, raw := range ids {
		requests = append(requests, mobileid.ID(raw).String())
	}
	return requests
}

// awaitNone waits until no Message is as the condition says. The broker takes
// six seconds to find a dead member out, for each kill, and a busy machine more.
func (p *pair) awaitNone(what, condition string) {
	p.t.Helper()
	for limit := time.Now().Add(40 * time.Second); ; <-time.After(50 * time.Millisecond) {
		var left int
		var states string
		check(p.t, p.conn.QueryRow(p.t.Context(), `
select count(*), coalesce(string_agg(distinct concat_ws(' ', lane, state, reason), ', '), '') from messages where `+condition).Scan(&left, &states))
		if left == 0 {
			return
		}
		if time.Now().After(limit) {
			p.t.Fatalf("40 s have passed and %d Messages are %s: %s", left, what, states)
		}
	}
}

// TestOneOfTwoBridgesIsKilledAgainAndAgain judges three kills under load by
// what the operator truly received (promises P1, P3, P4, P5).
func TestOneOfTwoBridgesIsKilledAgainAndAgain(t *testing.T) {
	const kills, each = 3, 24
	s := apptest.Start(t, apptest.Options{Roles: []string{app.RoleGateway, app.RoleConsumers}})
	p := &pair{watcher: watch(t, s)}
	p.start(0)
	p.start(1)
	check(t, s.SMSC.SetFault(smsc.Fault{Kind: smsc.FaultDelay, Delay: 200 * time.Millisecond}))
	var rec history.Recorder
	asked := map[string]apptest.Person{}
	doubtful := map[string]bool{} // a dead bridge had it
	for kill := range kills {
		for range each {
			n := len(asked)
			who := s.Bind(n+1, 1000_00)
			path, body := "/v1/challenges", apptest.ChallengeBody(who.PINFL, "sign_in")
			if n%3 == 0 {
				path, body = "/v1/notifications", apptest.NoticeBody(who.PINFL)
			}
			a := s.Call(http.MethodPost, path, s.NewKey(), body)
			if a.Status != http.StatusAccepted {
				t.Fatalf("%s: %d %s", path, a.Status, a.Body)
			}
			asked[a.JSON("id")] = who
			rec.Accepted(a.JSON("id"), time.Now())
		}
		victim := kill % 2
		dead := p.lease[victim]
		s.Until("the victim has Messages under way", func() bool { return len(p.has(dead)) >= 3 })
		p.child[victim].Kill()
		had := p.has(dead)
		// Fifteen seconds pass: the dead bridge's lease ends.
		_, err := p.conn.Exec(t.Context(), `update bridges set lease_until = clock_timestamp() where id = $1`, dead)
		check(t, err)
		p.start(victim)
		// Its last statement may have been under way when it was killed.
		for _, id := range append(had, p.has(dead)...) {
			doubtful[id] = true
		}
	}
	p.awaitNone("not a notice in doubt", `ended_at is null and not (state = 'in_doubt' and challenge_id is null)`)
	// A day passes: deadlines and the wait for a receipt are over.
	_, err := p.conn.Exec(t.Context(), `update messages set deadline = now() - interval '2 hours' where ended_at is null`)
	check(t, err)
	p.awaitNone("open", `ended_at is null`)

	rows, err := p.conn.Query(t.Context(), `select coalesce(challenge_id, id), challenge_id is not null, state from messages`)
	check(t, err)
	var raw []byte
	var code bool
	var state string
	doubled := 0
	_, err = pgx.ForEachRow(rows, []any{&raw, &code, &state}, func() error {
		id := mobileid.ID(raw).String()
		rec.Ended(id, state, time.Now())
		sent := len(s.SMS(asked[id].Number))
		lane := mobileid.LaneBulk
		if code {
			lane = mobileid.LaneOTP
		}
		for range sent {
			rec.Submitted(id, lane)
		}
		switch {
		case sent == 0 && (code || state != string(mobileid.MessageUnconfirmed) || !doubtful[id]):
			t.Errorf("%s is %s and never reached the operator", id, state)
		case sent > 1:
			doubled++
			if !doubtful[id] {
				t.Errorf("%s was sent %d times and no dead bridge had it", id, sent)
			}
		}
		return nil
	})
	check(t, err)
	for _, v := range rec.Check(history.Allowed{Doubtful: len(doubtful)}) {
		t.Error(v)
	}
	if doubled == 0 {
		t.Error("nothing was sent again: the kills hit nothing, so nothing is proved")
	}
	balanced(t, s)
	var deadlocks int
	check(t, p.conn.QueryRow(t.Context(), `select deadlocks from pg_stat_database where datname = current_database()`).Scan(&deadlocks))
	if deadlocks != 0 {
		t.Errorf("%d deadlocks", deadlocks)
	}
}

// TestBridgesShareThePaceOfTheirAccount: who knows the operator's limit writes
// by a share of it, and frees it when it stops.
func TestBridgesShareThePaceOfTheirAccount(t *testing.T) {
	s := apptest.Start(t, apptest.Options{Change: func(c *config.Config) { c.Operators[0].Pace.Rate = 500 }})
	members := func() int64 {
		return s.Env.Redis().HLen(t.Context(), "pace:{"+sandbox.Operator+"/"+sandbox.SystemID+"}").Val()
	}
	who := s.Bind(1, 1000_00)
	s.Ask(who, "sign_in")
	s.Code(who.Number, 1)
	if n := members(); n != 1 {
		t.Errorf("%d bridges hold a share, want 1", n)
	}
	s.Stop()
	if n := members(); n != 0 {
		t.Errorf("%d bridges hold a share after the stop", n)
	}
}
