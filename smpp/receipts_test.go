package smpp

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"mobileid/internal/mobileid"
	"mobileid/smpp/profile"
	"mobileid/smpp/wire"
)

// statement is what the registry takes for a batch of receipts, however many.
const statement = 2 * time.Millisecond

// receiver is the operator's end of a link whose bridge has only receipts to
// store. All of it lives in a synctest bubble.
type receiver struct {
	t    *testing.T
	conn net.Conn

	mu      sync.Mutex
	batches []int       // how many receipts each statement had
	at      []time.Time // when each statement began
}

func newReceiver(t *testing.T) *receiver {
	t.Helper()
	ours, theirs := net.Pipe()
	r := &receiver{t: t, conn: theirs}
	rig := assemble(t, Config{Profile: testProfile("operator:2775", 10)})
	rig.bridge.dial = func(context.Context, string, profile.TLS) (net.Conn, error) { return ours, nil }
	rig.store.onReceipts = func(batch []mobileid.Receipt) error {
		r.mu.Lock()
		r.batches, r.at = append(r.batches, len(batch)), append(r.at, time.Now())
		r.mu.Unlock()
		time.Sleep(statement) // the bubble's clock
		return nil
	}
	rig.start()
	t.Cleanup(func() { _ = theirs.Close() }) // before the bridge stops
	bind := r.read()
	if _, err := theirs.Write(wire.AppendCString(nil, bind.Command.Response(), wire.StatusOK, bind.Sequence, "")); err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
	return r
}

func (r *receiver) read() wire.Frame {
	r.t.Helper()
	f, err := wire.Read(r.conn)
	if err != nil {
		r.t.Fatalf("the operator reads: %v", err)
	}
	return f
}

// send writes n receipts, one each gap, and never leaves more than window of
// them unanswered. It returns when all are answered, and how long that took.
func (r *receiver) send(n, window int, gap time.Duration) time.Duration {
	r.t.Helper()
	began, free := time.Now(), make(chan struct{}, window)
	var writing sync.WaitGroup
	writing.Go(func() {
		for i := range n {
			free <- struct{}{}
			raw, err := wire.Message{
				Command: wire.DeliverSM, ESMClass: esmReceipt, ShortMessage: fmt.Appendf(nil, "id:%d stat:DELIVRD", i),
			}.Encode()
			if err != nil {
				r.t.Error(err)
			}
			wire.SetSequence(raw, uint32(i+1))
			if _, err := r.conn.Write(raw); err != nil {
				r.t.Error(err)
			}
			time.Sleep(gap)
		}
	})
	for range n {
		if f := r.read(); f.Command != wire.DeliverSM.Response() || f.Status != wire.StatusOK {
			r.t.Fatalf("%+v", f)
		}
		<-free
	}
	took := time.Since(began)
	writing.Wait()
	return took
}

// said is what the registry was asked to store, and when each statement began.
func (r *receiver) said() (batches []int, at []time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.batches), slices.Clone(r.at)
}

func TestAReceiptWaitsForCompanyOnlyWhileItComes(t *testing.T) {
	for name, c := range map[string]struct {
		n       int
		gap     time.Duration
		batches []int
		at      time.Duration // of the first statement
	}{
		"alone":                   {1, 0, []int{1}, receiptQuiet},
		"with what comes after":   {3, 2 * time.Millisecond, []int{3}, 4*time.Millisecond + receiptQuiet},
		"until there are enough":  {smallBatch, 2 * time.Millisecond, []int{smallBatch}, (smallBatch - 1) * 2 * time.Millisecond},
		"and not longer than may": {6, 9 * time.Millisecond, []int{6}, receiptWait},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newReceiver(t)
				began := time.Now()
				r.send(c.n, c.n, c.gap)
				batches, at := r.said()
				if first := at[0].Sub(began); !slices.Equal(batches, c.batches) || first != c.at {
					t.Errorf("batches %v, the first after %s; want %v after %s", batches, first, c.batches, c.at)
				}
			})
		})
	}
}

