package acceptance

import (
	"encoding/csv"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"cellar/internal/testkit"
)

// interval is a row of the ledger.
type interval struct {
	kind, holder, container, configuration, price, why, by, whyEnded string
	began, ended                                                     time.Time // ended is zero while it is held
	seconds, units                                                   float64
	inferred                                                         bool
}

// ledger reads the intervals of a project, oldest first.
func (h *hub) ledger(project string) (out []interval) {
	h.t.Helper()
	rows, err := csv.NewReader(strings.NewReader(string(h.Want(200, "GET", "/api/v1/usage.csv?project="+project, nil, nil)))).ReadAll()
	if err != nil || len(rows) == 0 {
		h.t.Fatalf("%v: %v", rows, err)
	}
	at := func(row []string, column string) string { return row[slices.Index(rows[0], column)] }
	for _, row := range rows[1:] {
		i := interval{kind: at(row, "kind"), holder: at(row, "holder"), container: at(row, "container"), configuration: at(row, "configuration"), price: at(row, "units_per_second"),
			why: at(row, "why"), by: at(row, "by"), whyEnded: at(row, "why_ended"), inferred: at(row, "inferred") == "true"}
		i.began, _ = time.Parse(time.RFC3339, at(row, "began"))
		i.ended, _ = time.Parse(time.RFC3339, at(row, "ended"))
		i.seconds, _ = strconv.ParseFloat(at(row, "seconds"), 64)
		i.units, _ = strconv.ParseFloat(at(row, "units"), 64)
		out = append(out, i)
	}
	slices.SortFunc(out, func(a, b interval) int { return a.began.Compare(b.began) })
	return out
}

// observer sees from outside when a container of a kernel is there: by its
// control group, which knows nothing of the hub.
type observer struct {
	kernel string
	stop   chan struct{}
	done   sync.WaitGroup
	spans  [][2]time.Time // from the first to the last sight of it
}

func observe(kernel string) *observer {
	o := &observer{kernel: kernel, stop: make(chan struct{})}
	o.done.Go(func() {
		there := false
		for {
			before := time.Now()
			n := containersOf(kernel)
			if n > 0 && !there {
				o.spans = append(o.spans, [2]time.Time{time.Now(), before})
			}
			if there = n > 0; there {
				o.spans[len(o.spans)-1][1] = before
			}
			select {
			case <-o.stop:
				return
			case <-time.After(2 * time.Millisecond):
			}
		}
	})
	return o
}

func (o *observer) end() [][2]time.Time {
	close(o.stop)
	o.done.Wait()
	return o.spans
}

