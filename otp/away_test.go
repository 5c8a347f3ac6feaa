package otp

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/alicebob/miniredis/v2/server"

	"mobileid/internal/mobileid"
)

// calls is every call that talks to Redis.
func calls(s *Service, id mobileid.ID) map[string]func(context.Context) error {
	return map[string]func(context.Context) error{
		"Issue": func(ctx context.Context) error {
			_, err := s.Issue(ctx, id, 6, time.Minute, 3)
			return err
		},
		"Verify": func(ctx context.Context) error {
			_, _, err := s.Verify(ctx, id, "nonce", mobileid.NewCode("123456"))
			return err
		},
		"Epoch": func(ctx context.Context) error {
			_, err := s.Epoch(ctx)
			return err
		},
		"Missing": func(ctx context.Context) error {
			_, err := s.Missing(ctx, []mobileid.IssuedRef{{ID: id, Nonce: "nonce"}})
			return err
		},
		"CheckServer": func(ctx context.Context) error { return CheckServer(ctx, s.rdb) },
	}
}

// hangs returns the address of a server that takes connections and never says
// a word.
func hangs(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		var taken []net.Conn
		for {
			conn, err := l.Accept()
			if err != nil {
				break
			}
			taken = append(taken, conn)
		}
		for _, conn := range taken {
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-done
	})
	return l.Addr().String()
}

func TestRedisAwayIsSaidWithinASecond(t *testing.T) {
	stopped := miniredis.RunT(t)
	stoppedAddr := stopped.Addr()
	stopped.Close()
	loading := miniredis.RunT(t)
	loading.SetError("LOADING Redis is loading the dataset in memory")
	for name, addr := range map[string]string{"stopped": stoppedAddr, "hanging": hangs(t), "loading": loading.Addr()} {
		s := service(t, client(t, addr), time.Now, keyA)
		for call, run := range calls(s, challengeID(t, "1")) {
			t.Run(name+" "+call, func(t *testing.T) {
				began := time.Now()
				err := run(t.Context())
				if took := time.Since(began); took > time.Second {
					t.Errorf("took %s", took)
				}
				var e *mobileid.Error
				if mobileid.KindOf(err) != mobileid.KindUnavailable || mobileid.CodeOf(err) != "redis_away" {
					t.Fatalf("err = %v", err)
				}
				if !errors.As(err, &e) || e.RetryAfter != time.Second || e.Err == nil {
					t.Errorf("retry after %v, cause %v", e.RetryAfter, e.Err)
				}
			})
		}
	}
}

func TestCheckServerRefusesEviction(t *testing.T) {
	for policy, ok := range map[string]bool{"noeviction": true, "allkeys-lru": false, "volatile-ttl": false} {
		s, c := fixture(t)
		err := c.server.Server().Register("CONFIG", func(p *server.Peer, _ string, _ []string) {
			p.WriteMapLen(1)
			p.WriteBulk("maxmemory-policy")
			p.WriteBulk(policy)
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := CheckServer(t.Context(), s.rdb); (err == nil) != ok {
			t.Errorf("%s: %v", policy, err)
		}
	}
}

func TestCheckServerIsSilentWhenTheSettingIsHidden(t *testing.T) {
	s, c := fixture(t)
	err := c.server.Server().Register("CONFIG", func(p *server.Peer, _ string, _ []string) {
		p.WriteError("NOPERM this user has no permissions to run the 'config' command")
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := CheckServer(t.Context(), s.rdb); err != nil {
		t.Error(err)
	}
}
