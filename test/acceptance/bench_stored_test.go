package acceptance

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"cellar/internal/testkit"
)

// workload is a notebook whose state is kept after every cell.
type workload struct {
	name  string
	first string
	cell  string // %d is the number of the cell
	cells int
}

var workloads = []workload{
	{"readonly", "import numpy as np, pandas as pd\nr = np.random.default_rng(1)\nt = pd.DataFrame({c: r.random(1_000_000) for c in 'abcde'})",
		"m = t[t.a > %d / 25].groupby((t.b * 10).astype(int)).c.mean().sum()", 20},
	{"append", "import numpy as np, pandas as pd\nr = np.random.default_rng(1); parts = []", "parts.append(r.integers(0, %d + 50, 250_000, dtype='i4'))", 13},
	{"update", "import numpy as np, pandas as pd\nr = np.random.default_rng(1)\nt = pd.DataFrame({c: r.random(500_000) for c in 'abcdefgh'})",
		"t[list('abcdefgh')[%d %% 8]] = r.random(500_000)", 12},
	{"nothing", "import numpy as np, pandas as pd", "None; _n = %d", 10},
}

// pickled is the size of the namespace as pickle has it, what a language-level store begins with.
const pickled = "import pickle, types; len(pickle.dumps({k: v for k, v in globals().items() if not k.startswith('_') and k not in ('In', 'Out', 'get_ipython', 'exit', 'quit', 'open', 'pickle', 'types') and not isinstance(v, types.ModuleType)}))"

// BenchmarkStored keeps a checkpoint after every cell and compares what is stored of them, page maps and indexes and all, with plain CRIU dumps of
// the same states and with a pickle of the namespace after every cell.
func BenchmarkStored(b *testing.B) {
	for _, w := range workloads {
		b.Run(w.name, func(b *testing.B) {
			for range b.N {
				w.run(b)
			}
		})
	}
}

