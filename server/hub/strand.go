package hub

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"time"

	"cellar/internal/fault"
	"cellar/kernel"
)

// strand makes a checkpoint of a dump that did not come back to life now: the
// session hibernates in it instead of being lost. When that cannot be done
// either, as on a full disk, the dump waits until it can.
func (h *Hub) strand(ctx context.Context, l *Live, id string, cause error) error {
	if err := h.settle(ctx, l, id); err != nil {
		h.Log.Error("the kernel waits in a dump that cannot be made a checkpoint now", "kernel", l.ID(), "dump", id, "error", err)
		l.mu.Lock()
		l.rec.Container, l.rec.Checkpoint = "", id
		l.rec.Detail = "Its state is kept on the server, which cannot complete it now: " + fault.Sentence(err) + " It comes back by itself as soon as that is possible."
		l.mu.Unlock()
		l.tell()
		h.wg.Go(func() { h.settleLater(l, id) })
		return errors.Join(fault.Wrap(fault.Unavailable, "switch_failed", "That did not succeed. The session is kept and comes back when the server can go on.", cause), err)
	}
	return fault.Wrap(fault.Unavailable, "switch_failed", "The move did not succeed; the session is kept, hibernated.", cause)
}

// settle makes the dump id, whose container is gone, the checkpoint in which the
// kernel sleeps; the deed is held.
func (h *Hub) settle(ctx context.Context, l *Live, id string) error {
	c := h.newCheckpoint(l, KindSwitch, "")
	moving := strings.HasPrefix(id, movePrefix)
	if !moving {
		c.ID = id // it lies where it is to be: no room is needed for a copy
	}
	p, err := h.Store.Project(ctx, c.Project)
	if err != nil {
		return err
	}
	if err := h.adoptDump(c.ID, id); err != nil {
		return err
	}
	if _, err := h.closeCheckpoint(ctx, p, l, c, nil); err != nil {
		return err
	}
	err = l.change(ctx, func(k *Kernel) {
		k.State, k.Container, k.Checkpoint = kernel.Hibernated, "", c.ID
		k.Detail = "A move did not succeed. The state is kept; it comes back when you run something."
	})
	if err == nil && moving {
		h.removeMove(id)
	}
	return err
}

// settleEvery is how often a dump that could not be made a checkpoint is tried
// again.
const settleEvery = 3 * time.Second

// settleLater settles a dump as soon as that is possible. Should the hub end
// before, the next one finds the dump by the kernel's record.
func (h *Hub) settleLater(l *Live, id string) {
	tick := time.NewTicker(settleEvery)
	defer tick.Stop()
	for {
		select {
		case <-h.ctx.Done():
			return
		case <-tick.C:
		}
		if h.settleAgain(l, id) {
			return
		}
	}
}

// settleAgain reports whether there is nothing left to settle.
func (h *Hub) settleAgain(l *Live, id string) bool {
	release, err := l.take(h.ctx)
	if err != nil {
		return true
	}
	defer release()
	if now, _ := h.Live(l.Project(), l.ID()); now != l { // shut down meanwhile
		if err := os.RemoveAll(filepath.Dir(h.dumpDir(id))); err != nil {
			h.Log.Warn("dump of a kernel that is no more not removed", "dump", id, "error", err)
		}
		return true
	}
	if rec := l.Record(); rec.Checkpoint != id || rec.State == kernel.Running || rec.State == kernel.Hibernated || rec.State == kernel.Dead {
		return true // restarted meanwhile
	}
	if err := h.settle(h.ctx, l, id); err != nil {
		h.Log.Debug("still no checkpoint", "kernel", l.ID(), "dump", id, "error", err)
		return false
	}
	h.Log.Info("the kernel's dump is a checkpoint now", "kernel", l.ID(), "dump", id)
	l.mu.Lock()
	waiting := len(l.out) > 0
	l.mu.Unlock()
	if waiting {
		h.wake(l)
	}
	return true
}
