package hub

import (
	"cmp"
	"context"
	"crypto/subtle"
	"errors"
	"slices"
	"sync"
	"time"

	"cellar/internal/fault"
	"cellar/node"
)

const (
	maxKeys = 1000 // of a project
	// rotationLimit is how long the old secret of a rotated key may be good.
	rotationLimit = 30 * 24 * time.Hour
	// maxWrongKeys is how many wrong keys an address may try in attemptWindow
	// before it is told to stop. Right ones are let in all the same.
	maxWrongKeys = 50
	// keyAhead is how many bytes of a hash find a key; the rest is compared in
	// constant time.
	keyAhead = 8
)

var (
	errNoKey        = fault.New(fault.NotFound, "key_not_found", "There is no key by that ID in this project.")
	errWrongKey     = fault.New(fault.Denied, "wrong_key", "There is no node or alias by that ID, or the key is not for it.")
	errTooManyWrong = fault.New(fault.Exhausted, "too_many_attempts", "Too many wrong keys from your address. Wait five minutes and try again.")
)

// keyring holds all keys in memory: a wrong one costs no look into the database.
type keyring struct {
	mu    sync.RWMutex
	keys  map[string]*heldKey   // by ID
	found map[string][]*heldKey // by the first bytes of a hash, of the present secret and of the one before

	wrongMu sync.Mutex
	wrong   counters
}

type heldKey struct {
	Key
	spending *node.Spending
	usedAt   time.Time
	unsaved  bool
	mu       sync.Mutex // of usedAt and unsaved
}

func (r *keyring) put(k Key) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.remove(k.ID)
	if r.keys == nil {
		r.keys, r.found = map[string]*heldKey{}, map[string][]*heldKey{}
	}
	held := &heldKey{Key: k, spending: node.NewSpending(k.Day, k.Calls), usedAt: k.UsedAt}
	r.keys[k.ID] = held
	for _, hash := range [][]byte{k.Hash, k.OldHash} {
		if len(hash) > keyAhead {
			at := string(hash[:keyAhead])
			r.found[at] = append(r.found[at], held)
		}
	}
}

