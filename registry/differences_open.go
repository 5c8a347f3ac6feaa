package registry

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// operatorKind is what open differences are counted by.
type operatorKind struct{ operator, kind string }

// openDifferences tells how many differences are not settled. It sweeps nothing.
func (s *Sweeper) openDifferences(ctx context.Context) (int, error) {
	now := s.db.clock()
	if now.Sub(s.differencesDone) < countEvery && !now.Before(s.differencesDone) {
		return 0, nil
	}
	// What has none any more has no row in what is counted.
	counts := map[operatorKind]int{}
	for of := range s.differences {
		counts[of] = 0
	}
	err := s.db.query(ctx, "count open differences", `
select d.operator, d.kind, count(*) from differences d
where d.id = any(array(select difference_id from differences_open)) group by d.operator, d.kind`, nil, func(r pgx.Rows) error {
		var of operatorKind
		var n int
		err := r.Scan(&of.operator, &of.kind, &n)
		counts[of] = n
		return err
	})
	if err != nil {
		return 0, err
	}
	for of, n := range counts {
		s.db.metrics.differences.WithLabelValues(of.operator, of.kind).Set(float64(n))
	}
	s.differences, s.differencesDone = counts, now
	return 0, nil
}
