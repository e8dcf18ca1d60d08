// Package server is the hub as the browser sees it: routes, sign-in, and the one
// place where errors become statuses.
package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/labstack/echo/v5"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"cellar/internal/fault"
	"cellar/server/api"
	"cellar/server/hub"
	"cellar/server/jupyter/contents"
	"cellar/server/jupyter/events"
	"cellar/server/jupyter/lab"
	"cellar/server/jupyter/lsp"
	"cellar/web/console"
)

// Options of a Server.
type Options struct {
	Hub *hub.Hub
	Lab fs.FS // the built lab; nil: none, its pages say so
	// LabExtensions are folders of prebuilt extensions, LabOperator that of page_config.json.
	LabExtensions []lab.Folder
	LabOperator   fs.FS
	Base          string
	Proxies       []netip.Prefix // whose X-Forwarded-* headers are believed
	// Hosts are names by which browsers reach the hub; empty: not known. Loopback
	// says that it listens on this machine's loopback alone.
	Hosts    []string
	Loopback bool
	First    hub.User // the administrator of the first start
	Start    string   // signs First in by ?token= as long as there is no password
	Version  string
	Seed     func(dir string) error
	Doctor   func(context.Context) []api.Finding
	Ready    func(context.Context) error
	Log      *slog.Logger
	Trees    *Trees
	Apps     *Apps // nil: browsers are shown no applications
}

// Server answers requests.
type Server struct {
	Options
	hub     *hub.Hub
	log     *slog.Logger
	first   hub.User
	start   string
	console *console.Console
	lab     http.Handler
	areas   map[string]http.Handler // the parts of a project's Jupyter server
	rest    http.Handler            // what belongs to no part
	metrics *metrics
	tickets tickets
	sockets sockets
	reads   readings
	handler http.Handler
}

// ServeHTTP implements http.Handler: the hub's own origin.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.handler.ServeHTTP(w, r) }

type projectKey struct{}

// opened is the project a request is about.
type opened struct {
	hub.Project
	base string
}

// New returns the whole server.
func New(o Options) (*Server, error) {
	if o.Trees.Hub == nil {
		o.Trees.Hub = o.Hub
	}
	s := &Server{Options: o, hub: o.Hub, log: o.Log, first: o.First, start: o.Start}
	var err error
	if s.console, err = console.New(); err != nil {
		return nil, err
	}
	if o.Lab != nil {
		if s.lab, err = lab.New(lab.Config{
			Build: o.Lab, Store: s.labStore, Page: s.labPage, Fail: s.Fail, Log: o.Log, Extensions: o.LabExtensions, Operator: o.LabOperator,
		}); err != nil {
			return nil, err
		}
	}
	s.metrics = newMetrics(o.Hub)
	s.areas, s.rest = s.byArea(), s.status()
	s.handler = s.wrap(s.routes())
	return s, nil
}

