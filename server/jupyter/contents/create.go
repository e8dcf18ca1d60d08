package contents

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"regexp"
	"strconv"
	"strings"
	"syscall"

	"cellar/internal/fault"
)

// New makes an empty file, notebook or directory in dir, under a name that is free: Untitled.ipynb,
// Untitled1.ipynb, untitled.txt, Untitled Folder.
func (t *Tree) New(dir, kind, ext string) (*Model, error) {
	place, err := t.directory(dir)
	if err != nil {
		return nil, err
	}
	if strings.ContainsAny(ext, "/\x00") {
		return nil, fault.New(fault.Invalid, "bad_extension", "The extension has characters that no file name can have.")
	}
	base, insert, content := "untitled", "", []byte{}
	switch {
	case kind == Directory:
		base, insert, ext = "Untitled Folder", " ", ""
	case kind == Notebook || kind == "" && ext == ".ipynb":
		kind, base, ext = Notebook, "Untitled", ".ipynb"
		nb, err := parseNotebook([]byte(NewNotebook))
		if err != nil {
			return nil, err
		}
		content = diskForm(&nb)
	}
	return t.claim(place, base+ext, insert, func(to string) error {
		if kind == Directory {
			if err := t.root.Mkdir(to, 0o755); err != nil {
				return err
			}
			return t.own(to)
		}
		return t.create(to, nil, func(w io.Writer) error {
			_, err := w.Write(content)
			return err
		})
	})
}

// directory answers the place of a path that is to be a directory.
func (t *Tree) directory(p string) (string, error) {
	place, err := t.place(p)
	if err != nil {
		return "", err
	}
	info, err := t.root.Stat(at(place))
	if err != nil {
		return "", fault.Wrap(fault.NotFound, "no_such_directory", "No such directory: "+place, err)
	}
	if !info.IsDir() {
		return "", fault.Newf(fault.Invalid, "not_a_directory", "Cannot POST to files, use PUT instead: %s", place)
	}
	return place, nil
}

// claim tries names until make succeeds with one. Making decides, not looking: two who ask at once
// get two names.
func (t *Tree) claim(dir, name, insert string, make func(to string) error) (*Model, error) {
	if err := t.mayChange(join1(dir, name)); err != nil {
		return nil, err
	}
	base, suffix := splitName(name)
	for i := range 10_000 {
		to := base + suffix
		if i > 0 {
			to = base + insert + strconv.Itoa(i) + suffix
		}
		to = join1(dir, to)
		if _, err := t.place(to); err != nil {
			return nil, err
		}
		err := make(to)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return nil, classed(to, err)
		}
		return t.Get(to, Want{})
	}
	return nil, fault.Newf(fault.Exhausted, "no_free_name", "There is no free name left like %s.", name)
}

// splitName cuts a name where a number is put in: before all its extensions (a1.tar.gz), except that a
// notebook has only its own (a.b1.ipynb).
func splitName(name string) (base, suffix string) {
	cut := strings.IndexByte(name, '.')
	if strings.HasSuffix(name, ".ipynb") {
		cut = len(name) - len(".ipynb")
	}
	if cut < 0 {
		return name, ""
	}
	return name[:cut], name[cut:]
}

// create makes a new file; one that is there is left alone and reported as fs.ErrExist.
func (t *Tree) create(to string, like fs.FileInfo, fill func(io.Writer) error) (err error) {
	f, err := t.root.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	defer func() {
		f.Close()
		if err != nil {
			t.root.Remove(to)
		}
	}()
	if err := fill(f); err != nil {
		return err
	}
	if err := t.dress(f, nil); err != nil {
		return err
	}
	if like != nil { // a copy of a program stays one, a copy of a read-only file becomes writable
		if err := f.Chmod(like.Mode().Perm() | 0o200); err != nil {
			return err
		}
	}
	return finish(f, disguise{})
}

// ofCopy is what an earlier copy added to a name.
var ofCopy = regexp.MustCompile(`-Copy\d*\.`)

