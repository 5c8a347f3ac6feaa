package pace

import (
	"container/heap"
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"time"
)

// The simulation runs in virtual time: bridges with a window and a submit loop
// whose timer is a millisecond coarse, against one operator who answers after a
// round trip.

// operator answers the submit_sm that arrives at a time for a destination.
type operator interface {
	answer(at time.Duration, to Destination) Kind
}

// bucket allows limit a second and a burst; what is throttled costs nothing.
type bucket struct {
	limit  func(at time.Duration) float64
	burst  float64
	tokens float64
	last   time.Duration
}

func constant(v float64) func(time.Duration) float64 { return func(time.Duration) float64 { return v } }

func newBucket(limit func(time.Duration) float64, burst float64) *bucket {
	return &bucket{limit: limit, burst: burst, tokens: burst}
}

func (b *bucket) answer(at time.Duration, _ Destination) Kind {
	b.tokens = min(b.tokens+b.limit(at)*(at-b.last).Seconds(), b.burst)
	b.last = at
	if b.tokens < 1 {
		return Throttled
	}
	b.tokens--
	return Taken
}

// quota allows so many in each second of the clock.
type quota struct {
	limit, used int
	second      time.Duration
}

func (q *quota) answer(at time.Duration, _ Destination) Kind {
	if s := at / time.Second; s != q.second {
		q.second, q.used = s, 0
	}
	if q.used >= q.limit {
		return Throttled
	}
	q.used++
	return Taken
}

// every throttles each n-th, whatever the rate.
type every struct{ n, count int }

func (e *every) answer(time.Duration, Destination) Kind {
	if e.count++; e.count%e.n == 0 {
		return Throttled
	}
	return Taken
}

// sometimes throttles that share at random, whatever the rate.
type sometimes struct {
	share  float64
	chance *rand.Rand
}

func (s *sometimes) answer(time.Duration, Destination) Kind {
	if s.chance.Float64() < s.share {
		return Throttled
	}
	return Taken
}

// penalty throttles everything for a while when it had to throttle one.
type penalty struct {
	operator operator
	length   time.Duration
	until    time.Duration
}

func (p *penalty) answer(at time.Duration, to Destination) Kind {
	if at < p.until {
		return Throttled
	}
	k := p.operator.answer(at, to)
	if k != Taken {
		p.until = at + p.length
	}
	return k
}

// chain asks one after the other; the first that refuses decides.
type chain []operator

func (c chain) answer(at time.Duration, to Destination) Kind {
	for _, o := range c {
		if k := o.answer(at, to); k != Taken {
			return k
		}
	}
	return Taken
}

// during asks only between two times.
type during struct {
	from, to time.Duration
	operator operator
}

func (d during) answer(at time.Duration, to Destination) Kind {
	if at < d.from || at >= d.to {
		return Taken
	}
	return d.operator.answer(at, to)
}

// answerFunc makes an operator of a function.
type answerFunc func(at time.Duration, to Destination) Kind

func (f answerFunc) answer(at time.Duration, to Destination) Kind { return f(at, to) }

// validity is how long a message that is put off is worth sending.
const validity = time.Minute

var everybody = numbers(5000)

// message is one of the demand.
type message struct {
	to     Destination
	queued time.Duration
	tries  int
}

// bridge is one process: what it wants to send, its window and its pacer.
type bridge struct {
	pacer  *Pacer
	window int
	// demand are the streams of messages: when the next one comes after at, and
	// for whom. Without any there is always one more.
	demand []func(at time.Duration) (time.Duration, Destination)

	queue    []message
	inFlight int
	idle     bool // the loop waits for a message or a slot

	taken, throttled, full []time.Duration // when answers of each kind came
	written                []time.Duration
	waited                 map[Destination][]time.Duration // from queued to taken
	put                    int                             // how often a message was put off for its destination
	expired                int
	arrival, answer        time.Duration // the last ones: TCP keeps the order
}

