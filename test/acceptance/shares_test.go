package acceptance

import (
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"cellar/internal/testkit"
)

// person adds a user and returns a client of theirs.
func (h *hub) person(name string) *testkit.Client {
	h.t.Helper()
	if out, err := exec.Command(binary(), "user", "add", name, "--data", h.data).CombinedOutput(); err != nil {
		h.t.Fatalf("%v: %s", err, out)
	}
	return &testkit.Client{T: h.t, Base: h.Base, Token: h.token("--user", name)}
}

type share struct{ ID, URL string }

func (h *hub) share(p string, in map[string]any) (s share) {
	h.t.Helper()
	h.Want(201, "POST", "/api/v1/projects/"+p+"/shares", in, &s)
	return s
}

// secretOf is the last part of a link's address.
func (s share) secret() string { return strings.TrimPrefix(s.URL, "/s/") }

type copied struct {
	Project, Kernel, Notebook string
	Files                     int
	Notes                     []string
}

// has reports whether any file below the folders holds a text.
func has(t *testing.T, text string, dirs ...string) (found []string) {
	t.Helper()
	for _, dir := range dirs {
		err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return err
			}
			b, err := os.ReadFile(name)
			if strings.Contains(string(b), text) {
				found = append(found, name)
			}
			return err
		})
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
	}
	return found
}

