package acceptance

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"cellar/internal/testkit"
)

type aliasView struct {
	ID, Name, URL, Key string
	Setting            struct {
		Number  int
		Author  string
		Reason  string
		Public  bool
		Targets []struct {
			Node, Name        string
			Revision, Percent int
		}
	}
}

// setAlias lets an alias lead to NODE@REVISION=PERCENT ...
func (n *published) setAlias(name string, more map[string]any, targets ...string) (v aliasView) {
	n.h.T.Helper()
	in := map[string]any{"targets": targetsOf(targets)}
	for k, value := range more {
		in[k] = value
	}
	status, b := n.h.Do("PUT", n.aliasAPI(name), in, nil)
	if status != 202 {
		n.h.T.Fatalf("alias: %d %s", status, b)
	}
	o := n.h.Await(idOf(b))
	if o.Error != nil {
		n.h.T.Fatalf("alias: %+v", o.Error)
	}
	if err := json.Unmarshal(o.Response, &v); err != nil {
		n.h.T.Fatal(err)
	}
	return v
}

func targetsOf(list []string) (out []any) {
	for _, t := range list {
		target, percent, _ := strings.Cut(t, "=")
		name, revision, _ := strings.Cut(target, "@")
		out = append(out, map[string]any{"node": name, "revision": atoi(revision), "percent": atoi(percent)})
	}
	return out
}

func atoi(s string) (n int) {
	fmt.Sscan(s, &n)
	return n
}

func (n *published) aliasAPI(name string) string {
	return "/api/v1/projects/" + n.p + "/aliases/" + name
}

// TestAliases: an alias is led from revision to revision while it is called; no
// call fails. What it leads to cannot be deleted, and its guard takes it back.
func TestAliases(t *testing.T) {
	h := startHub(t)
	n := publishMultiplier(t, h, "times")
	n.revise(t, "times", 2)
	a := n.setAlias("best", nil, "times@1=100")
	if a.Key == "" || a.Setting.Number != 1 {
		t.Fatalf("%+v", a)
	}
	if got := n.answer(t, a.URL); !strings.HasPrefix(got, "403") {
		t.Errorf("with the node's key: %s", got)
	}
	nodeKey := n.caller
	n.caller = &testkit.Client{T: t, Base: h.Base, Token: a.Key}
	if got := n.answer(t, n.call); !strings.HasPrefix(got, "403") {
		t.Errorf("the node, with the alias's key: %s", got)
	}
	c := n.callThroughout(t, a.URL, 4)
	c.more(t, 50)
	n.setAlias("best", nil, "times@1=50", "times@2=50")
	c.more(t, 100)
	n.setAlias("best", nil, "times=100") // its current one
	c.more(t, 50)
	h.MustRun(n.api+"/rollback", map[string]any{"revision": 1}, nil)
	c.more(t, 50)
	n.setAlias("best", nil, "times@2=100")
	n.revise(t, "times", 3)
	h.MustRun(n.api+"/revisions", map[string]any{"configuration": "c1.2"}, nil)
	h.Want(204, "DELETE", n.api+"/revisions/1", nil, nil)
	c.more(t, 50)
	n.setAlias("best", nil, "times@3=100", "times@2=0")
	c.more(t, 50)
	seen := c.end()
	if seen[`{"y":10}`] == 0 || seen[`{"y":20}`] == 0 || seen[`{"y":30}`] == 0 || len(seen) != 3 {
		t.Errorf("answers: %v", seen)
	}
	t.Logf("%d calls while the alias and its node were changed, half of them within %.0f ms, the slowest %.0f ms: %v", len(c.took), c.took[len(c.took)/2], c.took[len(c.took)-1], seen)

	// A target of 0 % is reached by name alone.
	for target, want := range map[string]string{"": `200 {"y":30} 3`, "times@2": `200 {"y":20} 2`, n.id + "@2": `200 {"y":20} 2`, "times@1": "400", "other": "400"} {
		r, _ := http.NewRequest("POST", h.Base+a.URL, strings.NewReader(`{"x":10}`))
		r.Header.Set("Authorization", "Bearer "+a.Key)
		r.Header.Set("Cellar-Target", target)
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(res.Body)
		res.Body.Close()
		got := fmt.Sprint(res.StatusCode, " ", strings.ReplaceAll(strings.TrimSpace(string(b)), " ", ""), " ", res.Header.Get("Cellar-Revision"))
		if !strings.HasPrefix(got, want) {
			t.Errorf("target %q: %s", target, got)
		}
	}

	for path, word := range map[string]string{n.api: `alias \"best\" leads to the node \"times\"`, n.api + "/revisions/2": `leads to revision 2`} {
		if status, b := h.Do("DELETE", path, nil, nil); status != 409 || !strings.Contains(string(b), word) {
			t.Errorf("%s: %d %s", path, status, b)
		}
	}
	for want, targets := range map[string][]string{"percent_sum": {"times=90"}, "target_twice": {"times=50", "times=50"}, "revision_not_found": {"times@9=100"}, "node_not_found": {"none=100"}} {
		if status, b := h.Do("PUT", n.aliasAPI("best"), map[string]any{"targets": targetsOf(targets)}, nil); status < 400 || status > 499 || !strings.Contains(string(b), want) {
			t.Errorf("%v: %d %s", targets, status, b)
		}
	}

	t.Run("guard", func(t *testing.T) { h.T = t; guarded(t, h, n, a) })

	v := n.setAlias("open", map[string]any{"public": true}, "times@3=100")
	n.caller = &testkit.Client{T: t, Base: h.Base}
	if got := n.answer(t, v.URL); v.Key != "" || got != `200 {"y":30}` {
		t.Errorf("public: %q %s", v.Key, got)
	}
	n.caller = nodeKey
	counted := func() (out string) {
		for line := range strings.Lines(string(h.Want(200, "GET", "/metrics", nil, nil))) {
			if strings.Contains(line, n.id) || strings.Contains(line, a.ID) {
				out += line
			}
		}
		return out
	}
	for _, name := range []string{"node_requests{", "node_http_codes{code=\"200\"", "node_request_durations_count{", "alias_requests{", "alias_http_codes{", "alias_request_durations_count{"} {
		if !strings.Contains(counted(), name) {
			t.Errorf("the metrics have no %s", name)
		}
	}
	h.Want(204, "DELETE", n.aliasAPI("open"), nil, nil)
	h.Want(204, "DELETE", n.aliasAPI("best"), nil, nil)
	if got := n.answer(t, a.URL); !strings.HasPrefix(got, "403") {
		t.Errorf("a deleted alias: %s", got)
	}
	h.Want(204, "DELETE", n.api, nil, nil)
	if left := counted(); strings.Contains(left, "node_requests") || strings.Contains(left, "alias_requests") {
		t.Errorf("what is deleted is counted: %s", left)
	}
	var keys struct{ Items []any }
	if h.Want(200, "GET", "/api/v1/projects/"+n.p+"/keys", nil, &keys); len(keys.Items) != 0 {
		t.Errorf("keys of nothing: %v", keys.Items)
	}
}

