package hub

import (
	"context"
	"sync"
)

// shelf says who uses which checkpoint's folder: one that is used is not removed.
type shelf struct {
	mu    sync.Mutex
	spots map[string]*spot
}

// spot is a folder that somebody uses, waits for, or removes.
type spot struct {
	users int
	turn  chan struct{} // holds one token: whoever has it may make the folder
	going chan struct{} // not nil: the folder is being removed; closed when it is
}

// enter makes the caller a user of a folder; one that is being removed is waited
// for. Call leave when done.
func (s *shelf) enter(ctx context.Context, id string) (*spot, error) {
	for {
		s.mu.Lock()
		p := s.spots[id]
		if p == nil {
			if s.spots == nil {
				s.spots = map[string]*spot{}
			}
			p = &spot{turn: make(chan struct{}, 1)}
			p.turn <- struct{}{}
			s.spots[id] = p
		}
		going := p.going
		if going == nil {
			p.users++
			s.mu.Unlock()
			return p, nil
		}
		s.mu.Unlock()
		select {
		case <-going:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (s *shelf) leave(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.spots[id]; p != nil {
		if p.users--; p.users == 0 {
			delete(s.spots, id)
		}
	}
}

// clear calls fn if nobody uses the folder, and lets nobody in meanwhile. It
// reports whether it did.
func (s *shelf) clear(id string, fn func()) bool {
	s.mu.Lock()
	if s.spots[id] != nil {
		s.mu.Unlock()
		return false
	}
	p := &spot{going: make(chan struct{})}
	if s.spots == nil {
		s.spots = map[string]*spot{}
	}
	s.spots[id] = p
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.spots, id)
		s.mu.Unlock()
		close(p.going)
	}()
	fn()
	return true
}
