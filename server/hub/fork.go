package hub

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path"
	"path/filepath"
	"time"

	"github.com/google/uuid"

	"cellar/checkpoint/criu"
	"cellar/checkpoint/tree"
	"cellar/internal/fault"
	"cellar/kernel"
)

// Forked is a project that was made from a checkpoint.
type Forked struct {
	Project  string    `json:"project"`
	Kernel   kernel.ID `json:"kernel" doc:"sleeps in the checkpoint; it wakes when something is sent to it"`
	Notebook string    `json:"notebook,omitempty"`
	Files    int       `json:"files" doc:"how many it has"`
	Notes    []string  `json:"notes,omitempty"`
}

// idRange is how many of the machine's user IDs a project has.
const idRange = 65536

// Fork makes a project of a checkpoint: kernel, notebook, files and packages as
// they were then. It belongs to u. What else is in the home of the old project,
// where a person has keys and settings, does not come along.
func (h *Hub) Fork(ctx context.Context, u User, from Project, c Checkpoint, name string, o *Operation) (out Forked, err error) {
	s, err := h.KeptFiles(ctx, c)
	if err != nil {
		return out, err
	}
	o.Step(0.05, "Fetching the checkpoint")
	m, giveBack, err := h.openState(ctx, c, true)
	if err != nil {
		return out, err
	}
	defer giveBack()
	if err := room(h.Data, s.Summary().Bytes); err != nil {
		return out, err
	}
	if err := h.mayGrow(ctx, u.ID, "", s.Summary().Bytes); err != nil {
		return out, err
	}
	err = h.makeProject(ctx, Project{Name: name, Owner: u.ID, Foreign: from.Owner != u.ID}, func(p Project) error {
		out.Project = p.ID
		if err := h.fillFork(ctx, from, p, c, m, s, o, &out); err != nil {
			return err
		}
		return h.step("fork.filled")
	})
	if err != nil {
		return Forked{}, err
	}
	return out, nil
}

// makeProject makes a project that is there whole or, if fill fails or the hub
// ends meanwhile, not at all.
func (h *Hub) makeProject(ctx context.Context, like Project, fill func(Project) error) error {
	p, err := h.createProject(ctx, like, func(dir string) error { // until it is whole: see sweepUnfinished
		return os.WriteFile(filepath.Join(filepath.Dir(dir), unfinished), nil, 0o600)
	})
	if err != nil {
		return err
	}
	if err = fill(p); err == nil {
		err = ctx.Err() // whoever cancels it is not told that it is there
	}
	if err == nil {
		err = os.Remove(filepath.Join(h.projectDir(p.ID), unfinished))
	}
	if err != nil {
		return errors.Join(err, h.DeleteProject(context.WithoutCancel(ctx), p))
	}
	return nil
}

// unfinished marks the folder of a project that is being made from a checkpoint.
const unfinished = "unfinished"

// sweepUnfinished removes projects that a hub before this one did not bring to
// their end: nobody was told of them.
func (h *Hub) sweepUnfinished(ctx context.Context) {
	names, _ := filepath.Glob(filepath.Join(h.Data, "projects", "*", unfinished))
	for _, name := range names {
		id := filepath.Base(filepath.Dir(name))
		p, err := h.Store.Project(ctx, id)
		if errors.Is(err, fault.NotFound) {
			err = os.RemoveAll(h.projectDir(id))
		} else if err == nil {
			err = h.DeleteProject(ctx, p)
		}
		if err != nil {
			h.Log.Error("project that was not brought to its end not removed", "project", id, "error", err)
		}
	}
}

