package checkpoint

import (
	"context"
	"errors"
	"os"
	"path"
	"path/filepath"
	"slices"

	"golang.org/x/sync/errgroup"

	"cellar/checkpoint/vault"
	"cellar/internal/fault"
	"cellar/kernel/pager"
)

// workers is how many files, or parts of one, are laid out at once.
const workers = 4

// Hollow decides, when all but the memory of a dump is laid out, whether the rest
// is left to a pager.
type Hollow func(dump string) (bool, error)

// Load lays a checkpoint out: folder, which must not exist, is then as the one
// that was saved. If hollow says so, the pages that may come late are left out of
// the dump's files: OpenLate finds them in store, the vault's folder. After an
// error what is there of the folder is of no use.
func Load(ctx context.Context, r *vault.Reader, name string, project vault.Key, folder, store string, hollow Hollow) error {
	c, err := read(ctx, r, name, project)
	if err != nil {
		return err
	}
	if err := os.Mkdir(folder, 0o711); err != nil {
		return err
	}
	root, err := os.OpenRoot(folder)
	if err != nil {
		return err
	}
	defer root.Close()
	o := loading{c: c, r: r, root: root, top: folder}
	for _, f := range c.Folders {
		if err := root.Mkdir(f.Name, f.Mode.Perm()|0o700); err != nil {
			return err
		}
	}
	if err := o.plain(ctx); err != nil {
		return err
	}
	return o.memory(ctx, store, hollow) // it needs the page maps
}

type loading struct {
	c    contents
	r    *vault.Reader
	root *os.Root
	top  string
}

// plain writes the files that are not memory.
func (o loading) plain(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(workers)
	for _, f := range o.c.Files {
		if f.Map != "" || ctx.Err() != nil {
			continue
		}
		out, err := o.create(f)
		if err != nil {
			return errors.Join(err, g.Wait())
		}
		o.write(ctx, g, f, out, []pager.Region{{Size: uint64(f.Size)}})
	}
	return g.Wait()
}

// memory writes the files with memory, with holes where a pager will fill in.
func (o loading) memory(ctx context.Context, store string, hollow Hollow) error {
	late := from{Store: store, Objects: map[string]vault.Object{}}
	for _, f := range o.c.Files {
		if f.Map == "" {
			continue
		}
		out, err := o.create(f)
		if err == nil {
			err = out.Close()
		}
		if err != nil {
			return err
		}
		late.Objects[path.Base(f.Name)] = o.c.objects[f.Object]
	}
	holes := false
	if hollow != nil && len(late.Objects) > 0 {
		var err error
		if holes, err = hollow(filepath.Join(o.top, Dump)); err != nil {
			return err
		}
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(workers)
	for _, f := range o.c.Files {
		if f.Map == "" || ctx.Err() != nil {
			continue
		}
		regions, _, err := pager.ReadMap(filepath.Join(o.top, filepath.FromSlash(f.Map)))
		if err != nil {
			return errors.Join(fault.Wrap(fault.Unavailable, "checkpoint_damaged", "This checkpoint is damaged: a page map cannot be read.", err), g.Wait())
		}
		if holes {
			regions = slices.DeleteFunc(regions, func(r pager.Region) bool { return r.Late })
		}
		out, err := o.root.OpenFile(f.Name, os.O_WRONLY, 0)
		if err != nil {
			return errors.Join(err, g.Wait())
		}
		o.write(ctx, g, f, out, regions)
	}
	if err := g.Wait(); err != nil || !holes {
		return err
	}
	return late.write(o.root)
}

func (o loading) create(f File) (*os.File, error) {
	out, err := o.root.OpenFile(f.Name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(out.Chmod(f.Mode.Perm()), out.Truncate(f.Size)); err != nil {
		out.Close()
		return nil, err
	}
	return out, nil
}

// write has the regions of a file written by several workers, and closes it.
func (o loading) write(ctx context.Context, g *errgroup.Group, f File, out *os.File, regions []pager.Region) {
	pages := o.r.Object(o.c.objects[f.Object])
	parts := split(regions)
	if len(parts) == 1 { // most files: no second group
		g.Go(func() error { return errors.Join(copyPages(ctx, pages, out, parts[0]), out.Close()) })
		return
	}
	var all errgroup.Group
	all.SetLimit(workers)
	for _, r := range parts {
		all.Go(func() error { return copyPages(ctx, pages, out, r) })
	}
	err := errors.Join(all.Wait(), out.Close())
	g.Go(func() error { return err })
}

// copyPages writes a region of an object to where the region says it belongs.
func copyPages(ctx context.Context, p *vault.Pages, out *os.File, r pager.Region) error {
	buf := make([]byte, min(chunk, roundUp(r.Size)))
	for done := uint64(0); done < r.Size; {
		left := r.Size - done
		b := buf[:min(uint64(len(buf)), roundUp(left))]
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

// roundUp is the bytes of the pages that n bytes take.
func roundUp(n uint64) uint64 { return (n + vault.PageSize - 1) / vault.PageSize * vault.PageSize }

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
