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

type monthKey struct{ sql, month, other string }

// of returns the statement for the month of a time, UTC.
func (m *monthSQL) of(sql string, at time.Time) string { return m.ofTwo(sql, at, at) }

// ofTwo is of for a statement that names partitions of another month as well:
// "{other messages}".
func (m *monthSQL) ofTwo(sql string, at, other time.Time) string {
	const name = "_2006_01"
	key := monthKey{sql, at.UTC().Format(name), other.UTC().Format(name)}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.made == nil {
		m.made = map[monthKey]string{}
	}
	if _, ok := m.made[key]; !ok {
		m.made[key] = strings.NewReplacer(placeholders(key.month, key.other)...).Replace(sql)
	}
	return m.made[key]
}

func placeholders(month, other string) (pairs []string) {
	for _, p := range partitioned {
		pairs = append(pairs, "{"+p.table+"}", p.table+month, "{other "+p.table+"}", p.table+other)
	}
	return pairs
}

// turnOfMonth is how long Messages of a month are told of after its end: they may
// be sent for seven days, as long as their lane keeps them (mobileid.Topics), and
// a receipt is looked for through receiptWindow. The rest is room.
const turnOfMonth = 14 * 24 * time.Hour

// otherMonth returns a time in the other month whose Messages receipts may be of
// now; two is false when there is none. It is the last month or, when another
// host's clock may be in it already, the next one.
func otherMonth(now time.Time) (other time.Time, two bool) {
	for _, other := range [...]time.Time{now.Add(-turnOfMonth), now.Add(clockSkew)} {
		if other.UTC().Month() != now.UTC().Month() {
			return other, true
		}
	}
	return now, false
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
