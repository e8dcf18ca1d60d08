package hub

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"cellar/node"
)

// Callers come while keys are made, changed, rotated and revoked: nobody is let in
// wrongly, no call is counted twice or lost.
func TestKeyringUnderChange(t *testing.T) {
	var r keyring
	k, secret := newKey("p", "shop", "ada", "n")
	r.put(k)
	var wg sync.WaitGroup
	const callers, each = 4, 500
	for i := range callers {
		wg.Go(func() {
			for range each {
				if _, err := r.admit(secret, "n", "192.0.2.1", true, time.Now()); err != nil {
					t.Errorf("caller %d: %v", i, err)
				}
				if _, err := r.admit(secret, "m", fmt.Sprint("192.0.2.", i), true, time.Now()); err == nil {
					t.Errorf("caller %d is let in to what the key is not for", i)
				}
				r.unsaved()
			}
		})
	}
	wg.Go(func() {
		for i := range each {
			changed := k
			changed.Name = fmt.Sprint("shop ", i)
			r.put(changed)
			other, _ := newKey("p", "other", "ada", "m")
			r.put(other)
			r.drop(other.ID)
		}
	})
	wg.Wait()
	list := r.list(func(Key) bool { return true })
	if len(list) != 1 || list[0].Calls != callers*each || len(r.found) != 1 {
		t.Errorf("%d keys, %d calls, %d hashes", len(list), list[0].Calls, len(r.found))
	}
	k.Allowance = node.Allowance{Quota: callers*each + 1}
	r.put(k)
	_, first := r.admit(secret, "n", "192.0.2.1", true, time.Now())
	_, second := r.admit(secret, "n", "192.0.2.1", true, time.Now())
	if first != nil || second == nil {
		t.Errorf("a quota on what was spent: %v, %v", first, second)
	}
}

// Callers without a key share what a public alias answers; one with a key has its
// own limits.
func TestAPublicAliasHasALimit(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	var r keyring
	k, secret := newKey("p", "shop", "ada", "a")
	r.put(k)
	let := func(secret, id string, at time.Time) (n int) {
		for i := range 1000 {
			if _, err := r.admitAnyone(secret, id, fmt.Sprint("192.0.2.", i%200), true, at); err == nil {
				n++
			}
		}
		return n
	}
	if n := let("", "a", now); n != publicRate {
		t.Errorf("%d without a key at once", n)
	}
	if n := let("wrong", "a", now); n != 0 {
		t.Errorf("%d more with a wrong key", n)
	}
	if n := let(secret, "a", now); n != 1000 {
		t.Errorf("%d with a key", n)
	}
	if n := let("", "b", now); n != publicRate {
		t.Errorf("%d of another alias", n)
	}
	if n := let("", "a", now.Add(500*time.Millisecond)); n != publicRate/2 {
		t.Errorf("%d after half a second", n)
	}
	r.forgetPublic("a")
	r.forgetPublic("b")
	if len(r.public) != 0 {
		t.Error("deleted aliases are remembered")
	}
}