func (w workload) run(b *testing.B) {
	h := startHub(b, "--autosave", "0", "--idle", "0", "--store-after", "500ms")
	p, k := h.project("Stored")
	s := h.Open(p, k)
	// Pickling makes and drops copies of everything: another kernel does that.
	var other struct{ ID string }
	h.Want(201, "POST", "/projects/"+p+"/api/kernels", map[string]any{}, &other)
	twin := h.Open(p, other.ID)
	keep := func() {
		h.MustRun("/api/v1/projects/"+p+"/checkpoints", map[string]string{"kernel": k, "name": "state"}, nil)
	}
	s.Exec(w.first)
	twin.Exec(w.first)
	size := func() float64 {
		n, err := strconv.Atoi(strings.TrimSpace(twin.Exec(pickled)))
		if err != nil {
			b.Fatal(err)
		}
		return float64(n) / 1e6
	}
	pickles := size()
	keep()
	var added, plain float64
	for _, c := range h.awaitStored(p) {
		b.ReportMetric(float64(c.AddedBytes)/1e6, "first-MB")
		plain += float64(c.Size) / 1e6
	}
	start := sizeBelow(b, filepath.Join(h.data, "archive"))
	var worked float64 // seconds of a core that storing took
	for i := range w.cells {
		s.Exec(fmt.Sprintf(w.cell, i))
		twin.Exec(fmt.Sprintf(w.cell, i))
		pickles += size()
		keep()
		before := processorOf(b, h.cmd.Process.Pid)
		h.awaitStored(p) // each on the one before it
		worked += processorOf(b, h.cmd.Process.Pid) - before
	}
	plain = 0
	for _, c := range h.kept(p).Items {
		plain += float64(c.Size) / 1e6
	}
	all := sizeBelow(b, filepath.Join(h.data, "archive"))
	added = float64(all-start) / 1e6
	b.ReportMetric(float64(all)/1e6, "stored-MB")
	b.ReportMetric(added/float64(w.cells), "a-cell-MB")
	b.ReportMetric(plain, "criu-MB")
	// Of a minute, which is as often as a checkpoint comes by itself at most, unless a project asks for one after each cell.
	b.ReportMetric(worked/float64(w.cells)/60*100, "storing-%-of-a-core")
	b.ReportMetric(pickles, "pickle-MB")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkWake wakes a kernel from a checkpoint's folder and from the archive.
func BenchmarkWake(b *testing.B) {
	for _, session := range []struct{ name, code string }{{"small", "x = 1"}, {"500MB", "import numpy; x = numpy.random.default_rng(1).random(62_500_000)"}} {
		b.Run(session.name, func(b *testing.B) {
			h := startHub(b, "--autosave", "0", "--idle", "0", "--store-after", "1s")
			p, k := h.project("Wake")
			s := h.Open(p, k)
			s.Exec(session.code)
			var warm, cold []float64
			for range 5 {
				h.MustRun(h.path(p, k, "hibernate"), nil, nil)
				warm = append(warm, wake(s))
				h.MustRun(h.path(p, k, "hibernate"), nil, nil)
				h.awaitStored(p)
				cold = append(cold, wake(s))
			}
			metric(b, "folder-ms", warm)
			metric(b, "archive-ms", cold)
		})
	}
}

func wake(s *testkit.Socket) float64 {
	start := time.Now()
	s.Exec("1")
	return ms(start)
}

// BenchmarkManySessions: 500 sessions that sleep, branches of one checkpoint each
// with a state of its own if it was woken once: how long listing them takes, what
// the hub needs for them, and that no process is left. One in ten was woken.
func BenchmarkManySessions(b *testing.B) {
	const sessions, woken = 500, 50
	h := startHub(b, "--store-after", "1s", "--idle", "1h")
	p, k := h.project("Many")
	s := h.Open(p, k)
	s.Exec("import numpy, pandas; x = 0")
	var c kept
	h.MustRun("/api/v1/projects/"+p+"/checkpoints", map[string]string{"kernel": k, "name": "all"}, &c)
	s.Close()
	h.MustRun(h.path(p, k, "hibernate"), nil, nil)
	before := rss(b, h.cmd.Process.Pid)
	for i := range sessions - 1 {
		branch := h.branch(p, c.ID).Kernel
		if i < woken {
			s := h.Open(p, branch)
			s.Exec(fmt.Sprintf("x = %d; y = numpy.random.rand(100_000)", i))
			s.Close()
			h.MustRun(h.path(p, branch, "hibernate"), nil, nil)
		}
	}
	stored := 0.0
	for _, c := range h.awaitStored(p) {
		if c.Kind == "hibernate" {
			stored += float64(c.AddedBytes) / 1e6 / (woken + 1)
		}
	}
	var took []float64
	for range 20 {
		start := time.Now()
		var list struct{ Items []struct{ State string } }
		h.Want(200, "GET", "/api/v1/projects/"+p+"/kernels", nil, &list)
		took = append(took, ms(start))
		if len(list.Items) != sessions {
			b.Fatalf("%d sessions", len(list.Items))
		}
		for _, k := range list.Items {
			if k.State != "hibernated" {
				b.Fatalf("one is %s", k.State)
			}
		}
	}
	metric(b, "list-ms", took)
	b.ReportMetric(stored, "stored-MB-each")
	b.ReportMetric((rss(b, h.cmd.Process.Pid)-before)/sessions*1000, "hub-kB-each")
	kernels := 0
	for _, pid := range pids(b, "cellar-keep run|ipykernel|cellar_launcher") {
		if strings.Contains(cgroup(pid), groupOf(h.data)) {
			kernels++
		}
	}
	b.ReportMetric(float64(kernels), "processes")
}

// processorOf is the processor time that a process has used, in seconds.
func processorOf(b *testing.B, pid int) float64 {
	b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		b.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	f := strings.Fields(rest)
	var user, system float64
	if _, err := fmt.Sscan(f[11]+" "+f[12], &user, &system); err != nil {
		b.Fatal(err)
	}
	return (user + system) / 100 // USER_HZ
}
