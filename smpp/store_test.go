package smpp

import (
	"bytes"
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"mobileid/internal/mobileid"
)

// memoryStore is a registry in memory: it keeps the rules that the Store
// interface promises, so that the bridge can be looked at alone.
type memoryStore struct {
	mu       sync.Mutex
	changed  chan struct{}
	bridges  map[int64]time.Time // lease end
	next     int64
	rows     map[mobileid.ID]*row
	receipts []mobileid.Receipt
	inbound  []mobileid.InboundMessage
	unread   []mobileid.UnreadReceipt
	outcomes []mobileid.Outcome
	parts    map[partKey]mobileid.PartOutcome
	account  string // of the last Settle
	admits   [][]mobileid.AdmitItem
	closed   []int64
	calls    []mobileid.ChargeCall // due
	known    map[mobileid.ID]mobileid.ChargeState

	// Hooks of a test; they run before the statement, outside the lock.
	onAdmit    func(items []mobileid.AdmitItem) error
	onAdmitted func() error // after the statement has committed
	// onPart may end Admit behind the first n items: those are stored, the error is
	// about the others.
	onPart     func() (n int, err error)
	onSettle   func([]mobileid.Outcome) error
	onReceipts func([]mobileid.Receipt) error
	onAside    func() error // inbound and unread
	onRenew    func() error
}

// partKey names a submit_sm.
type partKey struct {
	id       mobileid.ID
	part     int
	link     string
	sequence uint32
}

type row struct {
	admission mobileid.Admission
	state     mobileid.MessageState
	reason    string
	owner     int64
	refuse    bool // the fence is gone
	retryAt   time.Time
}

func newStore() *memoryStore {
	return &memoryStore{
		changed: make(chan struct{}), bridges: map[int64]time.Time{}, rows: map[mobileid.ID]*row{},
		parts: map[partKey]mobileid.PartOutcome{}, known: map[mobileid.ID]mobileid.ChargeState{},
	}
}

// touch wakes who waits. The caller holds mu.
func (m *memoryStore) touch() { close(m.changed); m.changed = make(chan struct{}) }

// until waits for a condition that is looked at under the lock.
func (m *memoryStore) until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.NewTimer(20 * time.Second)
	defer deadline.Stop()
	for {
		m.mu.Lock()
		done, changed := ok(), m.changed
		m.mu.Unlock()
		if done {
			return
		}
		select {
		case <-changed:
		case <-deadline.C:
			t.Fatalf("waited too long for: %s", what)
		}
	}
}

func (m *memoryStore) state(id mobileid.ID) mobileid.MessageState { return m.rows[id].state }

func (m *memoryStore) is(id mobileid.ID, s mobileid.MessageState) func() bool {
	return func() bool { return m.state(id) == s }
}

func (m *memoryStore) OpenBridge(_ context.Context, _, _ string, lease time.Duration) (int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.next++
	m.bridges[m.next] = time.Now().Add(lease)
	m.touch()
	return m.next, nil
}

func ended() error {
	return &mobileid.Error{Kind: mobileid.KindConflict, Code: "bridge_ended", Message: "the lease has ended"}
}

