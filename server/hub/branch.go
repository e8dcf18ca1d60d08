package hub

import (
	"context"
	"errors"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"cellar/internal/fault"
	"cellar/kernel"
)

// Branched is a session that goes on from a checkpoint, beside the one that the
// checkpoint came from.
type Branched struct {
	Kernel   kernel.ID `json:"kernel"`
	Session  string    `json:"session,omitempty"`
	Notebook string    `json:"notebook,omitempty" doc:"a new one: the notebook as it was then"`
}

// Branch makes a second kernel that sleeps in a checkpoint, and a copy of the
// notebook as it was then, opened on it. The kernel that the checkpoint came from
// goes on, or may be long gone; what both change from here on is each one's own,
// but for the project's files.
func (h *Hub) Branch(ctx context.Context, p Project, c Checkpoint, o *Operation) (b Branched, err error) {
	o.Step(0.1, "Fetching the checkpoint")
	m, giveBack, err := h.openState(ctx, c, false)
	if err != nil {
		return b, err
	}
	defer giveBack()
	rec, err := h.branchRecord(p, c, m)
	if err != nil {
		return b, err
	}
	o.Step(0.6, "Making a session of its own")
	l := h.newLive(rec)
	release, err := l.take(ctx)
	if err != nil {
		return b, err
	}
	defer release()
	ctx = context.WithoutCancel(ctx)
	b.Kernel = rec.ID
	if err := h.fillBranch(p, l, c, m); err != nil {
		return b, errors.Join(err, l.clear())
	}
	if b.Notebook, err = h.branchNotebook(ctx, p, c); err == nil {
		err = h.step("branch.filled")
	}
	if err != nil { // a copy of a notebook that nobody opened may stay
		return b, errors.Join(err, l.clear())
	}
	err = syncFiles(l.folder()) // the database is on the disk at once, and speaks of it
	if err == nil {
		err = h.Store.PutKernel(ctx, l.Record())
	}
	if err != nil {
		return b, errors.Join(err, l.clear())
	}
	h.mu.Lock()
	h.live[rec.ID] = l
	h.mu.Unlock()
	l.tell()
	if b.Notebook == "" {
		return b, nil
	}
	s := Session{ID: uuid.NewString(), Project: p.ID, Path: b.Notebook, Name: path.Base(b.Notebook), Type: "notebook", Kernel: rec.ID, CreatedAt: time.Now()}
	if err := h.Store.PutSession(ctx, s); err != nil {
		return b, h.undoBranch(ctx, l, err)
	}
	b.Session = s.ID
	return b, nil
}

// branchRecord is the record of a kernel that goes on from a checkpoint.
func (h *Hub) branchRecord(p Project, c Checkpoint, m manifest) (Kernel, error) {
	now := time.Now()
	rec := Kernel{
		ID: kernel.ID(uuid.NewString()), Project: p.ID, Spec: m.Spec, Image: c.Image, Dir: m.Dir, Configuration: m.Configuration,
		State: kernel.Hibernated, Journal: "journal-1", Parts: c.Parts, Acked: m.RunsFrom, Checkpoint: c.ID, Base: c.ID,
		Address: h.freeAddress(), CreatedAt: now, ActiveAt: now, Since: now,
	}
	if rec.Spec == "" { // a checkpoint of an older hub
		for _, s := range h.specs {
			if s.Image == c.Image {
				rec.Spec = s.Name
			}
		}
	}
	if rec.Configuration == "" {
		rec.Configuration = h.Default
	}
	_, err := h.Offer(rec.Configuration)
	if fault.ClassOf(err) == fault.Invalid { // not offered any more
		rec.Configuration = h.Default
		_, err = h.Offer(rec.Configuration)
	}
	return rec, err
}

// fillBranch gives the new kernel what it needs to wake.
func (h *Hub) fillBranch(p Project, l *Live, c Checkpoint, m manifest) error {
	if err := copyTree(filepath.Join(h.vaultDir(c.ID), "journal"), l.journalDir(), p.FileOwner(), 1<<50); err != nil {
		return err
	}
	l.keepComms(c.ID, m.Comms)
	l.mu.Lock()
	l.newLife(m.RunsFrom, c.Seq)
	l.fresh = false
	l.mu.Unlock()
	if old, err := h.Live(p.ID, c.Kernel); err == nil {
		if old.recalls(infoFile, &l.info); l.info != nil { // what it answers while it sleeps
			old.mu.Lock()
			l.recall.entries, l.recall.debug = slices.Clone(old.recall.entries), old.recall.debug
			old.mu.Unlock()
			if err := l.remember(infoFile, l.info); err != nil {
				return err
			}
			l.keepRecall()
		}
		if b, err := os.ReadFile(old.wantedFile()); err == nil {
			_ = os.WriteFile(l.wantedFile(), b, 0o600) // without it the first thaw is slower
		}
	}
	return nil
}

// branchNotebook makes the new notebook; none of a checkpoint that has none.
func (h *Hub) branchNotebook(ctx context.Context, p Project, c Checkpoint) (string, error) {
	nb, err := os.ReadFile(filepath.Join(h.vaultDir(c.ID), "notebook.ipynb"))
	if errors.Is(err, os.ErrNotExist) || c.Notebook == "" {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	return h.Notebooks.Add(ctx, p, strings.TrimSuffix(c.Notebook, ".ipynb")+"-branch.ipynb", nb)
}

func (h *Hub) undoBranch(ctx context.Context, l *Live, cause error) error {
	h.mu.Lock()
	delete(h.live, l.ID())
	h.mu.Unlock()
	h.events.send(Event{Project: l.Project(), Type: "kernel", Data: View{ID: l.ID(), State: kernel.Dead, Gone: true}})
	return errors.Join(cause, h.Store.DeleteKernel(ctx, l.ID()), l.clear())
}
