package checkpoint

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"golang.org/x/sync/errgroup"

	"cellar/checkpoint/vault"
	"cellar/internal/fault"
	"cellar/kernel/pager"
)

// workers is how many files, or parts of one, are laid out at once.
const workers = 4

// Load lays a checkpoint out: folder, which must not exist, is then as the one
// that was saved. After an error what is there of it is of no use.
func Load(ctx context.Context, r *vault.Reader, name string, project vault.Key, folder string) error {
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
	return errors.Join(o.files(ctx, false), o.files(ctx, true)) // memory needs the page maps
}

type loading struct {
	c    contents
	r    *vault.Reader
	root *os.Root
	top  string
}

// files writes the files with memory, or all others.
func (o loading) files(ctx context.Context, memory bool) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(workers)
	for _, f := range o.c.Files {
		if (f.Map != "") != memory {
			continue
		}
		if ctx.Err() != nil {
			break
		}
		regions := []pager.Region{{Size: uint64(f.Size)}}
		if memory {
			var err error
			if regions, _, err = pager.ReadMap(filepath.Join(o.top, filepath.FromSlash(f.Map))); err != nil {
				return errors.Join(fault.Wrap(fault.Unavailable, "checkpoint_damaged", "This checkpoint is damaged: a page map cannot be read.", err), g.Wait())
			}
		}
		out, err := o.create(f)
		if err != nil {
			return errors.Join(err, g.Wait())
		}
		o.write(ctx, g, f, out, regions)
	}
	return g.Wait()
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
