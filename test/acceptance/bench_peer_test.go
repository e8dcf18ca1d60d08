package acceptance

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cellar/internal/testkit"
)

// What people compare: the same through us, through jupyter_server with its
// defaults (the peer), and on the kernel's own sockets (direct), in one run.

// sample is what one way took, in milliseconds.
type sample struct {
	name string
	took []float64
}

func (s sample) at(q float64) float64 {
	sort.Float64s(s.took)
	return s.took[min(len(s.took)-1, int(q*float64(len(s.took))))]
}

// compare reports each way's middle and end, and what ours is of the others.
func compare(b *testing.B, what string, list ...sample) {
	b.Helper()
	for _, s := range list {
		b.ReportMetric(s.at(.5), s.name+"-"+what+"-p50")
		b.ReportMetric(s.at(.99), s.name+"-"+what+"-p99")
	}
	ours := list[0]
	for _, s := range list[1:] {
		b.ReportMetric(ours.at(.5)/s.at(.5), what+"-of-"+s.name+"-p50")
		b.ReportMetric(ours.at(.99)/s.at(.99), what+"-of-"+s.name+"-p99")
	}
	b.ReportMetric(0, "ns/op")
}

// way is a line and what it took so far.
type way struct {
	line
	sample
}

// ways are the three ways to a kernel, ours first.
func ways(b *testing.B) []*way {
	h := startHub(b)
	p, k := h.project("Ways")
	h.Open(p, k).Exec("1")
	peer := startPeer(b)
	out := []*way{
		{jupyterOf(h, p).open(k), sample{name: "cellar"}},
		{direct(b, k), sample{name: "direct"}},
		{peer.open(peer.startKernel()), sample{name: "peer"}},
	}
	for _, w := range out {
		execute(w.line, "1")
		b.Cleanup(w.close)
	}
	return out
}

func samples(list []*way) (out []sample) {
	for _, w := range list {
		out = append(out, w.sample)
	}
	return out
}

// BenchmarkPeerCell: 1+1, from sending until reply and idle have come; the three
// take turns.
func BenchmarkPeerCell(b *testing.B) {
	list := ways(b)
	for range max(b.N, 200) {
		for _, w := range list {
			execute(w.line, "1") // a machine that slept through the peer's stall is slow to all that come next
			start := time.Now()
			execute(w.line, "1+1")
			w.took = append(w.took, ms(start))
		}
	}
	compare(b, "cell-ms", samples(list)...)
}

// BenchmarkPeerOutput: until a client has all that a cell prints, and how much of
// it that was.
func BenchmarkPeerOutput(b *testing.B) {
	for name, c := range map[string]struct {
		code string
		size int
	}{
		"100k-lines": {"for i in range(100_000): print(f'{i:08}')", 900_000},
		"100MB":      {"line = 'x' * 99\nfor _ in range(1_000_000): print(line)", 100_000_000},
	} {
		b.Run(name, func(b *testing.B) {
			list := ways(b)
			for range max(b.N, 3) {
				for _, w := range list {
					start := time.Now()
					got := execute(w.line, c.code)
					w.took = append(w.took, ms(start))
					b.ReportMetric(100*float64(got)/float64(c.size), w.name+"-%-came")
				}
			}
			compare(b, "ms", samples(list)...)
		})
	}
}

// BenchmarkPeerStart: from asking for a kernel to its first reply.
func BenchmarkPeerStart(b *testing.B) {
	h := startHub(b)
	p, k := h.project("Start")
	h.Open(p, k).Exec("1")
	var list []sample
	for _, j := range []jupyter{jupyterOf(h, p), startPeer(b)} {
		s := sample{name: j.name}
		for range max(b.N, 8) {
			start := time.Now()
			k := j.startKernel()
			l := j.open(k)
			execute(l, "1+1")
			s.took = append(s.took, ms(start))
			l.close()
			j.endKernel(k)
		}
		list = append(list, s)
	}
	compare(b, "start-ms", list...)
}

// bigNotebook has about 10 MB: code, and outputs of text.
func bigNotebook() []byte {
	var cells []any
	line := strings.Repeat("0123456789", 10) + "\n"
	for i := range 100 {
		cells = append(cells, map[string]any{
			"cell_type": "code", "id": fmt.Sprintf("c%d", i), "metadata": map[string]any{}, "execution_count": i + 1, "source": "print(1)\n",
			"outputs": []any{map[string]any{"output_type": "stream", "name": "stdout", "text": strings.Repeat(line, 1000)}},
		})
	}
	b, err := json.Marshal(map[string]any{"cells": cells, "metadata": map[string]any{}, "nbformat": 4, "nbformat_minor": 5})
	if err != nil {
		panic(err)
	}
	return b
}

// request sends one request and reads the whole answer.
func (j jupyter) request(method, path string, body []byte) float64 {
	j.T.Helper()
	req, err := http.NewRequest(method, j.Base+path, bytes.NewReader(body))
	if err != nil {
		j.T.Fatal(err)
	}
	req.Header.Set("Authorization", "token "+j.Token)
	req.Header.Set("Content-Type", "application/json")
	start := time.Now()
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		j.T.Fatal(err)
	}
	discard(res)
	if res.StatusCode/100 != 2 {
		j.T.Fatalf("%s %s: %s", method, path, res.Status)
	}
	return ms(start)
}

