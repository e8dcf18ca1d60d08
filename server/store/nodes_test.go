package store

import (
	"context"
	"database/sql"
	"path/filepath"
	"testing"

	"github.com/pressly/goose/v3"

	"cellar/internal/fault"
	"cellar/migrations"
	"cellar/server/hub"
)

func someRevision(number int) hub.Revision {
	return hub.Revision{
		Node: "n1", Number: number, Files: number, Checkpoint: "c", Configuration: "c1.1", Notebook: "x.ipynb", Cell: "cell", Source: "y = x",
		Inputs: []byte(`[{"name":"x"}]`), Outputs: []byte(`[]`), Author: "ada", Note: "new", CreatedAt: now,
	}
}

func TestNodes(t *testing.T) {
	s, _ := open(t)
	ctx := t.Context()
	addProject(t, s, "a")
	n := hub.Node{ID: "n1", Project: "a", Name: "N", Current: 1, Last: 1, CreatedAt: now}
	class(t, "a second revision of nothing", s.AddRevision(ctx, n, someRevision(2)), fault.NotFound)
	ok(t, s.AddRevision(ctx, n, someRevision(1)))
	class(t, "the first one twice", s.AddRevision(ctx, n, someRevision(1)), fault.Conflict)
	n.Name, n.Paused = "M", true
	ok(t, s.PutNode(ctx, n))
	got, err := s.Node(ctx, "n1")
	ok(t, err)
	same(t, "one", got, n)
	_, err = s.Node(ctx, "n9")
	class(t, "another ID", err, fault.NotFound)
	for project, want := range map[string]int{"": 1, "a": 1, "b": 0} {
		list, err := s.Nodes(ctx, project)
		ok(t, err)
		same(t, "nodes of "+project, len(list), want)
	}
	ok(t, s.DeleteNode(ctx, "n1"))
	class(t, "deleted already", s.DeleteNode(ctx, "n1"), fault.NotFound)
	_, err = s.Revision(ctx, "n1", 1)
	class(t, "its revision went with it", err, fault.NotFound)
	class(t, "a revision of a deleted node", s.AddRevision(ctx, n, someRevision(2)), fault.NotFound)
}

func TestRevisions(t *testing.T) {
	s, _ := open(t)
	ctx := t.Context()
	addProject(t, s, "a")
	current := func(want int) {
		t.Helper()
		n, err := s.Node(ctx, "n1")
		ok(t, err)
		same(t, "current", n.Current, want)
	}
	n := hub.Node{ID: "n1", Project: "a", Name: "N", CreatedAt: now}
	for number := 1; number <= 3; number++ {
		ok(t, s.AddRevision(ctx, n, someRevision(number)))
		current(number)
	}
	got, err := s.Revision(ctx, "n1", 2)
	ok(t, err)
	same(t, "one", got, someRevision(2))
	list, err := s.Revisions(ctx, "n1")
	ok(t, err)
	same(t, "newest first", list, []hub.Revision{someRevision(3), someRevision(2), someRevision(1)})
	ok(t, s.SetCurrent(ctx, "n1", 1))
	current(1)
	class(t, "one that is not there", s.SetCurrent(ctx, "n1", 4), fault.NotFound)
	class(t, "the current one", s.DeleteRevision(ctx, "n1", 1), fault.NotFound)
	ok(t, s.DeleteRevision(ctx, "n1", 3))
	_, err = s.Revision(ctx, "n1", 3)
	class(t, "deleted", err, fault.NotFound)
	class(t, "to a deleted one", s.SetCurrent(ctx, "n1", 3), fault.NotFound)
	class(t, "a number that was given", s.AddRevision(ctx, n, someRevision(3)), fault.NotFound)
	ok(t, s.AddRevision(ctx, n, someRevision(4)))
	current(4)
}

// A node from before there were revisions.
func TestANodeBecomesRevisionOne(t *testing.T) {
	file := filepath.Join(t.TempDir(), "cellar.db")
	db, err := sql.Open("sqlite3", address(file, "_foreign_keys=on"))
	ok(t, err)
	p, err := goose.NewProvider(goose.DialectSQLite3, db, migrations.Files, goose.WithLogger(goose.NopLogger()))
	ok(t, err)
	_, err = p.UpTo(context.Background(), 5)
	ok(t, err)
	_, err = db.Exec(`INSERT INTO users VALUES ('u', 'ada', 0, '', 1); INSERT INTO projects (id, name, owner, uid_base, created_at) VALUES ('a', 'A', 'u', 1, 1);
		INSERT INTO nodes VALUES ('n1', 'a', 'N', 'c', 'c1.1', 'x.ipynb', 'cell', 'y = x', '[{"name":"x"}]', '[]', x'01', 1, 1700000000123)`)
	ok(t, err)
	ok(t, db.Close())
	s, err := Open(t.Context(), file)
	ok(t, err)
	defer s.Close()
	n, err := s.Node(t.Context(), "n1")
	ok(t, err)
	same(t, "the node", n, hub.Node{ID: "n1", Project: "a", Name: "N", Current: 1, Last: 1, Paused: true, CreatedAt: now})
	keys, err := s.CallKeys(t.Context())
	ok(t, err)
	same(t, "its key", keys, []hub.Key{{ID: "first-n1", Project: "a", Name: "first", Hash: []byte{1}, OldHash: []byte{}, Scope: []string{"n1"}, CreatedAt: now}})
	want := someRevision(1)
	want.Author, want.Note = "", ""
	got, err := s.Revision(t.Context(), "n1", 1)
	ok(t, err)
	same(t, "its revision", got, want)
}
