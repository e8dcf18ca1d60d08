package hub

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"time"

	"cellar/checkpoint/criu"
	"cellar/internal/fault"
	"cellar/kernel"
	"cellar/kernel/keep"
)

// keepAutomatic is how many checkpoints that nobody asked for a kernel keeps.
const keepAutomatic = 10

// newCheckpoint describes a checkpoint of l at this moment.
func (h *Hub) newCheckpoint(l *Live, kind, name string) Checkpoint {
	notebook := h.notebookOf(l.rec.Project, l.rec.ID)
	l.mu.Lock()
	defer l.mu.Unlock()
	if name == "" {
		name = defaultNames[kind]
	}
	files := FilesKept{}
	if h.keepsFiles() && kind != KindPublish && kind != KindVariables { // a node has files of its own
		files.State = FilesPending
	}
	return Checkpoint{
		Files: files, ID: newID(), Project: l.rec.Project, Kernel: l.rec.ID, Name: name, Kind: kind, Notebook: notebook,
		Parent: l.rec.Base, Image: l.rec.Image, Parts: l.rec.Parts, Pinned: kind == KindManual, CreatedAt: time.Now(),
		Origin: h.Origin.ID, After: l.after(notebook),
	}
}

// after is the cell of a notebook that ended last in this life; the lock is held.
func (l *Live) after(notebook string) (a After) {
	if l.fresh {
		return a
	}
	for i := len(l.timings) - 1; i >= 0; i-- {
		t := l.timings[i]
		if t.Notebook != notebook || t.EndedAt == nil {
			continue
		}
		if a.Cell = t.CellID; t.ExecutionCount != nil {
			a.Count = *t.ExecutionCount
		}
		return a
	}
	return a
}

var defaultNames = map[string]string{
	KindAuto: "Automatic", KindManual: "Checkpoint", KindHibernate: "Hibernated", KindSwitch: "Before a move",
	KindRollback: "Before going back", KindPublish: "Published", KindVariables: "Variables",
}

// Keep takes a checkpoint of a running kernel, which goes on.
func (h *Hub) Keep(ctx context.Context, l *Live, kind, name string, o *Operation) (Checkpoint, error) {
	if name != "" {
		var err error
		if name, err = checkName(name); err != nil {
			return Checkpoint{}, err
		}
	}
	p, err := h.Store.Project(ctx, l.Project())
	if err != nil {
		return Checkpoint{}, err
	}
	if err := h.MayAdd(ctx, p); err != nil {
		return Checkpoint{}, err
	}
	release, err := l.take(ctx)
	if err != nil {
		return Checkpoint{}, err
	}
	defer release()
	rec := l.Record()
	if rec.State == kernel.Hibernated {
		return h.keepHibernated(ctx, l, kind, name)
	}
	if rec.State != kernel.Running {
		return Checkpoint{}, fault.Newf(fault.Conflict, "wrong_state", "The kernel is %s; a checkpoint can be taken while it runs.", rec.State)
	}
	return h.keepRunning(ctx, l, kind, name, o.Step)
}

// keepRunning is Keep for a kernel that runs, whose deed is held.
func (h *Hub) keepRunning(ctx context.Context, l *Live, kind, name string, step func(float64, string)) (Checkpoint, error) {
	rec := l.Record()
	if err := l.stillThere(); err != nil {
		return Checkpoint{}, err
	}
	if err := h.settled(ctx, rec.Container); err != nil {
		return Checkpoint{}, err
	}
	u, _ := h.Runtime.Usage(ctx, rec.Container)
	if err := room(h.Data, u.Memory); err != nil {
		return Checkpoint{}, err
	}
	c := h.newCheckpoint(l, kind, name)
	p, err := h.Store.Project(ctx, rec.Project)
	if err != nil {
		return c, err
	}
	step(0.1, "Keeping the kernel's state")
	dir := h.vaultDir(c.ID)
	if err := os.MkdirAll(dir, 0o711); err != nil {
		return c, err
	}
	vars := l.variablesIfIdle(ctx)
	l.keepComms(c.ID, l.askComms(ctx))
	l.trim(ctx)
	l.hook(ctx, keep.HookBefore, reasonOf(kind))
	l.unlink()
	l.mu.Lock()
	unsaved := l.unsaved.since
	l.unsaved.saved() // what is run from here on is not in it
	l.mu.Unlock()
	journal := filepath.Join(dir, "journal")
	if err = l.stillThere(); err == nil { // a hook may have ended it
		err = h.Runtime.Freeze(ctx, rec.Container, kernel.Freeze{Dir: h.dumpDir(c.ID), Leave: true, Paused: func() error {
			if err := h.step("keep.paused"); err != nil {
				return err
			}
			return copyTree(l.journalDir(), journal, -1, h.JournalQuota+1<<30)
		}})
	}
	if err == nil {
		err = h.step("keep.dumped")
	}
	if err == nil {
		err = l.stillThereIn(journal, l.unseen())
	}
	l.mu.Lock()
	c.Seq = l.seq
	runsFrom := l.book.openFrom(l.seq)
	l.mu.Unlock()
	// Whatever came of it, the kernel goes on: back to it first.
	if e := l.connect(context.WithoutCancel(ctx)); e != nil {
		h.wg.Go(func() { l.lost(e) })
	} else {
		l.hook(ctx, keep.HookAfter, reasonOf(kind))
	}
	if err == nil {
		step(0.7, "Writing it down")
		c, err = h.finish(l, c, runsFrom, h.notebookBytes(ctx, p, c.Notebook), vars)
	}
	if err == nil {
		err = h.Store.PutCheckpoint(context.WithoutCancel(ctx), c)
	}
	if err == nil {
		h.filesDue()
		l.cameFrom(ctx, c.ID)
	}
	if err != nil {
		l.mu.Lock()
		if l.unsaved.since.IsZero() {
			l.unsaved.since = unsaved
		}
		l.mu.Unlock()
		return c, errors.Join(cannotFreeze(err), os.RemoveAll(dir))
	}
	return c, nil
}