func BenchmarkPeerContents(b *testing.B) {
	h := startHub(b)
	p, _ := h.project("Contents")
	servers := []jupyter{jupyterOf(h, p), startPeer(b)}
	nb := bigNotebook()
	body, err := json.Marshal(map[string]any{"type": "notebook", "format": "json", "content": json.RawMessage(nb)})
	if err != nil {
		b.Fatal(err)
	}
	for _, j := range servers {
		many := filepath.Join(j.dir, "many")
		if err := os.Mkdir(many, 0o777); err != nil {
			b.Fatal(err)
		}
		for i := range 10_000 {
			if err := os.WriteFile(filepath.Join(many, fmt.Sprintf("file-%05d.txt", i)), []byte("hello"), 0o666); err != nil {
				b.Fatal(err)
			}
		}
		os.Chmod(many, 0o777)
	}
	for _, c := range []struct {
		name, method, path string
		body               []byte
		times              int
	}{
		{"put-10MB", "PUT", "/api/contents/big.ipynb", body, 7},
		{"get-10MB", "GET", "/api/contents/big.ipynb?content=1", nil, 7},
		{"list-10k", "GET", "/api/contents/many?content=1", nil, 5},
	} {
		b.Run(c.name, func(b *testing.B) {
			list := []sample{{name: "cellar"}, {name: "peer"}}
			for range c.times {
				for i, j := range servers {
					list[i].took = append(list[i].took, j.request(c.method, c.path, c.body))
				}
			}
			compare(b, "ms", list...)
		})
	}
	b.Run("status", func(b *testing.B) {
		var rate []float64
		for _, j := range servers {
			rate = append(rate, j.rate("/api/status", 32, 3*time.Second))
			b.ReportMetric(rate[len(rate)-1], j.name+"-requests/s")
		}
		b.ReportMetric(rate[0]/rate[1], "times-the-peer")
		b.ReportMetric(0, "ns/op")
	})
}

// rate is how many requests a second a server answers over n connections.
func (j jupyter) rate(path string, n int, during time.Duration) float64 {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: n}}
	defer client.CloseIdleConnections()
	var done atomic.Int64
	var wg sync.WaitGroup
	start := time.Now()
	for range n {
		wg.Go(func() {
			for time.Since(start) < during {
				req, _ := http.NewRequest("GET", j.Base+path, nil)
				req.Header.Set("Authorization", "token "+j.Token)
				res, err := client.Do(req)
				if err != nil || res.StatusCode != 200 {
					j.T.Errorf("%v %v", res, err)
					return
				}
				discard(res)
				done.Add(1)
			}
		})
	}
	wg.Wait()
	return float64(done.Load()) / time.Since(start).Seconds()
}

// BenchmarkPeerMemory: ten kernels with a client each; what the servers take
// beside the kernels themselves.
func BenchmarkPeerMemory(b *testing.B) {
	h := startHub(b)
	p, _ := h.project("Memory")
	for _, j := range []jupyter{jupyterOf(h, p), startPeer(b)} {
		idle := rss(b, j.pid)
		for range 10 {
			l := j.open(j.startKernel())
			execute(l, "1")
			b.Cleanup(l.close)
		}
		keepers := 0.0
		if j.name == "cellar" {
			for _, pid := range pids(b, "^/opt/cellar/cellar-keep run") {
				if strings.Contains(cgroup(pid), groupOf(h.data)) {
					keepers += rss(b, pid)
				}
			}
			b.ReportMetric(keepers, "cellar-keepers-MB")
		}
		b.ReportMetric(idle, j.name+"-idle-MB")
		b.ReportMetric(rss(b, j.pid)+keepers, j.name+"-with-10-kernels-MB")
	}
	b.ReportMetric(0, "ns/op")
}

// BenchmarkPeerLab: a notebook's page in Chromium, from its address to a kernel
// that is idle; the first time, and again with a warm cache.
func BenchmarkPeerLab(b *testing.B) {
	h := startHub(b)
	p, _ := h.project("Lab")
	type load struct {
		Cold, Warm struct {
			MS       float64 `json:"ms"`
			Requests float64
			Bytes    float64
		}
	}
	cold, warm := map[string]sample{}, map[string]sample{}
	servers := []jupyter{jupyterOf(h, p), startPeer(b)}
	for _, j := range servers {
		putJupyter(b, j, "demo.ipynb")
	}
	for range max(b.N, 3) {
		for _, j := range servers {
			cmd := exec.Command("sh", "run.sh", "--load", j.Base+"/lab/tree/demo.ipynb?reset&token="+j.Token)
			cmd.Dir = filepath.Join(testkit.Root(), "test", "browser")
			cmd.Stderr = os.Stderr
			out, err := cmd.Output()
			if err != nil {
				b.Fatalf("%s: %v: %s", j.name, err, out)
			}
			var l load
			if err := json.Unmarshal(out, &l); err != nil {
				b.Fatalf("%v: %s", err, out)
			}
			cold[j.name] = sample{j.name, append(cold[j.name].took, l.Cold.MS)}
			warm[j.name] = sample{j.name, append(warm[j.name].took, l.Warm.MS)}
			b.ReportMetric(l.Cold.Requests, j.name+"-requests")
			b.ReportMetric(l.Cold.Bytes/1e6, j.name+"-cold-MB")
			b.ReportMetric(l.Warm.Bytes/1e6, j.name+"-warm-MB")
		}
	}
	compare(b, "cold-ms", cold["cellar"], cold["peer"])
	compare(b, "warm-ms", warm["cellar"], warm["peer"])
}

func putJupyter(b *testing.B, j jupyter, name string) {
	b.Helper()
	j.Want(201, "PUT", "/api/contents/"+name, map[string]any{"type": "notebook", "format": "json", "content": map[string]any{
		"cells":    []any{map[string]any{"cell_type": "code", "id": "a", "metadata": map[string]any{}, "execution_count": nil, "source": "1+1", "outputs": []any{}}},
		"metadata": map[string]any{"kernelspec": map[string]string{"name": "python3", "display_name": "Python 3", "language": "python"}}, "nbformat": 4, "nbformat_minor": 5}}, nil)
}
