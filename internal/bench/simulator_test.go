package bench

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
	"time"

	"mobileid/cmd/mobileid/config/sandbox"
	"mobileid/cmd/smscsim/smsc"
	"mobileid/internal/testenv"
)

// simulator is a running smscsim, as its control API shows it.
type simulator struct {
	smscURL string
	smscPID int
}

// startSimulator starts the operator, who listens at an address.
func startSimulator(b *testing.B, dir, listen, password string, receipt time.Duration, more ...string) simulator {
	b.Helper()
	control := testenv.FreeAddr(b)
	flags := append([]string{
		"--listen", listen, "--control", control, "--system-id", sandbox.SystemID,
		"--receipt-delay", receipt.String(), "--quiet",
	}, more...)
	c := start(b, dir, "smscsim", []string{"SMSCSIM_PASSWORD=" + password}, "smscsim", flags...)
	s := simulator{"http://" + control, c.cmd.Process.Pid}
	awaitOK(b, s.smscURL+"/healthz")
	return s
}

func (s simulator) fault(b *testing.B, f smsc.Fault) {
	b.Helper()
	body, err := json.Marshal(f)
	must(b, err)
	res, err := http.Post(s.smscURL+"/faults", "application/json", bytes.NewReader(body))
	must(b, err)
	must(b, res.Body.Close())
	if res.StatusCode != http.StatusOK {
		b.Fatalf("smscsim refused a fault: %s", res.Status)
	}
}

// lift ends the faults of a kind.
func (s simulator) lift(b *testing.B, kind smsc.FaultKind) {
	b.Helper()
	req, err := http.NewRequest(http.MethodDelete, s.smscURL+"/faults?kind="+string(kind), nil)
	must(b, err)
	res, err := http.DefaultClient.Do(req)
	must(b, err)
	must(b, res.Body.Close())
	if res.StatusCode != http.StatusOK {
		b.Fatalf("smscsim did not lift a fault: %s", res.Status)
	}
}

func (s simulator) smsc(b *testing.B) map[string]int {
	b.Helper()
	got, err := s.counters()
	must(b, err)
	return got
}

func (s simulator) counters() (got map[string]int, err error) {
	res, err := http.Get(s.smscURL + "/healthz")
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("smscsim: %s", res.Status)
	}
	return got, json.NewDecoder(res.Body).Decode(&got)
}

// counts is what the operator has counted up to an instant.
type counts struct {
	submits, refused int
	at               time.Time
}

func (c counts) accepted() int { return c.submits - c.refused }

func (s simulator) counts(b *testing.B) counts {
	b.Helper()
	got := s.smsc(b)
	return counts{got["submits"], got["refused"], time.Now()}
}

// flow is what came to the operator in a time.
type flow struct {
	accepted  float64 // submit_sm a second
	throttled float64 // share of all submit_sm
	lasted    time.Duration
}

// since is the flow between two counts.
func (c counts) since(from counts) (f flow) {
	f.lasted = c.at.Sub(from.at)
	if f.lasted > 0 {
		f.accepted = float64(c.accepted()-from.accepted()) / f.lasted.Seconds()
	}
	if n := c.submits - from.submits; n > 0 {
		f.throttled = float64(c.refused-from.refused) / float64(n)
	}
	return f
}

// flow counts for a time, shorter when the operator has accepted enough.
func (s simulator) flow(b *testing.B, lasts time.Duration, enough int) flow {
	b.Helper()
	from := s.counts(b)
	for ; ; time.Sleep(100 * time.Millisecond) {
		to := s.counts(b)
		if to.at.Sub(from.at) >= lasts || to.accepted() >= enough {
			return to.since(from)
		}
	}
}

func TestAFlowIsWhatCameBetweenTwoCounts(t *testing.T) {
	began := time.Unix(0, 0)
	from := counts{1100, 100, began}
	if f := (counts{2100, 200, began.Add(2 * time.Second)}).since(from); f != (flow{450, .1, 2 * time.Second}) {
		t.Errorf("%+v", f)
	}
	if f := (counts{1100, 100, began}).since(from); f != (flow{}) {
		t.Errorf("nothing, in no time: %+v", f)
	}
}
