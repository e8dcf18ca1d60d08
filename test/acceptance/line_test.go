package acceptance

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"cellar/internal/testkit"
)

type inLine struct {
	view
	Line *struct{ Position, Length int }
}

// lineOf is where a kernel stands: its state, and its position, 0 for none.
func lineOf(c *testkit.Client, project, id string) string {
	var v inLine
	if status, b := c.Do("GET", "/api/v1/projects/"+project+"/kernels/"+id, nil, &v); status != 200 {
		return string(b)
	}
	if v.Line == nil {
		return v.State
	}
	return fmt.Sprintf("%s %d of %d", v.State, v.Line.Position, v.Line.Length)
}

// TestLine: kernels for which there is no room wait in turns, also over a killed
// hub; who leaves is not started.
func TestLine(t *testing.T) {
	list := t.TempDir() + "/sizes.json"
	if err := os.WriteFile(list, []byte(`[{"name":"half","cpus":1,"memory":1073741824,"units_per_second":1},{"name":"all","cpus":1,"memory":2147483648,"units_per_second":2}]`), 0o600); err != nil {
		t.Fatal(err)
	}
	var free struct {
		Memory, Waiting int64
		Total           int64 `json:"memory_total"`
	}
	h := startHub(t)
	h.Want(200, "GET", "/api/v1/availability", nil, &free)
	h.kill(syscall.SIGTERM)
	h.args = append(h.args, "--configurations", list, "--overcommit", fmt.Sprint(2.2*float64(1<<30)/float64(free.Total))) // room for two
	h.start()
	if out, err := exec.Command(binary(), "user", "add", "bob", "--data", h.data).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	bob := &testkit.Client{T: t, Base: h.Base, Token: h.token("--user", "bob")}
	var p, q struct{ ID string }
	h.Want(201, "POST", "/api/v1/projects", map[string]string{"name": "Line"}, &p)
	bob.Want(201, "POST", "/api/v1/projects", map[string]string{"name": "Bobs"}, &q)
	start := func(c *testkit.Client, project string) string {
		var k struct{ ID string }
		c.Want(201, "POST", "/projects/"+project+"/api/kernels", map[string]string{"name": "python3"}, &k)
		return k.ID
	}
	is := func(c *testkit.Client, project, id, want string) {
		t.Helper()
		eventually(t, id+" is "+want, func() bool { return lineOf(c, project, id) == want })
	}
	k1, k2 := start(h.Client, p.ID), start(h.Client, p.ID)
	s := h.Open(p.ID, k1)
	s.Exec("x = 41")
	is(h.Client, p.ID, k2, "running")
	k3 := start(h.Client, p.ID)
	is(h.Client, p.ID, k3, "starting 1 of 1")
	k4 := start(h.Client, p.ID)
	is(h.Client, p.ID, k4, "starting 2 of 2")
	b := start(bob, q.ID)
	is(bob, q.ID, b, "starting 2 of 3") // people take turns
	is(h.Client, p.ID, k4, "starting 3 of 3")

	var sizes struct {
		Items []struct {
			Name, Reason string
			Available    bool
		}
	}
	h.Want(200, "GET", "/api/v1/configurations", nil, &sizes)
	if i := sizes.Items[0]; i.Available || !strings.Contains(i.Reason, "no room for half now") {
		t.Errorf("a full machine: %+v", sizes)
	}
	h.Want(200, "GET", "/api/v1/configurations?kernel="+k1, nil, &sizes)
	if !sizes.Items[0].Available || sizes.Items[1].Available {
		t.Errorf("to a kernel that holds one: %+v", sizes)
	}
	if h.Want(200, "GET", "/api/v1/availability", nil, &free); free.Waiting != 3 || free.Memory >= 1<<30 {
		t.Errorf("%+v", free)
	}
	if o := h.Run(h.path(p.ID, k1, "switch"), map[string]string{"configuration": "all"}); o.Error == nil || o.Error.Code != "machine_full" {
		t.Errorf("a switch to more than there is: %+v", o)
	}
	if status, b := h.Do("POST", "/projects/"+p.ID+"/api/terminals", nil, nil); status != 503 {
		t.Errorf("a terminal on a full machine: %d %s", status, b)
	}

	s.Close()
	h.kill(syscall.SIGKILL)
	h.start()
	for id, want := range map[string]string{k3: "starting 1 of 3", k4: "starting 3 of 3"} {
		is(h.Client, p.ID, id, want)
	}
	is(bob, q.ID, b, "starting 2 of 3")

	h.MustRun(h.path(p.ID, k1, "hibernate"), nil, nil) // makes room for one
	is(h.Client, p.ID, k3, "running")
	is(bob, q.ID, b, "starting 1 of 2")
	h.Want(204, "DELETE", h.path(p.ID, k4, "line"), nil, nil)
	is(h.Client, p.ID, k4, "dead")
	h.Want(409, "DELETE", h.path(p.ID, k3, "line"), nil, nil)
	s = h.Open(p.ID, k1)
	s.Send("print(x + 1)", "c") // what sleeps waits like what is new
	is(h.Client, p.ID, k1, "hibernated 2 of 2")
	s.Close()
	h.kill(syscall.SIGKILL)
	h.start()
	is(h.Client, p.ID, k1, "hibernated 2 of 2") // it keeps its place; what was sent is sent again by whoever sent it
	s = h.Open(p.ID, k1)
	run := s.Send("print(x + 1)", "c")
	h.Want(204, "DELETE", "/api/v1/projects/"+p.ID+"/kernels/"+k2, nil, nil)
	is(bob, q.ID, b, "running")
	is(h.Client, p.ID, k1, "hibernated 1 of 1")
	h.Want(204, "DELETE", "/api/v1/projects/"+p.ID+"/kernels/"+k3, nil, nil)
	if got := s.Wait(run); !strings.Contains(got, "42") {
		t.Errorf("what waited: %s", got)
	}
	s.Close()
	// One that waits is shut down like any other.
	k5 := start(h.Client, p.ID)
	is(h.Client, p.ID, k5, "starting 1 of 1")
	h.Want(204, "DELETE", "/api/v1/projects/"+p.ID+"/kernels/"+k5, nil, nil)
	h.Want(204, "DELETE", "/api/v1/projects/"+p.ID, nil, nil)
}
