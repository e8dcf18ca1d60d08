package acceptance

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"cellar/internal/testkit"
)

// published is a node of one cell, and how it is called.
type published struct {
	h         *hub
	p, k      string
	s         *testkit.Socket
	id        string
	caller    *testkit.Client
	api, call string
}

// source is what the cell of a published node does: y is x times a number that
// says which revision it is.
func multiplier(by int) string { return fmt.Sprintf("y = x * %d", by) }

func publishMultiplier(t testing.TB, h *hub, name string) *published {
	t.Helper()
	p, _ := h.project("Nodes")
	putNotebook(t, h, p, "n.ipynb", map[string]string{"cell": multiplier(1)})
	n := &published{h: h, p: p, k: h.session(p, "n.ipynb")}
	n.s = h.Open(p, n.k)
	n.s.Exec("x = 1")
	var made struct {
		ID, URL, Key string
		Revision     int
	}
	h.MustRun("/api/v1/projects/"+p+"/nodes", n.publication(name), &made)
	if made.Key == "" || made.Revision != 1 {
		t.Fatalf("published: %+v", made)
	}
	n.id, n.call, n.api = made.ID, made.URL, "/api/v1/projects/"+p+"/nodes/"+made.ID
	n.caller = &testkit.Client{T: t, Base: h.Base, Token: made.Key}
	return n
}

func (n *published) publication(name string) map[string]any {
	return map[string]any{"name": name, "source": map[string]string{"notebook": "n.ipynb", "cell": "cell"},
		"inputs": []any{map[string]string{"name": "x", "type": "integer"}}, "outputs": []any{map[string]string{"name": "y", "type": "integer"}}}
}

// writeCell gives the node's cell another source.
func writeCell(t testing.TB, n *published, source string) {
	t.Helper()
	path := "/projects/" + n.p + "/api/contents/n.ipynb"
	n.h.Want(204, "DELETE", path, nil, nil)
	putNotebook(t, n.h, n.p, "n.ipynb", map[string]string{"cell": source})
}

// revise publishes the cell anew.
func (n *published) revise(t testing.TB, name string, by int) (made struct {
	ID, Key, Message string
	Revision         int
}) {
	t.Helper()
	writeCell(t, n, multiplier(by))
	n.h.MustRun("/api/v1/projects/"+n.p+"/nodes", n.publication(name), &made)
	return made
}

// answer is what calling an address with x = 10 gives.
func (n *published) answer(t testing.TB, url string) string {
	t.Helper()
	status, b, err := n.caller.Try("POST", url, map[string]int{"x": 10})
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(status, " ", strings.ReplaceAll(strings.TrimSpace(string(b)), " ", ""))
}

// callers call an address from several places until they are stopped; each answer
// that is not 200 is a failure.
type callers struct {
	stop  chan struct{}
	wg    sync.WaitGroup
	calls atomic.Int64
	mu    sync.Mutex
	seen  map[string]int
	took  []float64 // milliseconds
}

func (n *published) callThroughout(t testing.TB, url string, at int) *callers {
	c := &callers{stop: make(chan struct{}), seen: map[string]int{}}
	for range at {
		c.wg.Go(func() {
			for {
				select {
				case <-c.stop:
					return
				default:
				}
				start := time.Now()
				status, b, err := n.caller.Try("POST", url, map[string]int{"x": 10})
				if err != nil || status != 200 {
					t.Errorf("a call failed: %d %s %v", status, b, err)
					return
				}
				c.calls.Add(1)
				c.mu.Lock()
				c.seen[strings.ReplaceAll(strings.TrimSpace(string(b)), " ", "")]++
				c.took = append(c.took, ms(start))
				c.mu.Unlock()
			}
		})
	}
	return c
}

// more waits until so many more calls were answered.
func (c *callers) more(t testing.TB, calls int64) {
	t.Helper()
	from := c.calls.Load()
	for deadline := time.Now().Add(30 * time.Second); c.calls.Load() < from+calls; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) || t.Failed() {
			t.Fatal("the callers do not get on")
		}
	}
}

func (c *callers) end() map[string]int {
	close(c.stop)
	c.wg.Wait()
	slices.Sort(c.took)
	return c.seen
}

