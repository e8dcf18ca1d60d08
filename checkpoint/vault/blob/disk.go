package blob

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"cellar/internal/fault"
)

// Disk keeps blobs as files of one folder. What is being written stands in the
// folder .tmp beside them, so that no listing sees it.
type Disk struct {
	dir  string
	open *files
}

const (
	tmpFolder = ".tmp"
	openFiles = 64 // kept open for reading, at most
)

// OpenDisk opens the store in dir, which is made when it is missing.
func OpenDisk(dir string) (*Disk, error) {
	if err := os.MkdirAll(filepath.Join(dir, tmpFolder), 0o700); err != nil {
		return nil, fmt.Errorf("open a store of blobs: %w", err)
	}
	return &Disk{dir: dir, open: newFiles(openFiles)}, nil
}

// ReadDisk opens a store that exists, for reading only: it changes nothing.
func ReadDisk(dir string) (*Disk, error) {
	if _, err := os.Stat(dir); err != nil {
		return nil, fmt.Errorf("open a store of blobs: %w", err)
	}
	return &Disk{dir: dir, open: newFiles(openFiles)}, nil
}

// Close closes the files that were kept open. No call may be under way.
func (d *Disk) Close() error {
	d.open.clear()
	return nil
}

// Put implements Store.
func (d *Disk) Put(ctx context.Context, name string, write func(io.Writer) error) error {
	if err := CheckName(name); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Join(d.dir, tmpFolder), "put-")
	if err != nil {
		return full(fmt.Errorf("put %s: %w", name, err))
	}
	defer os.Remove(f.Name()) // in vain once it has been renamed
	if err := errors.Join(fill(ctx, f, write), f.Close()); err != nil {
		return full(fmt.Errorf("put %s: %w", name, err))
	}
	if err := d.publish(f.Name(), name); err != nil {
		return full(fmt.Errorf("put %s: %w", name, err))
	}
	return nil
}

func fill(ctx context.Context, f *os.File, write func(io.Writer) error) error {
	w := bufio.NewWriterSize(f, 256<<10)
	if err := write(w); err != nil {
		return err
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return f.Sync()
}

// publish gives a finished file its name, durably.
func (d *Disk) publish(tmp, name string) error {
	target := d.path(name)
	folder := filepath.Dir(target)
	if err := d.mkdir(folder); err != nil {
		return err
	}
	if err := os.Rename(tmp, target); err != nil {
		return err
	}
	d.open.drop(name)
	return SyncFolder(folder)
}

// mkdir makes a folder below d.dir and sees to it that its name is durable.
func (d *Disk) mkdir(folder string) error {
	if _, err := os.Stat(folder); err == nil {
		return nil
	}
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	for above := filepath.Dir(folder); len(above) >= len(d.dir); above = filepath.Dir(above) {
		if err := SyncFolder(above); err != nil {
			return err
		}
	}
	return nil
}

// SyncFolder has the names in a folder written to the disk.
func SyncFolder(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// full gives an error that says "no room" its class.
func full(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fault.Wrap(fault.Exhausted, "disk_full", "The disk of the vault is full. Delete checkpoints or give it more room.", err)
	}
	return err
}

// ReadAt implements Store.
func (d *Disk) ReadAt(ctx context.Context, name string, p []byte, off int64) error {
	if err := errors.Join(ctx.Err(), CheckName(name)); err != nil {
		return err
	}
	f, release, err := d.open.get(name, func() (*os.File, error) { return os.Open(d.path(name)) })
	if err != nil {
		return absent(name, err)
	}
	defer release()
	n, err := f.ReadAt(p, off)
	if n == len(p) {
		return nil
	}
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("read %s at %d: %w", name, off, err)
}

// Size implements Store. A file that was kept open and has been replaced since,
// by another process too, is let go.
func (d *Disk) Size(ctx context.Context, name string) (int64, error) {
	if err := errors.Join(ctx.Err(), CheckName(name)); err != nil {
		return 0, err
	}
	info, err := os.Stat(d.path(name))
	if err != nil {
		d.open.drop(name)
		return 0, absent(name, err)
	}
	if info.IsDir() {
		return 0, Absent(name)
	}
	d.open.dropOther(name, info)
	return info.Size(), nil
}

func absent(name string, err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return Absent(name)
	}
	return fmt.Errorf("read %s: %w", name, err)
}

// List implements Store.
func (d *Disk) List(ctx context.Context, prefix string) ([]Info, error) {
	var found []Info
	err := filepath.WalkDir(d.dir, func(name string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) && name != d.dir {
			return nil // went while we looked
		}
		if err := errors.Join(err, ctx.Err()); err != nil {
			return err
		}
		rel := strings.TrimPrefix(filepath.ToSlash(name[len(d.dir):]), "/")
		if e.IsDir() {
			below := rel == "" || strings.HasPrefix(rel+"/", prefix) || strings.HasPrefix(prefix, rel+"/")
			if !below || strings.HasPrefix(e.Name(), ".") && rel != "" {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasPrefix(rel, prefix) || CheckName(rel) != nil {
			return nil
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil {
			found = append(found, Info{Name: rel, Size: info.Size()})
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list blobs: %w", err)
	}
	slices.SortFunc(found, func(a, b Info) int { return cmp.Compare(a.Name, b.Name) })
	return found, nil
}

// Delete implements Store.
func (d *Disk) Delete(ctx context.Context, name string) error {
	if err := errors.Join(ctx.Err(), CheckName(name)); err != nil {
		return err
	}
	d.open.drop(name)
	target := d.path(name)
	err := os.Remove(target)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = SyncFolder(filepath.Dir(target))
	}
	if err != nil {
		return fmt.Errorf("delete %s: %w", name, err)
	}
	return nil
}

// Sweep implements Store.
func (d *Disk) Sweep(ctx context.Context) error {
	left, err := os.ReadDir(filepath.Join(d.dir, tmpFolder))
	if err != nil {
		return fmt.Errorf("sweep a store of blobs: %w", err)
	}
	for _, e := range left {
		if err := errors.Join(ctx.Err(), os.Remove(filepath.Join(d.dir, tmpFolder, e.Name()))); err != nil {
			return fmt.Errorf("sweep a store of blobs: %w", err)
		}
	}
	return nil
}

func (d *Disk) path(name string) string { return filepath.Join(d.dir, filepath.FromSlash(name)) }
