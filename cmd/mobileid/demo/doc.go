// Package demo runs the whole system in one process on private engines: a
// PostgreSQL cluster of its own, a Kafka broker and a Redis inside the
// process, a simulated operator and the simulated outside world.
//
// Its promise: nothing but the engines is special. The configuration is
// written to a file and read back like anybody's, the schema and the topics
// are made by the code behind `mobileid migrate` and `mobileid topics`, the
// persons are bound through the real tables, and everything goes over real
// sockets. Without a data folder nothing is left behind, in a database that was
// given neither.
package demo
