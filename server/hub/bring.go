package hub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"cellar/checkpoint/tree"
	"cellar/internal/fault"
)

// Choice is what an apply brings back beside the variables.
type Choice struct {
	Notebook  bool // the notebook of the checkpoint
	Files     bool // all other files that are no notebooks
	Notebooks bool // all other notebooks
	Packages  bool
}

// tree reports whether what the archive keeps of the project is needed.
func (c Choice) tree() bool { return c.Files || c.Notebooks || c.Packages }

// wants reports whether a path comes back; the notebook comes another way.
func (c Choice) wants(rel, notebook string) bool {
	switch {
	case rel == notebook:
		return false
	case strings.HasSuffix(rel, ".ipynb"):
		return c.Notebooks
	}
	return c.Files
}

// Applied says what an apply did to the files.
type Applied struct {
	Files int      `json:"files" doc:"how many were brought back"`
	Notes []string `json:"notes,omitempty" doc:"what was not, and why"`
}

// bringing is an apply that changes files. It is on the disk before the first of
// them is changed and as long as it can be cut off: a hub that finds it takes it
// back, unless the kernel is on its way to the checkpoint already, which is what
// comes last.
type bringing struct {
	Checkpoint string         `json:"checkpoint"`
	Rollback   string         `json:"rollback"`
	Journal    string         `json:"journal"` // of the kernel, once it is on its way
	Choice     Choice         `json:"choice"`
	Packages   *packagesMoved `json:"packages,omitempty"`
}

func (l *Live) bringingFile() string { return filepath.Join(l.folder(), "apply.json") }

// bring changes what b says, once that is written down.
func (h *Hub) bring(ctx context.Context, p Project, l *Live, c Checkpoint, b bringing) (out Applied, err error) {
	if err := l.writeBringing(b); err != nil {
		return out, err
	}
	if err := h.step("apply.begun"); err != nil {
		return out, err
	}
	if b.Choice.tree() {
		rollback, err := h.Store.Checkpoint(ctx, p.ID, b.Rollback) // as it is known now
		if err != nil {
			return out, err
		}
		if out, err = h.bringFiles(ctx, p, l, c, rollback, &b); err != nil {
			return out, err
		}
	}
	if b.Choice.Notebook {
		err = h.filesBack(ctx, p, c)
	}
	return out, err
}

// bringFiles changes files as b says. b is written down.
func (h *Hub) bringFiles(ctx context.Context, p Project, l *Live, c, rollback Checkpoint, b *bringing) (Applied, error) {
	var out Applied
	then, err := h.KeptFiles(ctx, c)
	if err != nil {
		return out, err
	}
	now, err := h.KeptFiles(ctx, rollback)
	if err != nil {
		return out, err
	}
	tops, _, done, err := h.tops(p)
	if err != nil {
		return out, err
	}
	defer done()
	list, err := touched(then, now, b.Choice, c.Notebook)
	if err != nil {
		return out, err
	}
	for _, change := range list {
		note, err := bringFile(ctx, p, tops[0], then, change)
		if err != nil {
			return out, err
		}
		if note != "" && len(out.Notes) < maxNotes {
			out.Notes = append(out.Notes, note)
		} else if note == "" && change.Then.Kind != tree.Folder {
			out.Files++
		}
		if err := h.step("apply.file"); err != nil {
			return out, err
		}
	}
	if b.Choice.Packages {
		if err := h.bringPackages(ctx, p, l, then, now, b); err != nil {
			return out, err
		}
	}
	return out, syncFolder(h.projectDir(p.ID))
}

// maxNotes bounds what is told of files that did not come back.
const maxNotes = 100

// touched lists what an apply brings back: what the checkpoint has, and the
// present has otherwise or not. What came since stays.
func touched(then, now *tree.Snapshot, choice Choice, notebook string) (out []tree.Change, err error) {
	list, err := tree.Compare(then.Below(topFiles), now.Below(topFiles), tree.SameKept)
	for _, c := range list {
		rel, _ := (tree.Entry{Path: c.Path}).Below(topFiles)
		if c.How != tree.Added && choice.wants(rel, notebook) {
			out = append(out, c)
		}
	}
	return out, err
}

// bringFile brings one file back. What the rollback has not, as it is too large or
// was changed since, gets another name instead of being replaced.
func bringFile(ctx context.Context, p Project, top tree.Top, then *tree.Snapshot, c tree.Change) (note string, err error) {
	rel, _ := c.Then.Below(top.Name)
	to := tree.Target{Root: top.Root, Owner: p.FileOwner(), Present: tree.Replace}
	if is, found := tree.Present(top, rel); found && !(c.Now.Why == tree.Kept && c.Now.Untouched(is)) {
		to.Present = tree.Aside
	}
	_, err = then.Restore(ctx, c.Then, to, rel)
	if class := fault.ClassOf(err); class == fault.Conflict || class == fault.Unsupported {
		return fault.Sentence(err), nil
	}
	return "", err
}

