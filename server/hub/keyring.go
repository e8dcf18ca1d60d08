package hub

import (
	"cmp"
	"crypto/subtle"
	"slices"
	"sync"
	"time"

	"cellar/node"
)

// keyring holds all keys in memory: a wrong one costs no look into the database.
type keyring struct {
	mu    sync.RWMutex
	keys  map[string]*heldKey   // by ID
	found map[string][]*heldKey // by the first bytes of a hash, of the present secret and of the one before

	wrongMu sync.Mutex
	wrong   counters

	publicMu sync.Mutex
	public   map[string]*node.Spending // of public aliases that were called, by ID
}

// heldKey never changes: a changed key is another one with the same use.
type heldKey struct {
	Key
	use *keyUse
}

// keyUse is what was done with a key.
type keyUse struct {
	spending *node.Spending

	mu      sync.Mutex
	at      time.Time // last
	unsaved bool
}

// put holds a key, new or changed. What was spent of a changed one goes on.
func (r *keyring) put(k Key) {
	held := &heldKey{Key: k, use: &keyUse{spending: node.NewSpending(k.Day, k.Calls), at: k.UsedAt}}
	r.mu.Lock()
	defer r.mu.Unlock()
	if old := r.keys[k.ID]; old != nil {
		held.use = old.use
	}
	r.remove(k.ID)
	if r.keys == nil {
		r.keys, r.found = map[string]*heldKey{}, map[string][]*heldKey{}
	}
	r.keys[k.ID] = held
	for _, hash := range [][]byte{k.Hash, k.OldHash} {
		if len(hash) > keyAhead {
			at := string(hash[:keyAhead])
			r.found[at] = append(r.found[at], held)
		}
	}
}

// remove wants the lock.
func (r *keyring) remove(id string) {
	k := r.keys[id]
	if k == nil {
		return
	}
	delete(r.keys, id)
	for _, hash := range [][]byte{k.Hash, k.OldHash} {
		if len(hash) > keyAhead {
			at := string(hash[:keyAhead])
			if r.found[at] = slices.DeleteFunc(r.found[at], func(o *heldKey) bool { return o == k }); len(r.found[at]) == 0 {
				delete(r.found, at)
			}
		}
	}
}

func (r *keyring) drop(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.remove(id)
}

// with holds keys that write puts on record: who deletes what they are for finds
// them from the first moment on.
func (r *keyring) with(keys []Key, write func() error) error {
	for _, k := range keys {
		r.put(k)
	}
	err := write()
	if err != nil {
		for _, k := range keys {
			r.drop(k.ID)
		}
	}
	return err
}

func (r *keyring) list(of func(Key) bool) (out []Key) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	for _, held := range r.keys {
		if of(held.Key) {
			out = append(out, held.now())
		}
	}
	slices.SortFunc(out, func(a, b Key) int {
		return cmp.Or(a.CreatedAt.Compare(b.CreatedAt), cmp.Compare(a.ID, b.ID))
	})
	return out
}

// now is the key with what was spent until now.
func (k *heldKey) now() Key {
	out := k.Key
	out.Day, out.Calls = k.use.spending.Spent()
	if out.Day != node.Day(time.Now()) {
		out.Calls = 0
	}
	k.use.mu.Lock()
	defer k.use.mu.Unlock()
	out.UsedAt = k.use.at
	return out
}

// match finds the key of a secret that is for a node or alias.
func (r *keyring) match(secret, id string, now time.Time) *heldKey {
	hash := HashSecret(secret)
	r.mu.RLock()
	defer r.mu.RUnlock()
	for _, k := range r.found[string(hash[:keyAhead])] {
		good := subtle.ConstantTimeCompare(hash, k.Hash) == 1 ||
			(subtle.ConstantTimeCompare(hash, k.OldHash) == 1 && now.Before(k.OldUntil))
		if good && slices.Contains(k.Scope, id) {
			return k
		}
	}
	return nil
}

// admit lets a caller in, or says why not and when to come again.
func (r *keyring) admit(secret, id, from string, spend bool, now time.Time) (wait time.Duration, err error) {
	k := r.match(secret, id, now)
	if k == nil {
		return 0, r.refuse(network(from), now)
	}
	if !spend {
		return 0, nil
	}
	if wait, err = k.use.spending.Take(k.Allowance, now); err != nil {
		return wait, err
	}
	k.use.mu.Lock()
	defer k.use.mu.Unlock()
	k.use.at, k.use.unsaved = now, true
	return 0, nil
}

// admitAnyone lets a caller in to a public alias: with a key that is for it by the
// key's limits, else by those of all who have none.
func (r *keyring) admitAnyone(secret, id, from string, spend bool, now time.Time) (wait time.Duration, err error) {
	if secret != "" && r.match(secret, id, now) != nil {
		return r.admit(secret, id, from, spend, now)
	}
	if !spend {
		return 0, nil
	}
	r.publicMu.Lock()
	spending := r.public[id]
	if spending == nil {
		if r.public == nil {
			r.public = map[string]*node.Spending{}
		}
		spending = &node.Spending{}
		r.public[id] = spending
	}
	r.publicMu.Unlock()
	if wait, err = spending.Take(node.Allowance{Rate: publicRate}, now); err != nil {
		err = errPublicRate
	}
	return wait, err
}

func (r *keyring) forgetPublic(id string) {
	r.publicMu.Lock()
	defer r.publicMu.Unlock()
	delete(r.public, id)
}

// refuse counts a wrong key.
func (r *keyring) refuse(from string, now time.Time) error {
	r.wrongMu.Lock()
	defer r.wrongMu.Unlock()
	if r.wrong == nil {
		r.wrong = counters{}
	}
	if r.wrong.full(from, maxWrongKeys, now) {
		return errTooManyWrong
	}
	r.wrong.add(from, now)
	return errWrongKey
}

// unsaved are the keys whose use is not on record yet.
func (r *keyring) unsaved() (out []Key) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	for _, k := range r.keys {
		k.use.mu.Lock()
		was := k.use.unsaved
		k.use.unsaved = false
		k.use.mu.Unlock()
		if was {
			out = append(out, k.now())
		}
	}
	return out
}
