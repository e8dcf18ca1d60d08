package hub

import (
	"context"
	"sync"
)

// deeds lets one deed at a time be done to each of many things, by name.
type deeds struct {
	mu  sync.Mutex
	now map[string]*doing
}

type doing struct {
	free  chan struct{} // holds a token when nobody is at it
	users int           // holding or waiting
}

// take waits for its turn; release ends it.
func (d *deeds) take(ctx context.Context, name string) (release func(), err error) {
	d.mu.Lock()
	if d.now == nil {
		d.now = map[string]*doing{}
	}
	now := d.now[name]
	if now == nil {
		now = &doing{free: make(chan struct{}, 1)}
		now.free <- struct{}{}
		d.now[name] = now
	}
	now.users++
	d.mu.Unlock()
	leave := func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		if now.users--; now.users == 0 {
			delete(d.now, name)
		}
	}
	select {
	case <-now.free:
		return func() { now.free <- struct{}{}; leave() }, nil
	case <-ctx.Done():
		leave()
		return nil, context.Cause(ctx)
	}
}
