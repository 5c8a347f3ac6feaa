package app

import (
	"context"
	"errors"
	"strings"
	"time"

	"mobileid/consumers"
	"mobileid/internal/mobileid"
)

// refuseLessDurable ends the program when an accepted request could be lost
// with one machine, unless the configuration allows it by name. An engine that
// is away is asked again: any start order works.
func (a *App) refuseLessDurable(ctx context.Context) error {
	for {
		problems, err := a.durability(ctx)
		switch {
		case len(problems) > 0:
			return errors.New("an accepted request could be lost with one machine: " + strings.Join(problems, "; ") +
				" (allow_less_durable: true of that section allows it)")
		case err == nil:
			<-ctx.Done()
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(2 * time.Second):
		}
	}
}

// durability asks both engines; an error means that one did not answer.
func (a *App) durability(ctx context.Context) ([]string, error) {
	var all []string
	if !a.cfg.Kafka.LessDurable {
		var topics []string
		for _, t := range topicSpecs(a.cfg) {
			if !strings.HasSuffix(t.Name, mobileid.TopicDLQ("")) {
				topics = append(topics, t.Name)
			}
		}
		problems, err := consumers.CheckDurable(ctx, a.kafka, topics)
		if err != nil {
			return nil, err
		}
		all = problems
	}
	if !a.cfg.Postgres.LessDurable {
		problems, err := a.db.CheckDurable(ctx)
		if err != nil {
			return nil, err
		}
		all = append(all, problems...)
	}
	return all, nil
}
