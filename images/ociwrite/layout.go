package main

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
)

const (
	indexType    = "application/vnd.oci.image.index.v1+json"
	manifestType = "application/vnd.oci.image.manifest.v1+json"
	configType   = "application/vnd.oci.image.config.v1+json"
	layerType    = "application/vnd.oci.image.layer.v1.tar"
	refName      = "org.opencontainers.image.ref.name"
	// containerd's own name for an image in an index; it reads refName as a bare tag.
	containerdName = "io.containerd.image.name"
)

// Image is what the layout says about its one layer.
type Image struct {
	Name         string          // reference name: cellar/base:1
	Architecture string          // amd64, arm64 ...
	Config       json.RawMessage // the config section of the OCI image config, taken as it is
	CreatedBy    string
}

type platform struct {
	Architecture string `json:"architecture"`
	OS           string `json:"os"`
}

type descriptor struct {
	MediaType   string            `json:"mediaType"`
	Digest      string            `json:"digest"`
	Size        int64             `json:"size"`
	Annotations map[string]string `json:"annotations,omitempty"`
	Platform    *platform         `json:"platform,omitempty"`
}

type manifest struct {
	SchemaVersion int          `json:"schemaVersion"`
	MediaType     string       `json:"mediaType"`
	Config        descriptor   `json:"config"`
	Layers        []descriptor `json:"layers"`
}

type index struct {
	SchemaVersion int          `json:"schemaVersion"`
	MediaType     string       `json:"mediaType"`
	Manifests     []descriptor `json:"manifests"`
}

type rootfs struct {
	Type    string   `json:"type"`
	DiffIDs []string `json:"diff_ids"`
}

type history struct {
	CreatedBy string `json:"created_by"`
}

type imageConfig struct {
	platform
	Config  json.RawMessage `json:"config"`
	RootFS  rootfs          `json:"rootfs"`
	History []history       `json:"history"`
}

// Write writes image as an OCI layout, in a tar, to w. The layer is read twice: to name it, and to copy it.
// The same layer and image give the same bytes.
func Write(w io.Writer, layer io.ReadSeeker, image Image) error {
	layerDesc, err := describe(layer)
	if err != nil {
		return fmt.Errorf("layer: %w", err)
	}
	host := platform{Architecture: image.Architecture, OS: "linux"}
	config, err := json.Marshal(imageConfig{
		platform: host,
		Config:   image.Config,
		RootFS:   rootfs{Type: "layers", DiffIDs: []string{layerDesc.Digest}},
		History:  []history{{CreatedBy: image.CreatedBy}},
	})
	if err != nil {
		return fmt.Errorf("config: %w", err)
	}
	manifest, err := json.Marshal(manifest{
		SchemaVersion: 2,
		MediaType:     manifestType,
		Config:        descriptor{MediaType: configType, Digest: digest(config), Size: int64(len(config))},
		Layers:        []descriptor{layerDesc},
	})
	if err != nil {
		return err
	}
	index, err := json.Marshal(index{SchemaVersion: 2, MediaType: indexType, Manifests: []descriptor{{
		MediaType:   manifestType,
		Digest:      digest(manifest),
		Size:        int64(len(manifest)),
		Annotations: map[string]string{refName: image.Name, containerdName: image.Name},
		Platform:    &host,
	}}})
	if err != nil {
		return err
	}
	return writeTar(w, []entry{
		inMemory("oci-layout", []byte(`{"imageLayoutVersion":"1.0.0"}`)),
		inMemory("index.json", index),
		inMemory(blob(digest(manifest)), manifest),
		inMemory(blob(digest(config)), config),
		{name: blob(layerDesc.Digest), size: layerDesc.Size, content: layer},
	})
}

// describe names the layer by its bytes and leaves it at its start.
func describe(layer io.ReadSeeker) (descriptor, error) {
	sum := sha256.New()
	size, err := io.Copy(sum, layer)
	if err != nil {
		return descriptor{}, err
	}
	if _, err := layer.Seek(0, io.SeekStart); err != nil {
		return descriptor{}, err
	}
	return descriptor{MediaType: layerType, Digest: "sha256:" + hex.EncodeToString(sum.Sum(nil)), Size: size}, nil
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(sum[:])
}

func blob(digest string) string { return "blobs/sha256/" + digest[len("sha256:"):] }

type entry struct {
	name    string
	size    int64
	content io.Reader
}

func inMemory(name string, b []byte) entry {
	return entry{name: name, size: int64(len(b)), content: bytes.NewReader(b)}
}

func writeTar(w io.Writer, entries []entry) error {
	tw := tar.NewWriter(w)
	for _, dir := range []string{"blobs/", "blobs/sha256/"} {
		if err := tw.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: dir, Mode: 0o755}); err != nil {
			return err
		}
	}
	for _, e := range entries {
		if err := tw.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: e.name, Mode: 0o644, Size: e.size}); err != nil {
			return err
		}
		if _, err := io.Copy(tw, e.content); err != nil {
			return fmt.Errorf("%s: %w", e.name, err)
		}
	}
	return tw.Close()
}
