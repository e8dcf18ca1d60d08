package vault

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"testing"

	"cellar/checkpoint/vault/blob/blobtest"
	"cellar/internal/fault"
)

// Sessions, readers, deletions and collections all at once: a session that builds
// on a checkpoint which is deleted meanwhile loses nothing.
func TestAllAtOnce(t *testing.T) {
	store, opt := blobtest.NewFailing(), small
	opt.Index = filepath.Join(t.TempDir(), "index")
	v := open(t, store, opt)
	reader := OpenReader(store, tenant, 1<<19)
	var kept sync.Map // name -> memory
	stop := make(chan struct{})
	var workers, others sync.WaitGroup
	for id := range 4 {
		workers.Go(func() {
			r := rand.New(rand.NewPCG(41, uint64(id)))
			m, o, name := memory{}, Object{}, ""
			for i := range 25 {
				next := change(r, m)
				was := name
				name = fmt.Sprintf("w%d-%d", id, i)
				is, err := both(v, name, o, m, next, r.IntN(5) == 0)
				if err != nil {
					t.Errorf("%s: %v", name, err)
					return
				}
				m, o = next, is
				if err := compare(v.Reader, o, m); err != nil {
					t.Errorf("%s: %v", name, err)
					return
				}
				kept.Store(name, m)
				if was != "" && r.IntN(3) > 0 {
					kept.Delete(was)
					if err := v.Delete(ctx, was); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	others.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			if _, err := v.GC(ctx); err != nil {
				t.Errorf("collect: %v", err)
				return
			}
		}
	})
	others.Go(func() { readAll(t, reader, &kept, stop) })
	workers.Wait()
	close(stop)
	others.Wait()
	m := model{map[string]memory{}, nil}
	kept.Range(func(name, is any) bool { m.memory[name.(string)] = is.(memory); return true })
	for range 2 {
		if err := errors.Join(m.check(v.Reader), m.check(reader)); err != nil {
			t.Fatal(err)
		}
		_, err := v.GC(ctx)
		ok(t, err)
	}
	report, err := v.Verify(ctx, true)
	if err != nil || len(report.Damage) > 0 {
		t.Errorf("%+v, %v", report, err)
	}
	noGarbage(t, v)
	ok(t, v.Close())
}

// both stores a state, after another session of the same pages was given up.
func both(v *Vault, name string, o Object, was, next memory, giveUp bool) (Object, error) {
	if giveUp {
		s, err := v.Begin(ctx)
		if err != nil {
			return Object{}, err
		}
		if _, err := s.Put(o, next.pages()); err != nil {
			return Object{}, err
		}
		s.Abort()
	}
	is, _, err := keep(v, name, o, next)
	return is, err
}

// readAll reads checkpoints as another process does, until stop. One may be
// deleted under it, and is then allowed to be gone: never to be other bytes.
func readAll(t *testing.T, r *Reader, kept *sync.Map, stop chan struct{}) {
	for {
		select {
		case <-stop:
			return
		default:
		}
		kept.Range(func(name, is any) bool {
			objects, err := r.Objects(ctx, name.(string))
			if err == nil {
				err = compare(r, objects[0], is.(memory))
			}
			_, still := kept.Load(name)
			if err != nil && (still || fault.CodeOf(err) != CodeGone && !errors.Is(err, fault.NotFound)) {
				t.Errorf("%s: %v", name, err)
				return false
			}
			return true
		})
	}
}