// world runs bridges against an operator.
type world struct {
	operator operator
	trip     func(at time.Duration) time.Duration // the round trip
	bridges  []*bridge
	// every second, for leases of shares and for watching
	second func(at time.Duration)

	epoch  time.Time
	now    time.Duration
	events events
	seq    int
	chance *rand.Rand
}

type event struct {
	at  time.Duration
	seq int
	do  func()
}

type events []event

func (e *events) Len() int { return len(*e) }
func (e *events) Less(i, j int) bool {
	a, b := (*e)[i], (*e)[j]
	if a.at != b.at {
		return a.at < b.at
	}
	return a.seq < b.seq
}
func (e *events) Swap(i, j int) { (*e)[i], (*e)[j] = (*e)[j], (*e)[i] }
func (e *events) Push(x any)    { *e = append(*e, x.(event)) }
func (e *events) Pop() any {
	last := (*e)[len(*e)-1]
	*e = (*e)[:len(*e)-1]
	return last
}

func newWorld(o operator, trip time.Duration) *world {
	return &world{operator: o, trip: func(time.Duration) time.Duration { return trip }, epoch: time.Unix(1_800_000_000, 0), chance: rand.New(rand.NewPCG(1, 2))}
}

// join adds a bridge with that ceiling, which always has something to send.
func (w *world) join(ceiling float64, window int) *bridge {
	return w.bridge(Config{Ceiling: ceiling}, window)
}

// bridge adds one of that pace.
func (w *world) bridge(c Config, window int) *bridge {
	b := &bridge{
		pacer: New(w.epoch, c), window: window,
		idle: true, waited: map[Destination][]time.Duration{},
	}
	w.bridges = append(w.bridges, b)
	return b
}

func (w *world) at(d time.Duration, do func()) {
	w.seq++
	heap.Push(&w.events, event{max(d, w.now), w.seq, do})
}

func (w *world) clock() time.Time { return w.epoch.Add(w.now) }

// run runs the world for so long.
func (w *world) run(length time.Duration) {
	for _, b := range w.bridges {
		w.at(0, func() { w.wake(b) })
		for _, next := range b.demand {
			w.arrive(b, next, 0)
		}
	}
	var tick func()
	tick = func() {
		if w.second != nil {
			w.second(w.now)
		}
		w.at(w.now+time.Second, tick)
	}
	w.at(time.Second, tick)
	for w.events.Len() > 0 && w.events[0].at < length {
		e := heap.Pop(&w.events).(event)
		w.now = e.at
		e.do()
	}
	w.now = length
}

func (w *world) arrive(b *bridge, next func(time.Duration) (time.Duration, Destination), after time.Duration) {
	at, to := next(after)
	w.at(at, func() {
		b.queue = append(b.queue, message{to: to, queued: w.now})
		w.wake(b)
		w.arrive(b, next, at)
	})
}

// number names a destination; the pseudonyms of numbers are evenly spread.
func number(n int) (to Destination) {
	r := rand.New(rand.NewPCG(7, uint64(n)))
	binary.LittleEndian.PutUint64(to[:8], r.Uint64())
	binary.LittleEndian.PutUint64(to[8:], r.Uint64())
	return to
}

// numbers makes the first n destinations once.
func numbers(n int) []Destination {
	out := make([]Destination, n)
	for i := range out {
		out[i] = number(i)
	}
	return out
}

// poisson is a stream of so many a second on average, for random ones of to.
func (w *world) poisson(perSecond float64, to []Destination) func(time.Duration) (time.Duration, Destination) {
	r := rand.New(rand.NewPCG(3, uint64(len(to))))
	return func(at time.Duration) (time.Duration, Destination) {
		return at + time.Duration(r.ExpFloat64()/perSecond*float64(time.Second)), to[r.IntN(len(to))]
	}
}

