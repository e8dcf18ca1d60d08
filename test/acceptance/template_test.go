package acceptance

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// templated is a hub that has a template of its Python kernel.
func templated(t *testing.T, args ...string) (h *hub, project, kernel string) {
	t.Helper()
	h = startHub(t, args...)
	project, kernel = h.project("First")
	if got := h.Open(project, kernel).Exec("1"); got != "1" {
		t.Fatal(got)
	}
	soon(t, func() bool { return h.template() != "" })
	return h, project, kernel
}

// template is the folder of the only template; "" as long as there is none.
func (h *hub) template() string {
	list, err := filepath.Glob(filepath.Join(h.data, "templates", "*", "template.json"))
	if err != nil || len(list) != 1 || strings.HasSuffix(filepath.Dir(list[0]), ".new") {
		return ""
	}
	return filepath.Dir(list[0])
}

// began counts the kernels that came from a template so far.
func (h *hub) began() int {
	b, err := os.ReadFile(h.log.Name())
	if err != nil {
		h.t.Fatal(err)
	}
	return strings.Count(string(b), `msg="began from a template"`)
}

// own is what must differ between kernels that begin from one template.
const own = `import random, ssl, uuid, tempfile
print(random.random(), ssl.RAND_bytes(8).hex(), get_ipython().kernel.session.session, uuid.uuid4())`

// TestTemplates: a kernel that begins from a template is one of its own, in its
// own folder, with the packages of its project, and lives on as any other.
func TestTemplates(t *testing.T) {
	h, p, first := templated(t)
	h.Want(201, "PUT", "/projects/"+p+"/api/contents/deep", map[string]string{"type": "directory"}, nil)
	putNotebook(t, h, p, "deep/two.ipynb", map[string]string{"a": "1"})
	k := h.session(p, "deep/two.ipynb")
	s := h.Open(p, k)
	for _, c := range []struct{ code, want string }{
		{"import os, sys; os.getcwd(), '/project' in sys.path, _dh", "('/project/deep', False, [PosixPath('/project/deep')])"},
		{"len(In), 'two.ipynb' in os.listdir()", "(3, True)"},
		{"sys.path.index(__import__('site').getusersitepackages()) < sys.path.index('/usr/lib/python3/dist-packages')", "True"},
		{"os.path.isdir(os.path.expanduser('~/.ipython/profile_default/startup'))", "True"},
		{"import threading; sorted(t.name for t in threading.enumerate() if 'cellar' in t.name)", "['cellar-hooks', 'cellar-keeper']"},
	} {
		if got := s.Exec(c.code); got != c.want {
			t.Errorf("%s gave %s, want %s", c.code, got, c.want)
		}
	}
	if n := h.began(); n != 1 {
		t.Errorf("%d kernels began from the template", n)
	}
	// No two are the same, in one project or in two.
	q, other := h.project("Second")
	seen := map[string]bool{}
	for _, s := range []interface{ Exec(string) string }{s, h.Open(q, other), h.Open(p, first)} {
		for _, each := range strings.Fields(s.Exec(own)) {
			if seen[each] || each == "" {
				t.Errorf("two kernels have %q", each)
			}
			seen[each] = true
		}
	}
	if len(seen) != 12 {
		t.Errorf("%d things", len(seen))
	}
	if n := h.began(); n != 2 {
		t.Errorf("%d kernels began from the template, one of them in a project of its own", n)
	}
	// As any other: it sleeps, moves, is restarted.
	s.Exec("x = [1]; f = open('kept', 'w')")
	h.MustRun(h.path(p, k, "hibernate"), nil, nil)
	h.MustRun(h.path(p, k, "resume"), nil, nil)
	h.MustRun(h.path(p, k, "switch"), map[string]any{"configuration": "c1.1", "move": true}, nil)
	if got := s.Exec("x, f.write('a')"); got != "([1], 1)" {
		t.Errorf("after sleep and a move: %s", got)
	}
	before := h.began()
	h.Want(200, "POST", "/projects/"+p+"/api/kernels/"+k+"/restart", nil, nil)
	if got := s.Exec("'x' in globals(), os.getcwd() if 'os' in globals() else __import__('os').getcwd()"); got != "(False, '/project/deep')" || h.began() != before+1 {
		t.Errorf("after a restart: %s", got)
	}
	// A package of the project that runs code when an interpreter starts, and one
	// that is in the place of what is loaded already.
	s.Exec("import site, pathlib; place = pathlib.Path(site.getusersitepackages()); (place / 'mine.pth').write_text('import sys; sys.mine = 7\\n/project/deep/more\\n')")
	h.Want(200, "POST", "/projects/"+p+"/api/kernels/"+k+"/restart", nil, nil)
	if got := s.Exec("import sys; sys.mine"); got != "7" || h.began() != before+2 {
		t.Errorf("a .pth file: %s", got)
	}
	s.Exec("import site, pathlib; place = pathlib.Path(site.getusersitepackages()); (place / 'traitlets').mkdir()")
	h.Want(200, "POST", "/projects/"+p+"/api/kernels/"+k+"/restart", nil, nil)
	if got := s.Exec("1"); h.began() != before+2 {
		t.Errorf("a package in the place of one that is loaded: %s", got)
	}
	s.Exec("import os, pathlib; place = pathlib.Path(__import__('site').getusersitepackages()); (place / 'traitlets').rmdir(); pathlib.Path(os.path.expanduser('~/.ipython/profile_default/startup/mine.py')).write_text('mine = 8')")
	h.Want(200, "POST", "/projects/"+p+"/api/kernels/"+k+"/restart", nil, nil)
	if got := s.Exec("mine"); got != "8" || h.began() != before+2 {
		t.Errorf("a startup file of IPython: %s", got)
	}
}

// TestTemplateUnderFaults: a hub that is killed on the way, and a template that is
// damaged, leave a kernel that works.
func TestTemplateUnderFaults(t *testing.T) {
	h, p, _ := templated(t)
	h.Want(201, "PUT", "/projects/"+p+"/api/contents/deep", map[string]string{"type": "directory"}, nil)
	for _, at := range []string{"begin.copied", "begin.thawed"} {
		putNotebook(t, h, p, "deep/"+at+".ipynb", map[string]string{"a": "1"})
		h.kill(syscall.SIGTERM)
		h.args = []string{"--fault", at + "=kill"}
		h.start()
		h.Try("POST", "/projects/"+p+"/api/sessions", map[string]any{"path": "deep/" + at + ".ipynb", "name": at, "type": "notebook", "kernel": map[string]string{"name": "python3"}})
		soon(t, func() bool { _, _, err := h.Try("GET", "/api/v1/me", nil); return err != nil })
		h.kill(syscall.SIGKILL)
		h.args = nil
		h.start()
		if got := h.Open(p, h.session(p, "deep/"+at+".ipynb")).Exec("__import__('os').getcwd()"); got != "'/project/deep'" {
			t.Errorf("a hub killed at %s: %s", at, got)
		}
	}
	before := h.began()
	pages, err := filepath.Glob(filepath.Join(h.template(), "dump", "pages-*.img"))
	if err != nil || len(pages) == 0 {
		t.Fatal(pages, err)
	}
	for _, file := range pages {
		if err := os.Truncate(file, 4096); err != nil {
			t.Fatal(err)
		}
	}
	q, k := h.project("Damaged")
	if got := h.Open(q, k).Exec("40 + 2"); got != "42" || h.began() != before {
		t.Errorf("from a damaged template: %s", got)
	}
}
