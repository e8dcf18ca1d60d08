package server

import (
	"context"
	"crypto/subtle"
	"errors"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"cellar/internal/fault"
	"cellar/server/hub"
)

// How a request says who sends it.
const (
	byNothing = iota
	byCookie
	byToken
)

const (
	loginCookie = "cellar_login"
	xsrfCookie  = "_xsrf"
	xsrfHeader  = "X-XSRFToken"
)

type whoKey struct{}

// who is the person behind a request.
type who struct {
	user  hub.User
	how   int
	login []byte // the hash of the login it came by, with byCookie
	from  string // the address it comes from
}

// Who returns the person that authenticate found; false when there is none.
func Who(ctx context.Context) (hub.User, bool) {
	w, ok := ctx.Value(whoKey{}).(who)
	return w.user, ok && w.how != byNothing
}

// by tells the login that a request came by, nil for none, and its address.
func by(ctx context.Context) (login []byte, from string) {
	w, _ := ctx.Value(whoKey{}).(who)
	return w.login, w.from
}

// authenticate finds out who sends a request and refuses what a foreign page
// could have made a signed-in browser send.
func (s *Server) authenticate(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var id who
		call := isCall(r)
		if !call {
			id = s.identify(r)
		}
		if id.how != byToken && !s.knownHost(r) { // a stranger's page has no token
			s.Fail(w, r, errHost)
			return
		}
		if id.how == byCookie && !safeMethod(r.Method) {
			if err := s.checkXSRF(r); err != nil {
				s.Fail(w, r, err)
				return
			}
		}
		if secret := s.cookieSecret(r); secret == "" && !call {
			s.setCookie(w, r, xsrfCookie, hub.Secret(), false)
		}
		id.from = s.client(r)
		ctx := context.WithValue(r.Context(), whoKey{}, id)
		if id.how != byNothing {
			ctx = hub.WithActor(ctx, id.user.Name)
		}
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

func safeMethod(m string) bool {
	return m == http.MethodGet || m == http.MethodHead || m == http.MethodOptions
}

func (s *Server) identify(r *http.Request) who {
	ctx := r.Context()
	if t := token(r); t != "" {
		if s.isStart(ctx, t) {
			return who{user: s.first, how: byToken}
		}
		if u, err := s.hub.ByToken(ctx, t); err == nil {
			return who{user: u, how: byToken}
		}
		if r.Header.Get("Authorization") != "" {
			return who{} // a wrong token is not made good by a cookie
		}
	}
	return s.byCookie(r)
}

// byCookie finds the login of a browser. Two that are open, of different people,
// are none: applications on another port of our name can set cookies for our
// paths, and must not make a person act on an account of their choice.
func (s *Server) byCookie(r *http.Request) (found who) {
	if r.Header.Get("Sec-Fetch-Site") == "same-site" && r.Header.Get("Sec-Fetch-Mode") != "navigate" {
		return who{} // what such a page loads: browsers send our cookies to all ports of our name
	}
	list := r.CookiesNamed(loginCookie)
	for _, c := range list[:min(len(list), maxLogins)] {
		u, err := s.hub.ByLogin(r.Context(), c.Value)
		switch {
		case err != nil:
		case found.how == byNothing:
			found = who{user: u, how: byCookie, login: hub.HashSecret(c.Value)}
		case found.user.ID != u.ID:
			return who{}
		}
	}
	return found
}

// maxLogins is how many cookies of one request are looked up.
const maxLogins = 4

// isStart reports whether t is the secret of the first start, and still good.
func (s *Server) isStart(ctx context.Context, t string) bool {
	return s.start != "" && subtle.ConstantTimeCompare([]byte(t), []byte(s.start)) == 1 && s.startOpen(ctx)
}

// isToken reports whether a secret opens the hub to a program.
func (s *Server) isToken(ctx context.Context, secret string) bool {
	if s.isStart(ctx, secret) {
		return true
	}
	_, err := s.hub.ByToken(ctx, secret)
	return err == nil || !errors.Is(err, fault.NotFound) // in doubt it is
}

// token is what the Authorization header or, on Jupyter's routes and the first
// page, the query holds.
func token(r *http.Request) string {
	if h := r.Header.Get("Authorization"); h != "" {
		scheme, t, _ := strings.Cut(h, " ")
		if strings.EqualFold(scheme, "bearer") || strings.EqualFold(scheme, "token") {
			return strings.TrimSpace(t)
		}
		return ""
	}
	if strings.HasPrefix(r.URL.Path, "/projects/") || r.URL.Path == "/" {
		return r.URL.Query().Get("token")
	}
	return ""
}

func (s *Server) cookieSecret(r *http.Request) string {
	if c, err := r.Cookie(xsrfCookie); err == nil {
		return c.Value
	}
	return ""
}

var errXSRF = fault.New(fault.Denied, "xsrf", "This request did not come from one of this server's own pages. Reload the page and try again.")

// checkXSRF wants the secret of the cookie, which a foreign page cannot read,
// in a header or a form field too, and an Origin that is ours.
func (s *Server) checkXSRF(r *http.Request) error {
	if !s.sameOrigin(r) {
		return errXSRF
	}
	want := s.cookieSecret(r)
	got := r.Header.Get(xsrfHeader)
	if got == "" && strings.HasPrefix(r.Header.Get("Content-Type"), "application/x-www-form-urlencoded") {
		got = r.PostFormValue("_xsrf")
	}
	if got == "" {
		got = r.URL.Query().Get("_xsrf")
	}
	if want == "" || subtle.ConstantTimeCompare([]byte(want), []byte(got)) != 1 {
		return errXSRF
	}
	return nil
}

// sameOrigin reports whether the page that sends the request is ours, as far as
// the browser tells.
func (s *Server) sameOrigin(r *http.Request) bool {
	origin := r.Header.Get("Origin")
	if origin == "" {
		from := r.Header.Get("Sec-Fetch-Site")
		return from != "cross-site" && from != "same-site" // another port of our host is the latter
	}
	return s.ours(r, origin)
}

// ours reports whether an Origin is that of the page r would be for. Over TLS a
// page that came without it is not: anybody on the way could have written it.
func (s *Server) ours(r *http.Request, origin string) bool {
	u, err := url.Parse(origin)
	return err == nil && strings.EqualFold(u.Host, s.host(r)) && (u.Scheme == "https" || !s.secure(r))
}

// knownHost reports whether the hub may be reached by the name in Host. A page of
// a stranger can give its own name our address (DNS rebinding) and is then of our
// origin for the browser. It has none of our cookies, but may try passwords from
// where the person is, and read what the machine itself may. Addresses and
// localhost nobody can give away; other names are known when the operator lists
// them. With no list, a hub on the loopback knows none, as who uses it sits at the
// machine, or a trusted proxy stands before it; on the network any may be ours.
// See docs/decisions/0029.
func (s *Server) knownHost(r *http.Request) bool {
	if len(s.Hosts) == 0 && (!s.Loopback || s.trusted(r)) {
		return true
	}
	host := (&url.URL{Host: s.host(r)}).Hostname()
	if _, err := netip.ParseAddr(host); err == nil {
		return true
	}
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	return host == "localhost" || strings.HasSuffix(host, ".localhost") || slices.ContainsFunc(s.Hosts, func(h string) bool { return strings.EqualFold(h, host) })
}

var errHost = fault.New(fault.Denied, "unknown_host", "This server is not known by the name in the address. Open it by its IP address or localhost; or the operator adds the name with --host, or names the proxy with --trusted-proxies.")

// host is the name the browser used, through trusted proxies.
func (s *Server) host(r *http.Request) string {
	if h := r.Header.Get("X-Forwarded-Host"); h != "" && s.trusted(r) {
		return h
	}
	return r.Host
}

// client is the address a request comes from, through trusted proxies: each adds
// the one it hears from at the end, so the last that is no proxy's is the client's.
// What stands before it the client may have made up.
func (s *Server) client(r *http.Request) string {
	ap, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	addr := ap.Addr().Unmap()
	list := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(list) - 1; i >= 0 && s.isProxy(addr); i-- {
		next, err := netip.ParseAddr(strings.TrimSpace(list[i]))
		if err != nil {
			break
		}
		addr = next.Unmap()
	}
	return addr.String()
}

func (s *Server) isProxy(addr netip.Addr) bool {
	return slices.ContainsFunc(s.Proxies, func(p netip.Prefix) bool { return p.Contains(addr) })
}

func (s *Server) secure(r *http.Request) bool {
	return r.TLS != nil || (s.trusted(r) && r.Header.Get("X-Forwarded-Proto") == "https")
}

func (s *Server) setCookie(w http.ResponseWriter, r *http.Request, name, value string, httpOnly bool) {
	c := &http.Cookie{Name: name, Value: value, Path: s.Base + "/", HttpOnly: httpOnly, SameSite: http.SameSiteLaxMode, Secure: s.secure(r), MaxAge: 30 * 24 * 3600}
	if value == "" {
		c.MaxAge = -1
	}
	http.SetCookie(w, c)
}

var errNotSignedIn = fault.New(fault.Denied, "not_signed_in", "Sign in first.")
