package vault

import "slices"

// pin asks for an entry to stay as long as the session, if it can. Strict: one
// that stands on others may not be used.
func (v *Vault) pin(s *Session, l Location) (ok, strict bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	n := l.segment()
	if _, there := v.sealed[n]; !there {
		return false, false
	}
	if c := v.sweep; c != nil && v.owners[n] != s.owner {
		_, cut := c.cut[n]
		if cut && (!c.final || !c.marks.has(l)) {
			return false, false
		}
		strict = !cut
	}
	b := s.pins[n]
	if b == nil {
		b = &bitmap{}
		s.pins[n] = b
	}
	b.set(l.entry())
	return true, strict
}

// pinRoot asks for a whole tree to stay as long as the session, if it can.
func (v *Vault) pinRoot(s *Session, o Object) (bool, error) {
	for o.Root != 0 {
		ok, wait := v.tryPinRoot(s, o)
		if wait == nil {
			return ok, nil
		}
		select {
		case <-wait:
		case <-s.ctx.Done():
			return false, s.ctx.Err()
		}
	}
	return true, nil
}

func (v *Vault) tryPinRoot(s *Session, o Object) (ok bool, wait chan struct{}) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if c := v.sweep; c != nil && !c.roots[o.Root] {
		if !c.final {
			return false, c.done
		}
		return false, nil
	}
	if !slices.Contains(s.roots, o) {
		s.roots = append(s.roots, o)
	}
	return true, nil
}