func (m *memoryStore) RenewBridge(_ context.Context, id int64, lease time.Duration) error {
	if m.onRenew != nil {
		if err := m.onRenew(); err != nil {
			return err
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if !time.Now().Before(m.bridges[id]) {
		return ended()
	}
	m.bridges[id] = time.Now().Add(lease)
	return nil
}

func (m *memoryStore) CloseBridge(_ context.Context, id int64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.bridges[id] = time.Time{}
	m.closed = append(m.closed, id)
	m.touch()
	return nil
}

func (m *memoryStore) Admit(_ context.Context, bridge int64, items []mobileid.AdmitItem) ([]mobileid.Admission, error) {
	var about error
	if m.onPart != nil {
		var n int
		if n, about = m.onPart(); about != nil {
			items = items[:n]
		}
	}
	if m.onAdmit != nil {
		if err := m.onAdmit(items); err != nil {
			return nil, err
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	defer m.touch()
	if !time.Now().Before(m.bridges[bridge]) {
		return nil, ended()
	}
	m.admits = append(m.admits, slices.Clone(items))
	var out []mobileid.Admission
	for _, it := range items {
		r := m.rows[it.ID]
		if r == nil {
			out = append(out, mobileid.Admission{ID: it.ID, Verdict: mobileid.VerdictUnknown})
			continue
		}
		a := r.admission
		again := r.state == mobileid.MessageInDoubt && !r.admission.Resend && a.Lane == mobileid.LaneOTP
		switch {
		case r.state == mobileid.MessageQueued, r.state == mobileid.MessageRetry && !r.retryAt.After(time.Now()), again:
			switch {
			case r.refuse:
				a.Verdict, r.state = mobileid.VerdictRefused, mobileid.MessageFenced
			case !time.Now().Before(a.Deadline):
				a.Verdict, r.state = mobileid.VerdictRefused, mobileid.MessageExpired
			default:
				a.Verdict, r.state, r.owner = mobileid.VerdictMine, mobileid.MessageAdmitted, bridge
				if again {
					r.admission.Resend, a.Resend = true, true
				}
			}
		default:
			a.Verdict = mobileid.VerdictDrop
		}
		a.State = r.state
		out = append(out, a)
	}
	if m.onAdmitted != nil {
		if err := m.onAdmitted(); err != nil {
			return nil, err
		}
	}
	return out, about
}

func (m *memoryStore) DueRetries(_ context.Context, _ string, limit int) ([]mobileid.AdmitItem, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []mobileid.AdmitItem
	for id, r := range m.rows {
		due := r.state == mobileid.MessageRetry && !r.retryAt.After(time.Now())
		doubt := r.state == mobileid.MessageInDoubt && r.admission.Lane == mobileid.LaneOTP && !r.admission.Resend
		if due || doubt {
			out = append(out, mobileid.AdmitItem{ID: id, Lane: r.admission.Lane})
		}
	}
	slices.SortFunc(out, func(a, b mobileid.AdmitItem) int {
		if a.Lane != b.Lane {
			return strings.Compare(string(b.Lane), string(a.Lane)) // otp, bulk
		}
		return cmp.Or(m.rows[a.ID].retryAt.Compare(m.rows[b.ID].retryAt), bytes.Compare(a.ID[:], b.ID[:]))
	})
	return out[:min(limit, len(out))], nil
}

func (m *memoryStore) Settle(_ context.Context, bridge int64, account string, outcomes []mobileid.Outcome) error {
	if m.onSettle != nil {
		if err := m.onSettle(outcomes); err != nil {
			return err
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	defer m.touch()
	m.account = account
	moved, brought := map[mobileid.ID]bool{}, map[partKey]bool{}
	for _, o := range outcomes {
		m.outcomes = append(m.outcomes, o)
		m.keep(&o, brought)
		r := m.rows[o.ID]
		answered := o.State == mobileid.MessageSent || o.State == mobileid.MessageRejected
		later := o.State == mobileid.MessageRetry || o.State == mobileid.MessageExpired
		switch {
		case r.owner != bridge, moved[o.ID], o.Late && r.admission.Resend && !(r.state == mobileid.MessageInDoubt && answered):
			r.admission.Taken |= o.Taken()
		case r.state == mobileid.MessageAdmitted:
			r.state, r.reason, r.retryAt = o.State, o.Reason, o.RetryAt
			r.admission.Taken |= o.Taken()
			if o.Tried {
				r.admission.Tries++
			}
		case r.state == mobileid.MessageInDoubt && (answered || o.Late && later || !o.Late && r.reason == mobileid.ReasonOwnerLost && o.State == mobileid.MessageRetry):
			r.state, r.reason, r.retryAt = o.State, o.Reason, o.RetryAt
			r.admission.Taken |= o.Taken()
			if o.Tried {
				r.admission.Tries++
			}
		}
		moved[o.ID] = true
	}
	return nil
}

// keep stores the parts of an outcome; of two of one submit_sm in a statement
// the first counts.
func (m *memoryStore) keep(o *mobileid.Outcome, brought map[partKey]bool) {
	for _, p := range o.Parts {
		k := partKey{o.ID, p.Part, p.Link, p.Sequence}
		had, is := m.parts[k]
		if !brought[k] && (!is || had.OperatorID == "" && had.AnsweredAt.IsZero()) {
			m.parts[k] = p
		}
		brought[k] = true
	}
}

func (m *memoryStore) StoreReceipts(_ context.Context, receipts []mobileid.Receipt) (int, error) {
	if m.onReceipts != nil {
		if err := m.onReceipts(receipts); err != nil {
			return 0, err
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.receipts = append(m.receipts, receipts...)
	m.touch()
	known := map[string]bool{}
	for _, p := range m.parts {
		known[p.OperatorID] = true
	}
	matched := 0
	for i := range receipts {
		if known[receipts[i].OperatorID] {
			matched++
		}
	}
	return matched, nil
}

func (m *memoryStore) StoreInbound(_ context.Context, messages []mobileid.InboundMessage) error {
	if m.onAside != nil {
		if err := m.onAside(); err != nil {
			return err
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.inbound = append(m.inbound, messages...)
	m.touch()
	return nil
}

func (m *memoryStore) KeepUnread(_ context.Context, receipts []mobileid.UnreadReceipt) error {
	if m.onAside != nil {
		if err := m.onAside(); err != nil {
			return err
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.unread = append(m.unread, receipts...)
	m.touch()
	return nil
}

// ChargeCalls gives each call once; a test that wants it to come again puts it back.
func (m *memoryStore) ChargeCalls(_ context.Context, _ string, limit int) ([]mobileid.ChargeCall, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := min(limit, len(m.calls))
	out := slices.Clone(m.calls[:n])
	m.calls = m.calls[n:]
	return out, nil
}

func (m *memoryStore) ChargeTold(_ context.Context, c mobileid.ChargeCall, known mobileid.ChargeState) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.known[c.ID] = known
	m.touch()
	return nil
}
