package main

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// files reads a tar of regular files back, refusing names given twice.
func files(t *testing.T, r io.Reader) map[string][]byte {
	t.Helper()
	found := map[string][]byte{}
	for tr := tar.NewReader(r); ; {
		header, err := tr.Next()
		if err == io.EOF {
			return found
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, twice := found[header.Name]; twice {
			t.Fatalf("%s is there twice", header.Name)
		}
		if header.Typeflag != tar.TypeReg {
			continue
		}
		if found[header.Name], err = io.ReadAll(tr); err != nil {
			t.Fatal(err)
		}
	}
}

// follow decodes the blob a descriptor names, after checking its size and digest.
func follow(t *testing.T, found map[string][]byte, d descriptor, into any) {
	t.Helper()
	b, ok := found[blob(d.Digest)]
	if !ok || digest(b) != d.Digest || int64(len(b)) != d.Size {
		t.Fatalf("blob %s (%s): there %v, %d bytes, want %d", d.Digest, d.MediaType, ok, len(b), d.Size)
	}
	if into == nil {
		return
	}
	if err := json.Unmarshal(b, into); err != nil {
		t.Fatal(err)
	}
}

var example = Image{
	Name:         "cellar/base:1",
	Architecture: "amd64",
	Config:       json.RawMessage(`{"User":"1000:1000","Env":["LANG=C.UTF-8"],"WorkingDir":"/project"}`),
	CreatedBy:    "a test",
}

func TestWriteLeadsFromIndexToLayer(t *testing.T) {
	layer := strings.Repeat("layer", 1000)
	var out bytes.Buffer
	if err := Write(&out, strings.NewReader(layer), example); err != nil {
		t.Fatal(err)
	}
	found := files(t, &out)
	if got := string(found["oci-layout"]); got != `{"imageLayoutVersion":"1.0.0"}` {
		t.Errorf("oci-layout is %s", got)
	}

	var top index
	if err := json.Unmarshal(found["index.json"], &top); err != nil {
		t.Fatal(err)
	}
	if len(top.Manifests) != 1 {
		t.Fatalf("%d manifests, want 1", len(top.Manifests))
	}
	if got := top.Manifests[0].Annotations[refName]; got != example.Name {
		t.Errorf("reference name is %q, want %q", got, example.Name)
	}
	var m manifest
	follow(t, found, top.Manifests[0], &m)
	if len(m.Layers) != 1 {
		t.Fatalf("%d layers, want 1", len(m.Layers))
	}
	follow(t, found, m.Layers[0], nil)
	if got := string(found[blob(m.Layers[0].Digest)]); got != layer {
		t.Errorf("the layer came out changed: %d bytes, want %d", len(got), len(layer))
	}

	var config imageConfig
	follow(t, found, m.Config, &config)
	if config.OS != "linux" || config.Architecture != "amd64" {
		t.Errorf("config is for %s/%s", config.OS, config.Architecture)
	}
	// Uncompressed: the layer's own digest is its diff ID.
	if len(config.RootFS.DiffIDs) != 1 || config.RootFS.DiffIDs[0] != m.Layers[0].Digest {
		t.Errorf("diff IDs are %v, want the layer's %s", config.RootFS.DiffIDs, m.Layers[0].Digest)
	}
	if got := string(config.Config); got != string(example.Config) {
		t.Errorf("config section is %s, want %s", got, example.Config)
	}
}

func TestWriteTwiceGivesTheSameBytes(t *testing.T) {
	var first, second bytes.Buffer
	for _, w := range []io.Writer{&first, &second} {
		if err := Write(w, strings.NewReader("layer"), example); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(first.Bytes(), second.Bytes()) {
		t.Error("same layer and image, other bytes")
	}
}

func TestRunRefusesAndLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	path := func(name, content string) string {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		return p
	}
	layer, config, broken := path("layer", "layer"), path("config.json", "{}"), path("broken.json", "{")
	out := filepath.Join(dir, "out.tar")
	for name, args := range map[string][]string{
		"nothing given": {},
		"no layer":      {"-layer", filepath.Join(dir, "none"), "-config", config, "-name", "a:1", "-out", out},
		"broken config": {"-layer", layer, "-config", broken, "-name", "a:1", "-out", out},
	} {
		t.Run(name, func(t *testing.T) {
			if err := run(args); err == nil {
				t.Error("no error")
			}
			if left, _ := filepath.Glob(out + "*"); len(left) != 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
	if err := run([]string{"-layer", layer, "-config", config, "-name", "a:1", "-out", out}); err != nil {
		t.Error(err)
	}
	if left, _ := filepath.Glob(out + "*"); len(left) != 1 || left[0] != out {
		t.Errorf("want %s alone, got %v", out, left)
	}
}
