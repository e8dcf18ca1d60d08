package main

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"cellar/internal/fault"
	"cellar/kernel/containerd"
	"cellar/kernel/language"
	"cellar/kernel/packages"
	"cellar/machine"
	"cellar/server/hub"
)

// Codes of an image that no kernel can be made of, whenever it is tried: without
// a kernel the hub is up and says so, without an archive it does not start.
const (
	notAnArchive  = "image_not_an_archive"
	withoutKernel = "image_without_kernel"
)

// imageFlag is a kernel image as the operator gives it: NAME=ARCHIVE, or an
// archive alone, whose file name gives the name. A folder is an OCI layout.
type imageFlag struct{ Name, Archive string }

var (
	imageName    = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)
	notImageName = regexp.MustCompile(`[^A-Za-z0-9._-]+|^[._-]+`)
)

// UnmarshalText implements encoding.TextUnmarshaler, for kong.
func (f *imageFlag) UnmarshalText(b []byte) error {
	f.Name, f.Archive = "", string(b)
	if name, archive, ok := strings.Cut(string(b), "="); ok && imageName.MatchString(name) {
		f.Name, f.Archive = name, archive
	}
	if f.Archive == "" {
		return errors.New("an image needs an archive: [NAME=]ARCHIVE")
	}
	f.Archive = filepath.Clean(kong.ExpandPath(f.Archive))
	if f.Name == "" {
		f.Name = nameOfArchive(f.Archive)
	}
	return nil
}

// nameOfArchive makes torch of .../torch.oci.tar.
func nameOfArchive(archive string) string {
	name := filepath.Base(archive)
	for _, ext := range []string{".tar", ".oci"} {
		name = strings.TrimSuffix(name, ext)
	}
	name = notImageName.ReplaceAllString(name, "")
	return name[:min(len(name), 64)]
}

// checkImages reports two images of the same name, which nobody could tell apart.
func checkImages(images []imageFlag) error {
	seen := map[string]string{}
	for _, f := range images {
		if f.Name == "" {
			return fmt.Errorf("the image %s needs a name: --image NAME=ARCHIVE", f.Archive)
		}
		if other, ok := seen[f.Name]; ok {
			return fmt.Errorf("the images %s and %s are both named %s; name one of them: --image NAME=ARCHIVE", other, f.Archive, f.Name)
		}
		seen[f.Name] = f.Archive
	}
	return nil
}

// imported remembers which archive is in the store under which name.
type imported struct {
	Name    string    `json:"name"` // the operator's
	Archive string    `json:"archive"`
	Size    int64     `json:"size"`
	Time    time.Time `json:"time"`
	Index   string    `json:"index,omitempty"` // SHA-256 of a layout's index, which need not change size or time
	Ref     string    `json:"ref"`             // name@digest, so that kernels of an older build still find theirs
}

// importedFile is image.json. Before there could be several images it held the
// fields of one, without a name.
type importedFile struct {
	imported
	Images []imported `json:"images"`
}

func readImported(file string) []imported {
	var have importedFile
	b, err := os.ReadFile(file)
	if err != nil || json.Unmarshal(b, &have) != nil {
		return nil // importing again costs a minute
	}
	if have.Images == nil && have.Archive != "" {
		have.Name = nameOfArchive(have.Archive)
		have.Images = []imported{have.imported}
	}
	return have.Images
}

func writeImported(file string, list []imported) error {
	b, err := json.Marshal(map[string]any{"images": list})
	if err != nil {
		return err
	}
	return os.WriteFile(file, b, 0o600)
}

