package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
)

// part is one thing that runs until its context ends, and then drains.
type part struct {
	name string
	run  func(ctx context.Context) error
}

// stage is a set of parts that start and stop together.
type stage []part

// after lets every part begin when started is closed.
func (s stage) after(started <-chan struct{}) {
	for i, p := range s {
		s[i].run = func(ctx context.Context) error {
			select {
			case <-started:
				return p.run(ctx)
			case <-ctx.Done():
				return nil
			}
		}
	}
}

// runStages starts every stage and stops them in the order given, each one
// only when those before it have drained: what takes work in stops first, what
// carries it out last. It stops when ctx ends, or when a part ends by itself,
// which is an error whatever it returned.
func runStages(ctx context.Context, log *slog.Logger, stages []stage) error {
	type running struct {
		cancel context.CancelFunc
		done   chan struct{}
	}
	ended := make(chan struct{}, 1)
	var all []running
	var mu sync.Mutex
	var errs []error
	stopping := map[int]bool{}
	for i, parts := range stages {
		// WithoutCancel: ctx's end must reach the stages one after the other.
		stageCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
		r := running{cancel, make(chan struct{})}
		var wg sync.WaitGroup
		for _, p := range parts {
			wg.Go(func() {
				err := p.run(stageCtx)
				mu.Lock()
				defer mu.Unlock()
				if stopping[i] && (err == nil || errors.Is(err, context.Canceled)) {
					return
				}
				if err == nil {
					err = errors.New("ended by itself")
				}
				errs = append(errs, fmt.Errorf("%s: %w", p.name, err))
				select {
				case ended <- struct{}{}:
				default:
				}
			})
		}
		go func() { wg.Wait(); close(r.done) }()
		all = append(all, r)
	}
	select {
	case <-ctx.Done():
		log.InfoContext(ctx, "stopping: finishing what has begun")
	case <-ended:
		log.ErrorContext(ctx, "stopping: a part failed")
	}
	for i, r := range all {
		mu.Lock()
		stopping[i] = true
		mu.Unlock()
		r.cancel()
		<-r.done
	}
	mu.Lock()
	defer mu.Unlock()
	return errors.Join(errs...)
}
