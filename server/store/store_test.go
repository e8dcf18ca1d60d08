package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"cellar/internal/fault"
	"cellar/kernel"
	"cellar/server/hub"
)

// now is a time as the database keeps it: whole milliseconds, UTC.
var now = time.UnixMilli(1_700_000_000_123).UTC()

func open(t testing.TB) (*Store, string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "cellar.db")
	s, err := Open(context.Background(), file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s, file
}

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func class(t testing.TB, what string, err error, want fault.Class) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: %v, want %s", what, err, want)
	}
}

func same(t testing.TB, what string, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s:\n got %+v\nwant %+v", what, got, want)
	}
}

func TestUsers(t *testing.T) {
	s, _ := open(t)
	ctx := t.Context()
	ada := hub.User{ID: "u1", Name: "ada", Admin: true, PasswordHash: "hash", CreatedAt: now}
	bob := hub.User{ID: "u2", Name: "bob", CreatedAt: now.Add(time.Second)}
	ok(t, s.AddUser(ctx, bob))
	ok(t, s.AddUser(ctx, ada))
	class(t, "the same ID", s.AddUser(ctx, hub.User{ID: "u1", Name: "other"}), fault.Conflict)
	class(t, "the same name", s.AddUser(ctx, hub.User{ID: "u3", Name: "ada"}), fault.Conflict)
	got, err := s.UserByName(ctx, "ada")
	ok(t, err)
	same(t, "by name", got, ada)
	got, err = s.UserByID(ctx, "u2")
	ok(t, err)
	same(t, "by ID", got, bob)
	_, err = s.UserByName(ctx, "ADA")
	class(t, "another name", err, fault.NotFound)
	_, err = s.UserByID(ctx, "u9")
	class(t, "another ID", err, fault.NotFound)
	list, err := s.Users(ctx)
	ok(t, err)
	same(t, "all, oldest first", list, []hub.User{ada, bob})
	ok(t, s.SetPassword(ctx, "u2", "new", nil))
	got, _ = s.UserByID(ctx, "u2")
	same(t, "the new hash", got.PasswordHash, "new")
	for _, login := range []hub.Login{{Hash: []byte{1}, User: "u1"}, {Hash: []byte{2}, User: "u2"}, {Hash: []byte{3}, User: "u2"}} {
		login.CreatedAt, login.ExpiresAt = time.Now(), time.Now().Add(time.Hour)
		ok(t, s.AddLogin(ctx, login))
	}
	logins := func() (left []byte) {
		for i := byte(1); i <= 3; i++ {
			if l, err := s.LoginByHash(ctx, []byte{i}); err == nil {
				left = append(left, l.Hash...)
			}
		}
		return left
	}
	ok(t, s.SetPassword(ctx, "u2", "newer", []byte{3}))
	same(t, "logins, but for the one kept", logins(), []byte{1, 3})
	ok(t, s.SetPassword(ctx, "u2", "newest", nil))
	same(t, "logins, with none kept", logins(), []byte{1})
	class(t, "nobody's password", s.SetPassword(ctx, "u9", "new", nil), fault.NotFound)
}

func TestTokens(t *testing.T) {
	s, _ := open(t)
	ctx := t.Context()
	ok(t, s.AddUser(ctx, hub.User{ID: "u1", Name: "ada"}))
	ok(t, s.AddUser(ctx, hub.User{ID: "u2", Name: "bob"}))
	a := hub.Token{ID: "t1", User: "u1", Hash: []byte{1}, Name: "laptop", CreatedAt: now, UsedAt: time.Now().UTC().Truncate(time.Millisecond)}
	b := hub.Token{ID: "t2", User: "u1", Hash: []byte{2}, Name: "ci", CreatedAt: now.Add(time.Second)}
	ok(t, s.AddToken(ctx, b))
	ok(t, s.AddToken(ctx, a))
	class(t, "the same hash", s.AddToken(ctx, hub.Token{ID: "t3", User: "u1", Hash: []byte{1}}), fault.Conflict)
	if err := s.AddToken(ctx, hub.Token{ID: "t4", User: "nobody", Hash: []byte{4}}); err == nil {
		t.Error("nobody has a token")
	}
	list, err := s.TokensOf(ctx, "u1")
	ok(t, err)
	same(t, "oldest first", list, []hub.Token{a, b})
	got, err := s.TokenByHash(ctx, []byte{1})
	ok(t, err)
	same(t, "used just now", got, a)
	if _, err = s.TokenByHash(ctx, []byte{2}); err != nil {
		t.Fatal(err)
	}
	list, _ = s.TokensOf(ctx, "u1")
	if list[1].UsedAt.IsZero() || !list[0].UsedAt.Equal(a.UsedAt) {
		t.Errorf("uses noted: %v, %v", list[0].UsedAt, list[1].UsedAt)
	}
	_, err = s.TokenByHash(ctx, []byte{9})
	class(t, "another hash", err, fault.NotFound)
	class(t, "somebody else's token", s.DeleteToken(ctx, "u2", "t1"), fault.NotFound)
	ok(t, s.DeleteToken(ctx, "u1", "t1"))
	_, err = s.TokenByHash(ctx, []byte{1})
	class(t, "a deleted token", err, fault.NotFound)
}

