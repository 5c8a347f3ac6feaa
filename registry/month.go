package registry

import (
	"strings"
	"sync"
	"time"
)

// monthSQL gives statements that name the partitions of one month instead of
// their tables: "{messages}" is messages_2026_11. A statement on a table opens
// every partition and its indexes, and looks for the right one for each row; at
// one Message a batch that is half of what it costs.
//
// The month is in the id, so a batch of new Messages is nearly always of one.
type monthSQL struct {
	mu   sync.Mutex
	made map[monthKey]string
}

type monthKey struct{ sql, month string }

// of returns the statement for the month of a time, UTC.
func (m *monthSQL) of(sql string, at time.Time) string {
	key := monthKey{sql, at.UTC().Format("_2006_01")}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.made == nil {
		m.made = map[monthKey]string{}
	}
	if _, ok := m.made[key]; !ok {
		m.made[key] = strings.NewReplacer(placeholders(key.month)...).Replace(sql)
	}
	return m.made[key]
}

func placeholders(month string) (pairs []string) {
	for _, p := range partitioned {
		pairs = append(pairs, "{"+p.table+"}", p.table+month)
	}
	return pairs
}

// monthOf returns the month that all ids are of; ok is false when they are of
// several.
func monthOf(ids [][]byte) (month time.Time, ok bool) {
	for i, id := range ids {
		at := toID(id).Time().UTC()
		first := time.Date(at.Year(), at.Month(), 1, 0, 0, 0, 0, time.UTC)
		if i > 0 && !first.Equal(month) {
			return month, false
		}
		month = first
	}
	return month, len(ids) > 0
}
