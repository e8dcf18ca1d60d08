package hub

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/google/uuid"

	"cellar/checkpoint/artifact"
	"cellar/internal/fault"
	"cellar/kernel"
)

// importKept makes a checkpoint of variables that were kept one by one, and a kernel
// to bring them back in, which does not run: to make them again runs code that is in
// the file, and that is for the person to say.
func (h *Hub) importKept(ctx context.Context, u User, p Project, a *Arrived, nb []byte, out *Forked) error {
	spec, err := h.Spec(a.config.Manifest.Spec)
	if fault.ClassOf(err) == fault.Invalid || fault.ClassOf(err) == fault.NotFound {
		spec, err = h.Spec("")
	}
	if err != nil {
		return err
	}
	now := time.Now()
	name, err := checkName(a.config.Manifest.Checkpoint.Name)
	if err != nil {
		name = defaultNames[KindVariables]
	}
	rec := Kernel{
		ID: kernel.ID(uuid.NewString()), Project: p.ID, Spec: spec.Name, Image: spec.Image, Configuration: h.Default, State: kernel.Dead,
		Detail: "It has not been started. Apply the checkpoint “" + name + "” to start it with its variables.", Journal: "journal-1", Parts: h.Parts,
		Address: h.freeAddress(), CreatedAt: now, ActiveAt: now, Since: now,
	}
	c := Checkpoint{ID: newID(), Project: p.ID, Kernel: rec.ID, Name: name, Kind: KindVariables, Notebook: out.Notebook, Image: rec.Image, Parts: rec.Parts, Pinned: true, CreatedAt: now}
	if err := h.importVariablesOf(ctx, u, a, rec, &c, nb); err != nil {
		return errors.Join(err, os.RemoveAll(h.vaultDir(c.ID)))
	}
	if err := h.Store.PutCheckpoint(ctx, c); err != nil {
		return errors.Join(err, os.RemoveAll(h.vaultDir(c.ID)))
	}
	l := h.newLive(rec)
	if err := os.MkdirAll(l.folder(), 0o711); err != nil {
		return err
	}
	if err := h.putForked(ctx, p, l, out.Notebook); err != nil {
		return err
	}
	out.Kernel = rec.ID
	out.Notes = append(out.Notes, "The variables wait in the checkpoint “"+name+"”. Applying it runs code that is in the file, in this project's kernel: do so if you know who made it.")
	return nil
}

// importVariablesOf makes the folder of such a checkpoint.
func (h *Hub) importVariablesOf(ctx context.Context, u User, a *Arrived, rec Kernel, c *Checkpoint, nb []byte) error {
	dir := h.vaultDir(c.ID)
	if err := os.MkdirAll(dir, 0o711); err != nil {
		return err
	}
	in, err := a.layout.Open(artifact.VariablesType)
	if err != nil {
		return err
	}
	defer in.Close()
	size, _ := a.layout.Has(artifact.VariablesType)
	if err := h.roomFor(ctx, u)(size); err != nil {
		return err
	}
	out, err := os.OpenFile(filepath.Join(dir, portableName), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer out.Close()
	if _, err := io.Copy(out, &whileWanted{ctx, in}); err != nil {
		return err
	}
	if err := out.Close(); err != nil {
		return err
	}
	if nb != nil {
		if err := os.WriteFile(filepath.Join(dir, "notebook.ipynb"), nb, 0o600); err != nil {
			return err
		}
	}
	if c.Size, err = sizeOf(dir); err != nil {
		return err
	}
	c.Added = c.Size
	report := Portable{}
	if a.config.Manifest.Portable != nil {
		report = *a.config.Manifest.Portable
	}
	report.bound()
	m := manifest{Checkpoint: *c, Boot: bootID(), Spec: rec.Spec, Configuration: rec.Configuration, Portable: &report}
	for _, v := range report.Kept {
		m.Variables = append(m.Variables, Variable{Name: v.Name, Type: v.Type, Size: v.Size})
	}
	b, err := json.Marshal(m)
	if err != nil {
		return err
	}
	return writeSynced(filepath.Join(dir, manifestName), b)
}
