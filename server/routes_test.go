package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"cellar/kernel"
	"cellar/server/hub"
	"cellar/server/jupyter/lab"
)

// brokenRuntime has no containers and starts none.
type brokenRuntime struct{ kernel.Runtime }

func (brokenRuntime) List(context.Context) ([]kernel.Status, error) { return nil, nil }
func (brokenRuntime) Late(string) bool                              { return false }
func (brokenRuntime) Unpause(context.Context, string) error         { return nil }
func (brokenRuntime) Draining() (map[string]string, error)          { return nil, nil }
func (brokenRuntime) Create(context.Context, kernel.Container) error {
	return errors.New("no container starts here")
}
func (brokenRuntime) Remove(context.Context, string) error { return nil }
func (brokenRuntime) Dial(context.Context, string, int) (net.Conn, error) {
	return nil, errors.New("nobody there")
}
func (brokenRuntime) Exits(ctx context.Context) (<-chan string, error)    { return make(chan string), nil }
func (brokenRuntime) Usage(context.Context, string) (kernel.Usage, error) { return kernel.Usage{}, nil }
func (brokenRuntime) Door(context.Context, string) (kernel.Door, error) {
	return nil, errors.New("nobody there")
}
func (brokenRuntime) Drained(context.Context, string) error { return nil }

// town is a whole server, with a small lab and no machine to run kernels on.
type town struct {
	*door
	owner, stranger, admin hub.User
	projects               int
}

func smallLab() fstest.MapFS {
	return fstest.MapFS{
		"manifest.json":       {Data: []byte(`{"scripts":["main.js"],"preload":[],"version":"4"}`)},
		"settings.json":       {Data: []byte(`[{"id":"x:y","version":"1","schema":{}}]`)},
		"licenses.json":       {Data: []byte(`{"packages":[]}`)},
		"static/main.js":      {Data: []byte("0")},
		"themes/t/index.css":  {Data: []byte("a{}")},
		"extensions/e/pkg.js": {Data: []byte("0")},
	}
}

