package contents_test

import (
	"archive/tar"
	"archive/zip"
	"compress/gzip"
	"errors"
	"io"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func unzip(t *testing.T, body string) map[string]string {
	t.Helper()
	r, err := zip.NewReader(strings.NewReader(body), int64(len(body)))
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for _, f := range r.File {
		c, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(c)
		if err != nil {
			t.Fatal(err)
		}
		files[f.Name] = string(b)
	}
	return files
}

func untar(t *testing.T, body string) map[string]string {
	t.Helper()
	gz, err := gzip.NewReader(strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for r := tar.NewReader(gz); ; {
		head, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		files[head.Name] = string(b)
	}
}

func TestArchive(t *testing.T) {
	p := serve(t, nil)
	p.write("d/a.txt", "a")
	p.write("d/sub/ключ.txt", "b")
	p.write("d/.hidden/x", "x")
	if err := os.Symlink("/etc/passwd", filepath.Join(p.dir, "d/out")); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"d/a.txt": "a", "d/sub/ключ.txt": "b"}
	res, body := p.do("GET", "/directories/d?archiveFormat=zip", "")
	if got := unzip(t, body); !maps.Equal(got, want) || res.Header.Get("Content-Type") != "application/zip" {
		t.Errorf("zip: %v %v", got, res.Header)
	}
	if _, body = p.do("GET", "/directories/d?archiveFormat=tar.gz", ""); !maps.Equal(untar(t, body), want) {
		t.Errorf("tar: %v", untar(t, body))
	}
	if res, body := p.do("HEAD", "/directories/d", ""); res.StatusCode != 200 || body != "" {
		t.Errorf("HEAD: %d", res.StatusCode)
	}
	if res, _ := p.do("GET", "/directories/none", ""); res.StatusCode != 404 {
		t.Errorf("none: %d", res.StatusCode)
	}
}

// Whatever a client puts in the address, the answer is one a client can be blamed for.
func FuzzPath(f *testing.F) {
	for _, s := range []string{"../../etc/passwd", "a/checkpoints", "a.txt/checkpoints/x", "\x00", "%2e", "//", "d/.."} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, path string) {
		p := serve(t, nil)
		p.write("a.txt", "inside")
		for _, start := range []string{"/api/contents/", "/files/", "/view/", "/directories/"} {
			if res, body := p.do("GET", start+url.PathEscape(path), ""); res.StatusCode >= 500 || strings.Contains(body, "root:") {
				t.Errorf("%s%q: %d %s", start, path, res.StatusCode, body)
			}
		}
	})
}
