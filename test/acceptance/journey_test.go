package acceptance

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"cellar/internal/testkit"
)

// tourCells are the sources of the tour's code cells by ID.
func tourCells(t testing.TB) map[string]string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(testkit.Root(), "images", "tour", "tour.ipynb"))
	if err != nil {
		t.Fatal(err)
	}
	var nb struct {
		Cells []struct {
			ID, Type string
			Source   []string
		}
	}
	if err := json.Unmarshal(b, &nb); err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, c := range nb.Cells {
		out[c.ID] = strings.Join(c.Source, "")
	}
	return out
}

// TestJourney is the main job from end to end, without a browser: the tour, a
// switch and a move, coming back, checkpoints, a published cell.
func TestJourney(t *testing.T) {
	h := startHub(t, "--node-idle", "2s")
	p, k := h.project("Digits")
	if p != "digits" {
		t.Errorf("project ID %q", p)
	}
	s := h.Open(p, k)
	cells := tourCells(t)
	for _, id := range []string{"data", "picture", "model", "generator", "file", "thread", "shell"} {
		if got := s.Exec(cells[id]); strings.Contains(got, "Error") {
			t.Fatalf("cell %s: %s", id, got)
		}
	}
	look := "import os; len(os.sched_getaffinity(0)), next(squares), ticks > 0, diary.write('x'), int(open('/proc/meminfo').readline().split()[1]) // 1024"
	memory := h.memorySeen()
	s.Exec("pid = os.getpid() if 'os' in dir() else __import__('os').getpid()")

	t.Run("switch in place", func(t *testing.T) {
		h.T = t
		h.MustRun(h.path(p, k, "switch"), map[string]any{"configuration": "c1.2"}, nil)
		if got := s.Exec(look); got != fmt.Sprintf("(2, 25, True, 1, %d)", memory(4096)) || h.kernel(p, k).MemoryLimit != 4<<30 {
			t.Errorf("after the switch: %s", got)
		}
	})
	t.Run("move while a cell prints", func(t *testing.T) {
		h.T = t
		id := s.Send("import time\nfor i in range(1000): print(i); time.sleep(.002)", "away")
		after := s.Send("'typed meanwhile'", "")
		time.Sleep(300 * time.Millisecond) // let it print; the move may come at any moment
		h.MustRun(h.path(p, k, "switch"), map[string]any{"configuration": "c1.1", "move": true}, nil)
		if got := s.Wait(id); got != numbers(1000) {
			t.Errorf("lines were lost or doubled: %d bytes", len(got))
		}
		if got := s.Wait(after); got != "'typed meanwhile'" {
			t.Errorf("what was typed meanwhile: %s", got)
		}
		if got := s.Exec(look + ", os.getpid() == pid"); got != fmt.Sprintf("(1, 36, True, 1, %d, True)", memory(2048)) || h.kernel(p, k).MemoryLimit != 2<<30 {
			t.Errorf("after the move: %s", got)
		}
		if v := h.kernel(p, k); v.Configuration != "c1.1" || v.State != "running" {
			t.Errorf("%+v", v)
		}
	})
	var c struct{ ID string }
	t.Run("checkpoint and apply", func(t *testing.T) {
		h.T = t
		s.Exec("x = 1")
		h.MustRun("/api/v1/projects/"+p+"/checkpoints", map[string]string{"kernel": k, "name": "one"}, &c)
		s.Exec("x = 2; y = 3; diary.write('later' * 1000); diary.flush()")
		var changes struct {
			Variables []struct{ Name, Now, Then string }
		}
		h.Want(200, "GET", "/api/v1/projects/"+p+"/checkpoints/"+c.ID+"/changes", nil, &changes)
		told := map[string]string{}
		for _, v := range changes.Variables {
			told[v.Name] = v.Now + ">" + v.Then
		}
		if told["x"] != "2>1" || told["y"] != "3>" {
			t.Errorf("changes: %v", changes.Variables)
		}
		h.MustRun("/api/v1/projects/"+p+"/checkpoints/"+c.ID+"/apply", map[string]bool{"files": false}, nil)
		if got := s.Exec("x, 'y' in dir(), next(squares), os.getpid() == pid, diary.write('z')"); got != "(1, False, 49, True, 1)" {
			t.Errorf("after going back: %s", got)
		}
		var list struct{ Items []struct{ Kind string } }
		h.Want(200, "GET", "/api/v1/projects/"+p+"/checkpoints", nil, &list)
		if len(list.Items) < 2 || list.Items[0].Kind != "rollback" {
			t.Errorf("checkpoints: %+v", list.Items)
		}
	})
	t.Run("publish", func(t *testing.T) {
		h.T = t
		publish(t, h, p, k, s, cells)
	})
}

