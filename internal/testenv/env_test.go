package testenv

import (
	"context"
	"errors"
	"net"
	"os"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/redis/go-redis/v9"
	"github.com/segmentio/kafka-go"
)

func TestMain(m *testing.M) { Main(m) }

func createTopic(t *testing.T, brokers []string) error {
	t.Helper()
	client := &kafka.Client{Addr: kafka.TCP(brokers...), Transport: &kafka.Transport{}}
	res, err := client.CreateTopics(t.Context(), &kafka.CreateTopicsRequest{
		Topics: []kafka.TopicConfig{{Topic: "left.behind", NumPartitions: 2, ReplicationFactor: 1}},
	})
	if err != nil {
		return err
	}
	return res.Errors["left.behind"]
}

// TestATestNeverMeetsWhatAnotherLeft fails if an engine keeps anything between
// two Envs: the second time the same names are free.
func TestATestNeverMeetsWhatAnotherLeft(t *testing.T) {
	for _, name := range []string{"first", "second"} {
		t.Run(name, func(t *testing.T) {
			e := New(t)
			conn, err := pgx.Connect(t.Context(), e.Postgres())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := conn.Exec(t.Context(), `create table left_behind (n int)`); err != nil {
				t.Error(err)
			}
			// Not closed on purpose: the database is dropped all the same.
			if err := createTopic(t, e.Kafka()); err != nil {
				t.Error(err)
			}
			client := e.Redis()
			if fresh, err := client.SetNX(t.Context(), "left:behind", "1", 0).Result(); err != nil || !fresh {
				t.Errorf("redis is not empty: %v, %v", fresh, err)
			}
			if _, cluster := client.(*redis.ClusterClient); cluster != (e.Set == Real) {
				t.Errorf("client %T on the %s set", client, e.Set)
			}
			if _, err := os.Stat(e.PostgresLog()); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestSetIsTheOneThatWasAskedFor(t *testing.T) {
	want := Set(os.Getenv(Variable))
	if want == "" {
		want = Embedded
	}
	if got := New(t).Set; got != want {
		t.Errorf("set %s, want %s", got, want)
	}
}

func TestProxyCutsAndHealsTheNetwork(t *testing.T) {
	e := New(t)
	p := e.Proxy(e.RedisAddr())
	ping := func() error {
		client := redis.NewClient(&redis.Options{
			Addr: p.Addr(), MaxRetries: -1, DialTimeout: time.Second, ReadTimeout: 200 * time.Millisecond,
		})
		defer func() { _ = client.Close() }()
		return client.Ping(t.Context()).Err()
	}
	if err := ping(); err != nil {
		t.Fatal(err)
	}
	heal := p.Toxic("timeout", "downstream", map[string]any{"timeout": 0})
	var slow net.Error
	if err := ping(); !errors.As(err, &slow) || !slow.Timeout() {
		t.Errorf("half-open: %v", err)
	}
	heal()
	if err := ping(); err != nil {
		t.Errorf("healed: %v", err)
	}
	p.Down()
	if err := ping(); err == nil || errors.Is(err, context.Canceled) {
		t.Errorf("down: %v", err)
	}
	p.Up()
	if err := ping(); err != nil {
		t.Errorf("up again: %v", err)
	}
}
