package hub

import (
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"cellar/internal/fault"
)

// A checkpoint's folder holds: dump/ (CRIU's files), journal/ (what the keeper
// had written and the hub not yet done with), notebook.ipynb, files/ (if kept)
// and, written last, manifest.json: without it the checkpoint does not exist.
const manifestName = "manifest.json"

type manifest struct {
	Checkpoint Checkpoint        `json:"checkpoint"`
	RunsFrom   uint64            `json:"runs_from"` // after this record the journal has all that was going on
	Boot       string            `json:"boot"`
	Variables  []Variable        `json:"variables"` // null: not known
	Portable   *Portable         `json:"portable,omitempty"`
	Comms      map[string]commOf `json:"comms"` // null: not known
	// Of the kernel, for a session that goes on from here when it is no more.
	Spec          string `json:"spec"`
	Dir           string `json:"dir"`
	Configuration string `json:"configuration"`
}

func (h *Hub) vaultDir(id string) string { return filepath.Join(h.Data, "vault", id) }

// dumpDir is where the dump files of a checkpoint are: in the vault, or in
// memory while a kernel moves.
func (h *Hub) dumpDir(id string) string {
	if strings.HasPrefix(id, movePrefix) {
		return filepath.Join(h.moveRoot(), id, "dump")
	}
	return filepath.Join(h.vaultDir(id), "dump")
}

// movePrefix marks the name of a dump that only carries a kernel from one
// container to the next.
const movePrefix = "move-"

// moveRoot is on a tmpfs: a move needs no disk, and a reboot ends what was moving.
func (h *Hub) moveRoot() string { return filepath.Join("/dev/shm", h.ShortName) }

// dumped reports whether a dump is whole: CRIU writes the inventory last.
func (h *Hub) dumped(id string) bool {
	st, err := os.Stat(filepath.Join(h.dumpDir(id), "inventory.img"))
	return err == nil && st.Size() > 0
}

// room refuses to begin what the disk cannot hold, keeping a reserve for the
// database and for signing in.
func room(dir string, need int64) error {
	free, err := freeBytes(dir)
	if err != nil {
		return err
	}
	if free < need+reserve {
		return fault.Newf(fault.Exhausted, "disk_full",
			"The server's disk has %d MiB free, and %d MiB are needed. Delete checkpoints or files you do not need.", free>>20, (need+reserve)>>20)
	}
	return nil
}

func freeBytes(dir string) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, err
	}
	return int64(st.Bavail) * st.Bsize, nil
}

// reserve is what stays free on the disk whatever is kept.
const reserve = 64 << 20

// finish makes a checkpoint of a complete dump: journal, notebook, manifest, and
// all of it on the disk before anyone is told.
func (h *Hub) finish(l *Live, c Checkpoint, runsFrom uint64, nb []byte, vars []Variable) (Checkpoint, error) {
	dir := h.vaultDir(c.ID)
	if nb != nil {
		if err := os.WriteFile(filepath.Join(dir, "notebook.ipynb"), nb, 0o600); err != nil {
			return c, err
		}
	}
	var err error
	if c.Size, err = sizeOf(dir); err != nil {
		return c, err
	}
	c.Added = c.Size
	l.mu.Lock()
	rec, with := l.rec, l.comms
	l.mu.Unlock()
	if with.Checkpoint != c.ID {
		with.List = nil
	}
	b, err := json.Marshal(manifest{
		Checkpoint: c, Comms: with.List, RunsFrom: runsFrom, Boot: bootID(), Variables: vars, Spec: rec.Spec, Dir: rec.Dir, Configuration: rec.Configuration,
	})
	if err != nil {
		return c, err
	}
	return c, writeSynced(filepath.Join(dir, manifestName), b)
}

// writeSynced writes a file so that it is whole after a power cut, together
// with everything written to its file system before.
func writeSynced(name string, b []byte) error {
	f, err := os.OpenFile(name+".tmp", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.Write(b); err != nil {
		return err
	}
	if err := unix.Syncfs(int(f.Fd())); err != nil {
		return err
	}
	if err := os.Rename(name+".tmp", name); err != nil {
		return err
	}
	d, err := os.Open(filepath.Dir(name))
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

func (h *Hub) readManifest(id string) (manifest, error) {
	var m manifest
	b, err := os.ReadFile(filepath.Join(h.vaultDir(id), manifestName))
	if err == nil {
		err = json.Unmarshal(b, &m)
	}
	if err != nil {
		return m, fault.Wrap(fault.Unavailable, "checkpoint_damaged", "This checkpoint is damaged: its description cannot be read.", err)
	}
	if m.Portable != nil {
		if _, err := os.Stat(filepath.Join(h.vaultDir(id), portableName)); err != nil {
			return m, fault.Wrap(fault.Unavailable, "checkpoint_damaged", "This checkpoint is damaged: its variables are missing.", err)
		}
		return m, nil
	}
	if !h.dumped(id) {
		return m, fault.New(fault.Unavailable, "checkpoint_damaged", "This checkpoint is damaged: its memory image is missing.")
	}
	return m, nil
}

var bootID = sync.OnceValue(func() string { // no process sees two
	b, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(b))
})

// sizeOf is the space that the files below dir take.
func sizeOf(dir string) (n int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if i, err := d.Info(); err == nil && i.Mode().IsRegular() {
			n += i.Size()
		}
		return nil
	})
	return n, err
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
