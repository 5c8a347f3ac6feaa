package app

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestStagesStopInOrderEachAfterTheOneBeforeHasDrained(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var order []string
		say := func(s string) { mu.Lock(); order = append(order, s); mu.Unlock() }
		slow := func(name string, drain time.Duration) part {
			return part{name, func(ctx context.Context) error {
				<-ctx.Done()
				say(name + " told")
				time.Sleep(drain) // virtual time
				say(name + " drained")
				return nil
			}}
		}
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		err := runStages(ctx, slog.New(slog.DiscardHandler), []stage{
			{slow("edge", 3*time.Second)}, {slow("consumers", 2*time.Second)}, {slow("bridge", time.Second)},
		})
		if err != nil {
			t.Fatal(err)
		}
		want := []string{"edge told", "edge drained", "consumers told", "consumers drained", "bridge told", "bridge drained"}
		if !slices.Equal(order, want) {
			t.Errorf("order %v, want %v", order, want)
		}
	})
}

func TestAPartThatEndsByItselfStopsTheWhole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		drained := false
		err := runStages(t.Context(), slog.New(slog.DiscardHandler), []stage{
			{{"broken", func(context.Context) error { return errors.New("cannot listen") }}},
			{{"other", func(ctx context.Context) error { <-ctx.Done(); drained = true; return nil }}},
		})
		if err == nil || !strings.Contains(err.Error(), "broken: cannot listen") || !drained {
			t.Errorf("err %v, drained %v", err, drained)
		}
	})
}
