package registry

import (
	"encoding/hex"
	"time"

	"github.com/jackc/pgx/v5"

	"mobileid/internal/mobileid"
)

// messageOrigin is what a Message row takes from its request.
type messageOrigin struct {
	challenge mobileid.ID // zero for a notification
	clientRef string
	bodyHash  string
	source    mobileid.RecordRef
	price     price
}

// laneItem is what goes on the lane for a Message.
func laneItem(m *mobileid.NewMessage) mobileid.LaneItem {
	return mobileid.LaneItem{ID: m.ID, Operator: m.Operator, Lane: m.Lane, Person: m.Person}
}

const insertMessageSQL = `
with changed as (
	insert into messages (id, client, person, lane, operator, text_id, challenge_id, fence_kind, fence_id, fence_version,
		account_id, tariff_id, amount, deadline, dest, parts, sealed, seal_key, state, client_ref, body_hash, queued_at,
		source_topic, source_partition, source_offset)
	values ($2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, 'queued', $20, $21, $1, $22, $23, $24)
	returning id, challenge_id, client, state, reason, state_version)
insert into outbox (subject, challenge, client, state, reason, version, at)
select id, challenge_id, client, state, reason, state_version, $1 from changed`

// queueMessage queues the insert of a Message that is to be sent, with the
// price that is in force now: a later tariff does not change it.
func queueMessage(b *pgx.Batch, now time.Time, m *mobileid.NewMessage, o messageOrigin) {
	var account *int64
	if m.Account != 0 {
		account = &m.Account
	}
	b.Queue(insertMessageSQL, now, raw(m.ID), m.Client, m.Person[:], m.Lane, m.Operator, m.TextID, raw(o.challenge),
		m.Fence.Kind, m.Fence.ID, m.Fence.Version, account, o.price.tariff, o.price.amount, m.Deadline, m.Dest[:], m.Parts,
		m.Sealed, hex.EncodeToString(m.SealKey[:]), o.clientRef, o.bodyHash,
		o.source.Topic, o.source.Partition, o.source.Offset)
}
