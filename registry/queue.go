package registry

import (
	"encoding/hex"
	"maps"
	"slices"
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
}

// laneItem is what goes on the lane for a Message.
func laneItem(m *mobileid.NewMessage) mobileid.LaneItem {
	return mobileid.LaneItem{ID: m.ID, Operator: m.Operator, Lane: m.Lane, Person: m.Person}
}

// changedByQueueingSQL is the CTE changed that inserts a Message to be sent,
// with the price in force now: a later tariff does not change it. An operator
// without a tariff costs nothing. $1 is the time, $2 to $25 are messageArgs. The
// kind is mobileid.TextKind of the text's id; no amount is too large for a bigint
// (ledger.MaxPrice).
var changedByQueueingSQL = `
price as (
	select id, case unit when 'part' then amount * $15::smallint else amount end as amount, case unit when 'part' then $15::smallint else 1 end as units
	from (` + tariffInForceSQL("$6", "split_part($7, '.', 1)", "$1") + `) tariff
), changed as (
	insert into messages (id, client, person, lane, operator, text_id, challenge_id, fence_kind, fence_id, fence_version,
		account_id, tariff_id, amount, deadline, dest, parts, sealed, seal_key, state, client_ref, body_hash, queued_at,
		source_topic, source_partition, source_offset, charging, one_send, units)
	values ($2, $3, $4, $5, $6, $7, $8, $9, $10, $11,
		coalesce($12, (select id from accounts where owner = $23)), (select id from price), coalesce((select amount from price), 0), $13, $14, $15, $16, $17, 'queued', $18, $19, $1,
		$20, $21, $22, $24, $25, coalesce((select units from price), 1))
	returning id, challenge_id, client, state, reason, state_version
)`

var insertMessageSQL = `
with ` + changedByQueueingSQL + `
insert into outbox (subject, challenge, client, state, reason, version, at)
select id, challenge_id, client, state, reason, state_version, $1 from changed`

// messageArgs are the parameters of changedByQueueingSQL.
func messageArgs(now time.Time, m *mobileid.NewMessage, o messageOrigin) []any {
	var account *int64
	if m.Payer == "" && m.Account != 0 {
		account = &m.Account
	}
	charging := m.Charging
	switch {
	case m.Payer != "":
		charging = mobileid.ChargingPayer
	case charging == "":
		charging = mobileid.ChargingLedger
	}
	return []any{
		now, raw(m.ID), m.Client, m.Person[:], m.Lane, m.Operator, m.TextID, raw(o.challenge),
		m.Fence.Kind, m.Fence.ID, m.Fence.Version, account, m.Deadline, m.Dest[:], m.Parts,
		m.Sealed, hex.EncodeToString(m.SealKey[:]), o.clientRef, o.bodyHash,
		o.source.Topic, o.source.Partition, o.source.Offset, payingAccount(m), charging, m.OneSend,
	}
}

// payingAccount is the owner of the account that pays for a Message which does not
// name it: one of the system's, or that of the number at the operator.
func payingAccount(m *mobileid.NewMessage) string {
	if m.Payer != "" {
		return "payer:" + m.Payer
	}
	return subscriberAccount(m.Dest, m.Operator)
}

// queueAccounts makes the accounts that Messages do not name, where they are
// missing. makeAccountSQL locks the binding of a number that gets one, and goes by
// owner: so all such bindings are locked before, in their order.
func queueAccounts(b *pgx.Batch, messages []*mobileid.NewMessage) {
	owners := map[string]*mobileid.NewMessage{}
	var numbers [][]byte
	var operators []string
	for _, m := range messages {
		if m == nil || m.Payer == "" && m.Account != 0 {
			continue
		}
		owners[payingAccount(m)] = m
		if m.Payer == "" {
			numbers, operators = append(numbers, m.Dest[:]), append(operators, m.Operator)
		}
	}
	if len(numbers) > 0 {
		b.Queue(`
select from bindings where state = 'active' and number in (
	select m.number from unnest($1::bytea[], $2::text[]) m(number, operator)
	where not exists (select from accounts a where a.number = m.number and a.operator = m.operator))
order by id for share`, numbers, operators)
	}
	for _, owner := range slices.Sorted(maps.Keys(owners)) {
		if m := owners[owner]; m.Payer == "" {
			b.Queue(makeAccountSQL, m.Dest[:], m.Operator, owner)
			continue
		}
		b.Queue(`
insert into accounts (owner, kept) select $1, false where not exists (select from accounts where owner = $1)
on conflict (owner) do nothing`, owner)
	}
}
