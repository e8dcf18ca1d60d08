// Package lab serves JupyterLab itself and what it asks for beside contents and kernels: the page, its
// scripts and themes, and a person's settings and workspaces.
//
// It does not know who the person is, how they logged in or where the built lab comes from: it is
// given a file system with the build, and per request a directory to keep things in.
package lab

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"

	"cellar/internal/fault"
)

// Config is what a lab is made of.
type Config struct {
	// Build is the built lab: static/, themes/, settings.json, manifest.json, licenses.json.
	// Any file may be there compressed only, as NAME.br.
	Build fs.FS
	// Store opens the directory of one person in one project; it is the caller's to close, later.
	// Only the hub writes there.
	Store func(*http.Request) (*os.Root, error)
	// Page answers page config to lay over ours, nil for none. It is embedded in the page for anybody
	// who may see it.
	Page func(*http.Request) (map[string]any, error)
	// Extensions are folders of prebuilt extensions; the first counts most. They run in people's
	// browsers with all that the people may do: what a kernel can write must not be among them.
	Extensions []Folder
	// Operator is the folder of page_config.json, nil for none.
	Operator fs.FS
	Log      *slog.Logger
	// Fail answers an error. A code of too_large is for a 413, everything else goes by class.
	Fail func(http.ResponseWriter, *http.Request, error)
}

// lab answers the requests.
type lab struct {
	Config
	manifest   manifest
	settings   schemas
	extensions extensions
	licenses   bundles
	writing    sync.Mutex // orders read-change-write of the small files of Store
}

// manifest lists what the page loads, relative to static/.
type manifest struct {
	Scripts []string `json:"scripts"`
	Preload []string `json:"preload"`
	Version string   `json:"version"`
}

// New reads the build and answers a handler for requests whose URL starts with /lab, /doc, /static/lab,
// /api/config or is /favicon.ico. What stands before those must
// be stripped from the URL already; it is found again for links.
func New(c Config) (http.Handler, error) {
	l := &lab{Config: c}
	if l.Page == nil {
		l.Page = func(*http.Request) (map[string]any, error) { return nil, nil }
	}
	data, err := readBuilt(c.Build, "manifest.json")
	if err == nil {
		err = json.Unmarshal(data, &l.manifest)
	}
	if err != nil {
		return nil, fmt.Errorf("the lab's manifest.json: %w", err)
	}
	if l.settings, err = readSchemas(c.Build); err != nil {
		return nil, fmt.Errorf("the lab's settings.json: %w", err)
	}
	if l.licenses, err = readLicenses(c.Build); err != nil {
		return nil, fmt.Errorf("the lab's licenses.json: %w", err)
	}
	if l.Log == nil {
		l.Log = slog.New(slog.DiscardHandler)
	}
	var added []*schema
	l.extensions, added = readExtensions(c.Extensions, l.settings, l.Log)
	if err := l.settings.add(added); err != nil {
		return nil, err
	}
	return http.HandlerFunc(l.serve), nil
}

// route is one address, or all below it.
type route struct {
	prefix  string
	methods string
	serve   func(w http.ResponseWriter, r *http.Request, rest string) error
}

// routes are tried in order: the first whose prefix fits on a slash answers.
func (l *lab) routes() []route {
	const read = "GET HEAD"
	return []route{
		{"/static/lab", read, l.static},
		{"/lab/api/settings", "GET HEAD PUT", l.settingsRoute},
		{"/lab/api/workspaces", "GET HEAD PUT DELETE", l.workspacesRoute},
		{"/lab/api/themes", read, l.theme},
		{"/lab/api/translations", read, l.translations},
		{"/lab/api/listings", read, l.listings},
		{"/lab/api/licenses", read, l.licensesRoute},
		{"/lab/api/plugins", "GET HEAD POST", l.pluginsRoute},
		{"/lab/api", read, nothing},
		{"/lab/extensions", read, l.extensionFile},
		{"/lab", read, l.labPage},
		{"/doc", read, l.docPage},
		{"/api/config", "GET HEAD PUT PATCH", l.configRoute},
		{"/favicon.ico", read, favicon},
	}
}

// Routes lists what the handler of New answers: method and address, {path...}
// for all below.
func Routes() (out []string) {
	for _, r := range (&lab{}).routes() {
		for method := range strings.FieldsSeq(r.methods) {
			out = append(out, method+" "+r.prefix+"/{path...}")
		}
	}
	return out
}

func (l *lab) serve(w http.ResponseWriter, r *http.Request) {
	for _, route := range l.routes() {
		rest, ok := strings.CutPrefix(r.URL.EscapedPath(), route.prefix)
		if !ok || rest != "" && rest[0] != '/' {
			continue
		}
		if !strings.Contains(" "+route.methods+" ", " "+r.Method+" ") {
			w.Header().Set("Allow", strings.ReplaceAll(route.methods, " ", ", "))
			http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
			return
		}
		rest, err := url.PathUnescape(strings.Trim(rest, "/"))
		if err == nil {
			err = route.serve(w, r, rest)
		} else {
			err = fault.Wrap(fault.Invalid, "bad_path", "The address is not well-formed.", err)
		}
		if err != nil {
			l.Fail(w, r, err)
		}
		return
	}
	l.Fail(w, r, errNothing)
}

var errNothing = fault.New(fault.NotFound, "no_such_route", "There is nothing at this address.")

func nothing(http.ResponseWriter, *http.Request, string) error { return errNothing }

// base is what stands before /lab in the address the browser asked for, with a slash at its end.
func base(r *http.Request) string {
	asked, _, _ := strings.Cut(r.RequestURI, "?")
	prefix, ok := strings.CutSuffix(asked, r.URL.EscapedPath())
	if !ok || !strings.HasPrefix(prefix, "/") || strings.HasPrefix(prefix, "//") {
		return "/"
	}
	return prefix + "/"
}

func answer(w http.ResponseWriter, status int, v any) error {
	out, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return writeJSON(w, status, out)
}

func writeJSON(w http.ResponseWriter, status int, out []byte) error {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(out) // a client that went away needs no answer
	return nil
}
