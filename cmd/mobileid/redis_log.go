package main

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// redisSays has the log take what go-redis would print past it on standard
// error. It is for the process, so nothing else may have opened Redis before.
func redisSays(log *slog.Logger) { redis.SetLogger(&redisLog{log: log, now: time.Now}) }

// redisQuiet is how long the log takes nothing after a line: while Redis is away
// each dial is one.
const redisQuiet = time.Second

// redisLog writes the lines of go-redis: what happened to a connection, with its
// address and the cause. No key, value or password is in them.
type redisLog struct {
	log *slog.Logger
	now func() time.Time

	mu    sync.Mutex
	again time.Time // when it may speak
	left  int       // lines since it last did
}

// Printf is what redis.SetLogger wants.
func (l *redisLog) Printf(ctx context.Context, format string, v ...any) {
	now := l.now()
	l.mu.Lock()
	if now.Before(l.again) {
		l.left++
		l.mu.Unlock()
		return
	}
	left := l.left
	l.again, l.left = now.Add(redisQuiet), 0
	l.mu.Unlock()
	l.log.WarnContext(ctx, "redis client", "says", fmt.Sprintf(format, v...), "not_told", left)
}
