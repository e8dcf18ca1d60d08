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
	"cellar/kernel/keep"
)

func containsFold(s, sub string) bool {
	return strings.Contains(strings.ToLower(s), strings.ToLower(sub))
}

// Hibernate freezes a kernel into a checkpoint and releases what it held.
func (h *Hub) Hibernate(ctx context.Context, l *Live, o *Operation) (Checkpoint, error) {
	release, err := l.take(ctx)
	if err != nil {
		return Checkpoint{}, err
	}
	defer release()
	return h.hibernate(ctx, l, KindHibernate, o)
}

// hibernate does it, the deed being held. Steps and their undo: the state says
// freezing and names the checkpoint before anything is dumped, so that a hub
// that dies finds its way; a dump that fails leaves the kernel running.
func (h *Hub) hibernate(ctx context.Context, l *Live, kind string, o *Operation) (c Checkpoint, err error) {
	rec := l.Record()
	if rec.State == kernel.Hibernated {
		return h.Store.Checkpoint(ctx, rec.Project, rec.Checkpoint)
	}
	if rec.State != kernel.Running {
		return c, fault.Newf(fault.Conflict, "wrong_state", "The kernel is %s; only a running one can hibernate.", rec.State)
	}
	if err := l.stillThere(); err != nil {
		return c, err
	}
	if err := h.settled(ctx, rec.Container); err != nil {
		return c, err
	}
	u, _ := h.Runtime.Usage(ctx, rec.Container)
	if err := room(h.Data, u.Memory); err != nil {
		return c, err
	}
	p, err := h.Store.Project(ctx, rec.Project)
	if err != nil {
		return c, err
	}
	c = h.newCheckpoint(l, kind, "")
	vars := l.variablesIfIdle(ctx)
	l.keepComms(c.ID, l.askComms(ctx))
	l.trim(ctx)
	if err := l.change(ctx, func(k *Kernel) { k.State, k.Checkpoint = kernel.Freezing, c.ID }); err != nil {
		return c, err
	}
	o.Step(0.1, "Freezing the kernel")
	err = h.step("freeze.recorded")
	l.hook(ctx, keep.HookBefore, reasonOf(kind))
	l.unlink()
	if err == nil {
		err = l.stillThere() // a hook may have ended it
	}
	if err == nil {
		err = h.freezeInto(ctx, l, c.ID)
	}
	if err != nil {
		return c, h.backToRunning(ctx, l, c.ID, err)
	}
	// From here on the dump is the kernel: no cancelling any more.
	ctx = context.WithoutCancel(ctx)
	o.Step(0.7, "Writing the checkpoint")
	if err = h.step("freeze.dumped"); err == nil {
		err = l.stillThereIn(l.journalDir(), l.unseen())
	}
	if err == nil {
		c, err = h.closeCheckpoint(ctx, p, l, c, vars)
	}
	if err == nil {
		err = h.step("freeze.kept")
	}
	if err != nil {
		return c, h.thawBack(ctx, l, c.ID, err)
	}
	l.mu.Lock()
	waiting := len(l.out) > 0
	l.mu.Unlock()
	if err := l.change(ctx, func(k *Kernel) { k.State, k.Container, k.Detail = kernel.Hibernated, "", sleepDetail(ctx) }); err != nil {
		h.Log.Error("hibernation not recorded", "kernel", l.rec.ID, "error", err)
	}
	if kind == KindHibernate { // not while an old one is being applied
		h.wg.Go(func() { h.prune(h.ctx, l) })
	}
	l.persist(ctx)
	l.keepRecall()
	if waiting { // something was sent while it froze
		h.wake(l)
	}
	return c, nil
}