func (s *Server) routes() *echo.Echo {
	e := echo.New()
	e.HTTPErrorHandler = func(c *echo.Context, err error) { s.Fail(c.Response(), c.Request(), s.fromEcho(err)) }
	at := func(method, path string, h http.HandlerFunc) { e.Add(method, path, echo.WrapHandler(h)) }
	at("GET", "/healthz", func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("ok\n")) })
	at("GET", "/readyz", s.readyz)
	at("GET", "/metrics", s.metricsPage(promhttp.HandlerFor(s.metrics.registry, promhttp.HandlerOpts{})))
	at("GET", "/", s.home)
	at("GET", "/signin", s.signInPage)
	at("POST", "/signin", s.signIn)
	at("POST", "/signout", s.signOut)
	at("GET", "/welcome", s.person(func(w http.ResponseWriter, r *http.Request, p console.Page) { s.console.FirstPassword(w, r, p, "") }))
	at("POST", "/account/password", s.ownPassword)
	at("GET", "/account", s.person(s.console.Account))
	at("GET", "/sessions", s.person(s.console.Sessions))
	at("GET", "/people", s.admin(s.console.People))
	at("GET", "/usage", s.person(s.console.Usage))
	at("GET", "/machine", s.admin(s.console.Machine))
	at("GET", "/p/:project", s.projectPage)
	at("GET", "/s/:secret", s.shared(s.sharedPage))
	at("GET", "/s/:secret/notebook", s.shared(s.sharedNotebook))
	at("GET", "/shared/:share", s.shared(s.sharedPage))
	at("GET", "/shared/:share/notebook", s.shared(s.sharedNotebook))
	at("GET", "/p/:project/nodes/:node", s.nodePage)
	e.Any("/static/console/*", echo.WrapHandler(s.console.Static()))
	if s.lab != nil {
		e.Any("/static/lab/*", echo.WrapHandler(s.lab))
	}
	_, h := s.api()
	hubAPI := echo.WrapHandler(h)
	e.Any("/api/v1", hubAPI)
	e.Any("/api/v1/*", hubAPI)
	e.Any("/projects/:project", echo.WrapHandler(http.HandlerFunc(s.project)))
	e.Any("/projects/:project/*", echo.WrapHandler(http.HandlerFunc(s.project)))
	at("POST", "/nodes/:id/execute", s.execute)
	at("POST", "/aliases/:id/execute", s.execute)
	at("GET", "/v2", s.inferenceServer)
	at("GET", "/v2/health/live", s.inferenceLive)
	at("GET", "/v2/health/ready", s.inferenceReady)
	for _, model := range []string{"/v2/models/:model", "/v2/models/:model/versions/:version"} {
		at("GET", model, s.inferenceModel)
		at("GET", model+"/ready", s.inferenceModelReady)
		at("POST", model+"/infer", s.infer)
	}
	return e
}

func (s *Server) fromEcho(err error) error {
	var he *echo.HTTPError
	if errors.As(err, &he) || errors.Is(err, echo.ErrNotFound) || errors.Is(err, echo.ErrMethodNotAllowed) {
		return fault.New(fault.NotFound, "not_found", "There is nothing at this address.")
	}
	return err
}

// api is the hub's own API: its description, and what answers.
func (s *Server) api() (huma.API, http.Handler) {
	mux := http.NewServeMux()
	config := huma.DefaultConfig("Cellar", s.Version)
	config.Servers = []*huma.Server{{URL: s.Base + "/api/v1"}}
	config.DocsPath = ""
	config.CreateHooks = nil // no $schema links in every answer
	config.Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		"token":  {Type: "http", Scheme: "bearer"},
		"cookie": {Type: "apiKey", In: "cookie", Name: loginCookie},
	}
	a := humago.NewWithPrefix(mux, "/api/v1", config)
	huma.NewErrorWithContext = func(ctx huma.Context, status int, msg string, errs ...error) huma.StatusError {
		return s.humaError(status, msg, errs)
	}
	huma.NewError = func(status int, msg string, errs ...error) huma.StatusError { return s.humaError(status, msg, errs) }
	api.Register(a, api.Deps{
		Hub: s.hub, Who: Who, By: by, Seed: s.Seed, Base: s.Base, Doctor: s.Doctor, Gone: s.dropProject,
		NodeGone:  func(id string) { s.metrics.nodes.forget("node", id) },
		AliasGone: func(id string) { s.metrics.aliases.forget("alias", id) },
		Fail: func(ctx context.Context, err error) error {
			r, _ := http.NewRequestWithContext(ctx, http.MethodGet, "/api/v1", nil)
			return s.problemOf(r, err)
		},
	})
	return a, mux
}

// dropProject lets go of what is held for a deleted project.
func (s *Server) dropProject(id string) {
	s.Trees.Drop(id)
	s.metrics.nodes.forget("project", id)
	s.metrics.aliases.forget("project", id)
}

