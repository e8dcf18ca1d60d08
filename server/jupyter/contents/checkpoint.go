package contents

import (
	"errors"
	"io"
	"io/fs"
	"path"
	"strings"

	"cellar/internal/fault"
)

// File checkpoints are Jupyter's own: one older copy of a file, beside it in .ipynb_checkpoints, under
// the names Jupyter gives, so that a project carried elsewhere keeps them. They have nothing to do
// with the checkpoints of kernels.

const (
	checkpointDir = ".ipynb_checkpoints"
	checkpointID  = "checkpoint" // the only one there is
)

// Checkpoint is one file checkpoint.
type Checkpoint struct {
	ID           string `json:"id"`
	LastModified Time   `json:"last_modified"`
}

func checkpointOf(place string) string {
	name := path.Base(place)
	ext := path.Ext(name)
	if ext == name { // .profile has no extension
		ext = ""
	}
	return path.Join(path.Dir(place), checkpointDir, strings.TrimSuffix(name, ext)+"-"+checkpointID+ext)
}

// Checkpoints lists a file's checkpoints: none or one.
func (t *Tree) Checkpoints(p string) ([]Checkpoint, error) {
	place, err := t.place(p)
	if err != nil {
		return nil, err
	}
	list := []Checkpoint{}
	if info, err := t.root.Lstat(checkpointOf(place)); err == nil && info.Mode().IsRegular() {
		list = append(list, Checkpoint{checkpointID, Time(info.ModTime())})
	}
	return list, nil
}

// CreateCheckpoint keeps a copy of a file as it is now, in place of the one before.
func (t *Tree) CreateCheckpoint(p string) (Checkpoint, error) {
	place, err := t.place(p)
	if err != nil {
		return Checkpoint{}, err
	}
	defer t.locks.hold(place)()
	return t.createCheckpoint(place)
}

// createCheckpoint wants the place's lock held.
func (t *Tree) createCheckpoint(place string) (Checkpoint, error) {
	f, _, err := t.openRegular(place)
	if err != nil {
		return Checkpoint{}, err
	}
	defer f.Close()
	if err := t.checkpointHome(place); err != nil {
		return Checkpoint{}, err
	}
	to := checkpointOf(place)
	if err := t.write(to, disguise{}, func(w io.Writer) error {
		_, err := io.Copy(w, f)
		return err
	}); err != nil {
		return Checkpoint{}, err
	}
	info, err := t.root.Lstat(to)
	if err != nil {
		return Checkpoint{}, classed(place, err)
	}
	return Checkpoint{checkpointID, Time(info.ModTime())}, nil
}

// checkpointHome makes the directory of a file's checkpoints where it is missing.
func (t *Tree) checkpointHome(place string) error {
	home := path.Join(path.Dir(place), checkpointDir)
	err := t.root.Mkdir(home, 0o755)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return classed(place, err)
	}
	return classed(place, t.own(home))
}

// RestoreCheckpoint puts the kept copy in the place of the file.
func (t *Tree) RestoreCheckpoint(p, id string) error {
	place, err := t.checkpointPlace(p, id)
	if err != nil {
		return err
	}
	defer t.locks.hold(place)()
	f, _, err := t.openRegular(checkpointOf(place))
	if err != nil {
		return noCheckpoint(place, id)
	}
	defer f.Close()
	err = t.write(place, disguise{}, func(w io.Writer) error {
		_, err := io.Copy(w, f)
		return err
	})
	t.aliases.forget(place)
	return err
}

// DeleteCheckpoint forgets the kept copy.
func (t *Tree) DeleteCheckpoint(p, id string) error {
	place, err := t.checkpointPlace(p, id)
	if err != nil {
		return err
	}
	defer t.locks.hold(place)()
	if err := t.root.Remove(checkpointOf(place)); err != nil {
		return noCheckpoint(place, id)
	}
	return nil
}

func (t *Tree) checkpointPlace(p, id string) (string, error) {
	place, err := t.place(p)
	if err == nil && (id != checkpointID || place == "") {
		err = noCheckpoint(place, id)
	}
	return place, err
}

func noCheckpoint(place, id string) error {
	return fault.Newf(fault.NotFound, "no_such_checkpoint", "%s has no checkpoint %q.", place, id)
}

// moveCheckpoint lets a renamed file keep its checkpoint. It is a help, not a promise: the rename is
// done when this runs, so a failure here is not reported.
func (t *Tree) moveCheckpoint(from, to string) {
	old := checkpointOf(from)
	if info, err := t.root.Lstat(old); err != nil || !info.Mode().IsRegular() {
		return
	}
	if t.checkpointHome(to) == nil {
		_ = t.root.Rename(old, checkpointOf(to))
	}
}
