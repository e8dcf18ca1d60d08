package acceptance

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

const applyFiles = "apply files"

// filed is a checkpoint with what is kept of its files.
type filed struct {
	ID, Kind string
	Files    struct {
		State, Detail         string
		Files, Packages, Torn int
		Bytes                 int64
		LeftOut               int   `json:"left_out"`
		AddedBytes            int64 `json:"added_bytes"`
	}
}

// keepFiled keeps a checkpoint and waits until its files are kept.
func (h *hub) keepFiled(p, k, name string) filed {
	h.t.Helper()
	var c filed
	h.MustRun("/api/v1/projects/"+p+"/checkpoints", map[string]string{"kernel": k, "name": name}, &c)
	return h.awaitFiled(p, c.ID)
}

func (h *hub) awaitFiled(p, id string) (c filed) {
	h.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		h.Want(200, "GET", "/api/v1/projects/"+p+"/checkpoints/"+id, nil, &c)
		if c.Files.State == "kept" {
			return c
		}
		if c.Files.State != "pending" || time.Now().After(deadline) {
			h.t.Fatalf("files of the checkpoint: %+v", c.Files)
		}
	}
}

// inFiles is the path of a project's file on the machine.
func (h *hub) inFiles(p string, name ...string) string {
	return filepath.Join(append([]string{h.data, "projects", p, "files"}, name...)...)
}

// write writes a file as the kernel's user.
func (h *hub) write(p, name, text string) {
	h.t.Helper()
	full := h.inFiles(p, name)
	if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
		h.t.Fatal(err)
	}
	if err := os.WriteFile(full, []byte(text), 0o644); err != nil {
		h.t.Fatal(err)
	}
	st, err := os.Stat(h.inFiles(p))
	if err != nil {
		h.t.Fatal(err)
	}
	uid := int(st.Sys().(*syscall.Stat_t).Uid)
	for at := full; at != h.inFiles(p); at = filepath.Dir(at) {
		if err := os.Lchown(at, uid, uid); err != nil {
			h.t.Fatal(err)
		}
	}
}

func (h *hub) read(p, name string) string {
	b, err := os.ReadFile(h.inFiles(p, name))
	if err != nil {
		return err.Error()
	}
	return string(b)
}

const erasOfFiles = 5

// twoEras makes a checkpoint of one era, and then files and variables of the next.
func (h *hub) twoEras(p, k string) (checkpoint string) {
	h.t.Helper()
	s := h.Open(p, k)
	defer s.Close()
	era := func(name string) {
		s.Exec("era = '" + name + "'")
		for n := range erasOfFiles {
			h.write(p, fmt.Sprintf("eras/%d.txt", n), name)
		}
	}
	era("then")
	h.write(p, "eras/gone.txt", "then")
	c := h.keepFiled(p, k, "then")
	era("now")
	if err := os.Remove(h.inFiles(p, "eras/gone.txt")); err != nil {
		h.t.Fatal(err)
	}
	return c.ID
}

// oneEra says what is wrong: the files are not all of the time of the variables,
// or the hub is not done with them.
func oneEra(h *hub, p, k string) string {
	s := h.Open(p, k)
	defer s.Close()
	era := strings.Trim(s.Exec("era"), "'")
	for n := range erasOfFiles {
		if got := h.read(p, fmt.Sprintf("eras/%d.txt", n)); got != era {
			return fmt.Sprintf("the variables are of %s, file %d is of %s", era, n, got)
		}
	}
	if _, err := os.Stat(h.inFiles(p, "eras/gone.txt")); (err == nil) != (era == "then") {
		return fmt.Sprintf("the variables are of %s, the file that went: %v", era, err)
	}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		_, err := os.Stat(filepath.Join(h.data, "kernels", k, "apply.json"))
		if os.IsNotExist(err) {
			return ""
		}
		if time.Now().After(deadline) {
			return "the apply is not brought to its end"
		}
	}
}

type fileChanges struct {
	Items    []struct{ Path, Change string }
	Packages []struct{ Name, Now, Then string }
}