// cameFrom notes that the kernel's state is, or was just now, that of a
// checkpoint: the next one's parent.
func (l *Live) cameFrom(ctx context.Context, checkpoint string) {
	if err := l.change(ctx, func(k *Kernel) { k.Base = checkpoint }); err != nil {
		l.h.Log.Warn("parent of the next checkpoint not recorded", "kernel", l.ID(), "error", err)
	}
}

// keepHibernated makes the checkpoint a kernel sleeps in the person's own.
func (h *Hub) keepHibernated(ctx context.Context, l *Live, kind, name string) (Checkpoint, error) {
	rec := l.Record()
	c, err := h.Store.Checkpoint(ctx, rec.Project, rec.Checkpoint)
	if err != nil {
		return c, err
	}
	if kind == KindPublish {
		return c, nil
	}
	c.Kind, c.Pinned = kind, kind == KindManual
	if name != "" {
		c.Name = name
	}
	return c, h.Store.PutCheckpoint(ctx, c)
}

func cannotFreeze(err error) error {
	if errors.Is(err, fault.Exhausted) || errors.Is(err, fault.Conflict) {
		return err
	}
	return fault.Wrap(fault.Unavailable, "freeze_failed", "The kernel cannot be frozen at this moment; it goes on unharmed. "+freezeHint(err), err)
}

// freezeHint names the usual reason in words.
func freezeHint(err error) string {
	for sign, hint := range map[string]string{
		"tty":                     "A program in it uses a terminal of its own.",
		"No space left on device": "The server's disk is full.",
		"io_uring":                "A program in it uses io_uring.",
		"external unix socket":    "A program in it talks to one outside.",
	} {
		if containsFold(err.Error(), sign) {
			return hint
		}
	}
	return "Try again in a moment."
}

func (h *Hub) notebookBytes(ctx context.Context, p Project, path string) []byte {
	if path == "" {
		return nil
	}
	nb, err := h.Notebooks.Read(ctx, p, path)
	if err != nil {
		return nil
	}
	return h.Overlay(p.ID).Loaded(path, nb)
}

// Checkpoints lists the checkpoints of a project, newest first, those of nodes
// not among them.
func (h *Hub) Checkpoints(ctx context.Context, project string) ([]Checkpoint, error) {
	list, err := h.Store.Checkpoints(ctx, project)
	return slices.DeleteFunc(list, func(c Checkpoint) bool { return c.Kind == KindPublish }), err
}

