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
