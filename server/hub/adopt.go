package hub

import (
	"context"
	"errors"
	"sync"
	"time"

	"cellar/kernel"
)

// stuck reports whether the memory of a container will never come whole.
func (h *Hub) stuck(name string) bool {
	now, cancel := context.WithTimeout(h.ctx, time.Millisecond)
	defer cancel()
	err := h.Runtime.Drained(now, name)
	return err != nil && !errors.Is(err, context.DeadlineExceeded)
}

// whileComes gives a context that ends when it is clear that the memory of a
// container will never come whole: its keeper may wait for just that. Call the
// function when done.
func (h *Hub) whileComes(ctx context.Context, name string) (context.Context, func()) {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := h.Runtime.Drained(ctx, name); err != nil {
			cancel()
		}
	})
	return ctx, func() { cancel(); wg.Wait() }
}

// adopt connects to a container that runs. One that was being dumped may end
// under our hands: then the dump is the kernel.
func (h *Hub) adopt(ctx context.Context, l *Live, name string) bool {
	l.mu.Lock()
	l.rec.Container, l.rec.Incarnation = name, max(l.rec.Incarnation, incarnationOf(l.rec, name))
	was := l.rec.State
	l.mu.Unlock()
	l.mu.Lock()
	l.rebuilding = true // what is in the journal now may not have reached the tabs
	l.mu.Unlock()
	comes, done := h.whileComes(ctx, name)
	defer done()
	for range 3 {
		// A hub that ended while it kept a checkpoint has left the container paused.
		paused, cancel := context.WithTimeout(comes, unpauseLimit)
		err := h.Runtime.Unpause(paused, name)
		cancel()
		if err == nil {
			err = l.connect(comes)
		}
		if err == nil {
			break
		}
		if comes.Err() != nil {
			return false
		}
		list, lerr := h.containers(ctx)
		alive := false
		for _, s := range list {
			alive = alive || s.Name == name && s.Running
		}
		if lerr == nil && !alive {
			return false
		}
		h.Log.Warn("kernel does not answer yet", "kernel", l.rec.ID, "container", name, "error", err)
	}
	l.mu.Lock()
	linked := l.link != nil
	l.mu.Unlock()
	if !linked {
		return false
	}
	state := kernel.Running
	if was == kernel.Starting {
		state = kernel.Starting
	}
	l.mu.Lock()
	conf, err := h.Configuration(l.rec.Configuration)
	l.mu.Unlock()
	if err == nil {
		if err := h.Runtime.Update(ctx, name, h.limits(conf, l)); err != nil {
			h.Log.Warn("limits not renewed", "kernel", l.rec.ID, "error", err)
		}
	}
	h.holdsNow(ctx, l, name)
	l.force(ctx, state, "")
	if state == kernel.Starting {
		h.wg.Go(l.awaitReady)
	}
	return true
}
