package registry_test

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"mobileid/internal/mobileid"
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
		source := mobileid.RecordRef{} // due again: another statement than what comes from a lane
		if rand.IntN(2) == 0 {
			source.Topic = "lane"
		}
		for _, id := range ids[:n] {
			items = append(items, mobileid.AdmitItem{ID: id, Source: source})
		}
		work <- items
		ids = ids[n:]
	}
	close(work)
	wg.Wait()
	if mine.Load() != 777 || refused.Load() != 1200-777 {
		t.Fatalf("%d admitted, %d refused; want 777 and 423", mine.Load(), refused.Load())
	}
	if have := query[int](e, `select count(*) from transfers where kind = 'pending'`); have != 777 {
		t.Fatalf("%d charges", have)
	}
	e.wantBalanced()
}

// One person, money for 777, and a thousand Messages that two bridges send: 777 are
// paid for, nothing stays reserved.
func TestAThousandRaceForMoneyThatPays777(t *testing.T) {
	e := newEnv(t)
	e.tariff()
	p := e.bind(777*cost + cost - 1)
	var notices []mobileid.NewNotification
	for i := range 1000 {
		notices = append(notices, e.notice(p, fmt.Sprint(i)))
	}
	for len(notices) > 0 {
		n := min(250, len(notices))
		e.queue(notices[:n]...)
		notices = notices[n:]
	}
	ids := query[[][]byte](e, `select array_agg(id order by random()) from messages`)
	var wg sync.WaitGroup
	work := make(chan []mobileid.AdmitItem)
	for range 2 {
		b := e.bridge()
		wg.Go(func() {
			for items := range work {
				as, err := e.Admit(e.ctx(), b, items)
				if err != nil {
					t.Error(err, cause(err))
				}
				var sent []mobileid.Outcome
				for _, a := range as {
					if a.Verdict == mobileid.VerdictMine {
						sent = append(sent, e.outcome(a.ID, mobileid.MessageSent, p.binding.Number, a.ID.String()))
					}
				}
				if len(sent) == 0 {
					continue
				}
				if err := e.Settle(e.ctx(), b, account, sent); err != nil {
					t.Error(err, cause(err))
				}
			}
		})
	}
	for len(ids) > 0 {
		n := min(1+rand.IntN(60), len(ids))
		var items []mobileid.AdmitItem
		for _, id := range ids[:n] {
			items = append(items, mobileid.AdmitItem{ID: mobileid.ID(id), Source: mobileid.RecordRef{Topic: "lane"}})
		}
		work <- items
		ids = ids[n:]
	}
	close(work)
	wg.Wait()
	have := query[string](e, `
select concat_ws(' ', count(*) filter (where charge = 'posted' and state = 'sent'), count(*) filter (where charge is null and state = 'no_funds'),
	count(*), (select pending from accounts where id = $1), (select posted from accounts where id = $1)) from messages`, p.binding.Account)
	if want := fmt.Sprint(777, 223, 1000, 0, int64(777*cost)); have != want {
		t.Errorf("posted, no_funds, all, pending, posted tiyin: %s, want %s", have, want)
	}
	e.wantBalanced()
}
