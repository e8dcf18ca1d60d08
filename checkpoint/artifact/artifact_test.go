package artifact

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"

	"cellar/internal/fault"
)

const mib = 1 << 20

func text(s string) func(context.Context, io.Writer) error {
	return func(_ context.Context, w io.Writer) error { _, err := io.WriteString(w, s); return err }
}

// sample is an artifact as Cellar writes it.
func sample(t testing.TB) []byte {
	t.Helper()
	plan, err := Measure(t.Context(), []byte(`{"version":1}`), []Part{
		{NotebookType, text(`{"cells":[]}`)},
		{FilesType, func(_ context.Context, w io.Writer) error {
			p, err := NewPacker(w)
			if err != nil {
				return err
			}
			return errors.Join(p.Folder("a", 0o755), p.File("a/b.txt", 0o4644, time.Unix(1e9, 0), 5, strings.NewReader("hello")), p.Link("l", "a/b.txt"), p.Close())
		}},
	}, map[string]string{"x": "y"}, func(d string) (string, error) { return "signed " + d, nil })
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := plan.Write(t.Context(), &b); err != nil {
		t.Fatal(err)
	}
	if int64(b.Len()) < plan.Size() {
		t.Errorf("%d bytes, at least %d were said", b.Len(), plan.Size())
	}
	return b.Bytes()
}

func rootOf(t testing.TB) (*os.Root, string) {
	t.Helper()
	dir := t.TempDir()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	return root, dir
}

func TestThereAndBack(t *testing.T) {
	b := sample(t)
	if again := sample(t); !bytes.Equal(b, again) {
		t.Error("the same checkpoint gives two artifacts")
	}
	root, _ := rootOf(t)
	l, err := Read(t.Context(), bytes.NewReader(b), root, Bounds{Bytes: mib})
	if err != nil {
		t.Fatal(err)
	}
	if string(l.Config) != `{"version":1}` || l.Signature != "signed "+l.Digest {
		t.Errorf("%s %s", l.Config, l.Signature)
	}
	if _, ok := l.Has(ProcessType); ok {
		t.Error("there is a process")
	}
	f, err := l.Open(FilesType)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	to, dir := rootOf(t)
	u, err := Unpack(t.Context(), f, Target{Root: to, Owner: -1, Bytes: mib, Entries: 10})
	if err != nil || u.Files != 1 || u.Bytes != 5 || len(u.Left) != 0 {
		t.Errorf("%+v %v", u, err)
	}
	st, err := os.Stat(filepath.Join(dir, "l"))
	if err != nil || st.Mode() != 0o644 || st.ModTime().Unix() != 1e9 {
		t.Errorf("%v %v", st, err)
	}
}

// entries writes a tar of its own.
func entries(t testing.TB, list ...any) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for i := 0; i < len(list); i += 2 {
		h, ok := list[i].(tar.Header)
		body := list[i+1].(string)
		if !ok {
			h = tar.Header{Name: list[i].(string), Typeflag: tar.TypeReg, Mode: 0o644}
		}
		if h.Typeflag == tar.TypeReg {
			h.Size = int64(len(body))
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if h.Typeflag == tar.TypeReg {
			io.WriteString(w, body)
		}
	}
	w.Close()
	return b.Bytes()
}

func blob(s string) string { return "blobs/sha256/" + digest.FromString(s).Encoded() }

func described(media, s string) map[string]any {
	return map[string]any{"mediaType": media, "digest": digest.FromString(s).String(), "size": len(s)}
}

func asJSON(v any) string { b, _ := json.Marshal(v); return string(b) }