func newTown(t *testing.T, change ...func(*Options)) *town {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: a project's files belong to a user of its own")
	}
	d := newDoor(t)
	d.hub.Data = t.TempDir()
	d.hub.ShortName = "celtest-" + filepath.Base(filepath.Dir(d.hub.Data)) // nobody else's: what is under it is swept
	d.hub.Runtime = brokenRuntime{}
	d.hub.Configurations = []hub.Configuration{{Name: "c", CPUs: 1, Memory: 1 << 28, UnitsPerSecond: 1}}
	d.hub.Default = "c"
	opened, err := hub.Open(t.Context(), d.hub, []hub.Image{{Name: "base", Ref: "base", Specs: []hub.KernelSpec{
		{Name: "python3", DisplayName: "Python", Language: "python", Argv: []string{"python"}, Resources: map[string][]byte{"logo.svg": []byte("<svg/>")}},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(opened.Close)
	d.trees.Dir = opened.FilesDir
	opened.Notebooks = d.trees
	o := d.server.Options
	o.Lab = smallLab()
	o.LabExtensions = []lab.Folder{}
	for _, f := range change {
		f(&o)
	}
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	d.server, d.handler = s, s
	w := &town{door: d, owner: d.user("ada", ""), stranger: d.user("bob", "")}
	if w.admin, err = opened.FirstStart(t.Context()); err != nil {
		t.Fatal(err)
	}
	return w
}

// project adds a project of the owner's with a file and a notebook in it.
func (w *town) project() string {
	w.t.Helper()
	w.projects++
	p, err := w.hub.CreateProject(w.t.Context(), w.owner, fmt.Sprintf("p%d", w.projects), nil)
	if err != nil {
		w.t.Fatal(err)
	}
	for name, text := range map[string]string{"a.txt": "text", "n.ipynb": `{"cells":[],"metadata":{},"nbformat":4,"nbformat_minor":5}`} {
		file := filepath.Join(w.hub.FilesDir(p.ID), name)
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			w.t.Fatal(err)
		}
		if err := os.Lchown(file, p.FileOwner(), p.FileOwner()); err != nil {
			w.t.Fatal(err)
		}
	}
	return p.ID
}

// by makes a visitor of a person: with a token, or as a signed-in browser.
func (w *town) by(u hub.User, how string) *visitor {
	w.t.Helper()
	v := w.visitor("192.0.2.1")
	switch how {
	case "token":
		_, secret, err := w.hub.AddToken(w.t.Context(), u, "test")
		if err != nil {
			w.t.Fatal(err)
		}
		v.token, v.cookies = secret, map[string]string{xsrfCookie: "x"}
	case "cookie":
		secret, err := w.hub.OpenLogin(w.t.Context(), u)
		if err != nil {
			w.t.Fatal(err)
		}
		v.cookies[loginCookie] = secret
	}
	return v
}

// line says what becomes of a request to a route. Who is refused is the same for
// all routes of a kind, and follows from who.
type line struct {
	path string // empty: the route's own; {p} is a project of the owner's, {o} an operation in it
	body string
	want string // who may use it gets this: status and, of an error, its code
	// Where they differ: what a browser gets, and whoever is not signed in.
	cookie, nobody string
	admin          string // what an administrator gets who does not own the project
	who            access
}

type access int

const (
	ofProject   access = iota // owner and administrator; a stranger sees nothing there
	ofPerson                  // whoever is signed in
	ofAdmin                   // administrators; others are told so
	ofAdminPage               // administrators; to others it is not there
	ofAll                     // no sign-in is needed
	ofKey                     // has keys of its own
)

func (w *town) routes() []string {
	var out []string
	for _, r := range w.server.routes().Router().Routes() {
		out = append(out, r.Method+" "+r.Path)
	}
	a, _ := w.server.api()
	for path, item := range a.OpenAPI().Paths {
		raw, _ := json.Marshal(item)
		var of map[string]any
		json.Unmarshal(raw, &of)
		for method := range of {
			if method != "parameters" {
				out = append(out, strings.ToUpper(method)+" /api/v1"+path)
			}
		}
	}
	for _, route := range w.server.projectRoutes() {
		method, pattern, both := strings.Cut(route, " ")
		if !both {
			method, pattern = "*", route
		}
		out = append(out, method+" /projects/{p}"+pattern)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// TestEveryRouteHasALine: a new route is not served before somebody has said who
// may use it.
func TestEveryRouteHasALine(t *testing.T) {
	w := newTown(t)
	there := map[string]bool{}
	for _, route := range w.routes() {
		there[route] = true
		if _, ok := table[route]; !ok {
			t.Errorf("who may use %s? It has no line in the table", route)
		}
	}
	for route := range table {
		if !there[route] {
			t.Errorf("there is no route %s any more", route)
		}
	}
	if len(there) < 100 {
		t.Errorf("only %d routes were found", len(there))
	}
	for _, p := range w.server.parts() {
		if len(p.routes) == 0 {
			t.Errorf("the part for %v names no routes", p.areas)
		}
		for _, route := range p.routes {
			_, pattern, both := strings.Cut(route, " ")
			if !both {
				pattern = route
			}
			words := strings.SplitN(strings.Trim(pattern, "/"), "/", 3)
			area := words[0]
			if area == "api" {
				area += "/" + words[1]
			}
			if !slices.Contains(p.areas, area) {
				t.Errorf("%s is served by a part that is asked for %v only", route, p.areas)
			}
		}
	}
	for _, route := range w.server.projectRoutes() {
		if strings.Contains(route, " /api/") && !strings.HasSuffix(route, "{$}") && described[route] == "" {
			t.Errorf("/api/spec.yaml says nothing about %s", route)
		}
	}
	all := w.server.projectRoutes()
	for route := range described {
		if route != "GET /proxy/{path...}" && !slices.Contains(all, route) {
			t.Errorf("/api/spec.yaml describes %s, which is not there", route)
		}
	}
}

type reply struct {
	status int
	code   string
	body   string
	header http.Header
}

func (w *town) ask(v *visitor, method, path, body string) reply {
	w.t.Helper()
	ctx, cancel := context.WithCancel(w.t.Context())
	defer cancel()
	kind := ""
	if body != "" {
		kind = "application/json"
		if strings.HasPrefix(body, "form:") {
			kind, body = "application/x-www-form-urlencoded", strings.TrimPrefix(body, "form:")
		}
	}
	res := v.doWith(ctx, method, path, kind, []byte(body), cancel)
	b, _ := io.ReadAll(res.Body)
	var p struct{ Code, Reason string }
	json.Unmarshal(b, &p)
	return reply{res.StatusCode, p.Code, string(b), res.Header}
}

// fill puts what a line's path stands for into it.
func (w *town) fill(path, project string) string {
	if strings.Contains(path, "{o}") {
		o := w.hub.Operations.Begin(context.Background(), project, "test", func(ctx context.Context, _ *hub.Operation) (any, error) { return nil, nil })
		s, _ := o.State()
		o.Wait(w.t.Context())
		path = strings.ReplaceAll(path, "{o}", s.ID)
	}
	return strings.ReplaceAll(path, "{p}", project)
}

// TestWhoMayUseEachRoute: all routes x {nobody, stranger, owner, administrator}
// x {cookie, token}.
func TestWhoMayUseEachRoute(t *testing.T) {
	w := newTown(t)
	kinds := []string{"cookie", "token"}
	nobody := w.visitor("192.0.2.1")
	people := map[string]hub.User{"stranger": w.stranger, "owner": w.owner, "administrator": w.admin}
	for _, u := range people {
		if err := w.hub.SetPassword(t.Context(), u, "the-password"); err != nil {
			t.Fatal(err)
		}
	}
	for _, route := range slices.Sorted(maps.Keys(table)) {
		l := table[route]
		method, path, _ := strings.Cut(route, " ")
		if l.path != "" {
			path = l.path
		}
		methods := []string{method}
		switch method {
		case "*":
			methods = []string{"GET", "POST", "PUT", "PATCH", "DELETE"}
		case "echo_route_any":
			methods = []string{"GET"}
		}
		for _, method := range methods {
			w.nobodyIsRefused(t, nobody, route, method, path, l)
			for _, how := range kinds {
				for who, u := range people {
					w.line(t, w.by(u, how), route, method, path, who, how, l)
				}
			}
		}
	}
}

func (w *town) nobodyIsRefused(t *testing.T, v *visitor, route, method, path string, l line) {
	t.Helper()
	project := w.project()
	got := w.ask(v, method, w.fill(path, project), l.body)
	switch {
	case l.nobody != "":
		wanted(t, route, "nobody", "", got, l.nobody)
	case l.who == ofAll:
		wanted(t, route, "nobody", "", got, l.want)
	case got.status != 401:
		t.Errorf("%s, nobody: %d %s", route, got.status, got.body)
	}
	invented := w.ask(v, method, w.fill(path, "invented"), l.body)
	if l.who == ofProject && (invented.status != got.status || invented.body != got.body) {
		t.Errorf("%s, nobody: a project that there is not is told from one that there is: %q, %q", route, invented.body, got.body)
	}
}

func (w *town) line(t *testing.T, v *visitor, route, method, path, who, how string, l line) {
	t.Helper()
	project := w.project()
	foreign := w.fill(path, project)
	if how == "cookie" && !safeMethod(method) { // not without the secret that foreign pages do not know
		kept := v.cookies[xsrfCookie]
		v.header = map[string]string{xsrfHeader: "guessed"}
		if got := w.ask(v, method, foreign, l.body); got.status != 403 && l.who != ofKey && route != "POST /signin" {
			t.Errorf("%s, %s by cookie without XSRF: %d %s", route, who, got.status, got.body)
		}
		v.header = map[string]string{"Origin": "http://evil.example"}
		if got := w.ask(v, method, foreign, l.body); got.status != 403 && l.who != ofKey && route != "POST /signin" {
			t.Errorf("%s, %s by cookie from a foreign page: %d %s", route, who, got.status, got.body)
		}
		v.header, v.cookies[xsrfCookie] = nil, kept
	}
	got := w.ask(v, method, foreign, l.body)
	switch {
	case l.who == ofProject && who == "stranger":
		invented := w.ask(v, method, w.fill(path, "invented"), l.body)
		if got.status != 404 || invented.status != 404 || got.body != invented.body {
			t.Errorf("%s, a stranger by %s: %d %s; of a project that there is not: %d %s", route, how, got.status, got.body, invented.status, invented.body)
		}
		if a, b := headers(got.header), headers(invented.header); a != b {
			t.Errorf("%s, a stranger by %s: headers %s; of a project that there is not: %s", route, how, a, b)
		}
	case l.who == ofAdmin && who != "administrator":
		wanted(t, route, who, how, got, "403 not_administrator")
	case l.who == ofAdminPage && who != "administrator":
		wanted(t, route, who, how, got, "404 not_found")
	case method != "GET" && l.who == ofProject && strings.HasPrefix(route, "* ") && how == "cookie":
		wanted(t, route, who, how, got, "403 apps_origin")
	case who == "administrator" && l.admin != "":
		wanted(t, route, who, how, got, l.admin)
	case how == "cookie" && l.cookie != "":
		wanted(t, route, who, how, got, l.cookie)
	default:
		wanted(t, route, who, how, got, l.want)
	}
	if got.code == "project_not_found" && who != "stranger" {
		t.Errorf("%s, %s by %s: the project is not found", route, who, how)
	}
	for _, secret := range []string{v.token, v.cookies[loginCookie]} {
		if secret != "" && strings.Contains(got.body, secret) {
			t.Errorf("%s, %s by %s: the answer holds the secret", route, who, how)
		}
	}
}

func headers(h http.Header) string {
	h = h.Clone()
	h.Del("Set-Cookie")
	h.Del("Date")
	b, _ := json.Marshal(h)
	return string(b)
}

func wanted(t *testing.T, route, who, how string, got reply, want string) {
	t.Helper()
	status, code, _ := strings.Cut(want, " ")
	if fmt.Sprint(got.status) != status || code != "" && code != got.code {
		t.Errorf("%s, %s by %s: %d %s, want %s", route, who, how, got.status, strings.TrimSpace(got.body[:min(len(got.body), 300)]), want)
	}
}
