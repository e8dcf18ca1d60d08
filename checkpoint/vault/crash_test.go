package vault

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"cellar/checkpoint/vault/blob"
	"cellar/checkpoint/vault/blob/blobtest"
	"cellar/internal/fault"
)

// A crash at every call that changes the storage, in every way: what was
// committed is whole after the next Open, what was not is no checkpoint, and a GC
// leaves nothing of it.
func TestEveryFailure(t *testing.T) {
	whole := blobtest.NewFailing()
	m := history(t, whole)
	for _, how := range blobtest.Failures() {
		t.Run(how.String(), func(t *testing.T) {
			for n := 1; ; n++ {
				if failsAt(t, whole.Clone(), m.clone(), n, how) {
					if n < 10 {
						t.Errorf("only %d calls: this tests nothing", n)
					}
					return
				}
			}
		})
	}
}

// failsAt makes a history in which the n-th call fails, and answers whether the
// history had fewer calls.
func failsAt(t *testing.T, store *blobtest.Failing, m *model, n int, how blobtest.Failure) (over bool) {
	v := open(t, store, small)
	store.FailAt(n, how)
	lost := act(v, m)
	over = store.Calls() < n
	store.FailAt(0, how)
	if lost != nil && over {
		t.Errorf("failed without a failure: %v", lost)
	}
	if n%2 > 0 || how == blobtest.Crash { // else the same process goes on
		v = open(t, store, small)
	}
	check(t, v, m, n, how)
	return over
}

func (m *model) clone() *model { return &model{maps.Clone(m.memory), maps.Clone(m.object)} }

// history makes a vault with checkpoints of which some were deleted, in many segments.
func history(t *testing.T, store blob.Store) *model {
	t.Helper()
	v := open(t, store, small)
	r := rand.New(rand.NewPCG(11, 12))
	m := &model{map[string]memory{}, map[string]Object{}}
	last, o := memory{}, Object{}
	for i := range 14 {
		last = change(r, last)
		var err error
		o, _, err = keep(v, fmt.Sprint("h", i), o, last)
		ok(t, err)
		m.memory[fmt.Sprint("h", i)], m.object[fmt.Sprint("h", i)] = last, o
		if i == 8 {
			for _, name := range []string{"h0", "h1", "h4", "h6"} {
				ok(t, v.Delete(ctx, name))
				delete(m.memory, name)
			}
			did, err := v.GC(ctx)
			ok(t, err)
			if did.Rewritten == 0 {
				t.Fatalf("nothing was rewritten: %+v", did)
			}
		}
	}
	for _, name := range []string{"h5", "h9", "h10", "h11"} {
		ok(t, v.Delete(ctx, name))
		delete(m.memory, name)
	}
	ok(t, v.Close())
	return m
}

// act does what a hub does, goes on after errors, and notes in m what was
// acknowledged. A name whose deletion failed may be there or not.
func act(v *Vault, m *model) error {
	r := rand.New(rand.NewPCG(13, 14))
	var errs []error
	for i, base := range []string{"h13", "h3"} {
		name := fmt.Sprint("n", i)
		next := change(r, m.memory[base])
		o, _, err := keep(v, name, m.object[base], next)
		if err == nil {
			m.memory[name], m.object[name] = next, o
		}
		_, gcErr := v.GC(ctx)
		errs = append(errs, err, gcErr)
		if v.store.Delete(ctx, manPrefix+"h7") == nil {
			delete(m.memory, "h7")
		}
	}
	if err := v.Delete(ctx, "h2"); err != nil {
		errs = append(errs, err)
		if _, gone := v.Objects(ctx, "h2"); gone == nil {
			return errors.Join(errs...)
		}
	}
	delete(m.memory, "h2")
	return errors.Join(errs...)
}

func check(t *testing.T, v *Vault, m *model, n int, how blobtest.Failure) {
	t.Helper()
	// Whether an unacknowledged change took place is for the storage to say.
	names, err := v.List(ctx)
	ok(t, err)
	for _, name := range names {
		if m.memory[name] == nil {
			if name == "n0" || name == "n1" {
				t.Errorf("%s at call %d: %s is there, and was not acknowledged", how, n, name)
			}
			ok(t, v.Delete(ctx, name))
		}
	}
	if m.memory["h2"] != nil && !contains(names, "h2") {
		delete(m.memory, "h2")
	}
	for range 2 { // the moves of a segment stay for one collection more, for readers
		if _, err := v.GC(ctx); err != nil {
			t.Fatalf("%s at call %d: %v", how, n, err)
		}
	}
	if err := m.check(v.Reader); err != nil {
		t.Fatalf("%s at call %d: %v", how, n, err)
	}
	if report, err := v.Verify(ctx, true); err != nil || len(report.Damage) > 0 {
		t.Fatalf("%s at call %d: %+v, %v", how, n, report, err)
	}
	noGarbage(t, v)
}

func contains(list []string, s string) bool {
	for _, is := range list {
		if is == s {
			return true
		}
	}
	return false
}

// noGarbage says whether every segment on the storage is used by something.
func noGarbage(t *testing.T, v *Vault) {
	t.Helper()
	m := newMarker(v.Reader)
	names, err := v.List(ctx)
	ok(t, err)
	for _, name := range names {
		ok(t, m.manifest(ctx, name))
	}
	blobs, err := v.store.List(ctx, "")
	ok(t, err)
	for _, b := range blobs {
		if n, is := numberOf(b.Name, segPrefix); is && m.bits[n] == nil {
			t.Errorf("%s is garbage that was not collected", b.Name)
		}
		if n, is := numberOf(b.Name, fwdPrefix); is && !m.referred[n] {
			t.Errorf("%s is garbage that was not collected", b.Name)
		}
	}
}