func (h *Hub) fillFork(ctx context.Context, from, p Project, c Checkpoint, m manifest, s *tree.Snapshot, o *Operation, out *Forked) error {
	o.Step(0.2, "Writing the files")
	if err := h.forkFiles(ctx, p, s, out); err != nil {
		return err
	}
	o.Step(0.7, "Writing the checkpoint")
	rec, err := h.branchRecord(p, c, m)
	if err != nil {
		return err
	}
	n, err := h.forkCheckpoint(from, p, c, m, rec.ID)
	if err != nil {
		return errors.Join(err, os.RemoveAll(h.vaultDir(n.ID)))
	}
	if err := h.Store.PutCheckpoint(ctx, n); err != nil {
		return errors.Join(err, os.RemoveAll(h.vaultDir(n.ID)))
	}
	rec.Checkpoint, rec.Base = n.ID, n.ID
	if out.Notebook, err = h.forkNotebook(ctx, p, n); err != nil {
		return err
	}
	o.Step(0.9, "Making a session")
	if err := h.forkSession(ctx, from.ID, p, c, n, m, rec, out.Notebook, nil); err != nil {
		return err
	}
	out.Kernel = rec.ID
	h.filesDue()
	return nil
}

// forkFiles writes files and packages into a project that has none.
func (h *Hub) forkFiles(ctx context.Context, p Project, s *tree.Snapshot, out *Forked) error {
	tops, home, done, err := h.tops(p)
	if err != nil {
		return err
	}
	defer done()
	to := tree.Target{Root: tops[0].Root, Owner: p.FileOwner(), Present: tree.Replace}
	for _, e := range s.Below(topFiles) {
		rel, _ := e.Below(topFiles)
		if e.Why != tree.Kept {
			if told, _ := tellPath(e); len(out.Notes) < maxNotes {
				out.Notes = append(out.Notes, told+" was not kept ("+e.Why.String()+").")
			}
			continue
		}
		if _, err := s.Restore(ctx, e, to, rel); err != nil {
			return err
		}
		if e.Kind == tree.File {
			out.Files++
		}
	}
	if !packagesWhole(s) {
		out.Notes = append(out.Notes, fault.Sentence(errPackagesNotKept))
		return nil
	}
	to.Root = home
	for _, e := range s.Below(topPackages) {
		rel, _ := e.Below(topPackages)
		if e.Why != tree.Kept {
			continue
		}
		if _, err := s.Restore(ctx, e, to, rel); err != nil {
			return err
		}
	}
	return syncFolder(h.projectDir(p.ID))
}

