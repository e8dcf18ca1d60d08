package vault

import (
	"context"
	"errors"
	"fmt"
	"maps"

	"cellar/internal/fault"
)

// marker walks trees and marks what they use, each entry once. It is for one
// goroutine.
type marker struct {
	r        *Reader
	bits     map[uint32]*bitmap // by segment, where things are now
	referred map[uint32]bool    // segments that something still names, there or moved
	roots    map[Location]bool
	check    func(spot) error // of each entry, when given
	tolerant bool             // what is lost is passed over
}

func newMarker(r *Reader) *marker {
	return &marker{r: r, bits: map[uint32]*bitmap{}, referred: map[uint32]bool{}, roots: map[Location]bool{}}
}

func (m *marker) has(l Location) bool { return m.bits[l.segment()].has(l.entry()) }

// set marks an entry and says whether it is new.
func (m *marker) set(l Location) bool {
	b := m.bits[l.segment()]
	if b == nil {
		b = &bitmap{}
		m.bits[l.segment()] = b
	}
	return b.set(l.entry())
}

const anyLevel = -1

// mark marks the entry at l, what it stands on, and all that is below it. It goes
// at most as deep as levels and deltas go.
func (m *marker) mark(ctx context.Context, l Location, level int) error {
	if l == 0 {
		return nil
	}
	m.referred[l.segment()] = true
	err := m.entry(ctx, l, level)
	if m.tolerant && isLost(err) {
		return nil
	}
	return err
}

func (m *marker) entry(ctx context.Context, l Location, level int) error {
	s, err := m.r.find(ctx, l)
	if err != nil {
		return err
	}
	k := s.kind()
	if level != anyLevel && k.level() != level {
		return damaged(s.l.String(), errors.New("an entry of another level than it is used for"))
	}
	if !m.set(s.l) {
		return nil
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if m.check != nil {
		if err := m.check(s); err != nil {
			return err
		}
	}
	if k.depth() > 0 {
		if err := m.base(ctx, s); err != nil {
			return err
		}
	}
	return m.children(ctx, l, k.level())
}

// base marks what a delta stands on, which stands on less.
func (m *marker) base(ctx context.Context, s spot) error {
	at, err := m.r.find(ctx, s.base())
	if err != nil {
		return err
	}
	if at.kind().depth() >= s.kind().depth() {
		return damaged(s.l.String(), errors.New("deltas that lead nowhere"))
	}
	return m.mark(ctx, s.base(), s.kind().level())
}

func (m *marker) children(ctx context.Context, l Location, level int) error {
	if level == 0 {
		return nil
	}
	n, err := m.r.node(ctx, l, level)
	if err != nil {
		return err
	}
	for _, child := range n {
		if err := m.mark(ctx, child, level-1); err != nil {
			return err
		}
	}
	return nil
}

// manifest marks what a checkpoint uses. One that is gone uses nothing.
func (m *marker) manifest(ctx context.Context, name string) error {
	objects, err := m.r.Objects(ctx, name)
	if errors.Is(err, fault.NotFound) {
		return nil
	}
	for _, o := range objects {
		if err == nil {
			m.roots[o.Root] = true
			err = m.mark(ctx, o.Root, int(o.Height))
		}
	}
	if err != nil {
		return fmt.Errorf("checkpoint %s: %w", name, err)
	}
	return nil
}

// held is what sessions hold at one moment.
type held struct {
	pins  []map[uint32]*bitmap
	roots []Object
}

// heldLocked copies what sessions hold. The caller has v.mu.
func (v *Vault) heldLocked() (h held) {
	for s := range v.sessions {
		pins := maps.Clone(s.pins)
		for n, b := range pins {
			pins[n] = b.clone()
		}
		h.pins, h.roots = append(h.pins, pins), append(h.roots, s.roots...)
	}
	return h
}

// held marks what sessions hold. A session may hold what is lost: it has not yet
// looked.
func (m *marker) held(ctx context.Context, h held) error {
	m.tolerant = true
	defer func() { m.tolerant = false }()
	for _, o := range h.roots {
		m.roots[o.Root] = true
		if err := m.mark(ctx, o.Root, int(o.Height)); err != nil {
			return err
		}
	}
	for _, pins := range h.pins {
		for n, b := range pins {
			if err := b.each(func(entry uint32) error { return m.mark(ctx, at(n, entry), anyLevel) }); err != nil {
				return err
			}
		}
	}
	return nil
}
