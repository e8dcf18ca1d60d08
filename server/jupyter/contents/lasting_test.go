package contents_test

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"cellar/internal/fault"
	"cellar/server/jupyter/contents"
)

// TestSymlinkRaceOverHTTP: a folder is exchanged for a link out of the tree, again
// and again, while every route works on it. Nothing outside is read or changed.
func TestSymlinkRaceOverHTTP(t *testing.T) {
	p := serve(t, nil)
	outside := t.TempDir()
	for _, name := range []string{"f.txt", "n.ipynb"} {
		if err := os.WriteFile(filepath.Join(outside, name), []byte("secret"), 0o600); err != nil {
			t.Fatal(err)
		}
		p.write("real/"+name, demo)
	}
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
				for range rand.IntN(300) { // some requests come through whole, some are overtaken
					os.Lstat(p.dir)
				}
				os.Rename(filepath.Join(p.dir, "d"), filepath.Join(p.dir, from))
			}
		}
	})
	text := `{"type":"file","format":"text","content":"inside"`
	requests := []struct{ method, path, body string }{
		{"GET", "/files/d/f.txt", ""}, {"GET", "/view/d/f.txt", ""}, {"GET", "/directories/d", ""}, {"GET", "/directories/d?archiveFormat=tar.gz", ""},
		{"GET", "/api/contents/d", ""}, {"GET", "/api/contents/d/f.txt", ""}, {"GET", "/api/contents/d/n.ipynb?hash=1", ""},
		{"PUT", "/api/contents/d/f.txt", text + `}`}, {"PUT", "/api/contents/d/up", text + `,"chunk":1}`}, {"PUT", "/api/contents/d/up", text + `,"chunk":-1}`},
		{"PUT", "/api/contents/d/n.ipynb", `{"type":"notebook","format":"json","content":` + demo + `}`}, {"PUT", "/api/contents/d/sub", `{"type":"directory"}`},
		{"POST", "/api/contents/d", `{"type":"file"}`}, {"POST", "/api/contents/d", `{"copy_from":"d/f.txt"}`}, {"POST", "/api/contents/d/f.txt/checkpoints", ""},
		{"PATCH", "/api/contents/d/f.txt", `{"path":"d/g.txt"}`}, {"PATCH", "/api/contents/d/g.txt", `{"path":"d/f.txt"}`}, {"DELETE", "/api/contents/d/g.txt", ""}, {"DELETE", "/api/contents/d/sub", ""},
	}
	served := 0
	for range 30 {
		for _, q := range requests {
			r, err := http.NewRequest(q.method, p.url+q.path, strings.NewReader(q.body))
			if err != nil {
				t.Fatal(err)
			}
			res, err := http.DefaultClient.Do(r)
			if err != nil {
				continue // an archive that was cut
			}
			b, _ := io.ReadAll(res.Body)
			res.Body.Close()
			if res.StatusCode < 300 {
				served++
			}
			if strings.Contains(string(b), "secret") {
				t.Errorf("%s %s shows what is outside", q.method, q.path)
			}
		}
	}
	close(stop)
	flips.Wait()
	if served == 0 {
		t.Error("no request met the folder: nothing was tried")
	}
	entries, err := os.ReadDir(outside)
	if err != nil || len(entries) != 2 {
		t.Errorf("outside there is %v, %v", entries, err)
	}
	for _, e := range entries {
		if b, _ := os.ReadFile(filepath.Join(outside, e.Name())); string(b) != "secret" {
			t.Errorf("%s outside holds %.100q", e.Name(), b)
		}
	}
}

