package app

import (
	"context"
	"log/slog"

	"mobileid/cmd/mobileid/config"
	"mobileid/consumers"
	"mobileid/internal/mobileid"
	"mobileid/registry"
)

// Migrate brings the schema up to this program and loads the file of tariffs.
func Migrate(ctx context.Context, cfg *config.Config, log *slog.Logger) error {
	db, err := openRegistry(ctx, cfg, log)
	if err != nil {
		return err
	}
	defer db.Close()
	if err := db.Migrate(ctx); err != nil {
		return err
	}
	return loadConfigured(ctx, db, cfg, log)
}

func openRegistry(ctx context.Context, cfg *config.Config, log *slog.Logger) (*registry.DB, error) {
	return registry.Open(ctx, registry.Config{DSN: cfg.Postgres.DSN.Reveal(), MaxConns: 4, Log: log})
}

// Topics creates what is missing and says what it found and did, a line each.
func Topics(ctx context.Context, cfg *config.Config) ([]consumers.TopicReport, error) {
	kc, err := kafkaConfig(cfg.Kafka)
	if err != nil {
		return nil, err
	}
	var acls []consumers.ACL
	if cfg.Kafka.ACLs {
		for _, c := range sortedClients(cfg) {
			acls = append(acls, consumers.ClientACLs(c)...)
		}
	}
	return consumers.EnsureTopics(ctx, kc, topicSpecs(cfg), acls)
}

// topicSpecs multiplies the table of topics out over clients and operators.
func topicSpecs(cfg *config.Config) []consumers.TopicSpec {
	operators := make([]string, len(cfg.Operators))
	for i, o := range cfg.Operators {
		operators[i] = o.ID
	}
	return consumers.TopicSpecs(consumers.Sizing{
		Partitions: cfg.Kafka.Partitions, Replication: cfg.Kafka.Replication, MinISR: cfg.Kafka.MinInsync,
	}, operators, sortedClients(cfg))
}

// sortedClients returns the clients in the file's order.
func sortedClients(cfg *config.Config) []mobileid.Client {
	set := cfg.ClientSet()
	out := make([]mobileid.Client, len(cfg.Clients))
	for i, c := range cfg.Clients {
		out[i] = set[c.ID]
	}
	return out
}