// humaError gives huma's own findings (a field missing, not JSON) our form.
func (s *Server) humaError(status int, msg string, errs []error) huma.StatusError {
	p := &problem{Type: "about:blank", Status: status, Title: http.StatusText(status), Detail: msg, Code: "invalid"}
	var details []string
	for _, e := range errs {
		var ours *problem
		if errors.As(e, &ours) {
			return ours
		}
		if e != nil {
			details = append(details, e.Error())
		}
	}
	if len(details) > 0 {
		p.Detail = msg + ": " + strings.Join(details, "; ")
	}
	switch {
	case status == http.StatusUnprocessableEntity: // their word for a body that does not fit
		p.Status, p.Title = http.StatusBadRequest, http.StatusText(http.StatusBadRequest)
	case status == http.StatusRequestEntityTooLarge:
		p.Code = "too_large"
	case status == http.StatusNotFound:
		p.Code = "not_found"
	case status >= 500:
		p.Code = "internal"
	}
	return p
}

func (s *Server) readyz(w http.ResponseWriter, r *http.Request) {
	if err := s.Ready(r.Context()); err != nil {
		s.Fail(w, r, fault.Wrap(fault.Unavailable, "not_ready", "No kernel can be started now: "+fault.Sentence(err), err))
		return
	}
	w.Write([]byte("ready\n"))
}

// metricsPage is for administrators, or for whoever sits on the machine itself.
func (s *Server) metricsPage(h http.Handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		u, signedIn := Who(r.Context())
		if (signedIn && u.Admin) || (!signedIn && s.local(r)) {
			h.ServeHTTP(w, r)
			return
		}
		if signedIn {
			s.Fail(w, r, fault.New(fault.Denied, "not_administrator", "Only an administrator may see this."))
			return
		}
		s.Fail(w, r, errNotSignedIn)
	}
}

// local reports whether a request comes from this machine, not through a proxy.
func (s *Server) local(r *http.Request) bool {
	ap, err := netip.ParseAddrPort(r.RemoteAddr)
	return err == nil && ap.Addr().Unmap().IsLoopback() && r.Header.Get("X-Forwarded-For") == ""
}

func (s *Server) trusted(r *http.Request) bool {
	ap, err := netip.ParseAddrPort(r.RemoteAddr)
	return err == nil && s.isProxy(ap.Addr().Unmap())
}

// startOpen reports whether the sign-in link of the first start still works.
func (s *Server) startOpen(ctx context.Context) bool {
	u, err := s.hub.Store.UserByID(ctx, s.first.ID)
	return err == nil && u.PasswordHash == ""
}

// project serves the Jupyter server of one project.
func (s *Server) project(w http.ResponseWriter, r *http.Request) {
	id, rest, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/projects/"), "/")
	u, signedIn := Who(r.Context())
	if !signedIn {
		s.askToSignIn(w, r)
		return
	}
	p, err := s.hub.MayOpen(r.Context(), u, id)
	if err != nil {
		s.Fail(w, r, err)
		return
	}
	o := &opened{p, s.Base + "/projects/" + url.PathEscape(p.ID) + "/"}
	if t := r.URL.Query().Get("token"); t != "" && r.Method == http.MethodGet && (rest == "" || strings.HasPrefix(rest, "lab") || s.appLink(r, rest) || showsContent(r, rest)) {
		s.signInByToken(w, r, u) // the token leaves the address: it must not end up in logs, referrers and the hands of a page
		return
	}
	if rest == "" && safeMethod(r.Method) {
		http.Redirect(w, r, o.base+"lab", http.StatusFound)
		return
	}
	w.Header().Del("Content-Security-Policy")
	if strings.HasPrefix(rest, "api") && !wantsPage(r) {
		w.Header().Set("Content-Security-Policy", dataPolicy)
	}
	if r.Header.Get("Upgrade") != "" {
		leave, err := s.sockets.enter(u.ID)
		if err != nil {
			s.Fail(w, r, err)
			return
		}
		defer leave()
	}
	r = r.WithContext(context.WithValue(r.Context(), projectKey{}, o))
	s.jupyter(rest).ServeHTTP(w, strip(r, "/projects/"+id))
}

// appLink reports whether a browser opens an application by a link with a token.
// A token that did not sign it in is the application's own.
func (s *Server) appLink(r *http.Request, rest string) bool {
	id, _ := r.Context().Value(whoKey{}).(who)
	return strings.HasPrefix(rest, "proxy/") && id.how == byToken && r.Header.Get("Authorization") == "" && r.Header.Get("Upgrade") == ""
}

