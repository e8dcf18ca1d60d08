package hub

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"time"

	"cellar/checkpoint"
	"cellar/checkpoint/vault"
	"cellar/internal/fault"
)

// Archive keeps checkpoints; see checkpoint.Archive.
type Archive interface {
	Save(ctx context.Context, p checkpoint.Place, folder, base string, about []byte) (size, added int64, err error)
	About(ctx context.Context, p checkpoint.Place) ([]byte, error)
	Load(ctx context.Context, p checkpoint.Place, l checkpoint.Loading) error
	File(ctx context.Context, p checkpoint.Place, name string) ([]byte, error)
	Delete(ctx context.Context, p checkpoint.Place) error
	List(ctx context.Context, tenant string) ([]string, error)
	Collect(ctx context.Context, tenant string) (vault.Collected, error)
	Verify(ctx context.Context, tenant string, deep bool) (vault.Report, error)
	Stats(ctx context.Context, tenant string) (vault.Stats, error)
	Close() error
}

// Parts of a checkpoint beside its dump.
const (
	journalPart  = "journal"
	notebookFile = "notebook.ipynb"
)

// manifest is what a checkpoint says of itself.
type manifest struct {
	Checkpoint Checkpoint `json:"checkpoint"` // as its row, without the sizes
	RunsFrom   uint64     `json:"runs_from"`  // after this record the journal has all that was going on
	Boot       string     `json:"boot"`
	Variables  []Variable `json:"variables"` // null: not known
}

// place is where a checkpoint is: in the vault of the project's owner, described
// under the project's key.
func (h *Hub) place(ctx context.Context, project, id string) (checkpoint.Place, error) {
	p, err := h.Store.Project(ctx, project)
	return checkpoint.Place{Tenant: p.Owner, Project: project, ID: id}, err
}

// manifest reads what a checkpoint says of itself.
func (h *Hub) manifest(ctx context.Context, project, id string) (m manifest, err error) {
	p, err := h.place(ctx, project, id)
	if err != nil {
		return m, err
	}
	b, err := h.Archive.About(ctx, p)
	if err == nil {
		err = json.Unmarshal(b, &m)
	}
	if err != nil && fault.ClassOf(err) != fault.Unavailable {
		err = fault.Wrap(fault.Unavailable, "checkpoint_damaged", "This checkpoint is damaged: its description cannot be read.", err)
	}
	return m, err
}

// kept reports whether a checkpoint is in the vault.
func (h *Hub) kept(ctx context.Context, project, id string) bool {
	_, err := h.manifest(ctx, project, id)
	return err == nil
}

// keep makes a checkpoint of the dump id, beside which the journal lies: from
// here on it exists, whatever happens.
func (h *Hub) keep(ctx context.Context, c Checkpoint, id string, runsFrom uint64, nb []byte, vars []Variable) (Checkpoint, error) {
	folder := filepath.Dir(h.dumpDir(id))
	if nb != nil {
		if err := os.WriteFile(filepath.Join(folder, notebookFile), nb, 0o600); err != nil {
			return c, err
		}
	}
	if err := os.Remove(filepath.Join(folder, markName)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return c, err
	}
	about, err := json.Marshal(manifest{Checkpoint: c, RunsFrom: runsFrom, Boot: bootID(), Variables: vars})
	if err != nil {
		return c, err
	}
	p, err := h.place(ctx, c.Project, c.ID)
	if err != nil {
		return c, err
	}
	start := time.Now()
	if c.Size, c.Added, err = h.Archive.Save(ctx, p, folder, c.Parent, about); err != nil {
		return c, err
	}
	h.Log.Info("checkpoint kept", "checkpoint", c.ID, "kernel", c.Kernel, "kind", c.Kind, "bytes", c.Size, "added", c.Added, "took", time.Since(start))
	return c, h.Store.PutCheckpoint(ctx, c)
}

// forgetKept removes a checkpoint from the vault.
func (h *Hub) forgetKept(ctx context.Context, project, id string) error {
	p, err := h.place(ctx, project, id)
	if err == nil {
		err = h.Archive.Delete(ctx, p)
	}
	h.collecting.add(p.Tenant)
	return err
}

// lay lays the dump of a checkpoint out, for a kernel to be thawed from; its
// memory may be left to a pager. The folder goes when it is needed no more:
// whoever thaws waits for that.
func (h *Hub) lay(ctx context.Context, project, id string) (dump string, err error) {
	p, err := h.place(ctx, project, id)
	if err != nil {
		return "", err
	}
	c, err := h.Store.Checkpoint(ctx, project, id)
	if err != nil {
		return "", err
	}
	where, _, _ := strings.Cut(h.dumpPlace(c.Size), "-")
	dump = h.dumpDir(where + "-" + laidOutMark + id + "-" + newID()[:6])
	folder := filepath.Dir(dump)
	if err := os.MkdirAll(folder, 0o711); err != nil {
		return "", err
	}
	start := time.Now()
	if err := h.Archive.Load(ctx, p, checkpoint.Loading{Part: checkpoint.Dump, Folder: dump, Owner: -1, Late: h.Runtime.Late}); err != nil {
		return "", errors.Join(err, os.RemoveAll(folder))
	}
	h.Log.Info("checkpoint laid out", "checkpoint", id, "took", time.Since(start))
	return dump, nil
}

// laidOutMark marks the name of a dump that was laid out of the vault.
const laidOutMark = "of-"

// laidOut is the checkpoint that a dump was laid out from; false for a dump that
// is the kernel's own.
func laidOut(id string) (checkpoint string, ok bool) {
	_, rest, _ := strings.Cut(id, "-")
	rest, ok = strings.CutPrefix(rest, laidOutMark)
	checkpoint, _, _ = strings.Cut(rest, "-")
	return checkpoint, ok
}
