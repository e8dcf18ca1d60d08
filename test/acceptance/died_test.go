package acceptance

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"cellar/internal/testkit"
)

// died is what a kernel's view says of its end.
type died struct {
	At           time.Time
	Reason       string
	Checkpoint   string
	CheckpointAt time.Time `json:"checkpoint_at"`
}

func (h *hub) died(project, kernel string) *died {
	h.t.Helper()
	var list struct {
		Items []struct {
			ID   string
			Died *died
		}
	}
	h.Want(200, "GET", "/api/v1/projects/"+project+"/kernels", nil, &list)
	for _, k := range list.Items {
		if k.ID == kernel {
			return k.Died
		}
	}
	h.t.Fatalf("kernel %s is not listed", kernel)
	return nil
}

// told reports whether m is a status without a request, as servers send it.
func told(m testkit.Heard, state string) bool {
	return m.Kind == "status" && m.Parent == "" && strings.Contains(string(m.Content), `"`+state+`"`)
}

// errorsOf are the names and texts of the errors in a cell of a notebook on disk.
func (h *hub) errorsOf(project, path, cell string) (out []string) {
	h.t.Helper()
	b, err := os.ReadFile(filepath.Join(h.data, "projects", project, "files", path))
	if err != nil {
		h.t.Fatal(err)
	}
	var doc struct {
		Cells []struct {
			ID      string
			Outputs []struct {
				Kind          string `json:"output_type"`
				EName, EValue string
			}
		}
	}
	if err := json.Unmarshal(b, &doc); err != nil {
		h.t.Fatal(err)
	}
	for _, c := range doc.Cells {
		for _, o := range c.Outputs {
			if c.ID == cell && o.Kind == "error" {
				out = append(out, o.EName+": "+o.EValue)
			}
		}
	}
	return out
}

// TestKernelDies: a kernel whose process ends comes up again with nothing in it.
// Who is connected hears it in order: what was said before, the end of the cell
// that ran and of those behind it, the restart.
func TestKernelDies(t *testing.T) {
	h := startHub(t)
	const words = "print('last words', flush=True); time.sleep(.3)\n" // the kernel sends in a thread of its own
	for name, c := range map[string]struct{ code, reason string }{
		"by itself":      {words + "os._exit(3)", "ended with status 3"},
		"segfault":       {words + "import ctypes; ctypes.string_at(0)", "segmentation fault"},
		"kill -9":        {words + "os.kill(os.getpid(), 9)", "by a signal: killed"},
		"out of memory":  {words + "x = bytearray(3 << 30)", "more than its 2048 MiB of memory"},
		"with its group": {words + "os.killpg(0, 9)", "by a signal: killed"},
		// It holds the interpreter's lock to the end: the kernel does not get to say that it is busy.
		"without a word": {"x = bytearray(3 << 30)", "more than its 2048 MiB of memory"},
	} {
		t.Run(name, func(t *testing.T) {
			h.T, h.t = t, t
			kernelDies(t, h, c.code, c.reason)
		})
	}
	t.Run("its container", func(t *testing.T) {
		h.T, h.t = t, t
		containerDies(t, h)
	})
}

func kernelDies(t *testing.T, h *hub, code, reason string) {
	p, k := h.project("Dies")
	defer h.Want(204, "DELETE", "/api/v1/projects/"+p, nil, nil)
	c := h.Channels(p, k, "", true)
	c.End(c.Run("x = 41\nimport os, time"))
	other := h.Channels(p, k, "", false)
	run := c.Run(code)
	behind, also := c.Run("x"), other.Run("x")
	all := c.Until("a restart", func(m testkit.Heard) bool { return told(m, "restarting") })
	if got, want := testkit.Printed(all, run), strings.Contains(code, "print"); (got == "last words\n") != want {
		t.Errorf("said before: %q", got)
	}
	index := func(what string, is func(testkit.Heard) bool) int {
		i := slices.IndexFunc(all, is)
		if i < 0 {
			t.Errorf("not heard: %s in %v", what, kinds(all))
		}
		return i
	}
	reply := func(id, status string) int {
		return index("reply "+status, func(m testkit.Heard) bool {
			return m.Channel == "shell" && m.Parent == id && strings.Contains(string(m.Content), `"status":"`+status+`"`)
		})
	}
	failed := index("an error", func(m testkit.Heard) bool {
		return m.Kind == "error" && m.Parent == run && strings.Contains(string(m.Content), reason)
	})
	idle := index("idle", func(m testkit.Heard) bool { return m.Idle(run) })
	if order := []int{failed, reply(run, "error"), idle, reply(behind, "aborted"), len(all) - 1}; !slices.IsSorted(order) {
		t.Errorf("heard in the order %v: %v", order, kinds(all))
	}
	theirs := other.Until("a restart", func(m testkit.Heard) bool { return told(m, "restarting") })
	if !slices.ContainsFunc(theirs, func(m testkit.Heard) bool { return m.Channel == "shell" && m.Parent == also }) {
		t.Errorf("another client's request is not answered: %v", kinds(theirs))
	}
	if d := h.died(p, k); d == nil || !strings.Contains(d.Reason, reason) || d.Checkpoint != "" {
		t.Errorf("told: %+v", d)
	}
	h.await(p, k, "running")
	id := c.Run("print('x' in globals())") // on the same socket
	if got := testkit.Printed(c.End(id), id); got != "False\n" {
		t.Errorf("after it: %q", got)
	}
	if d := h.died(p, k); d != nil {
		t.Errorf("told although somebody has gone on: %+v", d)
	}
	if n := containersOf(k); n != 1 {
		t.Errorf("%d containers", n)
	}
}

