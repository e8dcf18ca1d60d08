package server

import (
	"net/http/httptest"
	"net/url"
	"path"
	"strings"
	"testing"
)

// FuzzStrip: the project that is checked is the project whose prefix is taken
// off, however a path is escaped; the rest leads to nobody else's.
func FuzzStrip(f *testing.F) {
	for _, p := range []string{"p/api/contents/a", "p%2Fapi", "p%2f..%2fq/api", "%70/api/a%2Fb", "p//api", "p/../q/api", "p%00/api", "p/api/contents/%2e%2e/x", "p", "", "%", "é/api"} {
		f.Add(p)
	}
	f.Fuzz(func(t *testing.T, tail string) {
		u, err := url.ParseRequestURI("/projects/" + tail)
		if err != nil {
			return
		}
		r := httptest.NewRequest("GET", "/", nil)
		r.URL = u
		id, rest, _ := strings.Cut(strings.TrimPrefix(u.Path, "/projects/"), "/") // as project does
		s := strip(r, "/projects/"+id)
		if s.URL.Path != "/"+rest && s.URL.Path != rest {
			t.Fatalf("%q: project %q, the rest %q is %q", tail, id, rest, s.URL.Path)
		}
		got, err := url.PathUnescape(s.URL.EscapedPath())
		if err != nil || got != s.URL.Path {
			t.Fatalf("%q: escaped it is %q, else %q", tail, s.URL.EscapedPath(), s.URL.Path)
		}
		if u.Path != r.URL.Path {
			t.Fatal("the request itself has changed")
		}
	})
}

func FuzzResolve(f *testing.F) {
	for _, p := range []string{"a", "/project/a", "~/x", "~", "../../etc/passwd", "/project/../etc", "/projectx", "./a/../b", "/project", "//project//a"} {
		f.Add(p, "")
		f.Add(p, "sub/folder")
	}
	f.Fuzz(func(t *testing.T, p, dir string) {
		full := absolute(p, dir)
		if !strings.HasPrefix(full, "/") || full != path.Clean(full) {
			t.Fatalf("%q from %q is %q", p, dir, full)
		}
		if place, ok := below(full, kernelFiles); ok && (strings.HasPrefix(place, "/") || place == ".." || strings.HasPrefix(place, "../")) {
			t.Fatalf("%q from %q is %q among the files", p, dir, place)
		}
	})
}
