package acceptance

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"sort"
	"strings"
	"testing"
	"time"

	"cellar/internal/testkit"
	"cellar/kernel/containerd"
	"cellar/node"
)

// The figures of docs/bench.md, through the public API, with user namespace and
// seccomp on. Run by make bench; nothing here passes or fails by time.

func metric(b *testing.B, name string, values []float64) {
	b.Helper()
	sort.Float64s(values)
	at := func(q float64) float64 { return values[min(len(values)-1, int(q*float64(len(values))))] }
	b.ReportMetric(at(.5), name+"-p50")
	b.ReportMetric(at(.95), name+"-p95")
	b.ReportMetric(0, "ns/op")
}

func ms(since time.Time) float64 { return float64(time.Since(since).Microseconds()) / 1000 }

// rss is a process's resident memory in MB.
func rss(b *testing.B, pid int) float64 {
	b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			var kb float64
			fmt.Sscan(rest, &kb)
			return kb / 1000
		}
	}
	b.Fatal("no VmRSS")
	return 0
}

func pids(b *testing.B, pattern string) (out []int) {
	b.Helper()
	text, _ := exec.Command("pgrep", "-f", pattern).Output()
	for f := range strings.FieldsSeq(string(text)) {
		var pid int
		fmt.Sscan(f, &pid)
		out = append(out, pid)
	}
	return out
}

func BenchmarkMemory(b *testing.B) {
	h := startHub(b)
	idle := rss(b, h.cmd.Process.Pid)
	p, _ := h.project("Memory")
	for i := range 10 {
		putNotebook(b, h, p, fmt.Sprintf("%d.ipynb", i), map[string]string{"a": "1"})
		h.Open(p, h.session(p, fmt.Sprintf("%d.ipynb", i))).Exec("1")
	}
	var keepers []float64
	for _, pid := range pids(b, "^/opt/cellar/cellar-keep run") {
		if strings.Contains(cgroup(pid), groupOf(h.data)) {
			keepers = append(keepers, rss(b, pid))
		}
	}
	for range b.N {
		b.ReportMetric(idle, "hub-idle-MB")
		b.ReportMetric(rss(b, h.cmd.Process.Pid), "hub-10-kernels-MB")
	}
	metric(b, "keeper-MB", keepers)
}

func cgroup(pid int) string {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	return string(text)
}

// BenchmarkKernelStart is from asking for a kernel to its first reply.
func BenchmarkKernelStart(b *testing.B) {
	b.Run("by itself", func(b *testing.B) { kernelStart(b, startHub(b, "--no-templates")) })
	b.Run("from a template", func(b *testing.B) {
		h := startHub(b)
		p, k := h.project("First")
		h.Open(p, k).Exec("1")
		for h.template() == "" {
			time.Sleep(100 * time.Millisecond)
		}
		kernelStart(b, h)
	})
}

func kernelStart(b *testing.B, h *hub) {
	h.T, h.t = b, b
	p, _ := h.project("Start")
	var took []float64
	for range max(b.N, 10) {
		start := time.Now()
		var k struct{ ID string }
		h.Want(201, "POST", "/projects/"+p+"/api/kernels", map[string]string{"name": "python3"}, &k)
		s := h.Open(p, k.ID)
		s.Exec("1+1")
		took = append(took, ms(start))
		s.Close()
		h.Want(204, "DELETE", "/projects/"+p+"/api/kernels/"+k.ID, nil, nil)
	}
	metric(b, "start-ms", took)
}

func BenchmarkCell(b *testing.B) {
	h := startHub(b)
	p, k := h.project("Cell")
	s := h.Open(p, k)
	var took []float64
	for range max(b.N, 300) {
		start := time.Now()
		s.Exec("1+1")
		took = append(took, ms(start))
	}
	metric(b, "cell-ms", took)
}

func BenchmarkSwitch(b *testing.B) {
	h := startHub(b)
	p, k := h.project("Switch")
	h.Open(p, k).Exec("1")
	var took []float64
	for i := range max(b.N, 20) {
		start := time.Now()
		h.MustRun(h.path(p, k, "switch"), map[string]any{"configuration": []string{"c1.2", "c1.1"}[i%2]}, nil)
		took = append(took, ms(start))
	}
	metric(b, "switch-ms", took)
}

