package agencies

import (
	"container/list"
	"sync"
	"time"

	"mobileid/internal/mobileid"
)

// cache keeps the last answers, a bounded number of them, each for a bounded
// time. The one that was asked for longest ago makes room.
type cache struct {
	size int
	age  time.Duration

	mu     sync.Mutex
	byNum  map[mobileid.MSISDN]*list.Element
	recent *list.List // of cached, the last used first
}

type cached struct {
	number   mobileid.MSISDN
	operator string
	at       time.Time
}

func newCache(size int, age time.Duration) *cache {
	return &cache{size: size, age: age, byNum: map[mobileid.MSISDN]*list.Element{}, recent: list.New()}
}

func (c *cache) get(m mobileid.MSISDN, now time.Time) (operator string, at time.Time, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.byNum[m]
	if e == nil {
		return "", time.Time{}, false
	}
	v := e.Value.(cached) //nolint:errcheck,forcetypeassert // the list holds nothing else
	if now.Sub(v.at) >= c.age {
		c.recent.Remove(e)
		delete(c.byNum, m)
		return "", time.Time{}, false
	}
	c.recent.MoveToFront(e)
	return v.operator, v.at, true
}

func (c *cache) put(m mobileid.MSISDN, operator string, at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.byNum[m]; e != nil {
		c.recent.Remove(e)
	} else if c.recent.Len() >= c.size {
		last := c.recent.Back()
		delete(c.byNum, last.Value.(cached).number) //nolint:errcheck,forcetypeassert // the list holds nothing else
		c.recent.Remove(last)
	}
	c.byNum[m] = c.recent.PushFront(cached{m, operator, at})
}