// thawBack undoes a freeze whose dump is whole but could not be kept as a
// checkpoint: the kernel goes on from it.
func (h *Hub) thawBack(ctx context.Context, l *Live, id string, cause error) error {
	l.mu.Lock()
	l.rec.Container = ""
	l.mu.Unlock()
	if err := h.thaw(ctx, l, h.dumpDir(id), reasonHibernate); err != nil {
		return h.strand(ctx, l, id, errors.Join(cause, err))
	}
	if err := l.change(ctx, func(k *Kernel) { k.Checkpoint = "" }); err != nil {
		h.Log.Error("undone freeze not recorded", "kernel", l.rec.ID, "error", err)
	}
	h.Store.DeleteCheckpoint(ctx, id) // it may not have come so far
	// Without a manifest it is no checkpoint: it goes once its memory is back.
	if err := os.Remove(filepath.Join(h.vaultDir(id), manifestName)); err != nil && !errors.Is(err, os.ErrNotExist) {
		cause = errors.Join(cause, err)
	}
	return cannotFreeze(cause)
}

// freezeInto dumps the kernel's container into the folder of a checkpoint and
// ends the container.
func (h *Hub) freezeInto(ctx context.Context, l *Live, id string) error {
	dump := h.dumpDir(id)
	if err := os.MkdirAll(filepath.Dir(dump), 0o711); err != nil {
		return err
	}
	container := l.Record().Container
	if err := h.Runtime.Freeze(ctx, container, kernel.Freeze{Dir: dump}); err != nil {
		return err
	}
	h.apps.drop(container)
	if err := h.markJournal(l, id); err != nil {
		h.Log.Warn("journal not marked", "kernel", l.ID(), "error", err)
	}
	return nil
}

// backToRunning undoes a freeze that failed.
func (h *Hub) backToRunning(ctx context.Context, l *Live, id string, cause error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	rec := l.Record()
	if err := h.step("undo.freeze"); err != nil {
		return err
	}
	list, err := h.containers(ctx)
	running := false
	for _, s := range list {
		running = running || s.Name == rec.Container && s.Running
	}
	if err == nil && !running && h.dumped(id) {
		// Dumped and ended, only the tidying failed: the dump is the kernel.
		if err = h.Runtime.Remove(ctx, rec.Container); err == nil {
			if err = h.thaw(ctx, l, h.dumpDir(id), reasonHibernate); err == nil {
				err = l.change(ctx, func(k *Kernel) { k.Checkpoint = "" })
				return errors.Join(cannotFreeze(cause), err)
			}
		}
	}
	if err == nil {
		if err = l.connect(ctx); err == nil {
			l.hook(ctx, keep.HookAfter, reasonHibernate)
			err = l.change(ctx, func(k *Kernel) { k.State, k.Checkpoint = kernel.Running, "" })
		}
	}
	if err != nil {
		l.ended("The kernel was lost while it was frozen.") // as when it is killed in the middle of a dump
		return errors.Join(cannotFreeze(cause), err)
	}
	return errors.Join(cannotFreeze(cause), os.RemoveAll(filepath.Dir(h.dumpDir(id))))
}

// closeCheckpoint completes the checkpoint of a kernel whose container is gone.
func (h *Hub) closeCheckpoint(ctx context.Context, p Project, l *Live, c Checkpoint, vars []Variable) (Checkpoint, error) {
	if err := copyTree(l.journalDir(), filepath.Join(h.vaultDir(c.ID), "journal"), -1, h.JournalQuota+1<<30); err != nil {
		return c, err
	}
	l.mu.Lock()
	c.Seq = l.seq
	runsFrom := l.book.openFrom(l.seq)
	l.mu.Unlock()
	c, err := h.finish(l, c, runsFrom, h.notebookBytes(ctx, p, c.Notebook), vars)
	if err == nil {
		err = h.Store.PutCheckpoint(ctx, c)
	}
	if err == nil {
		h.filesDue()
		l.mu.Lock()
		l.unsaved.saved()
		l.rec.Base = c.ID // the record is written when its state changes, next
		l.mu.Unlock()
	}
	return c, err
}

