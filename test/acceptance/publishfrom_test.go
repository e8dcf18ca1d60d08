package acceptance

import (
	"fmt"
	"syscall"
	"testing"

	"cellar/internal/testkit"
)

// TestPublishFromCheckpoint: a node starts from the state and the cell's text of a
// checkpoint, whatever the kernel and the notebook have become since, also when the
// checkpoint is in the archive.
func TestPublishFromCheckpoint(t *testing.T) {
	h := startHub(t, "--store-after", "500ms")
	p, first := h.project("Then")
	putNotebook(t, h, p, "n.ipynb", map[string]string{"cell": "y = x * factor"})
	k := h.session(p, "n.ipynb")
	s := h.Open(p, k)
	s.Exec("factor, x = 7, 1")
	var c struct{ ID string }
	h.MustRun("/api/v1/projects/"+p+"/checkpoints", map[string]string{"kernel": k, "name": "seven"}, &c)
	h.awaitStored(p)
	s.Exec("factor = None; x = 'changed'")
	h.Want(204, "DELETE", "/projects/"+p+"/api/contents/n.ipynb", nil, nil)
	putNotebook(t, h, p, "n.ipynb", map[string]string{"cell": "y = 'another text'"})
	source := map[string]string{"notebook": "n.ipynb", "cell": "cell", "checkpoint": c.ID}
	var d struct {
		Inputs, Outputs []map[string]any
	}
	h.Want(200, "POST", "/api/v1/projects/"+p+"/nodes/describe", source, &d)
	if got := fmt.Sprint(d.Inputs[0]["name"], d.Inputs[0]["type"], len(d.Inputs)); got != "factorinteger2" && got != "xinteger2" {
		t.Errorf("inputs: %+v", d.Inputs)
	}
	var kernels struct{ Items []view }
	only := func() bool {
		h.Want(200, "GET", "/api/v1/projects/"+p+"/kernels", nil, &kernels)
		return len(kernels.Items) == 2 && kernels.Items[0].ID == first && kernels.Items[1].ID == k
	}
	if !only() {
		t.Errorf("after asking there are %+v", kernels.Items)
	}
	// A hub that is killed while it asks leaves no kernel behind.
	h.kill(syscall.SIGTERM)
	args := h.args
	h.args = append([]string{"--fault", "describe.woken=kill"}, args...)
	h.start()
	h.Try("POST", "/api/v1/projects/"+p+"/nodes/describe", source)
	soon(t, func() bool { _, _, err := h.Try("GET", "/api/v1/me", nil); return err != nil })
	h.kill(syscall.SIGKILL)
	h.args = args
	h.start()
	soon(t, only)
	var made struct{ ID, URL, Key string }
	h.MustRun("/api/v1/projects/"+p+"/nodes", map[string]any{"name": "then", "source": source,
		"inputs": []any{map[string]string{"name": "x", "type": "integer"}}, "outputs": []any{map[string]string{"name": "y", "type": "integer"}}}, &made)
	caller := &testkit.Client{T: t, Base: h.Base, Token: made.Key}
	var answer struct{ Y int }
	caller.Want(200, "POST", made.URL, map[string]int{"x": 6}, &answer)
	if answer.Y != 42 {
		t.Errorf("the node answers %d", answer.Y)
	}
	// What it is made of stays as long as it is.
	h.Want(409, "DELETE", "/api/v1/projects/"+p+"/checkpoints/"+c.ID, nil, nil)
	h.Want(204, "DELETE", "/api/v1/projects/"+p+"/nodes/"+made.ID, nil, nil)
	h.Want(204, "DELETE", "/api/v1/projects/"+p+"/checkpoints/"+c.ID, nil, nil)
	// What cannot be.
	for _, c := range []struct {
		status int
		source map[string]string
	}{
		{404, map[string]string{"notebook": "n.ipynb", "cell": "cell", "checkpoint": "nothing"}},
		{400, map[string]string{"notebook": "n.ipynb", "cell": "cell", "checkpoint": c.ID, "kernel": k}},
	} {
		h.Want(c.status, "POST", "/api/v1/projects/"+p+"/nodes/describe", c.source, nil)
	}
}
