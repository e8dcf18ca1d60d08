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
