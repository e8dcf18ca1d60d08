package hub

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"time"

	"cellar/internal/fault"
	"cellar/kernel"
)

// Limits are how many units may be used: in one run of one cell, and in an hour,
// a day and a month of the calendar in UTC. 0 is no limit.
type Limits struct{ Run, Hour, Day, Month Units }

// of is the limit for a window.
func (l Limits) of(w Window) Units {
	switch w {
	case WindowRun:
		return l.Run
	case WindowHour:
		return l.Hour
	case WindowDay:
		return l.Day
	}
	return l.Month
}

// LimitStore keeps limits.
type LimitStore interface {
	Limits(ctx context.Context) (map[Scope]Limits, error)
	// PutLimits answers fault.NotFound when there is no such project or person.
	PutLimits(ctx context.Context, of Scope, l Limits) error
}

// UnitsCode is that of errors for who has no units left.
const UnitsCode = "units_limit"

// warnAt is the part of a limit, in percent, at which people are warned.
const warnAt = 80

// MaxLimit bounds a limit.
const MaxLimit = 1e9 * Unit

// allowances are the limits that there are, and what was told of them.
type allowances struct {
	mu       sync.Mutex
	limits   map[Scope]Limits
	told     map[string]time.Time // what was told, and until when it holds
	stopping map[string]bool      // what is being stopped
}

func (h *Hub) openLimits(ctx context.Context) (err error) {
	h.allowances.told, h.allowances.stopping = map[string]time.Time{}, map[string]bool{}
	h.allowances.limits, err = h.Store.Limits(ctx)
	return err
}

func (a *allowances) of(s Scope) Limits {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.limits[s]
}

func (a *allowances) all() map[Scope]Limits {
	a.mu.Lock()
	defer a.mu.Unlock()
	return maps.Clone(a.limits)
}

// SetLimits changes the limits of a project or a person.
func (h *Hub) SetLimits(ctx context.Context, of Scope, l Limits) error {
	for _, w := range append([]Window{WindowRun}, calendar...) {
		if n := l.of(w); n < 0 || n > MaxLimit {
			return fault.Newf(fault.Invalid, "bad_limit", "A limit is between 0, which is none, and %s units.", Units(MaxLimit))
		}
	}
	if err := h.Store.PutLimits(ctx, of, l); err != nil {
		return err
	}
	h.allowances.mu.Lock()
	defer h.allowances.mu.Unlock()
	h.allowances.limits[of] = l
	for what := range h.allowances.told { // what was said of others may not be true of these
		if scopePart(what) == of.String() {
			delete(h.allowances.told, what)
		}
	}
	return nil
}

// String names a scope among others.
func (s Scope) String() string { return s.Kind + " " + s.ID }

// Allowance is how a scope stands with one of its limits.
type Allowance struct {
	Scope  Scope
	Window Window
	Limit  Units
	Used   Units
	Start  time.Time // of the window
	Until  time.Time // when the next one begins
}

// full reports whether nothing is left.
func (a Allowance) full() bool { return a.Used >= a.Limit }

func (a Allowance) near() bool { return a.Used >= a.Limit/100*warnAt+a.Limit%100*warnAt/100 }

// Allowances are how a scope stands with its limits of the calendar.
func (h *Hub) Allowances(of Scope) (out []Allowance) {
	limits := h.allowances.of(of)
	if limits == (Limits{}) {
		return nil
	}
	now := h.ledger.clock().Wall
	used, _ := h.ledger.used(of)
	for _, w := range calendar {
		if n := limits.of(w); n > 0 {
			out = append(out, Allowance{of, w, n, used[w], w.start(now), w.next(now)})
		}
	}
	return out
}

// LimitsOf and UsedBy show a scope's limits, and what it has used in each window
// of the calendar.
func (h *Hub) LimitsOf(of Scope) Limits { return h.allowances.of(of) }

// UsedBy is what a scope has used in the present hour, day and month.
func (h *Hub) UsedBy(of Scope) map[Window]Units {
	used, _ := h.ledger.used(of)
	return used
}

// mayUse refuses compute to a project that has no units left, or whose owner has
// none. Of several limits the one is named that holds longest.
func (h *Hub) mayUse(p Project) error {
	if h.ledger == nil {
		return nil
	}
	var worst *Allowance
	for _, of := range []Scope{{ScopeProject, p.ID}, {ScopeUser, p.Owner}} {
		for _, a := range h.Allowances(of) {
			if a.full() && (worst == nil || a.Until.After(worst.Until)) {
				worst = &a
			}
		}
	}
	if worst == nil {
		return nil
	}
	return fault.New(fault.Exhausted, UnitsCode, worst.spentSentence())
}

// mayUseOf is mayUse for a project by its ID.
func (h *Hub) mayUseOf(ctx context.Context, project string) error {
	p, err := h.Store.Project(ctx, project)
	if err != nil {
		return err
	}
	return h.mayUse(p)
}

func (a Allowance) whose() string {
	if a.Scope.Kind == ScopeUser {
		return "The projects of this owner have"
	}
	return "This project has"
}

// spentSentence says which limit is reached and when it is free again.
func (a Allowance) spentSentence() string {
	return fmt.Sprintf("%s used all of the %s units for %s. More can be used from %s UTC on, or when the limit is raised.", a.whose(), a.Limit, a.Window.now(), a.Until.UTC().Format("2006-01-02 15:04"))
}

func (a Allowance) nearSentence() string {
	return fmt.Sprintf("%s used %s of the %s units for %s. At the limit kernels hibernate; nothing in them is lost.", a.whose(), a.Used.rough(), a.Limit, a.Window.now())
}

// LimitNews tells that a limit is near or reached.
type LimitNews struct {
	Level  string     `json:"level"` // near or reached
	Scope  string     `json:"scope"` // project or user
	Window Window     `json:"window"`
	Limit  float64    `json:"limit"`
	Used   float64    `json:"used"`
	Until  *time.Time `json:"until,omitempty"` // when it is free again; none for a run
	Kernel kernel.ID  `json:"kernel,omitempty"`
	Cell   string     `json:"cell,omitempty"`
	Detail string     `json:"detail"` // for a person
}

// News are the limits of a project and its owner that are near or reached.
func (h *Hub) News(p Project) []LimitNews {
	out := []LimitNews{}
	for _, of := range []Scope{{ScopeProject, p.ID}, {ScopeUser, p.Owner}} {
		for _, a := range h.Allowances(of) {
			switch {
			case a.full():
				out = append(out, a.news(levelReached))
			case a.near():
				out = append(out, a.news(levelNear))
			}
		}
	}
	return out
}

// Levels of news.
const (
	levelNear    = "near"
	levelReached = "reached"
)

func (a Allowance) news(level string) LimitNews {
	until := a.Until
	n := LimitNews{Level: level, Scope: a.Scope.Kind, Window: a.Window, Limit: a.Limit.Number(), Used: a.Used.Number(), Until: &until, Detail: a.nearSentence()}
	if level == levelReached {
		n.Detail = a.spentSentence()
	}
	return n
}
