// Package profile is how one mobile operator wants to be spoken to: hosts,
// binds, windows, pace, senders, alphabet, forms of ids and times, and what its
// statuses and receipts mean.
//
// Its promise: a Profile that Check finds nothing wrong with can be carried
// out. Everything here is a value or a pure rule; where profiles are written
// and how secrets reach them is the business of the program that reads them.
package profile
