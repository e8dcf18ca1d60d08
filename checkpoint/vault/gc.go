package vault

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"cellar/internal/fault"
)

// A collection runs beside sessions and readers:
//
//  1. The cut: the segments that are there and whose writers have ended. Only
//     these can go.
//  2. Everything that checkpoints and sessions use is marked.
//  3. The closing: what came since the cut is marked too. From here on sessions may
//     refer anew only to what is marked, or came after the cut; for all else
//     they store the page again. So what is not marked stays unused.
//  4. What is marked in segments that are mostly dead, or small, is copied into
//     new ones; then the tables of moves are written; then the old segments are
//     taken off the list and removed.
//
// Whenever it breaks off, all locations lead somewhere: copies are durable before
// the moves are told, moves before segments go, and a segment that is still
// there counts before its moves.

// collection is one under way. Its fields are under v.mu, but for marks, which do
// not change once final is true.
type collection struct {
	cut   map[uint32]int64
	marks *marker
	roots map[Location]bool // trees that are safe
	final bool
	done  chan struct{} // closed when final
}

// Collected says what a GC did.
type Collected struct {
	Removed   int   // segments
	Rewritten int   // segments whose living pages were copied
	Before    int64 // stored bytes of segments
	After     int64
	Dead      int64 // bytes of After that nothing uses
}

// GC removes what no checkpoint uses any more. It may run beside all else; a
// second one waits. When part of a checkpoint is lost it removes nothing and
// says which.
func (v *Vault) GC(ctx context.Context) (Collected, error) {
	if err := v.alone(ctx); err != nil {
		return Collected{}, err
	}
	defer func() { <-v.upkeep }()
	g := newGC(v)
	defer g.end()
	for _, step := range []func(context.Context) error{g.cut, g.closing, g.copies, g.removal} {
		if err := step(ctx); err != nil {
			return g.did, fmt.Errorf("collect: %w", err)
		}
	}
	return g.did, nil
}

func newGC(v *Vault) *gc {
	return &gc{v: v, owner: &owner{"collection"}, moves: map[uint32]*forward{},
		c: &collection{marks: newMarker(v.Reader), roots: map[Location]bool{}, done: make(chan struct{})}}
}

// copies is step 4, up to where the old segments go.
func (g *gc) copies(ctx context.Context) error {
	g.plan(ctx)
	if err := g.rewrite(ctx); err != nil {
		return err
	}
	var err error
	g.idle, err = g.forwards(ctx)
	return err
}

// removal is the rest of step 4.
func (g *gc) removal(ctx context.Context) error {
	g.swap(ctx)
	return g.remove(ctx, g.idle)
}

