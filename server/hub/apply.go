package hub

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"time"

	"cellar/internal/fault"
	"cellar/kernel"
)

// Apply makes an older checkpoint the present state of the kernel it came from.
// The present state is kept first, as a checkpoint of kind rollback.
// What is chosen beside the variables comes back with them.
func (h *Hub) Apply(ctx context.Context, p Project, c Checkpoint, choice Choice, o *Operation) (out Applied, err error) {
	if c.Kind == KindVariables {
		return out, errNoProcess
	}
	l, err := h.Live(p.ID, c.Kernel)
	if err != nil {
		return out, fault.New(fault.Conflict, "kernel_gone", "The kernel this checkpoint came from was shut down.")
	}
	if err := h.mayUse(p); err != nil {
		return out, err
	}
	// A restart is undone as soon as it is regretted: the new life may still begin.
	if err := l.begun(ctx); err != nil {
		return out, err
	}
	if choice.tree() {
		if err := h.mayBring(ctx, l, c, choice, o); err != nil {
			return out, err
		}
	}
	ctx = because(ctx, "apply")
	release, err := l.take(ctx)
	if err != nil {
		return out, err
	}
	defer release()
	if conf, err := h.Configuration(l.Record().Configuration); err == nil {
		if err := h.mayTake(conf, l.ID()); err != nil && l.Record().Container == "" {
			return out, err
		}
		defer h.line.promise(l.ID(), conf.need())()
	}
	o.Step(0.05, "Fetching the checkpoint")
	m, giveBack, err := h.openState(ctx, c, false)
	if err != nil {
		return out, err
	}
	defer giveBack()
	o.Step(0.1, "Keeping the present state")
	rollback, err := h.keepBefore(ctx, p, l, c, choice, o)
	if err != nil {
		return out, err
	}
	ctx = context.WithoutCancel(ctx)
	o.Step(0.6, "Going back")
	before := l.Record()
	err = h.step("apply.kept")
	if err == nil && choice.tree() {
		o.Step(0.65, "Keeping the present files")
		var leave func()
		if leave, err = h.keepPresent(ctx, rollback); err == nil {
			defer leave()
			o.Step(0.75, "Bringing files back")
		}
	}
	if err == nil {
		out, err = h.goBack(ctx, p, l, c, rollback, m, choice)
	}
	if err != nil {
		err = h.forward(ctx, l, before, rollback, err)
		return out, errors.Join(err, h.settleBringing(ctx, l))
	}
	if err := h.settleBringing(ctx, l); err != nil {
		h.Log.Warn("apply not marked as done", "kernel", l.ID(), "error", err)
	}
	h.wg.Go(func() { h.prune(h.ctx, l) })
	return out, nil
}

// mayBring refuses before anything is done what cannot be brought back, and wakes
// a kernel that sleeps: what it sleeps in has other files than there are now.
func (h *Hub) mayBring(ctx context.Context, l *Live, c Checkpoint, choice Choice, o *Operation) error {
	s, err := h.KeptFiles(ctx, c)
	if err != nil {
		return err
	}
	if choice.Packages && !packagesWhole(s) {
		return errPackagesNotKept
	}
	switch l.Record().State {
	case kernel.Dead:
		return fault.New(fault.Conflict, "nothing_to_keep", "The kernel has ended, and its files can be kept only with a kernel that runs. Apply the variables first; then apply once more with the files.")
	case kernel.Hibernated:
		o.Step(0.01, "Waking the kernel")
		return h.Resume(ctx, l, nil)
	}
	return nil
}

// keepPresent keeps the present files with the rollback. Until leave is called
// nobody else keeps or changes them.
func (h *Hub) keepPresent(ctx context.Context, rollback Checkpoint) (leave func(), err error) {
	ctx, leave, err = h.filing.enter(ctx, rollback.Project, true)
	if err != nil {
		return nil, err
	}
	f, err := h.keepFilesNow(ctx, rollback)
	if err == nil && f.State != FilesThere {
		err = fault.New(fault.Unavailable, "files_not_kept", "The present files could not be kept first. "+f.Detail)
	}
	if err != nil {
		leave()
		return nil, err
	}
	return leave, nil
}