// wake resumes a hibernated kernel because something was sent to it.
func (h *Hub) wake(l *Live) {
	l.mu.Lock()
	ctx := WithActor(h.ctx, l.sender)
	l.mu.Unlock()
	h.wg.Go(func() {
		err := h.Resume(ctx, l, nil)
		l.mu.Lock()
		l.blocked = fault.CodeOf(err) == UnitsCode
		l.mu.Unlock()
		for wait := 100 * time.Millisecond; err != nil && !noUse(err) && h.ctx.Err() == nil && wait < 2*time.Second; wait *= 2 {
			// What was sent waits for this kernel: a passing trouble must not strand it.
			h.Log.Warn("kernel not woken yet", "kernel", l.rec.ID, "error", err)
			select {
			case <-h.ctx.Done():
			case <-time.After(wait):
			}
			err = h.Resume(ctx, l, nil)
		}
		if err == errShut {
			return
		}
		if err != nil && h.ctx.Err() == nil {
			h.Log.Error("kernel not woken", "kernel", l.rec.ID, "error", err)
			l.mu.Lock()
			l.rec.Detail = "Waking it failed: " + fault.Detail(err)
			l.waking = false
			l.mu.Unlock()
			l.tell()
		}
	})
}

// noUse reports whether trying again at once is of no use.
func noUse(err error) bool {
	switch fault.CodeOf(err) {
	case UnitsCode, errLeft.Code, errShut.Code, "line_full":
		return true
	}
	return false
}

// Resume brings a hibernated kernel back. o may be nil.
func (h *Hub) Resume(ctx context.Context, l *Live, o *Operation) error {
	if l.Record().State == kernel.Hibernated {
		if err := h.mayUseOf(ctx, l.Project()); err != nil {
			return err
		}
		if o != nil {
			o.Step(0.1, "Looking for room")
		}
		leave, err := h.awaitRoom(ctx, l, time.Now())
		if err != nil {
			return err
		}
		defer leave()
	}
	release, err := l.take(ctx)
	if err != nil {
		return err
	}
	defer release()
	rec := l.Record()
	if rec.State == kernel.Running {
		l.mu.Lock()
		l.waking = false
		l.mu.Unlock()
		return nil
	}
	if rec.State != kernel.Hibernated {
		return fault.Newf(fault.Conflict, "wrong_state", "The kernel is %s; only a hibernated one can be resumed.", rec.State)
	}
	if err := h.mayUseOf(ctx, rec.Project); err != nil {
		return err
	}
	begin := time.Now()
	if c, err := h.Store.Checkpoint(ctx, rec.Project, rec.Checkpoint); err == nil {
		if err := h.mayThaw(c); err != nil {
			return err
		}
	}
	giveBack, err := h.borrow(ctx, rec.Project, rec.Checkpoint)
	if err != nil {
		return err
	}
	defer giveBack()
	m, err := h.readManifest(rec.Checkpoint)
	if err != nil {
		return err
	}
	if err := l.change(ctx, func(k *Kernel) { k.State = kernel.Resuming }); err != nil {
		return err
	}
	if o != nil {
		o.Step(0.2, "Bringing the kernel back")
	}
	if err = h.step("resume.recorded"); err == nil {
		reason := reasonHibernate
		if m.Checkpoint.Kernel != rec.ID {
			reason = reasonBranch
		}
		err = h.thaw(context.WithoutCancel(ctx), l, h.dumpDir(rec.Checkpoint), reason)
	}
	if err == nil {
		err = h.step("resume.thawed")
	}
	if err != nil {
		l.letGo(ctx)
		l.force(ctx, kernel.Hibernated, "")
		return err
	}
	l.mu.Lock()
	l.waking = false
	l.woke = Wake{At: time.Now(), Took: time.Since(begin)}
	l.mu.Unlock()
	return l.change(ctx, func(k *Kernel) { k.Checkpoint = "" })
}

// letGo removes a container that was thawed and is not to stay: its checkpoint
// is the kernel.
func (l *Live) letGo(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	l.mu.Lock()
	linked, name := l.link != nil, l.rec.Container
	l.mu.Unlock()
	if linked {
		l.unlink()
	}
	if name != "" {
		if err := l.h.Runtime.Remove(ctx, name); err != nil {
			l.h.Log.Error("container not removed", "container", name, "error", err)
		}
	}
}
