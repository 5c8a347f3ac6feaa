package engines

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/segmentio/kafka-go"
)

func startKafka(t *testing.T, dir string) *Kafka {
	t.Helper()
	k, err := StartKafka(dir)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func write(ctx context.Context, k *Kafka, value string) error {
	w := &kafka.Writer{
		Addr: kafka.TCP(k.Brokers()...), Topic: "t", RequiredAcks: kafka.RequireAll, BatchSize: 1, MaxAttempts: 1,
	}
	return errors.Join(w.WriteMessages(ctx, kafka.Message{Value: []byte(value)}), w.Close())
}

func createTopic(t *testing.T, k *Kafka) {
	t.Helper()
	client := &kafka.Client{Addr: kafka.TCP(k.Brokers()...)}
	res, err := client.CreateTopics(t.Context(), &kafka.CreateTopicsRequest{
		Topics: []kafka.TopicConfig{{Topic: "t", NumPartitions: 1, ReplicationFactor: 1}},
	})
	if err != nil || res.Errors["t"] != nil {
		t.Fatal(err, res.Errors["t"])
	}
}

func TestKafkaKeepsRecordsInItsFolder(t *testing.T) {
	dir := t.TempDir()
	k := startKafka(t, dir)
	createTopic(t, k)
	if err := write(t.Context(), k, "first"); err != nil {
		t.Fatal(err)
	}
	if _, err := StartKafka(dir); err == nil {
		t.Fatal("two brokers on one folder")
	}
	k.Stop()

	k = startKafka(t, dir)
	defer k.Stop()
	conn, err := kafka.DialLeader(t.Context(), "tcp", k.Brokers()[0], "t", 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	m, err := conn.ReadMessage(1 << 10)
	if err != nil || string(m.Value) != "first" {
		t.Errorf("read %q, %v", m.Value, err)
	}
}

func TestKafkaListensOnLoopbackAndCreatesNoTopicByItself(t *testing.T) {
	k := startKafka(t, "")
	defer k.Stop()
	for _, addr := range k.Brokers() {
		host, _, err := net.SplitHostPort(addr)
		if err != nil || !net.ParseIP(host).IsLoopback() {
			t.Errorf("listens on %s (%v)", addr, err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	if err := write(ctx, k, "nobody made this topic"); err == nil {
		t.Error("a write made a topic")
	}
}

func TestRedisKeysAgeByThemselves(t *testing.T) {
	r, err := StartRedis()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Stop()
	client := redis.NewClient(&redis.Options{Addr: r.Addr()})
	defer func() { _ = client.Close() }()
	if err := client.Set(t.Context(), "k", "v", 2*time.Second).Err(); err != nil {
		t.Fatal(err)
	}
	r.Server().SetTime(time.Now().Add(time.Second))
	if n, err := client.Exists(t.Context(), "k").Result(); err != nil || n != 1 {
		t.Fatalf("gone too early: %d, %v", n, err)
	}
	r.Server().SetTime(time.Now().Add(3 * time.Second))
	if n, err := client.Exists(t.Context(), "k").Result(); err != nil || n != 0 {
		t.Errorf("still there: %d, %v", n, err)
	}
}
