package hub

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"cellar/internal/fault"
	"cellar/kernel"
	"cellar/kernel/keep"
	"cellar/kernel/wire"
)

// Died is how a kernel ended by itself last. It is told until somebody runs
// something in the life that followed, or gives it another.
type Died struct {
	At           time.Time  `json:"at"`
	Reason       string     `json:"reason" doc:"for a person to read"`
	Checkpoint   string     `json:"checkpoint,omitempty" doc:"the newest of this kernel; applying it brings its variables back"`
	CheckpointAt *time.Time `json:"checkpoint_at,omitempty"`
	Since        []string   `json:"since,omitempty" doc:"cells of its notebook that had ended well since that checkpoint, in the order in which they were run; at most 100"`
}

const (
	// maxRevivals is how often in a row a kernel that ends at once is started again.
	maxRevivals = 5
	// stableAfter is how long a life has to last for its end not to be one more of
	// the same trouble.
	stableAfter = 10 * time.Second
	// maxSince is how many cells are named that ran since the newest checkpoint.
	maxSince = 100
)

var errKernelEnded = fault.New(fault.Conflict, "kernel_ended", "The kernel has just ended by itself. It is started again, with nothing in it.")

// kernelEnded reacts to the end of the kernel's process in a container whose
// keeper lives. It is told by the journal, and by the keeper when the hub
// connects to it: either may be missed.
func (l *Live) kernelEnded(container string) {
	release, err := l.take(l.h.ctx)
	if err != nil {
		return
	}
	defer release()
	rec := l.Record()
	if container == "" || rec.Container != container || (rec.State != kernel.Running && rec.State != kernel.Starting) {
		return // whoever had the deed has seen to it, or takes it up when the kernel wakes
	}
	l.unlink()
	l.hearLeft()
	l.ended(l.whyEnded(container))
}

// lost reacts to the end of the connection to a keeper that we did not close.
func (l *Live) lost(cause error) {
	release, err := l.take(l.h.ctx)
	if err != nil {
		return
	}
	defer release()
	l.mu.Lock()
	name, linked := l.rec.Container, l.link != nil
	l.mu.Unlock()
	if name == "" || linked {
		return
	}
	list, err := l.h.containers(l.h.ctx)
	if err == nil {
		for _, s := range list {
			if s.Name == name && s.Running {
				ctx, done := l.h.whileRuns(l.h.ctx, name) // it may be just about to end
				err = l.connect(ctx)
				done()
				if err == nil {
					return
				}
			}
		}
	}
	l.h.Log.Warn("container is gone", "kernel", l.rec.ID, "container", name, "cause", cause, "error", err)
	l.hearLeft() // the line may have broken before all of it was heard
	l.ended(l.whyEnded(name))
}

// whileRuns gives a context that ends soon after a container has. Call the
// function when done.
func (h *Hub) whileRuns(ctx context.Context, name string) (context.Context, func()) {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(endsEvery)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			list, err := h.Runtime.List(ctx)
			if err == nil && !slices.ContainsFunc(list, func(s kernel.Status) bool { return s.Name == name && s.Running }) {
				cancel()
			}
		}
	})
	return ctx, func() { cancel(); wg.Wait() }
}

// endsEvery is how often is looked whether a container has ended.
const endsEvery = 200 * time.Millisecond

// whyEnded says in a sentence why a kernel ended. What the keeper tells is the
// kernel's own word; what the limit on memory did is the machine's.
func (l *Live) whyEnded(container string) string {
	l.mu.Lock()
	e, starting := l.exit, l.rec.State == kernel.Starting
	l.mu.Unlock()
	why := "The kernel's container ended."
	switch {
	case e != nil && e.Signal != "":
		why = fmt.Sprintf("The kernel was ended by a signal: %s.", cut(e.Signal))
	case e != nil:
		why = fmt.Sprintf("The kernel ended with status %d.", e.Code)
	}
	if e == nil || e.Signal != "" {
		if u, err := l.h.Runtime.Usage(l.h.ctx, container); err == nil && u.OOMs > 0 {
			why = fmt.Sprintf("The kernel was killed because it used more than its %d MiB of memory. Choose a larger configuration and run it again.", u.Limit>>20)
		}
	}
	if e != nil {
		l.h.Log.Warn("kernel ended", "kernel", l.rec.ID, "code", e.Code, "signal", e.Signal, "stderr", e.Detail)
		if d := strings.TrimSpace(e.Detail); d != "" && starting {
			why += " It said: " + lastLine(d)
		}
	}
	return why
}

func lastLine(s string) string {
	if i := strings.LastIndexByte(s, '\n'); i >= 0 {
		s = s[i+1:]
	}
	return s[:min(len(s), 300)]
}

// ranSince lists the cells of the kernel's notebook that were run after a moment
// and have ended well. The one that may have ended the kernel is not among them.
func (l *Live) ranSince(at time.Time) (cells []string) {
	notebook := l.h.notebookOf(l.rec.Project, l.rec.ID)
	l.mu.Lock()
	defer l.mu.Unlock()
	var list []Timing
	for _, t := range l.timings {
		if t.Notebook == notebook && t.State == RunDone && t.StartedAt != nil && t.StartedAt.After(at) {
			list = append(list, t)
		}
	}
	slices.SortStableFunc(list, func(a, b Timing) int { return a.StartedAt.Compare(*b.StartedAt) })
	for _, t := range list[max(0, len(list)-maxSince):] {
		cells = append(cells, t.CellID)
	}
	return cells
}

