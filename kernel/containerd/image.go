package containerd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	client "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/errdefs"
)

// HasImage reports whether ref is in the store and unpacked.
func (r *Runtime) HasImage(ctx context.Context, ref string) bool {
	ctx = scoped(ctx)
	img, err := r.c.GetImage(ctx, ref)
	if err != nil {
		return false
	}
	ok, err := img.IsUnpacked(ctx, snapshotter)
	return err == nil && ok
}

// ImportImage reads an OCI archive (a tar of an OCI layout) and unpacks what it
// holds; it returns the references.
func (r *Runtime) ImportImage(ctx context.Context, archive io.Reader) ([]string, error) {
	ctx = scoped(ctx)
	list, err := r.c.Import(ctx, archive)
	if err != nil {
		return nil, fmt.Errorf("reading the image archive: %w", err)
	}
	var names []string
	for _, i := range list {
		img := client.NewImage(r.c, i)
		if err := img.Unpack(ctx, snapshotter); err != nil {
			return nil, fmt.Errorf("unpacking %s: %w", i.Name, err)
		}
		names = append(names, i.Name)
	}
	return names, nil
}

// ImageDigest is the digest of what ref names now.
func (r *Runtime) ImageDigest(ctx context.Context, ref string) (string, error) {
	img, err := r.c.GetImage(scoped(ctx), ref)
	if errdefs.IsNotFound(err) {
		return "", fmt.Errorf("image %s is not in the store: %w", ref, err)
	}
	if err != nil {
		return "", err
	}
	return img.Target().Digest.String(), nil
}

// KernelSpec is a kernel.json of an image.
type KernelSpec struct {
	Name          string            `json:"-"`
	Dir           string            `json:"-"` // inside the image
	Argv          []string          `json:"argv"`
	DisplayName   string            `json:"display_name"`
	Language      string            `json:"language"`
	InterruptMode string            `json:"interrupt_mode,omitempty"`
	Env           map[string]string `json:"env,omitempty"`
	Metadata      map[string]any    `json:"metadata,omitempty"`
	Logos         map[string][]byte `json:"-"`
}

// kernelDirs are the data folders of Jupyter where images keep their kernels.
var kernelDirs = []string{"usr/local/share/jupyter/kernels", "usr/share/jupyter/kernels", "opt/conda/share/jupyter/kernels"}

const maxSpecFile = 1 << 20

// KernelSpecs reads the kernels an image offers.
func (r *Runtime) KernelSpecs(ctx context.Context, ref string) (specs []KernelSpec, err error) {
	err = r.View(ctx, ref, func(root *os.Root) error {
		specs = readSpecs(root)
		return nil
	})
	return specs, err
}

// View gives fn a read-only view of an image. What is in it is untrusted: fn
// reads regular files, through the root only.
func (r *Runtime) View(ctx context.Context, ref string, fn func(*os.Root) error) error {
	ctx = scoped(ctx)
	ctx, done, err := r.c.WithLease(ctx)
	if err != nil {
		return err
	}
	defer done(context.WithoutCancel(ctx))
	img, err := r.c.GetImage(ctx, ref)
	if err != nil {
		return err
	}
	ids, err := img.RootFS(ctx)
	if err != nil {
		return err
	}
	key := "view-" + rand8()
	s := r.c.SnapshotService(snapshotter)
	mounts, err := s.View(ctx, key, chainID(ids))
	if err != nil {
		return err
	}
	defer s.Remove(context.WithoutCancel(ctx), key)
	return mount.WithReadonlyTempMount(ctx, mounts, func(dir string) error {
		root, err := os.OpenRoot(dir)
		if err != nil {
			return err
		}
		defer root.Close()
		return fn(root)
	})
}

// Bounds of what is copied out of an image.
const (
	maxCopied      = 512 << 20
	maxCopiedFiles = 20_000
)

