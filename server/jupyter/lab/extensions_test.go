package lab_test

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"cellar/server/jupyter/lab"
)

// pagesOf serves a lab with extensions and an operator's folder.
func pagesOf(t *testing.T, operator fs.FS, log *strings.Builder, folders ...lab.Folder) *server {
	t.Helper()
	root, err := os.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	h, err := lab.New(lab.Config{
		Build: build(), Extensions: folders, Operator: operator, Log: slog.New(slog.NewTextHandler(log, nil)),
		Store: func(*http.Request) (*os.Root, error) { return root, nil },
		Fail:  func(w http.ResponseWriter, _ *http.Request, err error) { http.Error(w, err.Error(), 404) },
	})
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(http.StripPrefix("/p/1", h))
	t.Cleanup(func() { s.Close(); root.Close() })
	return &server{t, s.URL + "/p/1"}
}

func (s *server) pageConfig() map[string]any {
	s.t.Helper()
	_, body := s.do("GET", "/lab", "")
	found := configOf.FindStringSubmatch(body)
	var out map[string]any
	if len(found) != 2 || json.Unmarshal([]byte(found[1]), &out) != nil {
		s.t.Fatalf("no page config in %s", body)
	}
	return out
}

func prebuilt(name, load string) *fstest.MapFile {
	return plainFile(`{"name":"` + name + `","version":"1.2.0","jupyterlab":{"extension":true,"_build":{"load":"` + load + `","extension":"./extension","style":"./style"}}}`)
}

func TestPrebuiltExtensions(t *testing.T) {
	own := fstest.MapFS{
		"@jupyter/widgets/package.json":                         prebuilt("@jupyter/widgets", "static/remoteEntry.1.js"),
		"@jupyter/widgets/static/remoteEntry.1.js":              plainFile("own"),
		"@jupyter/widgets/schemas/@jupyter/widgets/plugin.json": plainFile(`{"title":"Widgets"}`),
		"@jupyter/widgets/schemas/@jupyter/widgets/broken.json": plainFile(`{`),
		"b/package.json":          prebuilt("b", "static/b.js"), // its settings b:c are compiled in, too
		"b/static/b.js":           plainFile("b"),
		"b/schemas/b/c.json":      plainFile(`{"title":"newer"}`),
		"liar/package.json":       prebuilt("another", "static/x.js"),
		"outside/package.json":    prebuilt("outside", "../b/static/b.js"),
		"source/package.json":     plainFile(`{"name":"source","jupyterlab":{"extension":true}}`),
		"nothing/package.json":    plainFile(`nothing`),
		"folder/static/readme.md": plainFile("no package.json"),
	}
	image := fstest.MapFS{
		"@jupyter/widgets/package.json":               prebuilt("@jupyter/widgets", "static/remoteEntry.2.js"),
		"@jupyter/widgets/static/remoteEntry.2.js":    plainFile("of the image"),
		"z/package.json":                              prebuilt("z", "static/z.js"),
		"@jupyterlab/apputils-extension/package.json": prebuilt("@jupyterlab/apputils-extension", "static/a.js"), // built in
		"z/static/z.js":                               plainFile("z"),
	}
	var log strings.Builder
	s := pagesOf(t, nil, &log, lab.Folder{FS: own, Replaces: true}, lab.Folder{FS: image})
	var names []string
	for _, e := range s.pageConfig()["federated_extensions"].([]any) {
		one := e.(map[string]any)
		names = append(names, one["name"].(string))
		if one["extension"] != "./extension" || one["style"] != "./style" || one["mimeExtension"] != nil {
			t.Errorf("%v", one)
		}
		res, body := s.do("GET", "/lab/extensions/"+one["name"].(string)+"/"+one["load"].(string), "")
		if res.StatusCode != 200 || !strings.HasPrefix(res.Header.Get("Content-Type"), "text/javascript") || body == "" {
			t.Errorf("%s: %d %v %q", one["load"], res.StatusCode, res.Header, body)
		}
	}
	if want := []string{"@jupyter/widgets", "b", "z"}; !slices.Equal(names, want) {
		t.Errorf("%v, want %v", names, want)
	}
	for _, name := range []string{"liar", "outside", "source", "nothing", "broken.json"} {
		if !strings.Contains(log.String(), name) {
			t.Errorf("nothing is said of %s:\n%s", name, log.String())
		}
	}
	if _, body := s.do("GET", "/lab/extensions/@jupyter/widgets/static/remoteEntry.1.js", ""); body != "own" {
		t.Errorf("the operator's extension is not the one: %q", body)
	}
	for _, bad := range []string{"/b", "/b/", "/b/static", "/b/../z/static/z.js", "/b/%2e%2e/z/static/z.js", "/liar/static/x.js", "/@jupyter", "/@jupyter/widgets", "/"} {
		if res, body := s.do("GET", "/lab/extensions"+bad, ""); res.StatusCode == 200 {
			t.Errorf("%s: %q", bad, body)
		}
	}
	var all struct {
		Settings []struct {
			ID, Version string
			Schema      struct{ Title string }
		}
	}
	_, body := s.do("GET", "/lab/api/settings", "")
	if err := json.Unmarshal([]byte(body), &all); err != nil {
		t.Fatal(err)
	}
	titles := map[string]string{}
	for _, one := range all.Settings {
		titles[one.ID] = one.Schema.Title + " " + one.Version
	}
	if len(all.Settings) != 3 || titles["@jupyter/widgets:plugin"] != "Widgets 1.2.0" || titles["b:c"] != "newer 1.2.0" {
		t.Errorf("%v", titles)
	}
	if res, _ := s.do("PUT", "/lab/api/settings/@jupyter/widgets:plugin", `{"raw":"{}"}`); res.StatusCode != 204 {
		t.Errorf("its settings cannot be kept: %d", res.StatusCode)
	}
}

