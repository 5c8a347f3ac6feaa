package demo

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"mobileid/internal/mobileid"
	"mobileid/registry"
)

// What begins the names of schemas in a database that was given: of a run,
// which drops it at its end, and of a kept folder.
const (
	runPrefix  = "mobileid_demo_"
	keptPrefix = "mobileid_kept_"
)

// schemaFile is where a kept folder remembers the name of its schema.
const schemaFile = "postgres-schema"

// schemaTimeout bounds making and dropping one.
const schemaTimeout = 10 * time.Second

// givenSchema is what the demo has of a database that was given.
type givenSchema struct {
	database string // DSN
	name     string
	kept     bool
}

// settleIn finds the place of the tables: the private cluster is ours alone, a
// database that was given is not.
func (d *demo) settleIn(ctx context.Context) error {
	d.dsn = d.postgres.DSN()
	if d.opts.Postgres == "" {
		return nil
	}
	g := &givenSchema{database: d.dsn, kept: d.temp == nil}
	var err error
	if g.name, err = g.named(d.dir); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, schemaTimeout)
	defer cancel()
	err = g.open(ctx, func(db *registry.DB) error {
		others, err := db.Schemas(ctx, runPrefix)
		if err != nil {
			return err
		}
		for _, other := range others {
			d.sayf("schema %s is of a demo that runs or was killed; in the second case: drop schema %s cascade", other, other)
		}
		err = db.CreateSchema(ctx, g.name)
		if err == nil || mobileid.KindOf(err) == mobileid.KindUnknown {
			d.schema = g // from here on there is something to drop
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("a schema in the database of --postgres: %w", err)
	}
	d.sayf("PostgreSQL of --postgres, schema %s", g.name)
	d.dsn, err = registry.WithSchema(g.database, g.name)
	return err
}

// named returns the name in a kept folder, which is made when it is not there
// yet, or a new one.
func (g *givenSchema) named(dir string) (string, error) {
	fresh := strings.ToLower(rand.Text()[:10])
	if !g.kept {
		return runPrefix + fresh, nil
	}
	path := filepath.Join(dir, schemaFile)
	known, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		known = []byte(keptPrefix + fresh)
		err = os.WriteFile(path, append(known, '\n'), 0o600)
	}
	return strings.TrimSpace(string(known)), err
}

// leave drops what is not to be kept. The run may have ended because its
// context did, so this has time of its own.
func (g *givenSchema) leave() error {
	if g.kept {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), schemaTimeout)
	defer cancel()
	err := g.open(ctx, func(db *registry.DB) error { return db.DropSchema(ctx, g.name) })
	if err != nil {
		return fmt.Errorf("schema %s stays in the database of --postgres (drop schema %s cascade): %w", g.name, g.name, err)
	}
	return nil
}

// open opens the database for a moment.
func (g *givenSchema) open(ctx context.Context, use func(*registry.DB) error) error {
	db, err := registry.Open(ctx, registry.Config{DSN: g.database, MaxConns: 1})
	if err != nil {
		return err
	}
	defer db.Close()
	return use(db)
}
