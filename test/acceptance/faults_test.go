package acceptance

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"cellar/internal/testkit"
)

// deed is something done to a kernel, and what its state may be when it failed.
type deed struct {
	name  string
	path  string
	in    any
	steps []string
}

var deeds = []deed{
	{"hibernate", "hibernate", nil, []string{"freeze.recorded", "freeze.dumped", "freeze.kept"}},
	{"move", "switch", map[string]any{"configuration": "c1.2", "move": true}, []string{"move.recorded", "move.dumped", "move.thawed"}},
	{"resume", "resume", nil, []string{"resume.recorded", "resume.thawed"}},
	{"keep", "", nil, []string{"keep.paused", "keep.dumped"}},
	{"apply", "apply", map[string]any{}, []string{"apply.kept", "apply.recorded", "apply.thawed"}},
	{applyFiles, "apply", map[string]any{"files": true, "notebook": true}, []string{"apply.kept", "files.begun", "apply.begun", "apply.file", "apply.recorded", "apply.thawed"}},
}

// TestFaults is the table of steps and failures: after each, one copy of the
// kernel is there, the record says where, and nothing is left over. A CRIU that
// fails is in TestCRIUFails, a full disk in TestDiskFull and TestDiskFills.
func TestFaults(t *testing.T) {
	h := startHub(t)
	for _, d := range deeds {
		for _, step := range d.steps {
			for _, what := range []string{"fail", "kill", "containerd", "gone"} {
				t.Run(d.name+"/"+step+"/"+what, func(t *testing.T) {
					h.T, h.t = t, t
					fault(t, h, d, step, what, "")
				})
			}
		}
	}
	// In the middle of a dump that leaves the kernel running.
	for _, after := range []string{"10ms", "50ms", "150ms"} {
		t.Run("keep/dumping/containerd after "+after, func(t *testing.T) {
			h.T, h.t = t, t
			fault(t, h, deeds[3], "keep.paused", "containerd+"+after, "")
		})
	}
	// In the middle of a thaw, which takes some 150 ms: what the daemon had begun goes on without it for a moment.
	for _, after := range []string{"5ms", "20ms", "40ms", "70ms", "100ms", "150ms"} {
		t.Run("move/thawing/containerd after "+after, func(t *testing.T) {
			h.T, h.t = t, t
			fault(t, h, deeds[1], "move.dumped", "containerd+"+after, "")
		})
	}
	t.Run("a broken undo is found", func(t *testing.T) {
		h.T, h.t = t, t
		fault(t, h, deeds[0], "freeze.recorded", "fail", "undo.freeze")
	})
	t.Run("a broken undo of files is found", func(t *testing.T) {
		h.T, h.t = t, t
		fault(t, h, deeds[len(deeds)-1], "apply.file", "fail", "undo.files")
	})
}

// fault does one deed on a fresh kernel with a fault at one step. broken names
// an undo that is made to fail: then the check must find the damage.
func fault(t *testing.T, h *hub, d deed, step, what, broken string) {
	p, k, s := faulty(h)
	defer h.Want(204, "DELETE", "/api/v1/projects/"+p, nil, nil)
	path, in := d.prepare(h, p, k)
	s.Close()
	// The faults are given to a hub of their own.
	h.kill(syscall.SIGTERM)
	args := h.args
	h.args = append([]string{"--fault", step + "=" + what}, args...)
	if broken != "" {
		h.args = append(h.args, "--fault", broken+"=fail")
	}
	h.start()
	var o testkit.Operation
	status, b, err := h.Try("POST", path, in)
	if err == nil && status == 202 {
		o.ID = idOf(b)
	}
	if what == "kill" {
		h.cmd.Wait()
		h.cmd = nil
		h.args = args
		h.start()
	} else {
		o = h.Await(o.ID)
		if what == "fail" && o.Error == nil {
			t.Errorf("the deed succeeded although a step failed")
		}
		// Until the kernel is frozen a deed can be cancelled; what is begun after
		// that is brought to its end.
		if cancelled := step == "freeze.recorded" || step == "move.recorded" || step == "keep.paused"; what == "gone" && cancelled != (o.Error != nil) {
			t.Errorf("cancelled at %s, the deed ended with %+v", step, o.Error)
		}
		h.args = args
	}
	problem := oneCopy(t, h, p, k)
	if d.name == applyFiles && problem == "" {
		problem = oneEra(h, p, k)
	}
	if broken != "" {
		if problem == "" {
			t.Error("a broken undo was not found")
		}
		return
	}
	if problem != "" {
		t.Error(problem)
	}
}

