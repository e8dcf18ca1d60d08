package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"time"

	"github.com/pressly/goose/v3"

	"cellar/migrations"
)

// Migration is what bringing a database to this program's schema did.
type Migration struct {
	Applied []string // the steps, by name
	Copy    string   // the database as it was before; empty if there was nothing to keep
}

// ErrNewer is a database that a newer version of the program has worked on.
var ErrNewer = errors.New("the database was made by a newer version of cellar")

// Migrate applies the steps that a database lacks, after a copy of it. Unlike
// Open it makes no database where there is none.
func Migrate(ctx context.Context, file string) (Migration, error) {
	if _, err := Pending(ctx, file); err != nil {
		return Migration{}, err
	}
	db, err := sql.Open("sqlite3", address(file, "_txlock=immediate"))
	if err != nil {
		return Migration{}, err
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	return migrate(ctx, db, file, migrations.Files)
}

// Pending names the steps that a database lacks. It only reads, so that it may
// look at what a hub is using.
func Pending(ctx context.Context, file string) ([]string, error) {
	return pending(ctx, file, migrations.Files)
}

func pending(ctx context.Context, file string, steps fs.FS) ([]string, error) {
	if _, err := os.Stat(file); err != nil {
		return nil, err // SQLite would make one
	}
	db, err := sql.Open("sqlite3", address(file, "_query_only=on"))
	if err != nil {
		return nil, err
	}
	defer db.Close()
	done, newest, err := applied(ctx, db)
	if err != nil {
		return nil, fmt.Errorf("database %s: %w", filepath.Base(file), err)
	}
	p, err := goose.NewProvider(goose.DialectSQLite3, db, steps, goose.WithLogger(goose.NopLogger()))
	if err != nil {
		return nil, err
	}
	var out []string
	last := int64(0)
	for _, s := range p.ListSources() {
		if last = max(last, s.Version); !done[s.Version] {
			out = append(out, stepName(s.Path))
		}
	}
	if newest > last {
		return nil, ErrNewer
	}
	return out, nil
}

// applied reads goose's own table: its provider would make the table first.
func applied(ctx context.Context, db *sql.DB) (done map[int64]bool, newest int64, err error) {
	var tables int
	if err := db.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = 'goose_db_version'").Scan(&tables); err != nil || tables == 0 {
		return nil, 0, err
	}
	rows, err := db.QueryContext(ctx, "SELECT version_id FROM goose_db_version WHERE is_applied")
	if err != nil {
		return nil, 0, err
	}
	defer rows.Close()
	done = map[int64]bool{}
	for rows.Next() {
		var v int64
		if err := rows.Scan(&v); err != nil {
			return nil, 0, err
		}
		done[v], newest = true, max(newest, v)
	}
	return done, newest, rows.Err()
}

// migrate applies steps to db, which is in file, copying it before the first.
func migrate(ctx context.Context, db *sql.DB, file string, steps fs.FS) (m Migration, err error) {
	p, err := goose.NewProvider(goose.DialectSQLite3, db, steps, goose.WithLogger(goose.NopLogger()))
	if err != nil {
		return m, err
	}
	pending, err := p.HasPending(ctx)
	if err != nil {
		return m, fmt.Errorf("database %s: %w", filepath.Base(file), err)
	}
	if !pending {
		return m, nil
	}
	if v, err := p.GetDBVersion(ctx); err == nil && v > 0 {
		name := fmt.Sprintf("%s.before-%d-%s", file, v+1, time.Now().UTC().Format("20060102T150405"))
		if err := touch(name); err != nil {
			return m, err
		}
		if _, err := db.ExecContext(ctx, "VACUUM INTO ?", address(name)); err != nil {
			return m, fmt.Errorf("copying the database before its migration: %w", err)
		}
		m.Copy = name
	}
	results, err := p.Up(ctx)
	for _, r := range results {
		m.Applied = append(m.Applied, stepName(r.Source.Path))
	}
	return m, err
}

func stepName(file string) string {
	name := path.Base(file)
	return name[:len(name)-len(path.Ext(name))]
}