// images makes sure that all images are in the store, and says what they hold.
// One that is of no use is told and left out: people reach their files, and the
// kernels that exist go on. none says why no kernel at all can be made.
func (w *world) images(ctx context.Context) (out []hub.Image, none, err error) {
	if err := checkImages(w.Image); err != nil {
		return nil, nil, err
	}
	w.found = map[string]foundImage{}
	for _, f := range w.Image {
		ref, err := w.image(ctx, f)
		image := hub.Image{Name: f.Name, Ref: ref}
		if err == nil {
			image.Specs, err = w.specs(ctx, ref)
		}
		if err == nil {
			err = w.contents(ctx, &image)
		}
		if fault.CodeOf(err) == notAnArchive { // a slip in the settings, told to who starts the hub
			return nil, nil, fmt.Errorf("%w (%s, --image %s)", err, fault.CodeOf(err), f.Archive)
		}
		if err != nil && fault.CodeOf(err) != withoutKernel {
			return nil, nil, fmt.Errorf("image %s: %w", f.Name, err)
		}
		w.found[f.Name] = foundImage{ref, err}
		if err != nil {
			w.log.Error("no kernel can be started from an image", "image", f.Name, "archive", f.Archive, "code", fault.CodeOf(err), "error", err)
			if none == nil {
				none = err
			}
			continue
		}
		out = append(out, image)
	}
	if len(out) > 0 {
		none = nil
	}
	return out, none, nil
}

// foundImage is what came of one of the images at the start.
type foundImage struct {
	ref string
	err error
}

// image makes sure that one image is in the store and names it.
func (w *world) image(ctx context.Context, f imageFlag) (string, error) {
	file := filepath.Join(w.Data, "image.json")
	list := readImported(file)
	now, err := f.look()
	if err != nil {
		for _, have := range list {
			if have.Name == f.Name && w.runtime.HasImage(ctx, have.Ref) {
				return have.Ref, nil // the archive is only needed once
			}
		}
		return "", fmt.Errorf("the kernel image is not built (make setup builds base, make image IMAGE=NAME another): %w", err)
	}
	rest := []imported{}
	for _, have := range list {
		same := now.sameArchive(have)
		if same && have.Name == now.Name && w.runtime.HasImage(ctx, have.Ref) {
			return have.Ref, nil
		}
		if same && now.Ref == "" && w.runtime.HasImage(ctx, have.Ref) {
			now.Ref = have.Ref // the same archive by another name
		}
		if have.Name != now.Name {
			rest = append(rest, have)
		}
	}
	if now.Ref == "" {
		if now.Ref, err = w.importImage(ctx, f); err != nil {
			return "", err
		}
	}
	return now.Ref, writeImported(file, append(rest, now))
}

func (w *world) importImage(ctx context.Context, f imageFlag) (string, error) {
	w.log.Info("importing a kernel image", "image", f.Name, "archive", f.Archive)
	if err := f.check(); err != nil {
		return "", err
	}
	r, err := openArchive(f.Archive)
	if err != nil {
		return "", err
	}
	defer r.Close()
	names, err := w.runtime.ImportImage(ctx, r)
	if err != nil {
		// With containerd in order it is the archive that is not.
		if serving, _ := w.client.IsServing(ctx); serving && ctx.Err() == nil {
			err = fault.Wrap(fault.Unavailable, notAnArchive, "The kernel image given to this server is damaged: it cannot be read to its end.", err)
		}
		return "", err
	}
	if len(names) == 0 {
		return "", fault.New(fault.Unavailable, notAnArchive, "The kernel image given to this server holds no image with a name.")
	}
	return w.runtime.PinImage(ctx, names[0])
}

// check looks whether the archive is one; a layout's folder is.
func (f imageFlag) check() error {
	if isDir(f.Archive) {
		return nil
	}
	file, err := os.Open(f.Archive)
	if err != nil {
		return err
	}
	defer file.Close()
	return checkArchive(file)
}

// checkArchive looks whether a file is what --image takes: a tar of an OCI
// layout, or as docker save writes it. Import would find out, but late and in
// words that name neither the file nor what is wrong with it.
func checkArchive(f io.ReadSeeker) error {
	no := func(sentence string, err error) error {
		if err == nil {
			err = errors.New("not an OCI archive")
		}
		return fault.Wrap(fault.Unavailable, notAnArchive, "The kernel image given to this server "+sentence, err)
	}
	var magic [4]byte
	if n, err := io.ReadFull(f, magic[:]); err != nil && n == 0 {
		return no("is an empty file.", err)
	}
	if (magic[0] == 0x1f && magic[1] == 0x8b) || string(magic[:]) == "\x28\xb5\x2f\xfd" {
		return no("is compressed: unpack it (gunzip, zstd -d) and give the tar.", nil)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	found := map[string]bool{}
	for t := tar.NewReader(f); ; {
		header, err := t.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return no("is not an OCI archive: it is not a tar, or only the beginning of one.", err)
		}
		found[path.Clean(header.Name)] = true
	}
	if found["manifest.json"] || (found["oci-layout"] && found["index.json"]) {
		return nil
	}
	return no("is not an OCI archive: it is a tar without oci-layout, index.json or manifest.json.", nil)
}

