package app_test

import (
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/segmentio/kafka-go"

	"mobileid/cmd/mobileid/app"
	"mobileid/cmd/mobileid/app/apptest"
	"mobileid/cmd/mobileid/config"
	"mobileid/cmd/mobileid/config/sandbox"
	"mobileid/cmd/smscsim/smsc"
	"mobileid/internal/mobileid"
	"mobileid/internal/testenv"
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

// settled waits until both bridges, and no dead one, have partitions of both
// lanes. The embedded broker keeps a member that dies in the middle of joining
// for ever, and its partitions with it; the real one ends its session.
func (p *pair) settled() {
	p.t.Helper()
	for _, c := range p.child {
		for _, lane := range []mobileid.Lane{mobileid.LaneOTP, mobileid.LaneBulk} {
			c.AwaitOutput(`"partitions assigned","group":"` + p.group(lane) + `"`)
		}
	}
	p.s.Until("both bridges have partitions", func() bool {
		return p.members(mobileid.LaneOTP) == 2 && p.members(mobileid.LaneBulk) == 2
	})
}

func (*pair) group(lane mobileid.Lane) string {
	return "mobileid.bridge." + sandbox.Operator + "." + string(lane)
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
select count(*), coalesce(string_agg(distinct concat_ws(' ', lane, state, reason, 'sent again', resends), ', '), '') from messages where `+
			condition).Scan(&left, &states))
		if left == 0 {
			return
		}
		if time.Now().After(limit) {
			p.t.Fatalf("40 s have passed and %d Messages are %s: %s", left, what, states)
		}
	}
}

// awaitReceipts lets the minutes pass in which a receipt waits for its answer,
// until nothing is open that the operator has.
func (p *pair) awaitReceipts(asked map[string]apptest.Person) {
	p.t.Helper()
	p.s.Until("receipts have ended what the operator has", func() bool {
		_, err := p.conn.Exec(p.t.Context(), `
update receipts_unmatched set received_at = received_at - interval '3 minutes' where received_at > now() - interval '2 minutes'`)
		check(p.t, err)
		rows, err := p.conn.Query(p.t.Context(), `select coalesce(challenge_id, id) from messages where ended_at is null`)
		check(p.t, err)
		open, err := pgx.CollectRows(rows, pgx.RowTo[[]byte])
		check(p.t, err)
		return !slices.ContainsFunc(open, func(id []byte) bool { return len(p.s.SMS(asked[mobileid.ID(id).String()].Number)) > 0 })
	})
}

// killedPrice is the sandbox's price of a Message.
const killedPrice = mobileid.Money(120_00)

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
	died := map[string]int{} // how many dead bridges had it
	for kill := range kills {
		victim := kill % 2
		dead := p.lease[victim]
		if s.Env.Set == testenv.Embedded {
			p.settled()
		}
		// The victim has to have work when it dies. It has none before the broker has
		// given it partitions, which takes seconds after each kill.
		limit := time.Now().Add(time.Minute)
		for n := 0; n < each || len(p.has(dead)) < 3; n++ {
			if time.Now().After(limit) {
				t.Fatal("a minute has passed and the bridge to be killed has no Messages under way")
			}
			if n >= each {
				<-time.After(50 * time.Millisecond) // as many as both carry, and the client's quota
			}
			who := s.Bind(len(asked)+1, 1000_00)
			path, body := "/v1/challenges", apptest.ChallengeBody(who.PINFL, "sign_in")
			if n%3 == 0 {
				path, body = "/v1/notifications", apptest.NoticeBody(who.PINFL)
			}
			a := (&looker{System: s, t: t}).insist(path, s.NewKey(), body)
			if a.Status != http.StatusAccepted {
				t.Fatalf("%s: %d %s", path, a.Status, a.Body)
			}
			asked[a.JSON("id")] = who
			rec.Accepted(a.JSON("id"), time.Now())
		}
		p.child[victim].Kill()
		had := p.has(dead)
		// Fifteen seconds pass: the dead bridge's lease ends.
		_, err := p.conn.Exec(t.Context(), `update bridges set lease_until = clock_timestamp() where id = $1`, dead)
		check(t, err)
		p.start(victim)
		// Its last statement may have been under way when it was killed.
		had = append(had, p.has(dead)...)
		slices.Sort(had)
		for _, id := range slices.Compact(had) {
			died[id]++
		}
	}
	// A notice is not sent again, a code once.
	p.awaitNone("not in doubt for good", `ended_at is null and not (state = 'in_doubt' and (challenge_id is null or resends > 0))`)
	p.awaitReceipts(asked)
	// A day passes: deadlines and the wait for a receipt are over.
	_, err := p.conn.Exec(t.Context(), `update messages set deadline = now() - interval '2 hours' where ended_at is null`)
	check(t, err)
	p.awaitNone("open", `ended_at is null`)

	rows, err := p.conn.Query(t.Context(), `select coalesce(challenge_id, id), challenge_id is not null, state, charge, charged, (select count(*) from transfers where message_id = id and taken > 0) from messages`)
	check(t, err)
	var raw []byte
	var code bool
	var state, charge string
	var charged mobileid.Money
	var posted, doubled int
	_, err = pgx.ForEachRow(rows, []any{&raw, &code, &state, &charge, &charged, &posted}, func() error {
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
		case sent > 0 && state != string(mobileid.MessageDelivered):
			t.Errorf("%s is %s and the operator delivered it", id, state)
		case sent == 0 && (state != string(mobileid.MessageUnconfirmed) || died[id] == 0 || code && died[id] == 1):
			t.Errorf("%s is %s and never reached the operator; %d dead bridges had it", id, state, died[id])
		case sent > 1:
			doubled++
			if died[id] == 0 {
				t.Errorf("%s was sent %d times and no dead bridge had it", id, sent)
			}
		}
		// What the operator has was paid for, once, however often it was sent; of the
		// rest nobody knows, and it holds no money.
		switch {
		case sent > 0 && (charge != "posted" || charged != killedPrice || posted != 1):
			t.Errorf("%s: the operator has it, and its charge is %s, %s soum in %d postings", id, charge, charged, posted)
		case sent == 0 && (charge != "unknown" || posted != 0):
			t.Errorf("%s: the operator does not have it, and its charge is %s", id, charge)
		}
		return nil
	})
	check(t, err)
	for _, v := range rec.Check(history.Allowed{Doubtful: len(died)}) {
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

// members counts the members of a lane's group that have partitions; 0 while it
// rebalances.
func (p *pair) members(lane mobileid.Lane) (n int) {
	p.t.Helper()
	res, err := p.client.DescribeGroups(p.t.Context(), &kafka.DescribeGroupsRequest{
		GroupIDs: []string{p.group(lane)},
	})
	check(p.t, err)
	for _, g := range res.Groups {
		check(p.t, g.Error)
		for _, m := range g.Members {
			if g.GroupState == "Stable" && len(m.MemberAssignments.Topics) > 0 {
				n++
			}
		}
	}
	return n
}

// TestABridgeWithoutALinkLeavesItsLanesToTheOther: what is asked while one of two
// bridges has no link all goes out by the other one, and the first takes part
// again when its link is back.
func TestABridgeWithoutALinkLeavesItsLanesToTheOther(t *testing.T) {
	s := apptest.Start(t, apptest.Options{})
	p := &pair{watcher: watch(t, s)}
	p.start(0)
	both := func(n int) func() bool {
		return func() bool { return p.members(mobileid.LaneOTP) == n && p.members(mobileid.LaneBulk) == n }
	}
	s.Until("both bridges have partitions", both(2))
	order := func(word string) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost,
			"http://"+s.Config.HTTP.Admin+"/links/"+sandbox.Operator+"/"+s.Config.Operators[0].Binds[0].Name+":"+word, nil)
		check(t, err)
		req.Header.Set("Content-Type", "application/json")
		res, err := http.DefaultClient.Do(req)
		check(t, err)
		check(t, res.Body.Close())
		if res.StatusCode != http.StatusAccepted {
			t.Fatalf("%s: %s", word, res.Status)
		}
	}
	order("drain")
	var asked []apptest.Person
	for n := range 16 {
		who := s.Bind(n+1, 1000_00)
		s.Ask(who, "sign_in")
		asked = append(asked, who)
	}
	for _, who := range asked {
		s.Code(who.Number, 1)
	}
	s.Until("the bridge without a link has no partitions", both(1))
	order("start")
	s.Until("it has some again", both(2))
}
