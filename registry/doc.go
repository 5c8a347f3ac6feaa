// Package registry is the record of truth: the only room that speaks SQL.
//
// Its promise: every change of a challenge, a Message or an account is one
// transaction that leaves them consistent with each other, whatever is
// delivered twice, run in parallel or killed in the middle:
//
//   - one id has one effect, however often its request is delivered;
//   - states move only along the arrows of the vocabulary (CanBecome), and
//     every move writes an outbox row in the same transaction;
//   - a Message is charged at most once, each step of its Charge is a transfer that
//     is never changed, and the sums of the transfers are the balances of the
//     accounts (postings.go; package ledger checks it);
//   - a sealed text is erased in the transaction that makes it useless: when
//     the operator has accepted the Message, or when the Message ends;
//   - no error and no log line carries a value of a row: an error of Postgres
//     is reduced to its SQLSTATE and the name of the constraint (errors.go).
//
// What became of Messages in doubt is read from an operator's file by package
// reconcile and stored by DB.Reconcile as the receipts that never came.
//
// # Lock order
//
// Every transaction takes its row locks in this order of tables, and in
// ascending order of the key within a table. It may leave tables out; it never
// goes back:
//
//	idempotency or receipts_unmatched,
//	bindings, challenges, accounts, messages and the rest
//
// A live_challenges row is touched only by who holds the lock of the challenge
// that it names, or, when there is none yet, of the binding; transfers,
// message_parts and receipts only under the lock of their Message; and a row of
// differences_open is locked after its Message. Statements that change several
// tables at once run after statements that did nothing but lock (locks.go), which
// also gives them a snapshot taken after the locks. Three do not, because they are
// what nearly every Message goes through (freshSQL, sentSQL, deliveredSQL): they
// undo themselves where something came in between.
//
// # Clocks
//
// Deadlines, expiries and prices go by the injected clock. The leases of
// bridges go by the database's clock, because several hosts compare them.
package registry