// alone waits until no other upkeep runs.
func (v *Vault) alone(ctx context.Context) error {
	select {
	case v.upkeep <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// afterwards is for what must be done though ctx has ended.
func afterwards(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
}

// gc is the work of one collection.
type gc struct {
	v     *Vault
	c     *collection
	owner *owner
	w     *writer
	did   Collected

	going map[uint32]bool     // segments that go
	copy  []uint32            // those of them whose living entries are copied
	moves map[uint32]*forward // where to
	idle  []uint32            // tables of moves that nothing needs any more
}

// end lets sessions go on as they like.
func (g *gc) end() {
	if g.w != nil {
		g.w.abort()
	}
	v := g.v
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.sweep == g.c {
		v.sweep = nil
		if !g.c.final {
			g.c.final = true
			close(g.c.done)
		}
	}
	for n, o := range v.owners {
		if o == g.owner {
			delete(v.owners, n)
		}
	}
}

// cut does steps 1 and 2.
func (g *gc) cut(ctx context.Context) error {
	v := g.v
	v.mu.Lock()
	clear(v.recent)
	g.c.cut = maps.Clone(v.sealed)
	for n := range v.owners {
		delete(g.c.cut, n)
	}
	holding := v.heldLocked()
	v.mu.Unlock()
	// Listed after the cut: what is committed in between is seen twice, never not.
	names, err := v.List(ctx)
	if err != nil {
		return err
	}
	return g.markAll(ctx, names, holding)
}

// closing is step 3.
func (g *gc) closing(ctx context.Context) error {
	v := g.v
	v.mu.Lock()
	v.sweep = g.c
	names := slices.Collect(maps.Keys(v.recent))
	holding := v.heldLocked()
	v.mu.Unlock()
	if err := g.markAll(ctx, names, holding); err != nil {
		return err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	maps.Copy(g.c.roots, g.c.marks.roots)
	g.c.final = true
	close(g.c.done)
	return nil
}

func (g *gc) markAll(ctx context.Context, names []string, h held) error {
	for _, name := range names {
		if err := g.c.marks.manifest(ctx, name); err != nil {
			return err
		}
	}
	return g.c.marks.held(ctx, h)
}

// fewSmall is the number of small segments that are left alone.
const fewSmall = 3

// plan decides which segments go: those that nothing uses, those of which less
// than half is used, and small ones if there are many.
func (g *gc) plan(ctx context.Context) {
	g.going = map[uint32]bool{}
	var small []uint32
	for _, n := range slices.Sorted(maps.Keys(g.c.cut)) {
		size := g.c.cut[n]
		g.did.Before += size
		live, all := g.live(ctx, n)
		switch {
		case live == 0:
			g.going[n] = true
			g.did.Removed++
		case 2*live < all:
			g.going[n] = true
			g.copy = append(g.copy, n)
		case size < g.v.opt.SegmentBytes/4 && all < g.v.opt.SegmentEntries/4:
			small = append(small, n)
		}
	}
	small = g.worthMerging(small)
	for _, n := range small {
		g.going[n] = true
	}
	g.copy = append(g.copy, small...)
	slices.Sort(g.copy)
	g.did.Rewritten = len(g.copy)
}

// live answers how many entries of a segment are used, of how many.
func (g *gc) live(ctx context.Context, n uint32) (live, all int) {
	b := g.c.marks.bits[n]
	if b == nil {
		return 0, 1
	}
	f, err := g.v.footer(ctx, n)
	if err != nil { // it was read a moment ago; leave it alone
		return 1, 1
	}
	return b.count, int(f.entries)
}

// worthMerging leaves out the largest as long as it is larger than all others
// together, so that a page is not copied again for every few new ones.
func (g *gc) worthMerging(small []uint32) []uint32 {
	slices.SortFunc(small, func(a, b uint32) int { return int(g.c.cut[a] - g.c.cut[b]) })
	var sum int64
	for _, n := range small {
		sum += g.c.cut[n]
	}
	for len(small) > 0 {
		largest := g.c.cut[small[len(small)-1]]
		if 2*largest <= sum {
			break
		}
		sum -= largest
		small = small[:len(small)-1]
	}
	if len(small) <= fewSmall {
		return nil
	}
	return small
}

// swap takes what goes off the list. Readers find the moves from then on.
func (g *gc) swap(ctx context.Context) {
	g.did.After += g.did.Before
	for n, size := range g.c.cut {
		if g.going[n] {
			g.did.After -= size
			continue
		}
		live, all := g.live(ctx, n)
		g.did.Dead += size * int64(all-live) / int64(all)
	}
	v := g.v
	v.mu.Lock()
	defer v.mu.Unlock()
	for n := range g.going {
		delete(v.sealed, n)
	}
	v.dead = g.did.Dead
}

// remove deletes the blobs of what is off the list: of this collection, of
// earlier ones that were broken off, and of sessions that were given up.
func (g *gc) remove(ctx context.Context, forwards []uint32) error {
	v := g.v
	blobs, err := v.store.List(ctx, segPrefix)
	if err != nil {
		return err
	}
	var errs []error
	for _, b := range blobs {
		n, ok := numberOf(b.Name, segPrefix)
		if !ok || v.inUse(n) {
			continue
		}
		v.footers.drop(n)
		v.hashes.drop(n)
		errs = append(errs, v.store.Delete(ctx, b.Name))
	}
	for _, n := range forwards {
		v.forwards.drop(n)
		errs = append(errs, v.store.Delete(ctx, fwdName(n)))
	}
	return errors.Join(errs...)
}

// inUse says whether a segment is on the list, or is being written.
func (v *Vault) inUse(n uint32) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	_, there := v.sealed[n]
	return there || v.owners[n] != nil
}

// forwards writes where everything has moved, and answers the tables that
// nothing needs any more.
func (g *gc) forwards(ctx context.Context) (idle []uint32, err error) {
	blobs, err := g.v.store.List(ctx, fwdPrefix)
	if err != nil {
		return nil, err
	}
	for _, n := range g.copy {
		if err := g.v.writeForward(ctx, n, g.moves[n]); err != nil {
			return nil, err
		}
	}
	for _, b := range blobs {
		n, ok := numberOf(b.Name, fwdPrefix)
		if !ok || g.moves[n] != nil {
			continue
		}
		if g.v.isSealed(n) && !g.going[n] || !g.c.marks.referred[n] {
			idle = append(idle, n)
			continue
		}
		if err := g.merge(ctx, n); err != nil {
			return nil, err
		}
	}
	return idle, nil
}

// merge makes an older table of moves lead straight to where things are now.
func (g *gc) merge(ctx context.Context, n uint32) error {
	old, err := g.v.forward(ctx, n)
	if errors.Is(err, fault.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	merged, changed := &forward{}, false
	old.each(func(entry uint32, to Location) {
		if g.going[to.segment()] {
			changed = true
			moved, ok := Location(0), false
			if f := g.moves[to.segment()]; f != nil {
				moved, ok = f.lookup(to.entry())
			}
			if !ok {
				return // nothing uses it any more
			}
			to = moved
		}
		merged.add(entry, to)
	})
	if !changed {
		return nil
	}
	return g.v.writeForward(ctx, n, merged)
}
