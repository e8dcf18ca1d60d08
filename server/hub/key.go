package hub

import (
	"context"
	"errors"
	"slices"
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
	// publicRate is how many calls a second all who have no key may make of one
	// public alias.
	publicRate = 100
	// keyAhead is how many bytes of a hash find a key; the rest is compared in
	// constant time.
	keyAhead = 8
)

var (
	errNoKey        = fault.New(fault.NotFound, "key_not_found", "There is no key by that ID in this project.")
	errWrongKey     = fault.New(fault.Denied, "wrong_key", "There is no node or alias by that ID, or the key is not for it.")
	errPublicRate   = fault.Newf(fault.Exhausted, "rate_exceeded", "Too many calls without a key; %d a second are answered. Come again in a moment, or with a key.", publicRate)
	errTooManyWrong = fault.New(fault.Exhausted, "too_many_attempts", "Too many wrong keys from your address. Wait five minutes and try again.")
)

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
	release, err := h.nodes.deeds.take(ctx, "use/"+p.ID)
	if err != nil {
		return KeyView{}, err
	}
	defer release()
	k, secret := newKey(p.ID, "", by.Name)
	return h.decideKey(ctx, p, k, in, secret)
}

// ChangeKey changes name, scope and limits of a key.
func (h *Hub) ChangeKey(ctx context.Context, p Project, id string, in KeyRequest) (KeyView, error) {
	release, err := h.nodes.deeds.take(ctx, "use/"+p.ID)
	if err != nil {
		return KeyView{}, err
	}
	defer release()
	k, err := h.key(p.ID, id)
	if err != nil {
		return KeyView{}, err
	}
	return h.decideKey(ctx, p, k, in, "")
}

// decideKey wants the turn of the project's uses: what the key is for is not
// deleted meanwhile, and the key not revoked.
func (h *Hub) decideKey(ctx context.Context, p Project, k Key, in KeyRequest, secret string) (KeyView, error) {
	var err error
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
	h.keys.put(k)
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
	release, err := h.nodes.deeds.take(ctx, "use/"+p.ID)
	if err != nil {
		return err
	}
	defer release()
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
