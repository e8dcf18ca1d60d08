// Package store keeps the hub's records in SQLite. It knows columns and nothing
// of what the records mean.
package store

import (
	"context"
	"database/sql"
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/mattn/go-sqlite3"

	"cellar/internal/fault"
	"cellar/migrations"
	"cellar/server/hub"
)

// Store is a hub.Store on one SQLite file: write-ahead log, foreign keys, one
// writer.
type Store struct {
	read  *sql.DB
	write *sql.DB

	// What every request asks for.
	users     recent[hub.User]
	tokens    recent[hub.Token]
	logins    recent[hub.Login]
	projects  recent[hub.Project]
	sessions  recent[[]hub.Session]
	nodes     recent[hub.Node]
	revisions recent[hub.Revision]
	aliases   recent[hub.Alias]
}

// Open opens or makes the database, copying it before a migration changes it.
func Open(ctx context.Context, file string) (*Store, error) {
	if err := os.MkdirAll(filepath.Dir(file), 0o711); err != nil {
		return nil, err
	}
	// SQLite gives its other files the mode of this one.
	if err := touch(file); err != nil {
		return nil, err
	}
	write, err := sql.Open("sqlite3", address(file, "_journal_mode=WAL", "_foreign_keys=on", "_synchronous=FULL", "_txlock=immediate"))
	if err != nil {
		return nil, err
	}
	write.SetMaxOpenConns(1)
	s := &Store{write: write}
	if _, err := migrate(ctx, write, file, migrations.Files); err != nil {
		write.Close()
		return nil, err
	}
	if s.read, err = sql.Open("sqlite3", address(file, "_journal_mode=WAL", "_foreign_keys=on", "_synchronous=FULL", "_query_only=on")); err != nil {
		write.Close()
		return nil, err
	}
	s.read.SetMaxOpenConns(4)
	return s, nil
}

// OpenToRead opens a database of this version to look at it, whoever works on it.
// One of another version is an error.
func OpenToRead(ctx context.Context, file string) (*Store, error) {
	steps, err := Pending(ctx, file)
	if err != nil {
		return nil, err
	}
	if len(steps) > 0 {
		return nil, fault.Newf(fault.Conflict, "older_database", "The database lacks %d steps of this version.", len(steps))
	}
	read, err := sql.Open("sqlite3", address(file, "_query_only=on"))
	if err != nil {
		return nil, err
	}
	return &Store{read: read, write: read}, nil
}

// address is the URI of a database: its parameters begin at a question mark,
// so what a folder's name has of those and their like must be escaped.
func address(file string, parameters ...string) string {
	u := url.URL{Path: file}
	return "file:" + u.EscapedPath() + "?" + strings.Join(append(parameters, "_busy_timeout=5000"), "&")
}

// touch makes an empty file that only its owner may read, if there is none.
func touch(name string) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	return f.Close()
}

// Close closes the database.
func (s *Store) Close() error { return errors.Join(s.read.Close(), s.write.Close()) }

func (s *Store) exec(ctx context.Context, query string, args ...any) error {
	res, err := s.write.ExecContext(ctx, query, args...)
	if err != nil {
		return classify(err)
	}
	if n, err := res.RowsAffected(); err == nil && n == 0 {
		return errNotThere
	}
	return nil
}

var errNotThere = fault.New(fault.NotFound, "not_found", "There is nothing by that name.")

func classify(err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, sql.ErrNoRows) {
		return errNotThere
	}
	var se sqlite3.Error
	if errors.As(err, &se) {
		switch {
		case se.ExtendedCode == sqlite3.ErrConstraintUnique || se.ExtendedCode == sqlite3.ErrConstraintPrimaryKey:
			return fault.Wrap(fault.Conflict, "exists", "There is one by that name already.", err)
		case se.Code == sqlite3.ErrFull:
			return fault.Wrap(fault.Exhausted, "disk_full", "The disk of the server is full.", err)
		}
	}
	return err
}

// row is what sql.Row and sql.Rows share.
type row interface{ Scan(dest ...any) error }

func one[T any](ctx context.Context, s *Store, scan func(row) (T, error), query string, args ...any) (T, error) {
	v, err := scan(s.read.QueryRowContext(ctx, query, args...))
	if err != nil {
		var none T
		return none, classify(err)
	}
	return v, nil
}

func all[T any](ctx context.Context, s *Store, scan func(row) (T, error), query string, args ...any) ([]T, error) {
	rows, err := s.read.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, classify(err)
	}
	defer rows.Close()
	var out []T
	for rows.Next() {
		v, err := scan(rows)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, rows.Err()
}

func ms(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func at(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}
