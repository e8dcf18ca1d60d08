// Package artifact carries a checkpoint from one server to another as one file: an
// OCI image layout in a tar, with one manifest whose layers are the checkpoint's
// parts. It knows bytes, digests and folders, and nothing of what they mean.
//
// What is read comes from strangers. Sizes and counts are bounded before anything
// is believed, every blob is checked against its digest, and no name in an archive
// is used as a path before it was looked at.
package artifact

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path"
	"regexp"
	"syscall"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"cellar/internal/fault"
)

// Media types of an artifact and its parts.
const (
	Type          = "application/vnd.cellar.checkpoint.v1"
	ConfigType    = "application/vnd.cellar.checkpoint.config.v1+json"
	NotebookType  = "application/vnd.cellar.checkpoint.notebook.v1+json"
	FilesType     = "application/vnd.cellar.checkpoint.files.v1.tar+zstd"
	PackagesType  = "application/vnd.cellar.checkpoint.packages.v1.tar+zstd"
	VariablesType = "application/vnd.cellar.checkpoint.variables.v1"
	ProcessType   = "application/vnd.cellar.checkpoint.process.v1.tar+zstd"
)

var known = map[string]bool{NotebookType: true, FilesType: true, PackagesType: true, VariablesType: true, ProcessType: true}

// SignatureKey is the annotation of the manifest's descriptor with what the server
// that wrote it says to its digest.
const SignatureKey = "io.cellar.signature"

const (
	maxDocument = 1 << 20  // bytes of the layout file, the index and the manifest
	maxConfig   = 32 << 20 // bytes
	maxEntries  = 64       // of the outer tar
)

// Part is a layer. Write gives the same bytes every time.
type Part struct {
	MediaType string
	Write     func(ctx context.Context, w io.Writer) error
}

// Plan is an artifact that can be written: all its digests are known.
type Plan struct {
	parts    []Part
	blobs    []ocispec.Descriptor // of the parts, in order
	config   []byte
	manifest []byte
	index    []byte
}

// Measure makes a plan. It goes through all parts once, and holds none.
func Measure(ctx context.Context, config []byte, parts []Part, annotations map[string]string, sign func(manifest string) (string, error)) (*Plan, error) {
	p := &Plan{parts: parts, config: config}
	for _, part := range parts {
		m := &measure{sum: digest.Canonical.Hash()}
		if err := part.Write(ctx, m); err != nil {
			return nil, err
		}
		p.blobs = append(p.blobs, ocispec.Descriptor{MediaType: part.MediaType, Digest: digest.NewDigest(digest.Canonical, m.sum), Size: m.n})
	}
	manifest := ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, ArtifactType: Type,
		Config: ocispec.Descriptor{MediaType: ConfigType, Digest: digest.FromBytes(config), Size: int64(len(config))},
		Layers: p.blobs, Annotations: annotations,
	}
	var err error
	if p.manifest, err = json.Marshal(manifest); err != nil {
		return nil, err
	}
	top := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, ArtifactType: Type, Digest: digest.FromBytes(p.manifest), Size: int64(len(p.manifest))}
	signature, err := sign(top.Digest.String())
	if err != nil {
		return nil, err
	}
	top.Annotations = map[string]string{SignatureKey: signature}
	p.index, err = json.Marshal(ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: []ocispec.Descriptor{top}})
	return p, err
}

// measure counts and sums what is written to it.
type measure struct {
	sum hash.Hash
	n   int64
}

func (m *measure) Write(b []byte) (int, error) {
	m.n += int64(len(b))
	return m.sum.Write(b)
}

// Size is how many bytes the contents have; the tar around them adds some.
func (p *Plan) Size() (n int64) {
	n = int64(len(p.config) + len(p.manifest) + len(p.index))
	for _, b := range p.blobs {
		n += b.Size
	}
	return n
}

