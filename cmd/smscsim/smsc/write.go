package smsc

import (
	"time"

	"mobileid/smpp/wire"
)

const (
	writeTimeout = 10 * time.Second       // ends a session whose peer does not read
	maxQueued    = 16 << 20               // bytes that wait for a session's writer
	mergeFor     = 100 * time.Millisecond // how long merged PDUs wait for company, unless the fault says
)

func (x *session) send(pdu []byte) { x.enqueue(pdu, false) }

// sendLast ends the session behind the PDU.
func (x *session) sendLast(pdu []byte) { x.enqueue(pdu, true) }

func (x *session) enqueue(pdu []byte, last bool) {
	x.mu.Lock()
	x.queue = append(x.queue, pdu...)
	x.queued++
	x.last = x.last || last
	full := len(x.queue) > maxQueued
	x.mu.Unlock()
	if full {
		x.end()
	}
	x.poke()
}

// request sends a request of ours with its own sequence number, which before,
// if any, is told ahead of the write; d, if any, is remembered until it is
// answered. False when the session has ended.
func (x *session) request(pdu []byte, d *delivery, before func(sequence uint32)) bool {
	x.mu.Lock()
	if x.ended || x.unacked == nil {
		x.mu.Unlock()
		return false
	}
	x.nextSeq = x.nextSeq%wire.MaxSequence + 1
	seq := x.nextSeq
	wire.SetSequence(pdu, seq)
	if d != nil {
		x.unacked[seq] = d
	}
	if before != nil {
		before(seq)
	}
	x.queue = append(x.queue, pdu...)
	x.queued++
	x.mu.Unlock()
	x.poke()
	return true
}

func (x *session) poke() {
	select {
	case x.wake <- struct{}{}:
	default:
	}
}

func (x *session) write() {
	var buf []byte
	for {
		select {
		case <-x.wake:
		case <-x.dead:
			return
		}
		if f, ok := x.server.inForce(FaultMerge); ok {
			x.gather(f)
		}
		x.stall.waitHalfOpen(x.dead)
		x.mu.Lock()
		buf, x.queue, x.queued = x.queue, buf[:0], 0
		last := x.last
		x.mu.Unlock()
		if err := x.put(buf); err != nil {
			x.end()
			return
		}
		if last {
			x.end()
			return
		}
	}
}

// gather waits until enough PDUs are queued to go out together.
func (x *session) gather(f Fault) {
	wait := f.Delay
	if wait == 0 {
		wait = mergeFor
	}
	limit := time.NewTimer(wait)
	defer limit.Stop()
	for {
		x.mu.Lock()
		enough := x.queued >= f.N || x.last
		x.mu.Unlock()
		if enough {
			return
		}
		select {
		case <-x.wake:
		case <-limit.C:
			return
		case <-x.dead:
			return
		}
	}
}

func (x *session) put(buf []byte) error {
	if len(buf) == 0 {
		return nil
	}
	f, single := x.server.inForce(FaultByteWrites)
	if !single {
		return x.putOnce(buf)
	}
	for i := range buf {
		if err := x.putOnce(buf[i : i+1]); err != nil {
			return err
		}
		if f.Delay > 0 {
			select {
			case <-time.After(f.Delay):
			case <-x.dead:
			}
		}
	}
	return nil
}

func (x *session) putOnce(buf []byte) error {
	_ = x.conn.SetWriteDeadline(time.Now().Add(writeTimeout))
	_, err := x.conn.Write(buf)
	return err
}
