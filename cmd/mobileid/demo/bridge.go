package demo

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"mobileid/cmd/mobileid/app"
	"mobileid/cmd/smscsim/smsc"
)

// bridgeRole is the bridge of the demo, a program of its own in this process,
// so that it can be lost as a process is lost.
type bridgeRole struct {
	build func() (*app.App, error)
	ended chan error // it ended by itself

	life sync.Mutex // one start or end at a time
	mu   sync.Mutex
	now  *bridgeRun // nil: it is down
}

type bridgeRun struct {
	app    *app.App
	cancel context.CancelFunc
	done   chan error
}

func newBridgeRole(build func() (*app.App, error)) *bridgeRole {
	return &bridgeRole{build: build, ended: make(chan error, 1)}
}

// start builds the role and lets it run.
func (b *bridgeRole) start(ctx context.Context) error {
	b.life.Lock()
	defer b.life.Unlock()
	return b.begin(ctx)
}

// begin outlives ctx: the bridge is ended by stop, before what reads its outbox.
func (b *bridgeRole) begin(ctx context.Context) error {
	built, err := b.build()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	r := &bridgeRun{app: built, cancel: cancel, done: make(chan error, 1)}
	b.mu.Lock()
	b.now = r
	b.mu.Unlock()
	go func() {
		err := built.Run(ctx)
		if ctx.Err() == nil {
			select {
			case b.ended <- fmt.Errorf("the bridge: %w", errors.Join(err, errors.New("ended by itself"))):
			default:
			}
		}
		r.done <- err
	}()
	return nil
}

// take leaves nothing running that others could see.
func (b *bridgeRole) take() *bridgeRun {
	b.mu.Lock()
	defer b.mu.Unlock()
	r := b.now
	b.now = nil
	return r
}

// stop ends the role as SIGTERM does.
func (b *bridgeRole) stop() error {
	b.life.Lock()
	defer b.life.Unlock()
	r := b.take()
	if r == nil {
		return nil
	}
	r.cancel()
	return <-r.done
}

// ready says whether the role carries Messages.
func (b *bridgeRole) ready(ctx context.Context) error {
	b.mu.Lock()
	r := b.now
	b.mu.Unlock()
	if r == nil {
		return errors.New("the bridge is down")
	}
	return r.app.Ready(ctx)
}

// restartAfter is what a supervisor takes.
const restartAfter = 2 * time.Second

// kill loses the role as a killed process does, and starts another. What makes
// it the same from outside: from one moment on it writes nothing to the operator
// and nothing to Postgres, so that its lease is not closed and what it had
// admitted stays its own until the lease is over. What is not the same: it
// leaves its consumer groups at once, where a killed process would be missed
// some seconds later.
func (b *bridgeRole) kill(ctx context.Context, operator *smsc.Server) error {
	b.life.Lock()
	defer b.life.Unlock()
	r := b.take()
	if r == nil {
		return errors.New("the bridge is down already")
	}
	// It may not bind again while it does not know yet that it is dead.
	if err := operator.SetFault(smsc.Fault{Kind: smsc.FaultIgnoreBind}); err != nil {
		return err
	}
	lift := sync.OnceFunc(func() { operator.Lift(smsc.FaultIgnoreBind) })
	defer lift()
	if err := operator.SetFault(smsc.Fault{Kind: smsc.FaultCut}); err != nil {
		return err
	}
	r.app.Registry().Close()
	r.cancel()
	<-r.done //nolint:errcheck // its errors are what was asked for
	lift()
	select {
	case <-time.After(restartAfter):
		return b.begin(ctx)
	case <-ctx.Done():
		return nil // the demo stops
	}
}
