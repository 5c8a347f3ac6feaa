package bench

import (
	"testing"
	"time"
)

// awaitCarried waits until every Message was settled, or has its receipt. It
// asks Postgres only when the operator has everything, because asking costs.
func (s *system) awaitCarried(b *testing.B, row bridgeRow, messages int) {
	b.Helper()
	limit := bridgeLimit + time.Duration(messages)*time.Millisecond
	until(b, "the operator has accepted every Message", limit, func() bool { return s.counts(b).accepted() >= messages })
	open := `select exists (select from messages where state in ('queued', 'admitted', 'retry'))`
	if row.receipts {
		open = `select exists (select from messages where ended_at is null)`
	}
	for end := time.Now().Add(limit); ; time.Sleep(100 * time.Millisecond) {
		var still bool
		must(b, s.sql.QueryRow(b.Context(), open).Scan(&still))
		if !still {
			return
		}
		if time.Now().After(end) {
			b.Fatalf("%s have passed and Messages are open: %d", limit, s.count(b, `select count(*) from messages where ended_at is null`))
		}
	}
}

// checkCarried fails the row when a Message was lost, doubled or not charged
// as it should be.
func (s *system) checkCarried(b *testing.B, row bridgeRow, messages int) {
	b.Helper()
	state, posted := "sent", 0
	if row.receipts {
		state = "delivered"
	}
	if row.charged {
		posted = messages
	}
	if n := s.counts(b).accepted(); n != messages {
		b.Errorf("%d submit_sm were accepted of %d Messages", n, messages)
	}
	if n := s.count(b, `select count(*) from messages where state = '`+state+`'`); n != messages {
		b.Errorf("%d of %d Messages are %s", n, messages, state)
	}
	if n := s.count(b, `select count(*) from messages where charge = 'posted'`); n != posted {
		b.Errorf("%d Charges are posted, want %d", n, posted)
	}
	report, err := s.db.CheckLedger(b.Context())
	if err != nil || !report.Balanced() {
		b.Errorf("ledger: %+v %v", report, err)
	}
	if n := s.count(b, `select deadlocks from pg_stat_database where datname = current_database()`); n > 0 {
		b.Errorf("%d deadlocks", n)
	}
}
