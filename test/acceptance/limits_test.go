package acceptance

import (
	"encoding/json"
	"strings"
	"syscall"
	"testing"
	"time"

	"cellar/internal/testkit"
)

type problem struct{ Code, Reason, Detail, Message string }

func problemOf(b []byte) (p problem) {
	json.Unmarshal(b, &p)
	return p
}

// used is how many units a project has used in the present window.
func (h *hub) used(project, window string) float64 {
	h.t.Helper()
	var l struct {
		Project struct{ Used map[string]float64 }
	}
	h.Want(200, "GET", "/api/v1/projects/"+project+"/limits", nil, &l)
	return l.Project.Used[window]
}

func (h *hub) limit(project string, limits map[string]float64) {
	h.t.Helper()
	h.Want(200, "PUT", "/api/v1/projects/"+project+"/limits", limits, nil)
}

// TestLimits: at the limit what runs hibernates, with all it knows, what is new
// is refused, and when there is more again the cell goes on where it was.
func TestLimits(t *testing.T) {
	r := newReceiver(t, "0123456789abcdef")
	h := startHub(t, "--webhook-allow", "127.0.0.0/8")
	p, _ := h.project("Limits")
	h.Want(200, "PUT", "/api/v1/projects/"+p+"/webhook", map[string]any{"url": r.URL, "secret": r.secret, "minimal_seconds": 60, "when": "always"}, nil)
	putNotebook(t, h, p, "n.ipynb", map[string]string{"cell": "y = x + 1"})
	k := h.session(p, "n.ipynb")
	s := h.Open(p, k)
	s.Exec("x = 1; y = 2; import time, os; pid = os.getpid()")
	var made struct{ ID, Key string }
	h.MustRun("/api/v1/projects/"+p+"/nodes", map[string]any{"name": "one", "source": map[string]string{"notebook": "n.ipynb", "cell": "cell"},
		"inputs": []any{map[string]string{"name": "x", "type": "number"}}, "outputs": []any{map[string]string{"name": "y", "type": "number"}}}, &made)
	caller := &testkit.Client{T: t, Base: h.Base, Token: made.Key}
	var term struct{ Name string }
	h.Want(200, "POST", "/projects/"+p+"/api/terminals", nil, &term)
	h.limit(p, map[string]float64{"day": h.used(p, "day") + 25})
	caller.Want(200, "POST", "/nodes/"+made.ID+"/execute", map[string]any{"x": 4}, nil)
	s.Send("n = 0\nwhile n < 10**6:\n    n += 1; time.sleep(0.01)", "loop")
	v := h.await(p, k, "hibernated")
	if !strings.Contains(v.StateDetail, "units for today") || !strings.Contains(v.StateDetail, "UTC") {
		t.Errorf("it sleeps because: %q", v.StateDetail)
	}
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		held := 0
		for _, i := range h.ledger(p) {
			if i.ended.IsZero() {
				held++
			}
		}
		if held == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d configurations are still held: %+v", held, h.ledger(p))
		}
	}
	used := h.used(p, "day")
	refused := func(client *testkit.Client, method, path string, in any) {
		t.Helper()
		status, b := client.Do(method, path, in, nil)
		if q := problemOf(b); status != 429 || q.Code != "units_limit" || !strings.Contains(q.Detail+q.Message, "More can be used from ") {
			t.Errorf("%s %s: %d %s", method, path, status, b)
		}
	}
	for range 2 { // also by the next hub
		refused(h.Client, "POST", "/projects/"+p+"/api/kernels", map[string]string{"name": "python3"})
		refused(h.Client, "POST", "/projects/"+p+"/api/terminals", nil)
		refused(caller, "POST", "/nodes/"+made.ID+"/execute", map[string]any{"x": 4})
		if o := h.Run(h.path(p, k, "resume"), nil); o.Error == nil || o.Error.Code != "units_limit" {
			t.Errorf("waking it: %+v", o)
		}
		if now := h.used(p, "day"); now != used {
			t.Errorf("what is refused was counted: %v, %v", used, now)
		}
		s.Close()
		h.kill(syscall.SIGKILL)
		h.start()
		s = h.Open(p, k)
	}
	for _, kind := range []string{"limit.near", "limit.reached"} {
		if n := r.count(kind); n != 1 {
			t.Errorf("%s was told %d times", kind, n)
		}
	}
	// Something waits for it; when there are units again it wakes by itself.
	s.Send("print(n > 0, os.getpid() == pid)", "after")
	time.Sleep(time.Second)
	if v := h.kernel(p, k); v.State != "hibernated" {
		t.Errorf("a message woke it: %+v", v)
	}
	h.limit(p, map[string]float64{"day": used + 1000})
	h.await(p, k, "running")
	eventually(t, "the loop, which goes on where it was, is interrupted", func() bool {
		status, _ := h.Do("POST", h.path(p, k, "interrupt"), nil, nil)
		return status == 204
	})
	// What waits behind a cell that is interrupted is aborted with it, as in any Jupyter.
	eventually(t, "the state is what it was", func() bool { return s.Exec("n > 0, os.getpid() == pid") == "(True, True)" })
}

// TestLimitOfARun: a cell that costs too much is interrupted; one that will not
// end hibernates with its kernel.
func TestLimitOfARun(t *testing.T) {
	h := startHub(t)
	var p struct{ ID string }
	h.Want(201, "POST", "/api/v1/projects", map[string]string{"name": "Runs"}, &p)
	k := h.session(p.ID, "tour.ipynb")
	s := h.Open(p.ID, k)
	s.Exec("import time; n = 0")
	var me struct{ ID string }
	h.Want(200, "GET", "/api/v1/me", nil, &me)
	h.Want(200, "PUT", "/api/v1/users/"+me.ID+"/limits", map[string]float64{"run": 2.5}, nil)
	if got := s.Wait(s.Send("while True:\n    n += 1; time.sleep(0.01)", "long")); !strings.Contains(got, "KeyboardInterrupt") {
		t.Errorf("a run over its limit: %s", got)
	}
	if got := s.Exec("n > 100"); got != "True" {
		t.Errorf("the state after it: %s", got)
	}
	if got := s.Wait(s.Send("time.sleep(1); print('short')", "short")); !strings.Contains(got, "short") {
		t.Errorf("a short run: %s", got)
	}
	s.Send("while True:\n    try:\n        time.sleep(0.01); n += 1\n    except KeyboardInterrupt:\n        pass", "stubborn")
	v := h.await(p.ID, k, "hibernated")
	if !strings.Contains(v.StateDetail, "did not end when it was interrupted") {
		t.Errorf("it sleeps because: %q", v.StateDetail)
	}
	s.Close()
}
