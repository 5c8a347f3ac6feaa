package smsc

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"sync"
)

// journal is the ground truth: submits in memory, bounded, and as JSON lines.
type journal struct {
	mu      sync.Mutex
	ring    []*stored
	max     int
	total   int
	refused int           // of total, those answered with an error
	changed chan struct{} // closed at the next submit; nil = nobody waits

	file *os.File
	buf  *bufio.Writer
}

func openJournal(limit int, path string) (*journal, error) {
	j := &journal{max: limit}
	if path != "" {
		f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			return nil, fmt.Errorf("log file: %w", err)
		}
		j.file, j.buf = f, bufio.NewWriterSize(f, 1<<20)
	}
	return j, nil
}

func (j *journal) add(m *stored) {
	var line []byte
	if j.buf != nil {
		line, _ = json.Marshal(m.submit())
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.ring) < j.max {
		j.ring = append(j.ring, m)
	} else {
		j.ring[j.total%j.max] = m
	}
	j.total++
	if m.status != 0 {
		j.refused++
	}
	if j.buf != nil {
		_, _ = j.buf.Write(append(line, '\n'))
	}
	if j.changed != nil {
		close(j.changed)
		j.changed = nil
	}
}

// all returns what is kept, oldest first.
func (j *journal) all() []*stored {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.ring) < j.max {
		return append([]*stored(nil), j.ring...)
	}
	at := j.total % j.max
	return append(append([]*stored(nil), j.ring[at:]...), j.ring[:at]...)
}

// count returns how many came in all, and a channel closed at the next.
func (j *journal) count() (int, <-chan struct{}) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.changed == nil {
		j.changed = make(chan struct{})
	}
	return j.total, j.changed
}

// counts returns how many came in all, and how many of these were refused.
func (j *journal) counts() (total, refused int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.total, j.refused
}

func (j *journal) reset() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.ring, j.total, j.refused = nil, 0, 0
}

func (j *journal) flush() {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.buf != nil {
		_ = j.buf.Flush()
	}
}

func (j *journal) close() error {
	j.flush()
	if j.file == nil {
		return nil
	}
	return j.file.Close()
}
