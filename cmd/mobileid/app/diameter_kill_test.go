package app_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"mobileid/cmd/mobileid/app"
	"mobileid/cmd/mobileid/app/apptest"
	"mobileid/cmd/mobileid/config/sandbox"
	"mobileid/cmd/smscsim/smsc"
	"mobileid/internal/mobileid"
	"mobileid/internal/testenv/charging"
	"mobileid/registry/reconcile"
	"mobileid/smpp/diameter"
)

// asksInFile is asks for the operator's file, which processes of their own read.
func asksInFile(t *testing.T, s *apptest.System, addr string, mode diameter.Mode) {
	t.Helper()
	name := filepath.Join(filepath.Dir(s.ConfigFile), s.Config.OperatorFiles[0])
	raw, err := os.ReadFile(name)
	check(t, err)
	check(t, os.WriteFile(name, fmt.Appendf(raw, `
charging: {by: diameter, timeout: 4s}
diameter:
  mode: %s
  origin_host: bridge.mobileid.test
  origin_realm: mobileid.test
  session_host: charging.mobileid.test
  destination_realm: ocs.test
  tx: 500ms
  peers: [{name: a, address: %q}]
`, mode, addr), 0o600))
}

// money is what each number has at the charging system, in SMS.
const money = 100

// killing is a system whose bridge is killed.
type killing struct {
	*looker

	server       *charging.Server
	mode         diameter.Mode
	code, notice apptest.Person
	others       []apptest.Person // whose codes fill the window
	child        *apptest.Child
	lock         pgx.Tx
}

// reserved reports whether the charging system has a number's Message: held, or
// debited at once.
func (k *killing) reserved(p apptest.Person) bool {
	free, held := k.server.Account(p.Number)
	return free == money-1 && held == map[diameter.Mode]int{diameter.ECUR: 1}[k.mode]
}

func (k *killing) both(ok func(apptest.Person) bool) bool { return ok(k.code) && ok(k.notice) }

func (k *killing) has(p apptest.Person) bool { return len(k.SMS(p.Number)) == 1 }

// answersAfter has the operator answer for both only then, the first time.
func (k *killing) answersAfter(d time.Duration, ps ...apptest.Person) {
	for _, p := range ps {
		k.fault(smsc.Fault{Kind: smsc.FaultDelay, Delay: d, To: p.Number, Count: 1})
	}
}

// killPoint is a point between reserving and telling what became of it. before says
// what holds both Messages there, reached waits for them, and after lets them go on
// when the bridge is dead.
type killPoint struct {
	name          string
	window        int
	others        int
	before, after func(*killing)
	reached       func(*killing) bool
	ecurOnly      bool // a debit is not told of what it has taken
}

var killPoints = []killPoint{
	{
		name:    "asked, and the charging system's answer is lost",
		before:  func(k *killing) { k.server.Tell("mute 16") },
		reached: func(k *killing) bool { return k.both(k.reserved) },
		after:   func(k *killing) { k.server.Tell("mute 0") },
	},
	{
		// They wait for a place in the window.
		name: "authorised, and not submitted", window: 2, others: 2,
		reached: func(k *killing) bool {
			// With those who have it, and those who were refused.
			answers := metricAt(k.t, k.child.Admin, "mobileid_bridge_charger_answers_total", `answer="yes"`)
			return k.both(k.reserved) && answers == float64(2+2+len(k.others))
		},
	},
	{
		name:    "submitted, and not answered",
		before:  func(k *killing) { k.answersAfter(time.Minute, k.code, k.notice) },
		reached: func(k *killing) bool { return k.both(k.has) },
	},
	{
		name:   "answered, and not posted",
		before: func(k *killing) { k.answersAfter(time.Second, k.code, k.notice) },
		reached: func(k *killing) bool {
			if !k.both(k.has) {
				return false
			}
			if k.lock == nil { // what the bridge stores now waits
				k.lock = k.locked(`select from messages for update`)
			}
			return k.number(`select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`) > 0
		},
		after: func(k *killing) {
			// What the dead bridge had sent would be done when nobody is in its way.
			k.number(`select count(pg_terminate_backend(pid, 5000)) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`)
			check(k.t, k.lock.Rollback(k.t.Context()))
			if n := k.number(`select count(*) from messages where state = 'admitted'`); n != 2 {
				k.t.Fatalf("%d are admitted: the answer was stored", n)
			}
		},
	},
	{
		name: "posted, and the charging system is not told", ecurOnly: true,
		before: func(k *killing) { k.answersAfter(time.Second, k.code, k.notice) },
		reached: func(k *killing) bool {
			if !k.both(k.has) {
				return false
			}
			k.server.Tell("mute 16") // from the reservation on
			return k.number(`select count(*) from messages m join charge_calls c on c.message_id = m.id where m.state = 'delivered'`) == 2
		},
		after: func(k *killing) { k.server.Tell("mute 0") },
	},
}

