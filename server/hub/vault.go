package hub

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"cellar/checkpoint"
	"cellar/internal/fault"
)

// dumpDir is where the files of a dump are: in memory, or on the disk.
func (h *Hub) dumpDir(id string) string {
	root := h.dumpRoot()
	if strings.HasPrefix(id, movePrefix) {
		root = h.moveRoot()
	}
	return filepath.Join(root, id, checkpoint.Dump)
}

// Dumps are named after where they are: in memory, or on the disk where memory
// has no room.
const (
	movePrefix = "move-"
	diskPrefix = "disk-"
)

// isDump reports whether a name is that of a dump, and not of a checkpoint.
func isDump(id string) bool {
	return strings.HasPrefix(id, movePrefix) || strings.HasPrefix(id, diskPrefix)
}

// moveRoot is on a tmpfs: what is there is in no backup, and a reboot ends it.
func (h *Hub) moveRoot() string { return filepath.Join("/dev/shm", h.ShortName) }

func (h *Hub) dumpRoot() string { return filepath.Join(h.Data, "dumps") }

// dumpPlace names a dump of need bytes: in memory if that has room for it twice,
// for the processes are there too, else on the disk.
func (h *Hub) dumpPlace(need int64) string {
	if memoryAvailable() < 2*need+(256<<20) || os.MkdirAll(h.moveRoot(), 0o711) != nil || room(h.moveRoot(), need) != nil {
		return diskPrefix + newID()
	}
	return movePrefix + newID()
}

// dumpRoom is dumpPlace that refuses when the disk has no room either.
func (h *Hub) dumpRoom(need int64) (string, error) {
	if err := room(h.Data, 0); err != nil { // what is kept of it goes there in any case
		return "", err
	}
	id := h.dumpPlace(need)
	if strings.HasPrefix(id, diskPrefix) {
		if err := os.MkdirAll(h.dumpRoot(), 0o711); err != nil {
			return "", err
		}
		return id, room(h.dumpRoot(), need)
	}
	return id, nil
}

// dumped reports whether a dump is whole: CRIU writes the inventory last.
func (h *Hub) dumped(id string) bool {
	st, err := os.Stat(filepath.Join(h.dumpDir(id), "inventory.img"))
	return err == nil && st.Size() > 0
}

// room refuses to begin what the disk cannot hold, keeping a reserve for the
// database and for signing in.
func room(dir string, need int64) error {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return err
	}
	if free := int64(st.Bavail) * st.Bsize; free < need+reserve {
		return fault.Newf(fault.Exhausted, "disk_full",
			"The server's disk has %d MiB free, and %d MiB are needed. Delete checkpoints or files you do not need.", free>>20, (need+reserve)>>20)
	}
	return nil
}

// reserve is what stays free on the disk whatever is kept.
const reserve = 64 << 20

func bootID() string {
	b, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(b))
}

// copyTree copies regular files, folders and links below from into to, which is
// made; owner < 0 keeps the copying user's. What is neither (sockets, pipes) is
// left out. limit bounds the bytes.
func copyTree(from, to string, owner int, limit int64) error {
	root, err := os.OpenRoot(from)
	if err != nil {
		return err
	}
	defer root.Close()
	return fs.WalkDir(root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // gone while we looked
		}
		if err != nil {
			return err
		}
		target := filepath.Join(to, name)
		switch {
		case d.IsDir():
			if err := os.MkdirAll(target, 0o755); err != nil {
				return err
			}
		case d.Type()&fs.ModeSymlink != 0:
			link, err := root.Readlink(name)
			if err != nil {
				return nil
			}
			if err := os.Symlink(link, target); err != nil {
				return err
			}
		case d.Type().IsRegular():
			n, err := copyFile(root, name, target)
			if limit -= n; err == nil && limit < 0 {
				err = fault.New(fault.Exhausted, "files_too_large", "The project's files are too large to be kept with this.")
			}
			if err != nil {
				return err
			}
		default:
			return nil
		}
		if owner < 0 {
			return nil
		}
		return os.Lchown(target, owner, owner)
	})
}

func copyFile(root *os.Root, name, target string) (int64, error) {
	in, err := root.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	defer in.Close()
	st, err := in.Stat()
	if err != nil || !st.Mode().IsRegular() {
		return 0, err
	}
	out, err := os.OpenFile(target, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, st.Mode().Perm())
	if err != nil {
		return 0, err
	}
	defer out.Close()
	return io.Copy(out, in)
}
