package demo

import (
	"context"
	"fmt"
	"net"
)

// listenNear listens on addr, or on the next free port above it.
func listenNear(ctx context.Context, addr string) (net.Listener, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("--listen: %w", err)
	}
	first, err := net.DefaultResolver.LookupPort(ctx, "tcp", port)
	if err != nil {
		return nil, fmt.Errorf("--listen: %w", err)
	}
	var l net.Listener
	for p := first; p < first+50; p++ {
		l, err = new(net.ListenConfig).Listen(ctx, "tcp", net.JoinHostPort(host, fmt.Sprint(p)))
		if err == nil || first == 0 {
			return l, err
		}
	}
	return nil, fmt.Errorf("--listen: no free port from %d to %d: %w", first, first+49, err)
}

func freePort(ctx context.Context) (string, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}
