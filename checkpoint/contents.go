// Package checkpoint turns the folder of a checkpoint into an entry of a vault, and
// back into a folder that a kernel can be thawed from. It knows CRIU's
// page maps, so that memory is stored by address: what did not change between two
// checkpoints of a kernel is then stored once, wherever CRIU put it in its files.
// It knows no kernels, projects or users.
package checkpoint

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"iter"
	"os"
	"path"
	"path/filepath"

	"golang.org/x/sys/unix"

	"cellar/checkpoint/vault"
	"cellar/internal/fault"
	"cellar/kernel/pager"
)

// Dump is the folder of CRIU's files within a checkpoint's.
const Dump = "dump"

// File is a file of a checkpoint. What it holds is an object of the vault.
type File struct {
	Name string      `json:"name"` // below the checkpoint's folder, with slashes
	Mode fs.FileMode `json:"mode"` // permission bits
	Size int64       `json:"size"`
	// Map is the page map, a name beside this one, of a file with pages of memory:
	// its object is ordered by address, not by place in the file.
	Map    string `json:"map,omitempty"`
	Object int    `json:"object"` // which of the checkpoint's
}

// Folder is a folder of a checkpoint, as File is a file.
type Folder struct {
	Name string      `json:"name"`
	Mode fs.FileMode `json:"mode"`
}

// contents is what a checkpoint's manifest says.
type contents struct {
	About   json.RawMessage `json:"about"`   // the caller's
	Folders []Folder        `json:"folders"` // parents before children
	Files   []File          `json:"files"`

	objects []vault.Object
}

// maxFiles bounds a folder. A journal has a few hundred files, a dump some for
// each process.
const maxFiles = 100_000

// Save stores the regular files below folder as the checkpoint name, beside what
// the caller says about it. base names a checkpoint that it is likely to
// resemble; empty, or one that is not there any more: none. It answers how many
// bytes the files have, and how many the vault has more.
func Save(ctx context.Context, v *vault.Vault, name string, project vault.Key, folder, base string, about []byte) (size, added int64, err error) {
	var like contents
	if base != "" {
		like, _ = read(ctx, v.Reader, base, project) // without it more is stored, no more than that
	}
	size, added, err = save(ctx, v, name, project, folder, like, about)
	if fault.CodeOf(err) == vault.CodeBase {
		size, added, err = save(ctx, v, name, project, folder, contents{}, about)
	}
	return size, added, err
}

func save(ctx context.Context, v *vault.Vault, name string, project vault.Key, folder string, like contents, about []byte) (size, added int64, err error) {
	if pager.Hollow(filepath.Join(folder, Dump)) { // zeros would be stored for its memory
		return 0, 0, fault.New(fault.Internal, "hollow", "The memory of this checkpoint is not in its folder.")
	}
	s, err := v.Begin(ctx)
	if err != nil {
		return 0, 0, err
	}
	defer s.Abort()
	root, err := os.OpenRoot(folder)
	if err != nil {
		return 0, 0, err
	}
	defer root.Close()
	w := saving{ctx: ctx, s: s, root: root, bases: like.bases(), maps: mapsOf(filepath.Join(folder, Dump))}
	if err := fs.WalkDir(root.FS(), ".", w.visit); err != nil {
		return 0, 0, err
	}
	w.out.About = about
	manifest, err := json.Marshal(w.out)
	if err != nil {
		return 0, 0, err
	}
	added, err = s.Commit(name, project, manifest, w.out.objects)
	return w.size, added, err
}

// bases finds what a file resembles: memory by its page map, which is named after
// the process, all else by its name.
func (c contents) bases() map[string]vault.Object {
	out := map[string]vault.Object{}
	for _, f := range c.Files {
		out[f.key()] = c.objects[f.Object]
	}
	return out
}

func (f File) key() string {
	if f.Map != "" {
		return f.Map
	}
	return f.Name
}

type saving struct {
	ctx   context.Context
	s     *vault.Session
	root  *os.Root
	bases map[string]vault.Object
	maps  map[string]memory // by the name of the pages file
	out   contents
	size  int64
}

