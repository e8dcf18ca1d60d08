package acceptance

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cellar/internal/testkit"
)

// restarts follows a project's events; each call of the function it gives waits
// for the next restart.
func (h *hub) restarts(project string) func() (told struct{ Kernel, Checkpoint, Detail string }) {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	h.t.Cleanup(cancel)
	r, err := http.NewRequestWithContext(ctx, "GET", h.Base+"/api/v1/projects/"+project+"/events", nil)
	if err != nil {
		h.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+h.Token)
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { res.Body.Close() })
	lines := bufio.NewScanner(res.Body)
	return func() (told struct{ Kernel, Checkpoint, Detail string }) {
		h.t.Helper()
		event := ""
		for lines.Scan() {
			if name, ok := strings.CutPrefix(lines.Text(), "event: "); ok {
				event = name
			}
			if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok && event == "restarted" {
				if err := json.Unmarshal([]byte(data), &told); err != nil {
					h.t.Fatal(err)
				}
				return told
			}
		}
		h.t.Fatalf("no restart was told: %v", lines.Err())
		return told
	}
}

// TestRestartIsUndone: a restart loses nothing that cannot be had back, and
// keeps nothing where there is nothing to keep.
func TestRestartIsUndone(t *testing.T) {
	h := startHub(t)
	p, k := h.project("Regret")
	restart := func() { h.Want(200, "POST", "/projects/"+p+"/api/kernels/"+k+"/restart", nil, nil) }
	undo := func(c string) {
		h.MustRun("/api/v1/projects/"+p+"/checkpoints/"+c+"/apply", map[string]bool{"files": false}, nil)
	}
	kinds := func() (out []string) {
		var list struct{ Items []struct{ Kind, Name string } }
		h.Want(200, "GET", "/api/v1/projects/"+p+"/checkpoints", nil, &list)
		for _, c := range list.Items {
			out = append(out, c.Kind+" "+c.Name)
		}
		return out
	}
	told := h.restarts(p)
	h.await(p, k, "running")
	restart()
	if got := told(); got.Kernel != k || got.Checkpoint != "" || got.Detail != "" {
		t.Errorf("nothing was run: %+v", got)
	}
	h.await(p, k, "running")
	s := h.Open(p, k)
	s.Exec("x = 41\nimport os; pid = os.getpid()")

	restart()
	first := told()
	if first.Kernel != k || first.Checkpoint == "" || first.Detail != "" {
		t.Fatalf("told: %+v", first)
	}
	if got := kinds(); len(got) != 1 || got[0] != "rollback Before a restart" {
		t.Errorf("checkpoints: %q", got)
	}
	undo(first.Checkpoint) // at once: the new life may still begin
	if got := s.Exec("x, os.getpid() == pid"); got != "(41, True)" {
		t.Errorf("after undoing at once: %s", got)
	}

	s.Exec("x = 42")
	restart()
	second := told()
	if got := s.Exec("x"); !strings.Contains(got, "NameError") {
		t.Errorf("after a restart: x = %s", got)
	}
	undo(second.Checkpoint)
	if got := s.Exec("x"); got != "42" {
		t.Errorf("after undoing: x = %s", got)
	}

	// One that sleeps has its state kept already.
	s.Close()
	h.MustRun(h.path(p, k, "hibernate"), nil, nil)
	asleep := h.kernel(p, k).Checkpoint
	restart()
	if got := told(); got.Checkpoint != asleep {
		t.Errorf("restarted while it slept in %s: %+v", asleep, got)
	}
	s = h.Open(p, k)
	if got := s.Exec("x"); !strings.Contains(got, "NameError") {
		t.Errorf("after a restart out of its sleep: x = %s", got)
	}
	undo(asleep)
	if got := s.Exec("x"); got != "42" {
		t.Errorf("after undoing: x = %s", got)
	}

	// One that ended by itself has none.
	s.Send("os._exit(3)", "")
	soon(t, func() bool { return h.died(p, k) != nil })
	restart()
	if got := told(); got.Checkpoint != "" || got.Detail != "" {
		t.Errorf("restarted after it ended: %+v", got)
	}

	// After the hub has been away it is still known that something was run.
	h.await(p, k, "running")
	s = h.Open(p, k)
	s.Exec("x = 43")
	h.kill(9)
	h.start()
	told = h.restarts(p)
	restart()
	undo(told().Checkpoint)
	if got := h.Open(p, k).Exec("x"); got != "43" {
		t.Errorf("after a restart of the hub: x = %s", got)
	}
}

// TestRestartWhatCannotBeKept: a restart is not refused because the state from
// before cannot be kept; it says so.
func TestRestartWhatCannotBeKept(t *testing.T) {
	testkit.Containers(t)
	tools := t.TempDir()
	for _, name := range []string{"containerd", "containerd-shim-runc-v2", "runc"} {
		if err := os.Symlink(filepath.Join(testkit.Tools(), name), filepath.Join(tools, name)); err != nil {
			t.Fatal(err)
		}
	}
	script := "#!/bin/sh\n[ \"$1\" = swrk ] && exit 3\nexec " + filepath.Join(testkit.Tools(), "criu") + " \"$@\"\n"
	if err := os.WriteFile(filepath.Join(tools, "criu"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	h := startHub(t, "--tools", tools)
	p, k := h.project("Stubborn")
	told := h.restarts(p)
	s := h.Open(p, k)
	s.Exec("x = 41")
	h.Want(200, "POST", "/projects/"+p+"/api/kernels/"+k+"/restart", nil, nil)
	if got := told(); got.Checkpoint != "" || !strings.Contains(got.Detail, "could not be frozen") {
		t.Errorf("told: %+v", got)
	}
	if got := s.Exec("x"); !strings.Contains(got, "NameError") {
		t.Errorf("after a restart: x = %s", got)
	}
	if left, _ := exec.Command("sh", "-c", "ls "+filepath.Join(h.data, "vault")+" | wc -l").Output(); strings.TrimSpace(string(left)) != "0" {
		t.Errorf("folders in the vault: %s", left)
	}
}
