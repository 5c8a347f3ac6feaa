package app

import (
	"context"
	"errors"
	"strings"
	"time"

	"mobileid/consumers"
	"mobileid/internal/mobileid"
)

// refuseLessDurable is an error when an accepted request could be lost with
// one machine, unless the configuration allows it by name. known = false means
// that an engine is away and could not be asked.
func (a *App) refuseLessDurable(ctx context.Context) (known bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	problems, err := a.durability(ctx)
	if err != nil {
		return false, nil // away is not less durable; it is asked again
	}
	if len(problems) > 0 {
		return true, errors.New("an accepted request could be lost with one machine: " + strings.Join(problems, "; ") +
			" (allow_less_durable: true of that section allows it)")
	}
	return true, nil
}

// watchDurability asks an engine that was away at the start until it answers:
// any start order works. Nothing is accepted meanwhile, because accepting
// needs that engine.
func (a *App) watchDurability(ctx context.Context) error {
	loop := a.progress.loop("durability")
	for {
		loop.Step()
		known, err := a.refuseLessDurable(ctx)
		loop.Rest()
		if err != nil {
			return err
		}
		if known {
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
			if _, dead := mobileid.TopicOfDLQ(t.Name); !dead {
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
