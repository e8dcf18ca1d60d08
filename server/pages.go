package server

import (
	"net/http"
	"net/url"
	"strings"

	"cellar/internal/fault"
	"cellar/server/hub"
	"cellar/web/console"
)

// page is what every console page needs to know of a request.
func (s *Server) page(r *http.Request) console.Page {
	p := console.Page{Base: s.Base, XSRF: s.cookieSecret(r), Version: s.Version}
	if u, ok := Who(r.Context()); ok {
		p.Person = &console.Person{Name: u.Name, Admin: u.Admin, HasPassword: u.PasswordHash != ""}
	}
	return p
}

// askToSignIn sends a browser to the sign-in page and tells all others.
func (s *Server) askToSignIn(w http.ResponseWriter, r *http.Request) {
	if wantsPage(r) {
		http.Redirect(w, r, s.Base+"/signin?next="+url.QueryEscape(s.Base+r.URL.RequestURI()), http.StatusFound)
		return
	}
	s.Fail(w, r, errNotSignedIn)
}

func (s *Server) person(h func(http.ResponseWriter, *http.Request, console.Page)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if _, ok := Who(r.Context()); !ok {
			s.askToSignIn(w, r)
			return
		}
		h(w, r, s.page(r))
	}
}

func (s *Server) admin(h func(http.ResponseWriter, *http.Request, console.Page)) http.HandlerFunc {
	return s.person(func(w http.ResponseWriter, r *http.Request, p console.Page) {
		if !p.Person.Admin {
			s.Fail(w, r, fault.New(fault.NotFound, "not_found", "There is nothing at this address."))
			return
		}
		h(w, r, p)
	})
}

// home lists the projects. Who comes with a token in the address is signed in
// by it, once, and the token leaves the address.
func (s *Server) home(w http.ResponseWriter, r *http.Request) {
	u, ok := Who(r.Context())
	if ok && r.URL.Query().Get("token") != "" {
		s.signInByToken(w, r, u)
		return
	}
	if !ok {
		s.askToSignIn(w, r)
		return
	}
	s.console.Home(w, r, s.page(r))
}

// signInByToken turns a token in the address into a login. A link on a foreign
// page must not sign anyone in as somebody else: only a top-level visit counts.
func (s *Server) signInByToken(w http.ResponseWriter, r *http.Request, u hub.User) {
	id, _ := r.Context().Value(whoKey{}).(who)
	if id.how == byToken && s.mayReplaceLogin(r, u) {
		secret, err := s.hub.OpenLogin(r.Context(), u)
		if err != nil {
			s.Fail(w, r, err)
			return
		}
		s.setCookie(w, r, loginCookie, secret, true)
	}
	w.Header().Set("Cache-Control", "no-store")
	if u.PasswordHash == "" && r.URL.Path == "/" {
		http.Redirect(w, r, s.Base+"/welcome", http.StatusFound)
		return
	}
	target := *r.URL
	q := target.Query()
	q.Del("token")
	target.RawQuery = q.Encode()
	http.Redirect(w, r, s.Base+target.RequestURI(), http.StatusFound)
}

// mayReplaceLogin reports whether a visit with a token may sign the browser in as
// u: a picture or a frame on a foreign page may not, nor a link there while
// somebody else is signed in.
func (s *Server) mayReplaceLogin(r *http.Request, u hub.User) bool {
	if dest := r.Header.Get("Sec-Fetch-Dest"); dest != "" && dest != "document" {
		return false
	}
	present := s.byCookie(r)
	return present.how == byNothing || present.user.ID == u.ID || r.Header.Get("Sec-Fetch-Site") != "cross-site"
}

func (s *Server) signInPage(w http.ResponseWriter, r *http.Request) {
	if _, ok := Who(r.Context()); ok {
		http.Redirect(w, r, s.next(r.URL.Query().Get("next")), http.StatusFound)
		return
	}
	s.console.SignIn(w, r, s.page(r), s.next(r.URL.Query().Get("next")), "", http.StatusOK)
}

