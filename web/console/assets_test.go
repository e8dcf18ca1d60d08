package console

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/fstest"
)

func TestStatic(t *testing.T) {
	c := newConsole(t)
	version := c.assets.version
	const forever, ask = "public, max-age=31536000, immutable", "no-cache"
	for _, test := range []struct {
		method, url string
		status      int
		cache, kind string
	}{
		{"GET", "/static/console/" + version + "/console.css", 200, forever, "text/css; charset=utf-8"},
		{"GET", "/cellar/static/console/" + version + "/home.js", 200, forever, "text/javascript; charset=utf-8"},
		{"HEAD", "/static/console/" + version + "/logo.svg", 200, forever, "image/svg+xml"},
		{"GET", "/static/console/favicon.svg", 200, ask, "image/svg+xml"},
		{"GET", "/static/console/favicon.svg?v=" + version, 200, forever, "image/svg+xml"},
		{"GET", "/static/console/0123456789abcdef/home.js", 200, ask, "text/javascript; charset=utf-8"},
		{"GET", "/" + version + "/home.js", 200, forever, "text/javascript; charset=utf-8"}, // stripped already
		{"GET", "/static/console/" + version + "/missing.js", 404, "no-store", ""},
		{"GET", "/static/console/" + version + "/../console.go", 404, "no-store", ""},
		{"GET", "/static/console/", 404, "no-store", ""},
		{"POST", "/static/console/" + version + "/home.js", 405, "", ""},
	} {
		w := httptest.NewRecorder()
		c.Static().ServeHTTP(w, httptest.NewRequest(test.method, test.url, nil))
		h := w.Header()
		if w.Code != test.status || h.Get("Cache-Control") != test.cache || test.kind != "" && h.Get("Content-Type") != test.kind {
			t.Errorf("%s %s: %d, %q, %q", test.method, test.url, w.Code, h.Get("Cache-Control"), h.Get("Content-Type"))
		}
		if test.status == 200 && (w.Body.Len() == 0) != (test.method == http.MethodHead) {
			t.Errorf("%s %s: %d bytes", test.method, test.url, w.Body.Len())
		}
	}
}

func TestStaticNotModified(t *testing.T) {
	c := newConsole(t)
	get := func(tag string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodGet, "/static/console/console.css", nil)
		r.Header.Set("If-None-Match", tag)
		w := httptest.NewRecorder()
		c.Static().ServeHTTP(w, r)
		return w
	}
	tag := get("").Header().Get("ETag")
	for header, want := range map[string]int{tag: 304, "W/" + tag: 304, `"x", ` + tag: 304, "*": 304, `"x"`: 200, "": 200} {
		if w := get(header); w.Code != want {
			t.Errorf("If-None-Match %s answers %d, want %d", header, w.Code, want)
		}
	}
}

func TestVersionFollowsTheContent(t *testing.T) {
	version := func(name, body string) string {
		a, err := readAssets(fstest.MapFS{"static/a.js": {Data: []byte("1")}, "static/" + name: {Data: []byte(body)}}, "static")
		if err != nil {
			t.Fatal(err)
		}
		return a.version
	}
	first := version("b.css", "x")
	if again := version("b.css", "x"); again != first {
		t.Error("the same files have two versions")
	}
	if version("b.css", "y") == first || version("c.css", "x") == first {
		t.Error("other files have the same version")
	}
}
