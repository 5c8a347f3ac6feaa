package page

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"mobileid/internal/mobileid"
)

// traceAt is the trace of a run that began so long ago.
func traceAt(t *testing.T, h http.Handler, id mobileid.ID) traceJSON {
	t.Helper()
	return decode[traceJSON](t, get(t, h, "/demo/trace/"+id.String()))
}

// older moves a run into the past, as if it had been accepted then.
func older(f *fakeSystem, kind mobileid.IDKind, by time.Duration) *fakeRun {
	r := f.begin(kind, "key")
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.runs, r.id)
	back := time.Now().Add(-by)
	was := r.at
	r.id = f.ids.Make(kind, "oneid", "key", back)
	r.message = r.id
	if !r.notice {
		r.message = f.ids.Derive(mobileid.KindMessage, "oneid", r.id, 1)
	}
	r.at = r.id.Time()
	for i := range r.wire {
		r.wire[i].At = r.wire[i].At.Add(r.at.Sub(was))
	}
	f.runs[r.id] = r
	return r
}

func keysOf(hops []hopJSON) []string {
	var out []string
	for _, h := range hops {
		out = append(out, h.Key)
	}
	return out
}

func hop(t *testing.T, tr traceJSON, key string) hopJSON {
	t.Helper()
	i := slices.IndexFunc(tr.Hops, func(h hopJSON) bool { return h.Key == key })
	if i < 0 {
		t.Fatalf("no hop %s in %v", key, keysOf(tr.Hops))
	}
	return tr.Hops[i]
}

func TestARequestThatNoConsumerHasSeenIsAccepted(t *testing.T) {
	h, f := newPage(t)
	f.pace = time.Hour
	run := f.begin(mobileid.KindChallenge, "k")
	tr := traceAt(t, h, run.id)
	if got := keysOf(tr.Hops); !slices.Equal(got, []string{HopAccepted}) || tr.Ended || tr.State != "accepted" {
		t.Errorf("hops %v, state %s, ended %v", got, tr.State, tr.Ended)
	}
}

func TestEachHopHasItsTimeAndItsBytes(t *testing.T) {
	h, f := newPage(t)
	run := older(f, mobileid.KindChallenge, time.Minute)
	run.confirmedAt = run.at.Add(30 * time.Second)
	tr := traceAt(t, h, run.id)
	want := []string{
		HopAccepted, HopRecord, HopIssued, HopLane, HopAdmitted, HopSubmit, HopResp, HopPosted, HopReceipt, HopDelivered, HopConfirmed,
	}
	if got := keysOf(tr.Hops); !slices.Equal(got, want) {
		t.Fatalf("hops %v, want %v", got, want)
	}
	if !tr.Ended || tr.State != "confirmed" || tr.Message != run.message {
		t.Errorf("ended %v, state %s, message %v", tr.Ended, tr.State, tr.Message)
	}
	for i := 1; i < len(tr.Hops); i++ {
		if tr.Hops[i].MS < tr.Hops[i-1].MS {
			t.Errorf("%s is before %s", tr.Hops[i].Key, tr.Hops[i-1].Key)
		}
	}
	if got := hop(t, tr, HopConfirmed).MS; got != 30000 {
		t.Errorf("confirmed after %v ms, want 30000", got)
	}
	for key, bytes := range map[string]string{
		HopRecord:    mobileid.TypeChallengeRequested,
		HopIssued:    `"operator": "beeline"`,
		HopLane:      run.message.String(),
		HopAdmitted:  `"granted": 5000000`,
		HopSubmit:    "0000  00 00 00 8c 00 00 00 04",
		HopResp:      "ESME_ROK",
		HopPosted:    `"kind": "posted"`,
		HopReceipt:   "deliver_sm_resp",
		HopConfirmed: `"binding_id": 1`,
	} {
		var all strings.Builder
		for _, b := range hop(t, tr, key).Blocks {
			all.WriteString(b.Title + b.Text)
			for _, f := range b.Fields {
				all.WriteString(f.Name + f.Value)
			}
		}
		if !strings.Contains(all.String(), bytes) {
			t.Errorf("%s does not show %s:\n%s", key, bytes, all.String())
		}
	}
	for key, line := range map[string]string{
		HopRecord: "otp.requests · partition 3 · offset 17",
		HopLane:   "sms.beeline.otp · partition 1 · offset 42",
		HopPosted: "120.00 soum · the operator accepted the SMS",
	} {
		if got := hop(t, tr, key).Line; got != line {
			t.Errorf("%s says %q, want %q", key, got, line)
		}
	}
	if len(tr.SMS) != 1 || !strings.Contains(tr.SMS[0].Text, f.code) || tr.SMS[0].To != "+998 90 *** ** 67" {
		t.Errorf("handset %+v", tr.SMS)
	}
	if len(tr.Explain) != 2 {
		t.Errorf("explain %v", tr.Explain)
	}
}

