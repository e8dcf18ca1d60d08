package hub

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"cellar/checkpoint/artifact"
	"cellar/internal/fault"
)

// What an import may have, where the operator says nothing of files.
const (
	importFiles   = 4 << 30 // bytes
	importEntries = 1_000_000
	importBytes   = 1 << 40 // in all; the disk and the quota end it sooner
)

// Arrived is an artifact that was received: whole, and kept in a folder of its own
// until it is closed.
type Arrived struct {
	dir    string
	root   *os.Root
	layout *artifact.Layout
	config exported
	ours   bool // this server wrote it
}

func (h *Hub) importsDir() string { return filepath.Join(h.Data, "imports") }

// sweepImports removes what a hub before this one was receiving.
func (h *Hub) sweepImports() {
	if err := os.RemoveAll(h.importsDir()); err != nil {
		h.Log.Warn("what was being imported is not removed", "error", err)
	}
}

// Receive takes an artifact in. Nothing of it is believed but its digests, and that
// it was written here if it was.
func (h *Hub) Receive(ctx context.Context, u User, r io.Reader) (_ *Arrived, err error) {
	if h.Archive == nil {
		return nil, fault.New(fault.Unsupported, "no_archive", "This server stores no checkpoints, and imports none.")
	}
	if err := h.mayGrow(ctx, u.ID, "", 1); err != nil {
		return nil, err
	}
	a := &Arrived{dir: filepath.Join(h.importsDir(), newID())}
	if err := os.MkdirAll(a.dir, 0o700); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, a.Close())
		}
	}()
	if a.root, err = os.OpenRoot(a.dir); err != nil {
		return nil, err
	}
	if a.layout, err = artifact.Read(ctx, r, a.root, artifact.Bounds{Bytes: importBytes, Room: h.roomFor(ctx, u)}); err != nil {
		return nil, err
	}
	if a.ours, err = h.Archive.Signed(ctx, a.layout.Digest, a.layout.Signature); err != nil {
		return nil, err
	}
	if err := a.readConfig(); err != nil {
		return nil, err
	}
	return a, h.step("import.received")
}

// strangersConfig bounds what a stranger's artifact says of itself, in bytes: it
// takes many times as much when it is read.
const strangersConfig = 4 << 20

// readConfig reads what an artifact says of itself. Of a stranger's, what only helps
// to thaw is not taken.
func (a *Arrived) readConfig() error {
	b := a.layout.Config
	if !a.ours && len(b) > strangersConfig || json.Unmarshal(b, &a.config) != nil || a.config.Version != exportVersion {
		return fault.New(fault.Unsupported, "artifact_version", "The checkpoint was exported by another version of Cellar, which this one does not read.")
	}
	if a.ours {
		return nil
	}
	m := a.config.Manifest
	a.config = exported{Manifest: manifest{Spec: m.Spec, Portable: m.Portable, Checkpoint: Checkpoint{Name: m.Checkpoint.Name, Notebook: m.Checkpoint.Notebook}}}
	return nil
}

// roomFor asks for the disk and the person's quota, as bytes come.
func (h *Hub) roomFor(ctx context.Context, u User) func(int64) error {
	var came int64
	return func(more int64) error {
		came += more
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := room(h.Data, more); err != nil {
			return err
		}
		return h.mayGrow(ctx, u.ID, "", came)
	}
}

// Close removes what was received.
func (a *Arrived) Close() error {
	if a.root != nil {
		a.root.Close()
	}
	return os.RemoveAll(a.dir)
}

// Import makes a project of an artifact; it is u's. A process is brought along only
// if this server froze it: to thaw one is done with the machine's own rights.
func (h *Hub) Import(ctx context.Context, u User, a *Arrived, name string, o *Operation) (out Forked, err error) {
	if name == "" {
		name = a.config.Manifest.Checkpoint.Name
	}
	process, why, err := h.mayImportProcess(ctx, a)
	if err != nil {
		return out, err
	}
	err = h.makeProject(ctx, Project{Name: name, Owner: u.ID, Foreign: process || a.runs()}, func(p Project) error {
		out.Project = p.ID
		if err := h.fillImport(ctx, u, p, a, process, o, &out); err != nil {
			return err
		}
		return h.step("import.filled")
	})
	if err != nil {
		return Forked{}, err
	}
	if why != "" {
		out.Notes = append(out.Notes, why)
	}
	if a.ours { // a stranger's are their own words
		out.Notes = append(out.Notes, a.config.Notes...)
	}
	return out, nil
}

// mayImportProcess reports whether the process in an artifact comes along; why says why not,
// where there is one.
func (h *Hub) mayImportProcess(ctx context.Context, a *Arrived) (process bool, why string, err error) {
	if _, there := a.layout.Has(artifact.ProcessType); !there {
		return false, "", nil
	}
	c := a.config.Manifest.Checkpoint
	if !a.ours {
		return false, "The state of the kernel was left out: this server brings back to life only what it has frozen itself. Keep the variables only, there, and export that; or run the cells again.", nil
	}
	if _, err := os.Stat(filepath.Join(h.Data, "parts", c.Parts)); c.Parts == "" || !filepath.IsLocal(c.Parts) || err != nil {
		return false, "The state of the kernel was left out: what it needs of the Cellar that it was kept with is not here any more.", nil
	}
	there, err := h.hasImage(ctx, c.Image)
	if err == nil && !there {
		why = "The state of the kernel was left out: the kernel image that it comes from is not here any more."
	}
	return there && err == nil, why, err
}

