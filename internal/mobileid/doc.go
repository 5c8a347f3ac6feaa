// Package mobileid is the vocabulary of the system: the words every room
// shares, and nothing that does I/O.
//
// Its promise: a personal value (PINFL, MSISDN, Code, Text) prints masked
// through fmt, slog and encoding/json whatever the verb, so that a careless
// log line cannot leak it; the clear value is reachable only through a method
// named Reveal, which is easy to find in a review.
//
// The package imports the standard library only.
package mobileid
