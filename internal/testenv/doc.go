// Package testenv gives a test its engines: PostgreSQL, Kafka, Redis and a
// proxy that breaks the network between them and us.
//
// Its promise: a test never meets what another test left. Each Env has a fresh
// database, a Kafka without topics and an empty Redis, whatever the set:
//
//   - embedded (the default): a private PostgreSQL shared by the test binary
//     with a database for each Env, and a Kafka and a Redis in this process for
//     each Env. Such tests may run in parallel.
//   - real: the servers of `make services-up`, chosen by
//     MOBILEID_TEST_ENGINES=real. Names of topics are fixed, so tests on this
//     set take turns, over processes too: New waits for its turn.
//     Therefore a test and its subtests share one Env.
//
// A package that uses it has
//
//	func TestMain(m *testing.M) { testenv.Main(m) }
package testenv