// TestSharedCheckpoint: a link to a checkpoint shows its notebook to a stranger
// and touches nothing; a copy has the files and no memory, unless the owner said so.
func TestSharedCheckpoint(t *testing.T) {
	h := startHub(t, "--store-after", "2s", "--autosave", "0")
	p, _ := h.project("Owner")
	putNotebook(t, h, p, "work.ipynb", map[string]string{"a": "x = 41"})
	k := h.session(p, "work.ipynb")
	s := h.Open(p, k)
	s.Exec("import os; os.environ['PASSWORD'] = 'in-the-' + 'environment'; word = 'in-the-' + 'memory'; x = 41; open('data.txt', 'w').write('data'); pid = os.getpid()")
	s.Exec("os.makedirs('/home/cellar/.ssh'); open('/home/cellar/.ssh/id', 'w').write('in-the-' + 'home')")
	c := h.keepFiled(p, k, "to show")
	s.Exec("x = 100; open('data.txt', 'w').write('later')")
	h.MustRun(h.path(p, k, "hibernate"), nil, nil)
	h.awaitStored(p)
	files := h.share(p, map[string]any{"checkpoint": c.ID})
	state := h.share(p, map[string]any{"checkpoint": c.ID, "copies": "state", "audience": "named", "people": []string{"admin"}, "expires_seconds": 3600})
	vaults := func() int {
		list, _ := os.ReadDir(filepath.Join(h.data, "vault"))
		return len(list)
	}
	before := vaults()

	stranger := &testkit.Client{T: t, Base: h.Base}
	if page := string(stranger.Want(200, "GET", files.URL+"/notebook", nil, nil)); !strings.Contains(page, "<pre tabindex=\"0\">") || strings.Contains(page, "in-the-") {
		t.Errorf("the page: %.800s", page)
	}
	stranger.Want(200, "GET", files.URL, nil, nil)
	stranger.Want(404, "GET", state.URL, nil, nil)
	for _, at := range []string{"/../data.txt", "/notebook/../../data.txt", "/data.txt", "/notebook/data.txt", "/files/data.txt"} {
		if status, b := stranger.Do("GET", files.URL+at, nil, nil); status != 404 && status != 401 {
			t.Errorf("%s: %d %.200s", at, status, b)
		}
	}
	stranger.Want(401, "POST", "/api/v1/shared/copy", map[string]string{"secret": files.secret(), "name": "x"}, nil)
	if got := h.kernel(p, k).State; got != "hibernated" || vaults() != before {
		t.Errorf("looking woke the kernel (%s) or laid out the checkpoint (%d folders, %d before)", got, vaults(), before)
	}

	bob := h.person("bob")
	bob.Want(404, "GET", state.URL, nil, nil)
	bob.Want(404, "GET", "/shared/"+state.ID, nil, nil)
	var made copied
	bob.MustRun("/api/v1/shared/copy", map[string]string{"secret": files.secret(), "name": "Of bob"}, &made)
	if made.Kernel != "" || made.Notebook != "work.ipynb" || made.Files < 2 || len(made.Notes) != 0 {
		t.Errorf("%+v", made)
	}
	if got := h.read(made.Project, "data.txt"); got != "data" {
		t.Errorf("a file: %q", got)
	}
	var kernels struct{ Items []view }
	bob.Want(200, "GET", "/api/v1/projects/"+made.Project+"/kernels", nil, &kernels)
	if len(kernels.Items) != 0 {
		t.Errorf("%d kernels", len(kernels.Items))
	}
	for _, secret := range []string{"in-the-environment", "in-the-memory", "in-the-home"} {
		if found := has(t, secret, filepath.Join(h.data, "projects", made.Project), filepath.Join(h.data, "kernels")); len(found) != 0 {
			t.Errorf("%s is in %v", secret, found)
		}
	}
	// It is a project like any other: a kernel of its own, as another user of the machine.
	var session struct{ Kernel struct{ ID string } }
	bob.Want(201, "POST", "/projects/"+made.Project+"/api/sessions", map[string]any{"path": "work.ipynb", "name": "", "type": "notebook", "kernel": map[string]string{"name": "python3"}}, &session)
	one := bob.Open(made.Project, session.Kernel.ID)
	if got := one.Exec("import os; 'x' in dir(), os.environ.get('PASSWORD'), open('data.txt').read()"); got != "(False, None, 'data')" {
		t.Errorf("in the copy: %s", got)
	}

	// With the owner's word the kernel comes along. What it says is not trusted as one's own.
	forBob := h.share(p, map[string]any{"checkpoint": c.ID, "copies": "state", "audience": "named", "people": []string{"bob"}})
	var list struct {
		Items []struct{ ID, URL, Owner, Copies string }
	}
	bob.Want(200, "GET", "/api/v1/shared", nil, &list)
	if len(list.Items) != 1 || list.Items[0].ID != forBob.ID || list.Items[0].Owner != "admin" || list.Items[0].Copies != "state" {
		t.Errorf("shared with bob: %+v", list.Items)
	}
	var whole copied
	bob.MustRun("/api/v1/shared/copy", map[string]string{"share": forBob.ID, "name": "Whole"}, &whole)
	two := bob.Open(whole.Project, whole.Kernel)
	if got := two.Exec("x, word, os.environ['PASSWORD'], os.getpid() == pid, open('data.txt').read()"); got != "(41, 'in-the-memory', 'in-the-environment', True, 'data')" {
		t.Errorf("in the copy with the state: %s", got)
	}
	if page := string(bob.Want(200, "GET", "/projects/"+whole.Project+"/lab", nil, nil)); !strings.Contains(page, `"cellarTrust":"false"`) && !strings.Contains(page, `"cellarTrust": "false"`) {
		t.Error("a foreign kernel's outputs are trusted")
	}
	var alone copied
	bob.MustRun("/api/v1/shared/copy", map[string]string{"secret": h.share(p, map[string]any{"checkpoint": c.ID, "copies": "notebook"}).secret(), "name": "Alone"}, &alone)
	if alone.Files != 1 || h.read(alone.Project, "data.txt") == "data" {
		t.Errorf("the notebook alone: %+v", alone)
	}
	if page := string(bob.Want(200, "GET", "/projects/"+alone.Project+"/lab", nil, nil)); !strings.Contains(page, `"cellarTrust":"true"`) && !strings.Contains(page, `"cellarTrust": "true"`) {
		t.Error("a kernel of one's own is not trusted")
	}

	// Revoked at once, also what was just looked at; and with the checkpoint goes the link.
	h.Want(204, "DELETE", "/api/v1/projects/"+p+"/shares/"+files.ID, nil, nil)
	stranger.Want(404, "GET", files.URL+"/notebook", nil, nil)
	h.Want(204, "DELETE", "/api/v1/projects/"+p+"/checkpoints/"+c.ID, nil, nil)
	bob.Want(404, "GET", "/shared/"+forBob.ID, nil, nil)
	if got := two.Exec("x"); got != "41" {
		t.Errorf("the copy, when the checkpoint is gone: %s", got)
	}
	log, err := os.ReadFile(h.log.Name())
	if err != nil || strings.Contains(string(log), files.secret()) {
		t.Errorf("a link is in the log: %v", err)
	}
}

