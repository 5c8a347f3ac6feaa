// Package bench measures the whole system on the real engines, as the programs
// that an operator runs: `make bench-e2e`, `make bench-lanes`, `make bench-bridge`.
//
// Its promise: what BENCH.md shows is what this package printed. Every process
// of the measured system is a child of its own; the load comes from a program
// of its own (internal/bench/load); what arrived is read from the log of the
// simulated operator, which knows nothing of the bench. Kannel, where it is
// installed, is measured beside the bridge as two more such processes.
//
// Every request is accounted for at the end of its run: by the registry's row
// of it and by the SMS that the row's Message was sent as. What cannot be
// explained so is printed and fails the bench.
package bench
