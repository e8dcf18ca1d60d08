package acceptance

import (
	"fmt"
	"syscall"
	"testing"
	"time"
)

// TestAutosave: who forgets to save can go back all the same.
func TestAutosave(t *testing.T) {
	h := startHub(t, "--autosave", "1s", "--store-after", "500ms")
	p, k := h.project("Autosave")
	s := h.Open(p, k)
	automatic := func() (list []kept) {
		for _, c := range h.kept(p).Items {
			if c.Kind == "auto" {
				list = append(list, c)
			}
		}
		return list
	}
	s.Exec("x = 1")
	eventually(t, "an automatic checkpoint", func() bool { return len(automatic()) == 1 })
	if got := automatic()[0].Name; got != "After x = 1" {
		t.Errorf("its name is %q", got)
	}
	time.Sleep(3 * time.Second) // nothing runs: nothing more is kept
	if n := len(automatic()); n != 1 {
		t.Errorf("%d checkpoints of a kernel that has run one cell", n)
	}
	for i := 2; i <= 12; i++ {
		s.Exec(fmt.Sprintf("x = %d", i))
		eventually(t, "one more", func() bool {
			list := automatic()
			return len(list) > 0 && list[0].Name == fmt.Sprintf("After x = %d", i)
		})
	}
	eventually(t, "the newest ten stay", func() bool { return len(automatic()) == 10 })
	for _, c := range h.awaitStored(p) { // the first of all, which resembles none, has been removed by now
		if c.AddedBytes > c.Size/20 {
			t.Errorf("%s added %.2f of %d MB", c.Name, float64(c.AddedBytes)/(1<<20), c.Size>>20)
		}
	}
	list := automatic()
	h.MustRun("/api/v1/projects/"+p+"/checkpoints/"+list[4].ID+"/apply", map[string]any{}, nil)
	s.Close()
	if got, want := "After x = "+h.Open(p, k).Exec("x"), list[4].Name; got != want {
		t.Errorf("applied %q, and it is %q", want, got)
	}
	// The machine goes down; the session offers what was kept.
	h.kill(syscall.SIGKILL)
	h.start()
	if n := len(automatic()); n < 9 {
		t.Errorf("%d automatic checkpoints after a restart", n)
	}
}

// TestProjectSettings: a project's own word on when its sessions are kept, and on
// one that is to stay awake.
func TestProjectSettings(t *testing.T) {
	h := startHub(t, "--autosave", "0", "--idle", "3s")
	p, k := h.project("Settings")
	s := h.Open(p, k)
	s.Exec("x = 1")
	h.Want(200, "POST", h.path(p, k, "awake"), map[string]int{"seconds": 3600}, nil)
	h.Want(400, "POST", h.path(p, k, "awake"), map[string]int{"seconds": 90000}, nil)
	h.kill(syscall.SIGKILL) // it is still to stay awake then
	h.start()
	s = h.Open(p, k)
	h.Want(200, "PATCH", "/api/v1/projects/"+p, map[string]string{"autosave": "cell"}, nil)
	for _, name := range []string{"After y = 2", "After y = 3"} {
		s.Exec(name[len("After "):])
		eventually(t, name, func() bool {
			list := h.kept(p).Items
			return len(list) > 0 && list[0].Name == name && list[0].Kind == "auto"
		})
	}
	if n := len(h.kept(p).Items); n != 2 {
		t.Errorf("%d checkpoints of two cells", n)
	}
	time.Sleep(5 * time.Second) // longer than the idle limit
	if v := h.kernel(p, k); v.State != "running" {
		t.Errorf("the kernel that is kept awake is %s", v.State)
	}
	h.Want(200, "PATCH", "/api/v1/projects/"+p, map[string]string{"autosave": "off"}, nil)
	s.Exec("y = 4")
	h.Want(200, "POST", h.path(p, k, "awake"), map[string]int{"seconds": 0}, nil)
	eventually(t, "hibernated", func() bool { return h.kernel(p, k).State == "hibernated" })
	for _, c := range h.kept(p).Items {
		if c.Kind == "auto" && c.Name == "After y = 4" {
			t.Error("kept, though the project says never")
		}
	}
}