// Write writes the artifact. An error after the first byte leaves a file that no
// reader takes for whole.
func (p *Plan) Write(ctx context.Context, w io.Writer) error {
	t := tar.NewWriter(w)
	layout, err := json.Marshal(ocispec.ImageLayout{Version: ocispec.ImageLayoutVersion})
	if err != nil {
		return err
	}
	small := []struct {
		name string
		b    []byte
	}{
		{ocispec.ImageLayoutFile, layout}, {ocispec.ImageIndexFile, p.index},
		{blobName(digest.FromBytes(p.manifest)), p.manifest}, {blobName(digest.FromBytes(p.config)), p.config},
	}
	for _, s := range small {
		if err := t.WriteHeader(header(s.name, int64(len(s.b)))); err != nil {
			return err
		}
		if _, err := t.Write(s.b); err != nil {
			return err
		}
	}
	written := map[digest.Digest]bool{}
	for i, part := range p.parts {
		b := p.blobs[i]
		if written[b.Digest] {
			continue
		}
		written[b.Digest] = true
		if err := t.WriteHeader(header(blobName(b.Digest), b.Size)); err != nil {
			return err
		}
		m := &measure{sum: digest.Canonical.Hash()}
		if err := part.Write(ctx, io.MultiWriter(t, m)); err != nil {
			return err
		}
		if got := digest.NewDigest(digest.Canonical, m.sum); got != b.Digest || m.n != b.Size {
			return fmt.Errorf("%s is not what it was a moment ago", part.MediaType)
		}
	}
	return t.Close()
}

func blobName(d digest.Digest) string { return path.Join("blobs", string(d.Algorithm()), d.Encoded()) }

func header(name string, size int64) *tar.Header {
	return &tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o644, Format: tar.FormatPAX}
}

// Layout is an artifact that was read: whole, and each blob what its digest says.
type Layout struct {
	Config    []byte
	Digest    string // of the manifest; it stands for all that is in the artifact
	Signature string // what somebody says to that; not checked

	dir   *os.Root
	parts map[string]ocispec.Descriptor
}

// Bounds limits what is read.
type Bounds struct {
	Bytes int64                  // of all contents
	Room  func(more int64) error // is asked before each step of so many bytes; nil: there is room
}

// step is after how many bytes is asked again whether there is room.
const step = 64 << 20

var (
	errBad   = fault.New(fault.Invalid, "bad_artifact", "This is no checkpoint that was exported by Cellar, or the file is damaged.")
	blobPath = regexp.MustCompile(`^blobs/sha256/([0-9a-f]{64})$`)
)

func bad(format string, args ...any) error {
	return fault.Wrap(fault.Invalid, "bad_artifact", fault.Sentence(errBad), fmt.Errorf(format, args...))
}

// Read takes an artifact into a folder, which is empty and the caller's to remove.
func Read(ctx context.Context, r io.Reader, dir *os.Root, limits Bounds) (*Layout, error) {
	in := &reading{dir: dir, limits: limits, blobs: map[string]int64{}}
	t := tar.NewReader(&cancelled{ctx, r})
	for n := 0; ; n++ {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, broken(ctx, err)
		}
		if n == maxEntries {
			return nil, bad("more than %d entries", maxEntries)
		}
		if err := in.entry(h, t); err != nil {
			return nil, broken(ctx, err)
		}
	}
	return in.layout()
}

// broken tells what is wrong with the file from what went wrong here.
func broken(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, syscall.ENOSPC):
		return fault.Wrap(fault.Exhausted, "disk_full", "The server's disk is full.", err)
	case errors.Is(err, tar.ErrHeader), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, tar.ErrFieldTooLong), errors.Is(err, tar.ErrInsecurePath):
		return bad("%w", err)
	}
	return err
}

// cancelled ends with its context.
type cancelled struct {
	ctx context.Context
	r   io.Reader
}

func (c *cancelled) Read(b []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(b)
}

// reading is an artifact being read.
type reading struct {
	dir           *os.Root
	limits        Bounds
	total         int64
	layoutB, topB []byte
	blobs         map[string]int64 // size by hex digest
}

func (in *reading) entry(h *tar.Header, r io.Reader) error {
	name := path.Clean(h.Name)
	switch {
	case h.Typeflag == tar.TypeDir && (name == "." || name == "blobs" || name == "blobs/sha256"):
		return nil
	case h.Typeflag != tar.TypeReg:
		return bad("%.100q is of type %q", h.Name, h.Typeflag)
	case name == ocispec.ImageLayoutFile && in.layoutB == nil:
		return document(r, &in.layoutB)
	case name == ocispec.ImageIndexFile && in.topB == nil:
		return document(r, &in.topB)
	}
	m := blobPath.FindStringSubmatch(name)
	if m == nil {
		return bad("%.100q has no place in an artifact", h.Name)
	}
	if _, twice := in.blobs[m[1]]; twice {
		return bad("%.100q is there twice", h.Name)
	}
	return in.blob(m[1], h.Size, r)
}

