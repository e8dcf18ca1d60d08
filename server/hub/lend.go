package hub

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"cellar/checkpoint"
	"cellar/internal/fault"
)

// borrow makes sure that a checkpoint's folder is there, and stays until release
// is called. A dump that a container's memory still comes from stays after that,
// too. The dump may be hollow: it can be thawed, and all else in the folder read.
func (h *Hub) borrow(ctx context.Context, project, id string) (release func(), err error) {
	return h.lend(ctx, project, id, false)
}

// borrowWhole is borrow for those who need the dump's memory in its files.
func (h *Hub) borrowWhole(ctx context.Context, project, id string) (release func(), err error) {
	return h.lend(ctx, project, id, true)
}

// openState lends the process of a checkpoint that this machine can bring back:
// its manifest, and all else in its folder until giveBack is called.
func (h *Hub) openState(ctx context.Context, c Checkpoint, whole bool) (m manifest, giveBack func(), err error) {
	if c.Kind == KindVariables {
		return m, nil, errNoProcess
	}
	if err := h.mayThaw(c); err != nil {
		return m, nil, err
	}
	if giveBack, err = h.lend(ctx, c.Project, c.ID, whole); err != nil {
		return m, nil, err
	}
	if m, err = h.readManifest(c.ID); err != nil {
		giveBack()
		return m, nil, err
	}
	return m, giveBack, nil
}

func (h *Hub) lend(ctx context.Context, project, id string, whole bool) (release func(), err error) {
	spot, err := h.shelf.enter(ctx, id)
	if err != nil {
		return nil, err
	}
	release = func() { h.shelf.leave(id) }
	select {
	case <-spot.turn: // one lays it out, the others find it
		defer func() { spot.turn <- struct{}{} }()
	case <-ctx.Done():
		release()
		return nil, ctx.Err()
	}
	dir := h.vaultDir(id)
	_, err = os.Stat(dir)
	if h.Archive != nil && (errors.Is(err, os.ErrNotExist) || err == nil && whole && checkpoint.IsHollow(h.dumpDir(id))) {
		err = h.layOut(ctx, project, id, whole)
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) { // what is not there at all is found out by who reads it
		release()
		return nil, err
	}
	now := time.Now()
	os.Chtimes(dir, now, now) // from now on it counts as used
	return release, nil
}

// layOut makes the folder of a stored checkpoint, or of a hollow one a whole one.
func (h *Hub) layOut(ctx context.Context, project, id string, whole bool) error {
	c, err := h.Store.Checkpoint(ctx, project, id)
	if errors.Is(err, fault.NotFound) || err == nil && !c.Stored {
		return os.ErrNotExist
	}
	if err != nil {
		return err
	}
	p, err := h.placeOf(ctx, project, id)
	if err != nil {
		return err
	}
	start := time.Now()
	tmp := h.vaultDir(id) + ".new"
	if err := os.RemoveAll(tmp); err != nil {
		return err
	}
	hollow := false
	err = h.Archive.Load(ctx, p, tmp, func(dump string) (bool, error) {
		if hollow = !whole && h.Runtime.Late(dump); hollow {
			return true, room(h.Data, 0)
		}
		return false, room(h.Data, c.Size)
	})
	if err == nil {
		err = os.WriteFile(filepath.Join(tmp, laidOut), []byte(bootID()), 0o600)
	}
	if err == nil {
		err = replace(tmp, h.vaultDir(id))
	}
	if err != nil {
		return errors.Join(err, os.RemoveAll(tmp))
	}
	h.Log.Info("checkpoint laid out", "checkpoint", id, "bytes", c.Size, "hollow", hollow, "took", time.Since(start))
	return os.RemoveAll(tmp)
}

// laidOut marks a folder that came from the archive, with the boot in which it did.
// It is not forced to the disk, as the archive has it: a power cut may leave zeros
// in its files, so those of another boot are removed and laid out again.
const laidOut = "laid-out"

// staleLayOut reports whether what a folder of a stored checkpoint has is not to be
// relied on.
func (h *Hub) staleLayOut(id string) bool {
	boot, err := os.ReadFile(filepath.Join(h.vaultDir(id), laidOut))
	return err == nil && string(boot) != bootID() || err != nil && !errors.Is(err, os.ErrNotExist)
}

// replace gives a folder the name of another, which is then there no more under
// any name but from.
func replace(from, to string) error {
	err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_EXCHANGE)
	if errors.Is(err, unix.ENOENT) { // there is none
		return os.Rename(from, to)
	}
	return err
}

// lateKey is what a pager needs for a dump; nil if that is not hollow.
func (h *Hub) lateKey(ctx context.Context, project, dump string) ([]byte, error) {
	if h.Archive == nil || !checkpoint.IsHollow(dump) {
		return nil, nil
	}
	p, err := h.Store.Project(ctx, project)
	if err != nil {
		return nil, err
	}
	return h.Archive.LateKey(ctx, p.Owner)
}
