package hub

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"cellar/internal/fault"
	"cellar/kernel"
	"cellar/kernel/keep"
)

// Switch gives a kernel another configuration, keeping its state: in place when
// it runs, or, with move, by checkpoint and restore into a new container.
func (h *Hub) Switch(ctx context.Context, l *Live, name string, move bool, o *Operation) error {
	conf, err := h.Offer(name)
	if err != nil {
		return err
	}
	release, err := l.take(ctx)
	if err != nil {
		return err
	}
	defer release()
	rec := l.Record()
	switch {
	case rec.State == kernel.Hibernated || rec.State == kernel.Dead:
		return l.change(ctx, func(k *Kernel) { k.Configuration, k.Home = conf.Name, "" })
	case rec.State != kernel.Running && rec.State != kernel.Starting:
		return fault.Newf(fault.Conflict, "wrong_state", "The kernel is %s; switch it when it runs.", rec.State)
	}
	leave, err := h.roomToSwitch(conf, rec)
	if err != nil {
		return err
	}
	defer leave()
	if move {
		return h.move(ctx, l, conf, o)
	}
	return h.resize(ctx, l, conf, "", o)
}

// roomToSwitch keeps room for a running kernel's other configuration, which nobody
// takes until leave is called, also while it is between two containers. A larger one
// that there is no room for now is refused.
func (h *Hub) roomToSwitch(conf Configuration, rec Kernel) (leave func(), err error) {
	if old, err := h.Configuration(rec.Configuration); err != nil || conf.Memory > old.Memory || conf.CPUs > old.CPUs {
		if err := h.mayTake(conf, rec.ID); err != nil {
			return nil, err
		}
	}
	return h.line.promise(rec.ID, conf.need()), nil
}

// resize changes the limits of the running container; home is the configuration
// that the kernel goes back to, see lease.go.
func (h *Hub) resize(ctx context.Context, l *Live, conf Configuration, home string, o *Operation) error {
	rec := l.Record()
	if err := h.settled(ctx, rec.Container); err != nil {
		return err
	}
	u, err := h.Runtime.Usage(ctx, rec.Container)
	if err == nil && conf.Memory > 0 && u.Memory >= conf.Memory {
		return fault.Newf(fault.Conflict, "does_not_fit", "The kernel uses %d MiB, and %s has %d MiB. Free some memory first.", u.Memory>>20, conf.Name, conf.Memory>>20)
	}
	o.Step(0.5, "Switching to "+conf.Name)
	if err := h.Runtime.Update(ctx, rec.Container, h.limits(conf, l)); err != nil {
		undo := context.WithoutCancel(ctx)
		if old, e := h.Configuration(rec.Configuration); e == nil {
			err = errors.Join(err, h.Runtime.Update(undo, rec.Container, h.limits(old, l)))
		}
		return fault.Wrap(fault.Unavailable, "switch_failed", fmt.Sprintf("The switch to %s did not succeed; the kernel goes on as it was.", conf.Name), err)
	}
	if err := h.ledger.exchange(ctx, rec.Container, conf, "switch"); err != nil {
		undo := context.WithoutCancel(ctx)
		if old, e := h.Configuration(rec.Configuration); e == nil {
			err = errors.Join(err, h.Runtime.Update(undo, rec.Container, h.limits(old, l)))
		}
		return err
	}
	if err := h.step("ledger.exchanged"); err != nil {
		h.Log.Warn("ledger", "step", "ledger.exchanged", "error", err)
	}
	l.setLimit(conf.Memory)
	defer h.tellUse(rec.Project)
	return l.change(ctx, func(k *Kernel) { k.Configuration, k.Home = conf.Name, home })
}

func (l *Live) setLimit(memory int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.usage.Limit = memory
}

// move carries the kernel into a new container. Until the dump is whole the old
// container is the kernel; from then on the dump is, until a container made
// from it answers. The record names the dump before it is begun.
func (h *Hub) move(ctx context.Context, l *Live, conf Configuration, o *Operation) error {
	rec := l.Record()
	if rec.State != kernel.Running {
		return fault.New(fault.Conflict, "wrong_state", "The kernel has only just been started; move it when it has answered.")
	}
	if err := h.settled(ctx, rec.Container); err != nil {
		return err
	}
	if err := l.stillThere(); err != nil {
		return err
	}
	u, _ := h.Runtime.Usage(ctx, rec.Container)
	if conf.Memory > 0 && u.Memory >= conf.Memory {
		return fault.Newf(fault.Conflict, "does_not_fit", "The kernel uses %d MiB, and %s has %d MiB. Free some memory first.", u.Memory>>20, conf.Name, conf.Memory>>20)
	}
	id := h.placeForMove(u.Memory)
	if id == "" {
		if err := room(h.Data, u.Memory); err != nil {
			return err
		}
		id = newID()
	}
	if err := l.change(ctx, func(k *Kernel) { k.State, k.Checkpoint, k.Detail = kernel.Switching, id, "Switching to "+conf.Name }); err != nil {
		return err
	}
	o.Step(0.1, "Switching to "+conf.Name+": freezing")
	start := time.Now()
	err := h.step("move.recorded")
	l.hook(ctx, keep.HookBefore, reasonSwitch)
	l.unlink()
	if err == nil {
		err = l.stillThere() // a hook may have ended it
	}
	if err == nil {
		err = h.freezeInto(ctx, l, id)
	}
	if err != nil {
		return h.backToRunning(ctx, l, id, err)
	}
	frozen := time.Now()
	ctx = context.WithoutCancel(ctx)
	o.Step(0.5, "Switching to "+conf.Name+": thawing")
	l.mu.Lock()
	l.rec.Configuration, l.rec.Home, l.rec.Container = conf.Name, "", ""
	l.mu.Unlock()
	if err = h.step("move.dumped"); err == nil {
		err = h.thaw(ctx, l, h.dumpDir(id), reasonSwitch)
	}
	if err == nil {
		if err = h.step("move.thawed"); err != nil {
			l.letGo(ctx)
		}
	}
	if err != nil {
		h.Log.Error("move failed, going back", "kernel", rec.ID, "to", conf.Name, "error", err)
		l.mu.Lock()
		l.rec.Configuration, l.rec.Home, l.rec.Container, l.rec.State = rec.Configuration, rec.Home, "", kernel.Switching
		l.mu.Unlock()
		if back := h.thaw(ctx, l, h.dumpDir(id), reasonSwitch); back != nil {
			return h.strand(ctx, l, id, errors.Join(err, back))
		}
		err = fault.Wrap(fault.Unavailable, "switch_failed", fmt.Sprintf("The move to %s did not succeed; the kernel goes on as it was.", conf.Name), err)
	}
	h.Log.Info("moved", "kernel", rec.ID, "to", conf.Name, "dump", id, "freeze", frozen.Sub(start), "thaw", time.Since(frozen))
	l.setLimit(conf.Memory)
	if e := l.change(ctx, func(k *Kernel) { k.Checkpoint, k.Detail = "", "" }); e != nil {
		h.Log.Error("move not recorded", "kernel", rec.ID, "error", e)
	}
	return err
}

// placeForMove names a dump in memory if there is room for it twice, else "".
func (h *Hub) placeForMove(need int64) string {
	if memoryAvailable() < 2*need+(256<<20) || os.MkdirAll(h.moveRoot(), 0o711) != nil || room(h.moveRoot(), need) != nil {
		return ""
	}
	return movePrefix + newID()
}