// look describes the archive by what changes whenever it does.
func (f imageFlag) look() (imported, error) {
	now := imported{Name: f.Name, Archive: f.Archive}
	if isDir(f.Archive) {
		index, err := os.ReadFile(filepath.Join(f.Archive, "index.json"))
		now.Index = fmt.Sprintf("%x", sha256.Sum256(index))
		return now, err
	}
	st, err := os.Stat(f.Archive)
	if err == nil {
		now.Size, now.Time = st.Size(), st.ModTime()
	}
	return now, err
}

func (i imported) sameArchive(other imported) bool {
	return i.Archive == other.Archive && i.Size == other.Size && i.Time.Equal(other.Time) && i.Index == other.Index
}

// openArchive reads an archive; the folder of a layout is packed on the way.
func openArchive(archive string) (io.ReadCloser, error) {
	if !isDir(archive) {
		return os.Open(archive)
	}
	r, w := io.Pipe()
	p := packed{r, make(chan struct{})}
	go func() {
		defer close(p.done)
		t := tar.NewWriter(w)
		w.CloseWithError(errors.Join(t.AddFS(os.DirFS(archive)), t.Close()))
	}()
	return p, nil
}

// packed is a folder as a tar.
type packed struct {
	*io.PipeReader
	done chan struct{} // closed when nothing reads the folder any more
}

// Close implements io.Closer.
func (p packed) Close() error {
	err := p.PipeReader.Close()
	<-p.done
	return err
}

// specs reads the kernels of an image.
func (w *world) specs(ctx context.Context, ref string) ([]hub.KernelSpec, error) {
	list, err := w.runtime.KernelSpecs(ctx, ref)
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, fault.Wrap(fault.Unavailable, withoutKernel, "The kernel image given to this server holds no Jupyter kernel: there is no kernel.json below share/jupyter/kernels.",
			fmt.Errorf("image %s", ref))
	}
	var out []hub.KernelSpec
	for _, s := range list {
		out = append(out, hub.KernelSpec{
			Name: s.Name, DisplayName: s.DisplayName, Language: s.Language, InterruptMode: s.InterruptMode,
			Dir: s.Dir, Argv: s.Argv, Env: s.Env, Metadata: s.Metadata, Resources: s.Logos,
		})
	}
	return out, nil
}

// contents looks at what else an image holds.
func (w *world) contents(ctx context.Context, image *hub.Image) error {
	return w.runtime.View(ctx, image.Ref, func(root *os.Root) error {
		image.Languages, image.Packages = language.InImage(root), packages.InImage(root)
		return nil
	})
}

// imagesOf is what a data folder has of the images, whether or not a hub runs.
func imagesOf(ctx context.Context, d dataFlags) (out []machine.Image) {
	known := readImported(filepath.Join(d.Data, "image.json"))
	for _, f := range d.Image {
		image := machine.Image{Name: f.Name, Archive: f.Archive}
		for _, have := range known {
			if have.Name == f.Name {
				image.Imported = have.Ref
			}
		}
		if image.Imported != "" {
			daemon := containerd.Daemon{Root: filepath.Join(d.Data, "containerd"), State: containerd.StateDir(d.Data)}
			image.Stored = daemon.HasImage(ctx, image.Imported)
		}
		if err := f.check(); err != nil && !errors.Is(err, os.ErrNotExist) {
			image.Trouble = fault.Sentence(err)
		}
		out = append(out, image)
	}
	return out
}