func TestLogins(t *testing.T) {
	s, _ := open(t)
	ctx := t.Context()
	ok(t, s.AddUser(ctx, hub.User{ID: "u1", Name: "ada"}))
	later := time.Now().Add(time.Hour).UTC().Truncate(time.Millisecond)
	l := hub.Login{Hash: []byte{1}, User: "u1", CreatedAt: now, ExpiresAt: later}
	ok(t, s.AddLogin(ctx, l))
	ok(t, s.AddLogin(ctx, hub.Login{Hash: []byte{2}, User: "u1", CreatedAt: now, ExpiresAt: now}))
	class(t, "the same hash", s.AddLogin(ctx, l), fault.Conflict)
	got, err := s.LoginByHash(ctx, []byte{1})
	ok(t, err)
	same(t, "by hash", got, l)
	_, err = s.LoginByHash(ctx, []byte{2})
	class(t, "an expired one", err, fault.NotFound)
	ok(t, s.DeleteLogin(ctx, []byte{1}))
	_, err = s.LoginByHash(ctx, []byte{1})
	class(t, "a deleted one", err, fault.NotFound)
	var left int
	ok(t, s.read.QueryRow("SELECT count(*) FROM logins").Scan(&left))
	if left != 0 {
		t.Errorf("%d expired logins are left", left)
	}
	class(t, "nothing to delete", s.DeleteLogin(ctx, []byte{9}), fault.NotFound)
}

func addProject(t testing.TB, s *Store, id string) hub.Project {
	t.Helper()
	s.AddUser(context.Background(), hub.User{ID: "u1", Name: "ada"})
	p, err := s.AddProject(context.Background(), hub.Project{ID: id, Name: "P " + id, Owner: "u1", CreatedAt: now})
	ok(t, err)
	return p
}

func TestProjects(t *testing.T) {
	s, _ := open(t)
	ctx := t.Context()
	a, b := addProject(t, s, "a"), addProject(t, s, "b")
	_, err := s.AddProject(ctx, hub.Project{ID: "a", Name: "again", Owner: "u1"})
	class(t, "the same ID", err, fault.Conflict)
	_, err = s.AddProject(ctx, hub.Project{ID: "c", Name: "c", Owner: "nobody"})
	if err == nil {
		t.Error("nobody owns a project")
	}
	got, err := s.Project(ctx, "a")
	ok(t, err)
	same(t, "by ID", got, a)
	a.Name, a.Autosave, a.Idle = "Other", hub.AutosaveCell, 90*time.Second
	ok(t, s.PutProject(ctx, a))
	got, err = s.Project(ctx, "a")
	ok(t, err)
	same(t, "with settings", got, a)
	class(t, "settings of none", s.PutProject(ctx, hub.Project{ID: "none"}), fault.NotFound)
	_, err = s.Project(ctx, "z")
	class(t, "another ID", err, fault.NotFound)
	list, err := s.Projects(ctx)
	ok(t, err)
	same(t, "all", list, []hub.Project{a, b})
	ok(t, s.DeleteProject(ctx, "a"))
	class(t, "deleted already", s.DeleteProject(ctx, "a"), fault.NotFound)
}

