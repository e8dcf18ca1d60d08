package hub

import (
	"context"
	"time"

	"cellar/internal/fault"
)

// When a project's kernels are kept by themselves.
const (
	AutosaveCell = "cell" // after each cell, or group of cells, that has ended
	AutosaveIdle = "idle" // when a kernel rests that has run something
	AutosaveOff  = "off"
)

// Settings are what a project's owner decides; a nil field stays as it is.
type Settings struct {
	Name *string
	// Autosave is one of the constants; "" is the operator's.
	Autosave *string
	// Idle is how long a kernel does nothing before it hibernates; 0 is the
	// operator's, which is also the most.
	Idle *time.Duration
}

// minIdle is the shortest idle limit: a person who reads an output is not idle.
const minIdle = time.Minute

// ChangeProject changes a project's settings.
func (h *Hub) ChangeProject(ctx context.Context, p Project, s Settings) (Project, error) {
	if s.Name != nil {
		name, err := checkName(*s.Name)
		if err != nil {
			return p, err
		}
		p.Name = name
	}
	if s.Autosave != nil {
		switch *s.Autosave {
		case "", AutosaveCell, AutosaveIdle, AutosaveOff:
			p.Autosave = *s.Autosave
		default:
			return p, fault.New(fault.Invalid, "bad_autosave", "Automatic checkpoints are cell, idle or off, or empty for what the operator chose.")
		}
	}
	if s.Idle != nil {
		switch {
		case *s.Idle != 0 && *s.Idle < minIdle:
			return p, fault.Newf(fault.Invalid, "idle_too_short", "A kernel hibernates after a minute of rest at the earliest.")
		case h.IdleAfter > 0 && *s.Idle > h.IdleAfter:
			return p, fault.Newf(fault.Invalid, "idle_too_long", "The operator has kernels hibernate after %s at the latest.", h.IdleAfter)
		}
		p.Idle = *s.Idle
	}
	return p, h.Store.PutProject(ctx, p)
}

// autosaveAfter is how long a kernel of a project rests before it is kept; 0: it
// is not.
func (h *Hub) autosaveAfter(project string) time.Duration {
	p, err := h.Store.Project(h.ctx, project)
	switch {
	case err != nil || p.Autosave == AutosaveOff:
		return 0
	case p.Autosave == AutosaveCell:
		return cellAfter
	case p.Autosave == AutosaveIdle && h.AutosaveAfter == 0:
		return time.Minute
	}
	return h.AutosaveAfter
}

// cellAfter tells a group of cells from two: what is run sooner belongs to what
// was run before.
const cellAfter = 500 * time.Millisecond

// idleAfter is how long a kernel of a project does nothing before it hibernates;
// 0: it does not.
func (h *Hub) idleAfter(project string) time.Duration {
	if p, err := h.Store.Project(h.ctx, project); err == nil && p.Idle > 0 && (h.IdleAfter <= 0 || p.Idle < h.IdleAfter) {
		return p.Idle
	}
	return h.IdleAfter
}

// maxAwake is how long a kernel can be kept awake at most, from now on.
const maxAwake = 24 * time.Hour

// KeepAwake has a kernel not hibernate by itself before until; the zero time ends
// that.
func (l *Live) KeepAwake(ctx context.Context, until time.Time) error {
	if time.Until(until) > maxAwake+time.Minute {
		return fault.New(fault.Invalid, "awake_too_long", "A kernel can be kept awake for 24 hours at most.")
	}
	return l.change(ctx, func(k *Kernel) { k.AwakeUntil = until })
}
