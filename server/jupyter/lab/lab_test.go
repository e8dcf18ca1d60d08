package lab_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"github.com/andybalholm/brotli"

	"cellar/internal/fault"
	"cellar/server/jupyter/lab"
)

func packed(text string) *fstest.MapFile {
	var b bytes.Buffer
	w := brotli.NewWriter(&b)
	w.Write([]byte(text))
	w.Close()
	return &fstest.MapFile{Data: b.Bytes()}
}

func plainFile(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }

const script = "console.log('main')"

func build() fstest.MapFS {
	return fstest.MapFS{
		"manifest.json":             plainFile(`{"scripts":["main.1.js"],"preload":["core.2.js"],"version":"4.6.3"}`),
		"settings.json.br":          packed(`[{"id":"@jupyterlab/apputils-extension:themes","version":"1.0","schema":{"title":"Theme","x":"<&>"}},{"id":"b:c","version":"2","schema":{}}]`),
		"licenses.json":             plainFile(`{"packages":[{"name":"react","versionInfo":"18","licenseId":"MIT","extractedText":"..."}]}`),
		"static/main.1.js.br":       packed(script),
		"static/font.woff2":         plainFile("font"),
		"themes/@a/light/index.css": plainFile("body{}"),
	}
}

type server struct {
	t   *testing.T
	url string
}