// An operator may leave one receipt unanswered, or a few, and write the next
// when it has our answer: then nobody comes to those that wait, and all the
// operator's receipts together would come at the pace of our waiting.
func TestAnOperatorThatWaitsForOurAnswersIsNotKeptWaiting(t *testing.T) {
	for _, window := range []int{1, 2, 4} {
		synctest.Test(t, func(t *testing.T) {
			const receipts = 400
			took := newReceiver(t).send(receipts, window, 0)
			if pace := receipts / took.Seconds(); pace < 300*float64(window) {
				t.Errorf("%d unanswered at a time: %.0f receipts/s", window, pace)
			}
		})
	}
}

// One receipt that stays alone says little about those after it.
func TestReceiptsThatComeOneAfterTheOtherAreStoredTogetherAfterALoneOne(t *testing.T) {
	for gap, singly := range map[time.Duration]int{
		statement / 2: 1,                                   // some come while the first is stored
		statement * 2: int(receiptTrust/(statement*2)) + 1, // none do
	} {
		synctest.Test(t, func(t *testing.T) {
			r := newReceiver(t)
			r.send(1, 1, 0)
			const receipts = 400
			r.send(receipts, receipts, gap)
			batches, _ := r.said()
			if n, most := len(batches)-1, singly+receipts/smallBatch; n > most {
				t.Errorf("one each %s: %d statements for %d receipts, want at most %d", gap, n, receipts, most)
			}
		})
	}
}

// What there is no room for is not acknowledged: the operator sends it again.
func TestWhatFindsNoRoomIsToBeSentAgain(t *testing.T) {
	l := assemble(t, Config{Profile: testProfile("operator:2775", 10)}).bridge.links[0]
	s := newSession(nil, nil, 1, sessionConfig{now: time.Now})
	n := 0
	deliver := func(esm byte, text string) (answered []byte) {
		t.Helper()
		n++ // each from another number: nobody is limited
		m := wire.Message{Command: wire.DeliverSM, ESMClass: esm, Source: wire.Address{Addr: fmt.Sprintf("9989%08d", n)}, ShortMessage: []byte(text)}
		raw, err := m.Encode()
		if err != nil {
			t.Fatal(err)
		}
		s.control = nil
		l.deliver(s, wire.Frame{Command: wire.DeliverSM, Raw: raw})
		return s.control
	}
	fill := func(room int, esm byte, text string) {
		t.Helper()
		for range room { // the bridge does not run: nothing is stored
			if answered := deliver(esm, text); answered != nil {
				t.Fatalf("answered with %x before it is stored", answered)
			}
		}
	}
	refused := func(what string, answered []byte) {
		t.Helper()
		if want := wire.AppendCString(nil, wire.DeliverSM.Response(), wire.StatusTemporary, 0, ""); !bytes.Equal(answered, want) {
			t.Errorf("%s is answered with %x, want %x", what, answered, want)
		}
	}
	const receipt = "id:1 stat:DELIVRD err:000"
	fill(receiptQueue, esmReceipt, receipt)
	refused("a receipt", deliver(esmReceipt, receipt))
	fill(asideQueue, 0, "stop")
	refused("an inbound message", deliver(0, "stop"))
	refused("a receipt that cannot be read", deliver(esmReceipt, "?"))
}

// An intermediate notification says nothing final: it is acknowledged and is
// neither a receipt nor what a subscriber wrote.
func TestAnIntermediateNotificationIsOnlyAcknowledged(t *testing.T) {
	o := newOperatorEnd(t, nil)
	m := wire.Message{ESMClass: esmIntermediate, Source: subscriber, ShortMessage: []byte("id:1 stat:ENROUTE err:000")}
	if status := o.deliver(m); status != wire.StatusOK {
		t.Errorf("answered with %s", status)
	}
	if n := len(o.store.receipts) + len(o.store.inbound) + len(o.store.unread); n != 0 {
		t.Errorf("%d stored", n)
	}
}