// ended decides what becomes of a kernel that ended by itself; the deed is held
// and the link let go of.
func (l *Live) ended(why string) {
	h := l.h
	if h.ctx.Err() != nil || h.stuck(l.Record().Container) {
		return // the next hub finds it; or drain, which brings back what is in its dump
	}
	ctx := because(context.WithoutCancel(h.ctx), "died")
	h.diedAt(l, l.Record().Container)
	again, why := l.mayRevive(time.Now(), why)
	died := Died{At: time.Now(), Reason: why}
	if c, ok := h.newestCheckpoint(ctx, l); ok {
		died.Checkpoint, died.CheckpointAt, died.Since = c.ID, &c.CreatedAt, l.ranSince(c.CreatedAt)
	}
	l.setDied(&died)
	if !again {
		l.fail(ctx, why)
		return
	}
	if err := h.revive(ctx, l, died); err != nil {
		h.Log.Error("kernel not started again", "kernel", l.rec.ID, "error", err)
	}
}

// mayRevive reports whether a kernel that ended is to be started again; if not,
// the reason says so. One that never came up is not: it would not the next time.
func (l *Live) mayRevive(now time.Time, why string) (bool, string) {
	_, offered := l.h.specFor(l.Record())
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case !offered:
		return false, why + " No image of this server has its kernel any more, so it cannot be started again."
	case l.revived == 0 && l.rec.State == kernel.Starting && !l.hasAnswered():
		return false, why
	case l.revived > 0 && now.Sub(l.began) < stableAfter:
		l.revived++
	default:
		l.revived = 1
	}
	if l.revived > maxRevivals {
		return false, fmt.Sprintf("%s It was started again %d times and ended each time, the last time at once.", why, maxRevivals)
	}
	return true, why
}

// hasAnswered reports whether the kernel of this incarnation has; the lock is held.
func (l *Live) hasAnswered() bool {
	select {
	case <-l.ready:
		return true
	default:
		return false
	}
}

// revive gives a kernel that ended another life in a container of its own: what
// filled the old one, or was broken in it, goes with it. It is on record that
// the kernel starts before the old container goes, so that a hub that dies here
// starts it.
func (h *Hub) revive(ctx context.Context, l *Live, died Died) error {
	old := l.Record()
	err := l.change(ctx, func(k *Kernel) {
		k.State, k.Container, k.Detail, k.Checkpoint, k.Base, k.Acked = kernel.Starting, "", died.Reason, "", "", 0
		k.Journal = nextJournal(k.Journal)
		k.goHome()
	})
	l.mu.Lock()
	cut := l.answerOpen(died.Reason, l.hasAnswered())
	l.newLife(0, 0)
	l.fresh = true
	l.say(wire.IOPub, l.says("status", nil, statusContent("restarting")), "")
	l.mu.Unlock()
	l.cutOff(cut)
	l.persist(ctx) // the journal that has it goes
	if err == nil {
		err = h.step("revive.recorded")
	}
	if err == nil && old.Container != "" {
		err = h.Runtime.Remove(ctx, old.Container)
	}
	if err == nil {
		os.RemoveAll(filepath.Join(l.folder(), old.Journal))
		err = h.step("revive.removed")
	}
	if err != nil {
		l.fail(ctx, died.Reason+" It could not be started again: "+fault.Detail(err))
		return err
	}
	if err := h.start(because(ctx, "started again"), l); err != nil {
		return err
	}
	return l.change(ctx, func(k *Kernel) {
		k.Detail = "Started again at " + died.At.UTC().Format("15:04") + " UTC, without its variables. " + died.Reason
	})
}

// stillThere fails when the kernel is known to have ended: what is frozen then
// is no kernel.
func (l *Live) stillThere() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.exit != nil {
		return errKernelEnded
	}
	return nil
}

// stillThereIn is stillThere for the moment at which a journal was copied, or its
// keeper frozen; from is the first record that the hub has not seen.
func (l *Live) stillThereIn(journal string, from uint64) error {
	found := false
	err := keep.ReadLeft(journal, from, func(r keep.Record) bool {
		_, found = exitOf(r)
		return !found
	})
	if err != nil {
		l.h.Log.Warn("journal of a frozen kernel not read", "kernel", l.rec.ID, "error", err)
	}
	if found {
		return errKernelEnded
	}
	return nil
}

// exitOf is the event in a record that tells of the end of a process.
func exitOf(r keep.Record) (e keep.Event, ok bool) {
	ok = r.Channel == wire.Event && json.Unmarshal(r.Message.Content, &e) == nil && e.Event == keep.EventExited
	return e, ok
}

// newestCheckpoint is the one to go back to.
func (h *Hub) newestCheckpoint(ctx context.Context, l *Live) (Checkpoint, bool) {
	list, err := h.Store.Checkpoints(ctx, l.rec.Project)
	if err != nil {
		h.Log.Warn("checkpoints not listed", "kernel", l.rec.ID, "error", err)
	}
	for _, c := range list {
		if c.Kernel == l.rec.ID && c.Kind != KindPublish && c.Kind != KindVariables {
			return c, true
		}
	}
	return Checkpoint{}, false
}

// setDied remembers how the kernel ended, for those who come later; nil forgets it.
func (l *Live) setDied(d *Died) {
	l.mu.Lock()
	had := l.died != nil
	l.died = d
	l.mu.Unlock()
	var err error
	switch {
	case d != nil:
		err = l.remember(diedFile, d)
	case had:
		err = l.forget(diedFile)
	}
	if err != nil {
		l.h.Log.Warn("the end of a kernel is not kept", "kernel", l.rec.ID, "error", err)
	}
}