// faulty makes a project with a kernel that knows whether it is still itself.
func faulty(h *hub) (p, k string, s *testkit.Socket) {
	p, k = h.project("Faults")
	s = h.Open(p, k)
	s.Exec("x = 41; n = 0\nimport os; pid = os.getpid()")
	return p, k, s
}

// prepare makes a kernel ready for a deed and gives the request that asks for it.
func (d deed) prepare(h *hub, p, k string) (path string, in any) {
	switch d.name {
	case "keep":
		return "/api/v1/projects/" + p + "/checkpoints", map[string]string{"kernel": k, "name": "kept"}
	case "apply":
		var c struct{ ID string }
		h.MustRun("/api/v1/projects/"+p+"/checkpoints", map[string]string{"kernel": k, "name": "one"}, &c)
		return "/api/v1/projects/" + p + "/checkpoints/" + c.ID + "/apply", d.in
	case applyFiles:
		return "/api/v1/projects/" + p + "/checkpoints/" + h.twoEras(p, k) + "/apply", d.in
	case "resume":
		h.MustRun(h.path(p, k, "hibernate"), nil, nil)
	}
	return h.path(p, k, d.path), d.in
}

func idOf(b []byte) string {
	_, rest, _ := strings.Cut(string(b), `"id":"`)
	id, _, _ := strings.Cut(rest, `"`)
	return id
}

// oneCopy says what is wrong: the kernel does not answer with its state, or not
// exactly one container is there.
func oneCopy(t *testing.T, h *hub, p, k string) string {
	var v view
	for deadline := time.Now().Add(40 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if v = h.kernel(p, k); v.State == "running" || v.State == "hibernated" || v.State == "dead" {
			break
		}
		if time.Now().After(deadline) {
			return fmt.Sprintf("the kernel stays %s", v.State)
		}
	}
	want := 1
	if v.State == "hibernated" {
		want = 0
	}
	if v.State == "dead" {
		return "the kernel is dead: " + v.StateDetail
	}
	if n := containersOf(k); n != want {
		return fmt.Sprintf("%d containers of a kernel that is %s", n, v.State)
	}
	s := h.Open(p, k)
	defer s.Close()
	if got := s.Exec("n += 1; x + 1, n, os.getpid() == pid"); got != "(42, 1, True)" {
		return "the state is not what it was: " + got
	}
	if n := containersOf(k); n != 1 {
		return fmt.Sprintf("%d containers after a cell", n)
	}
	return ""
}

// containersOf counts the control groups with processes that are a kernel's.
func containersOf(kernel string) int {
	groups := map[string]bool{}
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		b, err := os.ReadFile("/proc/" + e.Name() + "/cgroup")
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(b)) {
			if i := strings.Index(line, kernel); i >= 0 {
				groups[strings.TrimSpace(line[i:])] = true
			}
		}
	}
	return len(groups)
}

// smallVault puts a small disk where checkpoints are kept. The hub may go to its data folder another way than we do: then it is
// there, and not here.
func smallVault(t *testing.T, h *hub, size string) string {
	t.Helper()
	vault := filepath.Join(h.data, "vault")
	if alias := stateOf(h.data) + ".data"; exec.Command("mountpoint", "-q", alias).Run() == nil {
		vault = filepath.Join(alias, "vault")
	}
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size="+size+",mode=711", "tmpfs", vault).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return vault
}

