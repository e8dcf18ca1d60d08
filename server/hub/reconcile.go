package hub

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"cellar/internal/fault"
	"cellar/kernel"
)

// reconcile assumes we were just restarted, perhaps after kill -9, perhaps after
// a reboot: it looks at what runs, compares it with the records and repairs.
func (h *Hub) reconcile(ctx context.Context) error {
	records, err := h.Store.Kernels(ctx)
	if err != nil {
		return err
	}
	list, err := h.containers(ctx)
	if err != nil {
		return err
	}
	running := map[string]kernel.Status{}
	for _, s := range list {
		running[s.Name] = s
	}
	if err := h.openLedger(ctx, list, records); err != nil {
		return fmt.Errorf("ledger: %w", err)
	}
	draining, err := h.Runtime.Draining()
	if err != nil {
		return err
	}
	h.sweepMoves(records, draining)
	if err := h.sweepVault(ctx, records, draining); err != nil { // before any kernel is taken up: that makes new checkpoints
		return err
	}
	wanted := map[string]bool{}
	for _, rec := range records {
		l := h.newLive(rec)
		l.recalls(infoFile, &l.info)
		l.readRecall()
		h.live[rec.ID] = l
		release, err := l.take(ctx) // here, not in the goroutine: nobody may come before
		if err != nil {
			return err
		}
		name := h.incarnation(rec, running)
		if name != "" {
			wanted[name] = true
		}
		h.wg.Go(func() {
			h.takeUp(l, name, draining[name])
			if dump, ok := draining[name]; ok && l.Record().Container == name {
				h.wg.Go(func() { h.drain(l, name, dump) })
			}
			release()
			h.endAsked(l)
		})
	}
	// What no record wants: incarnations of before, instances of nodes.
	for _, s := range list {
		if s.Labels["cellar.kind"] == "" || wanted[s.Name] || (s.Labels["cellar.kind"] == "terminal" && s.Running) {
			continue
		}
		if err := h.Runtime.Remove(ctx, s.Name); err != nil {
			h.Log.Error("leftover container not removed", "container", s.Name, "error", err)
		}
	}
	h.sweepInstances()
	return h.settleNodes(ctx)
}

// incarnation names the container that is the kernel now: the one on record,
// or, after a hub that died between making one and recording it, the newest.
func (h *Hub) incarnation(rec Kernel, running map[string]kernel.Status) string {
	if s, ok := running[rec.Container]; ok && s.Running {
		return rec.Container
	}
	best := ""
	for name, s := range running {
		if unstarted(rec) && incarnationOf(rec, name) <= rec.Incarnation {
			continue // of the life before
		}
		if s.Labels["cellar.kernel"] == string(rec.ID) && s.Running && (len(name) > len(best) || (len(name) == len(best) && name > best)) {
			best = name
		}
	}
	return best
}

// unstarted reports whether a kernel was to get a fresh container and the record
// knows none.
func unstarted(rec Kernel) bool {
	return rec.State == kernel.Starting && rec.Container == "" && rec.Checkpoint == ""
}

func containerName(id kernel.ID, incarnation int) string {
	return fmt.Sprintf("%s-%d", id, incarnation)
}

// incarnationOf is the number in a container's name, 0 for none.
func incarnationOf(rec Kernel, name string) int {
	n, err := strconv.Atoi(strings.TrimPrefix(name, string(rec.ID)+"-"))
	if err != nil {
		return 0
	}
	return n
}

// takeUp brings one kernel's record in line with what was found: a container,
// and perhaps the dump its memory still comes from. The deed is held.
func (h *Hub) takeUp(l *Live, name, dump string) {
	ctx := h.ctx
	if err := h.settleApply(ctx, l); err != nil {
		h.Log.Error("files are in the middle of an apply that was cut off; the next start tries again", "kernel", l.ID(), "error", err)
	}
	rec := l.Record()
	if name != "" && !h.stuck(name) && h.adopt(ctx, l, name) {
		return
	}
	if rec.Container != "" { // it ran, or was about to sleep: what it said last has not been heard
		l.hearLeft()
	}
	if dump != "" {
		l.mu.Lock()
		l.rec.Container = name
		l.mu.Unlock()
		err := h.fallBack(ctx, l, filepath.Base(filepath.Dir(dump)))
		if err == nil {
			return
		}
		h.Log.Error("kernel not brought back", "kernel", rec.ID, "dump", dump, "error", err)
	}
	settled := (rec.State == kernel.Dead || rec.State == kernel.Hibernated) && rec.Container == ""
	if !settled && rec.Checkpoint != "" {
		if giveBack, err := h.borrow(ctx, rec.Project, rec.Checkpoint); err != nil {
			h.Log.Error("checkpoint not fetched", "kernel", rec.ID, "checkpoint", rec.Checkpoint, "error", err)
			if rec.State == kernel.Resuming { // it is kept, and may be fetched later
				l.letGo(ctx)
				l.force(ctx, kernel.Hibernated, "Waking it failed: "+fault.Detail(err))
				return
			}
		} else {
			defer giveBack()
		}
	}
	switch {
	case settled && rec.State == kernel.Hibernated && rec.Detail == waitingDetail:
		h.wake(l) // it was in line when the hub before ended
	case settled:
	case unstarted(rec):
		h.startAnew(ctx, l)
	case rec.Checkpoint != "" && h.dumped(rec.Checkpoint):
		h.takeUpDump(ctx, l)
	default:
		l.force(ctx, kernel.Dead, h.lastCheckpointNote(ctx, l))
	}
}

// unpauseLimit bounds how long a dump is waited for that nobody needs any more.
const unpauseLimit = 2 * time.Minute