// TestRevisions: a node is published again, rolled back and given another
// configuration while it is called; no call fails.
func TestRevisions(t *testing.T) {
	h := startHub(t)
	n := publishMultiplier(t, h, "times")
	c := n.callThroughout(t, n.call, 4)
	c.more(t, 50)
	made := n.revise(t, "times", 2)
	if made.ID != n.id || made.Revision != 2 || made.Key != "" || !strings.Contains(made.Message, "Revision 2") {
		t.Errorf("published again: %+v", made)
	}
	c.more(t, 50)
	if got := n.answer(t, n.call); got != `200 {"y":20}` {
		t.Errorf("revision 2: %s", got)
	}
	h.MustRun(n.api+"/rollback", map[string]any{}, nil)
	c.more(t, 50)
	if got := n.answer(t, n.call); got != `200 {"y":10}` {
		t.Errorf("rolled back: %s", got)
	}
	h.MustRun(n.api+"/rollback", map[string]any{"revision": 2}, nil)
	h.MustRun(n.api+"/revisions", map[string]any{"configuration": "c1.2", "note": "larger"}, nil)
	c.more(t, 50)
	seen := c.end()
	if seen[`{"y":10}`] == 0 || seen[`{"y":20}`] == 0 || len(seen) != 2 {
		t.Errorf("answers: %v", seen)
	}
	t.Logf("%d calls while the node was changed four times, half of them within %.0f ms, the slowest %.0f ms: %v", len(c.took), c.took[len(c.took)/2], c.took[len(c.took)-1], seen)

	var list struct {
		Items []struct {
			Number                                                    int
			Current                                                   bool
			Author, Note, Source, Checkpoint, Configuration, Notebook string
		}
	}
	h.Want(200, "GET", n.api+"/revisions", nil, &list)
	if r := list.Items; len(r) != 3 || r[0].Number != 3 || !r[0].Current || r[1].Current || r[0].Configuration != "c1.2" || r[0].Note != "larger" ||
		r[0].Author == "" || r[0].Checkpoint != r[1].Checkpoint || r[1].Checkpoint == r[2].Checkpoint || r[2].Source != multiplier(1) {
		t.Fatalf("%+v", r)
	}
	for url, want := range map[string]string{n.call: `200 {"y":20}`, "/nodes/" + n.id + "@1/execute": `200 {"y":10}`, "/nodes/" + n.id + "@2/execute": `200 {"y":20}`} {
		if got := n.answer(t, url); got != want {
			t.Errorf("%s: %s", url, got)
		}
	}
	for url, want := range map[string]string{"@9": "404", "@x": "400", "@0": "400", "@": "400"} {
		if got := n.answer(t, "/nodes/"+n.id+url+"/execute"); !strings.HasPrefix(got, want) {
			t.Errorf("%s: %s", url, got)
		}
	}
	r, _ := http.NewRequest("POST", h.Base+n.call, strings.NewReader(`{"x":10}`))
	r.Header.Set("Authorization", "Bearer "+n.caller.Token)
	r.Header.Set("Cellar-Revision", "1")
	res, err := http.DefaultClient.Do(r)
	if err != nil || res.StatusCode != 200 || res.Header.Get("Cellar-Revision") != "1" {
		t.Errorf("by header: %v %v", res, err)
	}
	res.Body.Close()

	// What is used stays.
	if status, b := h.Do("DELETE", n.api+"/revisions/3", nil, nil); status != 409 || !strings.Contains(string(b), "current one") {
		t.Errorf("the current one was deleted: %d %s", status, b)
	}
	for _, r := range list.Items {
		if status, b := h.Do("DELETE", "/api/v1/projects/"+n.p+"/checkpoints/"+r.Checkpoint, nil, nil); status != 409 || !strings.Contains(string(b), "checkpoint_in_use") {
			t.Errorf("a checkpoint in use was deleted: %d %s", status, b)
		}
	}
	h.Want(204, "DELETE", n.api+"/revisions/2", nil, nil) // revision 3 is served from its files
	h.Want(204, "DELETE", n.api+"/revisions/1", nil, nil)
	if got := n.answer(t, "/nodes/"+n.id+"@1/execute"); !strings.HasPrefix(got, "404") {
		t.Errorf("a deleted revision: %s", got)
	}
	if _, err := os.Stat(filepath.Join(h.data, "vault", list.Items[2].Checkpoint)); !os.IsNotExist(err) {
		t.Errorf("the checkpoint of a deleted revision is there: %v", err)
	}
	h.Want(200, "POST", n.api+"/pause", nil, nil)
	if got := n.answer(t, n.call); !strings.HasPrefix(got, "503") || !strings.Contains(got, "node_paused") {
		t.Errorf("paused: %s", got)
	}
	h.kill(syscall.SIGKILL)
	h.start()
	h.Want(200, "POST", n.api+"/resume", nil, nil)
	if got := n.answer(t, n.call); got != `200 {"y":20}` {
		t.Errorf("after a restart: %s", got)
	}
	h.Want(204, "DELETE", n.api, nil, nil)
	if left, _ := filepath.Glob(filepath.Join(h.data, "nodes", "*")); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// TestRevisionFaults is the table of a publication's and a rollback's steps and
// failures: the node answers as before or as after, and nothing is left over.
func TestRevisionFaults(t *testing.T) {
	h := startHub(t)
	n := publishMultiplier(t, h, "times")
	n.revise(t, "times", 2)
	args := h.args
	for step, done := range map[string]bool{"publish.kept": false, "publish.filled": false, "publish.warmed": false, "publish.recorded": true,
		"rollback.warmed": false, "rollback.recorded": true, "reconfigure.warmed": false} {
		for _, what := range []string{"fail", "kill", "gone"} {
			if done && what != "kill" {
				continue
			}
			t.Run(step+"/"+what, func(t *testing.T) {
				h.T, h.t = t, t
				n.caller.T = t
				h.MustRun(n.api+"/rollback", map[string]any{"revision": 2}, nil)
				before := revisionsOf(h, n.api)
				h.kill(syscall.SIGTERM)
				h.args = append([]string{"--fault", step + "=" + what}, args...)
				h.start()
				path, in, after := n.api+"/rollback", any(map[string]any{"revision": 1}), `200 {"y":10}`
				switch {
				case strings.HasPrefix(step, "publish"):
					n.h.await(n.p, n.k, "running")
					writeCell(t, n, multiplier(7))
					path, in, after = "/api/v1/projects/"+n.p+"/nodes", n.publication("times"), `200 {"y":70}`
				case strings.HasPrefix(step, "reconfigure"):
					path, in = n.api+"/revisions", map[string]any{"configuration": "c1.2"}
				}
				status, b, err := h.Try("POST", path, in)
				if what == "kill" {
					h.cmd.Wait()
					h.cmd = nil
					h.args = args
					h.start()
				} else {
					if err != nil || status != 202 {
						t.Fatalf("%d %s %v", status, b, err)
					}
					if o := h.Await(idOf(b)); o.Error == nil {
						t.Error("the deed succeeded although a step failed")
					}
					h.args = args
				}
				want := `200 {"y":20}`
				if done {
					want = after
				}
				if got := n.answer(t, n.call); got != want {
					t.Errorf("it answers %s, want %s", got, want)
				}
				if now := revisionsOf(h, n.api); (now != before) != (done && step == "publish.recorded") {
					t.Errorf("revisions: %s, before %s", now, before)
				}
				noLeftovers(t, h, n)
			})
		}
	}
}

// TestADeletionIsCutOff: the hub is killed when the record of a revision is gone
// and its files are there.
func TestADeletionIsCutOff(t *testing.T) {
	h := startHub(t)
	n := publishMultiplier(t, h, "times")
	n.revise(t, "times", 2)
	h.kill(syscall.SIGTERM)
	h.args = []string{"--fault", "revision.deleted=kill"}
	h.start()
	if status, b, err := h.Try("DELETE", n.api+"/revisions/1", nil); err == nil {
		t.Errorf("it was answered: %d %s", status, b)
	}
	h.cmd.Wait()
	h.cmd, h.args = nil, nil
	if _, err := os.Stat(filepath.Join(h.data, "nodes", n.id, "r1")); err != nil {
		t.Error("the files were gone before: ", err)
	}
	h.start()
	noLeftovers(t, h, n)
	if got := revisionsOf(h, n.api); got != "2 " {
		t.Errorf("revisions: %s", got)
	}
	if got := n.answer(t, n.call); got != `200 {"y":20}` {
		t.Errorf("it answers %s", got)
	}
}

func revisionsOf(h *hub, api string) (out string) {
	var list struct{ Items []struct{ Number int } }
	h.Want(200, "GET", api+"/revisions", nil, &list)
	for _, r := range list.Items {
		out += fmt.Sprint(r.Number, " ")
	}
	return out
}

// noLeftovers waits until nothing is there that no revision needs.
func noLeftovers(t *testing.T, h *hub, n *published) {
	t.Helper()
	var list struct {
		Items []struct {
			Number     int
			Checkpoint string
		}
	}
	h.Want(200, "GET", n.api+"/revisions", nil, &list)
	known := map[string]bool{}
	for _, r := range list.Items {
		known[fmt.Sprint("r", r.Number)], known[r.Checkpoint] = true, true
	}
	var kernel struct{ Items []struct{ ID string } }
	h.Want(200, "GET", "/api/v1/projects/"+n.p+"/checkpoints", nil, &kernel)
	for _, c := range kernel.Items {
		known[c.ID] = true
	}
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		var left []string
		folders, _ := filepath.Glob(filepath.Join(h.data, "nodes", n.id, "r*"))
		vault, _ := filepath.Glob(filepath.Join(h.data, "vault", "*"))
		for _, f := range append(folders, vault...) {
			if !known[filepath.Base(f)] {
				left = append(left, f)
			}
		}
		if len(left) == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Errorf("left over: %v", left)
			return
		}
	}
}