// Copy copies a file or directory into the directory toDir, or, where toDir is no directory, to that
// name. A name that is taken gets -Copy1, -Copy2.
func (t *Tree) Copy(from, to string) (*Model, error) {
	source, err := t.place(from)
	if err != nil {
		return nil, err
	}
	info, err := t.root.Stat(at(source))
	if err != nil {
		return nil, classed(source, err)
	}
	if source == "" {
		return nil, fault.New(fault.Invalid, "is_root", "The root cannot be copied.")
	}
	dir, err := t.place(to)
	if err != nil {
		return nil, err
	}
	name := ofCopy.ReplaceAllString(path.Base(source), ".")
	if look, err := t.root.Stat(at(dir)); err != nil || !look.IsDir() {
		if dir, err = t.directory(dirOf(dir)); err != nil {
			return nil, err
		}
		name = path.Base(to)
	}
	if info.IsDir() {
		if dir == source || strings.HasPrefix(dir, source+"/") {
			return nil, fault.New(fault.Invalid, "into_itself", "A directory cannot be copied into itself.")
		}
		return t.claim(dir, name, "-Copy", func(to string) error { return t.copyDirectory(source, to, 0) })
	}
	return t.claim(dir, name, "-Copy", func(to string) error { return t.copyFile(source, to) })
}

func (t *Tree) copyFile(from, to string) error {
	f, info, err := t.openRegular(from)
	if err != nil {
		return err
	}
	defer f.Close()
	return t.create(to, info, func(w io.Writer) error {
		_, err := io.Copy(w, f)
		return err
	})
}

// copyDirectory copies what a listing shows. Links are not followed: they could lead around in a circle.
func (t *Tree) copyDirectory(from, to string, depth int) error {
	if depth > 64 {
		return fault.Newf(fault.Exhausted, "too_deep", "%s is nested too deeply to copy.", from)
	}
	if err := t.root.Mkdir(to, 0o755); err != nil {
		return err
	}
	if err := t.own(to); err != nil {
		return err
	}
	names, dir, err := t.names(from)
	if err != nil {
		return err
	}
	defer dir.Close()
	for _, name := range names {
		info, err := dir.Lstat(name)
		switch {
		case err != nil:
			continue // gone meanwhile
		case info.IsDir():
			err = t.copyDirectory(join1(from, name), join1(to, name), depth+1)
		case info.Mode().IsRegular():
			err = t.copyFile(join1(from, name), join1(to, name))
		}
		if err != nil && !errors.Is(err, fs.ErrExist) { // a kernel was there first: it is its place now
			return err
		}
	}
	return nil
}

// Rename moves a file or directory, its file checkpoints with it. A name that is taken is a conflict.
func (t *Tree) Rename(from, to string) (*Model, error) {
	source, err := t.place(from)
	if err != nil {
		return nil, err
	}
	target, err := t.place(to)
	if err != nil {
		return nil, err
	}
	if source == "" || target == "" {
		return nil, fault.New(fault.Invalid, "is_root", "The root has no name to change.")
	}
	defer t.locks.holdTwo(source, target)()
	if _, err := t.root.Lstat(source); err != nil {
		return nil, classed(source, err)
	}
	if source == target {
		return t.Get(source, Want{})
	}
	for _, place := range []string{source, target} {
		if err := t.mayChange(place); err != nil {
			return nil, err
		}
	}
	if _, err := t.root.Lstat(target); err == nil {
		return nil, fault.Newf(fault.Conflict, "exists", "There is a file or directory at %s already.", target)
	}
	if err := t.root.Rename(source, target); err != nil {
		return nil, classed(target, err)
	}
	t.aliases.move(source, target)
	t.moveCheckpoint(source, target)
	return t.Get(target, Want{})
}

// Delete removes a file, or a directory with all that is in it.
func (t *Tree) Delete(p string) error {
	place, err := t.place(p)
	if err != nil {
		return err
	}
	if place == "" {
		return fault.New(fault.Invalid, "is_root", "The root cannot be deleted.")
	}
	defer t.locks.hold(place)()
	info, err := t.root.Lstat(place)
	if err != nil {
		return classed(place, err)
	}
	if err := t.mayChange(place); err != nil {
		return err
	}
	if info.IsDir() {
		err = t.root.RemoveAll(place)
	} else {
		err = t.root.Remove(place)
	}
	if err != nil {
		return classed(place, err)
	}
	t.aliases.forget(place)
	if err := t.root.Remove(checkpointOf(place)); err != nil && !errors.Is(err, fs.ErrNotExist) &&
		!errors.Is(err, syscall.ENOTDIR) && !escapes(err) {
		return classed(place, err)
	}
	return nil
}