// bursts is a stream of n at once each so often, only in the times that want.
func bursts(n int, each time.Duration, want func(time.Duration) bool) func(time.Duration) (time.Duration, Destination) {
	left, to := n, numbers(n)
	return func(at time.Duration) (time.Duration, Destination) {
		if left == 0 {
			left = n
			for at += each; !want(at); at += each {
			}
		}
		left--
		return at, to[left]
	}
}

func (w *world) wake(b *bridge) {
	if b.idle {
		b.idle = false
		w.loop(b)
	}
}

// loop is the submit loop: a message, a slot, the pace, and only then the
// choice of the message.
func (w *world) loop(b *bridge) {
	for {
		if b.demand == nil && len(b.queue) == 0 {
			b.queue = append(b.queue, message{to: everybody[w.chance.IntN(len(everybody))], queued: w.now})
		}
		if len(b.queue) == 0 || b.inFlight >= b.window {
			b.idle = true
			return
		}
		if wait := b.pacer.Wait(w.clock()); wait > 0 {
			w.at((w.now+wait).Truncate(time.Millisecond)+time.Millisecond, func() { w.loop(b) })
			return
		}
		m := b.queue[0]
		b.queue = b.queue[1:]
		if hold := b.pacer.Held(w.clock(), m.to); hold > 0 {
			w.later(b, m, hold)
			continue
		}
		w.write(b, m)
	}
}

// later puts a message off, as a retry of the registry.
func (w *world) later(b *bridge, m message, hold time.Duration) {
	if w.now+hold-m.queued > validity {
		b.expired++
		return
	}
	b.put++
	w.at(w.now+hold, func() {
		b.queue = append(b.queue, m)
		w.wake(b)
	})
}

func (w *world) write(b *bridge, m message) {
	stamp := b.pacer.Spend(w.clock(), 1)
	b.written = append(b.written, w.now)
	b.inFlight++
	trip := w.trip(w.now)
	b.arrival = max(b.arrival, w.now+trip/2)
	b.answer = max(b.answer, w.now+trip)
	var kind Kind
	w.at(b.arrival, func() { kind = w.operator.answer(w.now, m.to) })
	w.at(b.answer, func() {
		b.inFlight--
		hold := b.pacer.Answer(w.clock(), stamp, m.to, kind)
		switch kind {
		case Taken:
			b.taken = append(b.taken, w.now)
			b.waited[m.to] = append(b.waited[m.to], w.now-m.queued)
		case Throttled:
			b.throttled = append(b.throttled, w.now)
		case QueueFull:
			b.full = append(b.full, w.now)
		}
		switch {
		case kind == Taken:
		case hold > 0:
			w.later(b, m, hold)
		default: // it keeps its place
			m.tries++
			b.queue = slices.Insert(b.queue, 0, m)
		}
		w.wake(b)
	})
}

// between counts the times in [from, to).
func between(times []time.Duration, from, to time.Duration) int {
	i, _ := slices.BinarySearch(times, from)
	j, _ := slices.BinarySearch(times, to)
	return j - i
}

// figures are what one or more bridges got between two times.
type figures struct{ taken, throttled float64 } // a second; share of the answers

func measure(from, to time.Duration, bridges ...*bridge) figures {
	var taken, throttled int
	for _, b := range bridges {
		taken += between(b.taken, from, to)
		throttled += between(b.throttled, from, to)
	}
	return figures{float64(taken) / (to - from).Seconds(), float64(throttled) / float64(max(taken+throttled, 1))}
}

// saw returns the quantile of what was waited, over the destinations that want.
func (b *bridge) saw(q float64, want func(Destination) bool) time.Duration {
	var all []time.Duration
	for to, waits := range b.waited {
		if want(to) {
			all = append(all, waits...)
		}
	}
	slices.Sort(all)
	if len(all) == 0 {
		return 0
	}
	return all[int(q*float64(len(all)-1))]
}
