package trace

import (
	"errors"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"mobileid/smpp/wire"
)

// Bounds of what waits for a reader, and how many readers there may be.
const (
	maxWaiting      = 4096
	maxWaitingBytes = 4 << 20
	maxReaders      = 4
)

// Session is one connection that is recorded.
type Session struct {
	Link     string // operator/system_id/bind
	Host     string // as it was dialled
	Us, Peer netip.AddrPort
}

// Direction is who sent a PDU.
type Direction int

// The directions.
const (
	In  Direction = iota // from the operator
	Out                  // ours
)

// Record is one PDU as it was on the wire: not masked. It stays in this
// process; only the writers of this package print it.
type Record struct {
	At        time.Time
	Session   *Session
	Direction Direction
	PDU       []byte
}

// Tap is where sessions show their PDUs. The zero value has no readers.
type Tap struct {
	listening atomic.Int32 // readers: what is asked for each PDU

	mu      sync.Mutex
	readers []*Reader
}

// Reader gets what the tap is shown from now on.
type Reader struct {
	tap     *Tap
	records chan Record
	waiting atomic.Int64 // bytes
	lost    atomic.Int64
}

// ErrBusy says that there are as many readers as there may be.
var ErrBusy = errors.New("as many traces run already as may: 4")

// Listen begins to record.
func (t *Tap) Listen() (*Reader, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.readers) == maxReaders {
		return nil, ErrBusy
	}
	r := &Reader{tap: t, records: make(chan Record, maxWaiting)}
	t.readers = append(t.readers, r)
	t.listening.Store(int32(len(t.readers)))
	return r, nil
}

// Close ends the recording.
func (r *Reader) Close() {
	t := r.tap
	t.mu.Lock()
	defer t.mu.Unlock()
	for i, other := range t.readers {
		if other == r {
			t.readers = append(t.readers[:i:i], t.readers[i+1:]...)
		}
	}
	t.listening.Store(int32(len(t.readers)))
}

// Records is where the records come; Took must be told of each.
func (r *Reader) Records() <-chan Record { return r.records }

// Took makes room for others.
func (r *Reader) Took(rec Record) { r.waiting.Add(-int64(len(rec.PDU))) }

// Lost is how many records found no room.
func (r *Reader) Lost() int64 { return r.lost.Load() }

// Show records whole PDUs, one behind the other. It copies them and does not
// block; without readers it costs one load.
func (t *Tap) Show(s *Session, d Direction, pdus []byte) {
	if t.listening.Load() == 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	at := time.Now() // under the lock: times rise within a file
	for len(pdus) >= wire.HeaderLen {
		n := length(pdus)
		if n < wire.HeaderLen || n > len(pdus) {
			return
		}
		t.record(Record{At: at, Session: s, Direction: d, PDU: append([]byte(nil), pdus[:n]...)})
		pdus = pdus[n:]
	}
}

// ShowStray records the header that ended the framing, as Show does. What stands
// in it may be of anything; see Mask.
func (t *Tap) ShowStray(s *Session, header []byte) {
	if t.listening.Load() == 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.record(Record{At: time.Now(), Session: s, Direction: In, PDU: append([]byte(nil), header...)})
}

// Listening reports whether there are readers.
func (t *Tap) Listening() bool { return t.listening.Load() > 0 }

// record gives a record to all readers. The caller holds mu.
func (t *Tap) record(rec Record) {
	for _, r := range t.readers {
		r.offer(rec)
	}
}

func (r *Reader) offer(rec Record) {
	if r.waiting.Add(int64(len(rec.PDU))) <= maxWaitingBytes {
		select {
		case r.records <- rec:
			return
		default:
		}
	}
	r.Took(rec)
	r.lost.Add(1)
}
