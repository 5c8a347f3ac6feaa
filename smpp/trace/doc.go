// Package trace records the PDUs of SMPP sessions for a ticket to the operator.
//
// Its promises:
//
//   - Who is recorded is never slowed down: what a reader does not take in time
//     is lost to him, and counted.
//   - What leaves the package as a file holds no text, no password, and of a
//     number no digit but its last two. What is not known to be harmless counts
//     as text. Lengths are kept, so that the PDUs decode as they were.
//   - A file says how many records it lacks.
package trace
