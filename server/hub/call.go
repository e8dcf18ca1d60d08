package hub

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"cellar/internal/fault"
	"cellar/node"
)

// Called is what a caller was let in to: a node or an alias.
type Called struct {
	Node     Node
	Alias    Alias  // its ID is empty: it is a node
	Revision int    // of the node that the caller has named; 0: none
	Target   string // of the alias that the caller has named
}

// Project and ID say whose call it is.
func (c Called) Project() string {
	if c.Alias.ID != "" {
		return c.Alias.Project
	}
	return c.Node.Project
}

// ID is the alias's or the node's.
func (c Called) ID() string {
	if c.Alias.ID != "" {
		return c.Alias.ID
	}
	return c.Node.ID
}

// Admit finds what a caller means and looks at the key. A wrong key and a wrong
// ID look the same. spend counts a call of the key; wait says when one that is
// over its limit may come again.
func (h *Hub) Admit(ctx context.Context, id, key, from string, spend bool) (c Called, wait time.Duration, err error) {
	c.Alias, err = h.Store.Alias(ctx, id)
	if errors.Is(err, fault.NotFound) {
		c.Node, err = h.Store.Node(ctx, id)
	}
	if err != nil && !errors.Is(err, fault.NotFound) {
		return c, 0, err
	}
	if err == nil && c.Alias.Public {
		wait, err = h.keys.admitAnyone(key, id, from, spend, time.Now())
		return c, wait, err
	}
	if key == "" {
		return c, 0, fault.New(fault.Denied, "not_signed_in", "A call needs a key of the node or alias: Authorization: Bearer KEY.")
	}
	wait, err = h.keys.admit(key, id, from, spend, time.Now())
	return c, wait, err
}

// Answer is what came of a call.
type Answer struct {
	Outputs  json.RawMessage
	Node     Node         // that answered
	Revision int          // of it; 0: it did not come so far
	Fields   []node.Field // the outputs of the revision
}

// Served tells what calls come to now: of an alias, the target with the largest
// share.
func (h *Hub) Served(ctx context.Context, c Called) (Node, Revision, error) {
	n, revision := c.Node, c.Revision
	if c.Alias.ID != "" {
		share := slices.MaxFunc(c.Alias.Targets, func(a, b node.Share) int { return cmp.Compare(a.Percent, b.Percent) })
		var err error
		if n, err = h.Store.Node(ctx, share.Node); err != nil {
			return n, Revision{}, err
		}
		revision = share.Revision
	}
	if revision == 0 {
		revision = n.Current
	}
	r, err := h.revision(ctx, n, revision)
	return n, r, err
}

// Answer runs one call. body is the caller's JSON.
func (h *Hub) Answer(ctx context.Context, c Called, body []byte) (a Answer, err error) {
	return h.AnswerFrom(ctx, c, func([]node.Field) ([]byte, error) { return body, nil })
}

// AnswerFrom runs one call whose body depends on the inputs of the revision that
// it comes to.
func (h *Hub) AnswerFrom(ctx context.Context, c Called, body func(inputs []node.Field) ([]byte, error)) (a Answer, err error) {
	if err := h.mayUseOf(ctx, c.Project()); err != nil {
		return a, err
	}
	if c.Alias.ID == "" {
		return h.CallNode(ctx, c.Node, c.Revision, body)
	}
	// What an alias led to may be deleted while a call is on its way there: the
	// alias leads elsewhere by then.
	for range 3 {
		if a, err = h.callAlias(ctx, c, body); err == nil || fault.CodeOf(err) != "revision_not_found" && !errors.Is(err, errNoNode) {
			break
		}
		now, e := h.Store.Alias(ctx, c.Alias.ID)
		if e != nil || now.Number == c.Alias.Number {
			break
		}
		c.Alias = now
	}
	return a, err
}

func (h *Hub) callAlias(ctx context.Context, c Called, body func([]node.Field) ([]byte, error)) (Answer, error) {
	share := node.Pick(c.Alias.Targets, rand.IntN(100))
	if c.Target != "" {
		var err error
		if share, err = h.targetNamed(ctx, c.Alias, c.Target); err != nil {
			return Answer{}, err
		}
	}
	n, err := h.Store.Node(ctx, share.Node)
	if errors.Is(err, fault.NotFound) {
		err = errNoNode
	}
	if err != nil {
		return Answer{}, err
	}
	begun := time.Now()
	a, err := h.CallNode(ctx, n, share.Revision, body)
	if c.Target == "" && ctx.Err() != context.Canceled { // who asks for a target tries it out; who leaves blames nobody
		h.guard(ctx, c.Alias, share, failedByUs(err), time.Since(begun))
	}
	return a, err
}

// failedByUs reports whether it is what was called that failed, and not the
// caller.
func failedByUs(err error) bool {
	if err == nil {
		return false
	}
	var theirs *node.CallError
	if errors.As(err, &theirs) || errors.Is(err, context.DeadlineExceeded) {
		return true
	}
	switch fault.ClassOf(err) {
	case fault.Invalid, fault.Denied, fault.NotFound, fault.Conflict:
		return false
	}
	return true
}

// targetNamed finds the target of an alias that a caller names, NODE@REVISION or
// NODE, by the node's ID or name.
func (h *Hub) targetNamed(ctx context.Context, a Alias, name string) (node.Share, error) {
	var all []string
	for _, s := range a.Targets {
		byName := s
		if n, err := h.Store.Node(ctx, s.Node); err == nil {
			byName.Node = n.Name
		}
		if s.Target() == name || byName.Target() == name {
			return s, nil
		}
		all = append(all, byName.Target())
	}
	slices.Sort(all)
	return node.Share{}, fault.Newf(fault.Invalid, "target_unknown", "%.100q is not a target of this alias; it has: %s.", name, strings.Join(all, ", "))
}
