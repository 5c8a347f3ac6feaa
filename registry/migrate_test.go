package registry_test

import (
	"sync"
	"testing"

	"mobileid/internal/mobileid"
	"mobileid/registry"
)

func TestMigrateRunsOnceWhoeverCallsIt(t *testing.T) {
	e := newEnv(t)
	must(t, admin(e.ctx(), "create database fresh_"+e.name))
	t.Cleanup(func() { must(t, admin(e.ctx(), "drop database fresh_"+e.name+" with (force)")) })
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			db, err := registry.Open(e.ctx(), registry.Config{DSN: databaseDSN("fresh_" + e.name), Now: e.clk.now})
			if err != nil {
				t.Error(err)
				return
			}
			defer db.Close()
			if err := db.CheckSchema(e.ctx()); err != nil && mobileid.CodeOf(err) != "schema_old" {
				t.Error(err, cause(err))
			}
			if err := db.Migrate(e.ctx()); err != nil {
				t.Error(err, cause(err))
			}
			if err := db.CheckSchema(e.ctx()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

func TestAnOlderSchemaIsRefused(t *testing.T) {
	e := newEnv(t)
	must(t, e.CheckSchema(e.ctx()))
	e.exec(`insert into schema_migrations (version, name) values (1000, 'newer')`)
	must(t, e.CheckSchema(e.ctx())) // a process of the version before runs on
	e.exec(`delete from schema_migrations where version = 2`)
	if err := e.CheckSchema(e.ctx()); mobileid.CodeOf(err) != "schema_old" {
		t.Fatalf("a migration before the last is missing: err = %v", err)
	}
	e.exec(`delete from schema_migrations`)
	if err := e.CheckSchema(e.ctx()); mobileid.CodeOf(err) != "schema_old" {
		t.Fatalf("err = %v", err)
	}
	e.exec(`drop table schema_migrations`)
	if err := e.CheckSchema(e.ctx()); mobileid.CodeOf(err) != "schema_old" {
		t.Fatalf("err = %v", err)
	}
}

func TestPartitionsLeaveRoomForUpdates(t *testing.T) {
	e := newEnv(t)
	for table, want := range map[string]bool{"messages_2026_10": true, "challenges_2027_01": false, "transfers_2027_01": false, "messages_2026_09": false} {
		have := query[bool](e, `select coalesce((select 'fillfactor=50' = any(reloptions) from pg_class where relname = $1), false)`, table)
		if have != want {
			t.Errorf("%s: fillfactor 50 = %v, want %v", table, have, want)
		}
	}
}

func TestOneNumberAPersonOnePersonANumber(t *testing.T) {
	e := newEnv(t)
	p := e.bind(0)
	key, err := mobileid.NewPseudonymKey([]byte("fedcba9876543210"))
	must(t, err)
	parsed, err := mobileid.ParsePINFL(pinfl(999))
	must(t, err)
	again := mobileid.NewBinding{
		PINFL: parsed, Person: key.Person(parsed), MSISDN: p.binding.MSISDN, Number: p.binding.Number, Operator: operator,
	}
	if _, err := e.Bind(e.ctx(), again); mobileid.CodeOf(err) != "bound" {
		t.Fatalf("err = %v", err)
	}
	must(t, e.Revoke(e.ctx(), p.binding.ID))
	id, err := e.Bind(e.ctx(), again)
	must(t, err)
	found, err := e.ActiveBindings(e.ctx(), []mobileid.Pseudonym{p.binding.Person, again.Person})
	must(t, err)
	if len(found) != 1 || found[again.Person].ID != id || found[again.Person].Account != p.binding.Account {
		t.Fatalf("%+v", found)
	}
}

// The rows of before the lane was known have it, too; and so have those of a
// process that does not know of it yet.
func TestRetriesOfBeforeGetTheLaneOfTheirMessage(t *testing.T) {
	e := newEnv(t)
	p, c, b := e.admittedCode()
	e.exec(`
drop trigger retries_lane on retries;
drop function retry_lane;
alter table retries drop column lane;
create index retries_due on retries (operator, due_at);
delete from schema_migrations where name = '0009_retry_lane.sql'`)
	n := e.notice(p, "n")
	e.queue(n)
	for _, id := range []mobileid.ID{c.Message.ID, n.Message.ID} {
		e.exec(`insert into retries (message_id, operator, due_at) values ($1, $2, $3)`, id[:], operator, now0)
	}
	must(t, e.Migrate(e.ctx()))
	due, err := e.DueRetries(e.ctx(), operator, 10)
	must(t, err)
	if len(due) != 2 || due[0] != (mobileid.AdmitItem{ID: c.Message.ID, Lane: mobileid.LaneOTP}) || due[1].Lane != mobileid.LaneBulk {
		t.Fatalf("%+v", due)
	}
	e.exec(`delete from retries`)
	e.settle(b, e.outcome(c.Message.ID, mobileid.MessageInDoubt, p.binding.Number, ""))
	if lane := query[string](e, `select lane from retries`); lane != "otp" {
		t.Errorf("a code in doubt is on lane %q", lane)
	}
}

// Months that were made before have the check of then, which a transfer of the new kind
// must pass, too; and what they hold stays.
func TestMonthsOfBeforeTakeTransfersThatAreReconciled(t *testing.T) {
	e := newEnv(t)
	e.tariff()
	p := e.bind(cost)
	n := e.paid(p, "id", nil, "")
	e.exec(`
drop table differences_open, difference_steps, differences;
alter table transfers drop constraint transfers_why_check;
do $$
declare
    old text := 'add constraint transfers_why_check check (why in (''admitted'', ''answer'', ''receipt'', ''confirmed'', ''doubt'', ''stopped'', ''absent'', ''charger'', ''migrated''))';
    part text;
begin
    for part in select c.relname from pg_inherits i join pg_class c on c.oid = i.inhrelid where i.inhparent = 'transfers'::regclass loop
        execute format('alter table %I drop constraint if exists transfers_why_check', part);
        execute format('alter table %I ', part) || old;
    end loop;
    execute 'alter table transfers ' || old;
end $$;
delete from schema_migrations where name = '0015_differences.sql'`)
	must(t, e.Migrate(e.ctx()))
	if _, out := e.differ(fileOf(1), false, e.debited(p, 3, "id", 0)); out.Settled != 1 {
		t.Errorf("%+v", out)
	}
	e.wantTransfers(n.Message.ID, "pending admitted 1 0", "posted answer -1 1", "reversed reconciled 0 -1")
}

// The owner of an account of before names the number and the operator.
func TestAccountsOfBeforeAreOfTheirNumber(t *testing.T) {
	e := newEnv(t)
	e.tariff()
	p := e.bind(0)
	e.refuse(p, e.bridge())
	limit := cost
	_, err := e.SetDailyCeiling(e.ctx(), p.binding.Person, &limit)
	must(t, err)
	e.exec(`
insert into accounts (owner, kept) values ('payer:state', false);
alter table accounts drop column number, drop column operator;
alter table bindings drop column suspended_account, drop column daily_ceiling;
delete from schema_migrations where name = '0017_paying.sql'`)
	must(t, e.Migrate(e.ctx()))
	if n := query[int](e, `select count(*) from accounts where number = $1 and operator = $2`, p.binding.Number[:], operator); n != 1 {
		t.Errorf("%d accounts of the number", n)
	}
	if n := query[int](e, `select count(*) from accounts where number is null`); n != 1 {
		t.Errorf("%d accounts are of nobody's number, want that of the payer", n)
	}
	if v, err := e.Subscribers(e.ctx(), []mobileid.Pseudonym{p.binding.Person}); err != nil || v[p.binding.Person].SuspendedWhy != mobileid.SuspendedForBalance ||
		v[p.binding.Person].Ceiling == nil || *v[p.binding.Person].Ceiling != limit {
		t.Errorf("%+v %v", v, err)
	}
}

// A ceiling of before counts at every operator that the number has been with.
func TestACeilingOfBeforeGoesWithTheNumber(t *testing.T) {
	m := newMoved(t)
	m.wantSent(true)
	limit := cost
	_, err := m.SetDailyCeiling(m.ctx(), m.binding.Person, &limit)
	must(t, err)
	m.exec(`update accounts set daily_limit = null where operator = $1`, other)
	m.exec(`
alter table accounts drop column number, drop column operator;
alter table bindings drop column suspended_account, drop column daily_ceiling;
delete from schema_migrations where version in (17, 19)`)
	must(t, m.Migrate(m.ctx()))
	m.wantSent(false)
}

// What there was no money for before is told, too, and a month that is made later notes
// it like those that were there.
func TestWhatWasNotPaidBeforeIsTold(t *testing.T) {
	e := newEnv(t)
	e.tariff()
	p, b := e.bind(0), e.bridge()
	e.refuse(p, b)
	e.exec(`
drop trigger messages_unpaid on messages;
drop function note_unpaid;
drop table unpaid;
delete from schema_migrations where name = '0018_unpaid.sql'`)
	must(t, e.Migrate(e.ctx()))
	e.clk.ns.Store(now0.AddDate(0, 5, 0).UnixNano())
	must(t, e.Migrate(e.ctx()))
	e.refuse(p, b)
	s, err := e.PersonStatement(e.ctx(), mobileid.StatementQuery{Person: p.binding.Person, Limit: 10})
	must(t, err)
	if len(s.Charges) != 2 || s.Charges[0].State != mobileid.MessageNoFunds || s.Charges[1].State != mobileid.MessageNoFunds {
		t.Errorf("%+v", s.Charges)
	}
	const bare = `select count(*) from pg_inherits i join pg_class m on m.oid = i.inhrelid
		where i.inhparent = 'messages'::regclass and to_regclass(replace(m.relname, 'messages', 'unpaid')) is null`
	if n := query[int](e, bare); n != 0 {
		t.Errorf("%d months of Messages have nowhere to note it", n)
	}
}
