package registry

import (
	"context"
	"log/slog"
	"net"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"

	"mobileid/internal/mobileid"
)

// Config is how to reach the registry.
type Config struct {
	DSN      string // URL or key=value form; search_path in it is obeyed
	MaxConns int32  // of this process; 0 = 8
	Log      *slog.Logger
	Now      func() time.Time // nil = time.Now
	Reg      prometheus.Registerer
	Guards   GuardRules // zero: 15 minutes, 10 a day
}

// DB is the registry. It is safe for concurrent use.
type DB struct {
	pool    *pgxpool.Pool
	log     *slog.Logger
	now     func() time.Time
	metrics *metrics
	plans   *plans
	months  monthSQL
	guards  GuardRules
}

// sessionParams are set on every connection.
//
// plan_cache_mode=force_generic_plan: a statement is planned once a connection.
// A batch of one Message was planned anew each time otherwise, and that took
// longer than running it (admission: 1.1 of 1.6 ms). Such a plan does not see
// the size of its tables, so it must be right at any: enable_seqscan=off,
// because what is planned while a month is young would walk the whole month
// later, and so would the inner side of a hash or merge join (enable_hashjoin,
// enable_mergejoin). Statements are written so that each table is reached
// through an index; where there is none Postgres still walks the table. A table
// that is often empty (outbox, live_challenges, retries) is planned for as
// empty, and of an empty table the cheapest is all of it: those are always
// asked with "= any(array)", which no plan leaves to a filter. The partitions
// of months are the business of plans.
//
// jit=off: a batch is a few hundred rows, compiling it costs more than running
// it. random_page_cost=1.1: what a Message touches is in memory.
var sessionParams = map[string]string{
	"application_name":                    "mobileid",
	"timezone":                            "UTC",
	"jit":                                 "off",
	"plan_cache_mode":                     "force_generic_plan",
	"enable_seqscan":                      "off",
	"enable_hashjoin":                     "off",
	"enable_mergejoin":                    "off",
	"random_page_cost":                    "1.1",
	"statement_timeout":                   "15s",
	"idle_in_transaction_session_timeout": "30s",
	"log_parameter_max_length_on_error":   "0", // parameters hold sealed texts and pseudonyms
}

// Open makes the pool. It does not connect yet. A DSN that cannot
// be parsed is KindInvalid; the error does not repeat it.
func Open(ctx context.Context, cfg Config) (*DB, error) {
	pc, err := pgxpool.ParseConfig(cfg.DSN)
	if err != nil {
		return nil, errDSN()
	}
	db := &DB{log: cfg.Log, now: cfg.Now, metrics: newMetrics(cfg.Reg), guards: cfg.Guards}
	if db.guards == (GuardRules{}) {
		db.guards = GuardRules{Pause: 15 * time.Minute, Day: 10}
	}
	if db.log == nil {
		db.log = slog.New(slog.DiscardHandler)
	}
	if db.now == nil {
		db.now = time.Now
	}
	for k, v := range sessionParams {
		if _, set := pc.ConnConfig.RuntimeParams[k]; !set {
			pc.ConnConfig.RuntimeParams[k] = v
		}
	}
	pc.MaxConns = cfg.MaxConns
	if pc.MaxConns <= 0 {
		pc.MaxConns = 8
	}
	pc.ConnConfig.ConnectTimeout = 2 * time.Second
	// A server that has gone without a word: an idle connection to it is noticed
	// in half a minute, one that is about to be used at once.
	pc.ConnConfig.DialFunc = (&net.Dialer{KeepAliveConfig: net.KeepAliveConfig{
		Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 3,
	}}).DialContext
	pc.PingTimeout = time.Second
	db.plans = &plans{now: db.now}
	pc.AfterConnect, pc.PrepareConn = db.plans.born, db.plans.young
	pc.MaxConnLifetime = time.Hour
	pc.MaxConnLifetimeJitter = 10 * time.Minute
	if db.pool, err = pgxpool.NewWithConfig(ctx, pc); err != nil {
		return nil, clean("open", err)
	}
	return db, nil
}

