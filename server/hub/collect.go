package hub

import (
	"context"
	"sync"
	"time"

	"cellar/kernel"
)

// collectAfter is how long after a checkpoint was deleted its pages are freed:
// many are deleted together.
const collectAfter = time.Minute

// collecting remembers whose vaults have something to be freed.
type collecting struct {
	mu  sync.Mutex
	due map[string]time.Time // by tenant
}

func (c *collecting) add(tenant string, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.due == nil {
		c.due = map[string]time.Time{}
	}
	if _, ok := c.due[tenant]; !ok {
		c.due[tenant] = now.Add(collectAfter)
	}
}

// take gives a tenant whose time has come.
func (c *collecting) take(now time.Time) (tenant string, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for t, due := range c.due {
		if !now.Before(due) {
			delete(c.due, t)
			return t, true
		}
	}
	return "", false
}

// collect frees what has become free in one vault.
func (h *Hub) collect(now time.Time) {
	tenant, ok := h.collecting.take(now)
	if !ok {
		return
	}
	start := time.Now()
	r, err := h.Archive.Collect(h.ctx, tenant)
	if err != nil {
		if h.ctx.Err() == nil {
			h.Log.Error("vault not collected", "tenant", tenant, "error", err)
		}
		return
	}
	h.Log.Info("vault collected", "tenant", tenant, "segments", r.Removed, "rewritten", r.Rewritten, "before", r.Before, "after", r.After, "took", time.Since(start))
}

// shareWhileWorking is which part of its time the storing works while a person
// works, too.
const shareWhileWorking = 0.1

// Pace lets the storing work slowly while a person works. It is what an Archive
// asks at every step of its work.
type Pace struct {
	mu   sync.Mutex
	last time.Time
}

// Wait waits as long as the work since the last call is to be followed by rest.
func (p *Pace) Wait(ctx context.Context, working bool) error {
	p.mu.Lock()
	worked := time.Since(p.last)
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		p.last = time.Now()
		p.mu.Unlock()
	}()
	if !working || worked > time.Second { // longer: there was no work before
		return ctx.Err()
	}
	rest := time.NewTimer(time.Duration(float64(worked) * (1/shareWhileWorking - 1)))
	defer rest.Stop()
	select {
	case <-rest.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Working reports whether a person works: a tab is at a kernel that runs.
func (h *Hub) Working() bool {
	for _, l := range h.LiveOf("") {
		l.mu.Lock()
		at := len(l.clients) > 0 && l.rec.State == kernel.Running
		l.mu.Unlock()
		if at {
			return true
		}
	}
	return false
}
