package registry_test

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"mobileid/internal/mobileid"
	"mobileid/registry"
)

// TestMoneyIsExactUnderConcurrency gives three accounts money for 777 Messages
// together and lets four bridges admit 1,200 in batches of all sizes, each id
// offered twice: exactly as many are admitted as can be paid.
func TestMoneyIsExactUnderConcurrency(t *testing.T) {
	e := newEnv(t)
	e.tariff()
	var ids []mobileid.ID
	affordable := []int{300, 277, 200}
	var notices []mobileid.NewNotification
	for i, n := range affordable {
		p := e.bind(mobileid.Money(n)*cost + cost/2) // and half a message, which buys none
		for j := range 400 {
			notice := e.notice(p, fmt.Sprintf("%d-%d", i, j))
			notices = append(notices, notice)
			ids = append(ids, notice.Message.ID)
		}
	}
	for chunk := range 4 {
		e.queue(notices[chunk*300 : (chunk+1)*300]...)
	}
	ids = append(ids, ids...)
	rand.Shuffle(len(ids), func(i, j int) { ids[i], ids[j] = ids[j], ids[i] })

	var mine, refused atomic.Int64
	work := make(chan []mobileid.AdmitItem)
	var wg sync.WaitGroup
	for range 4 {
		b := e.bridge()
		wg.Go(func() {
			for items := range work {
				as, err := e.Admit(e.ctx(), b, items)
				if err != nil {
					t.Error(err, cause(err))
				}
				for _, a := range as {
					switch a.Verdict {
					case mobileid.VerdictMine:
						mine.Add(1)
					case mobileid.VerdictRefused:
						refused.Add(1)
					}
				}
			}
		})
	}
	for len(ids) > 0 {
		n := min(1+rand.IntN(90), len(ids))
		var items []mobileid.AdmitItem
		for _, id := range ids[:n] {
			items = append(items, mobileid.AdmitItem{ID: id})
		}
		work <- items
		ids = ids[n:]
	}
	close(work)
	wg.Wait()
	if mine.Load() != 777 || refused.Load() != 1200-777 {
		t.Fatalf("%d admitted, %d refused; want 777 and 423", mine.Load(), refused.Load())
	}
	if have := query[int](e, `select count(*) from charges where state = 'pending'`); have != 777 {
		t.Fatalf("%d charges", have)
	}
	e.wantBalanced()
}

// TestNoDeadlocks runs everything against everything on a few persons with one
// account each, in shuffled batches, and then asks the server how many
// deadlocks it had to break.
func TestNoDeadlocks(t *testing.T) {
	e := newEnv(t)
	e.tariff()
	persons := make([]person, 6)
	for i := range persons {
		persons[i] = e.bind(10_000 * cost)
	}
	bridges := []int64{e.bridge(), e.bridge()}
	store := &codes{epoch: "one", lost: map[mobileid.ID]bool{}}
	var mu sync.Mutex
	var cs []mobileid.NewChallenge
	var ids []mobileid.ID
	some := func(n int) []mobileid.ID {
		mu.Lock()
		defer mu.Unlock()
		var out []mobileid.ID
		for range min(n, len(ids)) {
			out = append(out, ids[len(ids)-1-rand.IntN(min(len(ids), 80))])
		}
		return out
	}
	const rounds = 60
	failed := func(err error) {
		if err == nil {
			return
		}
		switch mobileid.KindOf(err) {
		case mobileid.KindConflict, mobileid.KindNotFound:
		default:
			t.Error(err, cause(err))
		}
	}
	outcomes := func(state mobileid.MessageState) []mobileid.Outcome {
		var os []mobileid.Outcome
		for _, id := range some(20) {
			os = append(os, e.outcome(id, state, mobileid.Pseudonym{}, "op-"+id.String()))
		}
		return os
	}
	jobs := []func(int){
		func(r int) { // issuers, each person twice in a batch in random order
			var batch []mobileid.NewChallenge
			mu.Lock()
			for range 10 {
				e.clk.advance(time.Millisecond)
				c := e.challenge(persons[rand.IntN(len(persons))], fmt.Sprint("k", e.n.Add(1)))
				batch, cs, ids = append(batch, c), append(cs, c), append(ids, c.Message.ID)
			}
			mu.Unlock()
			rand.Shuffle(len(batch), func(i, j int) { batch[i], batch[j] = batch[j], batch[i] })
			_, err := e.IssueChallenges(e.ctx(), batch)
			failed(err)
		},
		func(r int) {
			var items []mobileid.AdmitItem
			for _, id := range some(30) {
				items = append(items, mobileid.AdmitItem{ID: id})
			}
			_, err := e.Admit(e.ctx(), bridges[r%2], items)
			failed(err)
		},
		func(r int) { failed(e.Settle(e.ctx(), bridges[r%2], account, outcomes(mobileid.MessageSent))) },
		func(r int) { failed(e.Settle(e.ctx(), bridges[r%2], account, outcomes(mobileid.MessageRejected))) },
		func(r int) { failed(e.Settle(e.ctx(), bridges[r%2], account, outcomes(mobileid.MessageRetry))) },
		func(r int) {
			var rs []mobileid.Receipt
			for _, id := range some(20) {
				rs = append(rs, e.receipt(mobileid.Pseudonym{}, "op-"+id.String(), []mobileid.MessageState{"delivered", "undeliverable"}[rand.IntN(2)]))
			}
			_, err := e.StoreReceipts(e.ctx(), rs)
			failed(err)
		},
		func(r int) {
			mu.Lock()
			var c mobileid.NewChallenge
			if len(cs) > 0 {
				c = cs[len(cs)-1-rand.IntN(min(len(cs), 6))]
			}
			mu.Unlock()
			_, err := e.confirmCode(c, byte(r))
			failed(err)
			_, err = e.CountWrongTry(e.ctx(), c.Request.ID)
			failed(err)
			failed(e.EndChallenge(e.ctx(), c.Request.ID, mobileid.ChallengeExhausted, "tries"))
		},
		func(r int) {
			s := registry.NewSweeper(e.DB, registry.SweepConfig{Grace: time.Second, Batch: 20, RepublishAfter: time.Millisecond}, &lanes{}, store)
			failed(s.Sweep(e.ctx()))
		},
		func(r int) {
			_, err := registry.NewRelay(e.DB, publisher(func([]mobileid.StatusChanged) error { return nil }), registry.RelayConfig{}).Once(e.ctx())
			failed(err)
		},
		func(r int) {
			failed(e.Credit(e.ctx(), persons[r%len(persons)].binding.Account, "stress", fmt.Sprint(r), 1))
			e.clk.advance(500 * time.Millisecond)
		},
	}
	var wg sync.WaitGroup
	for _, job := range jobs {
		for range 2 {
			wg.Go(func() {
				for r := range rounds {
					job(r)
				}
			})
		}
	}
	wg.Wait()
	e.wantBalanced()
	e.DB.Close() // sessions report their counters when they end
	if have := query[int64](e, `select deadlocks from pg_stat_database where datname = current_database()`); have != 0 {
		t.Fatalf("%d deadlocks", have)
	}
}