// containerDies: the keeper ends with the kernel.
func containerDies(t *testing.T, h *hub) {
	p, k, s := faulty(h)
	defer h.Want(204, "DELETE", "/api/v1/projects/"+p, nil, nil)
	s.Exec("import time")
	id := s.Send("open('up', 'w').close(); time.sleep(100)", "data")
	soon(t, func() bool { return h.exists(p, "up") })
	s.Close()
	syscall.Kill(keeperOf(t, k), syscall.SIGKILL)
	soon(t, func() bool { return h.died(p, k) != nil })
	h.await(p, k, "running")
	if got := h.Open(p, k).Exec("'x' in globals()"); got != "False" {
		t.Errorf("after it: %s (%s)", got, id)
	}
	soon(t, func() bool { return len(h.errorsOf(p, "tour.ipynb", "data")) == 1 })
	if n := containersOf(k); n != 1 {
		t.Errorf("%d containers", n)
	}
}

// keeperOf and processOf are the pids, on this machine, of a kernel's keeper and
// of the process that it keeps.
func keeperOf(t *testing.T, kernel string) int { return pidIn(t, kernel, "/opt/cellar/cellar-keep") }

func processOf(t *testing.T, kernel string) int { return pidIn(t, kernel, "python") }

func pidIn(t *testing.T, kernel, program string) (pid int) {
	t.Helper()
	list, _ := filepath.Glob("/proc/[0-9]*/cgroup")
	for _, name := range list {
		b, _ := os.ReadFile(name)
		line, _ := os.ReadFile(filepath.Join(filepath.Dir(name), "cmdline"))
		if strings.Contains(string(b), kernel) && strings.Contains(strings.SplitN(string(line), "\x00", 2)[0], program) {
			fmt.Sscan(filepath.Base(filepath.Dir(name)), &pid)
			return pid
		}
	}
	t.Fatalf("no %s of kernel %s", program, kernel)
	return 0
}

// TestDiesUnseen: with no tab open the notebook says how a cell ended, who comes
// later is told, and one press brings the newest checkpoint back.
func TestDiesUnseen(t *testing.T) {
	h := startHub(t)
	p, k, s := faulty(h)
	var first, c struct {
		ID string
		At time.Time `json:"created_at"`
	}
	h.MustRun("/api/v1/projects/"+p+"/checkpoints", map[string]string{"kernel": k, "name": "one"}, &first)
	s.Exec("x = 42")
	h.MustRun("/api/v1/projects/"+p+"/checkpoints", map[string]string{"kernel": k, "name": "two"}, &c)
	s.Exec("x = 43")
	s.Send("print('last words', flush=True)\nwhile not os.path.exists('now'): pass\nos._exit(3)", "data")
	s.Send("1", "model")
	soon(t, func() bool { return runState(h, p, "data") == "running" })
	s.Close()
	touch(t, filepath.Join(h.data, "projects", p, "files", "now"))
	soon(t, func() bool { return h.died(p, k) != nil })
	h.await(p, k, "running")
	check := func(when string) {
		t.Helper()
		d := h.died(p, k)
		if d == nil || d.Checkpoint != c.ID || !d.CheckpointAt.Equal(c.At.Truncate(time.Millisecond)) || !strings.Contains(d.Reason, "status 3") {
			t.Fatalf("%s: told %+v, want checkpoint %+v", when, d, c)
		}
	}
	check("at once")
	soon(t, func() bool { return len(h.errorsOf(p, "tour.ipynb", "data")) > 0 })
	if got := h.errorsOf(p, "tour.ipynb", "data"); len(got) != 1 || got[0] != "DeadKernelError: The kernel ended with status 3." {
		t.Errorf("the cell that ran: %q", got)
	}
	if text, _ := h.notebookOnDisk(p, "tour.ipynb", "data"); text != "last words\n" {
		t.Errorf("the cell that ran said %q", text)
	}
	if got := h.errorsOf(p, "tour.ipynb", "model"); len(got) != 0 {
		t.Errorf("the cell behind it: %q", got)
	}
	var away struct {
		Items []struct {
			CellID string `json:"cell_id"`
			State  string
		}
	}
	h.Want(200, "GET", "/api/v1/projects/"+p+"/away?path=tour.ipynb", nil, &away)
	if len(away.Items) != 1 || away.Items[0].CellID != "data" || away.Items[0].State != "error" {
		t.Errorf("while nobody was there: %+v", away.Items)
	}
	h.kill(syscall.SIGKILL)
	h.start()
	check("after another hub began")
	h.MustRun("/api/v1/projects/"+p+"/checkpoints/"+c.ID+"/apply", map[string]any{"files": false}, nil)
	if got := h.Open(p, k).Exec("x"); got != "42" {
		t.Errorf("x = %s", got)
	}
	if d := h.died(p, k); d != nil {
		t.Errorf("told although it was brought back: %+v", d)
	}
}