func TestOperatorsPageConfig(t *testing.T) {
	var log strings.Builder
	folder := fstest.MapFS{}
	s := pagesOf(t, folder, &log)
	set := func(text string) map[string]any {
		folder["page_config.json"] = plainFile(text)
		return s.pageConfig()
	}
	c := set(`{"disabledExtensions":{"b":true,"a":true,"c":false},"deferredExtensions":["d"],"exposeAppInBrowser":true,"appName":"Ours","baseUrl":"/evil/","token":"t"}`)
	if got, _ := json.Marshal(c["disabledExtensions"]); string(got) != `["a","b"]` {
		t.Errorf("disabled: %s", got)
	}
	if c["exposeAppInBrowser"] != true || c["appName"] != "Ours" || c["baseUrl"] != "/p/1/" || c["token"] != "" {
		t.Errorf("%v", c)
	}
	for _, bad := range []string{`{`, `[]`, `{"disabledExtensions":"a"}`} {
		log.Reset()
		if c := set(bad); c["appName"] != "Cellar" || !strings.Contains(log.String(), "page_config.json") {
			t.Errorf("%s: %v, log %q", bad, c["appName"], log.String())
		}
	}
	delete(folder, "page_config.json")
	log.Reset()
	if c := s.pageConfig(); c["appName"] != "Cellar" || log.Len() != 0 {
		t.Errorf("without a file: %v, log %q", c["appName"], log.String())
	}
}

// What the server and the operator disable is disabled both; and what the language
// extension stands for goes and comes with it.
func TestDisabledExtensions(t *testing.T) {
	root, err := os.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	files := build()
	files["settings.json.br"] = packed(`[{"id":"@jupyter-lsp/jupyterlab-lsp:plugin","version":"1.0","schema":{}}]`)
	folder := fstest.MapFS{}
	h, err := lab.New(lab.Config{
		Build: files, Operator: folder, Store: func(*http.Request) (*os.Root, error) { return root, nil },
		Page: func(*http.Request) (map[string]any, error) {
			return map[string]any{"disabledExtensions": []string{"ours", "both"}}, nil
		},
		Fail: func(w http.ResponseWriter, _ *http.Request, err error) { http.Error(w, err.Error(), 404) },
	})
	if err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(http.StripPrefix("/p/1", h))
	defer web.Close()
	s := &server{t, web.URL + "/p/1"}
	for operators, want := range map[string]string{
		`{}`: "@jupyterlab/completer-extension:base-service @jupyterlab/fileeditor-extension:language-server @jupyterlab/lsp-extension:settings @jupyterlab/notebook-extension:language-server both ours",
		`{"disabledExtensions":["theirs","both","@jupyter-lsp/jupyterlab-lsp"]}`: "@jupyter-lsp/jupyterlab-lsp both ours theirs",
	} {
		folder["page_config.json"] = plainFile(operators)
		got := fmt.Sprint(s.pageConfig()["disabledExtensions"])
		if got != "["+want+"]" {
			t.Errorf("%s: %s", operators, got)
		}
	}
}
