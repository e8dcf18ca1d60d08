package tree

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"cellar/internal/fault"
)

// InPlace says what becomes of what is in the place of a file that comes back.
type InPlace int

const (
	Refuse  InPlace = iota // it stays, and nothing comes back
	Aside                  // it gets another name
	Replace                // it goes
)

// Target is where files come back.
type Target struct {
	Root    *os.Root
	Owner   int // user and group
	Present InPlace
	Durable bool // on the disk before it is there; else the caller sees to it
}

// TempPrefix starts the names of files that are being written: who lists files
// leaves them out.
const TempPrefix = ".~cellar-"

// Restore brings an entry back under the path rel, in one step: whoever looks
// finds what was there or what comes, whole. It answers the name that what was
// there has now; empty: none. No link is followed: one in the way is an error.
func (s *Snapshot) Restore(ctx context.Context, e Entry, to Target, rel string) (aside string, err error) {
	if e.Why != Kept {
		return "", fault.Newf(fault.Unsupported, "not_kept", "%.200s is listed in this checkpoint, but its content was not kept (%s).", rel, e.Why)
	}
	if !checkPath(rel) {
		return "", fault.Newf(fault.Invalid, "bad_path", "%.200q is no path of a file.", rel)
	}
	if e.Kind == Folder {
		return "", to.folder(rel, os.FileMode(e.Mode&0o777))
	}
	dir, base, err := to.parent(rel)
	if err != nil {
		return "", err
	}
	defer dir.Close()
	temp := tempName()
	if e.Kind == Link {
		err = dir.Symlink(e.Target, temp)
		if err == nil {
			err = dir.Lchown(temp, to.Owner, to.Owner)
		}
	} else {
		err = s.write(ctx, e, dir, temp, to)
	}
	if err == nil {
		aside, err = to.place(dir, temp, base, rel)
	}
	if err != nil {
		if gone := dir.Remove(temp); gone != nil && !errors.Is(gone, fs.ErrNotExist) {
			err = errors.Join(err, gone)
		}
		return "", err
	}
	return aside, nil
}

// write writes a content beside where it belongs.
func (s *Snapshot) write(ctx context.Context, e Entry, dir *os.Root, temp string, to Target) error {
	f, err := dir.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.Copy(io.MultiWriter(f, sum), s.Content(ctx, e)); err != nil {
		if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
			return fault.Wrap(fault.Exhausted, "disk_full", "The server's disk is full. Delete checkpoints or files you do not need.", err)
		}
		return err
	}
	if sumOf(sum.Sum(nil)) != e.Sum {
		return damaged("the content of a file is not what was kept")
	}
	if err := errors.Join(f.Chown(to.Owner, to.Owner), f.Chmod(os.FileMode(e.Mode&0o777))); err != nil {
		return err
	}
	when := unix.NsecToTimespec(e.Mtime)
	if err := unix.UtimesNanoAt(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", f.Fd()), []unix.Timespec{when, when}, 0); err != nil {
		return err
	}
	if to.Durable {
		return f.Sync()
	}
	return nil
}

// place gives what was written its name.
func (to Target) place(dir *os.Root, temp, base, rel string) (aside string, err error) {
	at, err := dir.Open(".")
	if err != nil {
		return "", err
	}
	defer at.Close()
	fd := int(at.Fd())
	err = unix.Renameat2(fd, temp, fd, base, unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.EEXIST) {
		if aside, err = to.makeRoom(dir, fd, base, rel); err == nil {
			err = unix.Renameat(fd, temp, fd, base)
		}
	}
	if err == nil && to.Durable {
		err = at.Sync()
	}
	if err != nil {
		return "", err
	}
	if aside != "" {
		aside = path.Join(path.Dir(rel), aside)
	}
	return aside, nil
}

