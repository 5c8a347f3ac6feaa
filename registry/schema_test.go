package registry_test

import (
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"mobileid/internal/mobileid"
	"mobileid/registry"
)

// objects counts what the catalogue has of one schema.
const objects = `select (select count(*) from pg_class where relnamespace = n.oid) + (select count(*) from pg_type where typnamespace = n.oid)
	+ (select count(*) from pg_proc where pronamespace = n.oid) from pg_namespace n where nspname = $1`

// A whole life in a schema beside another registry's tables, which stay empty.
func TestTheRegistryKeepsToTheSchemaOfItsDSN(t *testing.T) {
	beside := newEnv(t)
	const name = "mobileid_demo_test"
	before := query[int](beside, objects, "public")
	must(t, beside.CreateSchema(beside.ctx(), name))
	must(t, beside.CreateSchema(beside.ctx(), name))
	dsn, err := registry.WithSchema(databaseDSN(beside.name), name)
	must(t, err)
	e := &env{t: t, clk: beside.clk, name: beside.name, key: beside.key}
	e.DB, err = registry.Open(e.ctx(), registry.Config{DSN: dsn, Now: e.clk.now})
	must(t, err)
	e.pool, err = pgxpool.New(e.ctx(), dsn)
	must(t, err)

	if err := e.CheckSchema(e.ctx()); mobileid.CodeOf(err) != "schema_old" {
		t.Fatalf("the tables of another schema are taken for this one's: %v", err)
	}
	must(t, e.Migrate(e.ctx()))
	must(t, e.CheckSchema(e.ctx()))
	e.tariff()
	p := e.bind(10 * cost)
	c := e.challenge(p, "k")
	e.issue(c)
	b := e.bridge()
	e.admit(b, c.Message.ID)
	e.settle(b, e.outcome(c.Message.ID, mobileid.MessageSent, p.binding.Number, "op-1"))
	if n := e.receipts(e.receipt(p.binding.Number, "op-1", mobileid.MessageDelivered)); n != 1 {
		t.Fatalf("%d receipts were matched", n)
	}
	_, err = e.confirmCode(c, 1)
	must(t, err)
	e.wantCharge(c.Message.ID, "posted")
	if _, err := e.Explain(e.ctx(), c.Request.ID); err != nil {
		t.Fatal(err)
	}
	must(t, registry.NewSweeper(e.DB, registry.SweepConfig{Grace: 1}, &lanes{}, nil).Sweep(e.ctx()))
	_, err = registry.NewRelay(e.DB, publisher(func([]mobileid.StatusChanged) error { return nil }), registry.RelayConfig{}).Once(e.ctx())
	must(t, err)
	e.DB.Close()
	e.pool.Close()

	if others := query[int](beside, `select (select count(*) from bindings) + (select count(*) from messages) + (select count(*) from outbox)`); others != 0 {
		t.Errorf("%d rows came into the tables beside", others)
	}
	names, err := beside.Schemas(beside.ctx(), "mobileid_demo_")
	must(t, err)
	if len(names) != 1 || names[0] != name {
		t.Errorf("schemas: %v", names)
	}
	for range 2 {
		must(t, beside.DropSchema(beside.ctx(), name))
	}
	names, err = beside.Schemas(beside.ctx(), "mobileid_demo_")
	must(t, err)
	if after := query[int](beside, objects, "public"); after != before || len(names) != 0 {
		t.Errorf("%d objects beside, before %d; schemas left: %v", after, before, names)
	}
}

func TestASchemaThatIsRefusedSaysWhatToGrant(t *testing.T) {
	e := newEnv(t)
	role := e.name + "_guest" // roles are of the whole cluster
	e.exec(`create role ` + role + ` login`)
	t.Cleanup(func() { must(t, admin(e.ctx(), "drop role "+role)) })
	guest, err := registry.Open(e.ctx(), registry.Config{DSN: databaseDSN(e.name)})
	must(t, err)
	defer guest.Close()
	e.exec(`alter database ` + e.name + ` set role to ` + role)
	if err := guest.CreateSchema(e.ctx(), "x"); mobileid.CodeOf(err) != "schema_denied" {
		t.Errorf("err = %v (%v)", err, cause(err))
	}
}

func TestWithSchemaNamesTheSchemaAndNothingElse(t *testing.T) {
	for _, dsn := range []string{
		"postgres://u:p%40%2Fw@localhost:5433/d?sslmode=disable&search_path=other",
		"postgresql://u:p%40%2Fw@localhost:5433/d?sslmode=disable",
		"host=localhost port=5433 user=u password='p@/w' dbname=d sslmode=disable search_path=other",
	} {
		with, err := registry.WithSchema(dsn, "ours")
		must(t, err)
		c, err := pgx.ParseConfig(with)
		must(t, err)
		if c.RuntimeParams["search_path"] != "ours" || c.Host != "localhost" || c.Port != 5433 || c.User != "u" || c.Password != "p@/w" || c.Database != "d" {
			t.Errorf("%s became another database: %s:%d %s %s, search_path %s", dsn, c.Host, c.Port, c.User, c.Database, c.RuntimeParams["search_path"])
		}
	}
	if _, err := registry.WithSchema("postgres://u:secret word@%zz/d", "ours"); mobileid.CodeOf(err) != "dsn_format" {
		t.Errorf("err = %v", err)
	}
}