// BenchmarkMove is of a kernel with 1 GiB, until the next cell's result; beside
// it stands CRIU's own time for the same dump and restore is in the hub's log.
func BenchmarkMove(b *testing.B) {
	h := startHub(b)
	for _, size := range []int{0, 1 << 10} {
		b.Run(fmt.Sprintf("%dMiB", size), func(b *testing.B) {
			h.T, h.t = b, b
			p, k := h.project("Move")
			s := h.Open(p, k)
			h.MustRun(h.path(p, k, "switch"), map[string]any{"configuration": "c1.2"}, nil)
			s.Exec(fmt.Sprintf("import os; x = bytearray(os.urandom(1 << 20)) * %d; len(x)", size))
			var move, sleep, wake []float64
			for range max(b.N, 5) {
				start := time.Now()
				h.MustRun(h.path(p, k, "switch"), map[string]any{"configuration": "c1.2", "move": true}, nil)
				s.Exec("len(x)")
				move = append(move, ms(start))
				start = time.Now()
				h.MustRun(h.path(p, k, "hibernate"), nil, nil)
				sleep = append(sleep, ms(start))
				start = time.Now()
				s.Exec("len(x)")
				wake = append(wake, ms(start))
			}
			metric(b, "hibernate-ms", sleep)
			metric(b, "wake-ms", wake)
			metric(b, "move-ms", move)
			h.Want(204, "DELETE", "/api/v1/projects/"+p, nil, nil)
		})
	}
}

// BenchmarkNode compares a call through the hub with the same call made to the
// worker directly: the difference is what the hub adds.
func BenchmarkNode(b *testing.B) {
	h := startHub(b)
	p, _ := h.project("Node")
	putNotebook(b, h, p, "n.ipynb", map[string]string{"double": "y = x * 2"})
	k := h.session(p, "n.ipynb")
	s := h.Open(p, k)
	s.Exec("x = 1")
	s.Exec("y = x * 2")
	var n struct{ ID, URL, Key string }
	h.MustRun("/api/v1/projects/"+p+"/nodes", map[string]any{"name": "double", "source": map[string]string{"notebook": "n.ipynb", "cell": "double"},
		"inputs": []any{map[string]string{"name": "x", "type": "integer"}}, "outputs": []any{map[string]string{"name": "y", "type": "integer"}}}, &n)
	caller := &testkit.Client{T: b, Base: h.Base, Token: n.Key}
	pid := 0
	for _, id := range pids(b, "^/opt/cellar/cellar-keep run") {
		if strings.Contains(cgroup(id), "node-"+n.ID) {
			pid = id
		}
	}
	door, err := containerd.OpenDoor(pid)
	if err != nil {
		b.Fatal(err)
	}
	defer door.Close()
	body := []byte(`{"x": 21}`)
	var through, direct []float64
	for range max(b.N, 300) {
		start := time.Now()
		if status, out, err := caller.Try(http.MethodPost, n.URL, body); status != 200 {
			b.Fatalf("%d %s %v", status, out, err)
		}
		through = append(through, ms(start))
		start = time.Now()
		var conn net.Conn
		if conn, err = door.Dial(context.Background(), node.WorkerPort); err != nil {
			b.Fatal(err)
		}
		var out json.RawMessage
		if out, err = node.Call(b.Context(), conn, body); err != nil {
			b.Fatalf("%s %v", out, err)
		}
		direct = append(direct, ms(start))
	}
	metric(b, "direct-ms", direct)
	metric(b, "call-ms", through)
	b.ReportMetric(through[len(through)/2]-direct[len(direct)/2], "added-ms-p50")
}

// BenchmarkColdNode is the first call of a node that holds no process.
func BenchmarkColdNode(b *testing.B) {
	h := startHub(b, "--node-idle", "1ms")
	p, k := h.project("Cold")
	s := h.Open(p, k)
	cells := tourCells(b)
	for _, id := range []string{"data", "model", "sample", "predict"} {
		s.Exec(cells[id])
	}
	var n struct{ ID, URL, Key string }
	h.MustRun("/api/v1/projects/"+p+"/nodes", map[string]any{"name": "digit", "source": map[string]string{"notebook": "tour.ipynb", "cell": "predict"},
		"inputs": []any{map[string]string{"name": "pixels", "type": "array"}}, "outputs": []any{map[string]string{"name": "digit", "type": "integer"}}}, &n)
	caller := &testkit.Client{T: b, Base: h.Base, Token: n.Key}
	body := map[string]any{"pixels": make([]int, 64)}
	var took []float64
	for range max(b.N, 5) {
		for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
			var v struct{ Instances int }
			if h.Want(200, "GET", "/api/v1/projects/"+p+"/nodes/"+n.ID, nil, &v); v.Instances == 0 || time.Now().After(deadline) {
				break
			}
		}
		start := time.Now()
		caller.Want(200, "POST", n.URL, body, nil)
		took = append(took, ms(start))
	}
	metric(b, "cold-call-ms", took)
}

// BenchmarkSecondStart is from starting the program to its ready line, when all
// has been set up before.
func BenchmarkSecondStart(b *testing.B) {
	h := startHub(b)
	var took []float64
	for range max(b.N, 5) {
		h.kill(15)
		start := time.Now()
		h.start()
		took = append(took, ms(start))
	}
	metric(b, "ready-ms", took)
}
