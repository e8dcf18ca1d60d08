package acceptance

import (
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

type timing struct {
	Cell    string `json:"cell_id"`
	State   string
	Count   *int      `json:"execution_count"`
	Started time.Time `json:"started_at"`
	Ended   time.Time `json:"ended_at"`
	MS      int64     `json:"duration_ms"`
	Peak    int64     `json:"peak_memory_bytes"`
}

func (h *hub) timings(project, notebook string) map[string]timing {
	h.t.Helper()
	var list struct{ Items []timing }
	h.Want(200, "GET", "/api/v1/projects/"+project+"/timings?path="+notebook, nil, &list)
	out := map[string]timing{}
	for _, v := range list.Items {
		out[v.Cell] = v
	}
	return out
}

// cli runs a command of the program on the hub's data.
func (h *hub) cli(args ...string) string {
	h.t.Helper()
	out, err := exec.Command(binary(), append(args, "--data", h.data)...).Output()
	if err != nil {
		h.t.Fatal(err)
	}
	return string(out)
}

// eventually polls until fn is content.
func eventually(t testing.TB, what string, fn func() bool) {
	t.Helper()
	for deadline := time.Now().Add(60 * time.Second); !fn(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within a minute: %s", what)
		}
	}
}

// TestTimings: how long each cell took and what it needed is told to whoever
// asks, while it runs and afterwards, and outlives the hub.
func TestTimings(t *testing.T) {
	h := startHub(t)
	p, _ := h.project("Times")
	putNotebook(t, h, p, "t.ipynb", map[string]string{"base": "", "large": "", "spike": "", "small": ""})
	k := h.session(p, "t.ipynb")
	s := h.Open(p, k)
	const mib = 1 << 20
	s.Wait(s.Send("import time; 1+1", "base"))
	id := s.Send("b = bytes(range(256)) * (1<<20); time.sleep(2.5); del b", "large")
	eventually(t, "the running cell is measured", func() bool {
		v := h.timings(p, "t.ipynb")["large"]
		return v.State == "running" && v.MS > 0 && v.Peak > 256*mib
	})
	s.Wait(id)
	s.Wait(s.Send("b = bytes(range(256)) * (1<<19); del b", "spike"))
	s.Wait(s.Send("2", "small"))
	var all map[string]timing
	look := func() bool { all = h.timings(p, "t.ipynb"); return len(all) == 4 && all["small"].State == "done" }
	eventually(t, "all are known", look)
	base := all["base"].Peak
	if base < 20*mib || base > 200*mib {
		t.Errorf("a kernel that has done nothing: %d MiB", base/mib)
	}
	if v := all["large"]; v.MS < 2500 || v.MS != v.Ended.Sub(v.Started).Milliseconds() || v.Count == nil || *v.Count != 2 || v.Peak < base+230*mib || v.Peak > base+320*mib {
		t.Errorf("large: %+v, base %d MiB", v, base/mib)
	}
	if v := all["small"]; v.Peak > base+64*mib {
		t.Errorf("the peak of a cell before counts for the next: %d MiB", v.Peak/mib)
	}
	if _, err := os.Stat("/sys/fs/cgroup/memory/memory.max_usage_in_bytes"); err == nil {
		if v := all["spike"]; v.Peak < base+100*mib || v.Peak > base+200*mib {
			t.Errorf("a short cell: %d MiB, base %d MiB", v.Peak/mib, base/mib)
		}
	}
	t.Logf("peaks in MiB: base %d, large %d, spike %d, small %d", base/mib, all["large"].Peak/mib, all["spike"].Peak/mib, all["small"].Peak/mib)
	before := all
	h.kill(syscall.SIGTERM)
	h.start()
	eventually(t, "they are known after a restart", look)
	for cell, v := range before {
		if got := all[cell]; got.Peak != v.Peak || got.MS != v.MS || !got.Started.Equal(v.Started) || got.State != v.State {
			t.Errorf("%s after a restart: %+v, before %+v", cell, got, v)
		}
	}
}