func (c fileChanges) String() string {
	var out []string
	for _, i := range c.Items {
		out = append(out, i.Change+" "+i.Path)
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}

// TestKeptFiles: a checkpoint has the files of its moment, encrypted; they are
// listed, read, compared, restored one by one, also when it is stored, and gone
// with it.
func TestKeptFiles(t *testing.T) {
	h := startHub(t, "--store-after", "2s", "--files-each", "100000", "--log-level", "info")
	p, k := h.project("Kept")
	s := h.Open(p, k)
	s.Exec("1")
	const secret = "the-word-is-xylophone"
	h.write(p, "a.csv", secret)
	h.write(p, "sub/b.txt", "b")
	h.write(p, "big.bin", strings.Repeat("x", 100001))
	if err := syscall.Mkfifo(h.inFiles(p, "pipe"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/etc/passwd", h.inFiles(p, "link")); err != nil {
		t.Fatal(err)
	}
	one := h.keepFiled(p, k, "one")
	if one.Files.LeftOut != 2 || one.Files.Files < 3 {
		t.Errorf("%+v", one.Files)
	}
	s.Exec("open('a.csv', 'w').write('second'); open('new.txt', 'w').write('new'); import os; os.remove('sub/b.txt')")
	two := h.keepFiled(p, k, "two")
	if two.Files.AddedBytes > 20000 {
		t.Errorf("one small file changed, %d bytes were stored", two.Files.AddedBytes)
	}
	s.Exec("open('a.csv', 'w').write('third')")

	at := "/api/v1/projects/" + p + "/checkpoints/" + one.ID + "/files"
	check := func() {
		t.Helper()
		if got := string(h.Want(200, "GET", at+"/content?path=a.csv", nil, nil)); got != secret {
			t.Errorf("content: %q", got)
		}
		var list struct {
			Items []struct {
				Path, Kind, Why string
				Kept            bool
			}
		}
		h.Want(200, "GET", at, nil, &list)
		why := map[string]string{}
		for _, i := range list.Items {
			why[i.Path] = i.Kind + " " + i.Why
		}
		if why["big.bin"] != "file too_large" || why["pipe"] != "other special" || why["link"] != "link " || why["sub"] != "folder " || why["sub/b.txt"] != "file " {
			t.Errorf("%v", why)
		}
		var changes fileChanges
		h.Want(200, "GET", at+"/changes", nil, &changes)
		if got := changes.String(); got != "added new.txt, changed a.csv, removed sub/b.txt" {
			t.Errorf("since then: %s", got)
		}
		h.Want(200, "GET", at+"/changes?now="+two.ID, nil, &changes)
		if got := changes.String(); got != "added new.txt, changed a.csv, removed sub/b.txt" {
			t.Errorf("from one to two: %s", got)
		}
		var versions struct {
			Items []struct {
				Checkpoint string
				File       struct{ Size int64 }
			}
		}
		h.Want(200, "GET", "/api/v1/projects/"+p+"/versions?path=a.csv", nil, &versions)
		if v := versions.Items; len(v) != 2 || v[0].Checkpoint != two.ID || v[0].File.Size != 6 || v[1].Checkpoint != one.ID {
			t.Errorf("versions: %+v", v)
		}
	}
	check()
	h.awaitStored(p)
	check()
	h.kill(syscall.SIGKILL)
	h.start()
	check()
	filepath.WalkDir(filepath.Join(h.data, "archive"), func(name string, d fs.DirEntry, err error) error {
		if b, err := os.ReadFile(name); err == nil && bytes.Contains(b, []byte(secret)) {
			t.Errorf("%s has what was in a file", name)
		}
		return nil
	})

	// One file back.
	restore := func(want int, in map[string]string) (out struct{ Path, Aside, Code string }) {
		t.Helper()
		_, b := h.Do("POST", at+"/restore", in, nil)
		json.Unmarshal(b, &out)
		if out.Code != "" != (want != 200) {
			t.Errorf("%v: %s", in, b)
		}
		return out
	}
	if got := restore(409, map[string]string{"path": "a.csv"}); got.Code != "file_exists" || h.read(p, "a.csv") != "third" {
		t.Errorf("refused: %+v", got)
	}
	if got := restore(200, map[string]string{"path": "a.csv", "present": "keep"}); got.Aside != "a (before restore).csv" || h.read(p, got.Aside) != "third" || h.read(p, "a.csv") != secret {
		t.Errorf("kept: %+v", got)
	}
	restore(200, map[string]string{"path": "sub/b.txt", "to": "sub/other/c.txt"})
	if got := h.read(p, "sub/other/c.txt"); got != "b" {
		t.Errorf("under another name: %q", got)
	}
	s = h.Open(p, k)
	if got := s.Exec("open('sub/other/c.txt', 'a').write('mine')"); got != "4" {
		t.Errorf("the kernel cannot write it: %s", got)
	}
	if got := restore(422, map[string]string{"path": "big.bin", "present": "replace"}); got.Code != "not_kept" {
		t.Errorf("what is not kept: %+v", got)
	}
	if got := restore(400, map[string]string{"path": "a.csv", "to": "../../x"}); got.Code != "bad_path" {
		t.Errorf("out of the project: %+v", got)
	}
	if status, b := h.Do("GET", at+"/content?path="+url.QueryEscape("../home/x"), nil, nil); status != 404 {
		t.Errorf("%d %s", status, b)
	}
	h.Want(204, "DELETE", "/api/v1/projects/"+p+"/checkpoints/"+one.ID, nil, nil)
	h.Want(404, "GET", at, nil, nil)
	for _, name := range h.entriesOf(p) {
		if strings.Contains(name, one.ID) {
			t.Errorf("%s is left of it", name)
		}
	}
}

// entriesOf lists what is in the archive by name.
func (h *hub) entriesOf(string) (out []string) {
	names, _ := filepath.Glob(filepath.Join(h.data, "archive", "*", "man", "*"))
	return names
}

// TestApplyWithFiles: what is ticked comes back with the variables, what is not
// stays, and the rollback takes it all back.
func TestApplyWithFiles(t *testing.T) {
	h := startHub(t)
	p, k := h.project("Apply")
	putNotebook(t, h, p, "other.ipynb", map[string]string{"a": "first"})
	s := h.Open(p, k)
	s.Exec(aPackageIndex)
	h.write(p, "since.txt", "x")
	c := h.twoEras(p, k)
	if got := s.Exec("%pip install -q --index-url http://127.0.0.1:8099/simple cellarpkg"); strings.Contains(strings.ToLower(got), "error") {
		t.Fatal(got)
	}
	s.Exec(useLibrary)
	h.write(p, "other.ipynb", strings.Replace(h.read(p, "other.ipynb"), "first", "second", 1))
	h.write(p, "made-since.txt", "stays")
	apply := func(id string, in map[string]any) {
		t.Helper()
		h.MustRun("/api/v1/projects/"+p+"/checkpoints/"+id+"/apply", in, nil)
	}
	own := func() int { return h.packages(p).Own }
	rollback := func() string {
		t.Helper()
		var list struct{ Items []filed }
		h.Want(200, "GET", "/api/v1/projects/"+p+"/checkpoints", nil, &list)
		for _, c := range list.Items {
			if c.Kind == "rollback" {
				return h.awaitFiled(p, c.ID).ID
			}
		}
		t.Fatal("no rollback")
		return ""
	}
	var changes struct{ Tree fileChanges }
	h.Want(200, "GET", "/api/v1/projects/"+p+"/checkpoints/"+c+"/changes", nil, &changes)
	if got := changes.Tree.String(); !strings.Contains(got, "changed eras/0.txt") || !strings.Contains(got, "added made-since.txt") || !strings.Contains(got, "changed other.ipynb") ||
		len(changes.Tree.Packages) != 1 || changes.Tree.Packages[0].Now != "1.0" || changes.Tree.Packages[0].Then != "" {
		t.Errorf("what would change: %s %+v", got, changes.Tree.Packages)
	}
	apply(c, map[string]any{"files": true})
	if problem := oneEra(h, p, k); problem != "" {
		t.Error(problem)
	}
	if h.read(p, "made-since.txt") != "stays" || !strings.Contains(h.read(p, "other.ipynb"), "second") || own() != 1 {
		t.Errorf("more came back than was asked for: %d packages", own())
	}
	back := rollback()
	apply(back, map[string]any{"files": true}) // and all of it is undone
	s = h.Open(p, k)
	if got := s.Exec("era"); got != "'now'" || h.read(p, "eras/1.txt") != "now" {
		t.Errorf("undone: %s, %s", got, h.read(p, "eras/1.txt"))
	}
	if got := s.Exec(stillUsed); got != used {
		t.Errorf("a library: %s", got)
	}
	apply(c, map[string]any{"notebooks": true, "packages": true})
	if got := h.read(p, "eras/1.txt"); got != "now" || !strings.Contains(h.read(p, "other.ipynb"), "first") || own() != 0 {
		t.Errorf("notebooks and packages: %q, %d packages", got, own())
	}
	apply(rollback(), map[string]any{"notebooks": true, "packages": true})
	if !strings.Contains(h.read(p, "other.ipynb"), "second") || own() != 1 {
		t.Errorf("undone: %d packages", own())
	}
	s = h.Open(p, k)
	if got := s.Exec(stillUsed); got != used {
		t.Errorf("a library that was brought back: %s", got)
	}
	// A kernel that sleeps is woken first: the rollback has the present files.
	h.MustRun(h.path(p, k, "hibernate"), nil, nil)
	h.write(p, "eras/2.txt", "written meanwhile")
	apply(c, map[string]any{"files": true})
	if problem := oneEra(h, p, k); problem != "" {
		t.Error(problem)
	}
	if got := string(h.Want(200, "GET", "/api/v1/projects/"+p+"/checkpoints/"+rollback()+"/files/content?path=eras/2.txt", nil, nil)); got != "written meanwhile" {
		t.Errorf("in the rollback: %q", got)
	}
}

// TestNewProject: a project made of a checkpoint has its kernel, notebook, files and
// packages, belongs to who made it, and has nothing else of the old home.
func TestNewProject(t *testing.T) {
	h := startHub(t, "--store-after", "2s")
	p, _ := h.project("Old")
	putNotebook(t, h, p, "work.ipynb", map[string]string{"a": "x = 1"})
	k := h.session(p, "work.ipynb")
	s := h.Open(p, k)
	s.Exec(aPackageIndex)
	if got := s.Exec("%pip install -q --index-url http://127.0.0.1:8099/simple cellarpkg"); strings.Contains(strings.ToLower(got), "error") {
		t.Fatal(got)
	}
	s.Exec(useLibrary)
	s.Exec("import os; os.makedirs('/home/cellar/.ssh'); open('/home/cellar/.ssh/id', 'w').write('private')\nopen('data.txt', 'w').write('data'); book = open('book.txt', 'w'); book.write('one'); book.flush(); x = 41; pid = os.getpid()")
	c := h.keepFiled(p, k, "fork")
	s.Exec("x = 100; open('data.txt', 'w').write('later')")
	h.awaitStored(p)
	var made struct {
		Project, Kernel, Notebook string
		Files                     int
		Notes                     []string
	}
	h.MustRun("/api/v1/projects/"+p+"/checkpoints/"+c.ID+"/project", map[string]string{"name": "New one"}, &made)
	n := made.Project
	if n != "new-one" || made.Notebook != "work.ipynb" || made.Files < 3 || len(made.Notes) != 0 {
		t.Errorf("%+v", made)
	}
	if got := h.read(n, "data.txt"); got != "data" {
		t.Errorf("a file: %q", got)
	}
	if own := h.packages(n).Own; own != 1 {
		t.Errorf("%d packages", own)
	}
	if _, err := os.Stat(filepath.Join(h.data, "projects", n, "home", ".ssh")); !os.IsNotExist(err) {
		t.Errorf("a key of the old home: %v", err)
	}
	one := h.Open(n, made.Kernel)
	if got := one.Exec("x, os.getpid() == pid, open('data.txt').read(), os.getuid()"); got != "(41, True, 'data', 1000)" {
		t.Errorf("in the new project: %s", got)
	}
	if got := one.Exec(stillUsed); got != used {
		t.Errorf("a library: %s", got)
	}
	if got := one.Exec("n = book.write('two'); book.flush(); open('own.txt', 'w').write('mine')"); got != "4" {
		t.Errorf("it cannot write: %s", got)
	}
	if got := h.read(n, "book.txt"); got != "onetwo" || h.read(p, "book.txt") != "one" {
		t.Errorf("an open file: %q there, %q here", got, h.read(p, "book.txt"))
	}
	if got := s.Exec("x"); got != "100" {
		t.Errorf("the old one: %s", got)
	}
	// Each goes on alone: the old one can be deleted, and the new one sleeps and wakes.
	h.Want(204, "DELETE", "/api/v1/projects/"+p, nil, nil)
	h.MustRun(h.path(n, made.Kernel, "hibernate"), nil, nil)
	if got := one.Exec("x, book.name, cellarpkg.answer"); got != "(41, 'book.txt', 42)" {
		t.Errorf("after it slept: %s", got)
	}
	var mine struct{ Items []filed }
	h.Want(200, "GET", "/api/v1/projects/"+n+"/checkpoints", nil, &mine)
	for _, c := range mine.Items {
		h.awaitFiled(n, c.ID)
	}
}

// TestLibraryIsGone: what was installed is removed, and the session that has it
// mapped wakes from its checkpoint all the same, also from one that it makes then.
func TestLibraryIsGone(t *testing.T) {
	h := startHub(t)
	p, k := h.project("Gone")
	s := h.Open(p, k)
	s.Exec(aPackageIndex)
	if got := s.Exec("%pip install -q --index-url http://127.0.0.1:8099/simple cellarpkg"); strings.Contains(strings.ToLower(got), "error") {
		t.Fatal(got)
	}
	s.Exec(useLibrary)
	c := h.keepFiled(p, k, "with it")
	h.MustRun(h.path(p, k, "hibernate"), nil, nil)
	var sleeps filed
	h.Want(200, "GET", "/api/v1/projects/"+p+"/checkpoints/"+h.kernel(p, k).Checkpoint, nil, &sleeps)
	h.awaitFiled(p, sleeps.ID)
	if err := os.RemoveAll(filepath.Join(h.data, "projects", p, "home", ".local", "lib")); err != nil {
		t.Fatal(err)
	}
	if got := s.Exec(stillUsed); got != used {
		t.Errorf("woken: %s", got)
	}
	h.MustRun("/api/v1/projects/"+p+"/checkpoints/"+c.ID+"/apply", map[string]any{}, nil)
	s = h.Open(p, k)
	if got := s.Exec(stillUsed); got != used {
		t.Errorf("applied: %s", got)
	}
	h.MustRun(h.path(p, k, "hibernate"), nil, nil)
	if got := s.Exec(stillUsed); got != used {
		t.Errorf("after it slept again: %s", got)
	}
}

// TestNewProjectIsCutOff: of a hub that is killed in the middle no half of a project is left.
func TestNewProjectIsCutOff(t *testing.T) {
	h := startHub(t)
	p, k := h.project("Cut")
	s := h.Open(p, k)
	s.Exec("x = 1")
	c := h.keepFiled(p, k, "fork")
	h.kill(syscall.SIGTERM)
	args := h.args
	h.args = append([]string{"--fault", "fork.filled=kill"}, args...)
	h.start()
	h.Try("POST", "/api/v1/projects/"+p+"/checkpoints/"+c.ID+"/project", map[string]string{"name": "Half"})
	h.cmd.Wait()
	h.cmd = nil
	h.args = args
	h.start()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		status, _ := h.Do("GET", "/api/v1/projects/half", nil, nil)
		_, err := os.Stat(filepath.Join(h.data, "projects", "half"))
		if status == 404 && os.IsNotExist(err) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the project is left: %d, %v", status, err)
		}
	}
	s = h.Open(p, k)
	if got := s.Exec("x"); got != "1" {
		t.Errorf("the old one: %s", got)
	}
	vaults, err := os.ReadDir(filepath.Join(h.data, "vault"))
	if err != nil || len(vaults) != 1 {
		t.Errorf("%d folders of checkpoints, %v", len(vaults), err)
	}
}

