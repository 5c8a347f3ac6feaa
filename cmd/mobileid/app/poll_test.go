package app_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"mobileid/cmd/mobileid/app/apptest"
)

// poll waits for the next version of what a path shows. Half a minute is what it
// may take: a change that is told over Kafka ends it long before.
func (l *looker) poll(path, version string) apptest.Answer {
	l.t.Helper()
	began := time.Now()
	a, err := l.Try(http.MethodGet, path+"?timeoutMs=30000&after="+version, "", "")
	if took := time.Since(began); err != nil || a.Status != http.StatusOK || took > 15*time.Second {
		l.t.Errorf("%s above version %s: %d after %s, %v", path, version, a.Status, took, err)
	}
	return a
}

// follow polls until an answer has the words, and returns its version.
func (l *looker) follow(path, words string) (version string) {
	l.t.Helper()
	for version = "0"; !l.t.Failed(); {
		a := l.poll(path, version)
		version = a.JSON("version")
		if strings.Contains(string(a.Body), words) {
			return version
		}
	}
	return version
}

func TestALongPollIsAnsweredWhenTheStatusComesOverKafka(t *testing.T) {
	s := look(t, apptest.Options{})
	p := s.Bind(1, 1000_00)

	// What happens to the Message of a code wakes who waits for the challenge.
	id := s.Ask(p, "sign_in")
	version := s.follow("/v1/challenges/"+id, `"message":{"state":"delivered"}`)

	// So does what happens to the challenge itself.
	confirmed := make(chan apptest.Answer)
	go func() { confirmed <- s.poll("/v1/challenges/"+id, version) }()
	s.Until("the poll waits", func() bool { return s.metric("mobileid_http_long_polls") == 1 })
	if a := s.Verify(id, s.NewKey(), s.Code(p.Number, 1)); a.Status != http.StatusOK {
		t.Errorf("verify: %d %s", a.Status, a.Body)
	}
	if a := <-confirmed; a.JSON("state") != "confirmed" {
		t.Errorf("%s", a.Body)
	}

	// And a notice has no challenge.
	notice := s.Call(http.MethodPost, "/v1/notifications", s.NewKey(), apptest.NoticeBody(p.PINFL)).JSON("id")
	s.follow("/v1/messages/"+notice, `"state":"delivered"`)
}