// agree compares a kernel's intervals with what was seen: none overlap, all that
// was seen is in them, and what nobody saw is not, but for the moments in which a
// container is made and taken down.
func agree(t *testing.T, list []interval, seen [][2]time.Time, kernel string) {
	t.Helper()
	var mine []interval
	for _, i := range list {
		if i.holder == kernel && i.seconds > 0 || i.ended.IsZero() {
			mine = append(mine, i)
		}
	}
	var held, there time.Duration
	now := time.Now()
	for n, i := range mine {
		if i.ended.IsZero() {
			i.ended = now
		}
		if n+1 < len(mine) && (mine[n].ended.IsZero() || i.ended.After(mine[n+1].began)) {
			t.Errorf("two at a time: %+v, %+v", i, mine[n+1])
		}
		if price, _ := strconv.ParseFloat(i.price, 64); fmt.Sprintf("%.6f", price*i.seconds) != fmt.Sprintf("%.6f", i.units) {
			t.Errorf("%+v: %v units", i, i.units)
		}
		held += i.ended.Sub(i.began)
	}
	for _, s := range seen {
		there += s[1].Sub(s[0])
		covered := time.Duration(0)
		for _, i := range mine {
			if i.ended.IsZero() {
				i.ended = now
			}
			if from, to := later(i.began, s[0]), earlier(i.ended, s[1]); to.After(from) {
				covered += to.Sub(from)
			}
		}
		// A switch changes hands within one container: nothing is between.
		if lost := s[1].Sub(s[0]) - covered; lost > 20*time.Millisecond {
			t.Errorf("a container was there from %v to %v, and %v of it are not in the ledger: %+v", s[0], s[1], lost, mine)
		}
	}
	// Making and taking down a container, with the kernel's first signs of life, is held and not seen.
	if most := there + time.Duration(len(seen)+len(mine))*1500*time.Millisecond; held > most {
		t.Errorf("%v are in the ledger, and %v were seen: %+v", held, there, mine)
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// TestLedger follows a kernel through its life, a killed hub included.
func TestLedger(t *testing.T) {
	h := startHub(t)
	var p struct{ ID string }
	h.Want(201, "POST", "/api/v1/projects", map[string]string{"name": "Ledger"}, &p)
	k := h.session(p.ID, "tour.ipynb")
	o := observe(k)
	s := h.Open(p.ID, k)
	s.Exec("x = 41; import time")
	s.Send("time.sleep(6); x += 1", "c")
	time.Sleep(time.Second) // it runs
	s.Close()
	h.kill(syscall.SIGKILL)
	time.Sleep(2 * time.Second) // without a hub
	h.start()
	s = h.Open(p.ID, k)
	if got := s.Exec("x"); got != "42" {
		t.Fatalf("x is %s", got)
	}
	if list := h.ledger(p.ID); len(list) != 1 || !list[0].ended.IsZero() || list[0].seconds < 6 || list[0].why != "start" || list[0].by != "admin" {
		t.Errorf("after a killed hub: %+v", list)
	}
	h.MustRun(h.path(p.ID, k, "hibernate"), nil, nil)
	asleep := h.ledger(p.ID)
	if len(asleep) != 1 || asleep[0].ended.IsZero() || asleep[0].whyEnded != "hibernate" {
		t.Errorf("asleep: %+v", asleep)
	}
	time.Sleep(1500 * time.Millisecond) // costs nothing
	if again := h.ledger(p.ID); len(again) != 1 || again[0] != asleep[0] {
		t.Errorf("still asleep: %+v", again)
	}
	s.Exec("x") // wakes it
	h.MustRun(h.path(p.ID, k, "switch"), map[string]any{"configuration": "c1.2"}, nil)
	s.Exec("x")
	h.MustRun(h.path(p.ID, k, "switch"), map[string]any{"configuration": "c1.1", "move": true}, nil)
	s.Exec("x")
	s.Close()
	h.Want(200, "POST", "/projects/"+p.ID+"/api/kernels/"+k+"/restart", nil, nil)
	h.await(p.ID, k, "running")
	h.Want(204, "DELETE", "/api/v1/projects/"+p.ID+"/kernels/"+k, nil, nil)
	list := h.ledger(p.ID)
	agree(t, list, o.end(), k)
	var deeds []string
	for _, i := range list {
		deeds = append(deeds, i.why+" "+i.configuration+" "+i.whyEnded)
	}
	want := []string{"start c1.1 hibernate", "wake c1.1 switch", "switch c1.2 move", "move c1.1 restart", "restart c1.1 shutdown"}
	if !slices.Equal(deeds, want) {
		t.Errorf("%q, want %q", deeds, want)
	}
	var by struct {
		Units, Seconds float64
		Items          []struct {
			Key, Name      string
			Units, Seconds float64
		}
	}
	var sum float64
	for _, i := range list {
		sum += i.units
	}
	for _, group := range []string{"kernel", "project", "user", "day"} {
		h.Want(200, "GET", "/api/v1/usage?project="+p.ID+"&by="+group, nil, &by)
		if fmt.Sprintf("%.6f", by.Units) != fmt.Sprintf("%.6f", sum) || len(by.Items) == 0 {
			t.Errorf("by %s: %+v, want %v", group, by, sum)
		}
	}
	h.Want(204, "DELETE", "/api/v1/projects/"+p.ID, nil, nil)
	h.Want(200, "GET", "/api/v1/usage?by=project", nil, &by) // what was used stays used
	if i := slices.IndexFunc(by.Items, func(u struct {
		Key, Name      string
		Units, Seconds float64
	}) bool {
		return u.Key == p.ID
	}); i < 0 || fmt.Sprintf("%.6f", by.Items[i].Units) != fmt.Sprintf("%.6f", sum) {
		t.Errorf("after the project was deleted: %+v", by)
	}
	h.Want(201, "POST", "/api/v1/projects", map[string]string{"name": "Ledger"}, &p)
	if list := h.ledger(p.ID); len(list) != 0 {
		t.Errorf("a new project by an old ID begins with %+v", list)
	}
}

// TestLedgerIsKilled kills the hub at each step of a deed that has to do with the
// books, or that changes what is held.
func TestLedgerIsKilled(t *testing.T) {
	h := startHub(t)
	for _, d := range []struct {
		name  string
		in    any
		steps []string
	}{
		{"hibernate", nil, []string{"freeze.recorded", "ledger.frozen", "freeze.dumped", "freeze.kept"}},
		{"switch", map[string]any{"configuration": "c1.2", "move": true}, []string{"move.recorded", "ledger.frozen", "ledger.begun", "ledger.made", "move.thawed"}},
		{"switch", map[string]any{"configuration": "c1.2"}, []string{"ledger.exchanged"}},
		{"resume", nil, []string{"resume.recorded", "ledger.begun", "ledger.made", "resume.thawed"}},
		{"restart", nil, []string{"ledger.removed", "ledger.begun", "ledger.made"}},
		{"shutdown", nil, []string{"ledger.removed"}},
	} {
		for _, step := range d.steps {
			t.Run(d.name+"/"+step, func(t *testing.T) {
				h.T, h.t = t, t
				p, k, s := faulty(h)
				s.Close()
				o := observe(k)
				if d.name == "resume" {
					h.MustRun(h.path(p, k, "hibernate"), nil, nil)
				}
				h.kill(syscall.SIGTERM)
				args := h.args
				h.args = append([]string{"--fault", step + "=kill"}, args...)
				h.start()
				if d.name != "resume" {
					h.await(p, k, "running") // taking it up has no such step
				}
				switch d.name {
				case "restart":
					h.Try("POST", "/projects/"+p+"/api/kernels/"+k+"/restart", nil)
				case "shutdown":
					h.Try("DELETE", "/api/v1/projects/"+p+"/kernels/"+k, nil)
				default:
					h.Try("POST", h.path(p, k, d.name), d.in)
				}
				h.cmd.Wait()
				h.cmd = nil
				time.Sleep(1500 * time.Millisecond) // nobody is there
				h.args = args
				h.start()
				settledBooks(t, h, p, k)
				agree(t, h.ledger(p), o.end(), k)
				h.Want(204, "DELETE", "/api/v1/projects/"+p, nil, nil)
			})
		}
	}
}

// settledBooks waits until a kernel has found its state, and looks whether the
// ledger holds open just what is there.
func settledBooks(t *testing.T, h *hub, p, k string) {
	t.Helper()
	var v view
	for deadline := time.Now().Add(40 * time.Second); v.State != "running" && v.State != "hibernated" && v.State != "dead" && time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		v = h.kernel(p, k)
	}
	// A record is there before its kernel has been taken up.
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		open := 0
		var last interval
		for _, i := range h.ledger(p) {
			if i.ended.IsZero() {
				open, last = open+1, i
			}
		}
		n := containersOf(k)
		if v.ID != "" && n > 0 {
			v = h.kernel(p, k)
		}
		if wrong := fmt.Sprintf("%d intervals are open, %d containers are there; the kernel is %s on %s, the ledger says %+v", open, n, v.State, v.Configuration, last); open == n && (n != 1 || last.configuration == v.Configuration) {
			return
		} else if time.Now().After(deadline) {
			t.Error(wrong)
			return
		}
	}
}

