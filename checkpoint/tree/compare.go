package tree

import (
	"context"
	"crypto/sha256"
	"io"
	"os"
)

// How a path differs.
const (
	Added   = "added"   // there is something now, and was not then
	Changed = "changed" // something else
	Removed = "removed" // there was something then, and is not now
)

// Change is a path that differs.
type Change struct {
	Path string
	How  string
	Then Entry // of what was then; zero if it was added
	Now  Entry // zero if it was removed
}

// Compare lists what differs between two listings, each in order. same decides
// for files of one size whose contents may be equal.
func Compare(then, now []Entry, same func(then, now Entry) (bool, error)) ([]Change, error) {
	var out []Change
	for len(then)+len(now) > 0 {
		switch {
		case len(now) == 0 || len(then) > 0 && then[0].Path < now[0].Path:
			out = append(out, Change{Path: then[0].Path, How: Removed, Then: then[0]})
			then = then[1:]
		case len(then) == 0 || now[0].Path < then[0].Path:
			out = append(out, Change{Path: now[0].Path, How: Added, Now: now[0]})
			now = now[1:]
		default:
			equal, err := Alike(then[0], now[0], same)
			if err != nil {
				return nil, err
			}
			if !equal {
				out = append(out, Change{then[0].Path, Changed, then[0], now[0]})
			}
			then, now = then[1:], now[1:]
		}
	}
	return out, nil
}

// Alike compares two entries; same decides for files of one size.
func Alike(a, b Entry, same func(a, b Entry) (bool, error)) (bool, error) {
	if a.Kind != b.Kind || a.Mode&0o777 != b.Mode&0o777 {
		return false, nil
	}
	switch a.Kind {
	case Link:
		return a.Target == b.Target, nil
	case File:
		if a.Size != b.Size {
			return false, nil
		}
		return same(a, b)
	}
	return true, nil
}

// SameKept compares files of two snapshots. Of one that is not kept only the times
// tell something.
func SameKept(a, b Entry) (bool, error) {
	if a.HasContent() && b.HasContent() {
		return a.Sum == b.Sum, nil
	}
	return a.Mtime == b.Mtime, nil
}

// SamePresent compares a file of a snapshot with the one that is there: it is
// read, unless the file system says that it was not touched.
func SamePresent(ctx context.Context, tops []Top) func(then, now Entry) (bool, error) {
	return func(then, now Entry) (bool, error) {
		if then.unchanged(now) {
			return true, nil
		}
		if !then.HasContent() {
			return then.Mtime == now.Mtime, nil
		}
		sum, err := SumPresent(ctx, tops, now)
		return sum == then.Sum, err
	}
}

// SumPresent reads a file that is there. One that is not any more has the zero sum.
func SumPresent(ctx context.Context, tops []Top, e Entry) (Sum, error) {
	for _, top := range tops {
		rel, ok := e.Below(top.Name)
		if !ok {
			continue
		}
		f, _, err := openFile(top.Root, rel, e.Inode)
		if err != nil {
			return Sum{}, ctx.Err()
		}
		defer f.Close()
		return sumFile(ctx, f)
	}
	return Sum{}, nil
}

func sumFile(ctx context.Context, f *os.File) (Sum, error) {
	h, buf := sha256.New(), make([]byte, 1<<20)
	for {
		n, err := f.Read(buf)
		h.Write(buf[:n])
		if err == io.EOF {
			return sumOf(h.Sum(nil)), nil
		}
		if err != nil {
			return Sum{}, nil // it is another one, as far as can be told
		}
		if err := ctx.Err(); err != nil {
			return Sum{}, err
		}
	}
}

// Untouched reports whether what is there now is, by what the file system says, what
// the snapshot has; a file that was changed just before it was read counts too.
func (e Entry) Untouched(now Entry) bool {
	return e.Kind == now.Kind && e.Size == now.Size && e.Mtime == now.Mtime && e.Ctime == now.Ctime && e.Inode == now.Inode
}
