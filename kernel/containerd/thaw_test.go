package containerd

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"cellar/kernel"
	"cellar/kernel/keep"
	"cellar/machine"
)

// lateBench is a bench with a kernel of 150 MiB that nobody can guess, in "late-1",
// frozen into the dump it returns. While the file lazy is there memory comes only
// to those who ask for it.
func lateBench(t *testing.T) (b *bench, dump, lazy string) {
	lazy = filepath.Join(t.TempDir(), "lazy")
	t.Setenv("CELLAR_TEST_LAZY", lazy)
	b = newBench(t)
	if err := machine.AllowUserfaultfd(); err != nil {
		t.Fatal(err)
	}
	if err := b.rt.Create(t.Context(), b.container(t, "late-1", lateLimits)); err != nil {
		t.Fatal(err)
	}
	k := b.talk(t, "late-1", 1)
	if got := k.run("import hashlib, os\nblob = bytearray(os.urandom(150 << 20)); want = hashlib.sha256(blob).hexdigest()"); got != "" {
		t.Fatal(got)
	}
	b.at = k.at
	dump = b.freeze(t, "late-1", k)
	return b, dump, lazy
}

var lateLimits = kernel.Limits{CPUs: 2, Memory: 1 << 30, Pids: 300}

const memoryIsRight = "hashlib.sha256(blob).hexdigest() == want"

// freeze detaches from a container and freezes it into a new dump.
func (b *bench) freeze(t *testing.T, name string, k *talk) (dump string) {
	t.Helper()
	if k != nil {
		b.at = k.at
		k.c.Do(keep.OpDetach)
	}
	dump = filepath.Join(b.dir, "dump", "of-"+name)
	if err := os.MkdirAll(filepath.Dir(dump), 0o711); err != nil {
		t.Fatal(err)
	}
	if err := b.rt.Freeze(t.Context(), name, kernel.Freeze{Dir: dump}); err != nil {
		t.Fatal(err)
	}
	return dump
}

// thaw restores a dump as another container.
func (b *bench) thaw(t *testing.T, name, dump string) {
	t.Helper()
	if err := b.rt.Restore(t.Context(), b.container(t, name, lateLimits), dump); err != nil {
		t.Fatal(err)
	}
}

// right reports an error when a container's memory is not what it was.
func (b *bench) right(t *testing.T, name string) *talk {
	t.Helper()
	k := b.talk(t, name, b.at+1)
	if got := k.run(memoryIsRight); got != "True" {
		t.Errorf("memory of %s: %s", name, got)
	}
	return k
}

func (b *bench) draining(t *testing.T) map[string]string {
	t.Helper()
	m, err := b.rt.Draining()
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// pagers are the pids of all pagers of the bench's containers: guardians, by
// their folder, and workers, by their dump.
func (b *bench) pagers() (pids []int) {
	for _, pid := range descendants(1) {
		args, _ := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "cmdline"))
		if strings.Contains(string(args), "\x00pager") && strings.Contains(string(args), b.dir) && running(pid) {
			pids = append(pids, pid)
		}
	}
	return pids
}

