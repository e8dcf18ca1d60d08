package vault

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"cellar/checkpoint/vault/blob/blobtest"
	"cellar/internal/fault"
)

// Every blob, with bits flipped, cut off, emptied, grown, taken from another:
// never other bytes than were stored, never a panic, and Verify says which
// checkpoints are hurt.
func TestDamage(t *testing.T) {
	store := blobtest.NewFailing()
	m := history(t, store)
	blobs, err := store.List(ctx, "")
	ok(t, err)
	kinds := map[string]int{}
	r := rand.New(rand.NewPCG(31, 32))
	for i, b := range blobs {
		kind, _, _ := strings.Cut(b.Name, "/")
		if kinds[kind]++; kinds[kind] > 3 {
			continue
		}
		whole := store.Bytes(b.Name)
		other := store.Bytes(blobs[(i+1)%len(blobs)].Name)
		versions := map[string][]byte{
			"empty": {}, "cut": whole[:r.IntN(len(whole))], "last byte": whole[:len(whole)-1],
			"longer": append(bytes.Clone(whole), 0), "zeros": make([]byte, len(whole)), "another": other,
		}
		for range 6 {
			flipped := bytes.Clone(whole)
			at := r.IntN(len(whole))
			flipped[at] ^= 1 << r.IntN(8)
			versions[fmt.Sprint("flipped at ", at)] = flipped
		}
		for _, at := range []int{0, 5, 20, len(whole) - 1, len(whole) - 30, len(whole) - 50, len(whole) - 60} {
			flipped := bytes.Clone(whole)
			flipped[max(at, 0)] ^= 1
			versions[fmt.Sprint("flipped at ", at)] = flipped
		}
		for what, bytes := range versions {
			store.Set(b.Name, bytes)
			damagedAs(t, store, m, b.Name+" "+what)
		}
		store.Set(b.Name, whole)
	}
	for _, kind := range []string{"seg", "man", "fwd", "high"} {
		if kinds[kind] == 0 {
			t.Errorf("no blob %s was tried: %v", kind, kinds)
		}
	}
	ok(t, m.check(OpenReader(store, tenant, 1<<20)))
}

func damagedAs(t *testing.T, store *blobtest.Failing, m *model, what string) {
	t.Helper()
	v, err := Open(ctx, store, tenant, small)
	if err != nil {
		if fault.CodeOf(err) != CodeKey && fault.CodeOf(err) != CodeDamaged {
			t.Errorf("%s: open: %v", what, err)
		}
		return
	}
	var hurt []string
	for name, want := range m.memory {
		err := compare(v.Reader, m.object[name], want)
		if err == nil {
			_, _, err = v.Manifest(ctx, name, project)
		}
		if err == nil {
			continue
		}
		if code := fault.CodeOf(err); code != CodeDamaged && code != CodeKey && code != CodeGone {
			t.Errorf("%s: %s: %v", what, name, err)
		}
		hurt = append(hurt, name)
	}
	slices.Sort(hurt)
	report, err := v.Verify(ctx, false)
	if err != nil && fault.CodeOf(err) != CodeKey {
		t.Errorf("%s: verify: %v", what, err)
	}
	if err == nil && len(report.Damage) == 0 {
		t.Errorf("%s: not noticed", what)
	}
	for _, name := range hurt {
		if err == nil && !slices.Contains(report.Hurt, name) {
			t.Errorf("%s: %s is hurt, and only %v were told", what, name, report.Hurt)
		}
	}
	ok(t, v.Close())
}

// A damaged base is no reason to lose the next checkpoint too.
func TestDamagedBase(t *testing.T) {
	store := blobtest.NewFailing()
	v := open(t, store, small)
	r := rand.New(rand.NewPCG(33, 34))
	first := change(r, change(r, memory{}))
	o, _, err := keep(v, "a", Object{}, first)
	ok(t, err)
	blobs, err := store.List(ctx, segPrefix)
	ok(t, err)
	for _, b := range blobs {
		whole := store.Bytes(b.Name)
		for i := 0; i < len(whole); i += 50 {
			whole[i] ^= 1
		}
		store.Set(b.Name, whole)
	}
	v = open(t, store, small)
	next := change(r, memory{})
	is, _, err := keep(v, "b", o, next)
	ok(t, err)
	ok(t, compare(v.Reader, is, next))
	// A collection removes nothing while it cannot see all.
	if _, err := v.GC(ctx); fault.CodeOf(err) != CodeDamaged || !strings.Contains(err.Error(), "checkpoint a") {
		t.Errorf("collected: %v", err)
	}
	ok(t, v.Delete(ctx, "a"))
	_, err = v.GC(ctx)
	ok(t, err)
	ok(t, compare(v.Reader, is, next))
}
