package hub

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"time"

	"cellar/checkpoint"
	"cellar/checkpoint/tree"
	"cellar/checkpoint/vault"
	"cellar/internal/fault"
)

// Archive keeps checkpoints for megabytes; see checkpoint.Archive.
//
// A checkpoint is born as a folder: it is whole, on the disk, before anyone is
// told of it. Later, when nobody needs it at once, it is stored in the archive
// and the folder goes; whoever needs it again has it laid out as a folder. All
// else in this package knows folders only.
type Archive interface {
	Save(ctx context.Context, p checkpoint.Place, folder, base string, about []byte) (size, added int64, err error)
	Load(ctx context.Context, p checkpoint.Place, folder string, hollow checkpoint.Hollow) error
	LateKey(ctx context.Context, tenant string) ([]byte, error)
	About(ctx context.Context, p checkpoint.Place) ([]byte, error)
	File(ctx context.Context, p checkpoint.Place, name string) ([]byte, error)
	SaveFiles(ctx context.Context, p checkpoint.Place, base string, t tree.Taking) (tree.Summary, int64, error)
	Files(ctx context.Context, p checkpoint.Place) (*tree.Snapshot, error)
	Sign(ctx context.Context, digest string) (string, error)
	Signed(ctx context.Context, digest, signature string) (bool, error)
	Delete(ctx context.Context, p checkpoint.Place) error
	Tenants() ([]string, error)
	List(ctx context.Context, tenant string) ([]string, error)
	Collect(ctx context.Context, tenant string) (vault.Collected, error)
	Verify(ctx context.Context, tenant string, deep bool) (vault.Report, error)
	Stats(ctx context.Context, tenant string) (vault.Stats, error)
}

// placeOf says where a checkpoint is stored: in the vault of the project's owner,
// described under the project's key.
func (h *Hub) placeOf(ctx context.Context, project, id string) (checkpoint.Place, error) {
	p, err := h.Store.Project(ctx, project)
	return checkpoint.Place{Tenant: p.Owner, Project: project, ID: id}, err
}

// description reads what a checkpoint says of itself, without laying it out.
func (h *Hub) description(ctx context.Context, c Checkpoint) (manifest, error) {
	m, err := h.readManifest(c.ID)
	if err == nil || !c.Stored {
		return m, err
	}
	p, err := h.placeOf(ctx, c.Project, c.ID)
	if err != nil {
		return m, err
	}
	b, err := h.Archive.About(ctx, p)
	if err == nil {
		err = json.Unmarshal(b, &m)
	}
	return m, err
}

// storeSoon is how often is looked for what is to be stored.
const storeSoon = 5 * time.Second

// storing stores checkpoints and frees what is not used any more, beside all
// else.
func (h *Hub) storing() {
	h.sweepArchive()
	every := storeSoon
	if h.StoreAfter > 0 {
		every = max(min(h.StoreAfter, storeSoon), 100*time.Millisecond)
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-h.ctx.Done():
			return
		case <-tick.C:
		}
		if h.StoreAfter > 0 {
			h.storeDue()
		}
		h.collect(time.Now())
	}
}

// storeDue stores the checkpoints that nobody has needed for a while.
func (h *Hub) storeDue() {
	list, err := h.Store.Checkpoints(h.ctx, "")
	if err != nil {
		return
	}
	for _, c := range list {
		if h.ctx.Err() != nil {
			return
		}
		if !h.mayStore(c) {
			continue
		}
		if !c.Stored {
			if err := h.storeNow(c, baseOf(c, list)); err != nil {
				if h.ctx.Err() == nil {
					h.Log.Error("checkpoint not stored; its folder stays", "checkpoint", c.ID, "error", err)
				}
				if errors.Is(err, fault.Exhausted) {
					return // the next one would have no room either
				}
				continue
			}
		}
		h.dropFolder(c.ID)
	}
}

// mayStore reports whether a checkpoint has a folder that nobody needs. A node
// has links to the files of its own: they would take their room all the same.
func (h *Hub) mayStore(c Checkpoint) bool {
	if c.Kind == KindPublish {
		return false
	}
	st, err := os.Stat(h.vaultDir(c.ID))
	if err != nil || time.Since(st.ModTime()) < h.StoreAfter || time.Since(c.CreatedAt) < h.StoreAfter {
		return false
	}
	if _, err := h.readManifest(c.ID); err != nil {
		return false
	}
	return !h.draining(c.ID)
}

// draining reports whether the memory of a container still comes from a dump;
// also when that cannot be told.
func (h *Hub) draining(id string) bool {
	list, err := h.Runtime.Draining()
	for _, dump := range list {
		if dump == h.dumpDir(id) {
			return true
		}
	}
	return err != nil
}

// baseOf finds the stored checkpoint that c most likely resembles: of the same
// kernel, else of the same image. list is newest first.
func baseOf(c Checkpoint, list []Checkpoint) (base string) {
	for _, o := range list {
		if !o.Stored || o.Project != c.Project || o.ID == c.ID {
			continue
		}
		if o.Kernel == c.Kernel {
			return o.ID
		}
		if base == "" && o.Image == c.Image {
			base = o.ID
		}
	}
	return base
}