func TestRangesOfUserIDsDoNotOverlap(t *testing.T) {
	s, _ := open(t)
	last := uint32(firstUID - 65536)
	for i := range 20 {
		p := addProject(t, s, fmt.Sprint("p", i))
		if p.UIDBase != last+65536 {
			t.Errorf("project %d begins at %d, the one before at %d", i, p.UIDBase, last)
		}
		last = p.UIDBase
		if i%3 == 0 { // one in the middle goes
			ok(t, s.DeleteProject(t.Context(), p.ID))
			last = addProject(t, s, p.ID+"again").UIDBase
		}
	}
}

func someKernel(id kernel.ID, project string) hub.Kernel {
	return hub.Kernel{
		ID: id, Project: project, Spec: "python3", Image: "i@sha256:1", Dir: "sub", Configuration: "c1.1", State: kernel.Running, Detail: "d",
		Incarnation: 3, Container: "c", Journal: "j", Parts: "p", Acked: 1 << 40, Checkpoint: "cp", Base: "b", Address: 7,
		CreatedAt: now, ActiveAt: now.Add(1), Since: now.Add(2 * time.Millisecond),
	}
}

func TestKernels(t *testing.T) {
	s, _ := open(t)
	ctx := t.Context()
	addProject(t, s, "a")
	k := someKernel("k1", "a")
	k.ActiveAt = now
	ok(t, s.PutKernel(ctx, k))
	list, err := s.Kernels(ctx)
	ok(t, err)
	same(t, "put", list, []hub.Kernel{k})
	// Everything that changes in a kernel's life is kept.
	k.Spec, k.Image, k.Configuration, k.State, k.Detail = "ir", "other", "c1.2", kernel.Hibernated, ""
	k.Incarnation, k.Container, k.Journal, k.Parts, k.Acked, k.Checkpoint, k.Address, k.Base = 4, "", "j2", "p2", 1<<62, "", 8, "c"
	k.ActiveAt, k.Since = now.Add(time.Second), now.Add(time.Minute)
	ok(t, s.PutKernel(ctx, k))
	list, err = s.Kernels(ctx)
	ok(t, err)
	same(t, "put again", list, []hub.Kernel{k})
	if err := s.PutKernel(ctx, someKernel("k2", "nowhere")); err == nil {
		t.Error("a kernel of no project")
	}
	ok(t, s.DeleteKernel(ctx, "k1"))
	class(t, "deleted already", s.DeleteKernel(ctx, "k1"), fault.NotFound)
}

func TestSessions(t *testing.T) {
	s, _ := open(t)
	ctx := t.Context()
	addProject(t, s, "a")
	addProject(t, s, "b")
	for _, k := range []hub.Kernel{someKernel("k1", "a"), someKernel("k2", "a"), someKernel("k3", "b")} {
		ok(t, s.PutKernel(ctx, k))
	}
	x := hub.Session{ID: "s1", Project: "a", Path: "x.ipynb", Name: "x", Type: "notebook", Kernel: "k1", CreatedAt: now}
	y := hub.Session{ID: "s2", Project: "b", Path: "x.ipynb", Name: "x", Type: "notebook", Kernel: "k3", CreatedAt: now.Add(time.Second)}
	ok(t, s.PutSession(ctx, x))
	ok(t, s.PutSession(ctx, y))
	beside := x
	beside.ID, beside.CreatedAt = "s3", now.Add(2*time.Second)
	ok(t, s.PutSession(ctx, beside)) // a page moved its session onto the path of another's
	list, err := s.Sessions(ctx, "a")
	ok(t, err)
	same(t, "of one path", list, []hub.Session{x, beside})
	ok(t, s.DeleteSession(ctx, "a", "s3"))
	x.Path, x.Name, x.Type, x.Kernel = "y.ipynb", "y", "console", "k2"
	ok(t, s.PutSession(ctx, x))
	list, err = s.Sessions(ctx, "a")
	ok(t, err)
	same(t, "of a", list, []hub.Session{x})
	list, err = s.Sessions(ctx, "")
	ok(t, err)
	same(t, "of all", list, []hub.Session{x, y})
	class(t, "of another project", s.DeleteSession(ctx, "b", "s1"), fault.NotFound)
	ok(t, s.DeleteKernel(ctx, "k3"))
	list, _ = s.Sessions(ctx, "b")
	same(t, "with its kernel the session goes", len(list), 0)
	ok(t, s.DeleteSession(ctx, "a", "s1"))
	class(t, "deleted already", s.DeleteSession(ctx, "a", "s1"), fault.NotFound)
}

