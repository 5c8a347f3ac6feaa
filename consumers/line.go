package consumers

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/segmentio/kafka-go"
)

// A Writer closes a batch after BatchTimeout, answered or not the one before.
// With a broker that takes longer to answer than records are apart, its queue
// fills with batches of one record, a round trip each, and what has queued once
// stays queued at any load that such trips can just carry. So records wait here
// while a call for their partition is out, and go together when it is back: the
// slower the broker, the larger the batches.

// line is the records of one partition that wait for the call that is out.
type line struct {
	mu      sync.Mutex
	out     bool
	waiting []*parcel
}

// parcel is what one attempt has for one partition.
type parcel struct {
	messages []kafka.Message
	places   []int         // in the attempt
	done     chan struct{} // closed when outcomes are known
	outcomes []outcome     // by message
}

// outcome is what became of a record: with err it is not known to be written,
// and unsure says whether it may be written all the same.
type outcome struct {
	err    error
	unsure bool
}

// join adds a parcel; first says that no call is out, so the caller has to send.
func (l *line) join(x *parcel) (first bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waiting = append(l.waiting, x)
	first = !l.out
	l.out = true
	return first
}

// next takes what has waited; none ends the turn of who sends.
func (l *line) next() []*parcel {
	l.mu.Lock()
	defer l.mu.Unlock()
	taken := l.waiting
	l.waiting = nil
	l.out = len(taken) > 0
	return taken
}

// leave removes a parcel that no call has taken: it is surely not written.
func (l *line) leave(x *parcel) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	i := slices.Index(l.waiting, x)
	if i < 0 {
		return false
	}
	l.waiting = slices.Delete(l.waiting, i, i+1)
	return true
}

// lines are those of one topic, by partition as it was when the topic was first
// written to. Partitions that were added since share them, which only makes
// them wait for each other.
type lines struct {
	partitions []int
	of         []line
}

// topicLines returns the lines of a topic. An error means that its partitions
// are not known, so nothing can have been written.
func (p *Publisher) topicLines(ctx context.Context, topic string) (*lines, error) {
	p.mu.Lock()
	known := p.lines[topic]
	p.mu.Unlock()
	if known != nil {
		return known, nil
	}
	partitions, err := partitionsOf(ctx, &kafka.Client{Addr: p.writer.Addr, Transport: p.transport}, topic)
	if err == nil && len(partitions) == 0 {
		err = kafka.UnknownTopicOrPartition
	}
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.lines[topic] == nil { // else another has asked at the same time
		p.lines[topic] = &lines{partitions, make([]line, len(partitions))}
	}
	return p.lines[topic], nil
}

// send gives records to the lines of their partitions and waits for what
// becomes of them, until ctx ends.
func (p *Publisher) send(ctx context.Context, messages []kafka.Message) []outcome {
	outcomes := make([]outcome, len(messages))
	parcels := map[*line]*parcel{}
	for i := range messages {
		topic, err := p.topicLines(ctx, messages[i].Topic)
		if err != nil {
			p.pending.Add(-int64(len(messages)))
			for i := range outcomes {
				outcomes[i] = outcome{err: err}
			}
			return outcomes
		}
		l := &topic.of[p.balancer.Balance(messages[i], topic.partitions...)]
		if parcels[l] == nil {
			parcels[l] = &parcel{done: make(chan struct{})}
		}
		x := parcels[l]
		x.messages, x.places = append(x.messages, messages[i]), append(x.places, i)
	}
	for l, x := range parcels {
		if l.join(x) {
			go p.drive(l)
		}
	}
	for l, x := range parcels {
		for i, o := range p.await(ctx, l, x) {
			outcomes[x.places[i]] = o
		}
	}
	return outcomes
}

// await returns the outcomes of a parcel. When ctx ends before, what no call
// has taken is surely not written.
func (p *Publisher) await(ctx context.Context, l *line, x *parcel) []outcome {
	select {
	case <-x.done:
		return x.outcomes
	case <-ctx.Done():
	}
	left := l.leave(x)
	if left {
		p.pending.Add(-int64(len(x.messages)))
	}
	select {
	case <-x.done: // at the same moment
		return x.outcomes
	default:
		return slices.Repeat([]outcome{{ctx.Err(), !left}}, len(x.messages))
	}
}

// drive has one call out for a line until nothing waits.
func (p *Publisher) drive(l *line) {
	for {
		parcels := l.next()
		if len(parcels) == 0 {
			return
		}
		p.deliver(parcels)
	}
}

// deliver writes parcels in one call. One record over the limit fails its whole
// batch, so then each goes alone.
func (p *Publisher) deliver(parcels []*parcel) {
	var all []kafka.Message
	for _, x := range parcels {
		all = append(all, x.messages...)
	}
	outcomes := p.call(all)
	for _, x := range parcels {
		x.outcomes, outcomes = outcomes[:len(x.messages)], outcomes[len(x.messages):]
		if len(parcels) > 1 && slices.ContainsFunc(x.outcomes, func(o outcome) bool { return tooLarge(o.err) }) {
			p.pending.Add(int64(len(x.messages)))
			p.deliver([]*parcel{x})
			continue
		}
		close(x.done)
	}
}

// callTimeout ends a call that the timeouts of its connection have not ended.
const callTimeout = 3 * produceTimeout

// call is one WriteMessages. Who waits for it may have gone.
func (p *Publisher) call(messages []kafka.Message) []outcome {
	out := make([]outcome, len(messages))
	call := &writeCall{}
	for i := range messages {
		messages[i].WriterData = call
	}
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	err := p.writer.WriteMessages(ctx, messages...)
	var each kafka.WriteErrors
	switch {
	case err == nil:
	case call.placed < len(messages):
		p.pending.Add(-int64(len(messages))) // nothing was enqueued: completed will not be called
		for i := range out {
			out[i].err = err
		}
	case errors.As(err, &each) && len(each) == len(messages):
		for i, e := range each {
			out[i] = outcome{e, e != nil && perhapsWritten(e)}
		}
	default:
		for i := range out {
			out[i] = outcome{err, true}
		}
	}
	return out
}
