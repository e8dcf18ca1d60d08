package server

import (
	"maps"
	"net/http"
	"slices"
	"strings"

	"cellar/internal/fault"
	"cellar/server/hub"
	"cellar/server/jupyter/contents"
	"cellar/server/jupyter/events"
	"cellar/server/jupyter/kernels"
	"cellar/server/jupyter/lab"
	"cellar/server/jupyter/lsp"
	"cellar/server/jupyter/nbconvert"
	"cellar/server/jupyter/terminals"
)

// part is one part of a project's Jupyter server: what it answers, and by which
// first words of a path it is known.
type part struct {
	http.Handler
	areas  []string
	routes []string // as patterns of http.ServeMux, the project's prefix taken off
}

// parts are all parts but the last resort, status. A test holds each of their
// routes to a line in a table of who may use it.
func (s *Server) parts() []part {
	project := func(r *http.Request) hub.Project { return projectOf(r).Project }
	return []part{
		{s.withinQuota(contents.Handler(s.tree, s.overlay, s.Fail, s.tellContents, s.trust)), []string{"api/contents", "files", "view", "directories"}, contents.Routes()},
		{kernels.Handler(kernels.Config{
			Hub: s.hub, Fail: s.Fail, Origin: s.socketOrigin, Project: project, Base: func(r *http.Request) string { return projectOf(r).base },
		}), []string{"api/kernels", "api/sessions", "api/kernelspecs", "kernelspecs"}, kernels.Routes()},
		{terminals.Handler(terminals.Config{Hub: s.hub, Fail: s.Fail, Origin: s.socketOrigin, Project: project}), []string{"api/terminals", "terminals"}, terminals.Routes()},
		{lsp.Handler(lsp.Config{Hub: s.hub, Fail: s.Fail, Origin: s.socketOrigin, Project: project}), []string{"lsp"}, lsp.Routes()},
		{http.HandlerFunc(s.application), []string{"proxy"}, []string{"/proxy/{path...}"}},
		{events.Handler(events.Config{Hub: s.hub, Fail: s.Fail, Origin: s.socketOrigin, Project: project}), []string{"api/events"}, events.Routes()},
		{nbconvert.Handler(nbconvert.Config{
			Fail: s.Fail, Notebook: s.notebook,
			Convert: func(r *http.Request, format, dir, name string, notebook []byte) (hub.Conversion, error) {
				return s.hub.Convert(r.Context(), projectOf(r).Project, format, dir, name, notebook)
			},
		}), []string{"api/nbconvert", "nbconvert"}, nbconvert.Routes()},
		{s.labOrNone(), []string{"lab", "doc", "static", "api/config", "favicon.ico"}, lab.Routes()},
	}
}

// labOrNone is the lab, or what says that there is none.
func (s *Server) labOrNone() http.Handler {
	if s.lab != nil {
		return s.lab
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.Fail(w, r, fault.New(fault.Unsupported, "no_lab", "This server was built without JupyterLab; its API works."))
	})
}

// byArea finds the part for an area; what has none is for status.
func (s *Server) byArea() map[string]http.Handler {
	out := map[string]http.Handler{}
	for _, p := range s.parts() {
		for _, area := range p.areas {
			out[area] = p.Handler
		}
	}
	return out
}

// jupyter picks the part of the Jupyter server that a path belongs to.
func (s *Server) jupyter(rest string) http.Handler {
	words := strings.SplitN(rest, "/", 3)
	area := words[0]
	if area == "api" && len(words) > 1 {
		area += "/" + words[1]
	}
	if h, ok := s.areas[area]; ok {
		return h
	}
	return s.rest
}

// status answers the small routes of a Jupyter server that belong to no part.
func (s *Server) status() http.Handler {
	m := http.NewServeMux()
	for pattern, f := range s.statusRoutes() {
		m.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			if err := f(w, r); err != nil {
				s.Fail(w, r, err)
			}
		})
	}
	m.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { s.Fail(w, r, errNothingHere) })
	return m
}

var errNothingHere = fault.New(fault.NotFound, "not_found", "There is nothing at this address.")

// projectRoutes lists all that a project's Jupyter server answers.
func (s *Server) projectRoutes() []string {
	out := slices.Collect(maps.Keys(s.statusRoutes()))
	for _, p := range s.parts() {
		out = append(out, p.routes...)
	}
	slices.Sort(out)
	return out
}
