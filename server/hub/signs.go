package hub

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"time"

	"cellar/kernel"
)

// signFile holds the last moment at which a hub was there and looked.
const signFile = "ledger.sign"

// leaveSign notes that the hub is there now, and with it all that it holds open.
// A hub that is killed has left one within the second; sync brings it to the
// disk, for a machine that loses its power.
func (g *ledger) leaveSign(sync bool) {
	b, err := json.Marshal(g.clock())
	if err == nil {
		err = g.putSign(b, sync)
	}
	if err != nil {
		g.h.Log.Warn("ledger: no sign of life written", "error", err)
	}
}

func (g *ledger) putSign(b []byte, sync bool) error {
	g.signs.Lock()
	defer g.signs.Unlock()
	f, err := os.OpenFile(filepath.Join(g.h.Data, signFile), os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	// In place and in one piece of a sector: nothing is ever half there.
	if _, err := f.WriteAt(b, 0); err != nil {
		return err
	}
	if err := f.Truncate(int64(len(b))); err != nil || !sync {
		return err
	}
	return f.Sync()
}

func (g *ledger) readSign() (m Moment) {
	b, err := os.ReadFile(filepath.Join(g.h.Data, signFile))
	if err != nil || json.Unmarshal(b, &m) != nil {
		return Moment{}
	}
	return m
}

// openLedger takes up what a hub before left open: what still runs is still
// held, all else ended when it can be shown to have been there last. It comes
// before anything is removed.
func (h *Hub) openLedger(ctx context.Context, list []kernel.Status, records []Kernel) error {
	g := h.ledger
	g.before = g.readSign()
	open, err := h.Store.OpenHoldings(ctx)
	if err != nil {
		return err
	}
	if g.kernels, err = h.Store.HolderUnits(ctx); err != nil {
		return err
	}
	now := g.clock()
	err = h.Store.Released(ctx, LedgerQuery{From: WindowMonth.start(now.Wall), To: now.Wall.AddDate(1, 0, 0)}, func(e Entry) error {
		of := Scope{ScopeProject, e.Project}
		if p, err := h.Store.Project(ctx, e.Project); err == nil && !e.Began.Before(p.CreatedAt.Truncate(time.Millisecond)) {
			g.countSpent(e, of, now.Wall)
		}
		g.countSpent(e, Scope{ScopeUser, e.Owner}, now.Wall)
		return nil
	})
	if err != nil {
		return err
	}
	status, of := map[string]kernel.Status{}, map[string]Kernel{}
	for _, s := range list {
		status[s.Name] = s
	}
	for _, r := range records {
		of[string(r.ID)] = r
	}
	for _, e := range open {
		if s := status[e.Container]; s.Running && e.Boot == now.Boot {
			g.open[e.Container] = e
			continue
		}
		ended := e.until(h.lastProof(e, status[e.Container], of[e.Holder], now), "ended while no hub was there", true)
		g.count(ended)
		if err := h.Store.AddRelease(ctx, ended.Release); err != nil {
			return err
		}
	}
	g.leaveSign(true)
	return nil
}

// lastProof is the last moment at which what held e is known to have been there:
// nobody pays for what cannot be shown. Of a container that has ended its runtime
// knows when, and a dump that is whole says when the container was frozen. Else
// it is the last of what a hub saw and of what the kernel's keeper wrote.
func (h *Hub) lastProof(e Holding, s kernel.Status, rec Kernel, now Moment) Moment {
	in := func(t time.Time) Moment {
		if e.Boot == now.Boot {
			return now.at(t)
		}
		return Moment{Boot: e.Boot, Tick: e.Tick + t.Sub(e.Began).Milliseconds()}
	}
	last := Moment{Boot: e.Boot, Tick: e.Tick}
	later := func(m Moment) {
		if m.Boot == e.Boot && m.Tick > last.Tick && (m.Boot != now.Boot || m.Tick <= now.Tick) {
			last = m
		}
	}
	if !s.Ended.IsZero() {
		later(in(s.Ended))
		return last
	}
	if frozen, ok := h.frozenAt(e, rec); ok {
		later(in(frozen))
		later(h.ledger.before)
		return last
	}
	later(h.ledger.before)
	if e.Kind == HolderKernel && rec.ID != "" && rec.Container == e.Container {
		later(in(newestIn(filepath.Join(h.Data, "kernels", string(rec.ID), rec.Journal))))
	}
	return last
}

// frozenAt is when the container of e was dumped, if that is what has become of
// it: CRIU writes the inventory last.
func (h *Hub) frozenAt(e Holding, rec Kernel) (time.Time, bool) {
	if rec.Container != e.Container || rec.Checkpoint == "" || !h.dumped(rec.Checkpoint) {
		return time.Time{}, false
	}
	st, err := os.Stat(filepath.Join(h.dumpDir(rec.Checkpoint), "inventory.img"))
	if err != nil || st.ModTime().Before(e.Began) {
		return time.Time{}, false
	}
	return st.ModTime(), true
}

// newestIn is when a file in a folder was changed last; the zero time for none.
func newestIn(dir string) (newest time.Time) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return newest
	}
	for _, e := range entries {
		if st, err := e.Info(); err == nil && st.ModTime().After(newest) {
			newest = st.ModTime()
		}
	}
	return newest
}