// TestCopyFaults is the table of a copy's steps and failures: no half of a
// project is left, and the link still works.
func TestCopyFaults(t *testing.T) {
	h := startHub(t, "--autosave", "0")
	p, _ := h.project("Owner")
	putNotebook(t, h, p, "work.ipynb", map[string]string{"a": "x = 41"})
	k := h.session(p, "work.ipynb")
	h.Open(p, k).Exec("x = 41; open('data.txt', 'w').write('data')")
	c := h.keepFiled(p, k, "to show")
	bob := h.person("bob")
	shares := map[string]share{
		"notebook": h.share(p, map[string]any{"notebook": "work.ipynb"}),
		"files":    h.share(p, map[string]any{"checkpoint": c.ID}),
		"state":    h.share(p, map[string]any{"checkpoint": c.ID, "copies": "state"}),
	}
	for copies, s := range shares {
		for _, what := range []string{"fail", "kill", "gone"} {
			t.Run(copies+"/"+what, func(t *testing.T) {
				h.T, h.t, bob.T = t, t, t
				step := "copy.filled"
				if copies == "state" {
					step = "fork.filled"
				}
				copyFault(t, h, bob, s, step, what)
			})
		}
	}
}

// TestCopyFillsTheDisk: there is room when a copy begins, and none in the middle.
func TestCopyFillsTheDisk(t *testing.T) {
	h := startHub(t, "--autosave", "0")
	p, _ := h.project("Owner")
	putNotebook(t, h, p, "work.ipynb", map[string]string{"a": "x = 41"})
	k := h.session(p, "work.ipynb")
	h.Open(p, k).Exec("import os; open('big.bin', 'wb').write(os.urandom(8 << 20))")
	c := h.keepFiled(p, k, "to show")
	bob := h.person("bob")
	in := map[string]string{"secret": h.share(p, map[string]any{"checkpoint": c.ID}).secret(), "name": "Half"}
	projects := filepath.Join(h.data, "projects")
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=4m,mode=711", "none", projects).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	defer exec.Command("umount", "-l", projects).Run()
	if o := bob.Run("/api/v1/shared/copy", in); o.Error == nil || !strings.Contains(o.Error.Detail, "disk is full") {
		t.Errorf("a copy that does not fit: %+v", o.Error)
	}
	bob.Want(404, "GET", "/api/v1/projects/half", nil, nil)
	if left, err := os.ReadDir(projects); err != nil || len(left) != 0 {
		t.Errorf("left over: %v %v", left, err)
	}
	exec.Command("umount", "-l", projects).Run()
	var made copied
	bob.MustRun("/api/v1/shared/copy", in, &made)
	if len(h.read(made.Project, "big.bin")) != 8<<20 {
		t.Error("the copy is not whole")
	}
}

func copyFault(t *testing.T, h *hub, bob *testkit.Client, s share, step, what string) {
	h.kill(syscall.SIGTERM)
	args := h.args
	h.args = append([]string{"--fault", step + "=" + what}, args...)
	h.start()
	defer func() { h.args = args }()
	in := map[string]string{"secret": s.secret(), "name": "Half"}
	status, b, err := bob.Try("POST", "/api/v1/shared/copy", in)
	if what == "kill" {
		h.cmd.Wait()
		h.cmd = nil
		h.args = args
		h.start()
	} else if err != nil || status != 202 {
		t.Fatalf("%d %s %v", status, b, err)
	} else if o := bob.Await(idOf(b)); o.Error == nil {
		t.Error("it succeeded although it failed, or nobody waited for it any more")
	}
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		status, _ := bob.Do("GET", "/api/v1/projects/half", nil, nil)
		_, err := os.Stat(filepath.Join(h.data, "projects", "half"))
		if status == http.StatusNotFound && os.IsNotExist(err) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the project is left: %d, %v", status, err)
		}
	}
	vaults, err := os.ReadDir(filepath.Join(h.data, "vault"))
	if err != nil || len(vaults) != 1 {
		t.Errorf("%d folders of checkpoints, %v", len(vaults), err)
	}
	bob.Want(200, "GET", s.URL+"/notebook", nil, nil)
	var made copied
	bob.MustRun("/api/v1/shared/copy", in, &made)
	bob.Want(204, "DELETE", "/api/v1/projects/"+made.Project, nil, nil)
}
