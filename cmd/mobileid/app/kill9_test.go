package app_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/segmentio/kafka-go"

	"mobileid/cmd/mobileid/app"
	"mobileid/cmd/mobileid/app/apptest"
	"mobileid/cmd/mobileid/config/sandbox"
	"mobileid/cmd/smscsim/smsc"
	"mobileid/internal/mobileid"
	"mobileid/internal/testenv/history"
)

// groupsOf are the consumer groups of a role's processes.
func groupsOf(role string) []string {
	if role == app.RoleBridge {
		return []string{"mobileid.bridge." + sandbox.Operator + ".otp", "mobileid.bridge." + sandbox.Operator + ".bulk"}
	}
	return []string{"mobileid.otp", "mobileid.notifications", "mobileid.ingress"}
}

// progress is how far the requests for codes have come, seen in the engines.
type progress struct{ asked, stored, published, committed int64 }

// watcher reads progress.
type watcher struct {
	t      *testing.T
	s      *apptest.System
	conn   *pgx.Conn
	client *kafka.Client
}

func watch(t *testing.T, s *apptest.System) *watcher {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), s.Env.Postgres())
	check(t, err)
	transport := &kafka.Transport{}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		_ = conn.Close(context.WithoutCancel(t.Context()))
	})
	return &watcher{t, s, conn, &kafka.Client{Addr: kafka.TCP(s.Env.Kafka()...), Transport: transport}}
}

func (w *watcher) look() (p progress) {
	w.t.Helper()
	check(w.t, w.conn.QueryRow(w.t.Context(), `select count(*) from messages where lane = 'otp'`).Scan(&p.stored))
	partitions := make([]int, w.s.Config.Kafka.Partitions)
	lane := mobileid.TopicSMS(sandbox.Operator, mobileid.LaneOTP)
	ends := map[string][]kafka.OffsetRequest{}
	for i := range partitions {
		partitions[i] = i
		for _, topic := range []string{lane, mobileid.TopicOTPRequests} {
			ends[topic] = append(ends[topic], kafka.LastOffsetOf(i))
		}
	}
	listed, err := w.client.ListOffsets(w.t.Context(), &kafka.ListOffsetsRequest{Topics: ends})
	check(w.t, err)
	for _, x := range listed.Topics[lane] {
		p.published += x.LastOffset
	}
	for _, x := range listed.Topics[mobileid.TopicOTPRequests] {
		p.asked += x.LastOffset
	}
	fetched, err := w.client.OffsetFetch(w.t.Context(), &kafka.OffsetFetchRequest{
		GroupID: "mobileid.otp", Topics: map[string][]int{mobileid.TopicOTPRequests: partitions},
	})
	check(w.t, err)
	for _, x := range fetched.Topics[mobileid.TopicOTPRequests] {
		p.committed += max(0, x.CommittedOffset)
	}
	return p
}

// killIn lets the child take steps of a fraction of a millisecond, looking at
// the engines while it stands still, and kills it when the window is there:
// what it had sent by then has arrived, what came of it the child never knew.
// It reports whether the window was met before everything was committed.
func (w *watcher) killIn(child *apptest.Child, window func(progress) bool) bool {
	w.t.Helper()
	for limit := time.Now().Add(15 * time.Second); ; {
		child.Freeze()
		p := w.look()
		if window(p) {
			child.Kill()
			w.s.ForgetMembers(groupsOf(app.RoleConsumers)...)
			return true
		}
		child.Thaw()
		if p.committed == p.asked {
			return false
		}
		if time.Now().After(limit) {
			w.t.Fatalf("neither the window nor the end in 15 s: %+v", p)
		}
		<-time.After(200 * time.Microsecond)
	}
}

// TestARequestDeliveredThreeTimesIsOneSMSThatVerifies kills the consumers
// twice around one record: stored and not published, then published and not
// committed. Further records stand on the topic three times and are cut by one
// more kill.
func TestARequestDeliveredThreeTimesIsOneSMSThatVerifies(t *testing.T) {
	s := apptest.Start(t, apptest.Options{Roles: []string{app.RoleGateway, app.RoleBridge}})
	w := watch(t, s)
	codes := map[string]apptest.Person{}
	n := 0
	ask := func() {
		n++
		p := s.Bind(n, 1000_00)
		codes[s.Ask(p, "sign_in")] = p
	}
	hit := false
	for try := 0; !hit; try++ {
		if try == 10 {
			t.Fatal("ten records, and none was ever killed in both windows")
		}
		child := s.Child(app.RoleConsumers)
		before := w.look()
		ask()
		hit = w.killIn(child, func(p progress) bool { return p.stored > before.stored && p.published == before.published })
		if !hit {
			child.Kill()
			s.ForgetMembers(groupsOf(app.RoleConsumers)...)
			continue
		}
		child = s.Child(app.RoleConsumers)
		hit = w.killIn(child, func(p progress) bool { return p.published > before.published && p.committed < p.asked })
		if !hit {
			child.Kill()
			s.ForgetMembers(groupsOf(app.RoleConsumers)...)
		}
	}
	before := w.look()
	for range 8 {
		ask()
	}
	for _, r := range readTopics(t, s.Env.Kafka()) {
		if r.Topic != mobileid.TopicOTPRequests {
			continue
		}
		again := kafka.Message{Topic: r.Topic, Key: r.Key, Value: r.Value, Headers: r.Headers}
		produce(t, s.Env.Kafka(), again, again)
	}
	child := s.Child(app.RoleConsumers)
	if !w.killIn(child, func(p progress) bool { return p.stored > before.stored && p.committed < p.asked }) {
		t.Error("the third kill came too late")
	}
	s.Child(app.RoleConsumers)
	s.Until("every record is handled", func() bool { p := w.look(); return p.committed == p.asked })
	for id, p := range codes {
		if a := s.Verify(id, "v", s.Code(p.Number, 1)); a.JSON("state") != "confirmed" {
			t.Errorf("the code of %s: %d %s", id, a.Status, a.Body)
		}
		s.Until("the receipt is in", func() bool {
			return s.Call(http.MethodGet, "/v1/challenges/"+id, "", "").JSON("message.state") == "delivered"
		})
		if got := len(s.SMS(p.Number)); got != 1 {
			t.Errorf("%d SMS for %s, want 1", got, id)
		}
	}
	balanced(t, s)
}