// change replaces what a person decides of a key; what was spent goes on.
func (r *keyring) change(k Key) {
	r.mu.RLock()
	old := r.keys[k.ID]
	r.mu.RUnlock()
	r.put(k)
	if old == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.keys[k.ID]
	old.mu.Lock()
	defer old.mu.Unlock()
	now.spending, now.usedAt, now.unsaved = old.spending, old.usedAt, true
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
	out.Day, out.Calls = k.spending.Spent()
	if out.Day != node.Day(time.Now()) {
		out.Calls = 0
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	out.UsedAt = k.usedAt
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
	if wait, err = k.spending.Take(k.Allowance, now); err != nil {
		return wait, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.usedAt, k.unsaved = now, true
	return 0, nil
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
		k.mu.Lock()
		was := k.unsaved
		k.unsaved = false
		k.mu.Unlock()
		if was {
			out = append(out, k.now())
		}
	}
	return out
}

// openKeys reads all keys.
func (h *Hub) openKeys(ctx context.Context) error {
	list, err := h.Store.CallKeys(ctx)
	for _, k := range list {
		h.keys.put(k)
	}
	return err
}

// noteKeys writes down what keys were used for. A hub that is killed forgets the
// calls since the last time, some seconds.
func (h *Hub) noteKeys(ctx context.Context) {
	list := h.keys.unsaved()
	if len(list) == 0 {
		return
	}
	if err := h.Store.UseCallKeys(ctx, list); err != nil && h.ctx.Err() == nil {
		h.Log.Warn("the use of keys is not written down", "error", err)
	}
}

// KeyView is a key as the hub's API shows it.
type KeyView struct {
	ID         string     `json:"id"`
	Name       string     `json:"name"`
	Scope      []string   `json:"scope" doc:"IDs of nodes and aliases that it is for"`
	Rate       float64    `json:"rate" doc:"calls a second; 0: no limit"`
	Quota      int64      `json:"quota" doc:"calls a day, in UTC; 0: no limit"`
	CallsToday int64      `json:"calls_today"`
	UsedAt     *time.Time `json:"used_at" doc:"null: never"`
	OldUntil   *time.Time `json:"old_until" doc:"until when the secret of before the rotation is good; null: it is not"`
	Author     string     `json:"author"`
	CreatedAt  time.Time  `json:"created_at"`
	Key        string     `json:"key,omitempty" doc:"the secret: only in the answer that made it"`
}

func keyView(k Key, secret string) KeyView {
	v := KeyView{ID: k.ID, Name: k.Name, Scope: k.Scope, Rate: k.Allowance.Rate, Quota: k.Allowance.Quota, CallsToday: k.Calls, Author: k.Author, CreatedAt: k.CreatedAt, Key: secret}
	if !k.UsedAt.IsZero() {
		v.UsedAt = &k.UsedAt
	}
	if time.Now().Before(k.OldUntil) {
		v.OldUntil = &k.OldUntil
	}
	return v
}

// KeyRequest is what a person decides of a key.
type KeyRequest struct {
	Name  string   `json:"name"`
	Scope []string `json:"scope" maxItems:"100" doc:"IDs or names of nodes and aliases"`
	Rate  float64  `json:"rate,omitempty" minimum:"0" maximum:"100000" doc:"calls a second; 0: no limit"`
	Quota int64    `json:"quota,omitempty" minimum:"0" doc:"calls a day, in UTC; 0: no limit"`
}

// newKey makes the record of a key, and its secret.
func newKey(project, name, author string, scope ...string) (Key, string) {
	secret := "cellar_" + Secret()
	return Key{ID: newID(), Project: project, Name: name, Hash: HashSecret(secret), Scope: scope, Author: author, CreatedAt: time.Now()}, secret
}

// Keys lists the keys of a project, or those for one node or alias.
func (h *Hub) Keys(project, of string) (out []KeyView) {
	for _, k := range h.keys.list(func(k Key) bool { return k.Project == project && (of == "" || slices.Contains(k.Scope, of)) }) {
		out = append(out, keyView(k, ""))
	}
	return out
}

func (h *Hub) key(project, id string) (Key, error) {
	list := h.keys.list(func(k Key) bool { return k.Project == project && k.ID == id })
	if len(list) == 0 {
		return Key{}, errNoKey
	}
	return list[0], nil
}

// AddKey makes a key; its secret is in the answer, and nowhere else.
func (h *Hub) AddKey(ctx context.Context, by User, p Project, in KeyRequest) (KeyView, error) {
	k, secret := newKey(p.ID, "", by.Name)
	return h.putKey(ctx, p, k, in, secret)
}

// ChangeKey changes name, scope and limits of a key.
func (h *Hub) ChangeKey(ctx context.Context, p Project, id string, in KeyRequest) (KeyView, error) {
	k, err := h.key(p.ID, id)
	if err != nil {
		return KeyView{}, err
	}
	return h.putKey(ctx, p, k, in, "")
}

func (h *Hub) putKey(ctx context.Context, p Project, k Key, in KeyRequest, secret string) (KeyView, error) {
	release, err := h.nodes.deeds.take(ctx, "use/"+p.ID)
	if err != nil {
		return KeyView{}, err
	}
	defer release()
	if k.Name, err = checkName(in.Name); err != nil {
		return KeyView{}, err
	}
	if len(in.Scope) == 0 {
		return KeyView{}, fault.New(fault.Invalid, "scope_missing", "Say which nodes and aliases the key is for.")
	}
	k.Scope = nil
	for _, name := range in.Scope {
		id, err := h.calleeID(ctx, p, name)
		if err != nil {
			return KeyView{}, err
		}
		if !slices.Contains(k.Scope, id) {
			k.Scope = append(k.Scope, id)
		}
	}
	k.Allowance = node.Allowance{Rate: in.Rate, Quota: in.Quota}
	return h.saveKey(ctx, k, secret)
}

func (h *Hub) saveKey(ctx context.Context, k Key, secret string) (KeyView, error) {
	if err := h.Store.PutCallKey(context.WithoutCancel(ctx), k, maxKeys); err != nil {
		return KeyView{}, err
	}
	h.keys.change(k)
	return keyView(k, secret), nil
}

// RotateKey gives a key a new secret; the present one is good for a while.
func (h *Hub) RotateKey(ctx context.Context, p Project, id string, overlap time.Duration) (KeyView, error) {
	if overlap < 0 || overlap > rotationLimit {
		return KeyView{}, fault.New(fault.Invalid, "overlap_invalid", "The old key can stay good for 30 days at most.")
	}
	release, err := h.nodes.deeds.take(ctx, "use/"+p.ID)
	if err != nil {
		return KeyView{}, err
	}
	defer release()
	k, err := h.key(p.ID, id)
	if err != nil {
		return KeyView{}, err
	}
	next, secret := newKey(p.ID, k.Name, k.Author)
	k.OldHash, k.OldUntil, k.Hash = k.Hash, time.Now().Add(overlap), next.Hash
	return h.saveKey(ctx, k, secret)
}

// RevokeKey ends a key at once.
func (h *Hub) RevokeKey(ctx context.Context, p Project, id string) error {
	if _, err := h.key(p.ID, id); err != nil {
		return err
	}
	if err := h.Store.DeleteCallKey(context.WithoutCancel(ctx), id); err != nil && !errors.Is(err, fault.NotFound) {
		return err
	}
	h.keys.drop(id)
	return nil
}

// unscope takes what is deleted out of all keys; one that is for nothing any more
// goes.
func (h *Hub) unscope(ctx context.Context, project, id string) error {
	var errs error
	for _, k := range h.keys.list(func(k Key) bool { return k.Project == project && slices.Contains(k.Scope, id) }) {
		k.Scope = slices.DeleteFunc(slices.Clone(k.Scope), func(s string) bool { return s == id })
		if len(k.Scope) > 0 {
			_, err := h.saveKey(ctx, k, "")
			errs = errors.Join(errs, err)
			continue
		}
		h.keys.drop(k.ID)
		if err := h.Store.DeleteCallKey(ctx, k.ID); !errors.Is(err, fault.NotFound) {
			errs = errors.Join(errs, err)
		}
	}
	return errs
}
