package hub

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cellar/internal/fault"
	"cellar/node"
)

// A guard finds fault once with each setting, whoever ends the call that is one
// too many, and not for calls that began under an older one.
func TestAGuardFindsFaultOnce(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	a := Alias{ID: "a", Setting: Setting{Number: 4, Author: "ada", Guard: node.Guard{ErrorPercent: 10, MinCalls: 50}.Complete()}}
	var w watches
	var found atomic.Int32
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 100 {
				if w.count(a, "n@2", true, 0, now) != "" {
					found.Add(1)
				}
				w.count(a, "n@1", false, 0, now)
			}
		})
	}
	wg.Wait()
	if found.Load() != 1 {
		t.Errorf("found fault %d times", found.Load())
	}
	next := a
	next.Number = 5
	for range 49 {
		if why := w.count(next, "n@2", true, 0, now); why != "" {
			t.Errorf("after the change the count begins anew: %s", why)
		}
		if why := w.count(a, "n@2", true, 0, now); why != "" {
			t.Errorf("a call from before the change: %s", why)
		}
	}
	if w.count(next, "n@2", true, 0, now) == "" {
		t.Error("the fiftieth is not one too many")
	}
	w.forget("a")
	if len(w.list) != 0 {
		t.Error("a deleted alias is remembered")
	}
	for _, s := range []Setting{{Number: 1, Author: "ada", Guard: a.Guard}, {Number: 4, Guard: a.Guard}, {Number: 4, Author: "ada"}} {
		if (Alias{Setting: s}).guarded() {
			t.Errorf("%+v may go back", s)
		}
	}
}

func TestWhoseFailureItIs(t *testing.T) {
	for want, list := range map[bool][]error{
		true:  {&node.CallError{Name: "ValueError"}, fault.New(fault.Unavailable, "x", "x"), fault.New(fault.Exhausted, "node_busy", "x"), errors.New("bug")},
		false: {nil, fault.New(fault.Invalid, "x", "x"), fault.New(fault.NotFound, "x", "x"), fault.New(fault.Denied, "x", "x")},
	} {
		for _, err := range list {
			if failedByUs(err) != want {
				t.Errorf("%v: %v", err, !want)
			}
		}
	}
}
