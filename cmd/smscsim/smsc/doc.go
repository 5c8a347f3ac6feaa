// Package smsc is a mobile operator's message centre (SMPP 3.4) for tests, the
// demo and benches: a real server over TCP with accounts, binds, answers and
// delivery receipts, whose faults are scripted.
//
// Its promise: what it logged is the ground truth. A submit_sm is in the log
// before its answer is written, with its raw bytes and the time at which it was
// read, and whatever faults were asked for. Receipts behave like an operator's:
// each is sent until it is acknowledged, on any receiving bind of its account,
// also after a reconnect.
//
// It keeps texts and numbers in clear. It is never part of the service.
package smsc
