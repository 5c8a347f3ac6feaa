package engines

import (
	"fmt"

	"github.com/alicebob/miniredis/v2"
)

// Redis is a Redis server inside this process, over TCP on 127.0.0.1. It keeps
// nothing: its memory goes with the process.
type Redis struct{ server *miniredis.Miniredis }

// StartRedis starts the server on a free port. Its keys age with the wall
// clock: the in-process server ages nothing by itself unless it is told to
// follow a clock, and then does it at every command, without a goroutine.
func StartRedis() (*Redis, error) {
	server := miniredis.NewMiniRedis()
	server.ClockTTL(true)
	err := server.StartAddr("127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("start redis: %w", err)
	}
	return &Redis{server}, nil
}

// Addr returns the server's host:port.
func (r *Redis) Addr() string { return r.server.Addr() }

// Server returns the server itself, for tests that flush it, move its clock or
// make it fail.
func (r *Redis) Server() *miniredis.Miniredis { return r.server }

// Stop closes every connection and forgets everything.
func (r *Redis) Stop() { r.server.Close() }
