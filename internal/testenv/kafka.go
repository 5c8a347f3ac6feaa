package testenv

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
)

// emptyLimit bounds how long a broker may take to forget.
const emptyLimit = 15 * time.Second

// emptyKafka deletes every topic and every idle group, and returns when the
// broker no longer knows a topic, so that the names are free.
func emptyKafka(t testing.TB, brokers []string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), emptyLimit)
	defer cancel()
	transport := &kafka.Transport{}
	defer transport.CloseIdleConnections()
	client := &kafka.Client{Addr: kafka.TCP(brokers...), Transport: transport}
	err := deleteTopics(ctx, client)
	if err != nil {
		t.Fatal("testenv: empty kafka:", err)
	}
	err = deleteGroups(ctx, client)
	if err != nil {
		t.Fatal("testenv: empty kafka:", err)
	}
}

func deleteTopics(ctx context.Context, client *kafka.Client) error {
	for {
		topics, err := topicsOf(ctx, client)
		if err != nil {
			return err
		}
		if len(topics) == 0 {
			return nil
		}
		res, err := client.DeleteTopics(ctx, &kafka.DeleteTopicsRequest{Topics: topics})
		if err != nil {
			return fmt.Errorf("delete topics: %w", err)
		}
		for topic, err := range res.Errors {
			if err != nil && !errors.Is(err, kafka.UnknownTopicOrPartition) {
				return fmt.Errorf("delete topic %s: %w", topic, err)
			}
		}
		// Deleting is told before it is done, and nothing signals its end.
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func topicsOf(ctx context.Context, client *kafka.Client) ([]string, error) {
	// The transport keeps metadata for some seconds; a connection of its own
	// asks the broker itself.
	conn, err := kafka.DialContext(ctx, "tcp", client.Addr.String())
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }()
	deadline, _ := ctx.Deadline()
	err = conn.SetDeadline(deadline)
	if err != nil {
		return nil, err
	}
	partitions, err := conn.ReadPartitions()
	if err != nil {
		return nil, fmt.Errorf("list topics: %w", err)
	}
	seen := map[string]bool{}
	var topics []string
	for _, p := range partitions {
		if !seen[p.Topic] && p.Topic != "__consumer_offsets" {
			seen[p.Topic] = true
			topics = append(topics, p.Topic)
		}
	}
	return topics, nil
}

// deleteGroups deletes groups without members. One with members belongs to a
// process that was killed; it lapses by its session timeout.
func deleteGroups(ctx context.Context, client *kafka.Client) error {
	listed, err := client.ListGroups(ctx, &kafka.ListGroupsRequest{})
	if err != nil {
		return fmt.Errorf("list groups: %w", err)
	}
	var ids []string
	for _, g := range listed.Groups {
		ids = append(ids, g.GroupID)
	}
	if len(ids) == 0 {
		return nil
	}
	res, err := client.DeleteGroups(ctx, &kafka.DeleteGroupsRequest{GroupIDs: ids})
	if err != nil {
		return fmt.Errorf("delete groups: %w", err)
	}
	for id, err := range res.Errors {
		if err != nil && !errors.Is(err, kafka.NonEmptyGroup) && !errors.Is(err, kafka.GroupIdNotFound) {
			return fmt.Errorf("delete group %s: %w", id, err)
		}
	}
	return nil
}
