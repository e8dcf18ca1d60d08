package server

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"cellar/server/jupyter/contents"
	"cellar/server/jupyter/events"
	"cellar/server/jupyter/lsp"
)

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