// memory is the page map of a pages file.
type memory struct {
	name    string
	regions []pager.Region
}

// mapsOf reads the page maps of a dump. Of two that share a pages file none is
// answered: the file is stored as what it is.
func mapsOf(dump string) map[string]memory {
	out := map[string]memory{}
	names, _ := filepath.Glob(filepath.Join(dump, "pagemap-*.img"))
	for _, name := range names {
		regions, id, err := pager.ReadMap(name)
		if err != nil {
			continue
		}
		file := path.Join(Dump, pager.PagesFile(id))
		if _, taken := out[file]; taken {
			out[file] = memory{}
			continue
		}
		out[file] = memory{path.Join(Dump, filepath.Base(name)), regions}
	}
	return out
}

func (w *saving) visit(name string, d fs.DirEntry, err error) error {
	if err != nil {
		return err
	}
	if len(w.out.Files)+len(w.out.Folders) >= maxFiles {
		return fault.Newf(fault.Exhausted, "too_many_files", "A checkpoint may have %d files.", maxFiles)
	}
	if d.IsDir() && name != "." {
		st, err := d.Info()
		if err == nil {
			w.out.Folders = append(w.out.Folders, Folder{name, st.Mode().Perm()})
		}
		return err
	}
	if !d.Type().IsRegular() {
		return nil
	}
	f, err := w.root.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil || !st.Mode().IsRegular() {
		return err
	}
	file := File{Name: name, Mode: st.Mode().Perm(), Size: st.Size(), Object: len(w.out.objects)}
	var o vault.Object
	if m := w.maps[name]; m.name != "" {
		file.Map = m.name
		o, err = w.memory(f, m, w.bases[m.name])
	} else {
		o, err = w.s.PutReader(w.bases[name], io.LimitReader(f, st.Size()))
	}
	if err != nil {
		return err
	}
	w.out.Files, w.out.objects = append(w.out.Files, file), append(w.out.objects, o)
	w.size += st.Size()
	return nil
}

func (w *saving) memory(f *os.File, m memory, base vault.Object) (vault.Object, error) {
	var bad error
	o, err := w.s.Put(base, pagesOf(f, m.regions, &bad))
	return o, errors.Join(err, bad)
}

// chunk is what is read of a pages file at once.
const chunk = 1 << 20

// pagesOf yields the pages of a pages file by their address.
func pagesOf(f *os.File, regions []pager.Region, bad *error) iter.Seq2[uint64, []byte] {
	return func(yield func(uint64, []byte) bool) {
		buf := make([]byte, chunk)
		for _, r := range regions {
			for done := uint64(0); done < r.Size; {
				b := buf[:min(chunk, r.Size-done)]
				if _, err := f.ReadAt(b, int64(r.At+done)); err != nil {
					*bad = err
					return
				}
				for i := 0; i < len(b); i += vault.PageSize {
					if !yield((r.Start+done+uint64(i))/vault.PageSize, b[i:i+vault.PageSize]) {
						return
					}
				}
				done += uint64(len(b))
			}
		}
	}
}

// read reads what a checkpoint is made of.
func read(ctx context.Context, r *vault.Reader, name string, project vault.Key) (contents, error) {
	var c contents
	b, objects, err := r.Manifest(ctx, name, project)
	if err != nil {
		return c, err
	}
	if err := json.Unmarshal(b, &c); err != nil {
		return c, fault.Wrap(fault.Unavailable, "checkpoint_damaged", "This checkpoint is damaged: its description cannot be read.", err)
	}
	c.objects = objects
	return c, c.check()
}

// check refuses names that lead out of a folder and objects that are not there.
func (c contents) check() error {
	bad := func(name string) error {
		return fault.Newf(fault.Unavailable, "checkpoint_damaged", "This checkpoint is damaged: %.80q cannot be a file of it.", name)
	}
	for _, f := range c.Folders {
		if !filepath.IsLocal(f.Name) {
			return bad(f.Name)
		}
	}
	for _, f := range c.Files {
		if !filepath.IsLocal(f.Name) || f.Size < 0 || f.Object < 0 || f.Object >= len(c.objects) {
			return bad(f.Name)
		}
	}
	return nil
}