// keepBefore makes the checkpoint in which the state is kept that an apply ends;
// of a kernel that is dead there is none.
func (h *Hub) keepBefore(ctx context.Context, p Project, l *Live, c Checkpoint, choice Choice, o *Operation) (rollback Checkpoint, err error) {
	rec := l.Record()
	switch {
	case rec.State == kernel.Running:
		return h.hibernate(ctx, l, KindRollback, o)
	case rec.State == kernel.Hibernated && !choice.tree():
		if rollback, err = h.Store.Checkpoint(ctx, p.ID, rec.Checkpoint); err != nil {
			return rollback, err
		}
		if rollback.Kind == KindHibernate && rollback.ID != c.ID {
			rollback.Kind, rollback.Name = KindRollback, defaultNames[KindRollback]
			err = h.Store.PutCheckpoint(ctx, rollback)
		}
		return rollback, err
	case rec.State == kernel.Dead && !choice.tree():
		return rollback, nil
	}
	return rollback, fault.Newf(fault.Conflict, "wrong_state", "The kernel is %s; apply the checkpoint when it runs or sleeps.", rec.State)
}

// newLife begins to read another lineage's journal after record from; what is
// in it up to seen was told to clients before. The lock is held. What was open
// in the life that ends here is aborted.
func (l *Live) newLife(from, seen uint64) {
	for _, run := range l.book.abortOpen(time.Now()) {
		l.noteTiming(run)
	}
	l.book.age()
	l.cutBehind()
	l.exit, l.exitAt, l.unanswered = nil, time.Time{}, nil
	l.released = 0
	l.seq, l.quietUntil, l.gapUntil = from, seen, 0
	l.rec.Acked = from
	l.busy = "idle"
	l.unsaved.saved()
	l.recall.newLife(seen > 0)
}

// goBack restores c in a lineage of its own: the journal as it was then. Files
// come first: what is thawed finds them.
func (h *Hub) goBack(ctx context.Context, p Project, l *Live, c, rollback Checkpoint, m manifest, choice Choice) (out Applied, err error) {
	before := l.Record()
	journal := nextJournal(before.Journal)
	dir := filepath.Join(l.folder(), journal)
	os.RemoveAll(dir)
	if err := copyTree(filepath.Join(h.vaultDir(c.ID), "journal"), dir, p.FileOwner(), 1<<50); err != nil {
		return out, err
	}
	if choice != (Choice{}) {
		if out, err = h.bring(ctx, p, l, c, bringing{Checkpoint: c.ID, Rollback: rollback.ID, Journal: journal, Choice: choice}); err != nil {
			return out, err
		}
	}
	if err := l.change(ctx, func(k *Kernel) {
		k.State, k.Journal, k.Parts, k.Image, k.Checkpoint, k.Acked, k.Base = kernel.Resuming, journal, c.Parts, c.Image, c.ID, m.RunsFrom, c.ID
	}); err != nil {
		return out, err
	}
	l.mu.Lock()
	l.newLife(m.RunsFrom, c.Seq)
	l.fresh, l.revived = false, 0
	l.mu.Unlock()
	l.setDied(nil)
	err = h.step("apply.recorded")
	if err == nil {
		err = h.thaw(ctx, l, h.dumpDir(c.ID), reasonApply)
	}
	if err == nil {
		if err = h.step("apply.thawed"); err != nil {
			l.letGo(ctx)
		}
	}
	if err != nil {
		return out, err
	}
	err = l.change(ctx, func(k *Kernel) { k.Checkpoint = "" })
	if before.Journal != journal {
		h.wg.Go(func() { os.RemoveAll(filepath.Join(l.folder(), before.Journal)) })
	}
	return out, err
}

// filesBack writes the notebook as it was at the checkpoint.
func (h *Hub) filesBack(ctx context.Context, p Project, c Checkpoint) error {
	nb, err := os.ReadFile(filepath.Join(h.vaultDir(c.ID), "notebook.ipynb"))
	if errors.Is(err, os.ErrNotExist) {
		return fault.New(fault.Unsupported, "no_files_kept", "This checkpoint keeps no files; apply it without.")
	}
	if err != nil {
		return err
	}
	return h.Notebooks.Update(ctx, p, c.Notebook, func([]byte) ([]byte, error) { return nb, nil })
}

