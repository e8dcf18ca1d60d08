package hub

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"cellar/internal/fault"
	"cellar/kernel"
)

// By is what a report groups by.
type By string

// What reports can be grouped by.
const (
	ByKernel  By = "kernel"
	ByNode    By = "node"
	ByProject By = "project"
	ByUser    By = "user"
	ByDay     By = "day"
)

// Used is one line of a report.
type Used struct {
	Key          string // ID of a kernel, node, project or user; a day as 2006-01-02
	Name         string // for people: the notebook, the node's, the person's name; empty: there is none any more
	Project      string // of a kernel or node
	Milliseconds int64
	Units        Units
	Held         int // now
}

// maxLines bounds a report, maxSpan how far it reaches.
const (
	maxLines = 10_000
	maxSpan  = 400 * 24 * time.Hour
)

// CheckSpan refuses a span of time that no report can be about.
func CheckSpan(from, to time.Time) error {
	if !to.After(from) || to.Sub(from) > maxSpan {
		return fault.New(fault.Invalid, "bad_span", "A report is of up to 400 days, and ends after it begins.")
	}
	return nil
}

// Report sums up what was used. Days are those of UTC, the newest first; all
// else comes with the dearest first.
func (h *Hub) Report(ctx context.Context, q LedgerQuery, by By) ([]Used, error) {
	if err := CheckSpan(q.From, q.To); err != nil {
		return nil, err
	}
	lines := map[string]*Used{}
	tooMany := false
	add := func(key, project string, e Entry, from, to time.Time) {
		if key == "" {
			return
		}
		u := lines[key]
		if u == nil {
			if tooMany = len(lines) >= maxLines; tooMany {
				return
			}
			u = &Used{Key: key, Project: project}
			lines[key] = u
		}
		ms, units := e.within(from, to)
		u.Milliseconds, u.Units = u.Milliseconds+ms, u.Units+units
		if e.Open {
			u.Held++
		}
	}
	err := h.Entries(ctx, q, func(e Entry) error {
		switch by {
		case ByKernel:
			if e.Kind == HolderKernel {
				add(e.Holder, e.Project, e, q.From, q.To)
			}
		case ByNode:
			add(e.Node, e.Project, e, q.From, q.To)
		case ByProject:
			add(e.Project, "", e, q.From, q.To)
		case ByUser:
			add(e.Owner, "", e, q.From, q.To)
		case ByDay:
			eachDay(laterOf(e.Began, q.From), earlierOf(e.Ended, q.To), func(from, to time.Time) { add(WindowDay.start(from).Format(time.DateOnly), "", e, from, to) })
		}
		return nil
	})
	if err == nil && tooMany {
		err = fault.Newf(fault.Exhausted, "too_many_lines", "The report has more than %d lines. Ask for a shorter time.", maxLines)
	}
	if err != nil {
		return nil, err
	}
	var out []Used
	for _, u := range lines {
		out = append(out, *u)
	}
	h.name(ctx, out, by)
	slices.SortFunc(out, func(a, b Used) int {
		if by == ByDay {
			return strings.Compare(b.Key, a.Key)
		}
		return cmp.Or(cmp.Compare(b.Units, a.Units), strings.Compare(a.Key, b.Key))
	})
	return out, nil
}

func laterOf(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

func earlierOf(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// eachDay cuts a span at the midnights of UTC.
func eachDay(from, to time.Time, fn func(from, to time.Time)) {
	for from.Before(to) {
		end := earlierOf(WindowDay.next(from), to)
		fn(from, end)
		from = end
	}
}

// name fills in what people call things, of those that are still there.
func (h *Hub) name(ctx context.Context, list []Used, by By) {
	for i := range list {
		u := &list[i]
		switch by {
		case ByKernel:
			if _, err := h.Live(u.Project, kernel.ID(u.Key)); err == nil {
				u.Name = h.notebookOf(u.Project, kernel.ID(u.Key))
			}
		case ByNode:
			if n, err := h.Store.Node(ctx, u.Key); err == nil {
				u.Name = n.Name
			}
		case ByProject:
			if p, err := h.Store.Project(ctx, u.Key); err == nil {
				u.Name = p.Name
			}
		case ByUser:
			if p, err := h.Store.UserByID(ctx, u.Key); err == nil {
				u.Name = p.Name
			}
		}
	}
}

// SinceMade is a span for a report of a project: what an earlier one by its ID
// has used is not its own.
func (p Project) SinceMade(from time.Time) time.Time { return laterOf(from, p.CreatedAt) }

// CheckLedger counts the intervals of the ledger and says what is wrong with it:
// intervals that contradict one another, and what is held by nothing that runs,
// or runs and is not held.
func (h *Hub) CheckLedger(ctx context.Context) (intervals int, wrong []string, err error) {
	if intervals, wrong, err = h.Store.CheckLedger(ctx); err != nil {
		return intervals, wrong, err
	}
	before := h.ledger.clock()
	list, err := h.Runtime.List(ctx)
	if err != nil {
		return intervals, wrong, err
	}
	runs := map[string]bool{}
	for _, s := range list {
		if runs[s.Name] = s.Running; !s.Running || s.Labels[labelConfiguration] == "" {
			continue
		}
		if _, held := h.ledger.of(s.Name); !held {
			wrong = append(wrong, "container "+s.Name+" runs and is in no open interval")
		}
	}
	g := h.ledger
	g.mu.Lock()
	defer g.mu.Unlock()
	for name, e := range g.open {
		if !runs[name] && !g.making[name] && e.Tick < before.Tick {
			wrong = append(wrong, fmt.Sprintf("interval %d of %s is open, and nothing runs in it", e.ID, e.Holder))
		}
	}
	return intervals, wrong, nil
}

// checkLedger looks whether the ledger contradicts itself, once, at the start.
func (h *Hub) checkLedger(ctx context.Context) {
	n, wrong, err := h.Store.CheckLedger(ctx)
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		h.Log.Error("ledger not checked", "error", err)
	}
	for _, w := range wrong {
		h.Log.Error("ledger: "+w, "intervals", n)
	}
}