// next is where to go after signing in: a path of this server.
func (s *Server) next(to string) string {
	if !strings.HasPrefix(to, s.Base+"/") || strings.HasPrefix(to, "//") || strings.ContainsAny(to, "\\\r\n") {
		return s.Base + "/"
	}
	return to
}

func (s *Server) signIn(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 64<<10)
	next := s.next(r.PostFormValue("next"))
	if err := s.checkXSRF(r); err != nil {
		s.console.SignIn(w, r, s.page(r), next, "The page had expired. Try again.", http.StatusForbidden)
		return
	}
	_, secret, err := s.hub.SignIn(r.Context(), s.client(r), r.PostFormValue("name"), r.PostFormValue("password"))
	if err != nil {
		s.log.Warn("sign-in refused", "name", s.nameForLog(r), "from", s.client(r), "error", err)
		s.console.SignIn(w, r, s.page(r), next, fault.Sentence(err), statusOf(err))
		return
	}
	s.setCookie(w, r, loginCookie, secret, true)
	s.setCookie(w, r, xsrfCookie, hub.Secret(), false)
	http.Redirect(w, r, next, http.StatusSeeOther)
}

// nameForLog is the name of an account that there is. What else stands in the
// field may be a password, typed in the wrong place.
func (s *Server) nameForLog(r *http.Request) string {
	u, err := s.hub.Store.UserByName(r.Context(), r.PostFormValue("name"))
	if err != nil {
		return "(no account)"
	}
	return u.Name
}

func (s *Server) signOut(w http.ResponseWriter, r *http.Request) {
	if c, err := r.Cookie(loginCookie); err == nil {
		if err := s.hub.Store.DeleteLogin(r.Context(), hub.HashSecret(c.Value)); err != nil {
			s.log.Warn("login not removed", "error", err)
		}
	}
	s.setCookie(w, r, loginCookie, "", true)
	http.Redirect(w, r, s.Base+"/signin", http.StatusSeeOther)
}

// ownPassword takes the form of the first page and, where no script runs, that
// of the account page.
func (s *Server) ownPassword(w http.ResponseWriter, r *http.Request) {
	u, ok := Who(r.Context())
	if !ok {
		s.askToSignIn(w, r)
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, 64<<10)
	password := r.PostFormValue("password")
	if password != r.PostFormValue("again") {
		s.console.FirstPassword(w, r, s.page(r), "The two passwords are not the same.")
		return
	}
	login, from := by(r.Context())
	if err := s.hub.ChangePassword(r.Context(), u, from, r.PostFormValue("present"), password, login); err != nil {
		s.console.FirstPassword(w, r, s.page(r), fault.Sentence(err))
		return
	}
	http.Redirect(w, r, s.Base+"/", http.StatusSeeOther)
}

func (s *Server) nodePage(w http.ResponseWriter, r *http.Request) {
	u, ok := Who(r.Context())
	if !ok {
		s.askToSignIn(w, r)
		return
	}
	p, err := s.hub.MayOpen(r.Context(), u, r.PathValue("project"))
	if err != nil {
		s.Fail(w, r, err)
		return
	}
	n, err := s.hub.NodeOf(r.Context(), p, r.PathValue("node"))
	if err != nil {
		s.Fail(w, r, err)
		return
	}
	s.console.Node(w, r, s.page(r), console.ProjectInfo{ID: p.ID, Name: p.Name}, console.NodeInfo{ID: n.ID, Name: n.Name})
}

func (s *Server) projectPage(w http.ResponseWriter, r *http.Request) {
	u, ok := Who(r.Context())
	if !ok {
		s.askToSignIn(w, r)
		return
	}
	p, err := s.hub.MayOpen(r.Context(), u, strings.TrimPrefix(r.URL.Path, "/p/"))
	if err != nil {
		s.Fail(w, r, err)
		return
	}
	s.console.Project(w, r, s.page(r), console.ProjectInfo{ID: p.ID, Name: p.Name})
}