// forward undoes a going back that failed: the state before it comes back.
func (h *Hub) forward(ctx context.Context, l *Live, before Kernel, rollback Checkpoint, cause error) error {
	l.mu.Lock()
	l.rec.Journal, l.rec.Parts, l.rec.Image, l.rec.Acked, l.rec.Base = before.Journal, before.Parts, before.Image, before.Acked, before.Base
	l.rec.Checkpoint = rollback.ID
	l.mu.Unlock()
	if rollback.ID == "" {
		l.force(ctx, kernel.Dead, before.Detail)
	} else {
		l.force(ctx, kernel.Hibernated, "")
	}
	if m, err := h.description(ctx, rollback); rollback.ID != "" && err == nil {
		l.mu.Lock()
		l.newLife(m.RunsFrom, rollback.Seq)
		l.mu.Unlock()
	}
	return fault.Wrap(fault.Unavailable, "apply_failed", "The checkpoint could not be applied. The state from before is kept; it comes back when you run something.", cause)
}

// Changes is what applying a checkpoint would change, for the person to read.
type Changes struct {
	Variables []VariableChange `json:"variables"` // null when it cannot be told; a note says why
	Files     []string         `json:"files"`
	Notes     []string         `json:"notes"`
	// Tree is what differs in all files and packages; null when it cannot be told.
	Tree *FileChanges `json:"tree"`
	// TreeNote says why it cannot.
	TreeNote string `json:"tree_note,omitempty"`
	// Cells is how the notebook's text differs; null when it cannot be told, and a
	// note says why.
	Cells *CellChanges `json:"cells"`
}

// VariableChange is one variable now and at the checkpoint; empty means it is
// not there.
type VariableChange struct {
	Name string `json:"name"`
	Now  string `json:"now"`
	Then string `json:"then"`
}

// ChangesTo says which variables one checkpoint has otherwise than another: then
// is what c has, and now what to has.
func (h *Hub) ChangesTo(ctx context.Context, c, to Checkpoint) (Changes, error) {
	out := Changes{Variables: []VariableChange{}, Files: []string{}, Notes: []string{}}
	then, err := h.description(ctx, c)
	if err != nil {
		return out, err
	}
	now, err := h.description(ctx, to)
	if err != nil {
		return out, err
	}
	tree, err := h.FilesBetween(ctx, c, to)
	out.tell(tree, err)
	before, err := h.notebookAt(ctx, c)
	after, e := h.notebookAt(ctx, to)
	out.tellCells(after, before, err, e)
	if then.Variables == nil || now.Variables == nil {
		out.Notes = append(out.Notes, "One of the two has no list of variables: which of them differ cannot be shown.")
		return out, nil
	}
	cut := len(then.Variables) >= maxVariables || len(now.Variables) >= maxVariables
	if cut {
		out.Notes = append(out.Notes, "There are more variables than are listed: only those that both lists have are compared.")
	}
	out.Variables = diffVariables(now.Variables, then.Variables, cut)
	return out, nil
}

// Changes says what applying c would change.
func (h *Hub) Changes(ctx context.Context, p Project, c Checkpoint) (Changes, error) {
	out := Changes{Files: []string{}, Notes: []string{}}
	m, err := h.description(ctx, c)
	if err != nil {
		return out, err
	}
	l, err := h.Live(p.ID, c.Kernel)
	if err != nil {
		return out, fault.New(fault.Conflict, "kernel_gone", "The kernel this checkpoint came from was shut down.")
	}
	out.Notes = append(out.Notes, "All variables, open files and threads become those of "+c.CreatedAt.UTC().Format("2006-01-02 15:04:05")+" UTC.",
		"The present state is kept first, as a checkpoint named “"+defaultNames[KindRollback]+"”.")
	var why string
	if out.Variables, why = l.compare(ctx, m.Variables); why != "" {
		out.Notes = append(out.Notes, why)
	}
	if c.Notebook != "" {
		out.Files = append(out.Files, c.Notebook)
	}
	tree, err := h.FilesSince(ctx, p, c)
	out.tell(tree, err)
	then, err := h.notebookAt(ctx, c)
	now, e := cellsOf(h.notebookBytes(ctx, p, c.Notebook))
	if c.Notebook != "" {
		out.tellCells(now, then, err, e)
	}
	return out, nil
}

// tell takes in what differs in the files, or why that is not known.
func (c *Changes) tell(tree FileChanges, err error) {
	if err != nil {
		c.TreeNote = fault.Sentence(err)
		return
	}
	c.Tree = &tree
}