// TestQuota: who has no room left is told so with figures; what is there is saved,
// and sleeps, all the same.
func TestQuota(t *testing.T) {
	h := startHub(t, "--quota-project", "3000000000", "--quota-user", "4000000000", "--autosave", "0")
	p, k := h.project("Full")
	s := h.Open(p, k)
	s.Exec("x = 41")
	var usage struct {
		Project      struct{ Files, Home, Checkpoints int64 }
		ProjectTotal int64 `json:"project_total"`
		ProjectLimit int64 `json:"project_limit"`
		UserTotal    int64 `json:"user_total"`
	}
	at := "/api/v1/projects/" + p
	measure := func() { h.t.Helper(); h.Want(200, "GET", at+"/usage?fresh=true", nil, &usage) }
	measure()
	before := usage.ProjectTotal
	h.keepFiled(p, k, "one")
	measure()
	if usage.Project.Checkpoints < 1<<20 || usage.ProjectTotal <= before || usage.ProjectLimit != 3e9 || usage.UserTotal < usage.ProjectTotal {
		t.Errorf("%+v, %d before", usage, before)
	}
	h.kill(syscall.SIGTERM)
	for i, a := range h.args {
		if a == "3000000000" {
			h.args[i] = fmt.Sprint(usage.ProjectTotal)
		}
	}
	h.start()
	s = h.Open(p, k)
	o := h.Run(at+"/checkpoints", map[string]string{"kernel": k, "name": "two"})
	if o.Error == nil || o.Error.Code != "quota" || !strings.Contains(o.Error.Detail, "MB of ") {
		t.Errorf("a checkpoint: %+v", o.Error)
	}
	text := map[string]any{"type": "file", "format": "text", "content": "x"}
	if status, b := h.Do("PUT", "/projects/"+p+"/api/contents/new.txt", text, nil); status != 429 || !strings.Contains(string(b), "of ") {
		t.Errorf("a new file: %d %s", status, b)
	}
	h.write(p, "there.txt", "old")
	h.Want(200, "PUT", "/projects/"+p+"/api/contents/there.txt", text, nil)
	h.MustRun(h.path(p, k, "hibernate"), nil, nil)
	if got := s.Exec("x"); got != "41" {
		t.Errorf("after it slept: %s", got)
	}
}