// TestDiesAgain: a kernel that ends at once each time is started five times, and
// is dead then; one that cannot start is dead the first time. Both say why.
func TestDiesAgain(t *testing.T) {
	h := startHub(t)
	p, k, s := faulty(h)
	start := filepath.Join(".ipython", "profile_default", "startup")
	s.Exec("start = os.path.expanduser('~/" + start + "'); os.makedirs(start, exist_ok=True)\n" +
		"_ = open(start + '/00.py', 'w').write('import os, sys\\nopen(os.path.expanduser(\"~/lives\"), \"a\").write(\"x\")\\n" +
		// Past the kernel's own thread for descriptor 2, which the end would outrun.
		"os.write(getattr(sys.stderr, \"_original_stdstream_copy\", 2), b\"no luck\\\\n\")\\nos._exit(7)\\n')")
	c := h.Channels(p, k, "", true)
	run := c.Run("import os; os._exit(3)")
	all := c.Until("its end", func(m testkit.Heard) bool { return told(m, "dead") })
	restarts := 0
	for _, m := range all {
		if told(m, "restarting") {
			restarts++
		}
	}
	if restarts != 5 {
		t.Errorf("started again %d times: %v", restarts, kinds(all))
	}
	if !slices.ContainsFunc(all, func(m testkit.Heard) bool { return m.Channel == "shell" && m.Parent == run }) {
		t.Error("the cell that ran is not answered")
	}
	lives, err := os.ReadFile(filepath.Join(h.data, "projects", p, "home", "lives"))
	if err != nil || len(lives) != 5 {
		t.Errorf("lives: %q, %v", lives, err)
	}
	v := h.await(p, k, "dead")
	if !strings.Contains(v.StateDetail, "status 7") || !strings.Contains(v.StateDetail, "5 times") {
		t.Errorf("told: %s", v.StateDetail)
	}
	if n := containersOf(k); n != 0 {
		t.Errorf("%d containers", n)
	}
	if d := h.died(p, k); d == nil {
		t.Error("its end is not told")
	}

	second := h.session(p, "second.ipynb")
	if v := h.await(p, second, "dead"); !strings.Contains(v.StateDetail, "status 7") || !strings.Contains(v.StateDetail, "no luck") {
		t.Errorf("one that cannot start: %s", v.StateDetail)
	}
	if lives, _ = os.ReadFile(filepath.Join(h.data, "projects", p, "home", "lives")); len(lives) != 6 {
		t.Errorf("one that cannot start was started %d times", len(lives)-5)
	}
	// With the reason gone a restart by hand brings both back.
	if err := os.RemoveAll(filepath.Join(h.data, "projects", p, "home", start)); err != nil {
		t.Fatal(err)
	}
	for _, kernel := range []string{k, second} {
		h.Want(200, "POST", "/projects/"+p+"/api/kernels/"+kernel+"/restart", nil, nil)
		if got := h.Open(p, kernel).Exec("1+1"); got != "2" {
			t.Errorf("after a restart by hand: %s", got)
		}
		if d := h.died(p, kernel); d != nil {
			t.Errorf("told still: %+v", d)
		}
	}
}

