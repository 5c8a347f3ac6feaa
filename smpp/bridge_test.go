package smpp

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"mobileid/cmd/smscsim/smsc"
	"mobileid/internal/mobileid"
)

// TestMain looks for goroutines of ours that outlive the tests. go-smpp's own
// session, which some tests show the faults of, leaves some.
func TestMain(m *testing.M) {
	code := m.Run()
	if err := goleak.Find(); code == 0 && err != nil && !strings.Contains(err.Error(), "fiorix/go-smpp/smpp.") {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// rig is a bridge on a simulated operator and a registry in memory.
type rig struct {
	t      testing.TB
	store  *memoryStore
	smsc   *smsc.Server
	bridge *Bridge
	sealer *mobileid.Sealer
	ids    mobileid.IDKey
	logs   *syncBuffer
	reg    *prometheus.Registry
	stop   func() // ends Run and waits
	n      int
	// charging of the Messages that it makes.
	charging mobileid.Charging
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func newRig(t *testing.T, tune func(*Config, *smsc.Config)) *rig {
	t.Helper()
	sc := smsc.Config{Accounts: map[string]string{"mobileid": "secret"}, RedeliverWait: 20 * time.Millisecond}
	cfg := Config{
		Profile: testProfile("", 10), Name: "test",
		RetryEvery: 20 * time.Millisecond, UnbindWait: 200 * time.Millisecond, DrainTimeout: 2 * time.Second, StoreTimeout: 2 * time.Second,
	}
	if tune != nil {
		tune(&cfg, &sc)
	}
	server, err := smsc.Start(sc)
	if err != nil {
		t.Fatal(err)
	}
	for i := range cfg.Profile.Binds {
		if cfg.Profile.Binds[i].Hosts == nil {
			cfg.Profile.Binds[i].Hosts = []string{server.Addr()}
		}
	}
	r := assemble(t, cfg)
	r.smsc = server
	t.Cleanup(func() { _ = server.Close() })
	return r
}

// newBenchRig runs a bridge with a window of 100.
func newBenchRig(b *testing.B, addr string) *rig {
	b.Helper()
	r := assemble(b, Config{Profile: testProfile(addr, 100)})
	r.start()
	return r
}

// assemble makes a bridge on a registry in memory.
func assemble(t testing.TB, cfg Config) *rig {
	t.Helper()
	public, private, err := mobileid.NewSealKey()
	if err != nil {
		t.Fatal(err)
	}
	sealer, _ := mobileid.NewSealer(public, nil)
	opener, _ := mobileid.NewOpener(private)
	ids, _ := mobileid.NewIDKey(bytes.Repeat([]byte{1}, 16))
	numbers, _ := mobileid.NewPseudonymKey(bytes.Repeat([]byte{2}, 16))
	r := &rig{t: t, store: newStore(), sealer: sealer, ids: ids, logs: &syncBuffer{}, reg: prometheus.NewRegistry()}
	r.bridge = NewBridge(cfg, Deps{
		Store: r.store, Opener: opener, Numbers: numbers, Reg: r.reg, InboundSealer: sealer, UnreadSealer: sealer,
		Log: slog.New(slog.NewJSONHandler(r.logs, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	return r
}

// start runs the bridge; the test's end stops it.
func (r *rig) start() {
	r.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.bridge.Run(ctx) }()
	r.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			r.t.Errorf("Run: %v", err)
		}
	})
	r.t.Cleanup(r.stop)
}

const (
	secretTo   = "998901234567"
	secretText = "Tasdiqlash kodi 739214. Hech kimga aytmang."
)

// message queues a row with a sealed text.
func (r *rig) message(lane mobileid.Lane, change func(*row)) mobileid.ID {
	r.t.Helper()
	r.n++
	id := r.ids.Make(mobileid.KindMessage, "oneid", fmt.Sprint(r.n), time.Now())
	plain, _ := json.Marshal(mobileid.SealedText{To: secretTo, Text: secretText})
	sealed, err := r.sealer.Seal(id[:], plain)
	if err != nil {
		r.t.Fatal(err)
	}
	x := &row{state: mobileid.MessageQueued, admission: mobileid.Admission{
		ID: id, Lane: lane, Deadline: time.Now().Add(5 * time.Minute), Sealed: sealed, Dest: mobileid.Pseudonym{7},
		Charging: r.charging, Units: 1,
	}}
	if change != nil {
		change(x)
	}
	r.store.mu.Lock()
	r.store.rows[id] = x
	r.store.mu.Unlock()
	return id
}

func (r *rig) take(lane mobileid.Lane, ids ...mobileid.ID) error {
	items := make([]mobileid.AdmitItem, len(ids))
	for i, id := range ids {
		items[i] = mobileid.AdmitItem{ID: id, Source: mobileid.RecordRef{Topic: mobileid.TopicSMS("beeline", lane)}}
	}
	ctx, cancel := context.WithTimeout(r.t.Context(), 10*time.Second)
	defer cancel()
	return r.bridge.Take(ctx, items)
}

func (r *rig) mustTake(lane mobileid.Lane, ids ...mobileid.ID) {
	r.t.Helper()
	if err := r.take(lane, ids...); err != nil {
		r.t.Fatalf("Take: %v", err)
	}
}

func (r *rig) until(id mobileid.ID, s mobileid.MessageState) {
	r.t.Helper()
	r.store.until(r.t, string(s), r.store.is(id, s))
}

func (r *rig) last(id mobileid.ID) mobileid.Outcome {
	r.store.mu.Lock()
	defer r.store.mu.Unlock()
	var out mobileid.Outcome
	for _, o := range r.store.outcomes {
		if o.ID == id {
			out = o
		}
	}
	return out
}

func (r *rig) fault(f smsc.Fault) {
	r.t.Helper()
	if err := r.smsc.SetFault(f); err != nil {
		r.t.Fatal(err)
	}
}

func TestMessageIsAdmittedWrittenSettledAndReceipted(t *testing.T) {
	r := newRig(t, nil)
	r.start()
	id := r.message(mobileid.LaneOTP, nil)
	r.mustTake(mobileid.LaneOTP, id)
	r.until(id, mobileid.MessageSent)
	got := r.smsc.Received()
	if len(got) != 1 || got[0].Dest != secretTo || got[0].Text != secretText || got[0].Source != "MobileID" {
		t.Fatalf("the operator received %+v", got)
	}
	if s := got[0]; s.Registered != 1 || s.ESMClass != 0 || s.DataCoding != 0 || s.Fields["tlv_0x0204"] == "" {
		t.Errorf("fields: %v", s.Fields)
	}
	if v := got[0].Validity; v != "000000000459000R" && v != "000000000500000R" {
		t.Errorf("validity_period %q is not the five minutes left", v)
	}
	o := r.last(id)
	if len(o.Parts) != 1 || o.Parts[0].OperatorID != got[0].MessageID || o.Parts[0].Dest != (mobileid.Pseudonym{7}) ||
		o.Parts[0].Sequence != got[0].Sequence || o.SubmittedAt.IsZero() || o.Link != "beeline/mobileid/a#1.1" {
		t.Errorf("outcome %+v", o)
	}
	r.store.until(t, "receipt", func() bool { return len(r.store.receipts) == 1 })
	number, _ := mobileid.ParseMSISDN(secretTo)
	numbers, _ := mobileid.NewPseudonymKey(bytes.Repeat([]byte{2}, 16))
	rc := r.store.receipts[0]
	if rc.OperatorID != got[0].MessageID || rc.State != mobileid.MessageDelivered || rc.Stat != "DELIVRD" ||
		rc.Dest != numbers.Number(number) || rc.Account != "beeline/mobileid" || r.store.account != rc.Account {
		t.Errorf("receipt %+v", rc)
	}
}

func TestNothingPersonalIsLogged(t *testing.T) {
	r := newRig(t, nil)
	r.start()
	bad := r.message(mobileid.LaneOTP, func(x *row) { x.admission.Sealed = []byte("not sealed") })
	id := r.message(mobileid.LaneOTP, nil)
	r.fault(smsc.Fault{Kind: smsc.FaultStatus, Count: 1, Status: 0x0B})
	r.mustTake(mobileid.LaneOTP, bad, id)
	r.until(bad, mobileid.MessageFailed)
	r.until(id, mobileid.MessageRejected)
	r.fault(smsc.Fault{Kind: smsc.FaultCut})
	r.stop()
	for _, secret := range []string{secretTo, "901234567", "739214", "Tasdiqlash", "secret"} {
		if strings.Contains(r.logs.String(), secret) {
			t.Errorf("the log holds %q:\n%s", secret, r.logs)
		}
	}
}

func TestTextOfSeveralPartsIsConcatenated(t *testing.T) {
	r := newRig(t, nil)
	r.start()
	long := strings.Repeat("Ўзбекистон ", 12)
	id := r.message(mobileid.LaneBulk, nil)
	plain, _ := json.Marshal(mobileid.SealedText{To: secretTo, Text: long})
	r.store.rows[id].admission.Sealed, _ = r.sealer.Seal(id[:], plain)
	r.mustTake(mobileid.LaneBulk, id)
	r.until(id, mobileid.MessageSent)
	got := r.smsc.Received()
	if len(got) != 2 || got[0].Text+got[1].Text != long || got[0].Parts != 2 || got[1].Part != 2 ||
		got[0].Reference != got[1].Reference || got[0].DataCoding != 8 {
		t.Fatalf("received %+v", got)
	}
	if o := r.last(id); len(o.Parts) != 2 || o.Parts[0].OperatorID == o.Parts[1].OperatorID {
		t.Errorf("outcome %+v", o)
	}
}

// long queues a Message of two parts.
func (r *rig) long(lane mobileid.Lane) mobileid.ID {
	return r.text(lane, strings.Repeat("Ўзбекистон ", 12))
}

// text queues a Message with a text.
func (r *rig) text(lane mobileid.Lane, text string) mobileid.ID {
	return r.message(lane, func(x *row) {
		plain, _ := json.Marshal(mobileid.SealedText{To: secretTo, Text: text})
		x.admission.Sealed, _ = r.sealer.Seal(x.admission.ID[:], plain)
		x.admission.Parts = 2
	})
}

func TestPartsAreWrittenTogetherThoughTheWindowIsSmallAndSlow(t *testing.T) {
	r := newRig(t, func(c *Config, _ *smsc.Config) { c.Profile.Binds[0].Window = 2 })
	r.fault(smsc.Fault{Kind: smsc.FaultDelay, Delay: 1200 * time.Millisecond})
	r.start()
	short := r.message(mobileid.LaneOTP, nil)
	r.mustTake(mobileid.LaneOTP, short)
	if err := r.smsc.Wait(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	// One slot is free, the other for longer than an admission is good.
	code, notice := r.long(mobileid.LaneOTP), r.long(mobileid.LaneBulk)
	r.mustTake(mobileid.LaneOTP, code)
	r.mustTake(mobileid.LaneBulk, notice)
	for _, id := range []mobileid.ID{short, code, notice} {
		r.until(id, mobileid.MessageSent)
	}
	if n := r.smsc.Count(); n != 5 {
		t.Errorf("%d submit_sm, want 5", n)
	}
	r.store.mu.Lock()
	defer r.store.mu.Unlock()
	for _, o := range r.store.outcomes {
		if o.State == mobileid.MessageInDoubt {
			t.Errorf("in doubt without a fault: %+v", o)
		}
	}
}

// A window smaller than a text: its parts go one after the other, in order, and
// a code waits for one of them only. The next notice waits for all of them,
// unless one takes longer than an admission is good: then the Message is
// admitted again, and a slot that is free meanwhile does not wait for it.
func TestMorePartsThanTheWindowAreWrittenInTurns(t *testing.T) {
	for name, c := range map[string]struct {
		slow  time.Duration
		again bool // the long one is admitted again
	}{"quick": {100 * time.Millisecond, false}, "slow": {1500 * time.Millisecond, true}} {
		t.Run(name, func(t *testing.T) {
			tune := func(c *Config) { c.Profile.Binds[0].Window = 1 }
			answer := func(int, submitted) reply { return reply{after: c.slow} }
			inBubble(t, tune, answer, func(r *rig, o *operator) {
				long, next, code := r.long(mobileid.LaneBulk), r.message(mobileid.LaneBulk, nil), r.message(mobileid.LaneOTP, nil)
				go func() { _ = r.take(mobileid.LaneBulk, long, next) }()
				synctest.Wait()
				r.mustTake(mobileid.LaneOTP, code)
				for _, id := range []mobileid.ID{code, long, next} {
					r.until(id, mobileid.MessageSent)
				}
				var order []string
				for _, s := range o.all() {
					of := map[uint16]string{reference(long): "long", reference(next): "next", reference(code): "code"}[s.reference]
					order = append(order, fmt.Sprint(of, " ", s.part))
				}
				if c.again {
					order = slices.DeleteFunc(order, func(s string) bool { return s == "next 1" })
					order = append(order, "next 1")
				}
				if fmt.Sprint(order) != "[long 1 code 1 long 2 next 1]" {
					t.Errorf("written: %v", order)
				}
				r.store.mu.Lock()
				defer r.store.mu.Unlock()
				admits := 0
				for _, batch := range r.store.admits {
					for _, it := range batch {
						if it.ID == long {
							admits++
						}
					}
				}
				if again := admits > 1; again != c.again {
					t.Errorf("admitted %d times, and an admission is good for a second", admits)
				}
			})
		})
	}
}

// What a Message cannot remember of itself is not begun.
func TestAMessageWithMorePartsThanAreRememberedFails(t *testing.T) {
	inBubble(t, nil, statuses(), func(r *rig, o *operator) {
		id := r.text(mobileid.LaneBulk, strings.Repeat("щ", 64*66))
		r.mustTake(mobileid.LaneBulk, id)
		r.until(id, mobileid.MessageFailed)
		if reason := r.last(id).Reason; reason != mobileid.ReasonTooManyParts || len(o.all()) > 0 {
			t.Errorf("%d submit_sm, reason %q", len(o.all()), reason)
		}
	})
}

func TestFinalStatusRejectsAndTemporaryOneRetries(t *testing.T) {
	r := newRig(t, nil)
	r.start()
	refused, busy := r.message(mobileid.LaneOTP, nil), r.message(mobileid.LaneOTP, nil)
	r.fault(smsc.Fault{Kind: smsc.FaultStatus, Count: 1, Status: 0x0B})
	r.mustTake(mobileid.LaneOTP, refused)
	r.until(refused, mobileid.MessageRejected)
	if o := r.last(refused); o.Reason != "smpp_0x0b" || o.Parts[0].Status != 0x0B {
		t.Errorf("outcome %+v", o)
	}
	r.fault(smsc.Fault{Kind: smsc.FaultStatus, Count: 1, Status: 0x08})
	r.mustTake(mobileid.LaneOTP, busy)
	r.until(busy, mobileid.MessageRetry)
	o := r.last(busy)
	if o.Reason != "smpp_0x08" || !o.RetryAt.After(o.SubmittedAt) {
		t.Errorf("outcome %+v", o)
	}
	r.until(busy, mobileid.MessageSent) // the retry's time came
}

func TestNoAnswerIsInDoubtAndACodeIsSentOnceMore(t *testing.T) {
	r := newRig(t, func(c *Config, _ *smsc.Config) { c.Profile.Timers.Response = 100 * time.Millisecond })
	r.start()
	code, notice := r.message(mobileid.LaneOTP, nil), r.message(mobileid.LaneBulk, nil)
	r.fault(smsc.Fault{Kind: smsc.FaultNoAnswer, Count: 2})
	r.mustTake(mobileid.LaneBulk, notice)
	r.until(notice, mobileid.MessageInDoubt)
	r.mustTake(mobileid.LaneOTP, code)
	r.until(code, mobileid.MessageSent)
	if n := r.smsc.Count(); n != 3 {
		t.Errorf("%d submit_sm, want the notice once and the code twice", n)
	}
	if r.store.rows[notice].state != mobileid.MessageInDoubt || r.last(notice).Reason != "no_answer" {
		t.Errorf("the notice is %s", r.store.rows[notice].state)
	}
}

func TestLateAnswerEndsTheDoubt(t *testing.T) {
	r := newRig(t, func(c *Config, _ *smsc.Config) { c.Profile.Timers.Response = 100 * time.Millisecond })
	r.start()
	notice := r.message(mobileid.LaneBulk, nil)
	r.fault(smsc.Fault{Kind: smsc.FaultDelay, Count: 1, Delay: 300 * time.Millisecond})
	r.mustTake(mobileid.LaneBulk, notice)
	r.until(notice, mobileid.MessageInDoubt)
	r.until(notice, mobileid.MessageSent)
	if o := r.last(notice); o.Reason != "late_answer" || o.Parts[0].OperatorID == "" {
		t.Errorf("outcome %+v", o)
	}
}

func TestLinkLostAfterTheWriteIsInDoubtAndTheLinkComesBack(t *testing.T) {
	r := newRig(t, nil)
	r.start()
	notice := r.message(mobileid.LaneBulk, nil)
	r.fault(smsc.Fault{Kind: smsc.FaultDrop, Count: 1})
	r.mustTake(mobileid.LaneBulk, notice)
	r.until(notice, mobileid.MessageInDoubt)
	if o := r.last(notice); o.Reason != "link_lost" {
		t.Errorf("outcome %+v", o)
	}
	next := r.message(mobileid.LaneOTP, nil)
	r.mustTake(mobileid.LaneOTP, next)
	r.until(next, mobileid.MessageSent)
}

func TestTakeReturnsAfterTheAdmissionHasCommitted(t *testing.T) {
	r := newRig(t, nil)
	gate := make(chan struct{})
	r.store.onAdmit = func([]mobileid.AdmitItem) error { <-gate; return nil }
	r.start()
	id := r.message(mobileid.LaneOTP, nil)
	done := make(chan error, 1)
	go func() { done <- r.take(mobileid.LaneOTP, id) }()
	select {
	case <-done:
		t.Fatal("Take returned before its statement")
	case <-time.After(50 * time.Millisecond):
	}
	close(gate)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	r.store.mu.Lock()
	defer r.store.mu.Unlock()
	if len(r.store.admits) != 1 {
		t.Error("not admitted")
	}
}

func TestTakeGivesUpWithItsContextAndLeavesNothingBehind(t *testing.T) {
	r := newRig(t, func(c *Config, _ *smsc.Config) { c.Profile.Binds[0].Hosts = []string{"127.0.0.1:1"} }) // no operator
	r.start()
	id := r.message(mobileid.LaneOTP, nil)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	err := r.bridge.Take(ctx, []mobileid.AdmitItem{{ID: id}})
	if mobileid.CodeOf(err) != "operator_busy" || mobileid.KindOf(err) != mobileid.KindUnavailable {
		t.Fatalf("err = %v", err)
	}
	if err := r.bridge.Ready(); mobileid.CodeOf(err) != "link_down" {
		t.Errorf("Ready = %v", err)
	}
	if len(r.store.admits) != 0 {
		t.Error("admitted without a link")
	}
}

func TestRegistryAwayFailsTheTakeAndItCanBeBroughtAgain(t *testing.T) {
	r := newRig(t, nil)
	var once sync.Once
	r.store.onAdmit = func([]mobileid.AdmitItem) (err error) {
		once.Do(func() { err = mobileid.Unavailable("database_away", time.Second, nil) })
		return err
	}
	r.start()
	id := r.message(mobileid.LaneOTP, nil)
	if err := r.take(mobileid.LaneOTP, id); mobileid.CodeOf(err) != "database_away" {
		t.Fatalf("err = %v", err)
	}
	r.mustTake(mobileid.LaneOTP, id)
	r.until(id, mobileid.MessageSent)
}

func TestAdmissionOfUnknownOutcomeIsNotStranded(t *testing.T) {
	r := newRig(t, nil)
	var once sync.Once
	r.store.onAdmitted = func() (err error) {
		once.Do(func() { err = &mobileid.Error{Kind: mobileid.KindUnknown, Code: "database_lost"} })
		return err
	}
	r.start()
	id := r.message(mobileid.LaneOTP, nil)
	if err := r.take(mobileid.LaneOTP, id); mobileid.KindOf(err) != mobileid.KindUnknown {
		t.Fatalf("err = %v", err)
	}
	r.until(id, mobileid.MessageSent) // it was admitted: the bridge found it by itself
	if n := r.smsc.Count(); n != 1 {
		t.Errorf("%d submit_sm", n)
	}
}

func TestWhatWasAdmittedBeforeAnErrorIsWritten(t *testing.T) {
	for _, kind := range []mobileid.Kind{mobileid.KindUnavailable, mobileid.KindUnknown} {
		t.Run(string(kind), func(t *testing.T) {
			r := newRig(t, nil)
			var once sync.Once
			r.store.onPart = func() (n int, err error) {
				once.Do(func() { n, err = 1, &mobileid.Error{Kind: kind, Code: "database"} })
				return n, err
			}
			r.start()
			first, second := r.message(mobileid.LaneOTP, nil), r.message(mobileid.LaneOTP, nil)
			if err := r.take(mobileid.LaneOTP, first, second); mobileid.KindOf(err) != kind {
				t.Fatalf("err = %v", err)
			}
			r.until(first, mobileid.MessageSent)
			for r.take(mobileid.LaneOTP, first, second) != nil {
				if t.Context().Err() != nil {
					t.FailNow()
				}
			}
			r.until(second, mobileid.MessageSent)
			if n := r.smsc.Count(); n != 2 {
				t.Errorf("%d submit_sm", n)
			}
		})
	}
}

func TestAnIdWithAnUnknownAdmissionIsNotKnown(t *testing.T) {
	r := newRig(t, nil)
	var asked sync.Once
	var stored atomic.Bool
	r.store.onAdmit = func([]mobileid.AdmitItem) (err error) { // and nothing has committed
		asked.Do(func() { err = &mobileid.Error{Kind: mobileid.KindUnknown, Code: "database_lost"} })
		return err
	}
	r.store.onSettle = func([]mobileid.Outcome) error {
		if stored.Load() {
			return nil
		}
		return mobileid.Unavailable("database_away", time.Second, nil)
	}
	r.start()
	id := r.message(mobileid.LaneOTP, nil)
	if err := r.take(mobileid.LaneOTP, id); mobileid.KindOf(err) != mobileid.KindUnknown {
		t.Fatalf("err = %v", err)
	}
	// The record comes again while nobody knows: its offset must not be committed.
	if err := r.take(mobileid.LaneOTP, id, id); mobileid.CodeOf(err) != "admission_unknown" {
		t.Fatalf("taken again: %v", err)
	}
	stored.Store(true)
	for r.take(mobileid.LaneOTP, id) != nil {
		if t.Context().Err() != nil {
			t.FailNow()
		}
		runtime.Gosched()
	}
	r.until(id, mobileid.MessageSent)
	if n := r.smsc.Count(); n != 1 {
		t.Errorf("%d submit_sm", n)
	}
}

func TestIdDeliveredTwiceIsWrittenOnce(t *testing.T) {
	r := newRig(t, nil)
	r.fault(smsc.Fault{Kind: smsc.FaultDelay, Delay: 300 * time.Millisecond})
	r.start()
	id := r.message(mobileid.LaneOTP, nil)
	r.mustTake(mobileid.LaneOTP, id, id)
	r.mustTake(mobileid.LaneOTP, id) // held
	r.store.mu.Lock()
	if len(r.store.admits) != 1 {
		t.Errorf("%d admit statements while it is held, want 1", len(r.store.admits))
	}
	r.store.mu.Unlock()
	r.until(id, mobileid.MessageSent)
	r.mustTake(mobileid.LaneOTP, id) // settled
	if n := r.smsc.Count(); n != 1 {
		t.Errorf("%d submit_sm", n)
	}
}

func TestCodesGoBeforeNotices(t *testing.T) {
	r := newRig(t, func(c *Config, _ *smsc.Config) { c.Profile.Binds[0].Window = 1 })
	r.fault(smsc.Fault{Kind: smsc.FaultDelay, Delay: 30 * time.Millisecond})
	var notices []mobileid.ID
	for range 20 {
		notices = append(notices, r.message(mobileid.LaneBulk, nil))
	}
	code := r.message(mobileid.LaneOTP, nil)
	r.start()
	go func() { _ = r.take(mobileid.LaneBulk, notices...) }()
	if err := r.smsc.Wait(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	r.mustTake(mobileid.LaneOTP, code)
	r.until(code, mobileid.MessageSent)
	if n := r.smsc.Count(); n > 8 {
		t.Errorf("the code was number %d", n)
	}
	r.stop()
}

// An operator answers nothing any more and notices wait: a code is admitted and
// written all the same.
func TestNoticesLeaveRoomAndSlotsForCodes(t *testing.T) {
	r := newRig(t, func(c *Config, _ *smsc.Config) { c.Profile.Binds[0].Window, c.DrainTimeout = 10, 100*time.Millisecond })
	first, code := r.message(mobileid.LaneOTP, nil), r.message(mobileid.LaneOTP, nil)
	var notices []mobileid.ID
	for range 50 {
		notices = append(notices, r.message(mobileid.LaneBulk, nil))
	}
	r.start()
	r.mustTake(mobileid.LaneOTP, first)
	r.until(first, mobileid.MessageSent)
	r.fault(smsc.Fault{Kind: smsc.FaultNoAnswer})
	go func() { _ = r.take(mobileid.LaneBulk, notices...) }()
	const inWindow, ahead = 10 - keptForCodes, 10
	admitted := func(want int) func() bool {
		return func() bool {
			n := 0
			for _, x := range r.store.rows {
				if x.state == mobileid.MessageAdmitted {
					n++
				}
			}
			return n == want
		}
	}
	r.store.until(t, "the room of notices is full", admitted(inWindow+ahead))
	if err := r.smsc.Wait(t.Context(), 1+inWindow); err != nil {
		t.Fatal(err)
	}
	r.mustTake(mobileid.LaneOTP, code)
	if err := r.smsc.Wait(t.Context(), 1+inWindow+1); err != nil {
		t.Fatal(err)
	}
	if n := r.smsc.Count(); n != 1+inWindow+1 {
		t.Errorf("%d submit_sm, so notices took the slots of codes", n)
	}
	r.stop()
}

func TestNoMoreIsAdmittedThanTheWindowWritesInASecond(t *testing.T) {
	r := newRig(t, func(c *Config, _ *smsc.Config) { c.Profile.Binds[0].Window = 5 })
	r.fault(smsc.Fault{Kind: smsc.FaultNoAnswer})
	var ids []mobileid.ID
	for range 50 {
		ids = append(ids, r.message(mobileid.LaneBulk, nil))
	}
	r.start()
	go func() { _ = r.take(mobileid.LaneBulk, ids...) }()
	if err := r.smsc.Wait(t.Context(), 5); err != nil {
		t.Fatal(err)
	}
	r.store.until(t, "one window ahead", func() bool {
		n := 0
		for _, x := range r.store.rows {
			if x.state == mobileid.MessageAdmitted {
				n++
			}
		}
		if n > 10 {
			t.Errorf("%d admitted with a window of 5 that does not move", n)
		}
		return n == 10
	})
	r.stop()
}

func TestTheGaugesTellTheLinkItsWindowAndWhatWaits(t *testing.T) {
	r := newRig(t, func(c *Config, _ *smsc.Config) { c.Profile.Binds[0].Window, c.DrainTimeout = 2, 100*time.Millisecond })
	gauges := func(up, inFlight, waiting int) error {
		const labels = `{link="beeline/mobileid/a",operator="beeline"}`
		want := fmt.Sprintf(`
# HELP mobileid_smpp_link_up 1 when the link is bound.
# TYPE mobileid_smpp_link_up gauge
mobileid_smpp_link_up%[1]s %[2]d
# HELP mobileid_smpp_waiting Messages admitted and not in a window yet.
# TYPE mobileid_smpp_waiting gauge
mobileid_smpp_waiting{operator="beeline"} %[4]d
# HELP mobileid_smpp_window_in_flight submit_sm without an answer.
# TYPE mobileid_smpp_window_in_flight gauge
mobileid_smpp_window_in_flight%[1]s %[3]d
`, labels, up, inFlight, waiting)
		return testutil.GatherAndCompare(r.reg, strings.NewReader(want),
			"mobileid_smpp_link_up", "mobileid_smpp_waiting", "mobileid_smpp_window_in_flight")
	}
	if err := gauges(0, 0, 0); err != nil {
		t.Error("before the start:", err)
	}
	r.fault(smsc.Fault{Kind: smsc.FaultNoAnswer})
	r.start()
	r.mustTake(mobileid.LaneBulk, r.message(mobileid.LaneBulk, nil), r.message(mobileid.LaneBulk, nil))
	if err := r.smsc.Wait(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	if err := gauges(1, 2, 0); err != nil {
		t.Error("a full window:", err)
	}
	r.stop()
	if err := gauges(0, 0, 0); err != nil {
		t.Error("after the end:", err)
	}
}

// A Message that waits for a slot longer than a second is admitted again, its
// fence included: this one's binding has gone meanwhile.
func TestAdmissionOlderThanASecondIsAskedAgain(t *testing.T) {
	r := newRig(t, func(c *Config, _ *smsc.Config) {
		c.Profile.Binds[0].Window = 1
		c.Profile.Timers.Response = 1500 * time.Millisecond
	})
	r.fault(smsc.Fault{Kind: smsc.FaultNoAnswer, Count: 1})
	r.start()
	first, waits, fenced := r.message(mobileid.LaneBulk, nil), r.message(mobileid.LaneOTP, nil), r.message(mobileid.LaneOTP, nil)
	r.mustTake(mobileid.LaneBulk, first)
	if err := r.smsc.Wait(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	r.mustTake(mobileid.LaneOTP, waits)
	done := make(chan error, 1)
	go func() { done <- r.take(mobileid.LaneOTP, fenced) }()
	r.store.mu.Lock()
	r.store.rows[waits].refuse = true // revoked after it was admitted
	r.store.mu.Unlock()
	r.until(waits, mobileid.MessageFenced)
	r.until(fenced, mobileid.MessageSent)
	if err := <-done; err != nil {
		t.Error(err)
	}
	if n := r.smsc.Count(); n != 2 {
		t.Errorf("%d submit_sm, want 2: nothing for the revoked one", n)
	}
}

func TestPassedDeadlineIsNotWritten(t *testing.T) {
	r := newRig(t, func(c *Config, _ *smsc.Config) {
		c.Profile.Binds[0].Window = 1
		c.Profile.Timers.Response = 400 * time.Millisecond
	})
	r.fault(smsc.Fault{Kind: smsc.FaultNoAnswer, Count: 1})
	r.start()
	first := r.message(mobileid.LaneBulk, nil)
	short := r.message(mobileid.LaneOTP, func(x *row) { x.admission.Deadline = time.Now().Add(200 * time.Millisecond) })
	r.mustTake(mobileid.LaneBulk, first)
	if err := r.smsc.Wait(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	r.mustTake(mobileid.LaneOTP, short)
	r.until(short, mobileid.MessageExpired)
	if n := r.smsc.Count(); n != 1 {
		t.Errorf("%d submit_sm", n)
	}
}

func TestLostLeaseStopsWritingAndAnotherIsOpened(t *testing.T) {
	r := newRig(t, func(c *Config, _ *smsc.Config) {
		c.Lease = 300 * time.Millisecond
		c.Profile.Binds[0].Window = 1
		c.Profile.Timers.Response = 400 * time.Millisecond
	})
	r.fault(smsc.Fault{Kind: smsc.FaultNoAnswer, Count: 1})
	r.start()
	first, waits := r.message(mobileid.LaneBulk, nil), r.message(mobileid.LaneOTP, nil)
	r.mustTake(mobileid.LaneBulk, first)
	if err := r.smsc.Wait(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	r.mustTake(mobileid.LaneOTP, waits)
	r.store.mu.Lock()
	r.store.bridges[1] = time.Time{} // somebody ended it
	r.store.mu.Unlock()
	r.store.until(t, "given back", func() bool {
		for _, o := range r.store.outcomes {
			if o.ID == waits && o.Reason == "lease_lost" {
				return true
			}
		}
		return false
	})
	r.until(waits, mobileid.MessageSent) // under the second lease
	if got := r.store.rows[waits].owner; got < 2 {
		t.Errorf("owner %d", got)
	}
}

// A Message is admitted in time and its slot comes when the lease has run out:
// the registry fails, or does not even answer, so that nobody but the clock
// stops the write. Under the next lease it is admitted again.
func TestNothingIsWrittenAfterTheLeaseRanOut(t *testing.T) {
	const lease, slow = 600 * time.Millisecond, 700 * time.Millisecond
	for name, hangs := range map[string]bool{"the registry fails": false, "the registry hangs": true} {
		t.Run(name, func(t *testing.T) {
			tune := func(c *Config) {
				c.Lease, c.Profile.Binds[0].Window = lease, 1
			}
			answer := func(n int, _ submitted) reply {
				if n == 0 {
					return reply{after: slow}
				}
				return reply{}
			}
			var back chan struct{} // made in the bubble
			var gone atomic.Bool
			away := func() error {
				if !gone.Load() {
					return nil
				}
				if hangs {
					<-back
				}
				return mobileid.Unavailable("database_away", time.Second, nil)
			}
			breakable := func(r *rig) {
				back = make(chan struct{})
				r.store.onRenew = away
				r.store.onSettle = func([]mobileid.Outcome) error { return away() }
				r.store.onAdmit = func([]mobileid.AdmitItem) error { return away() }
			}
			inBubbleWith(t, tune, answer, breakable, func(r *rig, o *operator) {
				synctest.Wait()
				began := time.Now()
				first, second := r.message(mobileid.LaneOTP, nil), r.message(mobileid.LaneOTP, nil)
				r.mustTake(mobileid.LaneOTP, first)
				r.mustTake(mobileid.LaneOTP, second)
				gone.Store(true)
				time.Sleep(5 * time.Second)
				if seen := o.of(second); len(seen) > 0 {
					t.Errorf("written %v after the lease of %v began", seen[0].at.Sub(began), lease)
				}
				gone.Store(false)
				close(back)
				r.until(second, mobileid.MessageSent)
				r.store.mu.Lock()
				defer r.store.mu.Unlock()
				if n := r.store.rows[second].owner; n < 2 || len(o.of(second)) != 1 {
					t.Errorf("written %d times, at last under lease %d", len(o.of(second)), n)
				}
			})
		})
	}
}

func TestReceiptIsAcknowledgedAfterItIsStored(t *testing.T) {
	r := newRig(t, nil)
	var mu sync.Mutex
	tries := 0
	r.store.onReceipts = func([]mobileid.Receipt) error {
		mu.Lock()
		defer mu.Unlock()
		if tries++; tries <= 2 {
			return mobileid.Unavailable("database_away", time.Second, nil)
		}
		return nil
	}
	events, cancel := r.smsc.Subscribe()
	defer cancel()
	r.start()
	id := r.message(mobileid.LaneOTP, nil)
	r.mustTake(mobileid.LaneOTP, id)
	var acks []uint32
	for e := range events {
		if e.Kind != smsc.EventReceiptAck {
			continue
		}
		acks = append(acks, e.Receipt.AckStatus)
		if e.Receipt.AckStatus == 0 {
			break
		}
	}
	if fmt.Sprint(acks) != "[100 100 0]" {
		t.Errorf("acknowledgements %v, want 0x64 until it is stored", acks)
	}
	if len(r.store.receipts) != 1 {
		t.Errorf("%d receipts stored", len(r.store.receipts))
	}
}

func TestReceiptMayComeBeforeTheAnswer(t *testing.T) {
	r := newRig(t, nil)
	r.fault(smsc.Fault{Kind: smsc.FaultReceiptFirst, Count: 1})
	r.start()
	id := r.message(mobileid.LaneOTP, nil)
	r.mustTake(mobileid.LaneOTP, id)
	r.until(id, mobileid.MessageSent)
	r.store.until(t, "receipt", func() bool { return len(r.store.receipts) == 1 })
}

func TestSettleIsTriedUntilTheRegistryIsBack(t *testing.T) {
	r := newRig(t, nil)
	var mu sync.Mutex
	n := 0
	r.store.onSettle = func([]mobileid.Outcome) error {
		mu.Lock()
		defer mu.Unlock()
		if n++; n <= 2 {
			return mobileid.Unavailable("database_away", time.Second, nil)
		}
		return nil
	}
	r.start()
	id := r.message(mobileid.LaneOTP, nil)
	r.mustTake(mobileid.LaneOTP, id)
	r.until(id, mobileid.MessageSent)
}

func TestOneBadOutcomeDoesNotStopTheOthers(t *testing.T) {
	r := newRig(t, nil)
	bad, good := r.message(mobileid.LaneOTP, nil), r.message(mobileid.LaneOTP, nil)
	r.store.onSettle = func(outcomes []mobileid.Outcome) error {
		for _, o := range outcomes {
			if o.ID == bad {
				return mobileid.Invalid("", "check_violation", "refused")
			}
		}
		return nil
	}
	r.start()
	r.mustTake(mobileid.LaneOTP, bad, good)
	r.until(good, mobileid.MessageSent)
}

func TestDrainFinishesTheWindowAndGivesBackTheRest(t *testing.T) {
	r := newRig(t, func(c *Config, _ *smsc.Config) {
		c.Profile.Binds[0].Window = 2
		c.DrainTimeout = 500 * time.Millisecond
	})
	r.fault(smsc.Fault{Kind: smsc.FaultDelay, Count: 1, Delay: 200 * time.Millisecond})
	r.fault(smsc.Fault{Kind: smsc.FaultNoAnswer})
	r.start()
	var ids []mobileid.ID
	for range 4 {
		ids = append(ids, r.message(mobileid.LaneOTP, nil))
	}
	// The first two are answered late, the second two never.
	r.fault(smsc.Fault{Kind: smsc.FaultDelay, Delay: 200 * time.Millisecond})
	r.mustTake(mobileid.LaneOTP, ids[:2]...)
	if err := r.smsc.Wait(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	r.mustTake(mobileid.LaneOTP, ids[2:]...)
	r.stop()
	if err := r.take(mobileid.LaneOTP, ids[0]); mobileid.CodeOf(err) != "draining" {
		t.Errorf("Take after the end: %v", err)
	}
	for i, id := range ids {
		switch st := r.store.rows[id].state; {
		case i < 2 && st != mobileid.MessageInDoubt:
			t.Errorf("written and unanswered Message is %s", st)
		case i >= 2 && st != mobileid.MessageRetry:
			t.Errorf("unwritten Message is %s", st)
		case i >= 2 && r.last(id).Reason != "bridge_drained":
			t.Errorf("given back for %q", r.last(id).Reason)
		}
	}
	if len(r.store.closed) != 1 {
		t.Error("lease not closed")
	}
}

// The last line tells what the registry never heard of, and only that.
func TestTheLastLineTellsWhatIsNotStored(t *testing.T) {
	for name, c := range map[string]struct {
		away func(all int) bool // whether the statement fails, by the outcomes in it
		want string
	}{
		"nothing":           {func(int) bool { return false }, `"unsettled":0`},
		"everything":        {func(int) bool { return true }, `"unsettled":3`},
		"all but the first": {func(all int) bool { return all > 1 }, `"unsettled":2`},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, nil, statuses(), func(r *rig, _ *operator) {
				r.store.onSettle = func(outcomes []mobileid.Outcome) error {
					if c.away(len(outcomes)) {
						return mobileid.Unavailable("database_away", time.Second, nil)
					}
					return nil
				}
				first := r.message(mobileid.LaneBulk, nil)
				rest := []mobileid.ID{r.message(mobileid.LaneBulk, nil), r.message(mobileid.LaneBulk, nil)}
				r.mustTake(mobileid.LaneBulk, first)
				synctest.Wait()
				r.mustTake(mobileid.LaneBulk, rest...)
				r.stop()
				if logs := r.logs.String(); !strings.Contains(logs, c.want) {
					t.Errorf("want %s: %s", c.want, logs)
				}
			})
		})
	}
}

func TestDrainWaitsForAnswersOnTheirWay(t *testing.T) {
	r := newRig(t, nil)
	r.fault(smsc.Fault{Kind: smsc.FaultDelay, Delay: 200 * time.Millisecond})
	r.start()
	id := r.message(mobileid.LaneOTP, nil)
	r.mustTake(mobileid.LaneOTP, id)
	if err := r.smsc.Wait(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	r.stop()
	if st := r.store.rows[id].state; st != mobileid.MessageSent {
		t.Errorf("state %s", st)
	}
}

func TestWrongPasswordIsNotTriedQuickly(t *testing.T) {
	r := newRig(t, func(c *Config, _ *smsc.Config) { c.Profile.Account.Password = "wrong" })
	r.start()
	deadline := time.Now().Add(5 * time.Second)
	for !strings.Contains(r.logs.String(), "refuses our credentials") {
		if time.Now().After(deadline) {
			t.Fatalf("no alarm: %s", r.logs.String())
		}
		time.Sleep(time.Millisecond) // a log line is all that tells it
	}
	if logs := r.logs.String(); strings.Count(logs, "refuses our credentials") != 1 || !strings.Contains(logs, "bind refused with 0x0e") {
		t.Errorf("want one alarm with the status: %s", logs)
	}
}

func TestRunTwiceIsRefused(t *testing.T) {
	r := newRig(t, nil)
	r.start()
	r.store.until(t, "lease", func() bool { return r.store.next == 1 })
	if err := r.bridge.Run(t.Context()); err == nil || errors.Is(err, context.Canceled) {
		t.Errorf("err = %v", err)
	}
}
