package acceptance

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// blob is 300 MiB that nobody can guess: large enough to come late.
const blob = `
import hashlib, multiprocessing, os, subprocess, sys, time
import warnings; warnings.simplefilter('ignore') # that a kernel has threads and forks
x = 41
blob = bytearray(os.urandom(300 << 20))
whole = lambda: hashlib.sha256(blob).hexdigest()
part = lambda i: hashlib.sha256(blob[i * (75 << 20):(i + 1) * (75 << 20)]).hexdigest()
hash_of = lambda n: part(n)
def in_pool(i): return part(i)
def in_child():
    r, w = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(w, whole().encode())
        os._exit(0)
    os.close(w)
    with os.fdopen(r) as f: got = f.read()
    return got if os.waitpid(pid, 0)[1] == 0 else 'it ended badly'
want, parts = whole(), [part(i) for i in range(4)]
pid = os.getpid()
`

// sound is true when all memory is what it was, for the kernel and for those it
// starts, and x is what it ought to be.
func sound(x int) string {
	return fmt.Sprintf(`
with multiprocessing.get_context('fork').Pool(2) as pool: from_pool = pool.map(in_pool, range(4))
(x == %d, os.getpid() == pid, in_child() == want, from_pool == parts, subprocess.check_output(['echo', 'hello']), whole() == want)`, x)
}

const allSound = `(True, True, True, True, b'hello\n', True)`

// lazily has memory come only on demand while the file that is returned exists:
// whatever is done meanwhile is done to a kernel whose memory is not there yet.
func lazily(t *testing.T) (name string) {
	name = filepath.Join(t.TempDir(), "lazy")
	t.Setenv("CELLAR_TEST_LAZY", name)
	return name
}

func touch(t *testing.T, name string) {
	t.Helper()
	if err := os.WriteFile(name, nil, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestLateMemory: a kernel with much memory begins before that has come; it and
// those it starts find all of it.
func TestLateMemory(t *testing.T) {
	lazy := lazily(t)
	h := startHub(t)
	p, k := h.project("Late")
	s := h.Open(p, k)
	if got := s.Exec(blob); got != "" {
		t.Fatal(got)
	}
	check := func(when string) {
		t.Helper()
		if got := s.Exec(sound(41)); got != allSound {
			t.Errorf("%s: %s", when, got)
		}
	}
	hibernate := func() { t.Helper(); h.MustRun(h.path(p, k, "hibernate"), nil, nil) }
	move := func() {
		t.Helper()
		h.MustRun(h.path(p, k, "switch"), map[string]any{"configuration": "c1.2", "move": true}, nil)
	}

	touch(t, lazy)
	hibernate()
	if got := s.Exec("x"); got != "41" {
		t.Errorf("woken: x = %s", got)
	}
	if pagerOf(t, k).worker == 0 {
		t.Error("the memory does not come late")
	}
	check("woken, nothing has come unasked")
	os.Remove(lazy)
	hibernate() // waits for all memory
	check("woken while it comes")
	hibernate()
	hibernate()
	check("hibernated twice")

	move()
	check("moved")
	move()
	hibernate()
	check("moved, and hibernated at once")
	touch(t, lazy)
	move()
	check("moved, nothing has come unasked")
	os.Remove(lazy)
	move()
	check("moved again")
	touch(t, lazy)
	move()
	h.kill(syscall.SIGKILL) // while memory comes
	h.start()
	s = h.Open(p, k)
	check("the hub was killed, nothing has come unasked")
	os.Remove(lazy)
	move()
	check("and moved")
	h.kill(syscall.SIGKILL)
	h.start()
	s = h.Open(p, k)
	check("the hub was killed while memory came")
	hibernate()
	check("and hibernated")
}

// pager is the processes that bring a kernel's memory; 0 for none.
type pager struct{ guardian, worker int }

func pagerOf(t *testing.T, kernel string) (found pager) {
	t.Helper()
	parents := map[int]int{}
	list, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, name := range list {
		b, _ := os.ReadFile(name)
		args := strings.Split(string(b), "\x00")
		if len(args) < 3 {
			continue
		}
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(name)))
		switch {
		case args[1] == "pager" && strings.Contains(string(b), "/pagers/"+kernel+"-"):
			found.guardian = pid
		case args[1] == "pager-worker":
			b, _ := os.ReadFile(filepath.Join(filepath.Dir(name), "stat"))
			fields := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
			if len(fields) > 1 {
				parents[pid], _ = strconv.Atoi(string(fields[1]))
			}
		}
	}
	for pid, parent := range parents {
		if parent == found.guardian && parent != 0 {
			found.worker = pid
		}
	}
	return found
}

// TestMemoryIsLost: when the pager of a kernel dies, the kernel goes back to the
// dump its memory came from, says so, and has lost nothing of before.
func TestMemoryIsLost(t *testing.T) {
	lazy := lazily(t)
	h := startHub(t)
	for _, deed := range []string{"wake", "move"} {
		for _, who := range []string{"worker", "guardian", "both"} {
			for _, restart := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s/%s/hub killed=%v", deed, who, restart), func(t *testing.T) {
					h.T, h.t = t, t
					memoryIsLost(t, h, lazy, deed, who, restart)
				})
			}
		}
	}
}

