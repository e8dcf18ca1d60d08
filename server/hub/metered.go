package hub

import (
	"cmp"
	"context"
	"fmt"

	"cellar/kernel"
)

// metered is the runtime with its books kept: whatever makes a container that
// holds a configuration, or ends one, is written into the ledger here, so that
// no deed can forget to.
type metered struct {
	kernel.Runtime
	h *Hub
}

// Create implements kernel.Runtime.
func (m *metered) Create(ctx context.Context, c kernel.Container) error {
	return m.hold(ctx, c, func() error { return m.Runtime.Create(ctx, c) })
}

// Restore implements kernel.Runtime.
func (m *metered) Restore(ctx context.Context, c kernel.Container, dir string) error {
	return m.hold(ctx, c, func() error { return m.Runtime.Restore(ctx, c, dir) })
}

// hold writes the beginning before the compute is taken: a hub that dies in
// between leaves an interval without a container, which the next one voids, and
// never a container without an interval.
func (m *metered) hold(ctx context.Context, c kernel.Container, do func() error) error {
	e, holds, err := m.h.holdingOf(ctx, c)
	if err != nil || !holds {
		if err == nil {
			err = do()
		}
		return err
	}
	if e.Kind != HolderKernel { // kernels have waited in line
		if conf, err := m.h.Configuration(e.Configuration); err == nil {
			if err := m.h.mayTake(conf, ""); err != nil {
				return err
			}
		}
	}
	e.Why = cmp.Or(reason(ctx), m.whyHeld(e))
	g := m.h.ledger
	if err := g.begin(ctx, e, true); err != nil {
		return err
	}
	if err = m.h.step("ledger.begun"); err == nil {
		err = do()
	}
	if err == nil {
		err = m.h.step("ledger.made")
		g.made(c.Name)
		if err != nil { // as if it had not been made
			return fmt.Errorf("%w (removing it: %v)", err, m.Remove(context.WithoutCancel(ctx), c.Name))
		}
	} else {
		g.void(ctx, c.Name, "did not start")
	}
	m.h.tellUse(e.Project)
	return err
}

// Freeze implements kernel.Runtime. A container that is left keeps holding what
// it holds while it is dumped.
func (m *metered) Freeze(ctx context.Context, name string, f kernel.Freeze) error {
	m.sign(name)
	err := m.Runtime.Freeze(ctx, name, f)
	if err == nil && !f.Leave {
		m.ended(ctx, name, "ledger.frozen", "frozen")
	}
	return err
}

// Remove implements kernel.Runtime.
func (m *metered) Remove(ctx context.Context, name string) error {
	m.sign(name)
	err := m.Runtime.Remove(ctx, name)
	if err == nil {
		m.ended(ctx, name, "ledger.removed", "removed")
	}
	return err
}

// sign shows that a container was there just now: after a hub that dies before it
// has written the end, it is what the next one knows.
func (m *metered) sign(name string) {
	if _, held := m.h.ledger.of(name); held {
		m.h.ledger.leaveSign(false)
	}
}

func (m *metered) ended(ctx context.Context, name, step, why string) {
	e, held := m.h.ledger.of(name)
	if !held {
		return
	}
	m.sign(name) // it was there up to now
	if err := m.h.step(step); err != nil {
		m.h.Log.Warn("ledger", "step", step, "error", err)
	}
	m.h.ledger.end(ctx, name, m.h.ledger.clock(), cmp.Or(reason(ctx), m.whyEnded(e, why)), false)
	m.h.line.serve()
	m.h.tellUse(e.Project)
}

// whyHeld names the deed that takes a configuration.
func (m *metered) whyHeld(e Holding) string {
	switch e.Kind {
	case HolderNode:
		return "call"
	case HolderTerminal:
		return "terminal"
	}
	switch m.stateOf(e) {
	case kernel.Switching:
		return "move"
	case kernel.Resuming, kernel.Hibernated:
		return "wake"
	case kernel.Freezing:
		return "undone freeze"
	}
	return "start"
}

// whyEnded names the deed that lets go of one.
func (m *metered) whyEnded(e Holding, why string) string {
	if e.Kind != HolderKernel {
		return why
	}
	switch m.stateOf(e) {
	case kernel.Freezing:
		return "hibernate"
	case kernel.Switching:
		return "move"
	case kernel.Starting:
		return "restart"
	case kernel.Running:
		return "shutdown"
	}
	return why
}

func (m *metered) stateOf(e Holding) kernel.State {
	m.h.mu.Lock()
	l := m.h.live[kernel.ID(e.Holder)]
	m.h.mu.Unlock()
	if l == nil {
		return ""
	}
	return l.Record().State
}
