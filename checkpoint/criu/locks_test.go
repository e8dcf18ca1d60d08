package criu

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/checkpoint-restore/go-criu/v8/crit"
	criu_core "github.com/checkpoint-restore/go-criu/v8/crit/images/criu-core"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/fdinfo"
	filelock "github.com/checkpoint-restore/go-criu/v8/crit/images/file-lock"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"
)

func image(t *testing.T, name, magic string, entries ...proto.Message) {
	t.Helper()
	img := &crit.CriuImage{Magic: magic, EntryType: entries[0]}
	for _, e := range entries {
		img.Entries = append(img.Entries, &crit.CriuEntry{Message: e})
	}
	if err := encode(name, img); err != nil {
		t.Fatal(err)
	}
}

// TestLockedElsewhere: a lock of a frozen process is in the way only of one that it
// could not be beside.
func TestLockedElsewhere(t *testing.T) {
	top, onMachine := project(t, map[string]string{"file": "0123456789"})
	f, err := os.OpenFile(filepath.Join(top, "file"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lock := func(kind int16, start, length int64) {
		t.Helper()
		if err := unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: kind, Start: start, Len: length}); err != nil {
			t.Fatal(err)
		}
	}
	flock := func(how int) {
		t.Helper()
		if err := unix.Flock(int(f.Fd()), how); err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]struct {
		held func()
		flag uint32
		kind uint32
		want string
	}{
		"nobody holds it":             {func() {}, posixLock, unix.F_WRLCK, ""},
		"somebody writes":             {func() { lock(unix.F_WRLCK, 0, 0) }, posixLock, unix.F_WRLCK, "/home/file"},
		"somebody writes, one reads":  {func() { lock(unix.F_WRLCK, 0, 0) }, posixLock, unix.F_RDLCK, "/home/file"},
		"both read":                   {func() { lock(unix.F_RDLCK, 0, 0) }, posixLock, unix.F_RDLCK, ""},
		"another part of the file":    {func() { lock(unix.F_WRLCK, 8, 2) }, posixLock, unix.F_WRLCK, ""},
		"of an open file":             {func() { lock(unix.F_WRLCK, 0, 1) }, ofdLock, unix.F_WRLCK, "/home/file"},
		"flock":                       {func() { flock(unix.LOCK_EX) }, flockLock, unix.F_WRLCK, "/home/file"},
		"flock, both shared":          {func() { flock(unix.LOCK_SH) }, flockLock, unix.F_RDLCK, ""},
		"flock, one shared":           {func() { flock(unix.LOCK_SH) }, flockLock, unix.F_WRLCK, "/home/file"},
		"flock and fcntl do not meet": {func() { flock(unix.LOCK_EX) }, posixLock, unix.F_WRLCK, ""},
	} {
		dir := dump(t, open{"/usr/lib/x.so", 1}, open{"/home/file", 10})
		image(t, filepath.Join(dir, "ids-7.img"), "IDS", &criu_core.TaskKobjIdsEntry{VmId: new(uint32(1)), FilesId: new(uint32(3)), FsId: new(uint32(1)), SighandId: new(uint32(1))})
		image(t, filepath.Join(dir, "fdinfo-3.img"), "FDINFO", &fdinfo.FdinfoEntry{Id: new(uint32(2)), Flags: new(uint32(0)), Type: fdinfo.FdTypes_REG.Enum(), Fd: new(uint32(40))})
		image(t, filepath.Join(dir, "filelocks.img"), "FILE_LOCKS", &filelock.FileLockEntry{Flag: &c.flag, Type: &c.kind, Pid: new(int32(7)), Fd: new(int32(40)), Start: new(int64(0)), Len: new(int64(4))})
		c.held()
		if got, err := LockedElsewhere(dir, onMachine); err != nil || got != c.want {
			t.Errorf("%s: %q, %v; want %q", name, got, err, c.want)
		}
		lock(unix.F_UNLCK, 0, 0)
		flock(unix.LOCK_UN)
	}
	if got, err := LockedElsewhere(t.TempDir(), onMachine); err != nil || got != "" {
		t.Errorf("a dump without locks: %q, %v", got, err)
	}
}