// TestDiskFull: a checkpoint that finds no room leaves the kernel running, and
// signing in and deleting still work.
func TestDiskFull(t *testing.T) {
	h := startHub(t)
	p, k := h.project("Full")
	s := h.Open(p, k)
	s.Exec("x = 41; n = 0\nimport os; pid = os.getpid()")
	vault := smallVault(t, h, "8m")
	o := h.Run(h.path(p, k, "hibernate"), nil)
	if o.Error == nil || !strings.Contains(o.Error.Detail, "disk is full") {
		t.Errorf("hibernate on a full disk: %+v", o.Error)
	}
	o = h.Run("/api/v1/projects/"+p+"/checkpoints", map[string]string{"kernel": k})
	if o.Error == nil || !strings.Contains(o.Error.Detail, "disk is full") {
		t.Errorf("checkpoint on a full disk: %+v", o.Error)
	}
	if problem := oneCopy(t, h, p, k); problem != "" {
		t.Error(problem)
	}
	exec.Command("umount", "-l", vault).Run()
	h.MustRun(h.path(p, k, "hibernate"), nil, nil)
	if got := h.Open(p, k).Exec("x"); got != "41" {
		t.Errorf("x = %s", got)
	}
}

// TestDiskFills: there was room when the deed began, and there is none in the
// middle of it.
func TestDiskFills(t *testing.T) {
	h := startHub(t)
	h.kill(syscall.SIGTERM)
	for _, step := range []string{"freeze.recorded", "freeze.dumped"} {
		t.Run(step, func(t *testing.T) {
			h.T, h.t = t, t
			vault := smallVault(t, h, "400m")
			defer exec.Command("umount", "-l", vault).Run()
			h.args = []string{"--fault", step + "=full"}
			h.start()
			defer h.kill(syscall.SIGTERM)
			p, k, s := faulty(h)
			s.Exec("import numpy; a = numpy.random.bytes(8 << 20)")
			s.Wait(s.Send("print('x' * (4 << 20))", "data")) // a journal that does not fit into what is left; no tab saves
			o := h.Run(h.path(p, k, "hibernate"), nil)
			if o.Error == nil || !strings.Contains(o.Error.Detail, "disk is full") {
				t.Errorf("hibernate while the disk fills: %+v", o.Error)
			}
			if problem := oneCopy(t, h, p, k); problem != "" {
				t.Error(problem)
			}
			s.Close()
			os.Remove(filepath.Join(vault, "filler"))
			h.MustRun(h.path(p, k, "hibernate"), nil, nil)
			if got := h.Open(p, k).Exec("x"); got != "41" {
				t.Errorf("x = %s", got)
			}
			h.Want(204, "DELETE", "/api/v1/projects/"+p, nil, nil)
		})
	}
}

// TestNothingWorks: the disk fills when the dump is whole, and CRIU cannot bring it back either. The session waits in its dump and is there
// when there is room again, also for a hub that was killed meanwhile.
func TestNothingWorks(t *testing.T) {
	for _, killed := range []bool{false, true} {
		t.Run(fmt.Sprintf("killed %v", killed), func(t *testing.T) {
			tools := t.TempDir()
			flag := filepath.Join(tools, "broken")
			breakableCRIU(t, tools, flag)
			h := startHub(t, "--tools", tools)
			h.kill(syscall.SIGTERM)
			vault := smallVault(t, h, "400m")
			defer exec.Command("umount", "-l", vault).Run()
			if err := os.Symlink(filepath.Join(vault, "filler"), flag); err != nil { // broken as long as the disk is full
				t.Fatal(err)
			}
			h.args = []string{"--tools", tools, "--fault", "freeze.dumped=full"}
			h.start()
			p, k, s := faulty(h)
			s.Wait(s.Send("print('x' * (4 << 20))", "data"))
			if o := h.Run(h.path(p, k, "hibernate"), nil); o.Error == nil {
				t.Error("it hibernated on a full disk")
			}
			if v := h.kernel(p, k); v.State == "dead" || !strings.Contains(v.StateDetail, "kept") {
				t.Errorf("%s: %s", v.State, v.StateDetail)
			}
			s.Close()
			if killed {
				h.kill(syscall.SIGKILL)
			}
			os.Remove(filepath.Join(vault, "filler"))
			if killed {
				h.args = []string{"--tools", tools}
				h.start()
			}
			h.await(p, k, "hibernated")
			if problem := oneCopy(t, h, p, k); problem != "" {
				t.Error(problem)
			}
		})
	}
}
