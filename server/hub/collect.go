package hub

import (
	"sync"
	"time"
)

// collectAfter is how long after a checkpoint was deleted its pages are freed:
// many are deleted together.
const collectAfter = time.Minute

// collecting remembers whose vaults have something to be freed.
type collecting struct {
	mu   sync.Mutex
	due  map[string]time.Time
	busy bool
}

func (c *collecting) add(tenant string) {
	if tenant == "" {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.due == nil {
		c.due = map[string]time.Time{}
	}
	if _, ok := c.due[tenant]; !ok {
		c.due[tenant] = time.Now().Add(collectAfter)
	}
}

// take gives a tenant whose time has come, one at a time.
func (c *collecting) take(now time.Time) (tenant string, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for t, due := range c.due {
		if !c.busy && !now.Before(due) {
			delete(c.due, t)
			c.busy = true
			return t, true
		}
	}
	return "", false
}

func (c *collecting) done() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.busy = false
}

// collect frees what has become free, beside everything else.
func (h *Hub) collect() {
	tenant, ok := h.collecting.take(time.Now())
	if !ok {
		return
	}
	h.wg.Go(func() {
		defer h.collecting.done()
		start := time.Now()
		r, err := h.Archive.Collect(h.ctx, tenant)
		if err != nil {
			if h.ctx.Err() == nil {
				h.Log.Error("vault not collected", "tenant", tenant, "error", err)
			}
			return
		}
		h.Log.Info("vault collected", "tenant", tenant, "segments", r.Removed, "rewritten", r.Rewritten, "before", r.Before, "after", r.After, "took", time.Since(start))
	})
}
