package app_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"mobileid/cmd/mobileid/app"
	"mobileid/cmd/mobileid/app/apptest"
	"mobileid/cmd/smscsim/smsc"
	"mobileid/internal/mobileid"
	"mobileid/internal/testenv/charging"
)

// asksInFile is asks for the operator's file, which processes of their own read.
func asksInFile(t *testing.T, s *apptest.System, addr string) {
	t.Helper()
	name := filepath.Join(filepath.Dir(s.ConfigFile), s.Config.OperatorFiles[0])
	raw, err := os.ReadFile(name)
	check(t, err)
	check(t, os.WriteFile(name, fmt.Appendf(raw, `
charging: {by: diameter, timeout: 4s}
diameter:
  origin_host: bridge.mobileid.test
  origin_realm: mobileid.test
  session_host: charging.mobileid.test
  destination_realm: ocs.test
  tx: 500ms
  peers: [{name: a, address: %q}]
`, addr), 0o600))
}

// The bridge is killed at each point between reserving a code's money and telling
// what became of it. Whatever was under way: the charging system holds nothing in
// the end, and has debited each code that the operator took once.
func TestABridgeIsKilledAtEachPointOfCharging(t *testing.T) {
	const money = 100
	for _, c := range []struct {
		name string
		// before says what holds the Message at the point, reached waits for it there,
		// and after lets it go on when the bridge is dead.
		before, after func(*looker, *charging.Server, apptest.Person)
		reached       func(s *looker, server *charging.Server, number string) bool
	}{
		{
			name:   "the charging system does not answer",
			before: func(_ *looker, server *charging.Server, _ apptest.Person) { server.Tell("mute 8") },
			reached: func(_ *looker, server *charging.Server, number string) bool {
				free, held := server.Account(number)
				return free == money-1 && held == 1
			},
			after: func(_ *looker, server *charging.Server, _ apptest.Person) { server.Tell("mute 0") },
		},
		{
			name: "the operator does not answer",
			before: func(s *looker, _ *charging.Server, p apptest.Person) {
				s.fault(smsc.Fault{Kind: smsc.FaultDelay, Delay: time.Minute, To: p.Number, Count: 1})
			},
			reached: func(s *looker, _ *charging.Server, number string) bool { return len(s.SMS(number)) == 1 },
		},
		{
			name: "the registry has it as sent, and the charging system is not told",
			before: func(s *looker, server *charging.Server, p apptest.Person) {
				s.fault(smsc.Fault{Kind: smsc.FaultDelay, Delay: 300 * time.Millisecond, To: p.Number, Count: 1})
			},
			reached: func(s *looker, server *charging.Server, number string) bool {
				if len(s.SMS(number)) == 0 {
					return false
				}
				server.Tell("mute 8") // from the reservation on
				return s.number(`select count(*) from messages m join charge_calls c on c.message_id = m.id where m.state = 'delivered'`) == 1
			},
			after: func(_ *looker, server *charging.Server, _ apptest.Person) { server.Tell("mute 0") },
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			// It trusts a peer that comes again after three watchdogs.
			server := charging.Start(t, "ocs1.ocs.test", 200*time.Millisecond)
			s := look(t, apptest.Options{Roles: []string{app.RoleGateway, app.RoleConsumers}, Change: asks(server.Addr)})
			asksInFile(t, s.System, server.Addr)
			p := s.Bind(1, 0)
			server.Tell("balance %s %d", p.Number, money)
			child := s.Child(app.RoleBridge)
			server.Tell("up 1")
			c.before(s, server, p)
			id := s.Ask(p, "sign_in")
			s.Until("the point is reached", func() bool { return c.reached(s, server, p.Number) })
			child.Kill()
			if c.after != nil {
				c.after(s, server, p)
			}
			// Fifteen seconds pass: the dead bridge's lease ends, and its membership.
			_, err := s.pool.Exec(t.Context(), `update bridges set lease_until = clock_timestamp(), swept_at = null`)
			check(t, err)
			s.ForgetMembers(groupsOf(app.RoleBridge)...)
			s.Child(app.RoleBridge)
			server.Tell("up 2")
			s.Until("the code is delivered", func() bool { return s.messageState(id) == "delivered" })
			// A call that the dead bridge had taken is due again in a while.
			_, err = s.pool.Exec(t.Context(), `update charge_calls set due_at = now()`)
			check(t, err)
			s.Until("the charging system was told of everything", func() bool {
				_, held := server.Account(p.Number)
				return held == 0 && s.number(`select count(*) from charge_calls`) == 0
			})
			if free, _ := server.Account(p.Number); free != money-1 {
				t.Errorf("%d units were debited for one code", money-free)
			}
			if got := s.charge(id); got != "posted" {
				t.Errorf("the charge is %s", got)
			}
			if n := s.number(`select count(*) from transfers where taken > 0`); n != 1 {
				t.Errorf("%d postings", n)
			}
			if n := len(s.SMS(p.Number)); n < 1 || n > 2 {
				t.Errorf("%d SMS", n)
			}
			if a := s.Verify(id, "v", s.Code(p.Number, 1)); a.JSON("state") != string(mobileid.ChallengeConfirmed) {
				t.Errorf("%d %s", a.Status, a.Body)
			}
			s.balanced()
		})
	}
}
