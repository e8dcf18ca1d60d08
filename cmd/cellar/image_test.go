package main

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"

	"cellar/internal/fault"
)

func TestImageFlags(t *testing.T) {
	config := filepath.Join(t.TempDir(), "config.json")
	if err := os.WriteFile(config, []byte(`{"image":["/a/base.oci.tar","r=/b/x.tar"]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	base, r := imageFlag{"base", "/a/base.oci.tar"}, imageFlag{"r", "/b/x.tar"}
	for name, c := range map[string]struct {
		args []string
		env  string
		want []imageFlag
	}{
		"none":                {nil, "", nil},
		"a path":              {[]string{"--image", "/a/base.oci.tar"}, "", []imageFlag{base}},
		"several":             {[]string{"--image", "/a/base.oci.tar", "--image=r=/b/x.tar"}, "", []imageFlag{base, r}},
		"environment":         {nil, "/a/base.oci.tar,r=/b/x.tar", []imageFlag{base, r}},
		"configuration":       {[]string{"--config", config}, "", []imageFlag{base, r}},
		"a path with =":       {[]string{"--image", "/a/b=c.tar"}, "", []imageFlag{{"bc", "/a/b=c.tar"}}},
		"a name and a path =": {[]string{"--image", "n=/a/b=c.tar"}, "", []imageFlag{{"n", "/a/b=c.tar"}}},
		"a layout":            {[]string{"--image", "/a/layout/"}, "", []imageFlag{{"layout", "/a/layout"}}},
	} {
		t.Run(name, func(t *testing.T) {
			if c.env != "" {
				t.Setenv("CELLAR_IMAGE", c.env)
			}
			var p program
			parser, err := kong.New(&p, kong.Configuration(kong.JSON), kong.DefaultEnvars("CELLAR"), kong.Vars{"version": "test"})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := parser.Parse(append([]string{"serve"}, c.args...)); err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(p.Serve.Image, c.want) {
				t.Errorf("%+v, want %+v", p.Serve.Image, c.want)
			}
		})
	}
	var f imageFlag
	for _, bad := range []string{"", "name="} {
		if err := f.UnmarshalText([]byte(bad)); err == nil {
			t.Errorf("%q is taken as %+v", bad, f)
		}
	}
}

func TestImagesOfOneName(t *testing.T) {
	if err := checkImages([]imageFlag{{"a", "/a.tar"}, {"b", "/b.tar"}}); err != nil {
		t.Error(err)
	}
	for why, list := range map[string][]imageFlag{
		"both named a":  {{"a", "/x/a.tar"}, {"a", "/y/a.tar"}},
		"needs a name:": {{nameOfArchive("/x/..tar"), "/x/..tar"}},
	} {
		if err := checkImages(list); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%v: %v", list, err)
		}
	}
}

// TestImportedFile: a data folder of before there could be several images does
// not import its own again.
func TestImportedFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "image.json")
	when := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	for name, c := range map[string]struct {
		content string
		want    []imported
	}{
		"broken": {"{", nil},
		"old": {
			`{"archive":"/c/base.oci.tar","size":7,"time":"2026-01-02T03:04:05.000000006Z","ref":"n:1@sha256:x"}`,
			[]imported{{Name: "base", Archive: "/c/base.oci.tar", Size: 7, Time: when, Ref: "n:1@sha256:x"}},
		},
	} {
		if err := os.WriteFile(file, []byte(c.content), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := readImported(file); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
	want := []imported{{Name: "base", Archive: "/c/base.oci.tar", Size: 7, Time: when, Ref: "n:1@sha256:x"}, {Name: "r", Archive: "/c/layout", Index: "ab", Ref: "r:1@sha256:y"}}
	if err := writeImported(file, want); err != nil {
		t.Fatal(err)
	}
	if got := readImported(file); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// TestArchiveThatChanged: a layout that is written anew may keep the size and
// the time of its index.
func TestArchiveThatChanged(t *testing.T) {
	dir := t.TempDir()
	index, file := filepath.Join(dir, "index.json"), filepath.Join(dir, "x.tar")
	write := func(name, content string, when time.Time) {
		t.Helper()
		if err := errors.Join(os.WriteFile(name, []byte(content), 0o600), os.Chtimes(name, when, when)); err != nil {
			t.Fatal(err)
		}
	}
	look := func(archive string) imported {
		t.Helper()
		now, err := imageFlag{"x", archive}.look()
		if err != nil {
			t.Fatal(err)
		}
		return now
	}
	one, two := time.Unix(1, 0), time.Unix(2, 0)
	write(index, "1", one)
	write(file, "1", one)
	layout, archive := look(dir), look(file)
	if !layout.sameArchive(look(dir)) || !archive.sameArchive(look(file)) || archive.sameArchive(layout) {
		t.Errorf("what did not change: %+v, %+v", layout, archive)
	}
	write(index, "2", one)
	write(file, "1", two)
	if layout.sameArchive(look(dir)) || archive.sameArchive(look(file)) {
		t.Error("a change is not seen")
	}
	for _, gone := range []string{filepath.Join(dir, "none"), t.TempDir()} {
		if _, err := (imageFlag{"x", gone}).look(); err == nil {
			t.Errorf("%s is an archive", gone)
		}
	}
}

func TestLayoutAsArchive(t *testing.T) {
	dir := t.TempDir()
	want := map[string]string{"index.json": "{}", "blobs/sha256/ab": "layer"}
	for name, content := range want {
		name = filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, []byte(content), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	r, err := openArchive(dir)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(r)
	if err := errors.Join(err, r.Close()); err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for tr := tar.NewReader(bytes.NewReader(b)); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if content, _ := io.ReadAll(tr); h.Typeflag == tar.TypeReg {
			got[h.Name] = string(content)
		}
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if r, err = openArchive(dir); err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil { // a reader that gives up does not leave the packer behind
		t.Error(err)
	}
}

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
		if fault.CodeOf(err) != notAnArchive || !strings.Contains(fault.Sentence(err), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A containerd that is down is looked at by its files.
func TestImageOfADataFolder(t *testing.T) {
	const digest = "462ee9bf6d7b689534ee4d252708ae53f93ec26e697683c6c6b36a1e7fe700ac"
	d := dataFlags{Data: t.TempDir(), Image: []imageFlag{{"base", filepath.Join(t.TempDir(), "none.tar")}}}
	look := func(want bool, ref string) {
		t.Helper()
		if got := imagesOf(t.Context(), d)[0]; got.Stored != want || got.Imported != ref || got.Used || got.Trouble != "" {
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
	put("image.json", `{"images": [{"name": "base", "ref": "cellar/base:1@sha256:../../../../image.json"}]}`)
	look(false, "cellar/base:1@sha256:../../../../image.json")
	put("image.json", `{"images": [{"name": "base", "ref": "cellar/base:1@sha256:`+digest+`"}]}`)
	look(false, "cellar/base:1@sha256:"+digest)
	put("containerd/io.containerd.content.v1.content/blobs/sha256/"+digest, "{}")
	look(true, "cellar/base:1@sha256:"+digest)
	d.Image[0].Archive = filepath.Join(d.Data, "image.json")
	if got := imagesOf(t.Context(), d)[0]; !strings.Contains(got.Trouble, "not an OCI archive") {
		t.Errorf("an archive that is none: %+v", got)
	}
}
