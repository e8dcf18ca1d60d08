// Package criu knows what CRIU's dump files say. It drives nothing: runc runs
// CRIU. Format: CRIU's images/*.proto, read by go-criu.
package criu

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"

	"github.com/checkpoint-restore/go-criu/v8/crit"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/fdinfo"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/regfile"
)

// Changed is a file that a frozen process holds open and that is not any more
// what it was.
type Changed struct {
	Name string // in the container
	Was  uint64 // bytes
	Is   uint64
	Gone bool
}

// AdoptSizes makes a dump accept the present sizes of the regular files it
// holds open: CRIU refuses a file whose size changed, while for a person "the
// file is as it is now, the position where it was" is right. onMachine gives a
// container path's place on this machine as a folder and a path below it, "" for
// one that cannot change; the folder is hostile ground and left by no link. A
// file that is gone is made anew, empty, for the folder's owner.
func AdoptSizes(dump string, onMachine func(name string) (top, rel string)) ([]Changed, error) {
	name := filepath.Join(dump, "files.img")
	img, err := decode(name)
	if err != nil {
		return nil, err
	}
	var changed []Changed
	for _, e := range img.Entries {
		f, ok := e.Message.(*fdinfo.FileEntry)
		if !ok || f.GetReg() == nil || f.GetReg().Size == nil {
			continue
		}
		reg := f.GetReg()
		c, err := compare(reg, onMachine)
		if err != nil {
			return changed, err
		}
		if c == nil || (!c.Gone && c.Is == c.Was) {
			continue
		}
		is := c.Is
		reg.Size = &is
		changed = append(changed, *c)
	}
	if len(changed) == 0 {
		return nil, nil
	}
	return changed, encode(name, img)
}

// compare looks at the file that reg names; nil means it is none of ours.
func compare(reg *regfile.RegFileEntry, onMachine func(string) (string, string)) (*Changed, error) {
	top, rel := onMachine(reg.GetName())
	if top == "" {
		return nil, nil
	}
	root, err := os.OpenRoot(top)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	c := &Changed{Name: reg.GetName(), Was: reg.GetSize()}
	st, err := root.Lstat(rel)
	switch {
	case errors.Is(err, os.ErrNotExist):
		c.Gone = true
		return c, remake(root, rel)
	case err != nil:
		return nil, err
	case !st.Mode().IsRegular():
		return nil, nil
	}
	c.Is = uint64(st.Size())
	return c, nil
}

func remake(root *os.Root, rel string) error {
	if err := root.MkdirAll(filepath.Dir(rel), 0o755); err != nil {
		return err
	}
	f, err := root.OpenFile(rel, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := root.Stat(".")
	if err != nil {
		return err
	}
	if sys, ok := st.Sys().(*syscall.Stat_t); ok {
		return f.Chown(int(sys.Uid), int(sys.Gid))
	}
	return nil
}

func decode(name string) (*crit.CriuImage, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	img, err := crit.New(f, nil, "", false, false).Decode(&fdinfo.FileEntry{})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Base(name), err)
	}
	return img, nil
}

func encode(name string, img *crit.CriuImage) error {
	f, err := os.OpenFile(name+".new", os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := crit.New(nil, f, "", false, false).Encode(img); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("%s: %w", filepath.Base(name), err)
	}
	if err := f.Chmod(0o644); err != nil {
		return err
	}
	return os.Rename(name+".new", name)
}
