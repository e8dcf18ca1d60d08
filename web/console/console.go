// Package console is the hub's own pages: projects, one project, all sessions, the account, the people and
// the machine, besides the pages of the door (signing in, a first password, an error).
//
// The server sends each page's shell; the page's ES module fills it through the hub's REST
// API. The package knows no hub, no store and no session: who asks and which project is meant
// are handed in, already checked.
package console

import (
	"bytes"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"time"
)

// Policy is the Content-Security-Policy under which every page works: no inline script, style
// or handler, nothing from elsewhere.
const Policy = "default-src 'self'; img-src 'self' data:; frame-ancestors 'self'; base-uri 'none'; form-action 'self'"

// Person is who looks at the page.
type Person struct {
	Name        string
	Admin       bool
	HasPassword bool
}

// Page is what every page needs to know.
type Page struct {
	Base    string  // path prefix without a slash at its end: "" or "/cellar"
	Person  *Person // nil before signing in
	XSRF    string  // goes into forms; the modules prefer the cookie _xsrf
	Version string  // of the program, for the foot of the page
}

// ProjectInfo names the project of a project's page.
type ProjectInfo struct{ ID, Name string }

// NodeInfo names the node of a node's page.
type NodeInfo struct{ ID, Name string }

// SharedInfo is what the page of a shared notebook tells.
type SharedInfo struct {
	Name     string // of the notebook's file
	Label    string // what its owner calls it
	Owner    string
	At       time.Time // of when it is; zero: of now
	Copies   string    // what a copy has: notebook, files, state
	Secret   string    // of its link, or
	ID       string    // its own
	Frame    string    // address of the notebook
	Sandbox  string    // of the frame
	SignIn   string    // address that leads back here
	SignedIn bool
}

// When is the moment that is shown, in words.
func (s SharedInfo) When() string {
	if s.At.IsZero() {
		return "as it is now"
	}
	return "as it was on " + s.At.UTC().Format("2 January 2006, 15:04 UTC")
}

// Console renders the pages and serves what belongs to them.
type Console struct {
	pages  map[string]*template.Template
	assets *assets
}

// pageNames lists the templates beside layout.html; each defines "content".
var pageNames = []string{"home", "project", "node", "sessions", "account", "people", "machine", "usage", "signin", "firstpassword", "error", "shared", "notshared"}

// New parses the templates and hashes the static files.
func New() (*Console, error) {
	files, err := readAssets(staticFiles, "static")
	if err != nil {
		return nil, fmt.Errorf("console: %w", err)
	}
	layout, err := template.New("layout.html").Option("missingkey=error").ParseFS(templateFiles, "templates/layout.html")
	if err != nil {
		return nil, fmt.Errorf("console: %w", err)
	}
	c := &Console{pages: map[string]*template.Template{}, assets: files}
	for _, name := range pageNames {
		t, err := layout.Clone()
		if err == nil {
			t, err = t.ParseFS(templateFiles, "templates/"+name+".html")
		}
		if err != nil {
			return nil, fmt.Errorf("console: page %s: %w", name, err)
		}
		c.pages[name] = t
	}
	return c, nil
}

// view is what a template sees.
type view struct {
	Page
	Title   string
	Section string // of the navigation: projects, sessions, people, machine, account
	Module  string // the page's ES module, without .js; empty for none
	Project ProjectInfo
	Node    NodeInfo
	Shared  SharedInfo
	Bare    bool // without navigation and forms
	Next    string
	Message string
	Detail  string
	ID      string // under which a failure is in the log
	Status  int
	version string // of the static files
}

// Asset is the address of a static file; it changes when any of them changes.
func (v view) Asset(name string) string { return v.Base + staticPath + v.version + "/" + name }

// Link is the address of a page of the hub.
func (v view) Link(path string) string { return v.Base + path }

// LabURL opens the project in JupyterLab.
func (v view) LabURL() string { return v.Base + "/projects/" + url.PathEscape(v.Project.ID) + "/lab" }

// ProjectURL is the project's page.
func (v view) ProjectURL() string { return v.Base + "/p/" + url.PathEscape(v.Project.ID) }

// Plain reports whether the page stands alone, without the navigation.
func (v view) Plain() bool { return v.Person == nil }

// render writes a page. It writes nothing before the whole page is made.
func (c *Console) render(w http.ResponseWriter, status int, page string, v view) {
	v.version = c.assets.version
	var b bytes.Buffer
	if err := c.pages[page].ExecuteTemplate(&b, "layout.html", v); err != nil {
		http.Error(w, "The page cannot be shown: "+err.Error(), http.StatusInternalServerError)
		return
	}
	h := w.Header()
	if h.Get("Content-Security-Policy") == "" {
		h.Set("Content-Security-Policy", Policy)
	}
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	if h.Get("Referrer-Policy") == "" {
		h.Set("Referrer-Policy", "same-origin")
	}
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes()) // whoever asked may be gone
}