// TestDiesMeanwhile is the table of steps and failures of a kernel that ends by
// itself: whatever else is done to it, one copy of it is there afterwards, with
// nothing in it.
func TestDiesMeanwhile(t *testing.T) {
	h := startHub(t)
	frozen := false // it may have been frozen before it was killed: then nothing is lost
	run := func(name string, fn func(t *testing.T, p, k string, s *testkit.Socket)) {
		t.Run(name, func(t *testing.T) {
			h.T, h.t = t, t
			p, k, s := faulty(h)
			defer h.Want(204, "DELETE", "/api/v1/projects/"+p, nil, nil)
			fn(t, p, k, s)
			if problem := empty(h, p, k, frozen); problem != "" {
				t.Error(problem)
			}
		})
	}
	// In the middle of a deed: a hook ends the kernel.
	for _, d := range deeds {
		if d.name != "resume" {
			run("while it is frozen/"+d.name, func(t *testing.T, p, k string, s *testkit.Socket) {
				path, in := d.prepare(h, p, k)
				s.Exec("import cellar\n@cellar.before_checkpoint\ndef end(reason): os._exit(3)")
				if o := h.Run(path, in); o.Error == nil || o.Error.Code != "kernel_ended" {
					t.Errorf("the deed ended with %+v", o.Error)
				}
			})
		}
	}
	run("while it is kept", func(t *testing.T, p, k string, s *testkit.Socket) {
		s.Exec("import cellar\n@cellar.before_checkpoint\ndef end(reason): os._exit(3)")
		if o := h.Run("/api/v1/projects/"+p+"/checkpoints", map[string]string{"kernel": k}); o.Error == nil || o.Error.Code != "kernel_ended" {
			t.Errorf("the deed ended with %+v", o.Error)
		}
		var list struct{ Items []any }
		if h.Want(200, "GET", "/api/v1/projects/"+p+"/checkpoints", nil, &list); len(list.Items) != 0 {
			t.Errorf("a checkpoint of nothing: %v", list.Items)
		}
	})
	// At the same time, from outside: whoever comes first.
	for name, ask := range map[string]func(p, k string){
		"restart": func(p, k string) { h.Try("POST", "/projects/"+p+"/api/kernels/"+k+"/restart", nil) },
		"switch":  func(p, k string) { h.Try("POST", h.path(p, k, "switch"), map[string]any{"configuration": "c1.2"}) },
		"move": func(p, k string) {
			h.Try("POST", h.path(p, k, "switch"), map[string]any{"configuration": "c1.2", "move": true})
		},
		"hibernate": func(p, k string) { h.Try("POST", h.path(p, k, "hibernate"), nil) },
	} {
		frozen = name == "move" || name == "hibernate"
		for _, after := range []time.Duration{0, 10 * time.Millisecond, 60 * time.Millisecond, 150 * time.Millisecond} {
			run(fmt.Sprintf("at the same time/%s/%v", name, after), func(t *testing.T, p, k string, s *testkit.Socket) {
				pid := processOf(t, k)
				together(2, func(i int) {
					if i == 0 {
						ask(p, k)
						return
					}
					time.Sleep(after) // into the middle of it, somewhere
					syscall.Kill(pid, syscall.SIGKILL)
				})
			})
		}
	}
	frozen = false
	// The hub dies, too.
	run("while no hub is there", func(t *testing.T, p, k string, s *testkit.Socket) {
		s.Send("print('last words', flush=True); open('up', 'w').close()\nwhile True: pass", "data")
		soon(t, func() bool { return h.exists(p, "up") })
		s.Close()
		pid := processOf(t, k)
		h.kill(syscall.SIGKILL)
		syscall.Kill(pid, syscall.SIGKILL)
		soon(t, func() bool { return syscall.Kill(pid, 0) != nil })
		h.start()
		soon(t, func() bool { return h.died(p, k) != nil })
		soon(t, func() bool { return len(h.errorsOf(p, "tour.ipynb", "data")) == 1 })
		if text, _ := h.notebookOnDisk(p, "tour.ipynb", "data"); text != "last words\n" {
			t.Errorf("the cell that ran said %q", text)
		}
	})
	for _, step := range []string{"revive.recorded", "revive.removed"} {
		run("the hub dies at "+step, func(t *testing.T, p, k string, s *testkit.Socket) {
			s.Close()
			h.kill(syscall.SIGTERM)
			h.args = []string{"--fault", step + "=kill"}
			h.start()
			syscall.Kill(processOf(t, k), syscall.SIGKILL)
			h.cmd.Wait()
			h.cmd, h.args = nil, nil
			h.start()
			soon(t, func() bool { return h.died(p, k) != nil })
		})
	}
}

// empty says what is wrong: the kernel does not answer with nothing in it (or, if
// it may be whole, with all of it), or not exactly one container is there.
func empty(h *hub, p, k string, whole bool) string {
	s := h.Open(p, k)
	defer s.Close()
	for deadline := time.Now().Add(40 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		switch v := h.kernel(p, k); {
		case v.State == "dead":
			return "the kernel is dead: " + v.StateDetail
		case v.State == "running" || v.State == "hibernated":
			if got := s.Exec("'x' in globals()"); got == "False" || whole && got == "True" {
				if n := containersOf(k); n != 1 {
					return fmt.Sprintf("%d containers", n)
				}
				return ""
			} else if time.Now().After(deadline) {
				return "the state is that of before: " + got
			}
		case time.Now().After(deadline):
			return "the kernel stays " + v.State
		}
	}
}
