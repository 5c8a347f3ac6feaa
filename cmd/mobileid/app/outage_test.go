package app_test

import (
	"encoding/json"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"mobileid/cmd/mobileid/app"
	"mobileid/cmd/mobileid/app/apptest"
	"mobileid/cmd/mobileid/config"
	"mobileid/internal/mobileid"
	"mobileid/internal/testenv"
)

// away fails unless an answer says within the time that a part is away.
func (l *looker) away(what, code string, within time.Duration, call func() (apptest.Answer, error)) {
	l.t.Helper()
	var a apptest.Answer
	var err error
	d := took(func() { a, err = call() })
	if err != nil || a.Status != http.StatusServiceUnavailable || a.JSON("code") != code || a.JSON("retryable") != "true" {
		l.t.Errorf("%s: %d %s %v, want 503 %s", what, a.Status, a.Body, err, code)
	}
	if n, err := strconv.Atoi(a.Header.Get("Retry-After")); err != nil || n < 1 {
		l.t.Errorf("%s: Retry-After %q", what, a.Header.Get("Retry-After"))
	}
	if d > within {
		l.t.Errorf("%s: took %s, want at most %s", what, d.Round(time.Millisecond), within)
	}
	l.page(l.t, a.JSON("type"))
}

// slack is what a busy machine of two cores may add to a bound.
const slack = 500 * time.Millisecond

func TestWithoutRedisNothingIsAcceptedAndNoCodeIsBelieved(t *testing.T) {
	s := look(t, apptest.Options{Through: struct{ Postgres, Kafka, Redis, SMSC bool }{Redis: true}})
	p := s.Bind(1, 1000_00)
	id := s.Ask(p, "sign_in")
	code := s.Code(p.Number, 1)
	s.Until("the receipt is in", func() bool { return s.messageState(id) == "delivered" })
	s.Until("its statuses are out", func() bool { return s.number(`select count(*) from outbox`) == 0 })
	before := s.ends()

	refused := func(how string) {
		t.Helper()
		s.away(how+": POST", "redis_away", time.Second+slack, func() (apptest.Answer, error) {
			return s.Try(http.MethodPost, "/v1/challenges", "later", apptest.ChallengeBody(p.PINFL, "verify"))
		})
		s.away(how+": notification", "redis_away", time.Second+slack, func() (apptest.Answer, error) {
			return s.Try(http.MethodPost, "/v1/notifications", "n", apptest.NoticeBody(p.PINFL))
		})
		s.away(how+": verify", "redis_away", time.Second+slack, func() (apptest.Answer, error) {
			return s.Try(http.MethodPost, "/v1/challenges/"+id+"/verify", "v", `{"code":"`+code+`"}`)
		})
	}
	s.RedisProxy.Down()
	refused("refused connections")
	s.RedisProxy.Up()
	heal := s.RedisProxy.Toxic("timeout", "downstream", map[string]any{"timeout": 0})
	refused("no answer")
	heal()
	for topic, n := range s.ends() {
		if n != before[topic] {
			t.Errorf("%d records were published on %s", n-before[topic], topic)
		}
	}
	if n := s.number(`select count(*) from confirmations`); n != 0 {
		t.Error("a code was believed without Redis")
	}

	// Back again, the same requests with the same keys go through.
	s.Until("the code is compared again", func() bool { return s.Verify(id, "v", code).Status == http.StatusOK })
	again := s.Call(http.MethodPost, "/v1/challenges", "later", apptest.ChallengeBody(p.PINFL, "verify"))
	if again.Status != http.StatusAccepted {
		t.Fatalf("%d %s", again.Status, again.Body)
	}
	if a := s.Verify(again.JSON("id"), "v2", s.Code(p.Number, 2)); a.Status != http.StatusOK {
		t.Errorf("%d %s", a.Status, a.Body)
	}
}

