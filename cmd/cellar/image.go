package main

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"time"

	"cellar/internal/fault"
	"cellar/kernel/containerd"
	"cellar/machine"
	"cellar/server/hub"
)

// Codes of an image that no kernel can be made of, whenever it is tried.
const (
	notAnArchive  = "image_not_an_archive"
	withoutKernel = "image_without_kernel"
)

// unusable reports whether err says that the image itself is of no use: without
// a kernel the hub is up and says so, without an archive it does not start.
func unusable(err error) bool {
	code := fault.CodeOf(err)
	return code == notAnArchive || code == withoutKernel
}

// imported remembers which archive is in the store under which name.
type imported struct {
	Archive string    `json:"archive"`
	Size    int64     `json:"size"`
	Time    time.Time `json:"time"`
	Ref     string    `json:"ref"` // name@digest, so that kernels of an older build still find theirs
}

// readImported is what was imported into a data folder; the zero value when
// nothing was, or nothing can be read.
func readImported(data string) imported {
	var have imported
	b, err := os.ReadFile(filepath.Join(data, "image.json"))
	if err != nil || json.Unmarshal(b, &have) != nil {
		return imported{}
	}
	return have
}

// image makes sure that the base image is in the store and names it.
func (w *world) image(ctx context.Context) (string, error) {
	have := readImported(w.Data)
	st, err := os.Stat(w.Image)
	if err != nil {
		if have.Ref != "" && w.runtime.HasImage(ctx, have.Ref) {
			return have.Ref, nil // the archive is only needed once
		}
		return "", fmt.Errorf("the kernel image is not built (make setup): %w", err)
	}
	if have.Archive == w.Image && have.Size == st.Size() && have.Time.Equal(st.ModTime()) && w.runtime.HasImage(ctx, have.Ref) {
		return have.Ref, nil
	}
	w.log.Info("importing the kernel image", "archive", w.Image)
	ref, err := w.importImage(ctx)
	if err != nil {
		return "", err
	}
	b, err := json.Marshal(imported{Archive: w.Image, Size: st.Size(), Time: st.ModTime(), Ref: ref})
	if err != nil {
		return "", err
	}
	return ref, os.WriteFile(filepath.Join(w.Data, "image.json"), b, 0o600)
}

func (w *world) importImage(ctx context.Context) (string, error) {
	f, err := os.Open(w.Image)
	if err != nil {
		return "", err
	}
	defer f.Close()
	if err := checkArchive(f); err != nil {
		return "", err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return "", err
	}
	names, err := w.runtime.ImportImage(ctx, f)
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

// kernels reads the kernels that the image offers.
func (w *world) kernels(ctx context.Context) ([]hub.KernelSpec, error) {
	ref, err := w.image(ctx)
	if err != nil {
		return nil, err
	}
	w.imageRef = ref
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
			Image: ref, Dir: s.Dir, Argv: s.Argv, Env: s.Env, Metadata: s.Metadata, Resources: s.Logos,
		})
	}
	return out, nil
}

// imageOf is what a data folder has of the image, whether or not a hub runs.
func imageOf(ctx context.Context, d dataFlags) machine.Image {
	image := machine.Image{Archive: d.Image, Imported: readImported(d.Data).Ref}
	if image.Imported != "" {
		daemon := containerd.Daemon{Root: filepath.Join(d.Data, "containerd"), State: containerd.StateDir(d.Data)}
		image.Stored = daemon.HasImage(ctx, image.Imported)
	}
	if f, err := os.Open(d.Image); err == nil {
		image.Trouble = fault.Sentence(checkArchive(f))
		f.Close()
	}
	return image
}
