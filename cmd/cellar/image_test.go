package main

import (
	"archive/tar"
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cellar/internal/fault"
)

func tarOf(t *testing.T, names ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, name := range names {
		if err := w.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Size: 700, Mode: 0o644}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(make([]byte, 700)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestCheckArchive(t *testing.T) {
	oci := tarOf(t, "blobs/sha256/aa", "oci-layout", "index.json")
	for name, b := range map[string][]byte{"OCI": oci, "with dots": tarOf(t, "./oci-layout", "./index.json"), "docker save": tarOf(t, "manifest.json", "x.json")} {
		if err := checkArchive(bytes.NewReader(b)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, c := range map[string]struct {
		b    []byte
		says string
	}{
		"empty": {nil, "empty"}, "text": {bytes.Repeat([]byte("text\n"), 500), "not a tar"}, "short text": {[]byte("a"), "not a tar"},
		"gzip": {[]byte("\x1f\x8b\x08\x00xxxx"), "compressed"}, "zstd": {[]byte("\x28\xb5\x2f\xfdxxxx"), "compressed"},
		"another tar": {tarOf(t, "etc/motd"), "without oci-layout"}, "half a layout": {tarOf(t, "oci-layout"), "without oci-layout"},
		"an empty tar": {tarOf(t), "without oci-layout"}, "cut short": {oci[:900], "only the beginning"},
	} {
		err := checkArchive(bytes.NewReader(c.b))
		if !unusable(err) || fault.CodeOf(err) != notAnArchive || !strings.Contains(fault.Sentence(err), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A containerd that is down is looked at by its files.
func TestImageOfADataFolder(t *testing.T) {
	const digest = "462ee9bf6d7b689534ee4d252708ae53f93ec26e697683c6c6b36a1e7fe700ac"
	d := dataFlags{Data: t.TempDir(), Image: filepath.Join(t.TempDir(), "none.tar")}
	look := func(want bool, ref string) {
		t.Helper()
		if got := imageOf(t.Context(), d); got.Stored != want || got.Imported != ref || got.Used || got.Trouble != "" {
			t.Errorf("%+v", got)
		}
	}
	put := func(name, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(filepath.Join(d.Data, name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(d.Data, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	look(false, "")
	put("image.json", "{")
	look(false, "")
	put("image.json", `{"ref": "cellar/base:1@sha256:../../../../image.json"}`)
	look(false, "cellar/base:1@sha256:../../../../image.json")
	put("image.json", `{"ref": "cellar/base:1@sha256:`+digest+`"}`)
	look(false, "cellar/base:1@sha256:"+digest)
	put("containerd/io.containerd.content.v1.content/blobs/sha256/"+digest, "{}")
	look(true, "cellar/base:1@sha256:"+digest)
	d.Image = filepath.Join(d.Data, "image.json")
	if got := imageOf(t.Context(), d); !strings.Contains(got.Trouble, "not an OCI archive") {
		t.Errorf("an archive that is none: %+v", got)
	}
}