// hasImage reports whether an image is on this machine: it is given, or something
// here comes from it.
func (h *Hub) hasImage(ctx context.Context, ref string) (bool, error) {
	if slices.ContainsFunc(h.images, func(i Image) bool { return i.Ref == ref }) {
		return true, nil
	}
	list, err := h.Store.Checkpoints(ctx, "")
	return slices.ContainsFunc(list, func(c Checkpoint) bool { return c.Image == ref }), err
}

// runs reports whether what is in an artifact of somebody else's runs in a kernel
// before the person runs anything.
func (a *Arrived) runs() bool {
	_, variables := a.layout.Has(artifact.VariablesType)
	_, packages := a.layout.Has(artifact.PackagesType)
	return !a.ours && (variables || packages)
}

func (h *Hub) fillImport(ctx context.Context, u User, p Project, a *Arrived, process bool, o *Operation, out *Forked) error {
	o.Step(0.1, "Writing the files")
	if err := h.importTree(ctx, u, a, artifact.FilesType, h.FilesDir(p.ID), artifact.Target{Owner: p.FileOwner(), Bytes: orElse(h.Files.Total, importFiles)}, out, true); err != nil {
		return err
	}
	packages := artifact.Target{Owner: p.FileOwner(), Bytes: orElse(h.Files.Packages, importFiles), Places: packagePlaces}
	if err := h.importTree(ctx, u, a, artifact.PackagesType, h.homeDir(p.ID), packages, out, false); err != nil {
		return err
	}
	nb, err := h.importNotebook(ctx, p, a, out)
	if err != nil {
		return err
	}
	if process {
		o.Step(0.6, "Writing the checkpoint")
		return h.importProcess(ctx, u, p, a, nb, out)
	}
	if _, ok := a.layout.Has(artifact.VariablesType); ok {
		o.Step(0.6, "Writing the variables")
		return h.importKept(ctx, u, p, a, nb, out)
	}
	return nil
}

func orElse(limit, otherwise int64) int64 {
	if limit > 0 {
		return limit
	}
	return otherwise
}

// importTree unpacks a folder, if the artifact has it.
func (h *Hub) importTree(ctx context.Context, u User, a *Arrived, part, dir string, to artifact.Target, out *Forked, files bool) error {
	size, ok := a.layout.Has(part)
	if !ok {
		return nil
	}
	in, err := a.layout.Open(part)
	if err != nil {
		return err
	}
	defer in.Close()
	if to.Root, err = os.OpenRoot(dir); err != nil {
		return err
	}
	defer to.Root.Close()
	to.Entries, to.Room = importEntries, h.roomFor(ctx, u)
	got, err := artifact.Unpack(ctx, in, to)
	if err != nil {
		return err
	}
	out.Notes = append(out.Notes, got.Left...)
	if files {
		out.Files += got.Files
	} else if !a.ours && size > 0 && got.Files > 0 {
		out.Notes = append(out.Notes, "Packages came with it, which run when a kernel of this project starts. Reset them if you do not know who made them.")
	}
	return nil
}

// importNotebook writes the notebook; a stranger's outputs are not trusted.
func (h *Hub) importNotebook(ctx context.Context, p Project, a *Arrived, out *Forked) ([]byte, error) {
	size, ok := a.layout.Has(artifact.NotebookType)
	if !ok {
		return nil, nil
	}
	if size > maxShared {
		return nil, errSharedLarge
	}
	in, err := a.layout.Open(artifact.NotebookType)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	nb, err := io.ReadAll(io.LimitReader(in, maxShared))
	if err != nil {
		return nil, err
	}
	if !asNotebook(nb) {
		out.Notes = append(out.Notes, "The notebook was left out: it is none of format 4.")
		return nil, nil
	}
	name := a.config.Manifest.Checkpoint.Notebook
	if !filepath.IsLocal(name) || path.Ext(name) != ".ipynb" || strings.ContainsAny(name, "\\\x00") || len(name) > 4096 {
		name = "notebook.ipynb"
	}
	out.Notebook, err = h.putForeign(ctx, p, name, nb)
	if fault.ClassOf(err) == fault.Invalid || fault.ClassOf(err) == fault.Conflict {
		out.Notebook, err = h.Notebooks.AddForeign(ctx, p, "notebook.ipynb", nb)
	}
	return nb, err
}

// importProcess makes a checkpoint of the process, and the kernel that sleeps in it.
// The artifact is one of ours.
func (h *Hub) importProcess(ctx context.Context, u User, p Project, a *Arrived, nb []byte, out *Forked) error {
	m := a.config.Manifest
	c := m.Checkpoint
	c.Notebook = out.Notebook
	rec, err := h.branchRecord(p, c, m)
	if err != nil {
		return err
	}
	n := h.forkedFrom(p, c, rec.ID)
	dir := h.vaultDir(n.ID)
	if err := os.MkdirAll(dir, 0o711); err != nil {
		return err
	}
	err = h.importTree(ctx, u, a, artifact.ProcessType, dir, artifact.Target{Owner: -1, Bytes: importBytes, Places: []string{"dump", "journal"}}, &Forked{}, true)
	if err == nil {
		n, err = h.finishFork(p, c, n, m, a.config.UIDBase, nb)
	}
	if err == nil {
		err = h.Store.PutCheckpoint(ctx, n)
	}
	if err != nil {
		return errors.Join(err, os.RemoveAll(dir))
	}
	rec.Checkpoint, rec.Base = n.ID, n.ID
	if err := h.forkSession(ctx, "", p, c, n, m, rec, out.Notebook, a.config.Info); err != nil {
		return err
	}
	out.Kernel = rec.ID
	h.filesDue()
	return nil
}

// Digest is that of all that is in it.
func (a *Arrived) Digest() string { return a.layout.Digest }
