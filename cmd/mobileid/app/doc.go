// Package app wires the rooms into a running program, for `mobileid serve`,
// the demo and the integration tests alike.
//
// Its promise: any part may be stopped, killed or started in any order. New
// opens nothing that can be away; Run waits for what is away and says so, and
// when told to stop it stops what takes work in first and what carries it out
// last, so that nothing accepted is dropped.
package app