// DeleteCheckpoint forgets a checkpoint that nothing needs.
func (h *Hub) DeleteCheckpoint(ctx context.Context, project, id string) error {
	c, err := h.Store.Checkpoint(ctx, project, id)
	if err != nil {
		return err
	}
	for _, l := range h.LiveOf(project) {
		if l.Record().Checkpoint == c.ID {
			return fault.New(fault.Conflict, "checkpoint_in_use", "A hibernated kernel sleeps in this checkpoint. Resume it first, or shut it down.")
		}
	}
	if err := h.servesFrom(ctx, project, c.ID); err != nil {
		return err
	}
	draining, err := h.Runtime.Draining()
	if err != nil {
		return err
	}
	for container, dump := range draining {
		if dump == h.dumpDir(c.ID) { // should it fail, this is what the kernel goes back to
			if err := h.settled(ctx, container); err != nil {
				return err
			}
		}
	}
	if err := h.Store.DeleteCheckpoint(ctx, c.ID); err != nil {
		return err
	}
	for _, l := range h.LiveOf(project) { // as the database has it
		l.mu.Lock()
		if l.rec.Base == c.ID {
			l.rec.Base = c.Parent
		}
		l.mu.Unlock()
	}
	h.measures.forget(project)
	p, err := h.Store.Project(ctx, project)
	return errors.Join(err, h.forget(ctx, p.Owner, c))
}

// prune drops the oldest automatic checkpoints of a kernel over their number.
func (h *Hub) prune(ctx context.Context, l *Live) {
	list, err := h.Store.Checkpoints(ctx, l.rec.Project)
	if err != nil {
		return
	}
	n := 0
	for _, c := range list {
		if c.Kernel != l.rec.ID || c.Pinned || c.Kind == KindManual || c.Kind == KindPublish {
			continue
		}
		if n++; n > keepAutomatic && c.ID != l.Record().Checkpoint {
			if err := h.DeleteCheckpoint(ctx, c.Project, c.ID); err != nil && !errors.Is(err, fault.Conflict) {
				h.Log.Warn("old checkpoint not removed", "checkpoint", c.ID, "error", err)
			}
		}
	}
}

// thaw restores a dump as the next incarnation of l, whose deed is held. Files
// that were open and have changed since are taken as they are now. reason is
// what hooks are told.
func (h *Hub) thaw(ctx context.Context, l *Live, dump, reason string) error {
	c, err := h.container(ctx, l)
	if err != nil {
		return err
	}
	c.Wanted = l.wantedFile()
	if c.LateKey, err = h.lateKey(ctx, l.Project(), dump); err != nil {
		return err
	}
	files := func(name string) (string, string) { return onMachine(c.Mounts, name) }
	moved := h.held(ctx, l.Project(), filepath.Base(filepath.Dir(dump)), elsewhere(h.homeDir(l.Project())))
	if _, err := criu.AdoptSizes(dump, files, moved); err != nil {
		return fault.Wrap(fault.Unavailable, "checkpoint_damaged", "The checkpoint's memory image cannot be read.", err)
	}
	// It would wait for the lock without end; without it, two sessions would write
	// what only one may.
	if locked, err := criu.LockedElsewhere(dump, files); err != nil {
		return fault.Wrap(fault.Unavailable, "checkpoint_damaged", "The checkpoint's file locks cannot be read.", err)
	} else if locked != "" {
		return fault.Newf(fault.Conflict, "file_locked", "The session holds a lock on %s, and another process has that lock now. End what holds it there, in another session or a terminal, and run something again.", locked)
	}
	if err := h.Runtime.Restore(ctx, c, dump); err != nil {
		return fault.Wrap(fault.Unavailable, "thaw_failed", "The checkpoint could not be brought back to life.", err)
	}
	hold := make(chan struct{})
	l.mu.Lock()
	l.hold = hold
	l.mu.Unlock()
	if err := l.begin(ctx, c.Name, kernel.Running); err != nil {
		close(hold)
		undo, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
		defer cancel()
		return errors.Join(err, h.Runtime.Remove(undo, c.Name))
	}
	l.afterwards(reason)
	h.wg.Go(func() { h.drain(l, c.Name, dump) })
	return nil
}

// wantedFile remembers what a kernel wants first when it is thawed.
func (l *Live) wantedFile() string { return filepath.Join(l.folder(), "wanted.json") }

// onMachine translates a container's path to a folder of the machine and a path
// below it; "" when it lies in no writable bind mount.
func onMachine(mounts []kernel.Mount, name string) (top, rel string) {
	for _, m := range mounts {
		if rel, err := filepath.Rel(m.Target, name); err == nil && !m.ReadOnly && filepath.IsLocal(rel) {
			return m.Source, rel
		}
	}
	return "", ""
}

// RenameCheckpoint gives a checkpoint another name.
func (h *Hub) RenameCheckpoint(ctx context.Context, project, id, name string) (Checkpoint, error) {
	c, err := h.Store.Checkpoint(ctx, project, id)
	if err != nil {
		return c, err
	}
	if c.Name, err = checkName(name); err != nil {
		return c, err
	}
	c.Pinned = true
	return c, h.Store.PutCheckpoint(ctx, c)
}
