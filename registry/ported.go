package registry

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"mobileid/internal/mobileid"
)

// portedChunk bounds the rows of one statement.
const portedChunk = 5000

// ImportPorted stores moves of numbers, all of them or none, and returns how
// many were new. (source, seq) names a move at who told us: told again, nothing
// changes; told again with another number, operator or time is KindConflict,
// code "ported_differs", and names the first of them. Of moves of one number
// and time the last one counts, by the order given and then by that of the
// imports.
func (db *DB) ImportPorted(ctx context.Context, moves []mobileid.Ported) (added int, err error) {
	err = db.inTx(ctx, "import ported", func(tx pgx.Tx) error {
		// One import at a time: two that share moves would wait for each other.
		if _, err := tx.Exec(ctx, `lock table ported_numbers in share row exclusive mode`); err != nil {
			return err
		}
		for len(moves) > 0 {
			chunk := moves[:min(portedChunk, len(moves))]
			moves = moves[len(chunk):]
			n, err := db.importPorted(ctx, tx, chunk)
			if err != nil {
				return err
			}
			added += n
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	return added, nil
}

func (db *DB) importPorted(ctx context.Context, tx pgx.Tx, chunk []mobileid.Ported) (int, error) {
	numbers, operators, from := make([][]byte, len(chunk)), make([]string, len(chunk)), make([]time.Time, len(chunk))
	sources, seqs := make([]string, len(chunk)), make([]string, len(chunk))
	for i := range chunk {
		numbers[i], operators[i], from[i] = chunk[i].Number[:], chunk[i].Operator, chunk[i].From
		sources[i], seqs[i] = chunk[i].Source, chunk[i].Seq
	}
	tag, err := tx.Exec(ctx, `
insert into ported_numbers (number, operator, valid_from, source, seq, imported_at)
select m.number, m.operator, m.at, m.source, m.seq, $6
from unnest($1::bytea[], $2::text[], $3::timestamptz[], $4::text[], $5::text[])
	with ordinality m(number, operator, at, source, seq, n)
order by m.n
on conflict (source, seq) do nothing`, numbers, operators, from, sources, seqs, db.clock())
	if err != nil {
		return 0, err
	}
	var source, seq string
	err = tx.QueryRow(ctx, `
select m.source, m.seq
from unnest($1::bytea[], $2::text[], $3::timestamptz[], $4::text[], $5::text[])
	with ordinality m(number, operator, at, source, seq, n)
join ported_numbers p on p.source = m.source and p.seq = m.seq
where (p.number, p.operator, p.valid_from) <> (m.number, m.operator, m.at)
order by m.n limit 1`, numbers, operators, from, sources, seqs).Scan(&source, &seq)
	switch {
	case err == nil:
		return 0, conflict("ported_differs", fmt.Sprintf(
			"source %s has told its move %s before, with another number, operator or time: nothing was stored", source, seq))
	case !errors.Is(err, pgx.ErrNoRows):
		return 0, err
	}
	return int(tag.RowsAffected()), nil
}

// Ported returns the moves of a number in the order in which they were told,
// none if it never moved.
func (db *DB) Ported(ctx context.Context, number mobileid.Pseudonym) (moves []mobileid.Ported, err error) {
	err = db.query(ctx, "ported", `
select operator, valid_from, source, seq from ported_numbers where number = $1 order by id`, []any{number[:]},
		func(r pgx.Rows) error {
			m := mobileid.Ported{Number: number}
			err := r.Scan(&m.Operator, &m.From, &m.Source, &m.Seq)
			moves = append(moves, m)
			return err
		})
	return moves, err
}