func TestCheckpoints(t *testing.T) {
	s, _ := open(t)
	ctx := t.Context()
	addProject(t, s, "a")
	addProject(t, s, "b")
	old := hub.Checkpoint{
		ID: "c1", Project: "a", Kernel: "k", Parent: "c0", Name: "n", Kind: hub.KindAuto, Notebook: "x.ipynb", Size: 1 << 40, Added: 5,
		Image: "i", Parts: "p", Seq: 1 << 50, Pinned: true, CreatedAt: now,
	}
	young := old
	young.ID, young.Pinned, young.CreatedAt = "c2", false, now.Add(time.Second)
	ok(t, s.PutCheckpoint(ctx, old))
	ok(t, s.PutCheckpoint(ctx, young))
	got, err := s.Checkpoint(ctx, "a", "c1")
	ok(t, err)
	same(t, "one", got, old)
	_, err = s.Checkpoint(ctx, "b", "c1")
	class(t, "of another project", err, fault.NotFound)
	old.Name, old.Kind, old.Pinned = "kept", hub.KindManual, false
	ok(t, s.PutCheckpoint(ctx, old))
	list, err := s.Checkpoints(ctx, "")
	ok(t, err)
	same(t, "newest first", list, []hub.Checkpoint{young, old})
	list, _ = s.Checkpoints(ctx, "b")
	same(t, "of b", len(list), 0)
	ok(t, s.StoredCheckpoint(ctx, "c1", 7))
	old.Stored, old.Added = true, 7
	ok(t, s.PutCheckpoint(ctx, hub.Checkpoint{ID: "c1", Name: old.Name, Kind: old.Kind})) // a rename takes nothing back
	got, err = s.Checkpoint(ctx, "a", "c1")
	ok(t, err)
	same(t, "stored", got, old)
	class(t, "stored, and deleted meanwhile", s.StoredCheckpoint(ctx, "c9", 7), fault.NotFound)
	third := young
	third.ID, third.Parent = "c3", "c1"
	ok(t, s.PutCheckpoint(ctx, third))
	ok(t, s.PutKernel(ctx, hub.Kernel{ID: "k", Project: "a", Base: "c1", AwakeUntil: now}))
	ok(t, s.DeleteCheckpoint(ctx, "c1"))
	got, err = s.Checkpoint(ctx, "a", "c3")
	ok(t, err)
	kernels, err := s.Kernels(ctx)
	ok(t, err)
	same(t, "what came from it comes from its parent", []string{got.Parent, kernels[0].Base}, []string{"c0", "c0"})
	same(t, "kept awake", kernels[0].AwakeUntil, now)
	class(t, "deleted already", s.DeleteCheckpoint(ctx, "c1"), fault.NotFound)
}

func TestAProjectTakesAllWithIt(t *testing.T) {
	s, _ := open(t)
	ctx := t.Context()
	for _, id := range []string{"a", "b"} {
		addProject(t, s, id)
		ok(t, s.PutKernel(ctx, someKernel(kernel.ID("k"+id), id)))
		ok(t, s.PutSession(ctx, hub.Session{ID: "s" + id, Project: id, Kernel: kernel.ID("k" + id)}))
		ok(t, s.PutCheckpoint(ctx, hub.Checkpoint{ID: "c" + id, Project: id}))
		ok(t, s.AddRevision(ctx, hub.Node{ID: "n" + id, Project: id}, hub.Revision{Number: 1}))
	}
	ok(t, s.DeleteProject(ctx, "a"))
	for _, table := range []string{"projects", "kernels", "sessions", "checkpoints", "nodes"} {
		var ids string
		ok(t, s.read.QueryRow("SELECT group_concat(id) FROM "+table).Scan(&ids))
		if strings.Contains(ids, "a") || !strings.Contains(ids, "b") || strings.Contains(ids, ",") {
			t.Errorf("%s has %s", table, ids)
		}
	}
}