// guarded leads an alias to a revision that fails: it goes back by itself.
func guarded(t *testing.T, h *hub, n *published, a aliasView) {
	writeCell(t, n, "y = 1 // (x - x)")
	h.MustRun("/api/v1/projects/"+n.p+"/nodes", n.publication("times"), nil)
	guard := map[string]any{"guard": map[string]any{"error_percent": 10, "min_calls": 5}}
	n.setAlias("best", guard, "times@3=100")
	n.setAlias("best", guard, "times@3=50", "times@5=50")
	good, bad := 0, 0
	for deadline := time.Now().Add(30 * time.Second); ; {
		status, _, err := n.caller.Try("POST", a.URL, map[string]int{"x": 10})
		if err != nil || status != 200 && status != 422 {
			t.Fatal(status, err)
		}
		if status == 200 {
			good++
		} else {
			bad++
		}
		var v aliasView
		if h.Want(200, "GET", n.aliasAPI("best"), nil, &v); v.Setting.Author == "" {
			if len(v.Setting.Targets) != 1 || v.Setting.Targets[0].Revision != 3 || !strings.Contains(v.Setting.Reason, "times@5: 100 % of 5 calls") {
				t.Errorf("it went back to %+v", v.Setting)
			}
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the guard does not act: %d good, %d bad", good, bad)
		}
	}
	if bad != 5 {
		t.Errorf("%d bad calls until it went back", bad)
	}
	h.Want(204, "DELETE", n.api+"/revisions/4", nil, nil)
	var history struct{ Items []struct{ Number int } }
	if h.Want(200, "GET", n.aliasAPI("best")+"/history", nil, &history); len(history.Items) < 7 || history.Items[0].Number != len(history.Items) {
		t.Errorf("history: %+v", history.Items)
	}
	for range 10 {
		if got := n.answer(t, a.URL); got != `200 {"y":30}` {
			t.Errorf("after going back: %s", got)
		}
	}
	// The hub is killed: the setting is on record.
	h.kill(syscall.SIGKILL)
	h.start()
	if got := n.answer(t, a.URL); got != `200 {"y":30}` {
		t.Errorf("after a restart: %s", got)
	}
}

// TestAliasFaults is the table of a change's steps and failures.
func TestAliasFaults(t *testing.T) {
	h := startHub(t)
	n := publishMultiplier(t, h, "times")
	n.revise(t, "times", 2)
	a := n.setAlias("best", nil, "times@1=100")
	n.caller = &testkit.Client{T: t, Base: h.Base, Token: a.Key}
	args := h.args
	for _, f := range []struct {
		step, what, want string
	}{
		{"alias.warmed", "fail", `200 {"y":10}`}, {"alias.warmed", "kill", `200 {"y":10}`}, {"alias.warmed", "gone", `200 {"y":10}`}, {"alias.recorded", "kill", `200 {"y":20}`},
	} {
		t.Run(f.step+"/"+f.what, func(t *testing.T) {
			h.T, h.t, n.caller.T = t, t, t
			h.kill(syscall.SIGTERM)
			h.args = append([]string{"--fault", f.step + "=" + f.what}, args...)
			h.start()
			status, b, err := h.Try("PUT", n.aliasAPI("best"), map[string]any{"targets": targetsOf([]string{"times@2=100"})})
			if f.what == "kill" {
				h.cmd.Wait()
				h.cmd = nil
				h.args = args
				h.start()
			} else {
				if err != nil || status != 202 {
					t.Fatalf("%d %s %v", status, b, err)
				}
				if o := h.Await(idOf(b)); o.Error == nil {
					t.Error("the change succeeded although a step failed")
				}
				h.args = args
			}
			if got := n.answer(t, a.URL); got != f.want {
				t.Errorf("it answers %s, want %s", got, f.want)
			}
		})
	}
}
