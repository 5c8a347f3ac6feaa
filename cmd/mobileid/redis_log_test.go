package main

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"

	"mobileid/internal/testenv"
)

func TestTheRedisClientSpeaksThroughTheLogAndNotTooOften(t *testing.T) {
	var out bytes.Buffer
	now := time.Now()
	redis.SetLogger(&redisLog{log: slog.New(slog.NewJSONHandler(&out, nil)), now: func() time.Time { return now }})
	defer logging.Disable()
	client := redis.NewClient(&redis.Options{Addr: testenv.FreeAddr(t), DialerRetries: 1, MaxRetries: -1, PoolSize: 100})
	defer func() { _ = client.Close() }()
	for _, want := range []float64{0, 3} {
		out.Reset()
		for range 4 {
			if client.Ping(t.Context()).Err() == nil {
				t.Fatal("there is a server where none should be")
			}
		}
		var line struct {
			Level, Msg, Says string
			NotTold          float64 `json:"not_told"`
		}
		if err := json.Unmarshal(out.Bytes(), &line); err != nil { // one line
			t.Fatalf("%v: %s", err, out.String())
		}
		if line.Level != "WARN" || line.Msg != "redis client" || !strings.Contains(line.Says, "refused") || line.NotTold != want {
			t.Errorf("%+v, want %v not told", line, want)
		}
		now = now.Add(redisQuiet)
	}
}