// locked takes locks in a transaction of the test's own.
func (l *looker) locked(query string) pgx.Tx {
	l.t.Helper()
	tx, err := l.pool.Begin(l.t.Context())
	check(l.t, err)
	_, err = tx.Exec(l.t.Context(), query)
	check(l.t, err)
	return tx
}

// The bridge is killed at each point between reserving the money of a code and of a
// notice and telling what became of it. Whatever was under way: the charging system
// holds nothing in the end, and has debited each Message that the operator took
// once, and no other. A notice is not sent twice, and what became of it is in the
// operator's file.
func TestABridgeIsKilledAtEachPointOfCharging(t *testing.T) {
	for _, mode := range []diameter.Mode{diameter.ECUR, diameter.IEC} {
		for i := range killPoints {
			point := &killPoints[i]
			if point.ecurOnly && mode == diameter.IEC {
				continue
			}
			t.Run(string(mode)+", "+point.name, func(t *testing.T) { killAt(t, point, mode) })
		}
	}
}

func killAt(t *testing.T, point *killPoint, mode diameter.Mode) {
	t.Helper()
	// It trusts a peer that comes again after three watchdogs.
	server := charging.Start(t, "ocs1.ocs.test", 200*time.Millisecond)
	k := &killing{server: server, mode: mode}
	k.looker = look(t, apptest.Options{Roles: []string{app.RoleGateway, app.RoleConsumers}, Change: asks(server.Addr), Window: point.window})
	asksInFile(t, k.System, server.Addr, mode)
	person := func(n int) apptest.Person {
		p := k.Bind(n, 0)
		server.Tell("balance %s %d", p.Number, money)
		return p
	}
	k.code, k.notice = person(1), person(2)
	refused := person(3)
	k.child = k.Child(app.RoleBridge)
	server.Tell("up 1")
	k.fault(smsc.Fault{Kind: smsc.FaultStatus, Status: 0x0b, To: refused.Number})
	k.Await(k.notify(refused), "rejected")
	k.Await(k.Ask(refused, "sign_in"), "undeliverable")

	codes := map[string]apptest.Person{}
	for n := range point.others {
		p := person(10 + n)
		k.others = append(k.others, p)
		k.answersAfter(time.Minute, p)
		codes[k.Ask(p, "sign_in")] = p
		k.Until("the window is taken", func() bool { return k.has(p) })
	}
	if point.before != nil {
		point.before(k)
	}
	codes[k.Ask(k.code, "sign_in")] = k.code
	notice := k.notify(k.notice)
	k.Until("the point is reached", func() bool { return point.reached(k) })
	k.child.Kill()
	if point.after != nil {
		point.after(k)
	}
	// Fifteen seconds pass: the dead bridge's lease ends, and its membership.
	_, err := k.pool.Exec(t.Context(), `update bridges set lease_until = clock_timestamp() - interval '3 seconds', swept_at = null`)
	check(t, err)
	k.ForgetMembers(groupsOf(app.RoleBridge)...)
	k.Child(app.RoleBridge)
	server.Tell("up 2")

	for id := range codes {
		k.Until("the code is delivered", func() bool { return k.messageState(id) == "delivered" })
	}
	k.Until("the notice is delivered, or in doubt", func() bool {
		s := k.messageState(notice)
		return s == "delivered" || s == "in_doubt"
	})
	sent := len(k.SMS(k.notice.Number))
	if k.messageState(notice) == "in_doubt" {
		k.fileSays(notice, sent)
	}
	// A call that the dead bridge had taken is due again in a while.
	_, err = k.pool.Exec(t.Context(), `update charge_calls set due_at = now()`)
	check(t, err)
	k.Until("the charging system was told of everything", func() bool { return k.number(`select count(*) from charge_calls`) == 0 })

	for id, p := range codes {
		if n := len(k.SMS(p.Number)); n < 1 || n > 2 {
			t.Errorf("%d SMS of one code", n)
		}
		k.wantDebited(id, p, 1, "posted")
		if a := k.Verify(id, "v", k.Code(p.Number, 1)); a.JSON("state") != string(mobileid.ChallengeConfirmed) {
			t.Errorf("%d %s", a.Status, a.Body)
		}
	}
	if sent > 1 {
		t.Errorf("%d SMS of one notice", sent)
	}
	k.wantDebited(notice, k.notice, sent, map[int]string{0: "voided", 1: "posted"}[sent])
	if free, held := server.Account(refused.Number); free != money || held != 0 {
		t.Errorf("of whom the operator refused %d were debited, %d are held", money-free, held)
	}
	if n := k.number(`select count(*) from messages m where (select count(*) from transfers t where t.message_id = m.id and taken > 0) > 1`); n != 0 {
		t.Errorf("%d Messages were posted twice", n)
	}
	k.balanced()
}