// forkCheckpoint makes a checkpoint of the new project: the dump by hard links,
// for the new project's users.
func (h *Hub) forkCheckpoint(from, p Project, c Checkpoint, m manifest, id kernel.ID) (Checkpoint, error) {
	n := h.forkedFrom(p, c, id)
	if err := linkFiles(h.dumpDir(c.ID), h.dumpDir(n.ID)); err != nil {
		return n, err
	}
	if err := copyTree(filepath.Join(h.vaultDir(c.ID), "journal"), filepath.Join(h.vaultDir(n.ID), "journal"), -1, h.JournalQuota+1<<30); err != nil {
		return n, err
	}
	nb, err := os.ReadFile(filepath.Join(h.vaultDir(c.ID), "notebook.ipynb"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return n, err
	}
	return h.finishFork(p, c, n, m, from.UIDBase, nb)
}

// forkedFrom describes the checkpoint of a new project that goes on from c.
func (h *Hub) forkedFrom(p Project, c Checkpoint, id kernel.ID) Checkpoint {
	n := c
	n.ID, n.Project, n.Kernel, n.Parent, n.Kind, n.Pinned, n.Stored, n.CreatedAt = newID(), p.ID, id, "", KindManual, true, false, time.Now()
	n.Files = FilesKept{}
	if h.keepsFiles() {
		n.Files.State = FilesPending
	}
	return n
}

// finishFork makes a checkpoint of the new project n of a folder with dump and
// journal, which are of the range of user IDs that begins at base.
func (h *Hub) finishFork(p Project, c, n Checkpoint, m manifest, base uint32, nb []byte) (Checkpoint, error) {
	dir := h.vaultDir(n.ID)
	if err := os.Chmod(dir, 0o711); err != nil {
		return n, err
	}
	if err := criu.Rebase(h.dumpDir(n.ID), base, p.UIDBase, idRange); err != nil {
		return n, fault.Wrap(fault.Unavailable, "checkpoint_damaged", "The checkpoint's users cannot be made those of another project.", err)
	}
	if nb != nil {
		if err := os.WriteFile(filepath.Join(dir, "notebook.ipynb"), nb, 0o600); err != nil {
			return n, err
		}
	}
	var err error
	if n.Size, err = sizeOf(dir); err != nil {
		return n, err
	}
	n.Added = n.Size
	m.Checkpoint = n
	m.Checkpoint.Kernel = c.Kernel // who wakes in it is told that it is another one
	b, err := json.Marshal(m)
	if err != nil {
		return n, err
	}
	return n, writeSynced(filepath.Join(dir, manifestName), b)
}

// linkFiles makes a folder with links to the files of another.
func linkFiles(from, to string) error {
	if err := os.MkdirAll(to, 0o755); err != nil {
		return err
	}
	entries, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := os.Link(filepath.Join(from, e.Name()), filepath.Join(to, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

// forkNotebook writes the notebook with the outputs it had, which the file may
// not have had yet.
func (h *Hub) forkNotebook(ctx context.Context, p Project, n Checkpoint) (string, error) {
	nb, err := os.ReadFile(filepath.Join(h.vaultDir(n.ID), "notebook.ipynb"))
	if errors.Is(err, os.ErrNotExist) || n.Notebook == "" {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	if p.Foreign {
		return h.putForeign(ctx, p, n.Notebook, nb)
	}
	err = h.Notebooks.Update(ctx, p, n.Notebook, func([]byte) ([]byte, error) { return nb, nil })
	if errors.Is(err, fault.NotFound) {
		return h.Notebooks.Add(ctx, p, path.Base(n.Notebook), nb)
	}
	return n.Notebook, err
}

// putForeign writes a notebook of somebody else's where it was, or beside what is
// there now.
func (h *Hub) putForeign(ctx context.Context, p Project, name string, nb []byte) (string, error) {
	err := h.Notebooks.PutForeign(ctx, p, name, nb)
	if errors.Is(err, fault.NotFound) {
		return h.Notebooks.AddForeign(ctx, p, path.Base(name), nb)
	}
	return name, err
}

// forkSession makes the kernel that sleeps in the checkpoint, and its session.
// info is what the kernel says of itself, if the one it comes from cannot be asked.
func (h *Hub) forkSession(ctx context.Context, from string, p Project, c, n Checkpoint, m manifest, rec Kernel, notebook string, info json.RawMessage) error {
	l := h.newLive(rec)
	release, err := l.take(ctx)
	if err != nil {
		return err
	}
	defer release()
	if err := h.fillBranch(p, l, n, m); err != nil {
		return errors.Join(err, l.clear())
	}
	l.info = info
	if old, err := h.Live(from, c.Kernel); err == nil { // what any kernel of its kind says of itself
		old.recalls(infoFile, &l.info)
	}
	if l.info != nil {
		if err := l.remember(infoFile, l.info); err != nil {
			return errors.Join(err, l.clear())
		}
	}
	return h.putForked(ctx, p, l, notebook)
}

// putForked puts the kernel of a new project on record, with its session.
func (h *Hub) putForked(ctx context.Context, p Project, l *Live, notebook string) error {
	rec := l.Record()
	if err := h.Store.PutKernel(ctx, rec); err != nil {
		return errors.Join(err, l.clear())
	}
	h.mu.Lock()
	h.live[rec.ID] = l
	h.mu.Unlock()
	l.tell()
	if notebook == "" {
		return nil
	}
	return h.Store.PutSession(ctx, Session{ID: uuid.NewString(), Project: p.ID, Path: notebook, Name: path.Base(notebook), Type: "notebook", Kernel: rec.ID, CreatedAt: time.Now()})
}