// TestLedgerOfNodesAndTerminals: instances and shells are counted too, and a
// shell that ends by itself no longer than it lived.
func TestLedgerOfNodesAndTerminals(t *testing.T) {
	h := startHub(t, "--node-idle", "3s")
	p, k := h.project("Others")
	putNotebook(t, h, p, "n.ipynb", map[string]string{"cell": "y = x + 1"})
	k2 := h.session(p, "n.ipynb")
	s := h.Open(p, k2)
	s.Exec("x = 1; y = 2")
	s.Close()
	var made struct{ ID, Key string }
	h.MustRun("/api/v1/projects/"+p+"/nodes", map[string]any{"name": "one", "source": map[string]string{"notebook": "n.ipynb", "cell": "cell"},
		"inputs": []any{map[string]string{"name": "x", "type": "number"}}, "outputs": []any{map[string]string{"name": "y", "type": "number"}}}, &made)
	caller := &testkit.Client{T: t, Base: h.Base, Token: made.Key}
	caller.Want(200, "POST", "/nodes/"+made.ID+"/execute", map[string]any{"x": 4}, nil)
	var term struct{ Name string }
	h.Want(200, "POST", "/projects/"+p+"/api/terminals", nil, &term)
	kinds := func() map[string]int {
		open := map[string]int{}
		for _, i := range h.ledger(p) {
			if i.ended.IsZero() {
				open[i.kind]++
			}
		}
		return open
	}
	if open := kinds(); open["kernel"] != 2 || open["node"] != 1 || open["terminal"] != 1 {
		t.Errorf("held: %v", open)
	}
	h.Want(204, "DELETE", "/projects/"+p+"/api/terminals/"+term.Name, nil, nil)
	for deadline := time.Now().Add(30 * time.Second); kinds()["node"] > 0 || kinds()["terminal"] > 0; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("still held: %v", kinds())
		}
	}
	var by struct {
		Items []struct{ Key, Name, Project string }
	}
	h.Want(200, "GET", "/api/v1/usage?by=node&project="+p, nil, &by)
	if len(by.Items) != 1 || by.Items[0].Key != made.ID || by.Items[0].Name != "one" {
		t.Errorf("by node: %+v", by)
	}
	h.Want(204, "DELETE", h.path(p, k, "")[:len(h.path(p, k, ""))-1], nil, nil)
}