func serve(t *testing.T, page map[string]any) *server {
	t.Helper()
	root, err := os.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	h, err := lab.New(lab.Config{
		Build: build(),
		Store: func(*http.Request) (*os.Root, error) { return root, nil },
		Page:  func(*http.Request) (map[string]any, error) { return page, nil },
		Fail: func(w http.ResponseWriter, _ *http.Request, err error) {
			status := map[fault.Class]int{fault.Invalid: 400, fault.Denied: 403, fault.NotFound: 404, fault.Exhausted: 413, fault.Internal: 500}[fault.ClassOf(err)]
			http.Error(w, fault.Detail(err), status)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(http.StripPrefix("/p/1", h))
	t.Cleanup(func() { s.Close(); root.Close() })
	return &server{t, s.URL + "/p/1"}
}

func (s *server) do(method, path, body string, headers ...string) (*http.Response, string) {
	s.t.Helper()
	r, err := http.NewRequest(method, s.url+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set("Accept-Encoding", "identity")
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return res, string(b)
}

var configOf = regexp.MustCompile(`(?s)<script id="jupyter-config-data" type="application/json">(.*?)</script>`)

func TestPage(t *testing.T) {
	evil := `</script><script>alert(1)</script>`
	s := serve(t, map[string]any{"token": evil, "appName": "A&B", "disabledExtensions": []string{"x"}})
	rows := []struct{ path, mode, workspace, tree string }{
		{"/lab", "multiple-document", "default", ""},
		{"/lab/", "multiple-document", "default", ""},
		{"/lab/tree/a%20b/%D0%BA.ipynb", "multiple-document", "default", "a b/к.ipynb"},
		{"/lab/workspaces/auto-x", "multiple-document", "auto-x", ""},
		{"/lab/workspaces/w/tree/n.ipynb", "multiple-document", "w", "n.ipynb"},
		{"/doc/tree/n.ipynb", "single-document", "default", "n.ipynb"},
	}
	for _, row := range rows {
		res, body := s.do("GET", row.path, "")
		found := configOf.FindStringSubmatch(body)
		if res.StatusCode != 200 || found == nil {
			t.Fatalf("%s: %d %s", row.path, res.StatusCode, body)
		}
		var c map[string]any
		if err := json.Unmarshal([]byte(found[1]), &c); err != nil {
			t.Fatal(err)
		}
		for key, want := range map[string]string{
			"mode": row.mode, "workspace": row.workspace, "treePath": row.tree, "appUrl": "/lab", "token": evil,
			"baseUrl": "/p/1/", "fullStaticUrl": "/p/1/static/lab", "settingsUrl": "/lab/api/settings", "appVersion": "4.6.3",
		} {
			if c[key] != want {
				t.Errorf("%s: %s is %v, want %q", row.path, key, c[key], want)
			}
		}
		if list, _ := c["untracked_message_types"].([]any); !slices.Contains(list, any("debug_request")) {
			t.Errorf("%s: what the debugger asks counts as the kernel's work: %v", row.path, list)
		}
		for _, api := range []string{"settings", "workspaces", "translations"} { // JupyterLab makes these addresses itself
			if res, body := s.do("GET", fmt.Sprintf("%v/api/%s", c["appUrl"], api), ""); res.StatusCode != 200 {
				t.Errorf("%s: its %s are %d %s", row.path, api, res.StatusCode, body)
			}
		}
		for _, part := range []string{
			`src="/p/1/static/lab/main.1.js"`, `href="/p/1/static/lab/core.2.js"`, `class="idle favicon"`, "<title>A&amp;B</title>",
		} {
			if !strings.Contains(body, part) {
				t.Errorf("%s: no %s in %s", row.path, part, body)
			}
		}
		if strings.Contains(body, evil) || !strings.Contains(res.Header.Get("Content-Security-Policy"), "frame-ancestors 'self'") {
			t.Errorf("%s: the config is not embedded safely", row.path)
		}
	}
	for _, path := range []string{"/lab/other", "/labx", "/lab/api", "/lab/api/none", "/lab/workspaces/", "/api/resolvePath"} {
		if res, _ := s.do("GET", path, ""); res.StatusCode != 404 {
			t.Errorf("%s: %d", path, res.StatusCode)
		}
	}
	if res, _ := s.do("POST", "/lab", ""); res.StatusCode != 405 {
		t.Errorf("POST: %d", res.StatusCode)
	}
}

func TestStatic(t *testing.T) {
	s := serve(t, nil)
	for _, row := range []struct{ accept, coding string }{
		{"gzip, br", "br"}, {"br;q=0, gzip", ""}, {"gzip", ""}, {"br;q=0.5", "br"}, {"*", ""},
	} {
		res, body := s.do("GET", "/static/lab/main.1.js", "", "Accept-Encoding", row.accept)
		if res.Header.Get("Content-Encoding") != row.coding || res.Header.Get("Vary") != "Accept-Encoding" {
			t.Errorf("%s: headers %v", row.accept, res.Header)
		}
		if row.coding == "br" {
			plain, err := io.ReadAll(brotli.NewReader(strings.NewReader(body)))
			if err != nil {
				t.Fatal(err)
			}
			body = string(plain)
		}
		if body != script || !strings.Contains(res.Header.Get("Cache-Control"), "immutable") ||
			!strings.HasPrefix(res.Header.Get("Content-Type"), "text/javascript") {
			t.Errorf("%s: %q %v", row.accept, body, res.Header)
		}
	}
	if res, body := s.do("GET", "/static/lab/font.woff2", ""); body != "font" || res.Header.Get("Content-Type") != "font/woff2" {
		t.Errorf("font: %q %v", body, res.Header)
	}
	res, body := s.do("GET", "/lab/api/themes/@a/light/index.css", "")
	if body != "body{}" || res.Header.Get("ETag") == "" {
		t.Errorf("theme: %q %v", body, res.Header)
	}
	if res, _ := s.do("GET", "/lab/api/themes/@a/light/index.css", "", "If-None-Match", res.Header.Get("ETag")); res.StatusCode != 304 {
		t.Errorf("the theme again: %d", res.StatusCode)
	}
	for _, path := range []string{"/static/lab/none.js", "/static/lab/", "/static/lab/%2e%2e/settings.json", "/static/lab", "/static/lab/a%2f%2fb"} {
		if res, _ := s.do("GET", path, ""); res.StatusCode != 404 {
			t.Errorf("%s: %d", path, res.StatusCode)
		}
	}
}

func TestSettings(t *testing.T) {
	s := serve(t, nil)
	const themes = "/lab/api/settings/@jupyterlab/apputils-extension:themes"
	_, body := s.do("GET", "/lab/api/settings?ids_only=true&1700", "")
	if body != `{"settings":[{"id":"@jupyterlab/apputils-extension:themes"},{"id":"b:c"}]}` {
		t.Errorf("IDs: %s", body)
	}
	all, _ := s.do("GET", "/lab/api/settings", "")
	if res, _ := s.do("GET", "/lab/api/settings", "", "If-None-Match", all.Header.Get("ETag")); res.StatusCode != 304 {
		t.Errorf("the list again: %d", res.StatusCode)
	}
	raw := "{\n // a comment \"\n \"theme\": \"a // b\", /* , */ }"
	put, _ := json.Marshal(map[string]string{"raw": raw})
	rows := []struct {
		status             int
		method, path, body string
	}{
		{204, "PUT", themes, string(put)},
		{204, "PUT", "/lab/api/settings/b:c", `{"raw":"{}"}`},
		{400, "PUT", themes, `{"raw":"{"}`}, {400, "PUT", themes, `{"raw":"null"}`}, {400, "PUT", themes, `{"raw":"[]"}`},
		{404, "PUT", "/lab/api/settings/no:such", `{"raw":"{}"}`}, {404, "GET", "/lab/api/settings/no:such", ""},
		{400, "PUT", "/lab/api/settings", `{}`}, {405, "DELETE", themes, ""},
		{413, "PUT", themes, `{"raw":"{\"a\":\"` + strings.Repeat("x", 5<<20) + `\"}"}`},
	}
	for _, row := range rows {
		if res, body := s.do(row.method, row.path, row.body); res.StatusCode != row.status {
			t.Errorf("%s %s %.40s: %d, want %d: %s", row.method, row.path, row.body, res.StatusCode, row.status, body)
		}
	}
	_, body = s.do("GET", themes, "")
	var one struct {
		ID, Raw, Version string
		Schema, Settings map[string]any
		LastModified     string `json:"last_modified"`
	}
	if err := json.Unmarshal([]byte(body), &one); err != nil {
		t.Fatal(err)
	}
	if one.Raw != raw || one.Settings["theme"] != "a // b" || one.Schema["x"] != "<&>" || one.Version != "1.0" || one.LastModified == "" {
		t.Errorf("settings %+v", one)
	}
	if res, _ := s.do("GET", "/lab/api/settings", "", "If-None-Match", all.Header.Get("ETag")); res.StatusCode != 200 {
		t.Errorf("the list is said to be unchanged: %d", res.StatusCode)
	}
}

func TestWorkspaces(t *testing.T) {
	s := serve(t, nil)
	long := strings.Repeat("w", 300)
	rows := []struct {
		status                   int
		method, path, body, want string
	}{
		{200, "GET", "/lab/api/workspaces", "", `{"workspaces":{"ids":[],"values":[]}}`},
		{200, "GET", "/lab/api/workspaces/default", "", `{"data":{},"metadata":{"id":"default"}}`},
		{204, "PUT", "/lab/api/workspaces/default", `{"data":{"a":1},"metadata":{"id":"default"}}`, ""},
		{204, "PUT", "/lab/api/workspaces/" + long, `{"data":{},"metadata":{"id":"` + long + `"}}`, ""},
		{204, "PUT", "/lab/api/workspaces/..%2Fx", `{"data":{},"metadata":{"id":"../x"}}`, ""},
		{200, "GET", "/lab/api/workspaces/default", "", `{"data":{"a":1},"metadata":{"id":"default","last_modified"`},
		{400, "PUT", "/lab/api/workspaces/default", `{"data":{},"metadata":{"id":"other"}}`, ""},
		{400, "PUT", "/lab/api/workspaces/default", `{"metadata":{"id":"default"}}`, ""},
		{400, "PUT", "/lab/api/workspaces/default", `{"data":null,"metadata":{"id":"default"}}`, ""},
		{400, "PUT", "/lab/api/workspaces", `{}`, ""},
		{204, "DELETE", "/lab/api/workspaces/default", "", ""},
		{404, "DELETE", "/lab/api/workspaces/default", "", ""},
	}
	for _, row := range rows {
		if res, body := s.do(row.method, row.path, row.body); res.StatusCode != row.status || !strings.HasPrefix(body, row.want) {
			t.Errorf("%s %.60s: %d %s, want %d %s", row.method, row.path, res.StatusCode, body, row.status, row.want)
		}
	}
}

func TestSections(t *testing.T) {
	s := serve(t, nil)
	rows := []struct {
		status                   int
		method, path, body, want string
	}{
		{200, "GET", "/api/config/notebook", "", `{}`},
		{204, "PUT", "/api/config/notebook", `{"a":{"b":1,"c":2},"d":3}`, ""},
		{200, "PATCH", "/api/config/notebook", `{"a":{"b":null,"e":4},"d":null,"f":{"g":{}}}`, `{"a":{"c":2,"e":4},"f":{"g":{}}}`},
		{200, "GET", "/api/config/notebook", "", `{"a":{"c":2,"e":4},"f":{"g":{}}}`},
		{400, "PATCH", "/api/config/notebook", `null`, ""}, {400, "PUT", "/api/config/notebook", `[]`, ""},
		{404, "GET", "/api/config/a.b", "", ""}, {404, "GET", "/api/config", "", ""},
	}
	for _, row := range rows {
		if res, body := s.do(row.method, row.path, row.body); res.StatusCode != row.status || !strings.HasPrefix(body, row.want) {
			t.Errorf("%s %s: %d %s, want %d %s", row.method, row.path, res.StatusCode, body, row.status, row.want)
		}
	}
	var all sync.WaitGroup
	for _, key := range strings.Split("abcdefghij", "") {
		all.Go(func() { s.do("PATCH", "/api/config/many", `{"`+key+`":1}`) })
	}
	all.Wait()
	if _, body := s.do("GET", "/api/config/many", ""); strings.Count(body, ":1") != 10 {
		t.Errorf("lost patches: %s", body)
	}
}

func TestSmallAnswers(t *testing.T) {
	s := serve(t, nil)
	for path, want := range map[string]string{
		"/lab/api/translations":         `"displayName":"English"`,
		"/lab/api/translations/default": `{"data":{},"message":""}`,
		"/lab/api/licenses/":            `"@jupyterlab/application-top":{"packages":[{"name":"react"`,
		"/lab/api/licenses?format=csv":  "@jupyterlab/application-top,react,18,MIT,...",
		"/lab/api/listings/@jupyterlab/extensionmanager-extension/listings.json": `"blocked_extensions":[]`,
		"/favicon.ico": "<svg",
	} {
		if res, body := s.do("GET", path, ""); res.StatusCode != 200 || !strings.Contains(body, want) {
			t.Errorf("%s: %d %s", path, res.StatusCode, body)
		}
	}
}

func TestLicenses(t *testing.T) {
	s := serve(t, nil)
	for _, row := range []struct{ query, kind, file, has, lacks string }{
		{"format=json&download=1", "application/json", "json", `"extractedText":"..."`, ""},
		{"format=csv&download=1", "text/csv; charset=utf-8", "csv", "MIT,...", ""},
		{"format=markdown&download=true", "text/markdown; charset=utf-8", "md", "## react `18` MIT\n\n    ...\n", ""},
		{"format=markdown&full_text=false", "text/markdown; charset=utf-8", "", "## react", "..."},
		{"bundles=%40jupyterlab.*", "application/json", "", "react", ""},
		{"bundles=other&download=0", "application/json", "", `{"bundles":{}}`, "react"},
	} {
		want := ""
		if row.file != "" {
			want = `attachment; filename="jupyterlab-licenses.` + row.file + `"`
		}
		res, body := s.do("GET", "/lab/api/licenses?"+row.query, "")
		if res.StatusCode != 200 || res.Header.Get("Content-Type") != row.kind || res.Header.Get("Content-Disposition") != want {
			t.Errorf("%s: %d %v", row.query, res.StatusCode, res.Header)
		}
		if !strings.Contains(body, row.has) || row.lacks != "" && strings.Contains(body, row.lacks) {
			t.Errorf("%s: %s", row.query, body)
		}
	}
	for _, query := range []string{"format=pdf", "bundles=("} {
		if res, _ := s.do("GET", "/lab/api/licenses?"+query, ""); res.StatusCode != 400 {
			t.Errorf("%s: %d", query, res.StatusCode)
		}
	}
}

func TestBrokenBuild(t *testing.T) {
	b := build()
	delete(b, "manifest.json")
	if _, err := lab.New(lab.Config{Build: b}); err == nil {
		t.Error("a build without a manifest is taken")
	}
	b = build()
	delete(b, "licenses.json")
	if _, err := lab.New(lab.Config{Build: b}); err != nil {
		t.Errorf("a build without licenses: %v", err)
	}
}
