package hub

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"time"

	"cellar/internal/fault"
	"cellar/kernel"
)

// Restarted tells followers that a kernel was restarted, and where its state
// from before is.
type Restarted struct {
	Kernel     kernel.ID `json:"kernel"`
	Checkpoint string    `json:"checkpoint,omitempty" doc:"applying it undoes the restart; absent when nothing was kept"`
	Detail     string    `json:"detail,omitempty" doc:"why nothing was kept, where there was something to keep"`
}

const beforeRestart = "Before a restart"

// keepBeforeLimit bounds how long a restart waits for its checkpoint: who
// restarts a kernel may be in need of one that answers.
const keepBeforeLimit = 2 * time.Minute

// Restart gives the kernel a new life with nothing in it. What it held is kept
// first, so that a restart can be undone.
func (h *Hub) Restart(ctx context.Context, l *Live) (err error) {
	defer func() { l.acted("restart", err) }()
	h.line.quit(l.ID())
	release, err := l.take(ctx)
	if err != nil {
		return err
	}
	defer release()
	ctx = because(context.WithoutCancel(ctx), "restart")
	old := l.Record()
	if _, ok := h.specFor(old); !ok { // its image is not given any more: what runs is all there is
		if h.NoImage != nil {
			return h.NoImage
		}
		return fault.Newf(fault.Unsupported, "unknown_kernel", "No image of this server has a kernel %q any more, so it cannot be restarted. What it holds is kept.", old.Spec)
	}
	if err := h.mayUseOf(ctx, old.Project); err != nil {
		return err
	}
	if c, err := h.Configuration(old.Configuration); err == nil {
		if err := h.mayTake(c, old.ID); err != nil && old.Container == "" {
			return err
		}
		defer h.line.promise(old.ID, c.need())()
	}
	told := h.keepBeforeRestart(ctx, l)
	l.unlink()
	if old.Container != "" {
		if err := h.Runtime.Remove(ctx, old.Container); err != nil {
			return errors.Join(err, l.connect(ctx))
		}
	}
	l.mu.Lock()
	l.newLife(0, 0)
	l.fresh, l.revived = true, 0
	l.out, l.outBytes, l.waking = nil, 0, false
	// Not "restarting": the lab takes that for a kernel that died, and says so.
	l.say(3, status(nil, "starting"), "")
	l.mu.Unlock()
	l.setDied(nil)
	if old.State != kernel.Starting {
		if err := l.change(ctx, func(k *Kernel) {
			k.State, k.Container, k.Detail, k.Checkpoint, k.Base, k.Acked = kernel.Starting, "", "", "", "", 0
			k.Journal = nextJournal(k.Journal)
			k.goHome()
		}); err != nil {
			return err
		}
	}
	os.RemoveAll(filepath.Join(l.folder(), old.Journal))
	if err := h.start(ctx, l); err != nil {
		return err
	}
	h.events.send(Event{Project: old.Project, Type: "restarted", Data: told})
	h.wg.Go(func() { h.prune(h.ctx, l) })
	return nil
}

// keepBeforeRestart keeps what the kernel is, the deed being held, as a
// checkpoint that undoes the restart. That it cannot be kept is no reason to
// refuse: a kernel that cannot be frozen may be just the one that needs a
// restart. The person is told.
func (h *Hub) keepBeforeRestart(ctx context.Context, l *Live) Restarted {
	ctx, cancel := context.WithTimeout(ctx, keepBeforeLimit)
	defer cancel()
	out := Restarted{Kernel: l.ID()}
	c, err := h.stateBefore(ctx, l)
	if err != nil {
		h.Log.Warn("state before a restart not kept", "kernel", l.ID(), "error", err)
		switch {
		case ctx.Err() != nil:
			out.Detail = "Keeping it took too long."
		case fault.CodeOf(err) == "freeze_failed": // whose sentence says that the kernel goes on
			out.Detail = "It could not be frozen."
		default:
			out.Detail = fault.Sentence(err)
		}
	}
	out.Checkpoint = c
	return out
}

// stateBefore gives the checkpoint of what the kernel is now; none for one that
// is dead, that only starts, or in which nothing was run yet.
func (h *Hub) stateBefore(ctx context.Context, l *Live) (string, error) {
	l.mu.Lock()
	rec, fresh := l.rec, l.fresh || l.exit != nil
	l.mu.Unlock()
	switch {
	case rec.State == kernel.Hibernated: // it sleeps in one
		c, err := h.Store.Checkpoint(ctx, rec.Project, rec.Checkpoint)
		if err == nil && c.Kind == KindHibernate {
			c.Kind, c.Name = KindRollback, beforeRestart
			err = h.Store.PutCheckpoint(ctx, c)
		}
		if err != nil {
			return "", err
		}
		return c.ID, nil
	case rec.State != kernel.Running || fresh:
		return "", nil
	}
	c, err := h.keepRunning(ctx, l, KindRollback, beforeRestart, func(float64, string) {})
	if err != nil {
		return "", err
	}
	return c.ID, nil
}

// begun waits while the kernel starts, whatever comes of it.
func (l *Live) begun(ctx context.Context) error {
	events, stop := l.h.Follow(l.Project())
	defer stop()
	for l.Record().State == kernel.Starting {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-events: // every change of state is told
		}
	}
	return nil
}