// TestAllKernels: the list over all projects, for each as much as they may see.
func TestAllKernels(t *testing.T) {
	h := startHub(t)
	p, k := h.project("One")
	q, l := h.project("Two")
	type row struct {
		ID, State, Owner, Notebook string
		CPUs                       int
		Running                    string  `json:"running_cell"`
		Waiting                    int     `json:"waiting_cells"`
		WakeMS                     float64 `json:"wake_ms"`
		Project                    struct{ ID, Name string }
	}
	list := func() map[string]row {
		var got struct{ Items []row }
		h.Want(200, "GET", "/api/v1/kernels", nil, &got)
		out := map[string]row{}
		for _, r := range got.Items {
			out[r.ID] = r
		}
		return out
	}
	s := h.Open(p, k)
	s.Exec("import time")
	id := s.Send("time.sleep(600)", "long")
	s.Send("1", "behind")
	eventually(t, "one cell runs and one waits", func() bool { v := list()[k]; return v.Running == "long" && v.Waiting == 1 })
	got := list()
	if v := got[k]; len(got) != 2 || v.Project.ID != p || v.Project.Name != "One" || v.Owner != "admin" || v.Notebook != "tour.ipynb" || v.CPUs != 1 {
		t.Errorf("%+v", got)
	}
	h.Want(204, "POST", h.path(p, k, "interrupt"), nil, nil)
	if said := s.Wait(id); !strings.Contains(said, "KeyboardInterrupt") {
		t.Errorf("interrupted: %q", said)
	}
	eventually(t, "nothing runs", func() bool { v := list()[k]; return v.Running == "" && v.Waiting == 0 })
	h.await(q, l, "running")
	h.MustRun(h.path(q, l, "hibernate"), nil, nil)
	h.MustRun(h.path(q, l, "resume"), nil, nil)
	if v := list()[l]; v.WakeMS <= 0 || v.WakeMS > 60_000 {
		t.Errorf("woken: %+v", v)
	} else {
		t.Logf("woke in %.1f ms", v.WakeMS)
	}
	if out := h.cli("user", "add", "bob"); out == "" {
		t.Fatal("no password")
	}
	h.Token = h.token("--user", "bob")
	if got := list(); len(got) != 0 {
		t.Errorf("a stranger sees %+v", got)
	}
	if status, _ := h.Do("POST", h.path(p, k, "interrupt"), nil, nil); status != 404 {
		t.Errorf("a stranger interrupts: %d", status)
	}
}

// TestHistory: what was run can be asked for, as the console does for its arrow
// keys, also after a freeze, and no file of it is open.
func TestHistory(t *testing.T) {
	h := startHub(t)
	p, k := h.project("Past")
	s := h.Open(p, k)
	s.Exec("first = 1")
	s.Exec("second = 2")
	ask := func() (out []string) {
		var reply struct {
			Status  string
			History [][]any
		}
		b := s.Ask("history_request", map[string]any{"output": false, "raw": true, "hist_access_type": "tail", "n": 500})
		if err := json.Unmarshal(b, &reply); err != nil || reply.Status != "ok" {
			t.Fatalf("%s %v", b, err)
		}
		for _, line := range reply.History {
			out = append(out, line[2].(string))
		}
		return out
	}
	if got := strings.Join(ask(), "|"); got != "first = 1|second = 2" {
		t.Errorf("history: %q", got)
	}
	h.MustRun(h.path(p, k, "hibernate"), nil, nil)
	s.Exec("third = first + second")
	if got := strings.Join(ask(), "|"); got != "first = 1|second = 2|third = first + second" {
		t.Errorf("after a freeze: %q", got)
	}
	if files := s.Exec("import os; [f for f in (os.readlink('/proc/self/fd/'+n) for n in os.listdir('/proc/self/fd') if os.path.exists('/proc/self/fd/'+n)) if 'hist' in f]"); files != "[]" {
		t.Errorf("open: %s", files)
	}
}
