package vault

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"

	"cellar/checkpoint/vault/blob/blobtest"
)

// model is what a vault is to hold.
type model struct {
	memory map[string]memory
	object map[string]Object
}

func (m model) check(r *Reader) error {
	names, err := r.List(ctx)
	if err != nil {
		return err
	}
	if want := slices.Sorted(maps.Keys(m.memory)); !slices.Equal(names, want) {
		return fmt.Errorf("checkpoints %v, want %v", names, want)
	}
	for name, want := range m.memory {
		text, objects, err := r.Manifest(ctx, name, project)
		if err != nil || string(text) != "text of "+name || len(objects) != 1 {
			return fmt.Errorf("manifest %s: %q, %v, %w", name, text, objects, err)
		}
		if err := compare(r, objects[0], want); err != nil {
			return fmt.Errorf("checkpoint %s: %w", name, err)
		}
	}
	return nil
}

func TestModel(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { runModel(t, seed) })
	}
}

func runModel(t *testing.T, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 7))
	store, opt := blobtest.NewFailing(), small
	opt.Index = filepath.Join(t.TempDir(), "index")
	v := open(t, store, opt)
	reader := OpenReader(store, tenant, 1<<20) // as in another process: keeps what was
	m, rewritten := model{map[string]memory{}, map[string]Object{}}, 0
	for step := range 100 {
		names := slices.Sorted(maps.Keys(m.memory))
		pick := ""
		if len(names) > 0 {
			pick = names[r.IntN(len(names))]
		}
		what := r.IntN(12)
		switch {
		case what < 6 || pick == "":
			name := fmt.Sprint("c", step)
			next := change(r, m.memory[pick])
			base := m.object[pick]
			if r.IntN(4) == 0 {
				base = Object{}
			}
			o, _, err := keep(v, name, base, next)
			ok(t, err)
			m.memory[name], m.object[name] = next, o
		case what < 9:
			ok(t, v.Delete(ctx, pick))
			delete(m.memory, pick)
		case what < 11:
			did, err := v.GC(ctx)
			ok(t, err)
			rewritten += did.Rewritten
			if did.After > did.Before {
				t.Errorf("a collection made more: %+v", did)
			}
		default:
			if r.IntN(2) == 0 {
				ok(t, v.Close())
			} else {
				ok(t, v.index.abandon())
			}
			v = open(t, store, opt)
		}
		if what < 9 && step%8 > 0 {
			continue // compared now and then, and after all that moves things
		}
		if err := errors.Join(m.check(v.Reader), m.check(reader)); err != nil {
			t.Fatalf("step %d: %v", step, err)
		}
	}
	report, err := v.Verify(ctx, true)
	if err != nil || len(report.Damage) > 0 {
		t.Errorf("%+v, %v", report, err)
	}
	if rewritten < 10 {
		t.Errorf("only %d segments were rewritten: this tests little", rewritten)
	}
	stats, err := v.Stats(ctx)
	if err != nil || stats.Manifests != len(m.memory) {
		t.Errorf("%+v, %v", stats, err)
	}
	for name := range m.memory {
		ok(t, v.Delete(ctx, name))
	}
	_, err = v.GC(ctx)
	ok(t, err)
	left, err := store.List(ctx, "")
	if err != nil || len(left) != 1 || left[0].Name != highName {
		t.Errorf("left of an empty vault: %v, %v", left, err)
	}
	ok(t, v.Close())
}
