package hub

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"cellar/internal/fault"
	"cellar/kernel"
)

// keepLimits looks once a second whether somebody comes near to a limit or has
// reached it: first it is said, then what must stop is stopped. Kernels
// hibernate, with all that is in them; a cell that is over the limit for a run is
// interrupted; terminals end, and instances of nodes once their calls are
// through.
func (h *Hub) keepLimits() {
	limits := h.allowances.all()
	if len(limits) == 0 {
		return
	}
	now := h.ledger.clock().Wall
	h.allowances.turn(now)
	for _, p := range h.holders() {
		run := Allowance{}
		for _, of := range []Scope{{ScopeProject, p.ID}, {ScopeUser, p.Owner}} {
			if n := limits[of].Run; n > 0 && (run.Limit == 0 || n < run.Limit) {
				run = Allowance{Scope: of, Window: WindowRun, Limit: n}
			}
			for _, a := range h.Allowances(of) {
				h.keepLimit(p, a)
			}
		}
		if run.Limit > 0 {
			h.keepRunLimit(p, run, now)
		}
	}
	h.wakeBlocked()
}

// holders are the projects that hold something now.
func (h *Hub) holders() (out []Project) {
	seen := map[string]bool{}
	for _, e := range h.ledger.held() {
		if seen[e.Project] || !e.Open {
			continue
		}
		seen[e.Project] = true
		if p, err := h.Store.Project(h.ctx, e.Project); err == nil {
			out = append(out, p)
		}
	}
	return out
}

func (h *Hub) keepLimit(p Project, a Allowance) {
	key := fmt.Sprintf("%s/%s/%d/%s", a.Scope, a.Window, a.Start.Unix(), p.ID)
	switch {
	case a.full():
		if h.allowances.tellOnce(key+"/"+levelReached, a.Until) {
			h.tellLimit(p, a.news(levelReached), key+levelReached)
		}
		h.stopAll(p, a)
	case a.near() && h.allowances.tellOnce(key+"/"+levelNear, a.Until):
		h.tellLimit(p, a.news(levelNear), key+levelNear)
	}
}

// tellOnce reports whether something is still to be told.
func (a *allowances) tellOnce(what string, until time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, told := a.told[what]; told {
		return false
	}
	a.told[what] = until
	return true
}

func scopePart(what string) string {
	of, _, _ := strings.Cut(what, "/")
	return of
}

// turn forgets what was told of windows that are over.
func (a *allowances) turn(now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for what, until := range a.told {
		if !until.After(now) {
			delete(a.told, what)
		}
	}
}

// once runs do unless it is under way for what; a second after it has ended it
// may begin again.
func (h *Hub) once(what string, do func()) {
	h.allowances.mu.Lock()
	busy := h.allowances.stopping[what]
	h.allowances.stopping[what] = true
	h.allowances.mu.Unlock()
	if busy {
		return
	}
	h.wg.Go(func() {
		defer func() {
			h.allowances.mu.Lock()
			defer h.allowances.mu.Unlock()
			delete(h.allowances.stopping, what)
		}()
		do()
	})
}

// stopAll lets go of all that a project holds.
func (h *Hub) stopAll(p Project, a Allowance) {
	for _, l := range h.LiveOf(p.ID) {
		if l.Record().State == kernel.Running {
			h.putToSleep(l, a.spentSentence())
		}
	}
	h.once("terminals "+p.ID, func() {
		if err := h.endShells(h.ctx, p); err != nil && h.ctx.Err() == nil {
			h.Log.Error("terminals of a project without units not ended", "project", p.ID, "error", err)
		}
	})
	list, err := h.Store.Nodes(h.ctx, p.ID)
	if err != nil {
		h.Log.Error("nodes of a project without units not listed", "project", p.ID, "error", err)
	}
	for _, n := range list {
		if h.nodes.stats(n.ID, 0).Instances > 0 {
			h.once("node "+n.ID, func() { h.nodes.drain(h.ctx, n.ID, 0) })
		}
	}
}

// putToSleep hibernates a kernel and says why. One that cannot be frozen now is
// tried again: it is never ended.
func (h *Hub) putToSleep(l *Live, why string) {
	h.once("kernel "+string(l.ID()), func() {
		o := h.Operations.Begin(context.WithValue(h.ctx, sleepKey{}, why), l.Project(), "hibernate without units "+string(l.ID()), func(ctx context.Context, o *Operation) (any, error) {
			return h.Hibernate(ctx, l, o)
		})
		s, err := o.Wait(h.ctx)
		if err != nil {
			return
		}
		if s.Error != nil {
			l.change(h.ctx, func(k *Kernel) { k.Detail = "It could not be put to sleep: " + s.Error.Detail + " " + why })
			select {
			case <-h.ctx.Done():
			case <-time.After(sleepAgain):
			}
		}
	})
}

type sleepKey struct{}

// sleepDetail is what is said of a kernel that hibernates, where it was not asked to.
func sleepDetail(ctx context.Context) string {
	why, _ := ctx.Value(sleepKey{}).(string)
	return why
}

// sleepAgain is how long is waited before a kernel that could not be frozen is
// tried again.
const sleepAgain = 10 * time.Second