func TestFullDisk(t *testing.T) {
	store := blobtest.NewFailing()
	v := open(t, store, small)
	store.FailAt(1, blobtest.RunOut)
	r := rand.New(rand.NewPCG(1, 1))
	if _, _, err := keep(v, "a", Object{}, change(r, memory{})); !errors.Is(err, fault.Exhausted) {
		t.Errorf("no room: %v", err)
	}
	store.FailAt(0, blobtest.RunOut)
	if _, _, err := keep(v, "a", Object{}, change(r, memory{})); err != nil {
		t.Errorf("room again: %v", err)
	}
}

// The child of TestKilled: makes checkpoints and collections until it is killed,
// and notes each that was acknowledged.
func TestKilledChild(t *testing.T) {
	dir := os.Getenv("VAULT_TEST_CHILD")
	if dir == "" {
		t.Skip("only as a child of TestKilled")
	}
	v := openDisk(t, dir)
	log, err := os.OpenFile(filepath.Join(dir, "acknowledged"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	ok(t, err)
	names, err := v.List(ctx)
	ok(t, err)
	for i := len(acknowledged(t, dir)); ; i++ {
		name := fmt.Sprintf("k%06d", i)
		base := Object{}
		if len(names) > 0 {
			objects, err := v.Objects(ctx, names[len(names)-1])
			ok(t, err)
			base = objects[0]
		}
		if contains(names, name) { // stored, and killed before it was noted
			fmt.Fprintln(log, name)
			continue
		}
		_, _, err = keep(v, name, base, state(i))
		ok(t, err)
		fmt.Fprintln(log, name)
		names = append(names, name)
		if len(names) > 6 {
			ok(t, v.Delete(ctx, names[0]))
			names = names[1:]
		}
		if i%4 == 0 {
			_, err := v.GC(ctx)
			ok(t, err)
		}
	}
}

// state is the i-th state of a process: each differs from the last.
func state(i int) memory {
	m := memory{}
	for k := range 40 {
		r := rand.New(rand.NewPCG(uint64(k), uint64(max(0, i-k))/7))
		p := content(r)
		p[k] = byte(i)
		p[4000] = 1
		m[regions[k%len(regions)]+uint64(k)] = p
	}
	return m
}

func acknowledged(t *testing.T, dir string) (names []string) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "acknowledged"))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	for len(b) >= 8 {
		names, b = append(names, string(b[:7])), b[8:]
	}
	return names
}

func openDisk(t *testing.T, dir string) *Vault {
	t.Helper()
	store, err := blob.OpenDisk(filepath.Join(dir, "blobs"))
	ok(t, err)
	t.Cleanup(func() { store.Close() })
	opt := small
	opt.Index = filepath.Join(dir, "index")
	v, err := Open(ctx, store, tenant, opt)
	ok(t, err)
	return v
}

// A real process, really killed, a number of times.
func TestKilled(t *testing.T) {
	dir := t.TempDir()
	r := rand.New(rand.NewPCG(21, 22))
	for round := range 8 {
		before := len(acknowledged(t, dir))
		life, cancel := context.WithTimeout(ctx, time.Minute)
		child := exec.CommandContext(life, os.Args[0], "-test.run=^TestKilledChild$", "-test.v")
		child.Env = append(os.Environ(), "VAULT_TEST_CHILD="+dir)
		out := filepath.Join(dir, "out")
		f, err := os.Create(out)
		ok(t, err)
		child.Stdout, child.Stderr = f, f
		ok(t, child.Start())
		died := make(chan error, 1)
		go func() { died <- child.Wait() }()
		for enough := before + 1 + r.IntN(20); len(acknowledged(t, dir)) < enough; {
			select {
			case err := <-died:
				text, _ := os.ReadFile(out)
				t.Fatalf("the child ended by itself: %v\n%s", err, text)
			case <-time.After(time.Duration(r.IntN(4000)) * time.Microsecond):
			}
		}
		ok(t, child.Process.Kill())
		<-died
		cancel()
		f.Close()
		afterKill(t, dir, round)
	}
}

func afterKill(t *testing.T, dir string, round int) {
	t.Helper()
	v := openDisk(t, dir)
	names, err := v.List(ctx)
	ok(t, err)
	acks := acknowledged(t, dir)
	// Of the acknowledged ones the newest six are there, one of them may be deleted already.
	for _, name := range acks[max(0, len(acks)-5):] {
		if !contains(names, name) {
			t.Errorf("round %d: %s was acknowledged and is gone", round, name)
		}
	}
	for _, name := range names {
		var i int
		if _, err := fmt.Sscanf(name, "k%06d", &i); err != nil {
			t.Fatal(err)
		}
		objects, err := v.Objects(ctx, name)
		ok(t, err)
		if err := compare(v.Reader, objects[0], state(i)); err != nil {
			t.Errorf("round %d, %s: %v", round, name, err)
		}
	}
	if round%2 == 0 {
		_, err := v.GC(ctx)
		ok(t, err)
	}
	if report, err := v.Verify(ctx, true); err != nil || len(report.Damage) > 0 {
		t.Errorf("round %d: %+v, %v", round, report, err)
	}
	if round%3 == 0 {
		ok(t, v.Close())
	} else {
		ok(t, v.index.abandon())
	}
}
