package app

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"mobileid/cmd/mobileid/config"
	"mobileid/internal/mobileid"
)

// Explain tells the life of one challenge or Message. Of an id that we gave
// and that has no row, it tells what the id itself says and where to look. Any
// other is KindNotFound.
func Explain(ctx context.Context, cfg *config.Config, id mobileid.ID, log *slog.Logger) ([]mobileid.Step, error) {
	db, err := openRegistry(ctx, cfg, log)
	if err != nil {
		return nil, err
	}
	defer db.Close()
	steps, err := db.Explain(ctx, id)
	if mobileid.KindOf(err) != mobileid.KindNotFound {
		return steps, err
	}
	key, keyErr := mobileid.NewIDKey([]byte(cfg.Keys.ID.Reveal()))
	if keyErr != nil {
		return nil, keyErr
	}
	for _, c := range cfg.Clients {
		if key.Check(c.ID, id) {
			return unstored(id, c.ID, cfg.Deadlines, time.Now().UTC()), nil
		}
	}
	return nil, err
}

// unstored tells of an id without a row. Nothing sweeps it: the edge counts
// from the time in the id. A consumer that comes after its deadline stores it
// as expired.
func unstored(id mobileid.ID, client string, d config.Deadlines, now time.Time) []mobileid.Step {
	topic, ends := mobileid.TopicNotificationRequests, id.Time().Add(d.Notice+d.Grace)
	if id.Kind() == mobileid.KindChallenge {
		topic, ends = mobileid.TopicOTPRequests, id.Time().Add(d.CodeAccept+d.Grace)
	}
	steps := []mobileid.Step{
		{At: id.Time(), Hop: "edge", What: "accepted", Facts: map[string]string{"id": id.String(), "client": client}},
		{
			At: now, Hop: "registry", What: "not stored: no consumer has handled it yet; look at the lag of its topic, then at the topic's dead letters",
			Facts: map[string]string{"topic": topic},
		},
		{
			At: ends, Hop: "edge", What: "from now on its client reads this, if it is not stored before",
			Facts: map[string]string{"state": "expired", "reason": mobileid.ReasonNotProcessed},
		},
	}
	slices.SortStableFunc(steps, func(a, b mobileid.Step) int { return a.At.Compare(b.At) })
	return steps
}