// storeNow stores a checkpoint; its folder stays.
func (h *Hub) storeNow(c Checkpoint, base string) error {
	_, err := h.shelf.enter(h.ctx, c.ID) // its folder stays meanwhile; it may be read
	if err != nil {
		return err
	}
	defer h.shelf.leave(c.ID)
	m, err := h.readManifest(c.ID)
	if err != nil {
		return err
	}
	about, err := json.Marshal(m)
	if err != nil {
		return err
	}
	p, err := h.placeOf(h.ctx, c.Project, c.ID)
	if err != nil {
		return err
	}
	start := time.Now()
	if err := h.step("store.begun"); err != nil {
		return err
	}
	size, added, err := h.Archive.Save(h.ctx, p, h.vaultDir(c.ID), base, about)
	if err == nil {
		err = h.step("store.saved")
	}
	if err == nil {
		err = h.Store.StoredCheckpoint(h.ctx, c.ID, added)
	}
	if errors.Is(err, fault.NotFound) { // deleted meanwhile
		err = h.Archive.Delete(h.ctx, p)
	}
	if err == nil {
		h.Log.Info("checkpoint stored", "checkpoint", c.ID, "kernel", c.Kernel, "bytes", size, "added", added, "base", base, "took", time.Since(start))
	}
	return err
}

// dropFolder removes the folder of a stored checkpoint unless somebody uses it.
func (h *Hub) dropFolder(id string) {
	old := h.vaultDir(id) + ".old"
	gone := h.shelf.clear(id, func() {
		if h.draining(id) {
			return
		}
		if err := os.Rename(h.vaultDir(id), old); err != nil {
			h.Log.Warn("folder of a stored checkpoint not removed", "checkpoint", id, "error", err)
		}
	})
	if gone {
		if err := os.RemoveAll(old); err != nil {
			h.Log.Warn("folder of a stored checkpoint not removed", "checkpoint", id, "error", err)
		}
	}
}

// forget removes a checkpoint's folder and what is stored of it; its row is gone
// already.
func (h *Hub) forget(ctx context.Context, tenant string, c Checkpoint) error {
	err := os.RemoveAll(h.vaultDir(c.ID))
	if h.Archive != nil && (c.Stored || c.Files.State != "") {
		err = errors.Join(err, h.Archive.Delete(ctx, checkpoint.Place{Tenant: tenant, Project: c.Project, ID: c.ID}))
		h.collecting.add(tenant, time.Now())
	}
	return err
}

// sweepArchive forgets what is stored of checkpoints without a row, as a hub that
// was killed may leave them, and has all vaults collected.
func (h *Hub) sweepArchive() {
	tenants, err := h.Archive.Tenants()
	if err != nil {
		h.Log.Error("archive not looked at", "error", err)
	}
	for _, tenant := range tenants {
		if err := h.sweepTenant(tenant); err != nil && h.ctx.Err() == nil {
			h.Log.Error("vault not looked at", "tenant", tenant, "error", err)
		}
		h.collecting.add(tenant, time.Now())
	}
	h.sweepHollow()
}

// sweepHollow removes the hollow folders that no memory comes from: what this
// machine can do may be another now than when they were made.
func (h *Hub) sweepHollow() {
	list, err := h.Store.Checkpoints(h.ctx, "")
	if err != nil {
		return
	}
	for _, c := range list {
		if c.Stored && checkpoint.IsHollow(h.dumpDir(c.ID)) {
			h.dropFolder(c.ID)
		}
	}
}

func (h *Hub) sweepTenant(tenant string) error {
	stored, err := h.Archive.List(h.ctx, tenant) // before the rows: a row is there before anything is stored
	if err != nil {
		return err
	}
	list, err := h.Store.Checkpoints(h.ctx, "")
	if err != nil {
		return err
	}
	known := map[string]bool{}
	for _, c := range list {
		known[c.ID] = true
	}
	for _, l := range h.LiveOf("") {
		known[l.Record().Checkpoint] = true
	}
	for _, id := range stored {
		if !known[id] {
			err = errors.Join(err, h.Archive.Delete(h.ctx, checkpoint.Place{Tenant: tenant, ID: id}))
		}
	}
	return err
}

// heldDump gives a dump's list of files, of which a part of the folder is enough.
func (h *Hub) heldDump(ctx context.Context, c Checkpoint, read func(dump string) error) error {
	if _, err := os.Stat(h.dumpDir(c.ID)); err == nil || !c.Stored {
		return read(h.dumpDir(c.ID))
	}
	p, err := h.placeOf(ctx, c.Project, c.ID)
	if err != nil {
		return err
	}
	const name = "files.img"
	b, err := h.Archive.File(ctx, p, filepath.Join(checkpoint.Dump, name))
	if err != nil {
		return err
	}
	tmp, err := os.MkdirTemp(filepath.Join(h.Data, "vault"), "part-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	if err := os.WriteFile(filepath.Join(tmp, name), b, 0o600); err != nil {
		return err
	}
	return read(tmp)
}
