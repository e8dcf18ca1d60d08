package hub

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"

	"cellar/internal/fault"
	"cellar/kernel"
)

// mark says where the journal of a kernel was when it was frozen, in case the
// kernel has to go back to that dump after it has said more.
type mark struct {
	Seq      uint64           `json:"seq"`
	RunsFrom uint64           `json:"runs_from"`
	Files    map[string]int64 `json:"files"` // sizes, by name
}

const markName = "mark.json"

// markJournal writes the mark of a kernel that was just frozen into dump id.
func (h *Hub) markJournal(l *Live, id string) error {
	entries, err := os.ReadDir(l.journalDir())
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	l.mu.Lock()
	m := mark{Seq: l.seq, RunsFrom: l.book.openFrom(l.seq), Files: map[string]int64{}}
	l.mu.Unlock()
	for _, e := range entries {
		if st, err := e.Info(); err == nil && st.Mode().IsRegular() {
			m.Files[e.Name()] = st.Size()
		}
	}
	b, err := json.Marshal(m)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(filepath.Dir(h.dumpDir(id)), markName), b, 0o600)
}

// copyTo copies of a journal what there was at the mark. Segments that are not
// there any more were not needed any more.
func (m mark) copyTo(journal, dst string) error {
	if err := os.MkdirAll(dst, 0o700); err != nil {
		return err
	}
	from, err := os.OpenRoot(journal) // a kernel could write to it: no link leads out
	if err != nil {
		return err
	}
	defer from.Close()
	for name, size := range m.Files {
		in, err := from.Open(name)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		err = copyStart(in, filepath.Join(dst, filepath.Base(name)), size)
		in.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

// copyStart copies the first bytes of a file, its mode with them: CRIU refuses
// one that was open if its mode is another now.
func copyStart(in *os.File, name string, size int64) error {
	st, err := in.Stat()
	if err != nil {
		return err
	}
	out, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, io.LimitReader(in, size))
	return errors.Join(err, out.Chmod(st.Mode().Perm()), out.Close())
}

// drain waits until a thawed container needs its dump no more, and forgets the
// dump of a move then. If the memory cannot come the kernel goes back to the
// dump: without that it would wait for ever.
func (h *Hub) drain(l *Live, container, dump string) {
	id := filepath.Base(filepath.Dir(dump))
	err := h.Runtime.Drained(h.ctx, container)
	if h.ctx.Err() != nil {
		return
	}
	release, e := l.take(h.ctx) // not before the deed that thawed it is through: its undo may need the dump
	if e != nil {
		return
	}
	defer release()
	rec := l.Record()
	if err == nil || rec.Container != container || rec.State != kernel.Running {
		h.forgetMove(l, id) // if it ended or was replaced meanwhile, whoever did that knew what to do
		return
	}
	h.Log.Error("the memory of a thawed kernel does not come; it goes back to its dump", "kernel", rec.ID, "container", container, "dump", id, "error", err)
	if err := h.fallBack(h.ctx, l, id); err != nil {
		h.Log.Error("kernel not brought back", "kernel", rec.ID, "dump", id, "error", err)
		l.fail(h.ctx, "Its memory could not be brought back. "+h.lastCheckpointNote(h.ctx, l))
	}
}

// settled waits until all memory of a kernel has come: until then it uses less
// than it will.
func (h *Hub) settled(ctx context.Context, container string) error {
	if err := h.Runtime.Drained(ctx, container); err != nil {
		return fault.Wrap(fault.Unavailable, "memory_lost", "The kernel's memory has not come back whole. It goes back to its last state; try again then.", err)
	}
	return nil
}

// forgetMove removes a dump that only carried a kernel from one container to the
// next, unless that still needs it; checkpoints stay. The deed is held.
func (h *Hub) forgetMove(l *Live, id string) {
	if _, err := h.readManifest(id); err == nil || l.Record().Checkpoint == id {
		return
	}
	draining, err := h.Runtime.Draining()
	if err != nil {
		h.Log.Warn("dump of a move not removed", "dump", id, "error", err)
		return
	}
	for _, dump := range draining {
		if dump == h.dumpDir(id) {
			return // who waits for that container comes here, too
		}
	}
	h.removeMove(id)
}

func (h *Hub) removeMove(id string) {
	if err := os.RemoveAll(filepath.Dir(h.dumpDir(id))); err != nil {
		h.Log.Warn("dump of a move not removed", "dump", id, "error", err)
	}
}

// fallBack makes dump id the kernel again although it has run since; the deed is
// held. What it did since is lost, and open runs say so.
func (h *Hub) fallBack(ctx context.Context, l *Live, id string) error {
	l.letGo(ctx)
	giveBack, err := h.borrow(ctx, l.Project(), id)
	if err != nil {
		return err
	}
	defer giveBack()
	m, err := h.readManifest(id)
	c := m.Checkpoint
	if err != nil {
		if c, err = h.keepMove(ctx, l, id); err != nil {
			return err
		}
	}
	l.mu.Lock()
	l.rec.Checkpoint = c.ID
	l.mu.Unlock()
	l.force(ctx, kernel.Hibernated, "")
	p, err := h.Store.Project(ctx, c.Project)
	if err != nil {
		return err
	}
	if m, err = h.readManifest(c.ID); err != nil {
		return err
	}
	if _, err := h.goBack(ctx, p, l, c, Checkpoint{}, m, Choice{}); err != nil {
		l.letGo(ctx)
		l.force(ctx, kernel.Hibernated, "")
		return err
	}
	return l.change(ctx, func(k *Kernel) {
		k.Detail = "Its memory could not be brought in whole, so it went back to its state of " +
			c.CreatedAt.UTC().Format("15:04:05") + " UTC. Run again what ran since."
	})
}

// keepMove makes a checkpoint of the dump of a move whose kernel has run since.
func (h *Hub) keepMove(ctx context.Context, l *Live, id string) (Checkpoint, error) {
	c := h.newCheckpoint(l, KindSwitch, "")
	p, err := h.Store.Project(ctx, c.Project)
	if err != nil {
		return c, err
	}
	folder := filepath.Dir(h.dumpDir(id))
	b, err := os.ReadFile(filepath.Join(folder, markName))
	if err != nil {
		return c, err
	}
	var m mark
	if err := json.Unmarshal(b, &m); err != nil {
		return c, err
	}
	if st, err := os.Stat(filepath.Join(folder, markName)); err == nil {
		c.CreatedAt = st.ModTime()
	}
	if err := h.adoptDump(c.ID, id); err != nil {
		return c, err
	}
	if err := m.copyTo(l.journalDir(), filepath.Join(h.vaultDir(c.ID), "journal")); err != nil {
		return c, err
	}
	c.Seq = m.Seq
	if c, err = h.finish(l, c, m.RunsFrom, h.notebookBytes(ctx, p, c.Notebook), nil); err != nil {
		return c, err
	}
	h.removeMove(id)
	return c, h.Store.PutCheckpoint(ctx, c)
}

// adoptDump copies the dump files of a move into the folder of a checkpoint.
func (h *Hub) adoptDump(checkpoint, id string) error {
	if checkpoint == id {
		return readableTree(h.dumpDir(checkpoint))
	}
	if err := os.MkdirAll(h.vaultDir(checkpoint), 0o711); err != nil {
		return err
	}
	if err := copyTree(h.dumpDir(id), h.dumpDir(checkpoint), -1, 1<<50); err != nil {
		return err
	}
	return readableTree(h.dumpDir(checkpoint))
}
