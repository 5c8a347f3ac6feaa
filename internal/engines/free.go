package engines

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
)

// Ports to choose from. They lie below those that a system gives to outgoing
// connections (Linux: 32768 and up), so between the look and the use only
// another listener can take one.
const (
	firstPort = 20_000
	ports     = 10_000
	tries     = 50
)

// FreeAddr is an address of 127.0.0.1 that nobody listens on at the moment.
func FreeAddr(ctx context.Context) (netip.AddrPort, error) {
	var failed error
	for range tries {
		port := uint16(firstPort + rand.IntN(ports))
		addr := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), port)
		listener, err := new(net.ListenConfig).Listen(ctx, "tcp", addr.String())
		if err == nil {
			return addr, listener.Close()
		}
		failed = err
	}
	return netip.AddrPort{}, fmt.Errorf("no free port from %d to %d found in %d tries, at last: %w", firstPort, firstPort+ports-1, tries, failed)
}
