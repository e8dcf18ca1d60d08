package contents

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"sync"
	"syscall"
	"time"

	"cellar/internal/fault"
)

func errnoOf(err error) (syscall.Errno, bool) {
	var errno syscall.Errno
	return errno, errors.As(err, &errno)
}

// escapes says whether os.Root refused a path that leads out of it. The standard library keeps that
// error to itself; its text is the only sign, and a test here holds it to that.
func escapes(err error) bool {
	var pe *fs.PathError
	return errors.As(err, &pe) && strings.Contains(pe.Err.Error(), "escapes from parent")
}

// openRegular opens a file for reading, and only a regular one: a FIFO would hold us, a device might
// do anything. O_NONBLOCK is for what was exchanged between the look and the opening.
func (t *Tree) openRegular(place string) (*os.File, fs.FileInfo, error) {
	info, err := t.root.Stat(at(place))
	if err != nil {
		return nil, nil, classed(place, err)
	}
	if err := mustBeRegular(place, info); err != nil {
		return nil, nil, err
	}
	f, err := t.root.OpenFile(at(place), os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, classed(place, err)
	}
	if info, err = f.Stat(); err == nil {
		err = mustBeRegular(place, info)
	}
	if err != nil {
		f.Close()
		return nil, nil, classed(place, err)
	}
	return f, info, nil
}

func mustBeRegular(place string, info fs.FileInfo) error {
	switch {
	case info.Mode().IsRegular():
		return nil
	case info.IsDir():
		return fault.Newf(fault.Invalid, "is_directory", "%s is a directory, not a file.", place)
	}
	return fault.Newf(fault.Invalid, "not_a_file", "%s is neither a file nor a directory.", place)
}

// read answers a whole file, bounded.
func (t *Tree) read(place string) ([]byte, fs.FileInfo, error) {
	f, info, err := t.openRegular(place)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	if info.Size() > t.maxContent {
		return nil, nil, tooLarge(place)
	}
	// The file may grow while it is read: the limit is on what comes, not on what was said.
	data := make([]byte, 0, info.Size()+1)
	for r := io.LimitReader(f, t.maxContent+1); ; {
		n, err := r.Read(data[len(data):cap(data)])
		data = data[:len(data)+n]
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, nil, classed(place, err)
		}
		if len(data) == cap(data) {
			data = append(data, 0)[:len(data)]
		}
	}
	if int64(len(data)) > t.maxContent {
		return nil, nil, tooLarge(place)
	}
	return data, info, nil
}

func tooLarge(place string) error {
	return fault.Newf(fault.Exhausted, "too_large", "%s is too large to open here; it can be downloaded.", place)
}

// target answers where a write to place must go: through a symlink that stays in the tree, to the
// file it names. inPlace says that the file must be rewritten where it is, because its own name
// cannot be told.
func (t *Tree) target(place string) (to string, old fs.FileInfo, inPlace bool, err error) {
	link, err := t.root.Lstat(at(place))
	if errors.Is(err, fs.ErrNotExist) {
		return place, nil, false, nil
	}
	if err != nil {
		return "", nil, false, err
	}
	if link.Mode()&fs.ModeSymlink == 0 {
		return place, link, false, nil
	}
	old, err = t.root.Stat(at(place))
	if err != nil { // nothing behind it: let the opening make it, or fail
		return place, nil, true, nil
	}
	to = place
	for range 10 {
		name, err := t.root.Readlink(to)
		if err != nil {
			break
		}
		to = path.Join(path.Dir(to), name)
	}
	// The joining above is by text alone; the file decides whether it was right.
	if found, err := t.root.Lstat(to); err == nil && !path.IsAbs(to) && os.SameFile(found, old) {
		return to, old, false, nil
	}
	return place, old, true, nil
}

// write replaces or makes a file in one step: whoever reads sees the old or the new one, whole.
func (t *Tree) write(place string, as disguise, fill func(io.Writer) error) error {
	to, old, inPlace, err := t.target(place)
	if err != nil {
		return classed(place, err)
	}
	if old != nil {
		if err := mustBeRegular(place, old); err != nil {
			return err
		}
		if !t.writable(old) {
			return fault.Newf(fault.Denied, "read_only", "%s is read-only.", place)
		}
	}
	switch changeable := t.mayChange(place); {
	case changeable != nil && old == nil:
		return changeable
	case changeable != nil: // the file may be written, though its name may not be given to another
		inPlace = true
	}
	if inPlace {
		return classed(place, t.writeInPlace(place, as, fill))
	}
	return classed(place, t.writeBeside(to, old, as, fill))
}

