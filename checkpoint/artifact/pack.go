package artifact

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/klauspost/compress/zstd"

	"cellar/internal/fault"
)

// Packer writes a folder as a compressed tar: the same bytes for the same calls.
type Packer struct {
	z *zstd.Encoder
	t *tar.Writer
}

// NewPacker begins to write to w.
func NewPacker(w io.Writer) (*Packer, error) {
	z, err := zstd.NewWriter(w, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1))
	if err != nil {
		return nil, err
	}
	return &Packer{z, tar.NewWriter(z)}, nil
}

// File adds a file of size bytes.
func (p *Packer) File(name string, mode os.FileMode, changed time.Time, size int64, content io.Reader) error {
	h := header(name, size)
	h.Mode, h.ModTime = int64(mode.Perm()), changed.Truncate(time.Second)
	if err := p.t.WriteHeader(h); err != nil {
		return err
	}
	n, err := io.Copy(p.t, io.LimitReader(content, size))
	if err == nil && n < size {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// Folder adds a folder.
func (p *Packer) Folder(name string, mode os.FileMode) error {
	return p.t.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: int64(mode.Perm()), Format: tar.FormatPAX})
}

// Link adds a symbolic link.
func (p *Packer) Link(name, target string) error {
	return p.t.WriteHeader(&tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target, Mode: 0o777, Format: tar.FormatPAX})
}

// Close ends it; the writer below stays open.
func (p *Packer) Close() error { return errors.Join(p.t.Close(), p.z.Close()) }

// Abort lets go of what is not brought to its end.
func (p *Packer) Abort() { p.z.Close() }

// Target is where a packed folder comes back.
type Target struct {
	Root    *os.Root
	Owner   int      // user and group of what is written; < 0: the writer's own
	Places  []string // folders that it may have; none: all
	Bytes   int64    // it may have in all
	Entries int
	Room    func(more int64) error // as of Bounds
}

// Unpacked says what came back.
type Unpacked struct {
	Files int
	Bytes int64
	Left  []string // what did not, and why, in words; the first few
	more  int
}

const (
	maxPath    = 4096
	maxDepth   = 100
	maxWindow  = 16 << 20 // bytes that decompression needs
	maxLeft    = 20
	maxPending = 100_000 // links, which are made last: nothing is written through them
)

// Unpack writes a packed folder. What is no file, folder or link within it, has a
// name that leads out, or is there already, is left out.
func Unpack(ctx context.Context, r io.Reader, to Target) (Unpacked, error) {
	var out Unpacked
	z, err := zstd.NewReader(&cancelled{ctx, r}, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderLowmem(true))
	if err != nil {
		return out, damaged(ctx, err)
	}
	defer z.Close()
	t := tar.NewReader(z)
	links := [][2]string{}
	for n := 0; ; n++ {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return out, damaged(ctx, err)
		}
		if n == to.Entries {
			return out, fault.Newf(fault.Exhausted, "too_many_files", "There are more than the %d files that can be imported.", to.Entries)
		}
		name, why := to.name(h.Name)
		switch {
		case why != "":
			out.leave(h.Name, why)
		case h.Typeflag == tar.TypeDir:
			err = to.folder(name, os.FileMode(h.Mode).Perm())
		case h.Typeflag == tar.TypeReg:
			err = to.file(ctx, name, h, t, &out)
		case h.Typeflag == tar.TypeSymlink && len(links) < maxPending:
			links = append(links, [2]string{name, h.Linkname})
		default:
			out.leave(h.Name, "it is neither a file nor a folder nor a link")
		}
		if err != nil {
			return out, damaged(ctx, err)
		}
	}
	for _, l := range links {
		if err := to.link(l[0], l[1], &out); err != nil {
			return out, err
		}
	}
	if out.more > 0 {
		out.Left = append(out.Left, fmt.Sprintf("%d more were left out.", out.more))
	}
	return out, nil
}

// damaged tells a bad archive from a full disk.
func damaged(ctx context.Context, err error) error {
	var file *os.PathError
	switch {
	case errors.Is(err, syscall.ENOSPC):
		return fault.Wrap(fault.Exhausted, "disk_full", "The server's disk is full.", err)
	case errors.Is(err, syscall.ENOTDIR), errors.Is(err, syscall.ENAMETOOLONG), errors.Is(err, syscall.EISDIR), errors.Is(err, syscall.EINVAL):
		return bad("a packed folder: %w", err)
	}
	if ctx.Err() != nil || errors.As(err, &file) || fault.ClassOf(err) != fault.Internal {
		return errors.Join(ctx.Err(), err)
	}
	return bad("a packed folder: %w", err)
}

