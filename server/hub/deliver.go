package hub

import (
	"context"
	"errors"
	"sync"
	"time"

	"cellar/internal/fault"
)

const (
	// postLimit bounds one attempt, from looking up the name to the answer's head.
	postLimit = 10 * time.Second
	// maxPending is how many deliveries of a project may wait; more are dropped,
	// and the log says so.
	maxPending = 100
	// maxPosts is how many are under way at once, of different projects: a
	// receiver that hangs holds up its own project only.
	maxPosts = 8
	// holdFor is how long a project waits after its delivery could not be put on
	// record: better late than the same again and again.
	holdFor   = time.Minute
	pruneWhen = time.Hour
)

// retries is how long after a failed attempt the next one is made.
var retries = []time.Duration{5 * time.Second, 30 * time.Second, 2 * time.Minute, 10 * time.Minute}

// courier sends what is due, one delivery of a project at a time.
type courier struct {
	h       *Hub
	retries []time.Duration
	done    chan posted
	busy    map[string]bool
	hold    map[string]time.Time
}

type posted struct {
	project string
	err     error // the outcome is not on record
}

// deliver runs until the hub closes; what is pending then is sent by the next one.
func (h *Hub) deliver() {
	c := &courier{h: h, retries: retries, done: make(chan posted, maxPosts), busy: map[string]bool{}, hold: map[string]time.Time{}}
	c.run()
}

func (c *courier) run() {
	var wg sync.WaitGroup
	defer wg.Wait()
	prune := time.NewTicker(pruneWhen)
	defer prune.Stop()
	c.prune()
	for {
		timer := time.NewTimer(c.start(&wg))
		select {
		case <-c.h.ctx.Done():
			timer.Stop()
			return
		case <-c.h.webhooks.wake:
		case <-timer.C:
		case <-prune.C:
			c.prune()
		case p := <-c.done:
			delete(c.busy, p.project)
			if p.err != nil {
				c.h.Log.Error("webhook: outcome not recorded", "project", p.project, "error", p.err)
				c.hold[p.project] = time.Now().Add(holdFor)
			}
		}
		timer.Stop()
	}
}

func (c *courier) prune() {
	if err := c.h.Store.PruneDeliveries(c.h.ctx, time.Now().Add(-tellFor)); err != nil && c.h.ctx.Err() == nil {
		c.h.Log.Warn("webhook: old deliveries not removed", "error", err)
	}
}

// start begins what is due and returns when to look again.
func (c *courier) start(wg *sync.WaitGroup) time.Duration {
	list, err := c.h.Store.PendingDeliveries(c.h.ctx)
	if err != nil {
		if c.h.ctx.Err() == nil {
			c.h.Log.Error("webhook: deliveries not read", "error", err)
		}
		return holdFor
	}
	now, next := time.Now(), pruneWhen
	for _, d := range list {
		if c.busy[d.Project] {
			continue
		}
		due := d.Due
		if hold := c.hold[d.Project]; hold.After(due) {
			due = hold
		}
		if wait := due.Sub(now); wait > 0 {
			next = min(next, wait)
			continue
		}
		if len(c.busy) >= maxPosts {
			break // the next end of one looks again
		}
		delete(c.hold, d.Project)
		c.busy[d.Project] = true
		wg.Go(func() { c.done <- posted{d.Project, c.attempt(d)} })
	}
	return next
}

// attempt sends d once and records what came of it.
func (c *courier) attempt(d Delivery) error {
	hook, ok := c.h.webhooks.get(d.Project)
	if !ok {
		return nil // deleted with what waited for it
	}
	status, err := 0, error(errWebhooksOff)
	if c.h.Poster != nil {
		status, err = c.h.post(c.h.ctx, hook, d.Body)
	}
	if c.h.ctx.Err() != nil {
		return nil // cut off by us: the next hub sends it
	}
	d.Attempts++
	d.At, d.Status, d.Error = time.Now(), status, ""
	switch {
	case err == nil && status >= 200 && status < 300:
		d.State = DeliveryDone
	case d.Attempts <= len(c.retries) && passing(status, err):
		d.Due = d.At.Add(c.retries[d.Attempts-1])
	default:
		d.State = DeliveryFailed
	}
	if err != nil {
		d.Error = fault.Sentence(err)
	}
	if d.State == DeliveryFailed {
		c.h.Log.Warn("webhook: not delivered", "project", d.Project, "id", d.ID, "attempts", d.Attempts, "status", status, "error", err)
	}
	if err := c.h.Store.PutDelivery(context.WithoutCancel(c.h.ctx), d); err != nil && !errors.Is(err, fault.NotFound) {
		return err
	}
	return nil
}

// passing reports whether another attempt may go better: nobody answered, or the
// receiver said that it cannot just now.
func passing(status int, err error) bool {
	if err != nil {
		return fault.ClassOf(err) == fault.Unavailable
	}
	return status == 408 || status == 425 || status == 429 || status >= 500
}
