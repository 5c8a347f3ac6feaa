// Package engines starts private engines inside or beside one process: a
// PostgreSQL cluster, an in-process Kafka broker and an in-process Redis.
//
// Its promise: nothing has to be installed or prepared, nothing listens beyond
// 127.0.0.1, nothing is left behind after Stop when no folder was given, and
// everything acknowledged is still there after kill -9 when one was. The
// engines are for the demo and for tests; production rooms do not import this
// package (docs/decisions/001-internal-engines.md says why it exists beside
// internal/testenv).
package engines
