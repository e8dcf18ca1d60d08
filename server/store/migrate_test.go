package store

import (
	"context"
	"database/sql"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"testing/fstest"

	"cellar/migrations"
	"cellar/server/hub"
)

// grown is this program's steps and one more.
func grown(t *testing.T) fs.FS {
	t.Helper()
	out := fstest.MapFS{"9000_colour.sql": {Data: []byte("-- +goose Up\nALTER TABLE projects ADD COLUMN colour TEXT NOT NULL DEFAULT 'red';\n")}}
	entries, err := migrations.Files.ReadDir(".")
	ok(t, err)
	for _, e := range entries {
		b, err := migrations.Files.ReadFile(e.Name())
		ok(t, err)
		out[e.Name()] = &fstest.MapFile{Data: b}
	}
	return out
}

// raw opens a database past the store.
func raw(t *testing.T, file string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite3", address(file))
	ok(t, err)
	t.Cleanup(func() { db.Close() })
	return db
}

func TestAStepIsListedAndThenAppliedAfterACopy(t *testing.T) {
	s, file := open(t)
	addProject(t, s, "a")
	steps := grown(t)
	// The hub is still running here: looking must neither fail nor change anything.
	list, err := pending(t.Context(), file, steps)
	ok(t, err)
	same(t, "pending", list, []string{"9000_colour"})
	ok(t, s.Close())
	list, err = pending(t.Context(), file, steps)
	ok(t, err)
	same(t, "still pending", list, []string{"9000_colour"})

	m, err := migrate(t.Context(), raw(t, file), file, steps)
	ok(t, err)
	same(t, "applied", m.Applied, []string{"9000_colour"})
	if st, err := os.Stat(m.Copy); err != nil || st.Mode().Perm() != 0o600 {
		t.Fatalf("the copy %s: %v, %v", m.Copy, st, err)
	}
	var colour, name string
	ok(t, raw(t, file).QueryRow("SELECT colour FROM projects WHERE id = 'a'").Scan(&colour))
	same(t, "the new column", colour, "red")
	ok(t, raw(t, m.Copy).QueryRow("SELECT name FROM projects WHERE id = 'a'").Scan(&name))
	if err := raw(t, m.Copy).QueryRow("SELECT colour FROM projects").Scan(&colour); err == nil {
		t.Error("the copy has the new column")
	}
	list, err = pending(t.Context(), file, steps)
	if err != nil || len(list) != 0 {
		t.Errorf("afterwards: %v, %v", list, err)
	}
	if m, err = migrate(t.Context(), raw(t, file), file, steps); err != nil || len(m.Applied) != 0 || m.Copy != "" {
		t.Errorf("again: %+v, %v", m, err)
	}
	// To this program it is now a database of a later one.
	if _, err := Pending(t.Context(), file); !errors.Is(err, ErrNewer) {
		t.Errorf("a newer database: %v", err)
	}
	if _, err := Migrate(t.Context(), file); !errors.Is(err, ErrNewer) {
		t.Errorf("a newer database: %v", err)
	}
}

func TestMigratingWhatIsNotThere(t *testing.T) {
	file := filepath.Join(t.TempDir(), "cellar.db")
	if _, err := Pending(t.Context(), file); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("pending: %v", err)
	}
	if _, err := Migrate(t.Context(), file); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("migrate: %v", err)
	}
	if _, err := os.Stat(file); err == nil {
		t.Error("a database was made")
	}
	ok(t, os.WriteFile(file, []byte("this is no database, and it is longer than a header of one would be: forty more bytes"), 0o600))
	if _, err := Pending(t.Context(), file); err == nil {
		t.Error("any file is a database")
	}
}

// An empty file is what a start that was cut short leaves: there is nothing to copy.
func TestMigratingAnEmptyFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "cellar.db")
	ok(t, touch(file))
	m, err := Migrate(t.Context(), file)
	if err != nil || len(m.Applied) == 0 || m.Copy != "" {
		t.Errorf("%+v, %v", m, err)
	}
}

// A folder may be called what its owner likes; SQLite is told its name in a URI.
func TestNamesOfFolders(t *testing.T) {
	for _, name := range []string{"what?", "a?mode=memory&x=y", "#1", "50%", "%20", "%00x", "two words", "ümläut", "a+b", "a&b=c", "[x]*", "it's", `back\slash`} {
		t.Run(name, func(t *testing.T) {
			top := t.TempDir()
			file := filepath.Join(top, name, "cellar.db")
			s, err := Open(context.Background(), file)
			ok(t, err)
			defer s.Close()
			ok(t, s.AddUser(t.Context(), hub.User{ID: "u1", Name: "ada", CreatedAt: now}))
			if list, err := s.Users(t.Context()); err != nil || len(list) != 1 {
				t.Errorf("%v, %v", list, err)
			}
			if st, err := os.Stat(file); err != nil || st.Size() == 0 {
				t.Errorf("the database is elsewhere: %v", err)
			}
			m, err := migrate(t.Context(), s.write, file, grown(t))
			ok(t, err)
			if st, err := os.Stat(m.Copy); err != nil || st.Size() == 0 || filepath.Dir(m.Copy) != filepath.Dir(file) {
				t.Errorf("the copy %s: %v", m.Copy, err)
			}
			if entries, err := os.ReadDir(top); err != nil || len(entries) != 1 || entries[0].Name() != name {
				t.Errorf("something lies beside the folder: %v, %v", entries, err)
			}
		})
	}
}