// writeInPlace rewrites a file. Where that fails, what was in it is put back: the room it had is free again.
func (t *Tree) writeInPlace(place string, as disguise, fill func(io.Writer) error) error {
	f, err := t.root.OpenFile(place, os.O_RDWR|os.O_CREATE|syscall.O_NONBLOCK, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if err := mustBeRegular(place, info); err != nil {
		return err
	}
	old, err := io.ReadAll(io.LimitReader(f, t.maxContent))
	if err != nil {
		return err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	if err := f.Truncate(0); err != nil {
		return err
	}
	if err := fill(f); err != nil {
		if info.Size() != int64(len(old)) {
			return err // too large to be kept meanwhile
		}
		_, undo := f.WriteAt(old, 0)
		return errors.Join(err, undo, f.Truncate(int64(len(old))), f.Sync())
	}
	return finish(f, as)
}

// writeBeside fills a hidden file in the same directory and gives it the name.
func (t *Tree) writeBeside(place string, old fs.FileInfo, as disguise, fill func(io.Writer) error) (err error) {
	temp := path.Join(path.Dir(place), tempName())
	f, err := t.root.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		f.Close()
		if err != nil {
			t.root.Remove(temp)
		}
	}()
	if err := fill(f); err != nil {
		return err
	}
	if err := t.dress(f, old); err != nil {
		return err
	}
	if err := finish(f, as); err != nil {
		return err
	}
	return t.root.Rename(temp, place)
}

// tempPrefix starts the name of a file that is being written.
const tempPrefix = ".~cellar-"

func tempName() string {
	var b [8]byte
	rand.Read(b[:])
	return tempPrefix + hex.EncodeToString(b[:])
}

func isTemp(name string) bool { return strings.HasPrefix(name, tempPrefix) }

// tempAge is how long a write may take; what is older a hub that was killed left behind.
const tempAge = time.Hour

// sweep removes a half-written file that nobody writes any more.
func sweep(dir *os.Root, name string) {
	random, err := hex.DecodeString(strings.TrimPrefix(name, tempPrefix))
	if err != nil || len(random) != 8 {
		return // not a name of ours
	}
	if info, err := dir.Lstat(name); err == nil && info.Mode().IsRegular() && time.Since(info.ModTime()) > tempAge {
		dir.Remove(name)
	}
}

// dress gives a new file the owner and mode of the one it replaces, or those of a new one.
func (t *Tree) dress(f *os.File, old fs.FileInfo) error {
	owner, mode := t.owner, fs.FileMode(0o644)
	if old != nil {
		mode = old.Mode().Perm()
		if st, ok := old.Sys().(*syscall.Stat_t); ok && t.owner.UID >= 0 {
			owner = Owner{int(st.Uid), int(st.Gid)}
		}
	}
	if owner.UID >= 0 {
		if err := f.Chown(owner.UID, owner.GID); err != nil {
			return err
		}
	}
	return f.Chmod(mode)
}

// finish makes the bytes lasting, and puts a disguise on.
func finish(f *os.File, as disguise) error {
	if err := as.wear(f); err != nil {
		return err
	}
	return f.Sync()
}

// writable says what the owner of the tree may do: the hub itself may do anything, which is no answer.
func (t *Tree) writable(info fs.FileInfo) bool {
	mode := info.Mode().Perm()
	st, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case !ok || t.owner.UID < 0 || int(st.Uid) == t.owner.UID:
		return mode&0o200 != 0
	case t.owner.UID == 0:
		return true
	case int(st.Gid) == t.owner.GID:
		return mode&0o020 != 0
	}
	return mode&0o002 != 0
}

// mayChange says whether the owner of the tree may make, rename and remove names where place is. The
// hub may do it anywhere, and must not do for a person what the person may not. The top directory is
// the tree's own, whoever made it.
func (t *Tree) mayChange(place string) error {
	dir := dirOf(place)
	if dir == "" {
		return nil
	}
	info, err := t.root.Stat(dir)
	if err != nil {
		return classed(place, err)
	}
	if !t.writable(info) {
		return fault.Newf(fault.Denied, "read_only", "The directory %s is read-only.", dir)
	}
	return nil
}

// own gives a fresh directory to the owner. A name that was exchanged meanwhile costs nothing: the
// link itself is changed, never what it leads to.
func (t *Tree) own(place string) error {
	if t.owner.UID < 0 {
		return nil
	}
	return t.root.Lchown(place, t.owner.UID, t.owner.GID)
}

// locks keeps one lock per path, for as long as somebody wants it.
type locks struct {
	mu   sync.Mutex
	held map[string]*pathLock
}

type pathLock struct {
	sync.Mutex
	users int
}

// hold locks a path; the answer unlocks it.
func (l *locks) hold(place string) (release func()) {
	l.mu.Lock()
	if l.held == nil {
		l.held = map[string]*pathLock{}
	}
	p := l.held[place]
	if p == nil {
		p = &pathLock{}
		l.held[place] = p
	}
	p.users++
	l.mu.Unlock()
	p.Lock()
	return func() {
		p.Unlock()
		l.mu.Lock()
		defer l.mu.Unlock()
		if p.users--; p.users == 0 {
			delete(l.held, place)
		}
	}
}

// holdTwo locks two paths, in one order for everybody.
func (l *locks) holdTwo(a, b string) (release func()) {
	if a == b {
		return l.hold(a)
	}
	if b < a {
		a, b = b, a
	}
	first := l.hold(a)
	second := l.hold(b)
	return func() { second(); first() }
}
