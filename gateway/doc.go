// Package gateway is the HTTP edge: it authenticates a relying party, limits
// it, checks what it asks, gives an id, publishes the request and reads states.
//
// Its promises:
//
//   - 202 is answered only after the request is durable on Kafka (acks=all).
//     A refusal of any kind has published nothing.
//   - One Idempotency-Key is one request: the same key and body give the same
//     id for 24 hours, another body is refused.
//   - Errors become RFC 9457 problems here and nowhere else; a problem never
//     repeats what was sent, so it cannot leak a PINFL or a code.
//   - No path, log line or metric of this package holds personal data.
//
// The Accepter is the part that does not know HTTP. The ingress of outside
// Kafka producers uses the same one, so both doors check the same things.
package gateway