// small is a file system of one MiB.
func small(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("needs root, to make a disk that is full: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func TestFullDisk(t *testing.T) {
	dir := small(t)
	tree, err := contents.Open(dir, contents.Owner{UID: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer tree.Close()
	old := strings.Repeat("old ", 1000)
	for _, name := range []string{"a.txt", "n.ipynb", "real.txt"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(old), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	// A file whose own name cannot be told is rewritten where it is: by a link that is found but not followed by text.
	if err := os.MkdirAll(filepath.Join(dir, "sub/deep"), 0o755); err != nil {
		t.Fatal(err)
	}
	for to, from := range map[string]string{"deep": "sub/deep", "link.txt": "deep/../../real.txt"} {
		if err := os.Symlink(from, filepath.Join(dir, to)); err != nil {
			t.Fatal(err)
		}
	}
	long, _ := json.Marshal(strings.Repeat("new ", 1<<19))
	book := `{"cells":[{"cell_type":"raw","id":"a","metadata":{},"source":` + string(long) + `}],"metadata":{},"nbformat":4,"nbformat_minor":5}`
	for name, in := range map[string]contents.Incoming{
		"a.txt": {Type: contents.File, Format: contents.Text, Content: long}, "link.txt": {Type: contents.File, Format: contents.Text, Content: long},
		"n.ipynb": {Type: contents.Notebook, Format: contents.JSON, Content: json.RawMessage(book)}, "new.txt": {Type: contents.File, Format: contents.Text, Content: long},
	} {
		_, err := tree.Save(name, in)
		if fault.CodeOf(err) != "no_space" || fault.ClassOf(err) != fault.Exhausted {
			t.Errorf("%s: %v", name, err)
		}
		b, err := os.ReadFile(filepath.Join(dir, name))
		if name == "new.txt" && !os.IsNotExist(err) || name != "new.txt" && string(b) != old {
			t.Errorf("%s holds %d bytes that begin with %.20q, %v", name, len(b), b, err)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 6 {
		t.Errorf("there is %v, %v", entries, err)
	}
}

// TestKilledWhileSaving runs itself as a process that saves one file over and over,
// and kills it: the file is the one version or the other, whole.
func TestKilledWhileSaving(t *testing.T) {
	if dir := os.Getenv("CELLAR_TEST_SAVES_IN"); dir != "" {
		saveForever(t, dir)
	}
	dir := t.TempDir()
	name := filepath.Join(dir, "a.txt")
	if err := os.WriteFile(name, []byte(strings.Repeat("0", 1<<20)), 0o644); err != nil {
		t.Fatal(err)
	}
	for range 15 {
		c := exec.Command(os.Args[0], "-test.run", "^TestKilledWhileSaving$")
		c.Env = append(os.Environ(), "CELLAR_TEST_SAVES_IN="+dir)
		out, err := c.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(out, make([]byte, 6)); err != nil { // it is at it
			t.Fatal(err)
		}
		c.Process.Kill()
		c.Wait()
		b, err := os.ReadFile(name)
		if err != nil || len(b) != 1<<20 || strings.Trim(string(b), string(b[:1])) != "" {
			t.Fatalf("%d bytes that begin with %.20q: %v", len(b), b, err)
		}
	}
}

func saveForever(t *testing.T, dir string) {
	tree, err := contents.Open(dir, contents.Owner{UID: -1})
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; ; i++ {
		text, _ := json.Marshal(strings.Repeat(fmt.Sprint(i%10), 1<<20))
		if _, err := tree.Save("a.txt", contents.Incoming{Type: contents.File, Format: contents.Text, Content: text}); err != nil {
			t.Fatal(err)
		}
		os.Stdout.WriteString("saved\n"[:2]) // a kill may come at any byte
	}
}

// TestLeftovers: what a hub that was killed left half-written goes, once nobody
// can be writing it any more.
func TestLeftovers(t *testing.T) {
	p := serve(t, nil)
	p.write("a.txt", "x")
	p.write(".~cellar-0123456789abcdef", "half")
	p.write(".~cellar-fedcba9876543210", "being written")
	p.write(".~cellar-mine", "a person's")
	old := time.Now().Add(-2 * time.Hour)
	for _, name := range []string{".~cellar-0123456789abcdef", ".~cellar-mine"} {
		if err := os.Chtimes(filepath.Join(p.dir, name), old, old); err != nil {
			t.Fatal(err)
		}
	}
	p.want(200, "GET", "/api/contents/", "")
	for name, want := range map[string]bool{"a.txt": true, ".~cellar-0123456789abcdef": false, ".~cellar-fedcba9876543210": true, ".~cellar-mine": true} {
		if _, err := os.Lstat(filepath.Join(p.dir, name)); (err == nil) != want {
			t.Errorf("%s is there: %v", name, err == nil)
		}
	}
}
