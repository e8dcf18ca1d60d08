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
	"google.golang.org/protobuf/proto"
)

// Changed is a file that a frozen process holds open and that is not any more
// what it was.
type Changed struct {
	Name string // in the container
	Was  uint64 // bytes
	Is   uint64
	Gone bool
	Now  string // where it is, if it was moved
	mode uint32 // as stat tells it, 0 for not known
}

// same reports whether CRIU takes the file without more ado.
func (c *Changed) same(reg *regfile.RegFileEntry) bool {
	return !c.Gone && c.Is == c.Was && c.Now == "" && (reg.Mode == nil || c.mode == reg.GetMode())
}

// adopt has the dump say of the file what is so now.
func (c *Changed) adopt(reg *regfile.RegFileEntry) {
	reg.Size = &c.Is
	if reg.Mode != nil && c.mode != 0 {
		reg.Mode = &c.mode
	}
	if c.Now != "" {
		reg.Name = &c.Now
	}
}

// look notes what the file is now.
func (c *Changed) look(st os.FileInfo) {
	c.Is = uint64(st.Size())
	if sys, ok := st.Sys().(*syscall.Stat_t); ok {
		c.mode = sys.Mode
	}
}

// Moved finds a file by where it was, as a path in the container, and its size in
// bytes; it answers where it is, or "".
type Moved func(name string, size uint64) string

// AdoptSizes makes a dump accept the present sizes and modes of the regular files
// it holds open: CRIU refuses a file in which either changed, while for a person "the
// file is as it is now, the position where it was" is right. onMachine gives a
// container path's place on this machine as a folder and a path below it, "" for
// one that cannot change; the folder is hostile ground and left by no link. A
// file that is not what it was is taken from where moved says that one of this
// size went, a container path or ""; one that is gone is made anew, empty, for
// the folder's owner. One that had been deleted already when it was dumped is in
// the dump itself, and stays what it is.
func AdoptSizes(dump string, onMachine func(name string) (top, rel string), moved Moved) ([]Changed, error) {
	name := filepath.Join(dump, "files.img")
	img, err := decode(name, &fdinfo.FileEntry{})
	if err != nil {
		return nil, err
	}
	lost, err := nameless(dump, img)
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
		link, isLost := lost[f.GetId()]
		var c *Changed
		if isLost {
			c, err = compareLink(reg, link, onMachine)
		} else {
			c, err = compare(reg, onMachine, moved)
		}
		if err != nil {
			return changed, err
		}
		if c == nil || c.same(reg) {
			continue
		}
		c.adopt(reg)
		changed = append(changed, *c)
	}
	if len(changed) == 0 {
		return nil, nil
	}
	return changed, encode(name, img)
}

// compare looks at the file that reg names; nil means it is none of ours.
func compare(reg *regfile.RegFileEntry, onMachine func(string) (string, string), moved Moved) (*Changed, error) {
	top, rel := onMachine(reg.GetName())
	if top == "" {
		return nil, nil
	}
	c := &Changed{Name: reg.GetName(), Was: reg.GetSize()}
	st, err := lstat(top, rel)
	if moved != nil && (errors.Is(err, os.ErrNotExist) || err == nil && uint64(st.Size()) != c.Was) {
		if now := moved(c.Name, c.Was); now != "" {
			c.Now = now
			top, rel = onMachine(now)
			st, err = lstat(top, rel)
		}
	}
	if errors.Is(err, os.ErrNotExist) {
		c.Now = ""
		top, rel = onMachine(c.Name)
	}
	return c.settle(st, err, top, rel, reg)
}

// settle takes what lstat said of a file: it is noted as it is now, or made anew.
// nil means that there is nothing to adopt.
func (c *Changed) settle(st os.FileInfo, err error, top, rel string, reg *regfile.RegFileEntry) (*Changed, error) {
	switch {
	case errors.Is(err, os.ErrNotExist):
		return c, c.remake(top, rel, reg)
	case err != nil:
		return nil, err
	case !st.Mode().IsRegular():
		return nil, nil
	}
	c.look(st)
	return c, nil
}

// Held is a regular file that a frozen process holds open or mapped.
type Held struct {
	Name string // in the container
	Size uint64 // bytes
}

// Holds lists the regular files that a dump holds. Their names are what the
// frozen processes made them.
func Holds(dump string) ([]Held, error) {
	img, err := decode(filepath.Join(dump, "files.img"), &fdinfo.FileEntry{})
	if err != nil {
		return nil, err
	}
	var out []Held
	for _, e := range img.Entries {
		if f, ok := e.Message.(*fdinfo.FileEntry); ok && f.GetReg() != nil {
			out = append(out, Held{f.GetReg().GetName(), f.GetReg().GetSize()})
		}
	}
	return out, nil
}

func lstat(top, rel string) (os.FileInfo, error) {
	root, err := os.OpenRoot(top)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	return root.Lstat(rel)
}

// remake makes a file that is gone anew, empty, with the permissions that it had.
func (c *Changed) remake(top, rel string, reg *regfile.RegFileEntry) error {
	c.Gone = true
	root, err := os.OpenRoot(top)
	if err != nil {
		return err
	}
	defer root.Close()
	if err := root.MkdirAll(filepath.Dir(rel), 0o755); err != nil {
		return err
	}
	f, err := root.OpenFile(rel, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	if reg.Mode != nil { // whatever our umask is
		c.mode = syscall.S_IFREG | reg.GetMode()&0o777
		if err := f.Chmod(os.FileMode(c.mode & 0o777)); err != nil {
			return err
		}
	}
	st, err := root.Stat(".")
	if err != nil {
		return err
	}
	if sys, ok := st.Sys().(*syscall.Stat_t); ok {
		return f.Chown(int(sys.Uid), int(sys.Gid))
	}
	return nil
}

func decode(name string, entry proto.Message) (*crit.CriuImage, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	img, err := crit.New(f, nil, "", false, false).Decode(entry)
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
