package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"mobileid/cmd/mobileid/config"
	"mobileid/consumers"
	"mobileid/internal/mobileid"
)

// ListParked lists the dead letters of the given topics, or of every topic of
// the configuration.
func ListParked(ctx context.Context, cfg *config.Config, topics []string) ([]consumers.ParkedRecord, error) {
	kc, err := kafkaConfig(cfg.Kafka)
	if err != nil {
		return nil, err
	}
	if len(topics) == 0 {
		for _, spec := range topicSpecs(cfg) {
			if topic, dead := mobileid.TopicOfDLQ(spec.Name); dead {
				topics = append(topics, topic)
			}
		}
	}
	var all []consumers.ParkedRecord
	for _, t := range topics {
		parked, err := consumers.ListDLQ(ctx, kc, mobileid.TopicDLQ(t))
		if err != nil {
			return nil, err
		}
		all = append(all, parked...)
	}
	return all, nil
}

// ShowParked opens one dead letter. It may hold personal data.
func ShowParked(ctx context.Context, cfg *config.Config, at mobileid.RecordRef) (consumers.OpenedRecord, error) {
	kc, opener, err := dlqTools(cfg)
	if err != nil {
		return consumers.OpenedRecord{}, err
	}
	return consumers.ShowDLQ(ctx, kc, at, opener)
}

// ReplayParked writes one dead letter back and returns its topic.
func ReplayParked(ctx context.Context, cfg *config.Config, at mobileid.RecordRef) (string, error) {
	kc, opener, err := dlqTools(cfg)
	if err != nil {
		return "", err
	}
	p := consumers.NewPublisher(kc, consumers.PublisherConfig{Log: slog.New(slog.DiscardHandler)})
	rec, err := consumers.ReplayDLQ(ctx, kc, p, at, opener)
	return rec.From.Topic, errors.Join(err, p.Close())
}

// UnreadReceipt is a receipt that the bridge could not read, opened.
type UnreadReceipt struct {
	mobileid.UnreadReceipt
	PDU []byte // may hold personal data
}

// UnreadReceipts opens the receipts that bridges could not read, of one
// operator or, with "", of all.
func UnreadReceipts(ctx context.Context, cfg *config.Config, operator string) ([]UnreadReceipt, error) {
	opener, err := dlqOpener(cfg)
	if err != nil {
		return nil, err
	}
	db, err := openRegistry(ctx, cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	defer db.Close()
	kept, err := db.Unread(ctx, operator)
	if err != nil {
		return nil, err
	}
	out := make([]UnreadReceipt, len(kept))
	for i, r := range kept {
		pdu, err := opener.Open([]byte(r.Account), r.Sealed)
		if err != nil {
			return nil, fmt.Errorf("receipt of %s: %w", r.Account, err)
		}
		out[i] = UnreadReceipt{r, pdu}
	}
	return out, nil
}

func dlqTools(cfg *config.Config) (consumers.KafkaConfig, *mobileid.Opener, error) {
	kc, err := kafkaConfig(cfg.Kafka)
	if err != nil {
		return kc, nil, err
	}
	opener, err := dlqOpener(cfg)
	return kc, opener, err
}

func dlqOpener(cfg *config.Config) (*mobileid.Opener, error) {
	if len(cfg.Keys.DLQPrivate) == 0 {
		return nil, errors.New("opening a dead letter needs keys.dlq_private")
	}
	private := make([]string, len(cfg.Keys.DLQPrivate))
	for i, k := range cfg.Keys.DLQPrivate {
		private[i] = k.Reveal()
	}
	return mobileid.NewOpener(private...)
}