func (u *Unpacked) leave(name, why string) {
	if len(u.Left) >= maxLeft {
		u.more++
		return
	}
	if len(name) > 200 {
		name = name[:200] + "…"
	}
	u.Left = append(u.Left, fmt.Sprintf("%s was left out: %s.", strings.ToValidUTF8(name, "\uFFFD"), why))
}

// name looks at a name of an archive; why says what is wrong with it.
func (to Target) name(in string) (name, why string) {
	name = strings.TrimSuffix(in, "/")
	switch {
	case len(name) > maxPath || strings.Count(name, "/") >= maxDepth:
		return "", "its name is too long"
	case strings.ContainsRune(name, 0) || !filepath.IsLocal(name) || path.Clean(name) != name || name == ".":
		return "", "its name leads elsewhere"
	case len(to.Places) > 0 && !slices.ContainsFunc(to.Places, func(p string) bool { return name == p || strings.HasPrefix(name, p+"/") }):
		return "", "it has no place here"
	}
	return name, ""
}

// folder makes a folder, with those above it.
func (to Target) folder(name string, mode os.FileMode) error {
	for at := 0; at < len(name); {
		end := strings.IndexByte(name[at+1:], '/')
		if end < 0 {
			end = len(name)
		} else {
			end += at + 1
		}
		err := to.Root.Mkdir(name[:end], 0o755)
		if err == nil {
			err = to.own(name[:end])
		}
		if err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
		at = end
	}
	return to.Root.Chmod(name, mode|0o700)
}

func (to Target) own(name string) error {
	if to.Owner < 0 {
		return nil
	}
	return to.Root.Lchown(name, to.Owner, to.Owner)
}

func (to Target) file(ctx context.Context, name string, h *tar.Header, r io.Reader, out *Unpacked) error {
	if h.Size < 0 || out.Bytes+h.Size > to.Bytes {
		return fault.Newf(fault.Exhausted, "too_large", "The files are larger than the %d MiB that can be imported.", to.Bytes>>20)
	}
	if dir := path.Dir(name); dir != "." {
		if _, err := to.Root.Lstat(dir); err != nil {
			if err := to.folder(dir, 0o755); err != nil {
				return err
			}
		}
	}
	f, err := to.Root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, os.ErrExist) {
		out.leave(name, "there is one by that name already")
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	for left := h.Size; left > 0; left -= min(left, step) {
		if to.Room != nil {
			if err := to.Room(min(left, step)); err != nil {
				return err
			}
		}
		if _, err := io.CopyN(f, r, min(left, step)); err != nil {
			return err
		}
	}
	out.Files++
	out.Bytes += h.Size
	if err := f.Chmod(os.FileMode(h.Mode).Perm() | 0o600); err != nil {
		return err
	}
	if to.Owner >= 0 {
		if err := f.Chown(to.Owner, to.Owner); err != nil {
			return err
		}
	}
	if err := f.Close(); err != nil {
		return err
	}
	if h.ModTime.Unix() > 0 {
		return to.Root.Chtimes(name, h.ModTime, h.ModTime)
	}
	return nil
}

// link makes a link that stays within the folder.
func (to Target) link(name, target string, out *Unpacked) error {
	if len(target) > maxPath || path.IsAbs(target) || !filepath.IsLocal(path.Join(path.Dir(name), target)) {
		out.leave(name, "it is a link that leads out of the folder")
		return nil
	}
	if dir := path.Dir(name); dir != "." {
		if to.throughLink(dir) {
			out.leave(name, "its folder is a link")
			return nil
		}
		if _, err := to.Root.Lstat(dir); err != nil {
			if err := to.folder(dir, 0o755); err != nil {
				return err
			}
		}
	}
	err := to.Root.Symlink(target, name)
	if errors.Is(err, os.ErrExist) {
		out.leave(name, "there is one by that name already")
		return nil
	}
	if err != nil {
		return err
	}
	return to.own(name)
}

// throughLink reports whether a folder's path has a link in it: where a link's
// target is counted from would not be where its name says.
func (to Target) throughLink(dir string) bool {
	for at := dir; at != "."; at = path.Dir(at) {
		if st, err := to.Root.Lstat(at); err == nil && st.Mode()&os.ModeSymlink != 0 {
			return true
		}
	}
	return false
}