// TestHostileArtifacts: what is no whole and honest artifact is refused as one,
// and nothing is written but blobs.
func TestHostileArtifacts(t *testing.T) {
	layout, config := `{"imageLayoutVersion":"1.0.0"}`, `{}`
	manifest := func(layers ...any) string {
		return asJSON(map[string]any{"schemaVersion": 2, "artifactType": Type, "config": described(ConfigType, config), "layers": append([]any{}, layers...)})
	}
	index := func(m string) string {
		return asJSON(map[string]any{"schemaVersion": 2, "manifests": []any{described("application/vnd.oci.image.manifest.v1+json", m)}})
	}
	whole := func(m string, more ...any) []byte {
		return entries(t, append([]any{"oci-layout", layout, "index.json", index(m), blob(m), m, blob(config), config}, more...)...)
	}
	good := manifest()
	many := []any{}
	for i := range 70 {
		s := strings.Repeat("x", i)
		many = append(many, blob(s), s)
	}
	cases := map[string]struct {
		b    []byte
		want fault.Class
	}{
		"good":                {whole(good), ""},
		"good, with folders":  {entries(t, tar.Header{Name: "./", Typeflag: tar.TypeDir}, "", tar.Header{Name: "blobs/sha256/", Typeflag: tar.TypeDir}, "", "./oci-layout", layout, "index.json", index(good), blob(good), good, blob(config), config), ""},
		"nothing":             {nil, fault.Invalid},
		"no tar":              {[]byte(strings.Repeat("no tar at all ", 100)), fault.Invalid},
		"half":                {whole(good)[:700], fault.Invalid},
		"a wrong digest":      {whole(good, blob("a"), "b"), fault.Invalid},
		"a path":              {whole(good, "../evil", "x"), fault.Invalid},
		"an absolute path":    {whole(good, "/etc/evil", "x"), fault.Invalid},
		"a blob by path":      {whole(good, "blobs/sha256/../../evil", "x"), fault.Invalid},
		"a link":              {whole(good, tar.Header{Name: blob("x"), Typeflag: tar.TypeSymlink, Linkname: "/etc/passwd"}, ""), fault.Invalid},
		"a hard link":         {whole(good, tar.Header{Name: blob("x"), Typeflag: tar.TypeLink, Linkname: "/etc/passwd"}, ""), fault.Invalid},
		"a device":            {whole(good, tar.Header{Name: blob("x"), Typeflag: tar.TypeChar}, ""), fault.Invalid},
		"a blob twice":        {whole(good, blob(config), config), fault.Invalid},
		"an index twice":      {whole(good, "index.json", index(good)), fault.Invalid},
		"too many entries":    {whole(good, many...), fault.Invalid},
		"too large":           {whole(good, blob(strings.Repeat("a", 2*mib)), strings.Repeat("a", 2*mib)), fault.Exhausted},
		"another layout":      {entries(t, "oci-layout", `{"imageLayoutVersion":"2"}`, "index.json", index(good), blob(good), good, blob(config), config), fault.Invalid},
		"no manifest":         {entries(t, "oci-layout", layout, "index.json", index(good), blob(config), config), fault.Invalid},
		"a missing layer":     {whole(manifest(described(FilesType, "none"))), fault.Invalid},
		"a layer twice":       {whole(manifest(described(FilesType, config), described(FilesType, config))), fault.Invalid},
		"a strange layer":     {whole(manifest(described("text/html", config))), fault.Invalid},
		"a wrong size":        {whole(manifest(map[string]any{"mediaType": FilesType, "digest": digest.FromString(config).String(), "size": 9})), fault.Invalid},
		"a digest by path":    {whole(manifest(map[string]any{"mediaType": FilesType, "digest": "sha256:../../../etc/passwd", "size": 2})), fault.Invalid},
		"another algorithm":   {whole(manifest(map[string]any{"mediaType": FilesType, "digest": "sha512:" + strings.Repeat("ab", 64), "size": 2})), fault.Invalid},
		"an image":            {whole(asJSON(map[string]any{"schemaVersion": 2, "config": described("application/vnd.oci.image.config.v1+json", config)})), fault.Invalid},
		"an index that is no": {entries(t, "oci-layout", layout, "index.json", `[`, blob(good), good), fault.Invalid},
	}
	for name, c := range cases {
		root, dir := rootOf(t)
		_, err := Read(t.Context(), bytes.NewReader(c.b), root, Bounds{Bytes: mib})
		if (err == nil) != (c.want == "") || err != nil && fault.ClassOf(err) != c.want {
			t.Errorf("%s: %v", name, err)
		}
		onlyBlobs(t, dir)
	}
	root, _ := rootOf(t)
	if _, err := Read(t.Context(), bytes.NewReader(whole(good)), root, Bounds{Bytes: mib, Room: func(int64) error { return fault.New(fault.Exhausted, "disk_full", "Full.") }}); fault.CodeOf(err) != "disk_full" {
		t.Errorf("no room: %v", err)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	root, _ = rootOf(t)
	if _, err := Read(gone, bytes.NewReader(whole(good)), root, Bounds{Bytes: mib}); !errors.Is(err, context.Canceled) {
		t.Errorf("the caller is gone: %v", err)
	}
}

func onlyBlobs(t testing.TB, dir string) {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		if !e.Type().IsRegular() || len(e.Name()) != 64 {
			t.Fatalf("%s was written", e.Name())
		}
	}
	if up, _ := os.ReadDir(filepath.Dir(dir)); len(up) > 64 {
		t.Fatal("something was written outside")
	}
}

func packed(t testing.TB, list ...any) []byte {
	t.Helper()
	var b bytes.Buffer
	z, err := zstd.NewWriter(&b)
	if err != nil {
		t.Fatal(err)
	}
	z.Write(entries(t, list...))
	z.Close()
	return b.Bytes()
}

func link(name, target string) tar.Header {
	return tar.Header{Name: name, Typeflag: tar.TypeSymlink, Linkname: target}
}

