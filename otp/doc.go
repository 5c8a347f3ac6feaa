// Package otp issues and verifies one-time codes, and keeps the live ones in
// Redis.
//
// Its promise: a code is never stored, only an HMAC-SHA256 of it under a key
// that Redis does not hold, and no PINFL or number ever reaches Redis. Every
// comparison is paid for before it is made: the try is counted in Redis, in
// one atomic step, and only then does this process compare, in constant time.
// So no number of parallel guesses gets more tries than the challenge has. A
// right code does not spend the try that it took: whoever could not be
// answered may ask again, and the one effect of a code is the registry's
// Confirmation, not this package's business.
//
// Which code is live is decided by the challenge's row, not here: Issue may run
// twice for one challenge and leave two codes, each under its own nonce, and
// the nonce in the row picks one. Redis is allowed to forget; then Verify says
// CodeLost instead of guessing.
//
// Every key holds one hash tag and every script touches one key, so Redis
// Cluster works unchanged.
package otp
