package testenv

import (
	"context"
	"crypto/rand"
	"net/url"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

// databasePrefix begins the names of tests' databases.
const databasePrefix = "mobileid_test_"

// newDatabase makes an empty database on the server, dropped at the end of the
// test whoever is still connected, and returns its connection string.
func newDatabase(t testing.TB, serverDSN string) string {
	t.Helper()
	name := databasePrefix + strings.ToLower(rand.Text())
	onServer(t.Context(), t, serverDSN, "CREATE DATABASE "+name+" TEMPLATE template0")
	t.Cleanup(func() {
		onServer(context.WithoutCancel(t.Context()), t, serverDSN, "DROP DATABASE IF EXISTS "+name+" WITH (FORCE)")
	})
	dsn, err := url.Parse(serverDSN)
	if err != nil {
		t.Fatal("testenv: the server's connection string is not a URL")
	}
	dsn.Path = "/" + name
	return dsn.String()
}

func onServer(ctx context.Context, t testing.TB, dsn, sql string) {
	t.Helper()
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		t.Fatal("testenv:", err)
	}
	defer func() { _ = conn.Close(ctx) }()
	_, err = conn.Exec(ctx, sql)
	if err != nil {
		t.Fatalf("testenv: %s: %v", sql, err)
	}
}

// dropAbandoned drops databases of tests that were killed before their end.
func dropAbandoned(t testing.TB, serverDSN string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), serverDSN)
	if err != nil {
		t.Fatal("testenv:", err)
	}
	defer func() { _ = conn.Close(t.Context()) }()
	rows, err := conn.Query(t.Context(), `select datname::text from pg_database where starts_with(datname, $1)`, databasePrefix)
	if err != nil {
		t.Fatal("testenv:", err)
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal("testenv:", err)
	}
	for _, name := range names {
		onServer(t.Context(), t, serverDSN, "DROP DATABASE IF EXISTS "+name+" WITH (FORCE)")
	}
}