func balanced(t *testing.T, s *apptest.System) {
	t.Helper()
	report, err := s.Registry.CheckLedger(t.Context())
	if err != nil || !report.Balanced() {
		t.Errorf("ledger: %+v %v", report, err)
	}
}

// TestAKilledBridgeLosesNothingAndDoublesOnlyWhatWasUnanswered kills the
// bridge while the operator holds answers back (promises P1, P3, P4, P5).
func TestAKilledBridgeLosesNothingAndDoublesOnlyWhatWasUnanswered(t *testing.T) {
	const codes, notices, window = 14, 8, 10
	s := apptest.Start(t, apptest.Options{Roles: []string{app.RoleGateway, app.RoleConsumers}, Window: window})
	w := watch(t, s)
	child := s.Child(app.RoleBridge)
	check(t, s.SMSC.SetFault(smsc.Fault{Kind: smsc.FaultDelay, Delay: time.Minute, Count: window}))
	var rec history.Recorder
	asked := map[string]apptest.Person{}
	lanes := map[string]mobileid.Lane{}
	for n := range codes + notices {
		p := s.Bind(n+1, 1000_00)
		path, body := "/v1/notifications", apptest.NoticeBody(p.PINFL)
		lanes[p.Number] = mobileid.LaneBulk
		if n%3 != 0 && n < codes+notices-1 {
			path, body = "/v1/challenges", apptest.ChallengeBody(p.PINFL, "sign_in")
			lanes[p.Number] = mobileid.LaneOTP
		}
		a := s.Call(http.MethodPost, path, s.NewKey(), body)
		if a.Status != http.StatusAccepted {
			t.Fatalf("%s: %d %s", path, a.Status, a.Body)
		}
		asked[a.JSON("id")] = p
		rec.Accepted(a.JSON("id"), time.Now())
	}
	check(t, s.SMSC.Wait(t.Context(), window))
	child.Kill()
	unanswered := s.SMSC.Count()
	s.ForgetMembers(groupsOf(app.RoleBridge)...)
	// Fifteen seconds pass: the dead bridge's lease ends.
	_, err := w.conn.Exec(t.Context(), `update bridges set lease_until = clock_timestamp() - interval '3 seconds'`)
	check(t, err)
	s.Child(app.RoleBridge)
	s.Until("only notices in doubt are left", func() bool {
		var left int
		check(t, w.conn.QueryRow(t.Context(), `
select count(*) from messages where ended_at is null and not (state = 'in_doubt' and challenge_id is null)`).Scan(&left))
		return left == 0
	})
	for id, p := range asked {
		if strings.HasPrefix(id, "ch_") {
			if a := s.Verify(id, "v", s.Code(p.Number, 1)); a.JSON("state") != "confirmed" {
				t.Errorf("the code of %s: %d %s", id, a.Status, a.Body)
			}
		}
	}
	// A day passes: their deadline and the wait for a receipt are over.
	_, err = w.conn.Exec(t.Context(), `update messages set deadline = now() - interval '2 hours' where ended_at is null`)
	check(t, err)
	for id, p := range asked {
		a := s.Await(id, "confirmed", "delivered", "unconfirmed")
		rec.Ended(id, a.JSON("state"), time.Now())
		// What the dead bridge had taken and perhaps not written is in doubt: a
		// notice is not sent again, and says so.
		if len(s.SMS(p.Number)) == 0 && a.JSON("state") != "unconfirmed" {
			t.Errorf("%s is %s and never reached the operator", id, a.JSON("state"))
		}
	}
	if s.SMSC.Count() == len(asked) {
		t.Error("nothing was sent again: the kill hit nothing, so nothing is proved")
	}
	for _, m := range s.SMSC.Received() {
		rec.Submitted(m.Dest+m.Text, lanes[m.Dest])
	}
	for _, v := range rec.Check(history.Allowed{Doubtful: unanswered}) {
		t.Error(v)
	}
	balanced(t, s)
	var pending, most int64
	check(t, w.conn.QueryRow(t.Context(), `select sum(pending), max(posted) from accounts`).Scan(&pending, &most))
	if pending != 0 || most > 120_00 {
		t.Errorf("%d tiyin are reserved still, somebody was charged %d", pending, most)
	}
}