// showsContent reports whether a browser is about to show something that a
// project holds, as a page: its scripts would read the token in the address.
func showsContent(r *http.Request, rest string) bool {
	area, _, _ := strings.Cut(rest, "/")
	if r.Header.Get("Authorization") != "" || !slices.Contains([]string{"files", "view", "nbconvert", "kernelspecs"}, area) {
		return false
	}
	switch r.Header.Get("Sec-Fetch-Dest") {
	case "document", "iframe", "frame", "embed", "object":
		return true
	case "": // an old browser, or one that does not trust plain HTTP
		return wantsPage(r)
	}
	return false
}

// strip takes the project's prefix off a request's path.
func strip(r *http.Request, prefix string) *http.Request {
	r2 := new(http.Request)
	*r2 = *r
	u := *r.URL
	u.Path = strings.TrimPrefix(r.URL.Path, prefix)
	if u.RawPath != "" {
		if i := strings.Index(strings.TrimPrefix(r.URL.RawPath, "/projects/"), "/"); i >= 0 {
			u.RawPath = r.URL.RawPath[len("/projects/")+i:]
		}
	}
	r2.URL = &u
	return r2
}

func projectOf(r *http.Request) *opened { return r.Context().Value(projectKey{}).(*opened) }

// socketOrigin reports whether a page may open a websocket: with a token any, as
// on every Jupyter server; with a cookie only our own.
func (s *Server) socketOrigin(r *http.Request) bool {
	id, _ := r.Context().Value(whoKey{}).(who)
	if id.how == byToken {
		return true
	}
	origin := r.Header.Get("Origin")
	if origin == "" {
		return true
	}
	return s.ours(r, origin)
}

func (s *Server) tree(r *http.Request) (*contents.Tree, error) {
	return s.Trees.Open(projectOf(r).Project)
}

func (s *Server) overlay(r *http.Request) contents.Overlay { return s.hub.Overlay(projectOf(r).ID) }

// notebook reads a notebook as a client that opens it would see it.
func (s *Server) notebook(r *http.Request, path string) ([]byte, error) {
	tree, err := s.tree(r)
	if err != nil {
		return nil, err
	}
	m, err := tree.Get(path, contents.Want{Type: contents.Notebook, Content: true, Overlay: s.overlay(r)})
	if err != nil {
		return nil, err
	}
	return m.Content, nil
}

// tellContents makes a server event of what was done to a file, and has links
// follow it.
func (s *Server) tellContents(r *http.Request, a contents.Action) {
	data := map[string]any{"action": a.Name, "path": a.Path}
	if a.From != "" {
		data["source_path"] = a.From
	}
	switch a.Name {
	case "rename":
		s.hub.NotebookMoved(r.Context(), projectOf(r).Project, a.From, a.Path)
	case "delete":
		s.hub.NotebookDeleted(r.Context(), projectOf(r).Project, a.Path)
	}
	events.Emit(s.hub, projectOf(r).ID, events.Emitted{Schema: events.ContentsService, Data: data})
}

func (s *Server) labStore(r *http.Request) (*os.Root, error) {
	u, _ := Who(r.Context())
	dir := filepath.Join(s.hub.LabDir(projectOf(r).ID), u.ID)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	return os.OpenRoot(dir)
}

func (s *Server) labPage(r *http.Request) (map[string]any, error) {
	o := projectOf(r)
	return map[string]any{
		"appName": "Cellar", "fullStaticUrl": s.Base + "/static/lab", "token": "", "terminalsAvailable": true,
		"rootUri": lsp.Root, "virtualDocumentsUri": lsp.Root,
		"cellarTrust": fmt.Sprint(s.trust(r).Own()), "cellarProject": o.ID, "cellarApi": s.Base + "/api/v1/", "cellarHome": s.Base + "/",
		"disabledExtensions": []string{
			"@jupyterlab/apputils-extension:announcements", "@jupyterlab/hub-extension", "@jupyterlab/application-extension:logo",
		},
	}, nil
}
