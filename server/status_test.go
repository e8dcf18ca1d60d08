package server

import (
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cellar/kernel"
	"cellar/server/hub"
)

func TestResolvePath(t *testing.T) {
	w := newTown(t)
	p := w.project()
	if err := os.MkdirAll(filepath.Join(w.hub.FilesDir(p), "sub"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"sub/mod.py", "sub/a.txt"} {
		if err := os.WriteFile(filepath.Join(w.hub.FilesDir(p), name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	// A kernel that started in sub. It need not run: nothing is asked of it.
	now := time.Now()
	if err := w.hub.Store.PutKernel(t.Context(), hub.Kernel{ID: "k", Project: p, Spec: "python3", Image: "base", Dir: "sub", Configuration: "c", State: kernel.Dead, Journal: "journal-1", CreatedAt: now, ActiveAt: now, Since: now}); err != nil {
		t.Fatal(err)
	}
	again, err := hub.Open(t.Context(), &hub.Hub{Config: w.hub.Config, Store: w.hub.Store, Runtime: brokenRuntime{}, Notebooks: w.trees, Log: w.hub.Log}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(again.Close)
	w.server.hub = again
	v := w.by(w.owner, "token")
	for _, c := range []struct{ path, kernel, want string }{
		{"/project/a.txt", "", "server a.txt"},
		{"/project/a.txt", "k", "server a.txt"},
		{"/project/sub/../a.txt", "k", "server a.txt"},
		{"mod.py", "k", "server sub/mod.py"}, // as the kernel would find it
		{"./mod.py", "k", "server sub/mod.py"},
		{"../a.txt", "k", "server a.txt"},
		{"a.txt", "", "server a.txt"},
		{"a.txt", "none", "server a.txt"},
		{"/project", "k", "server "},
		{"/usr/lib/python3/x.py", "k", "kernel /usr/lib/python3/x.py"},
		{"~/x.py", "k", "kernel /home/cellar/x.py"},
		{"../../etc/passwd", "k", "kernel /etc/passwd"},
		{"/usr/lib/python3/x.py", "", ""},
		{"/usr/lib/python3/x.py", "none", ""},
		{"/project/none.py", "k", ""},
		{"/project/.hidden", "k", ""},
		{"/projectx/a.txt", "", ""},
	} {
		res := v.do("GET", "/projects/"+p+"/api/resolvePath?path="+url.QueryEscape(c.path)+"&kernel="+c.kernel, "", nil)
		var got struct {
			Resolved, Unresolved []struct{ Scope, Path, Reason string }
		}
		if err := json.NewDecoder(res.Body).Decode(&got); err != nil || res.StatusCode != 200 || got.Resolved == nil || got.Unresolved == nil {
			t.Fatalf("%+v: %d %v", c, res.StatusCode, err)
		}
		found := ""
		for _, r := range got.Resolved {
			found += r.Scope + " " + r.Path
		}
		scopes := map[string]bool{}
		for _, u := range append(got.Resolved, got.Unresolved...) {
			scopes[u.Scope] = true
		}
		if found != c.want || !scopes["server"] || !scopes["kernel"] {
			t.Errorf("%+v: %+v", c, got)
		}
	}
	for _, path := range []string{"", "a%00b", strings.Repeat("x", maxResolve+1)} {
		if res := v.do("GET", "/projects/"+p+"/api/resolvePath?path="+path, "", nil); res.StatusCode != 400 {
			t.Errorf("%.20q: %d", path, res.StatusCode)
		}
	}
}

func TestSmallRoutes(t *testing.T) {
	w := newTown(t)
	p := w.project()
	v := w.by(w.owner, "token")
	get := func(path string, into any) string {
		t.Helper()
		res := v.do("GET", "/projects/"+p+"/api"+path, "", nil)
		b, _ := io.ReadAll(res.Body)
		if res.StatusCode != 200 {
			t.Fatalf("%s: %d %s", path, res.StatusCode, b)
		}
		if into != nil {
			if err := json.Unmarshal(b, into); err != nil {
				t.Fatal(err)
			}
		}
		return string(b)
	}
	var me struct {
		Identity    map[string]any
		Permissions map[string][]string
	}
	get("/me", &me)
	if me.Identity["username"] != "ada" || fmt.Sprint(me.Permissions["kernels"]) != "[read write execute]" {
		t.Errorf("%+v", me)
	}
	me.Permissions = nil
	get("/me?permissions="+url.QueryEscape(`{"contents":["write","delete"],"other":["read"]}`), &me)
	if fmt.Sprint(me.Permissions) != "map[contents:[write] other:[]]" {
		t.Errorf("asked about some: %v", me.Permissions)
	}
	if res := v.do("GET", "/projects/"+p+"/api/me?permissions=x", "", nil); res.StatusCode != 400 {
		t.Errorf("asked in no form: %d", res.StatusCode)
	}
	var status struct {
		Connections, Kernels  *int
		Started, LastActivity time.Time
		Last                  time.Time `json:"last_activity"`
	}
	get("/status", &status)
	if status.Connections == nil || status.Kernels == nil || *status.Kernels != 0 || status.Started.IsZero() || status.Last.Before(status.Started) {
		t.Errorf("%+v", status)
	}
	yaml := get("/spec.yaml", nil)
	for _, part := range []string{"openapi: 3.1.0", "  /api/contents/{path}:", "  /api/kernels/{id}/channels:", "  /api/resolvePath:", "url: /projects/" + p + "/"} {
		if !strings.Contains(yaml, part) {
			t.Errorf("the description lacks %q", part)
		}
	}
	for _, section := range []string{"notebook", "a-b_c"} {
		v.do("PUT", "/projects/"+p+"/api/config/"+section, "application/json", []byte(`{"a":{"b":1,"c":2}}`))
		v.do("PATCH", "/projects/"+p+"/api/config/"+section, "application/json", []byte(`{"a":{"b":null},"d":[1]}`))
		var got map[string]any
		if get("/config/"+section, &got); fmt.Sprint(got) != "map[a:map[c:2] d:[1]]" {
			t.Errorf("%s: %v", section, got)
		}
	}
	for _, section := range []string{"..%2fx", "a/b", "a.b", ""} {
		if res := v.do("GET", "/projects/"+p+"/api/config/"+section, "", nil); res.StatusCode != 404 {
			t.Errorf("section %q: %d", section, res.StatusCode)
		}
	}
}
