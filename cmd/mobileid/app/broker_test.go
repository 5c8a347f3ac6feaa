package app_test

import (
	"net"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"mobileid/cmd/mobileid/app/apptest"
	"mobileid/cmd/mobileid/config"
	"mobileid/internal/testenv"
)

// TestABrokerThatGoesAndComesBackLosesNothing takes the broker away from under
// the running system. It brings a broker of its own on both sets: one whose
// port and folder stay.
func TestABrokerThatGoesAndComesBackLosesNothing(t *testing.T) {
	addr, dir := testenv.FreeAddr(t), t.TempDir()
	_, text, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	begin := func() *kfake.Cluster {
		t.Helper()
		c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.Ports(port), kfake.DataDir(dir), kfake.SyncWrites())
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	broker := begin()
	t.Cleanup(func() { broker.Close() })
	s := look(t, apptest.Options{Change: func(c *config.Config) { c.Kafka.Brokers = []string{addr} }})
	first, second := s.Bind(1, 1000_00), s.Bind(2, 1000_00)
	s.Ask(first, "sign_in")
	s.Code(first.Number, 1)

	broker.Close()
	body := apptest.ChallengeBody(second.PINFL, "sign_in")
	for range 3 {
		began := time.Now()
		a := s.Call(http.MethodPost, "/v1/challenges", "k", body)
		if took := time.Since(began); a.Status != http.StatusServiceUnavailable || a.Header.Get("Retry-After") == "" || took > time.Second+slack {
			t.Errorf("without the broker: %d %s after %s", a.Status, a.Body, took)
		}
	}
	broker = begin()
	var id string
	s.Until("the same key is accepted", func() bool {
		a := s.Call(http.MethodPost, "/v1/challenges", "k", body)
		id = a.JSON("id")
		return a.Status == http.StatusAccepted
	})
	if a := s.Verify(id, "v", s.Code(second.Number, 1)); a.Status != http.StatusOK {
		t.Errorf("verify: %d %s", a.Status, a.Body)
	}
	if n := len(s.SMS(second.Number)); n != 1 {
		t.Errorf("%d SMS for one key", n)
	}
}