func publish(t *testing.T, h *hub, p, k string, s *testkit.Socket, cells map[string]string) {
	s.Exec(cells["sample"])
	s.Exec(cells["predict"])
	source := map[string]string{"notebook": "tour.ipynb", "cell": "predict"}
	var d struct {
		Inputs, Outputs []struct{ Name, Type string }
	}
	h.Want(200, "POST", "/api/v1/projects/"+p+"/nodes/describe", source, &d)
	if len(d.Inputs) != 1 || d.Inputs[0].Name != "pixels" || d.Inputs[0].Type != "array" || len(d.Outputs) != 1 || d.Outputs[0].Name != "digit" || d.Outputs[0].Type != "integer" {
		t.Errorf("described: %+v", d)
	}
	var n struct{ ID, URL, Key string }
	h.MustRun("/api/v1/projects/"+p+"/nodes", map[string]any{"name": "digit", "source": source, "inputs": d.Inputs, "outputs": d.Outputs}, &n)
	caller := &testkit.Client{T: t, Base: h.Base, Token: n.Key}
	var pixels []float64
	json.Unmarshal([]byte(s.Exec("__import__('builtins').print(pixels)")), &pixels)
	if len(pixels) != 64 {
		t.Fatalf("%d pixels", len(pixels))
	}
	call := func(want int, body any) string {
		t.Helper()
		return strings.TrimSpace(string(caller.Want(want, "POST", n.URL, body, nil)))
	}
	sample := map[string]any{"pixels": pixels}
	if got := call(200, sample); got != `{"digit":7}` && got != `{"digit": 7}` {
		t.Errorf("answer %s", got)
	}
	s.Exec("model = None")
	call(200, sample)
	if got := call(400, map[string]any{"pixels": "abc"}); !strings.Contains(got, "pixels") {
		t.Errorf("a wrong type: %s", got)
	}
	call(422, map[string]any{"pixels": []int{1, 2}}) // the person's own code fails
	call(400, []byte("{"))
	call(413, []byte(`{"pixels":"`+strings.Repeat("a", 17<<20)+`"}`))
	wrong := &testkit.Client{T: t, Base: h.Base, Token: "wrong"}
	wrong.Want(403, "POST", n.URL, sample, nil)
	(&testkit.Client{T: t, Base: h.Base}).Want(401, "POST", n.URL, sample, nil)
	together(8, func(int) {
		if status, b, err := caller.Try("POST", n.URL, sample); err != nil || status != 200 {
			t.Errorf("at once: %d %s %v", status, b, err)
		}
	})
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		var v struct {
			State     string
			Instances int
		}
		h.Want(200, "GET", "/api/v1/projects/"+p+"/nodes/"+n.ID, nil, &v)
		if v.Instances == 0 && v.State == "idle" {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the node does not scale to zero: %+v", v)
		}
	}
	call(200, sample)

	// The machine reboots: everything is killed, containerd too.
	h.MustRun(h.path(p, k, "hibernate"), nil, nil)
	pid := h.containerd()
	h.kill(syscall.SIGKILL)
	killAll(t, h.data, pid)
	h.start()
	call(200, sample)
	s = h.Open(p, k)
	if got := s.Exec("x"); got != "1" {
		t.Errorf("x after the reboot: %s", got)
	}
	if status, _ := h.Do(http.MethodDelete, "/api/v1/projects/"+p+"/nodes/"+n.ID, nil, nil); status != 204 {
		t.Errorf("deleting the node: %d", status)
	}
}

// killAll ends what a reboot would end: containerd, its shims, the kernels.
func killAll(t *testing.T, data string, containerd int) {
	t.Helper()
	syscall.Kill(containerd, syscall.SIGKILL)
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		b, err := os.ReadFile("/proc/" + e.Name() + "/cmdline")
		if err != nil {
			continue
		}
		group, _ := os.ReadFile("/proc/" + e.Name() + "/cgroup")
		if strings.Contains(string(b), "containerd-shim-runc-v2") && strings.Contains(string(b), stateOf(data)) || strings.Contains(string(group), groupOf(data)) {
			var pid int
			if _, err := fmtSscan(e.Name(), &pid); err == nil {
				syscall.Kill(pid, syscall.SIGKILL)
			}
		}
	}
}
