// Package diameter asks an operator's online charging system whether a Message
// may be charged: the client side of Diameter credit control (RFC 8506 over
// RFC 6733) as SMS uses it (3GPP TS 32.299, Ro, with the contents of TS 32.274).
//
// Its promises:
//
//   - A Message has one session, derived from its id, whoever asks and however
//     often. What is sent again is marked so (T flag), with the same Session-Id,
//     CC-Request-Number and End-to-End-Id, and not marked when an error answer
//     says that it was not processed.
//   - Unknown is never a refusal. Only 4012 is "no money", 4010 "denied" and 5030
//     "no such subscriber"; and 5030 is unknown when it answers what was sent
//     again, because servers say so when the session is there already.
//   - A peer that does not answer within Tx, is suspect by the watchdog (RFC
//     3539), or says 3002, 3004 or 3005 leaves the request to the other peer, as
//     far as the failure handling in force and the session allow; no call lasts
//     longer than its context.
//   - An answer that comes after its caller has gone is told once (Config.Late).
//     Another answer to the same request is counted and dropped.
//   - A call starts no goroutine. Those of a Client are one, one more for each peer and
//     two for each connection; Close waits for all of them.
//   - Nothing that a peer sends stops the process or is taken for an answer that it
//     is not. An answer that cannot be read is unknown, and counted.
//
// No number is in a log line, error, metric or Session-Id. The reading of answers
// is this package's own: docs/decisions/017-diameter-in-smpp.md says why.
package diameter