// CopyFromImage copies the regular files below the folders, which are paths
// without a leading slash, into dst: those of the first folder win. A folder
// that the image lacks is left out, links are too.
func (r *Runtime) CopyFromImage(ctx context.Context, ref string, folders []string, dst string) error {
	if err := os.MkdirAll(dst, 0o755); err != nil {
		return err
	}
	to, err := os.OpenRoot(dst)
	if err != nil {
		return err
	}
	defer to.Close()
	return r.View(ctx, ref, func(root *os.Root) error {
		c := copying{from: root, to: to, bytes: maxCopied, files: maxCopiedFiles}
		for _, folder := range folders {
			if err := c.tree(folder); err != nil {
				return err
			}
		}
		return nil
	})
}

// copying is a copy under way, and what it may still take.
type copying struct {
	from, to *os.Root
	bytes    int64
	files    int
}

func (c *copying) tree(folder string) error {
	return fs.WalkDir(c.from.FS(), folder, func(name string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) && name == folder {
			return fs.SkipAll
		}
		if err != nil {
			return err
		}
		rel := strings.TrimPrefix(strings.TrimPrefix(name, folder), "/")
		switch {
		case rel == "":
			return nil
		case d.IsDir():
			return c.to.MkdirAll(rel, 0o755)
		case d.Type().IsRegular():
			return c.file(name, rel)
		}
		return nil
	})
}

func (c *copying) file(name, rel string) error {
	out, err := c.to.OpenFile(rel, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return nil // an earlier folder has it
	}
	if err != nil {
		return err
	}
	defer out.Close()
	in, err := c.from.Open(name)
	if err != nil {
		return err
	}
	defer in.Close()
	n, err := io.Copy(out, io.LimitReader(in, c.bytes+1))
	if c.bytes, c.files = c.bytes-n, c.files-1; c.bytes < 0 || c.files < 0 {
		return fmt.Errorf("more than %d MiB or %d files to copy from the image", maxCopied>>20, maxCopiedFiles)
	}
	return err
}

func readSpecs(root *os.Root) []KernelSpec {
	seen := map[string]bool{}
	var out []KernelSpec
	for _, dir := range kernelDirs {
		entries, err := fs.ReadDir(root.FS(), dir)
		if err != nil {
			continue
		}
		for _, e := range entries {
			if s, err := readSpec(root, path.Join(dir, e.Name())); err == nil && !seen[s.Name] {
				seen[s.Name] = true
				out = append(out, s)
			}
		}
	}
	return out
}

func readSpec(root *os.Root, dir string) (KernelSpec, error) {
	s := KernelSpec{Name: path.Base(dir), Dir: "/" + dir, Logos: map[string][]byte{}}
	b, err := readSmall(root, path.Join(dir, "kernel.json"))
	if err != nil {
		return s, err
	}
	if err := json.Unmarshal(b, &s); err != nil {
		return s, err
	}
	if len(s.Argv) == 0 {
		return s, fmt.Errorf("%s: no argv", dir)
	}
	for _, logo := range []string{"logo-32x32.png", "logo-64x64.png", "logo-svg.svg", "kernel.js", "kernel.css"} {
		if b, err := readSmall(root, path.Join(dir, logo)); err == nil {
			s.Logos[logo] = b
		}
	}
	return s, nil
}

func readSmall(root *os.Root, name string) ([]byte, error) {
	f, err := root.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxSpecFile))
}

// PinImage gives what ref names now a name of its own that carries the digest,
// so that it stays when ref is built anew.
func (r *Runtime) PinImage(ctx context.Context, ref string) (string, error) {
	ctx = scoped(ctx)
	img, err := r.c.ImageService().Get(ctx, ref)
	if err != nil {
		return "", err
	}
	img.Name = ref + "@" + img.Target.Digest.String()
	if _, err := r.c.ImageService().Create(ctx, img); err != nil && !errdefs.IsAlreadyExists(err) {
		return "", err
	}
	return img.Name, nil
}