// takeBack undoes bringFiles, as far as it came. What somebody else has changed
// since is left as it is.
func (h *Hub) takeBack(ctx context.Context, p Project, l *Live, b bringing) error {
	c, err := h.Store.Checkpoint(ctx, p.ID, b.Checkpoint)
	if err != nil {
		return err
	}
	rollback, err := h.Store.Checkpoint(ctx, p.ID, b.Rollback)
	if err != nil {
		return err
	}
	if b.Choice.Notebook {
		if err := h.notebookBack(ctx, p, rollback, c.Notebook); err != nil {
			return err
		}
	}
	if !b.Choice.tree() {
		return nil
	}
	then, err := h.KeptFiles(ctx, c)
	if err != nil {
		return err
	}
	before, err := h.KeptFiles(ctx, rollback)
	if err != nil {
		return err
	}
	tops, home, done, err := h.tops(p)
	if err != nil {
		return err
	}
	defer done()
	list, err := touched(then, before, b.Choice, c.Notebook)
	if err != nil {
		return err
	}
	to := tree.Target{Root: tops[0].Root, Owner: p.FileOwner(), Present: tree.Replace}
	same := tree.SamePresent(ctx, tops)
	for _, change := range list {
		rel, _ := change.Then.Below(topFiles)
		is, found := tree.Present(tops[0], rel)
		if !found || is.Kind == tree.Folder {
			continue
		}
		if brought, err := tree.Alike(change.Then, is, same); err != nil {
			return err
		} else if !brought {
			continue
		}
		if change.How == tree.Removed {
			err = to.Remove(change.Then, rel)
		} else {
			_, err = before.Restore(ctx, change.Now, to, rel)
		}
		if class := fault.ClassOf(err); err != nil && class != fault.Conflict && class != fault.Unsupported {
			return err
		}
	}
	if b.Packages != nil {
		if err := b.Packages.back(home); err != nil {
			return err
		}
	}
	if err := home.RemoveAll(incoming(b.Checkpoint)); err != nil {
		return err
	}
	return syncFolder(h.projectDir(p.ID))
}

// notebookBack writes the notebook as it was in the rollback.
func (h *Hub) notebookBack(ctx context.Context, p Project, rollback Checkpoint, path string) error {
	giveBack, err := h.borrow(ctx, p.ID, rollback.ID)
	if err != nil {
		return err
	}
	defer giveBack()
	nb, err := os.ReadFile(filepath.Join(h.vaultDir(rollback.ID), "notebook.ipynb"))
	if errors.Is(err, os.ErrNotExist) || rollback.Notebook != path {
		return nil
	}
	if err != nil {
		return err
	}
	err = h.Notebooks.Update(ctx, p, path, func([]byte) ([]byte, error) { return nb, nil })
	if errors.Is(err, fault.NotFound) { // renamed, or deleted
		return nil
	}
	return err
}

// writeBringing makes it known that files are about to be changed.
func (l *Live) writeBringing(b bringing) error {
	text, err := json.Marshal(b)
	if err != nil {
		return err
	}
	return writeSynced(l.bringingFile(), text)
}

// settleBringing ends what apply.json tells of, whether the apply came to its end
// or was cut off. The deed is held, and the project's files.
func (h *Hub) settleBringing(ctx context.Context, l *Live) error {
	text, err := os.ReadFile(l.bringingFile())
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	var b bringing
	if err == nil {
		err = json.Unmarshal(text, &b)
	}
	if err != nil {
		return fmt.Errorf("apply that was cut off: %w", err)
	}
	rec := l.Record()
	if rec.Journal == b.Journal { // all files had been changed before that was recorded
		return os.Remove(l.bringingFile())
	}
	if err := h.step("undo.files"); err != nil {
		return err
	}
	p, err := h.Store.Project(ctx, rec.Project)
	if err == nil {
		err = h.takeBack(ctx, p, l, b)
	}
	if errors.Is(err, fault.NotFound) { // of one of the two there is nothing any more
		h.Log.Error("files of an apply that was cut off stay as they are", "kernel", rec.ID, "error", err)
		err = nil
	}
	if err != nil {
		return fmt.Errorf("apply that was cut off: %w", err)
	}
	h.Log.Info("files of an apply that failed taken back", "kernel", rec.ID, "checkpoint", b.Checkpoint)
	return os.Remove(l.bringingFile())
}

// settleApply is settleBringing for a hub that begins.
func (h *Hub) settleApply(ctx context.Context, l *Live) error {
	if _, err := os.Stat(l.bringingFile()); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	ctx, leave, err := h.filing.enter(ctx, l.Project(), true)
	if err != nil {
		return err
	}
	defer leave()
	return h.settleBringing(ctx, l)
}

// syncFiles has the few files below a folder written to the disk, and nothing else
// of its file system.
func syncFiles(dir string) error {
	return filepath.WalkDir(dir, func(name string, d os.DirEntry, err error) error {
		if err != nil || !d.IsDir() && !d.Type().IsRegular() {
			return err
		}
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		defer f.Close()
		return f.Sync()
	})
}

// syncFolder has all of the file system that a folder is on written to the disk.
func syncFolder(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return unix.Syncfs(int(f.Fd()))
}
