package contents_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"cellar/internal/fault"
	"cellar/server/jupyter/contents"
)

func get(t *testing.T, tree *contents.Tree, path string, want contents.Want) *contents.Model {
	t.Helper()
	m, err := tree.Get(path, want)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// A kernel may put anything under a name; none of it may hold the hub up or lead it out.
func TestHostileFiles(t *testing.T) {
	p := serve(t, nil)
	if err := syscall.Mkfifo(filepath.Join(p.dir, "fifo"), 0o666); err != nil {
		t.Fatal(err)
	}
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, to := range map[string]string{
		"abs": secret, "loop": "loop", "root": "/", "up": "..", "dev": "/dev/zero", "tofifo": "fifo",
	} {
		if err := os.Symlink(to, filepath.Join(p.dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"fifo", "abs", "loop", "root", "up", "dev", "tofifo", "up/x", "root/etc/passwd"} {
		for _, req := range [][3]string{
			{"GET", "/api/contents/" + name, ""},
			{"GET", "/api/contents/" + name + "?content=0&hash=1", ""},
			{"GET", "/files/" + name, ""},
			{"PUT", "/api/contents/" + name, `{"type":"file","format":"text","content":"x"}`},
			{"PUT", "/api/contents/" + name, `{"type":"file","format":"text","content":"x","chunk":2}`},
			{"POST", "/api/contents", `{"copy_from":"` + name + `"}`},
			{"POST", "/api/contents/" + name, `{}`},
			{"POST", "/api/contents/" + name + "/checkpoints", ``},
		} {
			res, body := p.do(req[0], req[1], req[2])
			if res.StatusCode < 400 || res.StatusCode >= 500 {
				t.Errorf("%v: %d %s", req, res.StatusCode, body)
			}
		}
	}
	if b, _ := os.ReadFile(secret); string(b) != "secret" {
		t.Error("the file outside was changed")
	}
}

// While a name flips between a directory and a link out of the tree, nothing may be read or written outside.
func TestSymlinkRace(t *testing.T) {
	p := serve(t, nil)
	outside := t.TempDir()
	if err := os.WriteFile(filepath.Join(outside, "f"), []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	p.write("real/f", "inside")
	if err := os.Symlink(outside, filepath.Join(p.dir, "link")); err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	var flips sync.WaitGroup
	flips.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			for _, from := range []string{"real", "link"} {
				os.Rename(filepath.Join(p.dir, from), filepath.Join(p.dir, "d"))
				os.Rename(filepath.Join(p.dir, "d"), filepath.Join(p.dir, from))
			}
		}
	})
	for i := range 400 {
		if m, err := p.tree.Get("d/f", contents.Want{Content: true}); err == nil && strings.Contains(string(m.Content), "secret") {
			t.Error("read outside the tree")
		}
		in := contents.Incoming{Type: contents.File, Format: contents.Text, Content: json.RawMessage(`"inside"`)}
		p.tree.Save("d/f", in)
		p.tree.Save(fmt.Sprintf("d/new%d", i), in)
		p.tree.CreateCheckpoint("d/f")
		p.tree.New("d", contents.Directory, "")
		p.tree.Delete("d/f2")
	}
	close(stop)
	flips.Wait()
	entries, err := os.ReadDir(outside)
	if err != nil {
		t.Fatal(err)
	}
	if b, _ := os.ReadFile(filepath.Join(outside, "f")); string(b) != "secret" || len(entries) != 1 {
		t.Errorf("outside: %q and %v", b, entries)
	}
}

func TestSaveKeepsModeAndLinks(t *testing.T) {
	p := serve(t, nil)
	p.write("d/run.sh", "old")
	if err := os.Chmod(filepath.Join(p.dir, "d/run.sh"), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("d/run.sh", filepath.Join(p.dir, "link")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("d/later", filepath.Join(p.dir, "dangling")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"link", "dangling"} {
		if _, err := p.tree.Save(name, contents.Incoming{Type: "file", Format: "text", Content: json.RawMessage(`"new"`)}); err != nil {
			t.Fatal(err)
		}
		if info, err := os.Lstat(filepath.Join(p.dir, name)); err != nil || info.Mode()&os.ModeSymlink == 0 {
			t.Errorf("%s is no link any more: %v", name, err)
		}
	}
	info, err := os.Stat(filepath.Join(p.dir, "d/run.sh"))
	if err != nil || info.Mode().Perm() != 0o750 || p.read("d/run.sh") != "new" || p.read("d/later") != "new" {
		t.Errorf("mode %v, text %q: %v", info.Mode(), p.read("d/run.sh"), err)
	}
	if left, _ := filepath.Glob(filepath.Join(p.dir, "d", ".~*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestOwner(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can give files away")
	}
	dir := t.TempDir()
	tree, err := contents.Open(dir, contents.Owner{UID: 4321, GID: 1234})
	if err != nil {
		t.Fatal(err)
	}
	defer tree.Close()
	must := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(tree.New("", contents.Notebook, ""))
	must(tree.New("", contents.Directory, ""))
	must(tree.Save("a.txt", contents.Incoming{Type: "file", Format: "text", Content: json.RawMessage(`"x"`)}))
	must(tree.Copy("a.txt", ""))
	must(tree.CreateCheckpoint("a.txt"))
	for _, name := range []string{"Untitled.ipynb", "Untitled Folder", "a.txt", "a-Copy1.txt", ".ipynb_checkpoints", ".ipynb_checkpoints/a-checkpoint.txt"} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if st := info.Sys().(*syscall.Stat_t); st.Uid != 4321 || st.Gid != 1234 {
			t.Errorf("%s belongs to %d:%d", name, st.Uid, st.Gid)
		}
	}
	if m := get(t, tree, "a.txt", contents.Want{}); !m.Writable {
		t.Error("the owner's file is not writable")
	}
}

// The hub runs as root; what the owner may not change it must not change for them.
func TestReadOnlyDirectory(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can make files that are somebody else's")
	}
	dir := t.TempDir()
	for name, uid := range map[string]int{"theirs": 0, "theirs/ours.txt": 4321, "theirs/theirs.txt": 0} {
		full := filepath.Join(dir, name)
		var err error
		if filepath.Ext(name) == "" {
			err = os.Mkdir(full, 0o755)
		} else {
			err = os.MkdirAll(filepath.Dir(full), 0o755)
			err = errors.Join(err, os.WriteFile(full, []byte("x"), 0o644))
		}
		if err != nil && !errors.Is(err, os.ErrExist) {
			t.Fatal(err)
		}
		if err := os.Chown(full, uid, uid); err != nil {
			t.Fatal(err)
		}
	}
	tree, err := contents.Open(dir, contents.Owner{UID: 4321, GID: 4321})
	if err != nil {
		t.Fatal(err)
	}
	defer tree.Close()
	in := contents.Incoming{Type: "file", Format: "text", Content: json.RawMessage(`"new"`)}
	if _, err := tree.Save("theirs/ours.txt", in); err != nil {
		t.Errorf("an own file in a directory of theirs: %v", err)
	}
	later := in
	later.Chunk = 2
	for name, do := range map[string]func() error{
		"save":   func() error { _, err := tree.Save("theirs/theirs.txt", in); return err },
		"append": func() error { _, err := tree.Save("theirs/theirs.txt", later); return err },
		"make":   func() error { _, err := tree.Save("theirs/new.txt", in); return err },
		"mkdir":  func() error { _, err := tree.Save("theirs/d", contents.Incoming{Type: "directory"}); return err },
		"new":    func() error { _, err := tree.New("theirs", contents.File, ".txt"); return err },
		"copy":   func() error { _, err := tree.Copy("theirs/ours.txt", "theirs"); return err },
		"rename": func() error { _, err := tree.Rename("theirs/ours.txt", "mine.txt"); return err },
		"delete": func() error { return tree.Delete("theirs/ours.txt") },
	} {
		if err := do(); fault.ClassOf(err) != fault.Denied {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestUpdateNotebookIsInvisible(t *testing.T) {
	p := serve(t, nil)
	if _, err := p.tree.Save("n.ipynb", contents.Incoming{Type: "notebook", Content: json.RawMessage(demo)}); err != nil {
		t.Fatal(err)
	}
	before := get(t, p.tree, "n.ipynb", contents.Want{Hash: true})
	for _, to := range []string{"first", "second"} {
		err := p.tree.UpdateNotebook("n.ipynb", nil, func(nb []byte) ([]byte, error) {
			if !bytes.Contains(nb, []byte(`"source":"print(1)\nprint(2)"`)) {
				t.Errorf("not the form in memory: %s", nb)
			}
			return bytes.Replace(nb, []byte(`"text":"`), []byte(`"text":"`+to+`\n`), 1), nil
		})
		if err != nil {
			t.Fatal(err)
		}
		after := get(t, p.tree, "n.ipynb", contents.Want{Hash: true, Content: true})
		if after.Hash != before.Hash || after.LastModified.String() != before.LastModified.String() {
			t.Errorf("a client sees %s %s, was %s %s", after.Hash, after.LastModified, before.Hash, before.LastModified)
		}
		if !strings.Contains(string(after.Content), to) {
			t.Errorf("the update is not there: %s", after.Content)
		}
	}
	// A hub that restarted knows it from the file.
	again, err := contents.Open(p.dir, contents.Owner{UID: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if m := get(t, again, "n.ipynb", contents.Want{Hash: true}); m.Hash != before.Hash {
		t.Logf("after a restart the hash is another: no extended attributes in %s?", p.dir)
	}
	if _, err := p.tree.Rename("n.ipynb", "m.ipynb"); err != nil {
		t.Fatal(err)
	}
	if m := get(t, p.tree, "m.ipynb", contents.Want{Hash: true}); m.Hash != before.Hash {
		t.Error("the hash did not move along")
	}
	// What a kernel writes is somebody else's edit and must show.
	p.write("m.ipynb", demo)
	if m := get(t, p.tree, "m.ipynb", contents.Want{Hash: true}); m.Hash == before.Hash {
		t.Error("a stranger's write is hidden")
	}
	boom := errors.New("boom")
	if err := p.tree.UpdateNotebook("m.ipynb", nil, func([]byte) ([]byte, error) { return nil, boom }); !errors.Is(err, boom) {
		t.Errorf("error %v", err)
	}
}

// Saves and updates of one path never interleave: each update sees a whole notebook and none is lost.
func TestUpdatesDoNotInterleave(t *testing.T) {
	p := serve(t, nil)
	p.write("n.ipynb", `{"cells":[],"metadata":{"n":""},"nbformat":4,"nbformat_minor":5}`)
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			if err := p.tree.UpdateNotebook("n.ipynb", nil, func(nb []byte) ([]byte, error) {
				return bytes.Replace(nb, []byte(`"n":"`), []byte(`"n":"x`), 1), nil
			}); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if got := p.read("n.ipynb"); !strings.Contains(got, `"n": "`+strings.Repeat("x", 20)+`"`) {
		t.Errorf("lost updates: %s", got)
	}
}

func TestNewAtOnce(t *testing.T) {
	p := serve(t, nil)
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			if _, err := p.tree.New("", contents.Notebook, ""); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if found, _ := filepath.Glob(filepath.Join(p.dir, "Untitled*.ipynb")); len(found) != 20 {
		t.Errorf("%d notebooks, want 20", len(found))
	}
}

type shout struct{ saved []byte }

func (s *shout) Loaded(_ string, nb []byte) []byte {
	return bytes.Replace(nb, []byte("print(1)"), []byte("PRINT(1)"), 1)
}

func (s *shout) Lays(string) bool { return true }

func (s *shout) Saving(_ string, nb []byte) []byte {
	s.saved = nb
	return bytes.Replace(nb, []byte("PRINT(1)"), []byte("print(1)"), 1)
}

func TestOverlay(t *testing.T) {
	over := &shout{}
	p := serve(t, over)
	p.write("n.ipynb", demo)
	m := p.want(200, "GET", "/api/contents/n.ipynb", "")
	content, _ := json.Marshal(m["content"])
	if !strings.Contains(string(content), "PRINT(1)") {
		t.Fatalf("not laid over: %s", content)
	}
	p.want(200, "PUT", "/api/contents/n.ipynb", `{"type":"notebook","format":"json","content":`+string(content)+`}`)
	if !strings.Contains(string(over.saved), `"source":"PRINT(1)\nprint(2)"`) || strings.Contains(p.read("n.ipynb"), "PRINT") {
		t.Errorf("saving got %s and left %s", over.saved, p.read("n.ipynb"))
	}
}

func TestClosedAndMissing(t *testing.T) {
	if _, err := contents.Open(filepath.Join(t.TempDir(), "none"), contents.Owner{}); fault.ClassOf(err) != fault.NotFound {
		t.Errorf("opening nothing: %v", err)
	}
	tm := contents.Time(time.Date(2026, 1, 2, 3, 4, 5, 6_000, time.FixedZone("x", 3600)))
	if got := tm.String(); got != "2026-01-02T02:04:05.000006Z" {
		t.Errorf("time %s", got)
	}
}

// A kernel that writes while the hub updates keeps its text; the hub lays its own over that.
func TestUpdateGivesWay(t *testing.T) {
	p := serve(t, nil)
	p.write("n.ipynb", demo)
	calls := 0
	err := p.tree.UpdateNotebook("n.ipynb", nil, func(nb []byte) ([]byte, error) {
		if calls++; calls == 1 {
			p.write("n.ipynb", strings.Replace(demo, "print(1)", "kernel's own text", 1))
		}
		return bytes.Replace(nb, []byte(`"text":"`), []byte(`"text":"hub`), 1), nil
	})
	if got := p.read("n.ipynb"); err != nil || calls != 2 || !strings.Contains(got, "kernel's own") || !strings.Contains(got, "hub1") {
		t.Errorf("%v after %d calls: %s", err, calls, got)
	}
}

func BenchmarkListing10000(b *testing.B) {
	dir := b.TempDir()
	for i := range 10_000 {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("file%d.txt", i)), nil, 0o644); err != nil {
			b.Fatal(err)
		}
	}
	tree, err := contents.Open(dir, contents.Owner{UID: -1})
	if err != nil {
		b.Fatal(err)
	}
	defer tree.Close()
	for b.Loop() {
		if _, err := tree.Get("", contents.Want{Content: true}); err != nil {
			b.Fatal(err)
		}
	}
}