// TestHostileFolders: nothing is written outside, through links, or over what is
// there; what is left out is told.
func TestHostileFolders(t *testing.T) {
	outside := t.TempDir()
	for name, c := range map[string]struct {
		b      []byte
		left   int
		files  int
		places []string
	}{
		"up":                     {packed(t, "../evil", "x", "a/../../evil", "x", "/evil", "x", "a//b", "x", "./c", "x"), 5, 0, nil},
		"a link out":             {packed(t, link("out", outside), "", link("up", "../.."), "", link("deep/up", "../../x"), "", link("in", "a.txt"), "", "a.txt", "x"), 3, 1, nil},
		"through a link":         {packed(t, link("d", outside), "", "d/evil", "x"), 1, 1, nil},
		"through a link of ours": {packed(t, link("d", "e"), "", "d/f", "x", "e/g", "x"), 1, 2, nil},
		"below a link":           {packed(t, "d/a", "x", link("x", "."), "", link("x/d/y", "../../w"), ""), 1, 1, nil},
		"twice":                  {packed(t, "a", "x", "a", "y"), 1, 1, nil},
		"devices":                {packed(t, tar.Header{Name: "n", Typeflag: tar.TypeBlock}, "", tar.Header{Name: "f", Typeflag: tar.TypeFifo}, "", tar.Header{Name: "h", Typeflag: tar.TypeLink, Linkname: "/etc/passwd"}, ""), 3, 0, nil},
		"other places":           {packed(t, ".local/lib/x.py", "x", ".bashrc", "x", ".local/libx/y", "x", "R/z", "x"), 2, 2, []string{".local/lib", "R"}},
		"deep":                   {packed(t, strings.Repeat("a/", 200)+"b", "x"), 1, 0, nil},
	} {
		root, dir := rootOf(t)
		u, err := Unpack(t.Context(), bytes.NewReader(c.b), Target{Root: root, Owner: -1, Places: c.places, Bytes: mib, Entries: 100})
		if err != nil || len(u.Left) != c.left || u.Files != c.files {
			t.Errorf("%s: %+v %v", name, u, err)
		}
		nothingOutside(t, dir, outside)
	}
	bomb := packed(t, "zeros", strings.Repeat("\x00", 3*mib))
	small := packed(t, "a", "x")
	many := []any{}
	for i := range 20 {
		many = append(many, strings.Repeat("f", i+1), "")
	}
	for name, c := range map[string]struct {
		b    []byte
		want fault.Class
	}{
		"a bomb":         {bomb, fault.Exhausted},
		"too many":       {packed(t, many...), fault.Exhausted},
		"no zstd":        {[]byte("nothing of the kind"), fault.Invalid},
		"half":           {small[:len(small)-9], fault.Invalid},
		"a file as path": {packed(t, "a", "x", "a/b", "y"), fault.Invalid},
	} {
		root, _ := rootOf(t)
		if _, err := Unpack(t.Context(), bytes.NewReader(c.b), Target{Root: root, Owner: -1, Bytes: mib, Entries: 10}); fault.ClassOf(err) != c.want {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func nothingOutside(t testing.TB, dir, outside string) {
	t.Helper()
	if list, _ := os.ReadDir(outside); len(list) != 0 {
		t.Fatalf("%v was written outside", list)
	}
	err := filepath.WalkDir(dir, func(name string, d os.DirEntry, err error) error {
		if err == nil && d.Type()&os.ModeSymlink != 0 {
			target, _ := os.Readlink(name)
			if filepath.IsAbs(target) || !strings.HasPrefix(filepath.Join(filepath.Dir(name), target)+"/", dir+"/") {
				t.Fatalf("%s leads to %s", name, target)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func FuzzRead(f *testing.F) {
	f.Add(sample(f))
	f.Add(entries(f, "oci-layout", `{"imageLayoutVersion":"1.0.0"}`, "index.json", `{"manifests":[{}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		root, dir := rootOf(t)
		l, err := Read(t.Context(), bytes.NewReader(b), root, Bounds{Bytes: mib})
		if err == nil && l.Digest == "" {
			t.Error("an artifact without a digest")
		}
		onlyBlobs(t, dir)
	})
}

func FuzzUnpack(f *testing.F) {
	f.Add(entries(f, "a/b", "x", link("l", "a/b"), "", link("out", "/etc"), "", "../e", "x"))
	f.Add(entries(f, link("d", "/tmp"), "", "d/x", "y"))
	outside := f.TempDir()
	f.Fuzz(func(t *testing.T, b []byte) {
		var z bytes.Buffer
		w, _ := zstd.NewWriter(&z, zstd.WithEncoderLevel(zstd.SpeedFastest))
		w.Write(b)
		w.Close()
		root, dir := rootOf(t)
		_, _ = Unpack(t.Context(), &z, Target{Root: root, Owner: -1, Bytes: mib, Entries: 100})
		nothingOutside(t, dir, outside)
	})
}