// wakeBlocked wakes kernels for which something waits that could not run for
// want of units.
func (h *Hub) wakeBlocked() {
	for _, l := range h.LiveOf("") {
		l.mu.Lock()
		due := l.blocked && l.rec.State == kernel.Hibernated && len(l.out) > 0 && !l.waking
		l.mu.Unlock()
		if !due || h.mayUseOf(h.ctx, l.Project()) != nil {
			continue
		}
		l.mu.Lock()
		l.blocked, l.waking = false, true
		l.mu.Unlock()
		h.wake(l)
	}
}

// runMeter counts what one run uses.
type runMeter struct {
	msgID   string
	before  Units     // what the kernel had used in its life when it began
	stopped time.Time // when it was interrupted
}

// interruptTime is how long an interrupted cell has to end before its kernel
// hibernates.
const interruptTime = 10 * time.Second

// keepRunLimit stops cells that have used more than a run may.
func (h *Hub) keepRunLimit(p Project, a Allowance, now time.Time) {
	for _, l := range h.LiveOf(p.ID) {
		if l.Record().State != kernel.Running {
			continue
		}
		cell, used, stopped, err := h.usedByRun(l)
		if err != nil || cell == "" {
			continue
		}
		a.Used = used
		l.mu.Lock()
		id := l.runMeter.msgID
		l.mu.Unlock()
		key := a.Scope.String() + "/run/" + id
		n := LimitNews{Scope: a.Scope.Kind, Window: WindowRun, Limit: a.Limit.Number(), Used: used.Number(), Kernel: l.ID(), Cell: cell}
		switch {
		case a.full() && stopped.IsZero():
			n.Level, n.Detail = levelReached, fmt.Sprintf("A cell has used the %s units that one run may use, so it is interrupted. The variables are kept.", a.Limit)
			l.mu.Lock()
			l.runMeter.stopped = now
			l.mu.Unlock()
			h.tellLimit(p, n, key+levelReached)
			if err := l.Interrupt(h.ctx); err != nil {
				h.Log.Warn("a run over its limit not interrupted", "kernel", l.ID(), "error", err)
			}
		case a.full() && now.Sub(stopped) > interruptTime:
			h.putToSleep(l, fmt.Sprintf("A cell has used the %s units that one run may use, and did not end when it was interrupted.", a.Limit))
		case a.near() && h.allowances.tellOnce(key+"/"+levelNear, now.AddDate(0, 0, 1)):
			n.Level, n.Detail = levelNear, fmt.Sprintf("A cell has used %s of the %s units that one run may use. At the limit it is interrupted.", used.rough(), a.Limit)
			h.tellLimit(p, n, key+levelNear)
		}
	}
}

// usedByRun is what the run that goes on in l has used; an empty cell when none
// does.
func (h *Hub) usedByRun(l *Live) (cell string, used Units, stopped time.Time, err error) {
	l.mu.Lock()
	var began time.Time
	id := ""
	for _, r := range l.book.order {
		if r.State == RunRunning && !r.old {
			cell, id, began = cut(r.CellID), r.MsgID, r.StartedAt
			break
		}
	}
	m := l.runMeter
	l.mu.Unlock()
	if id == "" {
		return "", 0, stopped, nil
	}
	if m.msgID != id { // seen for the first time: what it has used so far is in the ledger
		total, _ := h.ledger.ofKernel(l.ID())
		var since Units
		q := LedgerQuery{From: began, To: time.Now().AddDate(1, 0, 0), Holder: string(l.ID())}
		if err := h.Entries(h.ctx, q, func(e Entry) error {
			_, u := e.within(began, e.Ended)
			since += u
			return nil
		}); err != nil {
			return "", 0, stopped, err
		}
		m = runMeter{msgID: id, before: total - since}
		l.mu.Lock()
		l.runMeter = m
		l.mu.Unlock()
	}
	total, _ := h.ledger.ofKernel(l.ID())
	return cell, total - m.before, m.stopped, nil
}

// tellLimit tells the followers of a project, and its webhook; key is the same
// for the same news, so that no restart of the hub repeats it there.
func (h *Hub) tellLimit(p Project, n LimitNews, key string) {
	h.Log.Info("limit", "project", p.ID, "scope", n.Scope, "window", n.Window, "level", n.Level, "used", n.Used, "limit", n.Limit)
	h.Tell(Event{Project: p.ID, Type: "limit", Data: n})
	if _, ok := h.webhooks.get(p.ID); !ok {
		return
	}
	h.wg.Go(func() {
		if err := h.recordLimit(p, n, key); err != nil && !errors.Is(err, fault.Conflict) {
			h.Log.Error("webhook: a limit is not told", "project", p.ID, "error", err)
		}
	})
}

func (h *Hub) recordLimit(p Project, n LimitNews, key string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(h.ctx), postLimit)
	defer cancel()
	sum := sha256.Sum256([]byte(fmt.Sprint(p.ID, "\x00", key, "\x00", n.Limit)))
	id := "limit_" + hex.EncodeToString(sum[:16])
	now := time.Now().UTC()
	body, err := json.Marshal(hookMessage{Type: "limit." + n.Level, ID: id, Time: now, Project: named{p.ID, p.Name}, Limit: &n})
	if err != nil {
		return err
	}
	if err := h.Store.AddDelivery(ctx, Delivery{ID: id, Project: p.ID, State: DeliveryPending, CreatedAt: now, Due: now, Body: body}, maxPending); err != nil {
		return err
	}
	h.webhooks.signal()
	return nil
}