func TestWithoutPostgresConsumersWaitWithoutLosingOrSpinning(t *testing.T) {
	s := look(t, apptest.Options{Through: struct{ Postgres, Kafka, Redis, SMSC bool }{Postgres: true}})
	const persons = 20
	ps := make([]apptest.Person, persons)
	for n := range ps {
		ps[n] = s.Bind(n+1, 1000_00)
	}
	first := s.Ask(ps[0], "sign_in")
	s.Code(ps[0].Number, 1)
	s.Until("the receipt is in", func() bool { return s.messageState(first) == "delivered" })

	s.PostgresProxy.Down()
	down := time.Now()
	var ids []string
	for _, p := range ps[1:] {
		ids = append(ids, s.Ask(p, "sign_in")) // accepted: Kafka and Redis are there
	}
	s.away("GET", "database_away", 3*time.Second, func() (apptest.Answer, error) {
		return s.Try(http.MethodGet, "/v1/challenges/"+ids[0], "", "")
	})
	tries := func() float64 { return s.metric("mobileid_consumer_retries_total", `group="mobileid.otp"`) }
	s.Until("the consumers try again and again", func() bool { return tries() >= 5 })
	elapsed := time.Since(down).Seconds()
	// Back-off is 0.1 to 2 s: a spin would be thousands.
	if n := tries(); n > 6+elapsed*2 {
		t.Errorf("%.0f tries in %.1f s: that is spinning", n, elapsed)
	}
	if parked := s.metric("mobileid_consumer_records_total", `outcome="parked"`); parked != 0 {
		t.Errorf("%.0f records were parked because Postgres was away", parked)
	}
	if n := s.SMSC.Count(); n != 1 {
		t.Errorf("%d SMS while Postgres was away", n-1)
	}

	s.PostgresProxy.Up()
	for i, id := range ids {
		p := ps[i+1]
		if a := s.Verify(id, "v"+id, s.Code(p.Number, 1)); a.Status != http.StatusOK {
			t.Errorf("verify: %d %s", a.Status, a.Body)
		}
	}
	if n := s.SMSC.Count(); n != persons {
		t.Errorf("%d SMS for %d requests", n, persons)
	}
	s.Until("all have their receipts", func() bool {
		return s.number(`select count(*) from messages where state = 'delivered'`) == persons
	})
	s.balanced()
}

// TestWithoutKafkaARequestIsRefusedWithinASecond starts the edge against
// brokers that are not there: a broker names its own address, so no proxy can
// take it away from under a running system on both sets.
func TestWithoutKafkaARequestIsRefusedWithinASecond(t *testing.T) {
	s := look(t, apptest.Options{Roles: []string{}})
	there := s.Config.Kafka.Brokers
	p := s.Bind(1, 1000_00)
	silent, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = silent.Close() }) // connects, and never answers
	body := apptest.ChallengeBody(p.PINFL, "sign_in")
	for what, addr := range map[string]string{
		"nobody listens": testenv.FreeAddr(t),
		"no answer":      silent.Addr().String(),
	} {
		s.Config.Kafka.Brokers = []string{addr}
		s.Begin("gateway")
		for range 2 { // the second time nothing is new to the writer
			a, err := s.Try(http.MethodGet, "/livez", "", "")
			if err != nil || a.Status != http.StatusOK {
				t.Errorf("%s: /livez %d %v", what, a.Status, err)
			}
			s.away(what, "kafka_away", time.Second+slack, func() (apptest.Answer, error) {
				return s.Try(http.MethodPost, "/v1/challenges", "k", body)
			})
		}
		s.Stop()
	}
	// The same key when Kafka is there: one effect.
	s.Config.Kafka.Brokers = there
	s.Run("gateway", "consumers", "bridge")
	a := s.Call(http.MethodPost, "/v1/challenges", "k", body)
	if a.Status != http.StatusAccepted {
		t.Fatalf("%d %s", a.Status, a.Body)
	}
	if got := s.Verify(a.JSON("id"), "v", s.Code(p.Number, 1)); got.Status != http.StatusOK {
		t.Errorf("%d %s", got.Status, got.Body)
	}
	if n := len(s.records(mobileid.TopicOTPRequests)); n != 1 || s.SMSC.Count() != 1 {
		t.Errorf("%d records and %d SMS, want one of each", n, s.SMSC.Count())
	}
}

