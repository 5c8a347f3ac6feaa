package demo

import (
	"context"
	"fmt"
	"net"
)

const portsTried = 50

// listenNear listens on addr, or on the next free port above it, which it says.
// Port 0 is any free one.
func listenNear(ctx context.Context, addr string, sayf func(string, ...any)) (net.Listener, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("--listen: %w", err)
	}
	first, err := net.DefaultResolver.LookupPort(ctx, "tcp", port)
	if err != nil {
		return nil, fmt.Errorf("--listen: %w", err)
	}
	var l net.Listener
	for p := first; p < first+portsTried; p++ {
		l, err = new(net.ListenConfig).Listen(ctx, "tcp", net.JoinHostPort(host, fmt.Sprint(p)))
		switch {
		case err == nil && p != first:
			sayf("%s is taken: the page will be at %s", addr, l.Addr())
			return l, nil
		case err == nil || first == 0:
			return l, err
		}
	}
	return nil, fmt.Errorf("--listen: no free port from %d to %d: %w", first, first+portsTried-1, err)
}
