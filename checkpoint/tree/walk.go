package tree

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Look lists what is there now: nothing is read. The entries are in the order of
// their paths; cut says that there are more than are listed.
func Look(ctx context.Context, t Taking) (list []Entry, cut bool, err error) {
	w := walker{ctx: ctx, skip: t.Skip}
	for _, top := range t.Tops {
		places := top.Places
		if places == nil {
			places = []string{"."}
		}
		for _, place := range places {
			if err := w.folder(top.Root, top.Name, place, 0, 0); err != nil {
				return nil, false, err
			}
		}
	}
	slices.SortFunc(w.list, func(a, b Entry) int { return strings.Compare(a.Path, b.Path) })
	return slices.CompactFunc(w.list, func(a, b Entry) bool { return a.Path == b.Path }), w.cut, nil
}

type walker struct {
	ctx  context.Context
	skip func(string) bool
	list []Entry
	cut  bool
}

// folder lists what is in a folder, and all below it. inode is what it was when
// it was listed; 0: it was not. A folder that is gone, or is none, has nothing.
func (w *walker) folder(root *os.Root, top, rel string, inode uint64, depth int) error {
	if err := w.ctx.Err(); err != nil {
		return err
	}
	below, err := w.read(root, top, rel, inode)
	if err != nil {
		return err
	}
	for _, e := range below {
		if depth+1 >= maxDepth {
			w.list[e].Why = TooDeep
			continue
		}
		dir, _ := w.list[e].Below(top)
		if err := w.folder(root, top, dir, w.list[e].Inode, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// read lists one folder and answers which entries are folders in it. It is closed
// before those are opened, however deep they are.
func (w *walker) read(root *os.Root, top, rel string, inode uint64) (below []int, err error) {
	f, err := root.OpenFile(rel, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil
	}
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil || inode != 0 && st.Ino != inode {
		return nil, err // another one was put in its place: it is listed as it was
	}
	if inode == 0 && rel != "." { // a link that leads here is not followed
		if at, err := root.Lstat(rel); err != nil || !at.IsDir() {
			return nil, nil
		}
	}
	for {
		names, err := f.Readdirnames(512)
		for _, name := range names {
			if w.skip != nil && w.skip(name) {
				continue
			}
			if len(w.list) >= maxEntries {
				w.cut = true
				return below, nil
			}
			e, ok := stat(int(f.Fd()), path.Join(top, rel), name)
			if !ok {
				continue
			}
			if e.Kind == Folder {
				below = append(below, len(w.list))
			}
			w.list = append(w.list, e)
		}
		if errors.Is(err, io.EOF) || len(names) == 0 {
			return below, nil
		}
		if err != nil {
			return below, err
		}
	}
}

// stat describes what is by a name in an open folder; not ok: nothing any more,
// or nothing that can be listed.
func stat(folder int, dir, name string) (Entry, bool) {
	e := Entry{Path: dir + "/" + name}
	if !checkPath(e.Path) {
		return e, false
	}
	var st unix.Stat_t
	if err := unix.Fstatat(folder, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return e, false
	}
	e.take(&st)
	if e.Kind == Link {
		b := make([]byte, maxPath)
		n, err := unix.Readlinkat(folder, name, b)
		if err != nil || n <= 0 || n >= maxPath {
			return e, false
		}
		e.Target = string(b[:n])
	}
	return e, true
}

// take notes what the file system says of a path.
func (e *Entry) take(st *unix.Stat_t) {
	e.Mode, e.Mtime, e.Ctime, e.Inode, e.Size = st.Mode&0o7777, st.Mtim.Nano(), st.Ctim.Nano(), st.Ino, 0
	e.Kind, e.Why = Other, Special
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		e.Kind, e.Why, e.Size = File, Kept, st.Size
	case unix.S_IFDIR:
		e.Kind, e.Why = Folder, Kept
	case unix.S_IFLNK:
		e.Kind, e.Why = Link, Kept
	}
}

// openFile opens the file of an entry, if it is still the one that was listed.
func openFile(root *os.Root, rel string, inode uint64) (*os.File, unix.Stat_t, error) {
	var st unix.Stat_t
	f, err := root.OpenFile(rel, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, st, err
	}
	if err = unix.Fstat(int(f.Fd()), &st); err == nil && (st.Mode&unix.S_IFMT != unix.S_IFREG || st.Ino != inode) {
		err = fs.ErrNotExist // a link leads to it, or another one has its name
	}
	if err != nil {
		return nil, st, errors.Join(err, f.Close())
	}
	return f, st, nil
}

// Present describes one path that is there now.
func Present(top Top, rel string) (Entry, bool) {
	if !checkPath(rel) {
		return Entry{}, false
	}
	f, err := top.Root.OpenFile(path.Dir(rel), os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return Entry{}, false
	}
	defer f.Close()
	return stat(int(f.Fd()), path.Join(top.Name, path.Dir(rel)), path.Base(rel))
}