func errDSN() error {
	return mobileid.Invalid("postgres.dsn", "dsn_format", "the DSN of Postgres cannot be parsed")
}

// Close waits for the connections in use and closes them.
func (db *DB) Close() { db.pool.Close() }

// clock is the injected time, to the microsecond that Postgres keeps.
func (db *DB) clock() time.Time { return db.now().UTC().Truncate(time.Microsecond) }

// inTx runs fn in a transaction and cleans its error.
func (db *DB) inTx(ctx context.Context, op string, fn func(pgx.Tx) error) error {
	defer db.metrics.time(op)()
	err := clean(op, pgx.BeginFunc(ctx, db.pool, fn))
	db.metrics.failed(op, err)
	return err
}

// inTwo runs a transaction in two round trips: the statements of first, which
// lock and read, and those of second, which is made from what they read and
// may be empty. The clean way, with a begin and a commit of their own, takes
// four, and each of them wakes two processes.
func (db *DB) inTwo(ctx context.Context, op string, first *pgx.Batch, second func(*pgx.Batch)) error {
	defer db.metrics.time(op)()
	err := clean(op, db.pool.AcquireFunc(ctx, func(conn *pgxpool.Conn) error { return inTwo(ctx, conn.Conn(), first, second) }))
	db.metrics.failed(op, err)
	return err
}

func inTwo(ctx context.Context, conn *pgx.Conn, first *pgx.Batch, second func(*pgx.Batch)) error {
	begun := &pgx.Batch{}
	begun.Queue(`begin`)
	begun.QueuedQueries = append(begun.QueuedQueries, first.QueuedQueries...)
	err := conn.SendBatch(ctx, begun).Close()
	if err == nil {
		rest := &pgx.Batch{}
		second(rest)
		rest.Queue(`commit`)
		err = conn.SendBatch(ctx, rest).Close()
	}
	if err != nil && conn.PgConn().TxStatus() != 'I' && !conn.IsClosed() {
		// As pgx does it: the pool drops a connection that stays in a transaction.
		_, _ = conn.Exec(ctx, `rollback`)
	}
	return err
}

// send runs the statements of b in one round trip as one transaction (the
// batch has no other Sync than its last, so the server commits it whole or not
// at all), giving the rows of the last statement to read, if that is not nil.
func (db *DB) send(ctx context.Context, op string, b *pgx.Batch, read func(pgx.Rows) error) error {
	defer db.metrics.time(op)()
	if read != nil {
		b.QueuedQueries[b.Len()-1].Query(func(rows pgx.Rows) error {
			for rows.Next() {
				if err := read(rows); err != nil {
					return err
				}
			}
			return rows.Err()
		})
	}
	// Close reads every answer, that to Sync, which is the commit, included.
	err := clean(op, db.pool.SendBatch(ctx, b).Close())
	db.metrics.failed(op, err)
	return err
}

// query runs one statement, a transaction of its own, and gives its rows to
// read.
func (db *DB) query(ctx context.Context, op, sql string, args []any, read func(pgx.Rows) error) error {
	b := &pgx.Batch{}
	b.Queue(sql, args...)
	return db.send(ctx, op, b, read)
}

// look is one for a statement that changes nothing. A connection that breaks
// under it leaves no doubt: the statement is tried once more on another, and
// then the database counts as away.
func (db *DB) look(ctx context.Context, op string, dst []any, sql string, args ...any) error {
	err := db.one(ctx, op, dst, sql, args...)
	if mobileid.KindOf(err) == mobileid.KindUnknown && ctx.Err() == nil {
		err = db.one(ctx, op, dst, sql, args...)
	}
	if mobileid.KindOf(err) == mobileid.KindUnknown && ctx.Err() == nil {
		err = mobileid.Unavailable("database_away", comeBack, err)
	}
	return err
}

// one runs one statement and scans its row into dst; KindNotFound if there is
// none.
func (db *DB) one(ctx context.Context, op string, dst []any, sql string, args ...any) error {
	found := false
	err := db.query(ctx, op, sql, args, func(r pgx.Rows) error {
		found = true
		return r.Scan(dst...)
	})
	if err == nil && !found {
		err = notFound()
	}
	return err
}
