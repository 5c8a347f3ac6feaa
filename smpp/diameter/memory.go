package diameter

import "sync"

// remembered is how many sessions a Client remembers. Of more the oldest are
// forgotten: such a Message is settled with the first peer that is there, and
// what is sent of it again is not marked as such.
const remembered = 1 << 17

// session is what is known of a Message's session.
type session struct {
	peer    *peer // that answered the reservation; nil: not known
	moves   bool  // it may go on with the other peer
	settled bool  // nothing more is due
	debited bool  // a yes to the debit was heard
	sent    [kinds]sent
	refunds map[int]*sent // by their steps
}

// of returns what is known of a request of the session.
func (s *session) of(k kind, step int) *sent {
	if k != refund {
		return &s.sent[k]
	}
	was, ok := s.refunds[step]
	if !ok {
		was = &sent{}
		if s.refunds == nil {
			s.refunds = map[int]*sent{}
		}
		s.refunds[step] = was
	}
	return was
}

// sent is a request that was made in a session.
type sent struct {
	endToEnd uint32
	units    int  // of what is open: a replay says the same, whatever is asked then
	open     bool // written, and not known to be unprocessed: sent again, it gets the T flag
}

// memory keeps sessions by the id of their Message.
type memory struct {
	mu    sync.Mutex
	of    map[string]*session
	order []string // a ring
	next  int
}

func newMemory() *memory { return &memory{of: map[string]*session{}} }

// with gives f the session of a Message, under the lock.
func (m *memory) with(id string, f func(*session)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s, ok := m.of[id]
	if !ok {
		s = &session{}
		m.of[id] = s
		if len(m.order) < remembered {
			m.order = append(m.order, id)
		} else {
			delete(m.of, m.order[m.next])
			m.order[m.next] = id
			m.next = (m.next + 1) % remembered
		}
	}
	f(s)
}

// look returns what is known.
func (m *memory) look(id string) session {
	m.mu.Lock()
	defer m.mu.Unlock()
	if s, ok := m.of[id]; ok {
		return *s
	}
	return session{}
}