func document(r io.Reader, to *[]byte) error {
	b, err := io.ReadAll(io.LimitReader(r, maxDocument+1))
	if err == nil && len(b) > maxDocument {
		err = bad("a document is too large")
	}
	*to = b
	return err
}

// blob writes one down and sums it.
func (in *reading) blob(name string, size int64, r io.Reader) error {
	if size < 0 || in.total+size > in.limits.Bytes || in.total+size < in.total {
		return fault.Newf(fault.Exhausted, "too_large", "The checkpoint is larger than the %d MiB that can be imported here.", in.limits.Bytes>>20)
	}
	f, err := in.dir.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	m := &measure{sum: digest.Canonical.Hash()}
	for left := size; left > 0; left -= min(left, step) {
		if in.limits.Room != nil {
			if err := in.limits.Room(min(left, step)); err != nil {
				return err
			}
		}
		if _, err := io.CopyN(io.MultiWriter(f, m), r, min(left, step)); err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
	}
	in.total += size
	in.blobs[name] = size
	if got := digest.NewDigest(digest.Canonical, m.sum); got.Encoded() != name {
		return bad("the blob %s has the digest %s", name, got.Encoded())
	}
	return f.Close()
}

// layout looks whether all that belongs together is there.
func (in *reading) layout() (*Layout, error) {
	var layout ocispec.ImageLayout
	var index ocispec.Index
	if json.Unmarshal(in.layoutB, &layout) != nil || layout.Version != ocispec.ImageLayoutVersion {
		return nil, bad("no OCI layout of version %s", ocispec.ImageLayoutVersion)
	}
	if json.Unmarshal(in.topB, &index) != nil || len(index.Manifests) != 1 {
		return nil, bad("no index of one manifest")
	}
	top := index.Manifests[0]
	var manifest ocispec.Manifest
	b, err := in.whole(top, maxDocument)
	if err != nil {
		return nil, err
	}
	if json.Unmarshal(b, &manifest) != nil || manifest.ArtifactType != Type || manifest.Config.MediaType != ConfigType || len(manifest.Layers) > len(known) {
		return nil, bad("no manifest of a checkpoint")
	}
	out := &Layout{Digest: top.Digest.String(), Signature: top.Annotations[SignatureKey], dir: in.dir, parts: map[string]ocispec.Descriptor{}}
	if out.Config, err = in.whole(manifest.Config, maxConfig); err != nil {
		return nil, err
	}
	for _, d := range manifest.Layers {
		if _, twice := out.parts[d.MediaType]; twice || !known[d.MediaType] {
			return nil, bad("a layer of type %.100q", d.MediaType)
		}
		if err := in.has(d); err != nil {
			return nil, err
		}
		out.parts[d.MediaType] = d
	}
	return out, nil
}

// has looks whether a blob is there, as it is described.
func (in *reading) has(d ocispec.Descriptor) error {
	if d.Digest.Validate() != nil || d.Digest.Algorithm() != digest.SHA256 {
		return bad("the digest %.100q", d.Digest)
	}
	if size, ok := in.blobs[d.Digest.Encoded()]; !ok || size != d.Size {
		return bad("the blob %s is missing", d.Digest)
	}
	return nil
}

func (in *reading) whole(d ocispec.Descriptor, limit int64) ([]byte, error) {
	if err := in.has(d); err != nil {
		return nil, err
	}
	if d.Size > limit {
		return nil, bad("a document of %d bytes", d.Size)
	}
	return in.dir.ReadFile(d.Digest.Encoded())
}

// Has says how large a part is; none is not there.
func (l *Layout) Has(mediaType string) (size int64, ok bool) {
	d, ok := l.parts[mediaType]
	return d.Size, ok
}

// Open reads a part.
func (l *Layout) Open(mediaType string) (*os.File, error) {
	d, ok := l.parts[mediaType]
	if !ok {
		return nil, fault.Newf(fault.NotFound, "no_part", "The artifact has no %s.", mediaType)
	}
	return l.dir.Open(d.Digest.Encoded())
}
