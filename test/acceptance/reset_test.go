package acceptance

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

type packageList struct {
	Image string
	Items []struct {
		Name, Version, Language string
		Own, Requested          bool
		ImageVersion            string `json:"image_version"`
	}
	Own        int
	Incomplete bool
	Aside      *struct{ Packages int }
}

func (h *hub) packages(project string) (list packageList) {
	h.t.Helper()
	h.Want(200, "GET", "/api/v1/projects/"+project+"/packages", nil, &list)
	return list
}

// useLibrary imports what the package index has, and maps its shared library as
// an extension module would be.
const useLibrary = `
import cellarpkg, ctypes, os
z = ctypes.CDLL(os.path.join(os.path.dirname(cellarpkg.__file__), 'cellarpkg_z.so'))
z.zlibVersion.restype = ctypes.c_char_p
version = z.zlibVersion()
`

// stillUsed calls into the library, pages of it that were never touched too.
const stillUsed = "cellarpkg.answer, z.zlibVersion() == version, z.crc32(0, b'hello', 5) & 0xffffffff, z.adler32(1, b'hello', 5)"
const used = "(42, True, 907060870, 103547413)"

// TestResetPackages: the list, requirements, and back to the image's: notebooks
// stay, what runs and what sleeps goes on, and it can be undone.
func TestResetPackages(t *testing.T) {
	h := startHub(t)
	p, k := h.project("Reset")
	at := "/api/v1/projects/" + p + "/packages"
	if list := h.packages(p); list.Own != 0 || list.Incomplete || list.Image != "base" || len(list.Items) < 50 || list.Aside != nil {
		t.Errorf("of the image alone: %d of %d, %+v", list.Own, len(list.Items), list)
	}
	s := h.Open(p, k)
	s.Exec(aPackageIndex)
	if got := s.Exec("%pip install -q --index-url http://127.0.0.1:8099/simple cellarpkg"); strings.Contains(strings.ToLower(got), "error") {
		t.Fatal(got)
	}
	list := h.packages(p)
	found := map[string]string{}
	for _, item := range list.Items {
		found[item.Name] = item.Version
		if item.Own != (item.Name == "cellarpkg") || item.Requested && !item.Own {
			t.Errorf("%+v", item)
		}
	}
	if list.Own != 1 || found["cellarpkg"] != "1.0" || found["numpy"] == "" || found["python-lsp-server"] == "" {
		t.Errorf("%d own: %v", list.Own, found)
	}
	if got := string(h.Want(200, "GET", at+"/requirements.txt", nil, nil)); got != "cellarpkg==1.0\n" {
		t.Errorf("requirements: %q", got)
	}
	if got := string(h.Want(200, "GET", at+"/requirements.txt?all=true", nil, nil)); !strings.Contains(got, "\nnumpy==") {
		t.Errorf("all requirements: %q", got)
	}
	for path, want := range map[string]int{"/requirements.txt?language=r": 422, "?image=no-such": 404} {
		if status, b := h.Do("GET", at+path, nil, nil); status != want {
			t.Errorf("%s: %d %s", path, status, b)
		}
	}
	if o := h.Run(at+"/restore", nil); o.Error == nil || o.Error.Code != "no_packages_aside" {
		t.Errorf("nothing is put aside: %+v", o)
	}

	s.Exec(useLibrary)
	putNotebook(t, h, p, "two.ipynb", map[string]string{"a": "1"})
	sleeper := h.session(p, "two.ipynb")
	two := h.Open(p, sleeper)
	two.Exec(useLibrary)
	h.MustRun(h.path(p, sleeper, "hibernate"), nil, nil)
	home := filepath.Join(h.data, "projects", p, "home")
	if err := os.WriteFile(filepath.Join(home, ".local", "kept.txt"), []byte("mine"), 0o644); err != nil {
		t.Fatal(err)
	}

	var reset struct {
		Packages, Running int
		Detail            string
	}
	h.MustRun(at+"/reset", nil, &reset)
	if reset.Packages != 1 || reset.Running != 1 || !strings.Contains(reset.Detail, "restart") {
		t.Errorf("reset: %+v", reset)
	}
	if list := h.packages(p); list.Own != 0 || list.Aside == nil || list.Aside.Packages != 1 {
		t.Errorf("after the reset: %d own, %+v", list.Own, list.Aside)
	}
	for _, name := range []string{filepath.Join(home, ".local", "kept.txt"), filepath.Join(h.data, "projects", p, "files", "two.ipynb")} {
		if _, err := os.Stat(name); err != nil {
			t.Errorf("the reset took more than packages: %v", err)
		}
	}
	if got := s.Exec(stillUsed); got != used {
		t.Errorf("in a kernel that ran on: %s", got)
	}
	h.MustRun(h.path(p, k, "hibernate"), nil, nil)
	if got := s.Exec(stillUsed); got != used {
		t.Errorf("in a kernel that ran on, then slept: %s", got)
	}
	if got := two.Exec(stillUsed); got != used {
		t.Errorf("in a kernel that slept meanwhile: %s", got)
	}
	putNotebook(t, h, p, "three.ipynb", map[string]string{"a": "1"})
	fresh := h.session(p, "three.ipynb")
	three := h.Open(p, fresh)
	if got := three.Exec("import cellarpkg"); !strings.Contains(got, "ModuleNotFoundError") {
		t.Errorf("in a new kernel: %s", got)
	}
	if status, b := h.Do("DELETE", at+"/aside", nil, nil); status != 409 || !strings.Contains(string(b), "packages_in_use") {
		t.Errorf("checkpoints need them: %d %s", status, b)
	}

	h.MustRun(at+"/restore", nil, &reset)
	if list := h.packages(p); reset.Packages != 1 || list.Own != 1 || list.Aside != nil && list.Aside.Packages > 0 {
		t.Errorf("brought back: %+v, %d own, %+v", reset, list.Own, list.Aside)
	}
	if got := three.Exec("import importlib; importlib.invalidate_caches()\nimport cellarpkg; cellarpkg.answer"); got != "42" {
		t.Errorf("brought back, in a kernel that ran: %s", got)
	}
	h.MustRun(h.path(p, sleeper, "hibernate"), nil, nil)
	if got := two.Exec(stillUsed); got != used {
		t.Errorf("brought back, in one that sleeps and wakes: %s", got)
	}
	// Nobody's checkpoints hold them: they can go for good.
	other := h.newProject("Other")
	if status, b := h.Do("DELETE", "/api/v1/projects/"+other+"/packages/aside", nil, nil); status != 404 {
		t.Errorf("nothing to forget: %d %s", status, b)
	}
	h.MustRun("/api/v1/projects/"+other+"/packages/reset", nil, &reset)
	if reset.Packages != 0 || !strings.Contains(reset.Detail, "Nothing") {
		t.Errorf("nothing to reset: %+v", reset)
	}
}
