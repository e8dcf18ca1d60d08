package acceptance

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"cellar/internal/testkit"
)

// midCells are cells that a deed meets half-way. Each says when it has begun, ends
// when there is a file "go", and leaves True in ended.
var midCells = map[string]string{
	"a loop":     "n = 0\nopen('begun', 'w').close()\nwhile not os.path.exists('go'): n += 1; time.sleep(.01)\nprint('came through')\nended = n > 0",
	"!command":   "!touch begun; while [ ! -e go ]; do sleep .05; done; echo came through\nended = True",
	"subprocess": "said = subprocess.run('touch begun; while [ ! -e go ]; do sleep .05; done; echo came through', shell=True, capture_output=True)\nprint(said.stdout.decode(), end='')\nended = True",
}

// TestFidelityInACell: a cell that runs goes on where it was, and what it prints
// reaches its notebook.
func TestFidelityInACell(t *testing.T) {
	h := startHub(t)
	for _, deed := range wholeDeeds {
		for name, cell := range midCells {
			t.Run(deed.name+"/"+name, func(t *testing.T) {
				h.T, h.t = t, t
				p, _ := h.project("Cell")
				defer h.Want(204, "DELETE", "/api/v1/projects/"+p, nil, nil)
				putNotebook(t, h, p, "cell.ipynb", map[string]string{"mid": cell})
				k := h.session(p, "cell.ipynb")
				s := h.Open(p, k)
				s.Exec("import os, subprocess, time; ended = None")
				s.Send(cell, "mid")
				s.Close()
				soon(t, func() bool { return h.exists(p, "begun") })
				kernel := deed.do(h, p, k, func() {})
				notebook := "cell.ipynb"
				if deed.name == "branch" {
					notebook = "cell-branch.ipynb"
				}
				if h.kernel(p, kernel).State == "hibernated" {
					h.MustRun(h.path(p, kernel, "resume"), nil, nil)
				}
				touch(t, h.inProject(p, "go"))
				s = h.Open(p, kernel)
				if got := s.Exec("ended"); got != "True" {
					t.Errorf("afterwards: %s", got)
				}
				s.Close() // a page saves by itself
				soon(t, func() bool { text, _ := h.notebookOnDisk(p, notebook, "mid"); return text == "came through\n" })
			})
		}
	}
}

// TestFidelityOfInput: a cell that waits for an answer still waits for it; who was
// asked before is not asked again.
func TestFidelityOfInput(t *testing.T) {
	h := startHub(t)
	for _, deed := range wholeDeeds {
		t.Run(deed.name, func(t *testing.T) {
			h.T, h.t = t, t
			p, k := h.project("Input")
			defer h.Want(204, "DELETE", "/api/v1/projects/"+p, nil, nil)
			c := h.Channels(p, k, "page", true)
			asks := func(m testkit.Heard) bool { return m.Kind == "input_request" }
			c.Run("name = input('who? ')")
			c.Until("question", asks)
			c.Close()
			kernel := deed.do(h, p, k, func() {})
			if h.kernel(p, kernel).State == "hibernated" {
				h.MustRun(h.path(p, kernel, "resume"), nil, nil)
			}
			c = h.Channels(p, kernel, "page", true)
			c.Send("stdin", "input_reply", map[string]any{"value": "Ada"})
			id := c.Run("print(name)")
			all := c.End(id)
			if got := testkit.Printed(all, id); got != "Ada\n" {
				t.Errorf("the answer: %q", got)
			}
			if slices.ContainsFunc(all, asks) {
				t.Error("it is asked again, and docs/fidelity.md says it is not")
			}
		})
	}
}

// TestLockedElsewhere: a session that holds a lock on a file does not go on beside
// another that holds it, nor waits for it without a word; it does when that is over.
func TestLockedElsewhere(t *testing.T) {
	h := startHub(t)
	for name, code := range map[string][3]string{
		"flock":  {"import fcntl\nf = open('/project/file', 'w'); fcntl.flock(f, fcntl.LOCK_EX)", "f.close()", "f.closed"},
		"sqlite": {"import sqlite3\nf = sqlite3.connect('/project/file'); f.execute('CREATE TABLE t (x)'); f.execute('BEGIN IMMEDIATE')", "f.rollback()", "not f.in_transaction"},
	} {
		t.Run(name, func(t *testing.T) {
			h.T, h.t = t, t
			p, k := h.project("Locked")
			defer h.Want(204, "DELETE", "/api/v1/projects/"+p, nil, nil)
			first := h.Open(p, k)
			first.Exec(code[0])
			b := h.branch(p, h.keepNow(p, k))
			o := h.Run(h.path(p, b.Kernel, "resume"), nil)
			if o.Error == nil || o.Error.Code != "file_locked" || !strings.Contains(o.Error.Detail, "/project/file") {
				t.Fatalf("woken beside it: %+v", o.Error)
			}
			if v := h.kernel(p, b.Kernel); v.State != "hibernated" {
				t.Errorf("the branch is %s", v.State)
			}
			first.Exec(code[1])
			if got := h.Open(p, b.Kernel).Exec(code[2]); got != "False" {
				t.Errorf("the branch has no lock: %s", got)
			}
			// And the other way round: who sleeps does not come back beside it.
			h.MustRun(h.path(p, b.Kernel, "hibernate"), nil, nil)
			if got := first.Exec(strings.Replace(code[0], "CREATE TABLE", "CREATE TABLE IF NOT EXISTS", 1) + "\nprint(1)"); got != "1\n" {
				t.Fatal(got)
			}
			s := h.Open(p, b.Kernel)
			id := s.Send(fmt.Sprintf("print(not (%s))", code[2]), "")
			eventually(t, "it is said why", func() bool {
				return strings.Contains(h.kernel(p, b.Kernel).StateDetail, "holds a lock on /project/file")
			})
			first.Exec(code[1])
			h.MustRun(h.path(p, b.Kernel, "resume"), nil, nil)
			if got := s.Wait(id); got != "True\n" {
				t.Errorf("what was sent meanwhile: %q", got)
			}
		})
	}
}
