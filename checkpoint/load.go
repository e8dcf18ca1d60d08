package checkpoint

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"golang.org/x/sync/errgroup"

	"cellar/checkpoint/vault"
	"cellar/internal/fault"
	"cellar/kernel/pager"
)

// Loading says what of a checkpoint is laid out where.
type Loading struct {
	Part   string // a folder of the checkpoint: Dump, "journal"
	Folder string // what is in it comes here; made if it is missing
	Owner  int    // of the files and the folder; < 0: whoever runs this
	// Late, for a Dump, is asked once all but the pages of memory is there: true
	// leaves those out that a pager brings later. nil: nothing comes late.
	Late func(dump string) bool
	// From is what a pager in another process needs to find them.
	From From
}

// From is where the pages of a dump come from that were left out.
type From struct {
	Store   string                  `json:"store"`  // folder of the vault
	Tenant  string                  `json:"tenant"` // whose key it takes
	Objects map[string]vault.Object `json:"objects"`
}

// LateName is the file of a dump's folder that says where its late pages are.
const LateName = "late.json"

// workers is how many files, or parts of one, are laid out at once.
const workers = 4

// load lays out a part of a checkpoint.
func load(ctx context.Context, r *vault.Reader, c contents, l Loading) error {
	if err := os.MkdirAll(l.Folder, 0o755); err != nil {
		return err
	}
	if l.Owner >= 0 {
		if err := os.Lchown(l.Folder, l.Owner, l.Owner); err != nil {
			return err
		}
	}
	o := loading{Loading: l, r: r}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(workers)
	var memory []File
	for _, f := range c.Files {
		rel, ok := strings.CutPrefix(f.Name, l.Part+"/")
		switch {
		case !ok:
		case f.Map != "":
			memory = append(memory, f)
		default:
			g.Go(func() error { return o.file(ctx, f, rel, c.objects[f.Object]) })
		}
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return o.memory(ctx, c, memory)
}

type loading struct {
	Loading
	r *vault.Reader
}

func (o loading) create(rel string, mode fs.FileMode) (*os.File, error) {
	name := filepath.Join(o.Folder, filepath.FromSlash(rel))
	if dir := filepath.Dir(name); dir != o.Folder {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, err
		}
	}
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	err = f.Chmod(mode.Perm())
	if err == nil && o.Owner >= 0 {
		err = f.Chown(o.Owner, o.Owner)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// file writes a file whose object is ordered as it is.
func (o loading) file(ctx context.Context, f File, rel string, object vault.Object) error {
	out, err := o.create(rel, f.Mode)
	if err != nil {
		return err
	}
	return errors.Join(copyPages(ctx, o.r.Object(object), out, pager.Region{Size: uint64(f.Size)}), out.Close())
}

// copyPages writes a region of an object to where the region says it belongs.
func copyPages(ctx context.Context, p *vault.Pages, out *os.File, r pager.Region) error {
	buf := make([]byte, min(chunk, (r.Size+vault.PageSize-1)/vault.PageSize*vault.PageSize))
	for done := uint64(0); done < r.Size; {
		left := r.Size - done
		b := buf[:min(uint64(len(buf)), (left+vault.PageSize-1)/vault.PageSize*vault.PageSize)]
		if err := p.ReadPages(ctx, (r.Start+done)/vault.PageSize, b); err != nil {
			return err
		}
		b = b[:min(uint64(len(b)), left)]
		if _, err := out.WriteAt(b, int64(r.At+done)); err != nil {
			return err
		}
		done += uint64(len(b))
	}
	return nil
}

// memory writes the files with pages of memory, as far as they must be there.
func (o loading) memory(ctx context.Context, c contents, files []File) error {
	maps := make([][]pager.Region, len(files))
	for i, f := range files {
		// An empty file first: how much may come late is looked up in the folder.
		out, err := o.create(path.Base(f.Name), f.Mode)
		if err != nil {
			return err
		}
		if err := errors.Join(out.Truncate(f.Size), out.Close()); err != nil {
			return err
		}
		if maps[i], _, err = pager.ReadMap(filepath.Join(o.Folder, path.Base(f.Map))); err != nil {
			return fault.Wrap(fault.Unavailable, "checkpoint_damaged", "This checkpoint is damaged: a page map cannot be read.", err)
		}
	}
	late := len(files) > 0 && o.Late != nil && o.Late(o.Folder)
	if late {
		if err := o.sayWhere(c, files); err != nil {
			return err
		}
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(workers)
	for i, f := range files {
		p := o.r.Object(c.objects[f.Object])
		out, err := os.OpenFile(filepath.Join(o.Folder, path.Base(f.Name)), os.O_WRONLY, 0)
		if err != nil {
			return errors.Join(err, g.Wait())
		}
		defer out.Close()
		for _, r := range split(maps[i]) {
			if !late || !r.Late {
				g.Go(func() error { return copyPages(ctx, p, out, r) })
			}
		}
	}
	return g.Wait()
}

// piece is the longest region that one worker takes.
const piece = 8 << 20

// split cuts long regions, for several workers.
func split(regions []pager.Region) (out []pager.Region) {
	for _, r := range regions {
		for r.Size > piece {
			head := r
			head.Size = piece
			out = append(out, head)
			r.Start, r.At, r.Size = r.Start+piece, r.At+piece, r.Size-piece
		}
		out = append(out, r)
	}
	return out
}

// sayWhere writes down where the pages are that are left out.
func (o loading) sayWhere(c contents, files []File) error {
	from := o.From
	from.Objects = map[string]vault.Object{}
	for _, f := range files {
		from.Objects[path.Base(f.Name)] = c.objects[f.Object]
	}
	b, err := json.Marshal(from)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(o.Folder, LateName), b, 0o600)
}