func memoryIsLost(t *testing.T, h *hub, lazy, deed, who string, restart bool) {
	p, k := h.project("Lost")
	defer h.Want(204, "DELETE", "/api/v1/projects/"+p, nil, nil)
	s := h.Open(p, k)
	if got := s.Exec(blob); got != "" {
		t.Fatal(got)
	}
	touch(t, lazy)
	if deed == "move" {
		h.MustRun(h.path(p, k, "switch"), map[string]any{"configuration": "c1.2", "move": true}, nil)
	} else {
		h.MustRun(h.path(p, k, "hibernate"), nil, nil)
	}
	if got := s.Exec("x += 1; x"); got != "42" {
		t.Fatalf("x = %s", got)
	}
	s.Send("print('it has begun', flush=True)\nwhile not os.path.exists('never'): time.sleep(.1)", "data")
	soon(t, func() bool { return runState(h, p, "data") == "running" })
	found := pagerOf(t, k)
	if found.worker == 0 || found.guardian == 0 {
		t.Fatal("the memory does not come late")
	}
	if restart {
		h.kill(syscall.SIGKILL)
	}
	if who != "worker" {
		syscall.Kill(found.guardian, syscall.SIGKILL)
	}
	if who != "guardian" {
		syscall.Kill(found.worker, syscall.SIGKILL)
	}
	if restart {
		h.start()
	}
	var v view
	soon(t, func() bool {
		v = h.kernel(p, k)
		return v.State == "running" && v.StateDetail != "" || v.State == "dead"
	})
	if v.State != "running" || !strings.Contains(v.StateDetail, "went back to its state of") {
		t.Errorf("the kernel is %s: %s", v.State, v.StateDetail)
	}
	if state := runState(h, p, "data"); state != "aborted" {
		t.Errorf("the cell that ran is %q", state)
	}
	os.Remove(lazy)
	s.Close()
	s = h.Open(p, k)
	if got := s.Exec(sound(41)); got != allSound {
		t.Errorf("after going back: %s", got)
	}
	if n := containersOf(k); n != 1 {
		t.Errorf("%d containers", n)
	}
	h.MustRun(h.path(p, k, "hibernate"), nil, nil) // all memory has come now
	if left := pagerOf(t, k); left != (pager{}) {
		t.Errorf("a pager is left: %+v", left)
	}
	if got := h.Open(p, k).Exec(sound(41)); got != allSound {
		t.Errorf("and woken again: %s", got)
	}
}

// runState is the state of the latest run of a cell of the tour; "" for none.
func runState(h *hub, project, cell string) (state string) {
	var list struct {
		Items []struct {
			CellID string `json:"cell_id"`
			State  string
		}
	}
	h.Want(200, "GET", "/api/v1/projects/"+project+"/runs?path=tour.ipynb", nil, &list)
	for _, r := range list.Items {
		if r.CellID == cell {
			state = r.State
		}
	}
	return state
}

// soon waits until something is so.
func soon(t *testing.T, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(90 * time.Second); !is(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it does not come to be so")
		}
	}
}

// TestLateFromTheArchive: a large session that was stored long ago begins at once,
// too: its memory comes straight from the archive, whatever happens meanwhile.
func TestLateFromTheArchive(t *testing.T) {
	lazy := lazily(t)
	h := startHub(t, "--store-after", "500ms")
	p, k := h.project("Cold")
	s := h.Open(p, k)
	if got := s.Exec(blob); got != "" {
		t.Fatal(got)
	}
	check := func(when string) {
		t.Helper()
		if got := s.Exec(sound(41)); got != allSound {
			t.Errorf("%s: %s", when, got)
		}
	}
	sleep := func() kept {
		t.Helper()
		h.MustRun(h.path(p, k, "hibernate"), nil, nil)
		return h.awaitStored(p)[0]
	}
	folder := func(c kept) string { return filepath.Join(h.data, "vault", c.ID) }

	touch(t, lazy)
	c := sleep()
	if got := s.Exec("x"); got != "41" {
		t.Errorf("woken: x = %s", got)
	}
	if n := onDisk(t, folder(c)); n > 100<<20 {
		t.Errorf("%d MB were written to wake it", n>>20)
	}
	if pagerOf(t, k).worker == 0 {
		t.Error("the memory does not come late")
	}
	// While it comes others are stored and collected, and the hub is killed.
	p2, k2 := h.project("Other")
	h.Open(p2, k2).Exec("import os; y = os.urandom(50 << 20)")
	h.MustRun(h.path(p2, k2, "hibernate"), nil, nil)
	h.awaitStored(p2)
	h.Want(204, "DELETE", "/api/v1/projects/"+p2, nil, nil)
	h.kill(syscall.SIGKILL)
	h.start()
	s = h.Open(p, k)
	check("nothing has come unasked")
	os.Remove(lazy)

	// And when its pager dies meanwhile.
	sleep()
	check("from the archive again")
	touch(t, lazy)
	sleep()
	s.Exec("x")
	end := pagerOf(t, k).worker
	if end == 0 {
		t.Fatal("the memory does not come late")
	}
	syscall.Kill(end, syscall.SIGKILL) // it goes back to its checkpoint, which is hollow
	os.Remove(lazy)
	soon(t, func() bool {
		v := h.kernel(p, k)
		return v.State == "running" && strings.Contains(v.StateDetail, "went back to its state of")
	})
	check("its pager was killed")
	c = sleep()
	h.MustRun("/api/v1/projects/"+p+"/checkpoints/"+c.ID+"/apply", map[string]any{}, nil)
	check("applied")
}

// onDisk is how many bytes a folder takes, holes not counted.
func onDisk(t *testing.T, dir string) (n int64) {
	t.Helper()
	filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err == nil {
			if st, err := d.Info(); err == nil {
				n += st.Sys().(*syscall.Stat_t).Blocks * 512
			}
		}
		return nil
	})
	return n
}
