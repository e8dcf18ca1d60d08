package acceptance

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const hooked = `
import cellar, time
told = []
@cellar.before_checkpoint
def before(reason): told.append('before ' + reason)
@cellar.after_restore
def after(reason): told.append('after ' + reason)
`

// TestHooks: a kernel is told before it is frozen and after it was thawed, in the
// middle of a cell too; what is sent to it comes after that.
func TestHooks(t *testing.T) {
	h := startHub(t)
	p, k := h.project("Hooks")
	s := h.Open(p, k)
	if got := s.Exec(hooked); got != "" {
		t.Fatal(got)
	}
	move := func() {
		t.Helper()
		h.MustRun(h.path(p, k, "switch"), map[string]any{"configuration": "c1.2", "move": true}, nil)
	}
	want := func(when, told string) {
		t.Helper()
		if got := s.Exec("' '.join(told), told.clear()"); got != "('"+told+"', None)" {
			t.Errorf("%s: told %s", when, got)
		}
	}
	h.MustRun(h.path(p, k, "hibernate"), nil, nil)
	want("hibernated", "before hibernate after hibernate")
	move()
	want("moved", "before switch after switch")
	var c struct{ ID string }
	h.MustRun("/api/v1/projects/"+p+"/checkpoints", map[string]string{"kernel": k, "name": "one"}, &c)
	want("kept", "before keep after keep")
	h.MustRun("/api/v1/projects/"+p+"/checkpoints/"+c.ID+"/apply", map[string]any{}, nil)
	want("gone back", "before keep after apply")

	id := s.Send("open('begun', 'w').close()\nwhile 'after switch' not in told: time.sleep(.01)\nprint(told[-2:])", "")
	soon(t, func() bool { return h.exists(p, "begun") })
	move()
	if got := s.Wait(id); got != "['before switch', 'after switch']\n" {
		t.Errorf("in the middle of a cell: %s", got)
	}

	// Hooks of a person's own are no better than cells: they fail, and they hang.
	s.Exec("told.clear()\n@cellar.before_checkpoint\ndef bad(reason): 1 / 0")
	move()
	want("with a hook that fails", "before switch after switch")
	s.Exec("cellar.forget(bad)\n@cellar.before_checkpoint\ndef hang(reason): time.sleep(3600)")
	move()
	if got := s.Exec("told"); got != "[]" {
		t.Errorf("with a hook that hangs: told %s", got)
	}
	log, err := os.ReadFile(h.log.Name())
	if err != nil {
		t.Fatal(err)
	}
	for _, said := range []string{"bad: ZeroDivisionError", "not through in time"} {
		if !strings.Contains(string(log), said) {
			t.Errorf("the log does not say %q", said)
		}
	}
	// The pipes are no way to the hub: what a kernel says there itself is ignored.
	s.Exec("import cellar_kernel.hooks as hooks\nfor line in ('{', '[]', '{\"id\":-1}', '{\"id\":18446744073709551615}', 'x' * 200000): hooks._out.write(line + '\\n')")
	if got := s.Exec("1+1"); got != "2" {
		t.Errorf("after nonsense: %s", got)
	}
	if b, _ := os.ReadFile(filepath.Join(h.data, "kernels", k, "container.log")); strings.Contains(string(b), "panic") {
		t.Errorf("the keeper: %s", b)
	}
}
