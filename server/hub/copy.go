package hub

import (
	"context"
	"path"

	"cellar/internal/fault"
)

// CopyShared makes a project of what is shared; it is u's, with keys and settings
// of its own. What the owner did not share is not in it: without the owner's word
// no process comes along, as its memory and environment may hold secrets.
func (h *Hub) CopyShared(ctx context.Context, u User, s Shared, name string, o *Operation) (out Forked, err error) {
	from, err := h.Store.Project(ctx, s.Project)
	if err != nil {
		return out, err
	}
	var c Checkpoint
	if s.Checkpoint != "" {
		if c, err = h.Store.Checkpoint(ctx, from.ID, s.Checkpoint); err != nil {
			return out, err
		}
	}
	switch s.Copies {
	case CopyState:
		return h.Fork(ctx, u, from, c, name, o)
	case CopyFiles:
		return h.copyFiles(ctx, u, from, c, name, o)
	}
	o.Step(0.1, "Reading the notebook")
	nb, err := h.SharedNotebook(ctx, s)
	if err != nil {
		return out, err
	}
	if err := h.mayCopy(ctx, u, int64(len(nb))); err != nil {
		return out, err
	}
	err = h.copyInto(ctx, Project{Name: name, Owner: u.ID}, &out, func(p Project) error {
		o.Step(0.5, "Writing the notebook")
		if out.Notebook, err = h.Notebooks.AddForeign(ctx, p, path.Base(s.Notebook), nb); err == nil {
			out.Files = 1
		}
		return err
	})
	return out, err
}

// copyFiles makes a project of a checkpoint without its kernel.
func (h *Hub) copyFiles(ctx context.Context, u User, from Project, c Checkpoint, name string, o *Operation) (out Forked, err error) {
	o.Step(0.05, "Fetching the files")
	snapshot, err := h.KeptFiles(ctx, c)
	if err != nil {
		return out, err
	}
	nb, err := h.keptNotebook(ctx, c, maxShared, errSharedLarge)
	if err != nil && fault.CodeOf(err) != "no_notebook" {
		return out, err
	}
	if err := h.mayCopy(ctx, u, snapshot.Summary().Bytes+int64(len(nb))); err != nil {
		return out, err
	}
	// Its packages run when a kernel starts.
	err = h.copyInto(ctx, Project{Name: name, Owner: u.ID, Foreign: from.Owner != u.ID}, &out, func(p Project) error {
		o.Step(0.2, "Writing the files")
		if err := h.forkFiles(ctx, p, snapshot, &out); err != nil || nb == nil {
			return err
		}
		out.Notebook, err = h.putForeign(ctx, p, c.Notebook, nb)
		return err
	})
	return out, err
}

func (h *Hub) mayCopy(ctx context.Context, u User, bytes int64) error {
	if err := room(h.Data, bytes); err != nil {
		return err
	}
	return h.mayGrow(ctx, u.ID, "", bytes)
}

func (h *Hub) copyInto(ctx context.Context, like Project, out *Forked, fill func(Project) error) error {
	err := h.makeProject(ctx, like, func(p Project) error {
		out.Project = p.ID
		if err := fill(p); err != nil {
			return err
		}
		return h.step("copy.filled")
	})
	if err != nil {
		*out = Forked{}
	}
	return err
}
