package acceptance

import (
	"net/http"
	"syscall"
	"testing"
)

// branched is what a branch's operation answers.
type branched struct{ Kernel, Session, Notebook string }

func (h *hub) branch(project, checkpoint string) (b branched) {
	h.t.Helper()
	h.MustRun("/api/v1/projects/"+project+"/checkpoints/"+checkpoint+"/branch", map[string]any{}, &b)
	return b
}

// TestBranch: a second session goes on from a checkpoint while the first runs; each has its own state from there on, and its own luck.
func TestBranch(t *testing.T) {
	h := startHub(t, "--store-after", "2s")
	p, _ := h.project("Branch")
	putNotebook(t, h, p, "way.ipynb", map[string]string{"set": "x = 1"})
	k := h.session(p, "way.ipynb")
	s := h.Open(p, k)
	s.Wait(s.Send("import os, random, threading, time\nx = 1; pid = os.getpid(); random.seed(7)\nsteps = (i * i for i in range(10)); [next(steps) for _ in range(3)]", "set"))
	s.Wait(s.Send("beats = 0\ndef beat():\n    global beats\n    while True: beats += 1; time.sleep(.01)\nthreading.Thread(target=beat, daemon=True).start()", ""))
	var c kept
	h.MustRun("/api/v1/projects/"+p+"/checkpoints", map[string]string{"kernel": k, "name": "fork"}, &c)
	s.Exec("x = 100; next(steps)")
	h.awaitStored(p)

	one, two := h.branch(p, c.ID), h.branch(p, c.ID)
	if one.Notebook != "way-branch.ipynb" || two.Notebook != "way-branch1.ipynb" {
		t.Errorf("notebooks: %q, %q", one.Notebook, two.Notebook)
	}
	if n := containersOf(one.Kernel); n != 0 || h.kernel(p, one.Kernel).State != "hibernated" {
		t.Errorf("a branch that nobody used has %d containers", n)
	}
	h.Want(http.StatusConflict, "DELETE", "/api/v1/projects/"+p+"/checkpoints/"+c.ID, nil, nil) // branches sleep in it
	first, second := h.Open(p, one.Kernel), h.Open(p, two.Kernel)
	const ask = "x, next(steps), os.getpid() == pid"
	for name, b := range map[string]interface{ Exec(string) string }{"one": first, "two": second} {
		if got := b.Exec(ask); got != "(1, 9, True)" {
			t.Errorf("branch %s: %s", name, got)
		}
		if got := b.Exec("b = beats; time.sleep(.1); beats > b"); got != "True" {
			t.Errorf("branch %s: its thread stands still", name)
		}
	}
	if got := s.Exec(ask); got != "(100, 16, True)" {
		t.Errorf("the first session: %s", got)
	}
	if a, b := first.Exec("random.random()"), second.Exec("random.random()"); a == b {
		t.Errorf("two branches draw the same number: %s", a)
	}
	first.Exec("x = 2")
	if got := second.Exec("x"); got != "1" {
		t.Errorf("x in the other branch: %s", got)
	}
	// What a branch runs is its notebook's.
	first.Close()
	first = h.Open(p, one.Kernel)
	first.Wait(first.Send("print('of the branch')", "set"))
	first.Close()
	eventually(t, "the branch's notebook has its output", func() bool {
		text, _ := h.notebookOnDisk(p, one.Notebook, "set")
		return text == "of the branch\n"
	})
	if text, _ := h.notebookOnDisk(p, "way.ipynb", "set"); text != "" {
		t.Errorf("the first notebook has %q", text)
	}
	// Hibernated, stored, a hub killed: both come back to what they were.
	h.MustRun(h.path(p, one.Kernel, "hibernate"), nil, nil)
	h.awaitStored(p)
	h.kill(syscall.SIGKILL)
	h.start()
	if got := h.Open(p, one.Kernel).Exec("x"); got != "2" {
		t.Errorf("x after all: %s", got)
	}
	// The first kernel is shut down; its checkpoint still is something to go on from.
	h.Want(204, "DELETE", "/projects/"+p+"/api/kernels/"+k, nil, nil)
	three := h.branch(p, c.ID)
	if got := h.Open(p, three.Kernel).Exec(ask); got != "(1, 9, True)" {
		t.Errorf("a branch of a session that is no more: %s", got)
	}
	h.Want(204, "DELETE", "/projects/"+p+"/api/kernels/"+three.Kernel, nil, nil)
	h.Want(204, "DELETE", "/api/v1/projects/"+p+"/checkpoints/"+c.ID, nil, nil)
}