// startAnew goes on where a hub died that was about to start a kernel. The
// container of the life before may be there still, in the place of the next.
func (h *Hub) startAnew(ctx context.Context, l *Live) {
	rec := l.Record()
	err := h.Runtime.Remove(ctx, containerName(rec.ID, rec.Incarnation))
	if err != nil {
		l.fail(ctx, "The kernel could not be started: "+fault.Detail(err))
	} else {
		err = h.startInLine(ctx, l)
	}
	if err != nil && err != errShut {
		h.Log.Error("kernel did not start", "kernel", rec.ID, "error", err)
	}
}

// takeUpDump makes a whole dump, whose container is gone, the kernel again.
func (h *Hub) takeUpDump(ctx context.Context, l *Live) {
	rec := l.Record()
	if rec.Container != "" {
		if err := h.Runtime.Remove(ctx, rec.Container); err != nil {
			h.Log.Error("container not removed", "container", rec.Container, "error", err)
		}
	}
	l.mu.Lock()
	l.rec.Container = ""
	l.mu.Unlock()
	left := ""
	if rec.State == kernel.Switching || rec.State == kernel.Resuming {
		// It was on its way to run: let it.
		if err := h.thaw(ctx, l, h.dumpDir(rec.Checkpoint), reasonHibernate); err == nil {
			l.force(ctx, kernel.Running, "")
			l.change(ctx, func(k *Kernel) { k.Checkpoint = "" })
			return
		}
	}
	if m, err := h.readManifest(rec.Checkpoint); err == nil {
		if err := h.Store.PutCheckpoint(ctx, m.Checkpoint); err != nil { // its row may not have been written
			h.Log.Error("checkpoint's row not written", "checkpoint", rec.Checkpoint, "error", err)
		}
		h.filesDue()
	} else {
		c := h.newCheckpoint(l, KindHibernate, "")
		id := rec.Checkpoint
		p, err := h.Store.Project(ctx, rec.Project)
		if err == nil {
			err = h.adoptDump(c.ID, id)
		}
		if err == nil {
			c, err = h.closeCheckpoint(ctx, p, l, c, nil)
		}
		if err != nil {
			h.Log.Error("dump not taken up", "kernel", rec.ID, "error", err)
			l.force(ctx, kernel.Dead, h.lastCheckpointNote(ctx, l))
			return
		}
		l.mu.Lock()
		l.rec.Checkpoint = c.ID
		l.mu.Unlock()
		left = id
	}
	l.force(ctx, kernel.Hibernated, "")
	if left != "" {
		h.removeMove(left)
	}
}

// force sets a state that was found, not chosen.
func (l *Live) force(ctx context.Context, state kernel.State, detail string) {
	l.mu.Lock()
	if l.rec.State != state {
		l.rec.Since = time.Now()
	}
	l.rec.State, l.rec.Detail = state, detail
	if state == kernel.Dead || state == kernel.Hibernated {
		l.rec.Container = ""
	}
	if state == kernel.Running || state == kernel.Starting {
		l.rec.Checkpoint = ""
	}
	rec := l.rec
	l.mu.Unlock()
	if err := l.h.Store.PutKernel(ctx, rec); err != nil {
		l.h.Log.Error("kernel record not written", "kernel", rec.ID, "error", err)
	}
	l.tell()
	if state == kernel.Dead {
		l.toldDead()
	}
}

// lastCheckpointNote says honestly what is left of a kernel that did not survive.
func (h *Hub) lastCheckpointNote(ctx context.Context, l *Live) string {
	if c, ok := h.newestCheckpoint(ctx, l); ok {
		return "The kernel did not survive the restart of the machine. Its last checkpoint, " + c.Name + ", is from " +
			c.CreatedAt.UTC().Format("2006-01-02 15:04") + " UTC; apply it to go on from there."
	}
	return "The kernel did not survive the restart of the machine, and there is no checkpoint of it. Restart it to go on."
}

// sweepMoves removes dumps of moves that no record names and no memory comes
// from.
func (h *Hub) sweepMoves(records []Kernel, draining map[string]string) {
	entries, err := os.ReadDir(h.moveRoot())
	if err != nil {
		return
	}
	for _, e := range entries {
		used := !strings.HasPrefix(e.Name(), movePrefix) // not ours
		for _, r := range records {
			used = used || r.Checkpoint == e.Name()
		}
		for _, dump := range draining {
			used = used || dump == h.dumpDir(e.Name())
		}
		if !used {
			os.RemoveAll(filepath.Join(h.moveRoot(), e.Name()))
		}
	}
}

// sweepVault removes folders of checkpoints that nobody was told of: without a
// row, not the one a kernel is in, and not one a kernel's memory comes from.
func (h *Hub) sweepVault(ctx context.Context, records []Kernel, draining map[string]string) error {
	entries, err := os.ReadDir(filepath.Join(h.Data, "vault"))
	if err != nil {
		return err
	}
	list, err := h.Store.Checkpoints(ctx, "")
	if err != nil {
		return err
	}
	known := map[string]bool{}
	for _, c := range list {
		known[c.ID] = !c.Stored || !h.staleLayOut(c.ID)
	}
	for _, r := range records {
		if _, listed := known[r.Checkpoint]; !listed {
			known[r.Checkpoint] = true
		}
	}
	for _, dump := range draining {
		known[filepath.Base(filepath.Dir(dump))] = true
	}
	for _, e := range entries {
		if !known[e.Name()] {
			err = errors.Join(err, os.RemoveAll(h.vaultDir(e.Name())))
		}
	}
	return err
}

// readableTree opens dump files to the restoring child, as the runtime does.
func readableTree(dir string) error {
	return filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			return os.Chmod(p, 0o755)
		}
		return os.Chmod(p, 0o644)
	})
}
