package consumers

import (
	"context"
	"encoding/json"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"mobileid/internal/mobileid"
	"mobileid/internal/sms"
)

// parallel bounds the calls that one batch has in flight to Redis or to the
// edge's accepting.
const parallel = 32

// each runs do for every index with at most parallel at once, and returns the
// error of the lowest index. A panic in one of them is raised again in the
// caller once all have ended: in its own goroutine it would end the process,
// here the runner halves the batch and parks the record that causes it.
func each(n int, do func(i int) error) error { return eachOf(n, parallel, do) }

// eachOf is each with at most width at once.
func eachOf(n, width int, do func(i int) error) error {
	errs := make([]error, n)
	free := make(chan struct{}, max(1, width))
	var wg sync.WaitGroup
	var panicked atomic.Pointer[workerPanic]
	for i := range n {
		free <- struct{}{}
		wg.Go(func() {
			defer func() {
				if p := recover(); p != nil {
					panicked.CompareAndSwap(nil, &workerPanic{value: p, stack: debug.Stack()})
				}
				<-free
			}()
			errs[i] = do(i)
		})
	}
	wg.Wait()
	if p := panicked.Load(); p != nil {
		panic(p)
	}
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// workerPanic carries a panic out of a goroutine with the stack it had there.
type workerPanic struct {
	value any
	stack []byte
}

// composer makes a Message from a rendered text: chooses its operator and who
// pays, seals number and text for the bridge and counts the parts.
type composer struct {
	sealer  Sealer
	texts   Texts
	carrier carrier
}

func (c composer) message(m mobileid.NewMessage, b mobileid.Binding, text mobileid.Text) (*mobileid.NewMessage, error) {
	plain, err := json.Marshal(mobileid.SealedText{To: b.MSISDN.RevealDigits(), Text: text.Reveal()})
	if err == nil {
		m.Sealed, err = c.sealer.Seal(m.ID[:], plain)
	}
	if err != nil {
		return nil, &mobileid.Error{Kind: mobileid.KindInternal, Code: "seal", Message: "the text cannot be sealed", Err: err}
	}
	m.SealKey = c.sealer.KeyID()
	m.Operator = c.carrier.operator(b)
	m.Person, m.Dest, m.Payer = b.Person, b.Number, c.texts.Payer(m.TextID)
	if m.Operator == b.Operator {
		m.Account = b.Account
	}
	o, ok := c.carrier.operators[m.Operator]
	if !ok { // he has no bridge, so nothing is written for him
		o.Parts = sms.Options{}.Count
	}
	m.Parts, m.Charging, m.OneSend = o.Parts(text.Reveal()), o.Charging, o.OneSend && m.Payer == ""
	m.Fence = mobileid.Fence{Kind: "binding", ID: b.ID, Version: b.Version}
	return &m, nil
}

// localeOf is the language of a text: what was asked for, else the person's
// own, else the state language.
func localeOf(asked mobileid.Locale, b mobileid.Binding) mobileid.Locale {
	switch {
	case asked != "":
		return asked
	case b.Locale != "":
		return b.Locale
	}
	return mobileid.LocaleUzLatn
}

// readAllRequests decodes the records of a batch. The ones that do not fit
// their schema are left out; bad is the error of the first of them.
func readAllRequests[T any](recs []*Record, eventType string, clocks skew, of func(T) (id mobileid.ID, person string)) (
	good []request[T], bad error,
) {
	for _, rec := range recs {
		v, err := DecodeValue[T](rec.Event, eventType)
		var p mobileid.Pseudonym
		if err == nil {
			id, person := of(v)
			clocks.see(id)
			if p, err = mobileid.ParsePseudonym(person); err != nil {
				err = mobileid.Invalid("/person", "event_person", "not a pseudonym")
			}
		}
		if err != nil {
			if bad == nil {
				bad = err
			}
			continue
		}
		good = append(good, request[T]{rec: rec, value: v, person: p})
	}
	return good, bad
}

type request[T any] struct {
	rec    *Record
	value  T
	person mobileid.Pseudonym
}

// personsOf lists the persons of a batch, each once.
func personsOf[T any](list []request[T]) []mobileid.Pseudonym {
	seen := map[mobileid.Pseudonym]bool{}
	var out []mobileid.Pseudonym
	for _, r := range list {
		if !seen[r.person] {
			seen[r.person] = true
			out = append(out, r.person)
		}
	}
	return out
}

// publishThenFinish puts the stored Messages on their lanes and completes the
// records. In this order a crash in between costs a repetition, and no Message
// waits for the sweeper. What a lane does not take does: one partition without
// a leader would hold up everybody's codes otherwise.
func publishThenFinish[T any](ctx context.Context, lanes Lanes, items []mobileid.LaneItem, list []request[T]) error {
	if len(items) > 0 {
		if _, err := lanes.PublishLane(ctx, items); err != nil {
			return err
		}
	}
	for _, r := range list {
		r.rec.Done()
	}
	return nil
}

func clock(now func() time.Time) func() time.Time {
	if now == nil {
		return time.Now
	}
	return now
}