// makeRoom sees to what is in a file's place.
func (to Target) makeRoom(dir *os.Root, fd int, base, rel string) (aside string, err error) {
	st, err := dir.Lstat(base)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	if st.IsDir() {
		return "", fault.Newf(fault.Conflict, "folder_in_the_way", "There is a folder where %.200s was. Rename it, or restore the file under another name.", rel)
	}
	switch to.Present {
	case Refuse:
		return "", fault.Newf(fault.Conflict, "file_exists", "%.200s is there already. Choose whether to keep it under another name.", rel)
	case Replace:
		return "", nil
	}
	for n := 1; n < 1000; n++ { // a second name for it: at no moment is there none
		aside = asideName(base, n)
		if err := unix.Linkat(fd, base, fd, aside, 0); err == nil || !errors.Is(err, unix.EEXIST) {
			return aside, err
		}
	}
	return "", fault.Newf(fault.Conflict, "file_exists", "There are too many copies of %.200s from before restoring it. Remove some.", rel)
}

// asideName is what a file is called that made room for another, the nth time.
func asideName(base string, n int) string {
	ext := path.Ext(base)
	if ext == base || len(ext) > 32 {
		ext = ""
	}
	mark := " (before restore)"
	if n > 1 {
		mark = fmt.Sprintf(" (before restore %d)", n)
	}
	stem := strings.TrimSuffix(base, ext)
	return stem[:min(len(stem), 255-len(mark)-len(ext))] + mark + ext
}

// parent opens the folder of a path, making it if need be.
func (to Target) parent(rel string) (dir *os.Root, base string, err error) {
	dir, err = to.Root.OpenRoot(".")
	if err != nil {
		return nil, "", err
	}
	parts := strings.Split(rel, "/")
	for _, part := range parts[:len(parts)-1] {
		next, err := to.step(dir, part, 0o755)
		err = errors.Join(err, dir.Close())
		if err != nil {
			if next != nil {
				next.Close()
			}
			return nil, "", err
		}
		dir = next
	}
	return dir, parts[len(parts)-1], nil
}

// folder makes a folder as it was.
func (to Target) folder(rel string, mode os.FileMode) error {
	dir, base, err := to.parent(rel)
	if err != nil {
		return err
	}
	defer dir.Close()
	made, err := to.step(dir, base, mode)
	if err != nil {
		return err
	}
	defer made.Close()
	return made.Chmod(".", mode)
}

// step goes into a folder, which is made if it is not there. A link is not one.
func (to Target) step(dir *os.Root, name string, mode os.FileMode) (*os.Root, error) {
	st, err := dir.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		if err = dir.Mkdir(name, mode|0o700); err == nil {
			err = dir.Lchown(name, to.Owner, to.Owner)
		}
		if err == nil || errors.Is(err, fs.ErrExist) {
			st, err = dir.Lstat(name)
		}
	}
	if err != nil {
		return nil, err
	}
	if !st.IsDir() {
		return nil, notAFolder(name)
	}
	next, err := dir.OpenRoot(name)
	if err != nil {
		return nil, err
	}
	if is, err := next.Stat("."); err != nil || !os.SameFile(is, st) { // a link took its place
		return nil, errors.Join(notAFolder(name), next.Close())
	}
	return next, nil
}

func notAFolder(name string) error {
	return fault.Newf(fault.Conflict, "no_folder", "%.200s is not a folder now: what was in it cannot be restored there.", name)
}

// Remove takes a file or link away, if what is there is still that entry.
func (to Target) Remove(e Entry, rel string) error {
	dir, base, err := to.parent(rel)
	if err != nil {
		return err
	}
	defer dir.Close()
	st, err := dir.Lstat(base)
	if err != nil || st.IsDir() {
		return nil
	}
	return dir.Remove(base)
}

func tempName() string {
	var b [8]byte
	rand.Read(b[:])
	return TempPrefix + hex.EncodeToString(b[:])
}

// MtimeOf is an entry's time of change.
func (e Entry) MtimeOf() time.Time { return time.Unix(0, e.Mtime) }
