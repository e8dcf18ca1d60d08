package acceptance

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"cellar/internal/testkit"
)

// aPackageIndex makes a wheel and serves it as a package index on the kernel's
// own loopback.
const aPackageIndex = `
import zipfile, pathlib, subprocess, sys
root = pathlib.Path('/tmp/index/simple/cellarpkg'); root.mkdir(parents=True, exist_ok=True)
name = 'cellarpkg-1.0-py3-none-any.whl'
with zipfile.ZipFile(root / name, 'w') as z:
    z.writestr('cellarpkg.py', 'answer = 42\n')
    z.write(next(pathlib.Path('/usr/lib').glob('*/libz.so.1')), 'cellarpkg_z.so')
    z.writestr('cellarpkg-1.0.dist-info/METADATA', 'Metadata-Version: 2.1\nName: cellarpkg\nVersion: 1.0\n')
    z.writestr('cellarpkg-1.0.dist-info/WHEEL', 'Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n')
    z.writestr('cellarpkg-1.0.dist-info/RECORD', 'cellarpkg.py,,\ncellarpkg_z.so,,\ncellarpkg-1.0.dist-info/METADATA,,\ncellarpkg-1.0.dist-info/WHEEL,,\ncellarpkg-1.0.dist-info/RECORD,,\n')
(root / 'index.html').write_text(f'<a href="{name}">{name}</a>')
(root.parent / 'index.html').write_text('<a href="cellarpkg/">cellarpkg</a>')
server = subprocess.Popen([sys.executable, '-m', 'http.server', '8099', '--bind', '127.0.0.1', '--directory', '/tmp/index'], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
import socket, time
while True:
    try: socket.create_connection(('127.0.0.1', 8099)).close(); break
    except OSError: time.sleep(.05)
`

// TestPackages: what pip installs, however it is called, goes to the project's
// own place, is there for every kernel of it and persists.
func TestPackages(t *testing.T) {
	h := startHub(t)
	p, k := h.project("Packages")
	s := h.Open(p, k)
	s.Exec(aPackageIndex)
	for _, how := range []string{
		"%pip install -q --index-url http://127.0.0.1:8099/simple cellarpkg",
		"!pip install -q --force-reinstall --index-url http://127.0.0.1:8099/simple cellarpkg",
	} {
		if got := s.Exec(how); strings.Contains(strings.ToLower(got), "error") {
			t.Errorf("%s: %s", how, got)
		}
		if got := s.Exec("import cellarpkg; cellarpkg.answer, cellarpkg.__file__.startswith('/home/cellar/.local/')"); got != "(42, True)" {
			t.Errorf("after %s: %s", how, got)
		}
	}
	putNotebook(t, h, p, "two.ipynb", map[string]string{"a": "1"})
	two := h.Open(p, h.session(p, "two.ipynb"))
	if got := two.Exec("import cellarpkg; cellarpkg.answer"); got != "42" {
		t.Errorf("in another kernel: %s", got)
	}
	other, k2 := h.project("Other")
	if got := h.Open(other, k2).Exec("import cellarpkg"); !strings.Contains(got, "ModuleNotFoundError") {
		t.Errorf("in another project: %s", got)
	}
}

// breakableCRIU fills a folder of tools whose criu fails as long as the file flag is there.
func breakableCRIU(t *testing.T, tools, flag string) {
	t.Helper()
	testkit.Containers(t)
	for _, name := range []string{"containerd", "containerd-shim-runc-v2", "runc"} {
		if err := os.Symlink(filepath.Join(testkit.Tools(), name), filepath.Join(tools, name)); err != nil {
			t.Fatal(err)
		}
	}
	script := "#!/bin/sh\n[ -e " + flag + " ] && [ \"$1\" = swrk ] && exit 3\nexec " + filepath.Join(testkit.Tools(), "criu") + " \"$@\"\n"
	if err := os.WriteFile(filepath.Join(tools, "criu"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
}

// TestCRIUFails: a dump that fails leaves the kernel running; a restore that
// fails leaves the checkpoint.
func TestCRIUFails(t *testing.T) {
	tools := t.TempDir()
	flag := filepath.Join(tools, "broken")
	breakableCRIU(t, tools, flag)
	h := startHub(t, "--tools", tools)
	p, k := h.project("CRIU")
	s := h.Open(p, k)
	s.Exec("x = 41; n = 0\nimport os; pid = os.getpid()")
	deeds := func() map[string]func() testkit.Operation {
		return map[string]func() testkit.Operation{
			"hibernate": func() testkit.Operation { return h.Run(h.path(p, k, "hibernate"), nil) },
			"move": func() testkit.Operation {
				return h.Run(h.path(p, k, "switch"), map[string]any{"configuration": "c1.2", "move": true})
			},
			"checkpoint": func() testkit.Operation {
				return h.Run("/api/v1/projects/"+p+"/checkpoints", map[string]string{"kernel": k})
			},
		}
	}
	for name, do := range deeds() {
		os.WriteFile(flag, nil, 0o644)
		o := do()
		os.Remove(flag)
		if o.Error == nil {
			t.Errorf("%s succeeded with a broken criu", name)
		} else if o.Error.Code != "freeze_failed" {
			t.Errorf("%s: %+v", name, o.Error)
		}
		s.Exec("n = 0")
		if problem := oneCopy(t, h, p, k); problem != "" {
			t.Errorf("%s: %s", name, problem)
		}
	}
	h.MustRun(h.path(p, k, "hibernate"), nil, nil)
	os.WriteFile(flag, nil, 0o644)
	if o := h.Run(h.path(p, k, "resume"), nil); o.Error == nil {
		t.Error("a resume succeeded with a broken criu")
	}
	if v := h.kernel(p, k); v.State != "hibernated" || containersOf(k) != 0 {
		t.Errorf("after a failed resume: %+v, %d containers", v, containersOf(k))
	}
	os.Remove(flag)
	s.Close()
	if got := h.Open(p, k).Exec("x"); got != "41" {
		t.Errorf("x = %s", got)
	}
	if left, _ := exec.Command("sh", "-c", "ls "+filepath.Join(h.data, "vault")+" | wc -l").Output(); strings.TrimSpace(string(left)) != "1" {
		t.Errorf("folders in the vault: %s", left)
	}
}