func TestWhatWaitsForTheOperatorIsSentOnceItIsBack(t *testing.T) {
	s := look(t, apptest.Options{Through: struct{ Postgres, Kafka, Redis, SMSC bool }{SMSC: true}})
	s.SMSCProxy.Down()
	const persons = 10
	var ids []string
	for n := range persons {
		ids = append(ids, s.Ask(s.Bind(n+1, 1000_00), "sign_in"))
	}
	s.Until("all are stored", func() bool { return s.number(`select count(*) from messages`) == persons })
	if n := s.number(`select count(*) from messages where ended_at is not null`); n != 0 {
		t.Errorf("%d ended because the operator was away", n)
	}
	s.SMSCProxy.Up()
	for n, id := range ids {
		if a := s.Verify(id, "v"+id, s.Code(numberOf(n+1), 1)); a.Status != http.StatusOK {
			t.Errorf("verify: %d %s", a.Status, a.Body)
		}
	}
	if n := s.SMSC.Count(); n != persons {
		t.Errorf("%d SMS for %d requests", n, persons)
	}
	s.Until("all have their receipts", func() bool {
		return s.number(`select count(*) from messages where state = 'delivered'`) == persons
	})
	s.balanced()
}

// TestAHalfOpenLinkIsNoticedAndTheCodeSentOnANewOne: what was written into the
// silence is in doubt, and a code goes out once more.
func TestAHalfOpenLinkIsNoticedAndTheCodeSentOnANewOne(t *testing.T) {
	s := look(t, apptest.Options{
		Through: struct{ Postgres, Kafka, Redis, SMSC bool }{SMSC: true},
		Change: func(c *config.Config) {
			c.Operators[0].Timers.EnquireLink, c.Operators[0].Timers.Response = 300*time.Millisecond, 500*time.Millisecond
		},
	})
	p := s.Bind(1, 1000_00)
	up := s.SMSCProxy.Toxic("timeout", "upstream", map[string]any{"timeout": 0})
	down := s.SMSCProxy.Toxic("timeout", "downstream", map[string]any{"timeout": 0})
	id := s.Ask(p, "sign_in")
	s.Until("the bridge doubts", func() bool { return s.messageState(id) == "in_doubt" })
	if n := s.SMSC.Count(); n != 0 {
		t.Fatalf("%d SMS went through a dead network", n)
	}
	up()
	down()
	if a := s.Verify(id, "v", s.Code(p.Number, 1)); a.Status != http.StatusOK {
		t.Errorf("verify: %d %s", a.Status, a.Body)
	}
	s.Until("it is delivered", func() bool { return s.messageState(id) == "delivered" })
	if got := s.charge(id); got != "posted" || s.SMSC.Count() != 1 {
		t.Errorf("charges %q, %d SMS; want one of each", got, s.SMSC.Count())
	}
	s.balanced()
}

// TestWithoutRedisEveryLineIsOfTheProgramsLog: what its client has to say of it
// is in the log too, and nothing is printed past it.
func TestWithoutRedisEveryLineIsOfTheProgramsLog(t *testing.T) {
	s := look(t, apptest.Options{Roles: []string{}, Through: struct{ Postgres, Kafka, Redis, SMSC bool }{Redis: true}})
	child := s.Child(app.RoleGateway)
	s.RedisProxy.Down()
	s.Until("the client is heard", func() bool {
		a, err := s.Try(http.MethodPost, "/v1/challenges", "k", apptest.ChallengeBody(apptest.PINFL(1), "verify"))
		return err == nil && a.Status == http.StatusServiceUnavailable && strings.Contains(child.Output(), `"msg":"redis client"`)
	})
	for line := range strings.Lines(child.Output()) {
		if !json.Valid([]byte(line)) {
			t.Errorf("past the log: %s", line)
		}
	}
}
