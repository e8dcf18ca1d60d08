package criu

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/checkpoint-restore/go-criu/v8/crit"
	criu_core "github.com/checkpoint-restore/go-criu/v8/crit/images/criu-core"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/fdinfo"
	filelock "github.com/checkpoint-restore/go-criu/v8/crit/images/file-lock"
	"golang.org/x/sys/unix"
)

// Kinds of locks, as the kernel has them and CRIU writes them.
const (
	posixLock = 1 << 0
	flockLock = 1 << 1
	ofdLock   = 1 << 10
)

// LockedElsewhere names a file, as a path in the container, on which a frozen
// process has a lock that somebody else holds now; "" if there is none. CRIU would
// wait for that lock without end. onMachine is AdoptSizes'. A file that cannot be
// looked at is not locked.
func LockedElsewhere(dump string, onMachine func(name string) (top, rel string)) (string, error) {
	img, err := decode(filepath.Join(dump, "filelocks.img"), &filelock.FileLockEntry{})
	if errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
	if err != nil || len(img.Entries) == 0 {
		return "", err
	}
	files, err := decode(filepath.Join(dump, "files.img"), &fdinfo.FileEntry{})
	if err != nil {
		return "", err
	}
	names := namesOf(files)
	tables := map[int32]map[uint32]uint32{}
	for _, e := range img.Entries {
		lock, ok := e.Message.(*filelock.FileLockEntry)
		if !ok {
			continue
		}
		pid := lock.GetPid()
		if tables[pid] == nil {
			if tables[pid], err = descriptors(dump, pid); err != nil {
				return "", err
			}
		}
		name := names[tables[pid][uint32(lock.GetFd())]]
		if top, rel := onMachine(name); top != "" && held(top, rel, lock) {
			return name, nil
		}
	}
	return "", nil
}

// namesOf are the names of the regular files of a dump, by ID.
func namesOf(files *crit.CriuImage) map[uint32]string {
	names := map[uint32]string{}
	for _, e := range files.Entries {
		if f, ok := e.Message.(*fdinfo.FileEntry); ok && f.GetReg() != nil {
			names[f.GetId()] = f.GetReg().GetName()
		}
	}
	return names
}

// descriptors are the files that a process of a dump has open: the ID of each by
// its number there.
func descriptors(dump string, pid int32) (map[uint32]uint32, error) {
	img, err := decode(filepath.Join(dump, fmt.Sprintf("ids-%d.img", pid)), &criu_core.TaskKobjIdsEntry{})
	if err != nil || len(img.Entries) == 0 {
		return nil, err
	}
	own, ok := img.Entries[0].Message.(*criu_core.TaskKobjIdsEntry)
	if !ok {
		return nil, fmt.Errorf("ids-%d.img is none", pid)
	}
	if img, err = decode(filepath.Join(dump, fmt.Sprintf("fdinfo-%d.img", own.GetFilesId())), &fdinfo.FdinfoEntry{}); err != nil {
		return nil, err
	}
	out := map[uint32]uint32{}
	for _, e := range img.Entries {
		if f, ok := e.Message.(*fdinfo.FdinfoEntry); ok {
			out[f.GetFd()] = f.GetId()
		}
	}
	return out, nil
}

// held reports whether somebody has a lock on the file that this one could not be
// beside.
func held(top, rel string, lock *filelock.FileLockEntry) bool {
	root, err := os.OpenRoot(top)
	if err != nil {
		return false
	}
	defer root.Close()
	f, err := root.OpenFile(rel, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return false
	}
	defer f.Close()
	kind := int16(lock.GetType())
	switch lock.GetFlag() {
	case posixLock, ofdLock:
		ask := unix.Flock_t{Type: kind, Start: lock.GetStart(), Len: lock.GetLen()}
		return unix.FcntlFlock(f.Fd(), unix.F_OFD_GETLK, &ask) == nil && ask.Type != unix.F_UNLCK
	case flockLock:
		how := unix.LOCK_EX
		if kind == unix.F_RDLCK {
			how = unix.LOCK_SH
		}
		return errors.Is(unix.Flock(int(f.Fd()), how|unix.LOCK_NB), unix.EWOULDBLOCK)
	}
	return false
}