func TestTheSealedTextIsShownAsHexWhileItIsThere(t *testing.T) {
	h, f := newPage(t)
	f.pace = time.Second
	run := older(f, mobileid.KindChallenge, 3*time.Second)
	text := hop(t, traceAt(t, h, run.id), HopIssued).Blocks[0].Text
	if !strings.Contains(text, `"sealed": "\\x01a4c0`) {
		t.Errorf("row:\n%s", text)
	}
}

func TestANotificationEndsWithItsMessage(t *testing.T) {
	h, f := newPage(t)
	run := older(f, mobileid.KindMessage, time.Minute)
	tr := traceAt(t, h, run.id)
	if !tr.Ended || tr.State != "delivered" || slices.Contains(keysOf(tr.Hops), HopConfirmed) {
		t.Errorf("ended %v, state %s, hops %v", tr.Ended, tr.State, keysOf(tr.Hops))
	}
	if got := hop(t, tr, HopRecord).Line; !strings.HasPrefix(got, "notification.requests ") {
		t.Errorf("record %q", got)
	}
}

func TestAnEndThatIsNotAConfirmationSaysWhich(t *testing.T) {
	h, f := newPage(t)
	run := older(f, mobileid.KindChallenge, time.Minute)
	run.endedAs = mobileid.ChallengeExhausted
	tr := traceAt(t, h, run.id)
	end := hop(t, tr, HopConfirmed)
	if end.Title != "Challenge ended: exhausted" || end.Tone != toneBad || end.Line != "reason: balance" || !tr.Ended {
		t.Errorf("%+v, ended %v", end, tr.Ended)
	}
}

func TestEachTransferOfTheChargeIsToldInWords(t *testing.T) {
	h, f := newPage(t)
	run := older(f, mobileid.KindChallenge, time.Minute)
	run.reversed = true
	var told []string
	for _, h := range traceAt(t, h, run.id).Hops {
		if h.Key == HopPosted {
			told = append(told, h.Title+"|"+h.Tone+"|"+h.Line)
		}
	}
	if want := []string{
		"||120.00 soum · the operator accepted the SMS",
		"Charge reversed|bad|-120.00 soum · the operator reported that the SMS was refused or not delivered: the money is given back",
	}; !slices.Equal(told, want) {
		t.Errorf("told %q, want %q", told, want)
	}
}

func TestAMessageWithoutMoneyEndsAsNoFunds(t *testing.T) {
	h, f := newPage(t)
	f.granted[0] = 0
	run := older(f, mobileid.KindChallenge, time.Minute)
	tr := traceAt(t, h, run.id)
	if got := keysOf(tr.Hops); slices.Contains(got, HopAdmitted) || slices.Contains(got, HopPosted) || !tr.Ended {
		t.Errorf("hops %v, ended %v", got, tr.Ended)
	}
	if end := hop(t, tr, HopDelivered); end.Title != "Message ended: no_funds" || end.Line != "reason: balance" || end.Tone != toneBad {
		t.Errorf("%+v", end)
	}
}

func TestAKafkaRecordIsReadOnce(t *testing.T) {
	h, f := newPage(t)
	run := older(f, mobileid.KindChallenge, time.Minute)
	for range 5 {
		traceAt(t, h, run.id)
	}
	if f.reads != 2 {
		t.Errorf("%d reads of 2 records", f.reads)
	}
}

func TestAMalformedIDIsNotFound(t *testing.T) {
	h, _ := newPage(t)
	if w := get(t, h, "/demo/trace/ch_nonsense"); w.Code != http.StatusNotFound {
		t.Errorf("status %d", w.Code)
	}
}