func TestReadersCannotWrite(t *testing.T) {
	s, _ := open(t)
	if _, err := s.read.Exec("DELETE FROM users"); err == nil {
		t.Error("the readers' connection wrote")
	}
}

func TestOpenAgainKeepsAll(t *testing.T) {
	s, file := open(t)
	p := addProject(t, s, "a")
	ok(t, s.Close())
	s, err := Open(t.Context(), file)
	ok(t, err)
	defer s.Close()
	got, err := s.Project(t.Context(), "a")
	ok(t, err)
	same(t, "the project", got, p)
	if copies, _ := filepath.Glob(file + ".before-*"); len(copies) != 0 {
		t.Errorf("nothing was pending, and there is %v", copies)
	}
}

// TestAPendingMigrationIsPrecededByACopy: the database is made to look as if
// the last migration were still to come.
func TestAPendingMigrationIsPrecededByACopy(t *testing.T) {
	s, file := open(t)
	addProject(t, s, "a")
	ok(t, s.Close())
	db, err := sql.Open("sqlite3", "file:"+file)
	ok(t, err)
	var version int
	ok(t, db.QueryRow("SELECT max(version_id) FROM goose_db_version").Scan(&version))
	if version < 2 {
		t.Skip("there is one migration only: no database is ever older than the newest")
	}
	_, err = db.Exec("DELETE FROM goose_db_version WHERE version_id = ?", version)
	ok(t, err)
	ok(t, db.Close())
	s, err = Open(t.Context(), file)
	if err == nil {
		s.Close()
	}
	copies, _ := filepath.Glob(file + ".before-*")
	if len(copies) != 1 {
		t.Fatalf("copies: %v (%v)", copies, err)
	}
	if st, err := os.Stat(copies[0]); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("the copy: %v, %v", st.Mode(), err)
	}
	db, err = sql.Open("sqlite3", "file:"+copies[0])
	ok(t, err)
	defer db.Close()
	var name string
	ok(t, db.QueryRow("SELECT name FROM projects WHERE id = 'a'").Scan(&name))
}

// TestOthersCannotRead: the folder can be passed through, so each file must be
// closed to others, the write-ahead log too.
func TestOthersCannotRead(t *testing.T) {
	s, file := open(t)
	addProject(t, s, "a")
	names, err := filepath.Glob(file + "*")
	ok(t, err)
	if len(names) < 2 {
		t.Errorf("there is no write-ahead log: %v", names)
	}
	for _, name := range names {
		st, err := os.Stat(name)
		ok(t, err)
		if st.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", filepath.Base(name), st.Mode().Perm())
		}
	}
}

func TestEightWriters(t *testing.T) {
	s, _ := open(t)
	addProject(t, s, "a")
	const writers, each = 8, 40
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				id := fmt.Sprintf("w%d-%d", w, i)
				if err := s.PutKernel(t.Context(), someKernel(kernel.ID(id), "a")); err != nil {
					t.Errorf("%s: %v", id, err)
					return
				}
				if _, err := s.AddProject(t.Context(), hub.Project{ID: id, Name: id, Owner: "u1", CreatedAt: now}); err != nil {
					t.Errorf("%s: %v", id, err)
					return
				}
				if _, err := s.Kernels(t.Context()); err != nil {
					t.Errorf("reading beside: %v", err)
				}
			}
		})
	}
	wg.Wait()
	list, err := s.Kernels(t.Context())
	ok(t, err)
	projects, err := s.Projects(t.Context())
	ok(t, err)
	bases := map[uint32]bool{}
	for _, p := range projects {
		bases[p.UIDBase] = true
	}
	if len(list) != writers*each || len(bases) != writers*each+1 {
		t.Errorf("%d kernels, %d ranges", len(list), len(bases))
	}
}

func TestAContextThatEndedWritesNothing(t *testing.T) {
	s, _ := open(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.AddUser(ctx, hub.User{ID: "u1", Name: "ada"}); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled call: %v", err)
	}
	if list, err := s.Users(t.Context()); err != nil || len(list) != 0 {
		t.Errorf("%v, %v", list, err)
	}
}