// TestLedgerOfTheLost: what ends while no hub is there is paid up to its end, and
// not until a hub comes back.
func TestLedgerOfTheLost(t *testing.T) {
	h := startHub(t)
	for name, end := range map[string]func(k string){
		"the kernel, not its keeper": func(k string) { killIn(t, k, false) },
		"all of the container":       func(k string) { killIn(t, k, true) },
	} {
		t.Run(name, func(t *testing.T) {
			h.T, h.t = t, t
			p, k, s := faulty(h)
			s.Close()
			h.kill(syscall.SIGKILL)
			time.Sleep(time.Second)
			before := time.Now()
			end(k)
			after := time.Now()
			time.Sleep(4 * time.Second)
			h.start()
			var first interval
			eventually(t, "the end is heard of", func() bool {
				first = h.ledger(p)[0]
				return !first.ended.IsZero()
			})
			// A keeper takes a moment to see the end.
			if first.ended.Before(before.Add(-20*time.Millisecond)) || first.ended.After(after.Add(2*time.Second)) {
				t.Errorf("it ended between %v and %v, and the ledger says %+v", before, after, first)
			}
			settledBooks(t, h, p, k)
			h.Want(204, "DELETE", "/api/v1/projects/"+p, nil, nil)
		})
	}
	t.Run("the machine with all of it", func(t *testing.T) {
		h.T, h.t = t, t
		p, k, s := faulty(h)
		s.Close()
		h.kill(syscall.SIGTERM)
		ended := time.Now()
		if out, err := exec.Command(binary(), "down", "--data", h.data, "--kill").CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		time.Sleep(3 * time.Second)
		h.start()
		settledBooks(t, h, p, k)
		if first := h.ledger(p)[0]; first.ended.IsZero() || !first.inferred || first.ended.After(ended.Add(2*time.Second)) || first.ended.Before(ended.Add(-time.Second)) {
			t.Errorf("the last sign of life was at %v, and the ledger says %+v", ended, first)
		}
	})
}

// killIn kills the processes of a kernel, with or without the keeper, which is
// the first.
func killIn(t *testing.T, kernel string, keeper bool) {
	t.Helper()
	var pids []int
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		b, _ := os.ReadFile("/proc/" + e.Name() + "/cgroup")
		if err == nil && strings.Contains(string(b), kernel) {
			pids = append(pids, pid)
		}
	}
	slices.Sort(pids)
	if len(pids) < 2 {
		t.Fatalf("processes of the kernel: %v", pids)
	}
	if !keeper {
		pids = pids[1:]
	}
	for _, pid := range pids {
		syscall.Kill(pid, syscall.SIGKILL)
	}
}