// diedAt ends what a kernel's container held at the moment its keeper says that
// the kernel ended, which may have been while no hub was there. It is not
// believed to be before a moment at which the hub saw the container.
func (h *Hub) diedAt(l *Live, container string) {
	l.mu.Lock()
	at, seen := l.exitAt, l.usageAt
	l.mu.Unlock()
	e, held := h.ledger.of(container)
	if at.IsZero() || !held {
		return
	}
	now := h.ledger.clock()
	m := now.at(at)
	for _, least := range []Moment{h.ledger.before, now.at(seen)} {
		if least.Boot == e.Boot && m.Tick < least.Tick && !(least.Wall.IsZero()) {
			m = least
		}
	}
	m.Tick = min(m.Tick, now.Tick)
	h.ledger.end(h.ctx, container, m, "died", false)
	h.tellUse(e.Project)
}

// audit ends what is held by containers that are gone without anybody having
// been told: the shells of a terminal, which nobody looks at.
func (h *Hub) audit(ctx context.Context) {
	g := h.ledger
	asked := g.clock()
	list, err := h.Runtime.List(ctx)
	if err != nil {
		return
	}
	status := map[string]kernel.Status{}
	for _, s := range list {
		status[s.Name] = s
	}
	g.mu.Lock()
	var gone []Holding
	for name, e := range g.open {
		if s := status[name]; !s.Running && !g.making[name] && e.Boot == asked.Boot && e.Tick < asked.Tick {
			gone = append(gone, e)
		}
	}
	g.mu.Unlock()
	for _, e := range gone {
		m := asked
		if s := status[e.Container]; !s.Ended.IsZero() {
			m = asked.at(s.Ended)
		}
		g.end(ctx, e.Container, m, "ended", false)
		h.tellUse(e.Project)
	}
}

// holdsNow has the ledger say what a kernel that was taken up holds: one that is
// older than the ledger, or whose switch was cut off.
func (h *Hub) holdsNow(ctx context.Context, l *Live, container string) {
	rec := l.Record()
	conf, err := h.Configuration(rec.Configuration)
	if err == nil {
		if _, held := h.ledger.of(container); held {
			err = h.ledger.exchange(ctx, container, conf, "found")
		} else {
			err = h.found(ctx, kernel.Container{Name: container, Labels: map[string]string{
				"cellar.kind": HolderKernel, "cellar.kernel": string(rec.ID), "cellar.project": rec.Project, labelConfiguration: conf.Name}})
		}
	}
	if err != nil {
		h.Log.Error("ledger: what a kernel holds is not written", "kernel", rec.ID, "error", err)
	}
}

// found begins to count a container that the ledger knows nothing of.
func (h *Hub) found(ctx context.Context, c kernel.Container) error {
	e, holds, err := h.holdingOf(ctx, c)
	if err != nil || !holds {
		return err
	}
	e.Why = "found"
	return h.ledger.begin(ctx, e, false)
}
