package app_test

import (
	"context"
	"log/slog"
	"strings"
	"testing"

	"mobileid/cmd/mobileid/app"
	"mobileid/cmd/mobileid/app/apptest"
)

func TestServeRefusesLessThanDurableUnlessToldByName(t *testing.T) {
	s := apptest.Start(t, apptest.Options{Roles: []string{}})
	for section, allow := range map[string]*bool{"postgres": &s.Config.Postgres.LessDurable, "kafka": &s.Config.Kafka.LessDurable} {
		*allow = false
		a, err := app.New(s.Config, app.Options{Roles: []string{app.RoleConsumers}, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		err = a.Run(context.WithoutCancel(t.Context())) // ends by itself, or the test hangs
		if err == nil || !strings.Contains(err.Error(), "allow_less_durable") {
			t.Errorf("%s: err = %v", section, err)
		}
		*allow = true
	}
}