func TestMemoryComesLate(t *testing.T) {
	b, dump, lazy := lateBench(t)
	ctx := t.Context()

	// Nothing comes unasked: the kernel runs all the same, and the runtime says so.
	write(t, lazy)
	b.thaw(t, "late-2", dump)
	if got := b.draining(t); len(got) != 1 || got["late-2"] != dump {
		t.Errorf("draining: %v", got)
	}
	k := b.right(t, "late-2")
	now, cancel := context.WithCancel(ctx)
	cancel()
	if err := b.rt.Drained(now, "late-2"); !errors.Is(err, context.Canceled) {
		t.Errorf("drained: %v", err)
	}
	os.Remove(lazy)
	if err := b.rt.Drained(ctx, "late-2"); err != nil {
		t.Error(err)
	}
	if got := b.draining(t); len(got) != 0 {
		t.Errorf("draining: %v", got)
	}
	if got := k.run(memoryIsRight); got != "True" {
		t.Errorf("drained: %s", got)
	}
	dump = b.freeze(t, "late-2", k)

	// Frozen as soon as it runs: Freeze waits for all memory.
	b.thaw(t, "late-3", dump)
	dump = b.freeze(t, "late-3", nil)
	b.thaw(t, "late-4", dump)
	dump = b.freeze(t, "late-4", b.right(t, "late-4"))

	// A checkpoint that leaves it running, as soon as it runs.
	b.thaw(t, "late-5", dump)
	leave := filepath.Join(b.dir, "dump", "leave")
	if err := b.rt.Freeze(ctx, "late-5", kernel.Freeze{Dir: leave, Leave: true, Paused: func() error { return nil }}); err != nil {
		t.Fatal(err)
	}
	if err := b.rt.Remove(ctx, "late-5"); err != nil {
		t.Fatal(err)
	}
	b.thaw(t, "late-6", leave)
	dump = b.freeze(t, "late-6", b.right(t, "late-6"))

	// Removed while its memory comes: nothing is left.
	write(t, lazy)
	b.thaw(t, "late-7", dump)
	if len(b.pagers()) != 2 {
		t.Errorf("pagers: %v", b.pagers())
	}
	if err := b.rt.Remove(ctx, "late-7"); err != nil {
		t.Fatal(err)
	}
	b.nothingLeft(t)

	// Its worker dies: told at once, Freeze refuses, nothing is left once it is removed.
	b.thaw(t, "late-8", dump)
	for _, pid := range b.pagers() {
		if commOf(pid) == "exe" {
			syscall.Kill(pid, syscall.SIGKILL)
		}
	}
	if err := b.rt.Drained(ctx, "late-8"); err == nil || !strings.Contains(err.Error(), "late-8") {
		t.Errorf("drained: %v", err)
	}
	if err := b.rt.Freeze(ctx, "late-8", kernel.Freeze{Dir: filepath.Join(b.dir, "dump", "never")}); err == nil {
		t.Error("a container that lacks memory was frozen")
	}
	if got := b.draining(t); got["late-8"] != dump {
		t.Errorf("draining: %v", got)
	}
	if err := b.rt.Remove(ctx, "late-8"); err != nil {
		t.Fatal(err)
	}
	b.nothingLeft(t)
	os.Remove(lazy)
	b.thaw(t, "late-9", dump)
	b.right(t, "late-9")
}

// nothingLeft reports pagers and their folders that are there although no
// container is. The worker was killed with the guardian, but nobody waited.
func (b *bench) nothingLeft(t *testing.T) {
	t.Helper()
	for len(b.pagers()) > 0 { // for ever, if they stay
		time.Sleep(time.Millisecond)
	}
	if left, _ := filepath.Glob(filepath.Join(b.rt.o.Dir, "pagers", "*")); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
	if got := b.draining(t); len(got) != 0 {
		t.Errorf("draining: %v", got)
	}
}

// TestMemoryCannotCome: a dump whose pages are cut off is refused, and nothing
// is left.
func TestMemoryCannotCome(t *testing.T) {
	b, dump, _ := lateBench(t)
	pages, err := filepath.Glob(filepath.Join(dump, "pages-*.img"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range pages {
		if err := os.Truncate(name, 1<<20); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.rt.Restore(t.Context(), b.container(t, "late-2", lateLimits), dump); err == nil {
		t.Error("it was restored")
	} else {
		t.Log(err)
	}
	b.nothingLeft(t)
	list, err := b.rt.List(t.Context())
	if err != nil || len(list) != 0 {
		t.Errorf("left: %+v, %v", list, err)
	}
}

func write(t *testing.T, name string) {
	t.Helper()
	if err := os.WriteFile(name, nil, 0o600); err != nil {
		t.Fatal(err)
	}
}
