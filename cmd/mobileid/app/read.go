package app

import (
	"context"
	"runtime/debug"

	"github.com/segmentio/kafka-go"

	"mobileid/consumers"
	"mobileid/internal/mobileid"
)

// ReadRecord reads one Kafka record back, for the demo's page.
func (a *App) ReadRecord(ctx context.Context, ref mobileid.RecordRef) (kafka.Message, error) {
	return consumers.ReadRecord(ctx, a.kafka, ref)
}

// Version says what was built: the revision if it is known.
func Version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= 12 {
			return s.Value[:12]
		}
	}
	return info.Main.Version
}