// fileSays has the operator's file tell of a Message in doubt, what is true.
func (k *killing) fileSays(id string, sent int) {
	k.t.Helper()
	message, err := mobileid.ParseID(id)
	check(k.t, err)
	of := reconcile.Settlement{
		Message: &reconcile.Message{ID: message, Version: int32(k.number(`select state_version from messages where id = $1`, k.rawID(id)))},
		Rule:    reconcile.ByAbsence,
	}
	if sent > 0 {
		line := &reconcile.Line{No: 1, ID: "from the file", Submitted: time.Now(), State: mobileid.MessageDelivered, Parts: 1}
		var dest []byte
		check(k.t, k.pool.QueryRow(k.t.Context(), `select dest from messages where id = $1`, k.rawID(id)).Scan(&dest))
		line.Dest = mobileid.Pseudonym(dest)
		of.Rule, of.Hits = reconcile.ByReference, []reconcile.Hit{{Line: line, Part: 1}}
	}
	file, err := k.Registry.BeginFile(k.t.Context(), sandbox.Operator, reconcile.File{Hash: [32]byte{1}})
	check(k.t, err)
	settled, err := k.Registry.Reconcile(k.t.Context(), sandbox.Operator+"/"+sandbox.SystemID, file, [][]reconcile.Settlement{{of}})
	check(k.t, err)
	if settled != 1 {
		k.t.Fatalf("%d settled by the file", settled)
	}
}

// wantDebited compares what was debited for a Message at the charging system and
// here.
func (k *killing) wantDebited(id string, p apptest.Person, units int, charge string) {
	k.t.Helper()
	if free, held := k.server.Account(p.Number); free != money-units || held != 0 {
		k.t.Errorf("%s: %d units were debited and %d are held, want %d and none", id, money-free, held, units)
	}
	var raw []byte
	check(k.t, k.pool.QueryRow(k.t.Context(), `select id from messages where id = $1 or challenge_id = $1`, k.rawID(id)).Scan(&raw))
	debited, refunded := k.server.Message(mobileid.ID(raw).String())
	if debited-refunded != units || debited > 1 {
		k.t.Errorf("%s: its sessions debited %d and refunded %d, want %d in all", id, debited, refunded, units)
	}
	if got := k.charge(id); got != charge {
		k.t.Errorf("%s: the charge is %s, want %s", id, got, charge)
	}
}
