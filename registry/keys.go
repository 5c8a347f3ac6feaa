package registry

import (
	"bytes"
	"cmp"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"mobileid/internal/mobileid"
)

// request is what decides whether a request is the first of its
// Idempotency-Key. Challenges and notifications share the space of keys.
type request struct {
	id       mobileid.ID
	client   string
	bodyHash string
}

type keyOf struct {
	client string
	part   mobileid.KeyPart
}

func (r request) key() keyOf { return keyOf{r.client, r.id.KeyPart()} }

// keyTaken says which request a key belongs to.
type keyTaken struct {
	id       mobileid.ID
	bodyHash string
}

// contradicts returns the reason why r may have no effect, "" if it may.
func (t keyTaken) contradicts(r request) string {
	switch {
	case t.bodyHash != r.bodyHash:
		return mobileid.ReasonKeyReused
	case t.id != r.id:
		return mobileid.ReasonSecondID
	}
	return ""
}

// queueClaim gives each key to the request that comes first, once and for all,
// and says who has each, in a map that is filled when the batch has been sent.
// Two transactions with the same key wait for each other here, in the order of
// the keys, before they lock anything else. The update changes nothing: it is
// what makes the statement return a key that was there.
func queueClaim(b *pgx.Batch, reqs []request, at time.Time) map[keyOf]keyTaken {
	sorted := slices.SortedFunc(slices.Values(reqs), func(a, b request) int {
		pa, pb := a.id.KeyPart(), b.id.KeyPart()
		return cmp.Or(cmp.Compare(a.client, b.client), bytes.Compare(pa[:], pb[:]), bytes.Compare(a.id[:], b.id[:]))
	})
	sorted = slices.CompactFunc(sorted, func(a, b request) bool { return a.key() == b.key() })
	n := len(sorted)
	clients, parts, ids, hashes := make([]string, n), make([][]byte, n), make([][]byte, n), make([]string, n)
	for i, r := range sorted {
		part := r.id.KeyPart()
		clients[i], parts[i], ids[i], hashes[i] = r.client, part[:], raw(r.id), r.bodyHash
	}
	out := make(map[keyOf]keyTaken, n)
	b.Queue(`
insert into idempotency (client, key_part, request_id, body_hash, created_at)
select client, key_part, id, hash, $5
from unnest($1::text[], $2::bytea[], $3::bytea[], $4::text[]) with ordinality as r(client, key_part, id, hash, ord)
order by ord
on conflict (client, key_part) do update set created_at = idempotency.created_at
returning client, key_part, request_id, body_hash`, clients, parts, ids, hashes, at).
		Query(func(rows pgx.Rows) error {
			var client, hash string
			var part, id []byte
			_, err := pgx.ForEachRow(rows, []any{&client, &part, &id, &hash}, func() error {
				out[keyOf{client, mobileid.KeyPart(part)}] = keyTaken{toID(id), hash}
				return nil
			})
			return err
		})
	return out
}
