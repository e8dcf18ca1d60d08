package acceptance

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

const cores = "import os; len(os.sched_getaffinity(0))"

// twoSizes is a hub with a small and a larger configuration of known sizes.
func twoSizes(t *testing.T) *hub {
	t.Helper()
	file := filepath.Join(t.TempDir(), "configurations.json")
	if err := os.WriteFile(file, []byte(`[{"name":"small","cpus":1,"memory":402653184,"units_per_second":1},{"name":"large","cpus":2,"memory":1073741824,"units_per_second":2}]`), 0o644); err != nil {
		t.Fatal(err)
	}
	return startHub(t, "--configurations", file)
}

// TestCellsOwnConfiguration: a cell's first line gives it a configuration and a
// language; what comes after it is on the kernel's own again, with every variable.
func TestCellsOwnConfiguration(t *testing.T) {
	h := twoSizes(t)
	p, k := h.project("Lines")
	s := h.Open(p, k)
	s.Exec("kept = [1, 2]")
	for _, c := range []struct{ code, want string }{
		{cores, "1"},
		{"#!large\n" + cores, "2"},
		{cores, "1"},
		{"\n\n  #!large  \n" + cores + ", kept", "(2, [1, 2])"},
		{"#!small\n" + cores, "1"},
		{"#!large:python\n" + cores, "2"},
		{"#!:bash\necho $((6 * 7)) $(nproc)", "42 1\n"},
		{"#!large:bash\nnproc", "2\n"},
		{"#!/usr/bin/env python3\n" + cores, "1"},
		{"#!python\n" + cores, "1"},
		{"# #!large\n" + cores, "1"},
		{"#!huge\nkept = None", `ConfigurationError: There is no configuration "huge" on this server. There are: small, large.`},
		{"#!large\n1/0", "ZeroDivisionError: division by zero"},
		{cores + ", kept", "(1, [1, 2])"},
		{"#!large\nget_ipython().run_cell('#!small\\nnested = ' + repr('" + cores[11:] + "'))\n" + cores + ", len(nested)", "(2, 28)"},
		{cores, "1"},
	} {
		if got := s.Exec(c.code); strings.TrimSpace(got) != strings.TrimSpace(c.want) {
			t.Errorf("%q gave %q, want %q", c.code, got, c.want)
		}
	}
	if v := h.kernel(p, k); v.Configuration != "small" {
		t.Errorf("the kernel is on %s", v.Configuration)
	}
	// A row of cells that were sent at once, and one that is interrupted.
	var ids []string
	for i := range 6 {
		ids = append(ids, s.Send([]string{"#!large\n", ""}[i%2]+cores, ""))
	}
	for i, id := range ids {
		if got, want := s.Wait(id), []string{"2", "1"}[i%2]; got != want {
			t.Errorf("cell %d of a row had %s cores, want %s", i, got, want)
		}
	}
	id := s.Send("#!large\nimport time\nprint('on', flush=True)\ntime.sleep(100)", "")
	soon(t, func() bool { return h.kernel(p, k).Configuration == "large" })
	h.Want(204, "POST", "/projects/"+p+"/api/kernels/"+k+"/interrupt", nil, nil)
	if got := s.Wait(id); !strings.HasSuffix(got, "KeyboardInterrupt: ") {
		t.Errorf("the interrupted cell said %q", got)
	}
	if got := s.Exec(cores); got != "1" {
		t.Errorf("after an interrupt: %s", got)
	}
}

// TestCellsConfigurationIsHeld: what does not fit stays where it is and says so;
// whoever switches off the giving back loses it all the same; a person's own choice
// counts; a kernel that asks by itself gets nothing.
func TestCellsConfigurationIsHeld(t *testing.T) {
	h := twoSizes(t)
	p, k := h.project("Held")
	s := h.Open(p, k)
	if got := s.Exec("#!large\nimport os, time; mine = b'1' * (500 << 20)\nlen(os.sched_getaffinity(0))"); got != "2" {
		t.Fatalf("on the larger: %q", got)
	}
	if got := s.Exec(cores); !strings.HasPrefix(got, "This kernel stays on the configuration of a cell before: The kernel uses ") || !strings.HasSuffix(got, "2") {
		t.Errorf("what does not fit: %q", got)
	}
	s.Exec("del mine")
	if got := s.Exec(cores); got != "1" {
		t.Errorf("after it was freed: %q", got)
	}
	s.Exec("#!large\nget_ipython().events.callbacks['post_run_cell'].clear()")
	soon(t, func() bool { return h.kernel(p, k).Configuration == "small" })

	if got := s.Exec("from cellar_kernel import hooks; hooks.want('large')"); got != `'No cell that was sent to this kernel asks for large in its first line.'` {
		t.Errorf("a kernel that asks by itself: %s", got)
	}
	id := s.Send("#!large\ntime.sleep(3); len(os.sched_getaffinity(0))", "")
	soon(t, func() bool { return h.kernel(p, k).Configuration == "large" })
	h.MustRun(h.path(p, k, "switch"), map[string]any{"configuration": "small"}, nil)
	if got := s.Wait(id); got != "1" {
		t.Errorf("after a person chose another: %s", got)
	}
	if got := s.Exec(cores); got != "1" || h.kernel(p, k).Configuration != "small" {
		t.Errorf("a person's choice was undone: %s", got)
	}
}

// TestCellsConfigurationSurvives: a killed hub, sleep and a move in the middle, and
// the end of the process change nothing of it.
func TestCellsConfigurationSurvives(t *testing.T) {
	h := twoSizes(t)
	p, _ := h.project("Lasting")
	putNotebook(t, h, p, "way.ipynb", map[string]string{"one": "1", "two": "2", "three": "3", "four": "4"})
	k := h.session(p, "way.ipynb")
	s := h.Open(p, k)
	s.Exec("import os, time")
	s.Send("#!large\nopen('began', 'w').close(); time.sleep(2); print('one', len(os.sched_getaffinity(0)))", "one")
	s.Send("#!large\nprint('two', len(os.sched_getaffinity(0)))", "two")
	soon(t, func() bool { return h.exists(p, "began") })
	h.kill(syscall.SIGKILL)
	time.Sleep(4 * time.Second) // the second cell waits for a hub
	h.start()
	for cell, want := range map[string]string{"one": "one 2\n", "two": "two 2\n"} {
		soon(t, func() bool { text, _ := h.notebookOnDisk(p, "way.ipynb", cell); return text == want })
	}
	s = h.Open(p, k)
	if got := s.Exec(cores); got != "1" {
		t.Errorf("afterwards: %s", got)
	}
	// Asleep and moved in the middle of such a cell.
	id := s.Send("#!large\nfor _ in range(40): time.sleep(0.1)\nprint(len(os.sched_getaffinity(0)))", "three")
	soon(t, func() bool { return h.kernel(p, k).Configuration == "large" })
	h.MustRun(h.path(p, k, "hibernate"), nil, nil)
	h.MustRun(h.path(p, k, "resume"), nil, nil)
	if got := s.Wait(id); got != "2\n" {
		t.Errorf("a cell that slept: %q", got)
	}
	if got := s.Exec(cores); got != "1" {
		t.Errorf("after a cell that slept: %s", got)
	}
	// The kernel's end.
	s.Send("#!large\nopen('ends', 'w').close(); time.sleep(0.5); os._exit(1)", "four")
	soon(t, func() bool { return h.exists(p, "ends") })
	soon(t, func() bool { v := h.kernel(p, k); return v.State == "running" && v.Configuration == "small" })
	if got := s.Exec(cores); got != "1" {
		t.Errorf("in the next life: %s", got)
	}
}
