package hub

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"cellar/internal/fault"
)

// maxPublished bounds a notebook that a cell is taken from, in bytes.
const maxPublished = 256 << 20

var errPublished = fault.New(fault.Exhausted, "too_large", "The checkpoint's notebook is too large to take a cell from.")

// asked marks the folder of a kernel that lives only as long as something is asked
// of it: one that a hub before has left is shut down.
const asked = "asked"

// stateFor is what a publication starts from: a checkpoint, the source of the cell,
// and a configuration. Without a checkpoint in the request one is made of the kernel.
func (h *Hub) stateFor(ctx context.Context, p Project, pub Publication, o *Operation) (c Checkpoint, text, conf string, err error) {
	if pub.Source.Checkpoint != "" {
		var m manifest
		if c, m, text, err = h.cellAt(ctx, p, pub.Source); err != nil {
			return c, "", "", err
		}
		if conf = pub.Configuration; conf == "" {
			conf = m.Configuration
		}
		_, err = h.Offer(conf)
		return c, text, conf, err
	}
	l, text, err := h.find(ctx, p, pub.Source)
	if err != nil {
		return c, "", "", err
	}
	l.mu.Lock()
	busy := l.book.busy()
	if conf = pub.Configuration; conf == "" {
		conf = l.rec.home()
	}
	l.mu.Unlock()
	if busy {
		return c, "", "", errBusy
	}
	if _, err := h.Offer(conf); err != nil {
		return c, "", "", err
	}
	c, err = h.Keep(ctx, l, KindPublish, pub.Name, o)
	return c, text, conf, err
}

// cellAt finds a checkpoint that can be thawed, and the text that a cell has in it.
func (h *Hub) cellAt(ctx context.Context, p Project, s Source) (c Checkpoint, m manifest, text string, err error) {
	if s.Kernel != "" {
		return c, m, "", fault.New(fault.Invalid, "source_twice", "Say a kernel or a checkpoint, not both.")
	}
	if c, err = h.Store.Checkpoint(ctx, p.ID, s.Checkpoint); err != nil {
		return c, m, "", err
	}
	m, giveBack, err := h.openState(ctx, c, false)
	if err != nil {
		return c, m, "", err
	}
	defer giveBack()
	nb, err := h.keptNotebook(ctx, c, maxPublished, errPublished)
	if err == nil {
		text, err = cellSource(nb, s.Cell)
	}
	return c, m, text, err
}

// describeAt is Describe by the values that a checkpoint has: a kernel is thawed
// from it for as long as that takes.
func (h *Hub) describeAt(ctx context.Context, p Project, s Source) (d Described, err error) {
	c, m, text, err := h.cellAt(ctx, p, s)
	if err != nil {
		return d, err
	}
	rec, err := h.branchRecord(p, c, m)
	if err != nil {
		return d, err
	}
	l := h.newLive(rec)
	release, err := l.take(ctx)
	if err != nil {
		return d, err
	}
	giveBack, err := h.borrow(ctx, p.ID, c.ID)
	if err == nil {
		err = h.fillBranch(p, l, c, m)
		giveBack()
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(l.folder(), asked), nil, 0o600)
	}
	if err == nil {
		err = h.Store.PutKernel(ctx, l.Record())
	}
	if err != nil {
		release()
		return d, errors.Join(err, l.clear())
	}
	h.mu.Lock()
	h.live[rec.ID] = l
	h.mu.Unlock()
	release()
	defer func() { err = errors.Join(err, h.Shutdown(context.WithoutCancel(ctx), l)) }()
	if err := h.Resume(ctx, l, nil); err != nil {
		return d, err
	}
	if err := h.step("describe.woken"); err != nil {
		return d, err
	}
	return h.describe(ctx, l, text)
}

// endAsked shuts down a kernel that a hub before this one was asking.
func (h *Hub) endAsked(l *Live) {
	if _, err := os.Stat(filepath.Join(l.folder(), asked)); err != nil {
		return
	}
	if err := h.Shutdown(h.ctx, l); err != nil {
		h.Log.Warn("a kernel that was only asked something is not shut down", "kernel", l.ID(), "error", err)
	}
}
