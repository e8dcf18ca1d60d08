package hub

import (
	"time"

	"cellar/kernel"
)

// Scope is a project or a person.
type Scope struct {
	Kind string
	ID   string
}

// Kinds of scopes.
const (
	ScopeProject = "project"
	ScopeUser    = "user"
)

// spent is what a scope has used in intervals that have ended, in the present
// hour, day and month.
type spent struct {
	start map[Window]time.Time
	units map[Window]Units
}

// turn forgets windows that are over. A clock that is set back makes none begin
// again.
func (s *spent) turn(now time.Time) {
	for _, w := range calendar {
		if start := w.start(now); start.After(s.start[w]) {
			s.start[w], s.units[w] = start, 0
		}
	}
}

// count adds an interval that has ended to the sums; the lock is held.
func (g *ledger) count(e Entry) {
	g.kernels[e.Holder] += e.Units
	now := g.clock().Wall
	g.countSpent(e, Scope{ScopeProject, e.Project}, now)
	g.countSpent(e, Scope{ScopeUser, e.Owner}, now)
}

func (g *ledger) countSpent(e Entry, of Scope, now time.Time) {
	s := g.spentOf(of, now)
	for _, w := range calendar {
		_, u := e.within(s.start[w], e.Ended)
		s.units[w] += u
	}
}

// forgetUnits drops what was counted and decided for a project that is deleted:
// the next one by its ID begins with nothing. The ledger keeps it.
func (h *Hub) forgetUnits(project string) {
	of := Scope{ScopeProject, project}
	h.ledger.mu.Lock()
	delete(h.ledger.spent, of)
	h.ledger.mu.Unlock()
	h.allowances.mu.Lock()
	defer h.allowances.mu.Unlock()
	delete(h.allowances.limits, of)
}

// spentOf are the sums of a scope as of now; the lock is held.
func (g *ledger) spentOf(of Scope, now time.Time) *spent {
	s := g.spent[of]
	if s == nil {
		s = &spent{map[Window]time.Time{}, map[Window]Units{}}
		g.spent[of] = s
	}
	s.turn(now)
	return s
}

// used is what a scope has used in each window of the calendar up to now, and
// what it uses in a second.
func (g *ledger) used(of Scope) (out map[Window]Units, perSecond Units) {
	now := g.clock()
	g.mu.Lock()
	defer g.mu.Unlock()
	s := g.spentOf(of, now.Wall)
	out = map[Window]Units{}
	for _, w := range calendar {
		out[w] = s.units[w]
	}
	for _, e := range g.open {
		if (of.Kind == ScopeProject && e.Project != of.ID) || (of.Kind == ScopeUser && e.Owner != of.ID) {
			continue
		}
		perSecond += cost(e.Price, 1000)
		one := e.until(now, "", false)
		for _, w := range calendar {
			_, u := one.within(s.start[w], one.Ended)
			out[w] += u
		}
	}
	return out, perSecond
}

// ofKernel is what a kernel has used in its life, and what it uses in a second.
func (g *ledger) ofKernel(id kernel.ID) (total, perSecond Units) {
	now := g.clock()
	g.mu.Lock()
	defer g.mu.Unlock()
	total = g.kernels[string(id)]
	for _, e := range g.open {
		if e.Holder == string(id) {
			perSecond = cost(e.Price, 1000)
			total += e.until(now, "", false).Units
		}
	}
	return total, perSecond
}

// UseView is what a kernel and its project cost. Between two of them a client
// counts on by the seconds.
type UseView struct {
	Units            float64   `json:"units" doc:"that this kernel has used in its life"`
	PerSecond        float64   `json:"per_second" doc:"that it uses now"`
	ProjectToday     float64   `json:"project_today" doc:"that all of the project has used today, in UTC"`
	ProjectPerSecond float64   `json:"project_per_second"`
	At               time.Time `json:"at" doc:"the moment these are of"`
}

func (h *Hub) useOf(id kernel.ID, project string) *UseView {
	if h.ledger == nil { // tests of a single kernel have none
		return nil
	}
	total, rate := h.ledger.ofKernel(id)
	used, all := h.ledger.used(Scope{ScopeProject, project})
	return &UseView{total.Number(), rate.Number(), used[WindowDay].Number(), all.Number(), time.Now().UTC()}
}

// tellNewDay tells followers that what is used today begins anew.
func (h *Hub) tellNewDay(last time.Time) time.Time {
	today := WindowDay.start(h.ledger.clock().Wall)
	if !last.IsZero() && today.After(last) {
		for _, l := range h.LiveOf("") {
			l.tell()
		}
	}
	return today
}

// tellUse tells followers of a project that what it uses in a second is another
// now.
func (h *Hub) tellUse(project string) {
	for _, l := range h.LiveOf(project) {
		if l.Record().Container != "" {
			l.tell()
		}
	}
}
