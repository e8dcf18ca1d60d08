// Package server is the hub as the browser sees it: routes, sign-in, and the one
// place where errors become statuses.
package server

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/labstack/echo/v5"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"cellar/internal/fault"
	"cellar/server/api"
	"cellar/server/hub"
	"cellar/server/jupyter/lab"
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
