package server

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"html/template"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"cellar/internal/fault"
	"cellar/server/app"
	"cellar/server/hub"
)

// Apps is the origin of applications: pages that kernels serve must not be able
// to act on the hub as the person who looks at them. See docs/decisions/0017.
type Apps struct {
	Key []byte // makes the cookies of applications; the data folder's own
	// URL is scheme and host of the origin, as browsers reach it; {project} in it
	// stands for the project's ID. Empty: the host by which the hub was opened,
	// with Port.
	URL           string
	Port, HubPort int
	// Loopback: both listeners answer at 127.0.0.1, so that an application gets
	// the other one of the two names of this machine, and with it other cookies.
	Loopback bool
}

const (
	appCookie   = "cellar_app"
	ticketParam = "cellar_ticket"
	ticketLasts = time.Minute
	maxTickets  = 64 // of one login
)

var (
	errAppsOff   = fault.New(fault.Unsupported, "apps_off", "This server shows no applications in a browser (--apps-listen is off). Programs reach them with a token in the Authorization header.")
	errAppsURL   = fault.New(fault.Unsupported, "apps_url_missing", "This server is behind a proxy and has no address for applications: the operator has to set --apps-url.")
	errAppsElse  = fault.New(fault.Denied, "apps_origin", "Here only programs with a token in the Authorization header reach an application. Open its page in a browser first: it moves to an address of its own.")
	errAppsEnter = fault.New(fault.Denied, "not_signed_in", "Open this application from Cellar: PROJECT/proxy/PORT/ on the hub's own address.")
	errAppsPage  = fault.New(fault.Denied, "foreign_page", "This request comes from a page of another address.")
)

// tickets let a browser over from the hub's origin to that of applications.
type tickets struct {
	mu   sync.Mutex
	list map[string]ticket
}

type ticket struct {
	project, login string
	until          time.Time
}

func (t *tickets) issue(project string, login []byte) string {
	secret := hub.Secret()
	now := time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	maps.DeleteFunc(t.list, func(_ string, k ticket) bool { return now.After(k.until) })
	var mine []string
	for name, k := range t.list {
		if k.login == string(login) {
			mine = append(mine, name)
		}
	}
	if len(mine) >= maxTickets {
		delete(t.list, slices.MinFunc(mine, func(a, b string) int { return t.list[a].until.Compare(t.list[b].until) }))
	}
	if t.list == nil {
		t.list = map[string]ticket{}
	}
	t.list[string(hub.HashSecret(secret))] = ticket{project, string(login), now.Add(ticketLasts)}
	return secret
}

// take uses a ticket up: it is good for one visit.
func (t *tickets) take(secret, project string) (login []byte, ok bool) {
	name := string(hub.HashSecret(secret))
	t.mu.Lock()
	defer t.mu.Unlock()
	k, ok := t.list[name]
	delete(t.list, name)
	if !ok || k.project != project || time.Now().After(k.until) {
		return nil, false
	}
	return []byte(k.login), true
}

// application answers below a project on the hub's own origin: programs are
// served, browsers go to the origin of applications. A browser adds no
// Authorization header by itself, so what has one is a program.
func (s *Server) application(w http.ResponseWriter, r *http.Request) {
	o := projectOf(r)
	at, err := app.Parse(r.URL.EscapedPath())
	if err != nil {
		s.Fail(w, r, err)
		return
	}
	id, _ := r.Context().Value(whoKey{}).(who)
	if id.how == byToken && r.Header.Get("Authorization") != "" {
		way := s.way(r, o.Project, at)
		way.Sandbox, way.Fail = true, s.Fail
		way.ServeHTTP(w, r)
		return
	}
	if id.how != byCookie || !safeMethod(r.Method) || r.Header.Get("Upgrade") != "" {
		s.Fail(w, r, errAppsElse)
		return
	}
	origin, err := s.appsOrigin(r, o.ID)
	if err != nil {
		s.Fail(w, r, err)
		return
	}
	to := origin + strings.TrimSuffix(o.base, "/") + at.Mount + at.Rest + "?"
	if r.URL.RawQuery != "" {
		to += r.URL.RawQuery + "&"
	}
	w.Header().Set("Cache-Control", "no-store")
	http.Redirect(w, r, to+ticketParam+"="+s.tickets.issue(o.ID, id.login), http.StatusFound)
}

func (s *Server) way(r *http.Request, p hub.Project, at app.Address) *app.Way {
	return &app.Way{
		Address: at, Prefix: s.Base + "/projects/" + url.PathEscape(p.ID) + at.Mount, Host: s.host(r), Secure: s.secure(r),
		Dial:    func(ctx context.Context) (net.Conn, error) { return s.hub.DialApp(ctx, p, at.Port) },
		Secret:  func(secret string) bool { return s.isToken(r.Context(), secret) },
		Cookies: []string{loginCookie, xsrfCookie, appCookie},
		Log:     slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
}

// appsOrigin is where the applications of a project are for whoever sends r to
// the hub.
func (s *Server) appsOrigin(r *http.Request, project string) (string, error) {
	switch {
	case s.Apps == nil:
		return "", errAppsOff
	case s.Apps.URL != "":
		return strings.ReplaceAll(s.Apps.URL, "{project}", hostLabel(project)), nil
	case s.trusted(r):
		return "", errAppsURL
	}
	return s.sibling(r, s.Apps.Port), nil
}

// hostLabel is a project's ID as a part of a host name. IDs may have letters of
// any script; none has two hyphens in a row, so the two kinds do not meet.
func hostLabel(project string) string {
	if len(project) <= 63 && strings.Trim(project, "abcdefghijklmnopqrstuvwxyz0123456789-") == "" {
		return project
	}
	sum := sha256.Sum256([]byte(project))
	return "p--" + hex.EncodeToString(sum[:16])
}

// sibling is another port of the machine that r was sent to.
func (s *Server) sibling(r *http.Request, port int) string {
	u := url.URL{Scheme: "http", Host: r.Host}
	if s.secure(r) {
		u.Scheme = "https"
	}
	name := u.Hostname()
	if s.Apps.Loopback {
		switch name { // cookies know no ports, but names
		case "127.0.0.1":
			name = "localhost"
		case "localhost":
			name = "127.0.0.1"
		}
	}
	return u.Scheme + "://" + net.JoinHostPort(name, strconv.Itoa(port))
}

// AppsHandler serves the origin of applications, and nothing else of the hub.
func (s *Server) AppsHandler() http.Handler {
	return s.below(s.guard(http.HandlerFunc(s.appsPage)))
}

func (s *Server) appsPage(w http.ResponseWriter, r *http.Request) {
	id, _, ok := strings.Cut(strings.TrimPrefix(r.URL.Path, "/projects/"), "/")
	if !ok || id == "" || !strings.HasPrefix(r.URL.Path, "/projects/") {
		s.appsFail(w, r, fault.New(fault.NotFound, "not_found", "There is nothing at this address."))
		return
	}
	at, err := app.Parse(strip(r, "/projects/"+id).URL.EscapedPath())
	if err != nil {
		s.appsFail(w, r, err)
		return
	}
	if _, host, _ := strings.Cut(s.Apps.URL, "://"); strings.Contains(host, "{project}") && !strings.EqualFold(strings.ReplaceAll(host, "{project}", hostLabel(id)), s.host(r)) {
		s.appsFail(w, r, errAppsEnter) // one project's page must not reach another's under its own name
		return
	}
	if i := strings.LastIndex(r.URL.RawQuery, ticketParam+"="); i >= 0 && (i == 0 || r.URL.RawQuery[i-1] == '&') && safeMethod(r.Method) {
		s.enterApp(w, r, id, r.URL.RawQuery[:max(0, i-1)], r.URL.RawQuery[i+len(ticketParam)+1:])
		return
	}
	p, err := s.appVisitor(r, id)
	if errors.Is(err, errAppsEnter) && s.Apps.URL == "" && wantsPage(r) && !s.trusted(r) {
		http.Redirect(w, r, s.sibling(r, s.Apps.HubPort)+s.Base+r.URL.RequestURI(), http.StatusFound)
		return
	}
	if err != nil {
		s.appsFail(w, r, err)
		return
	}
	if (!safeMethod(r.Method) || r.Header.Get("Upgrade") != "") && !s.sameOrigin(r) {
		s.appsFail(w, r, errAppsPage)
		return
	}
	way := s.way(r, p, at)
	way.Fail = s.appsFail
	way.ServeHTTP(w, r)
}

// enterApp turns a ticket into a cookie and takes it out of the address, where
// the application would see it. An old ticket is only taken out.
func (s *Server) enterApp(w http.ResponseWriter, r *http.Request, project, query, secret string) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Referrer-Policy", "no-referrer")
	if login, ok := s.tickets.take(secret, project); ok {
		_, l, err := s.hub.ByLoginHash(r.Context(), login)
		if err == nil {
			http.SetCookie(w, &http.Cookie{
				Name: appCookie, Value: s.appSecret(project, login), Path: s.Base + "/projects/" + url.PathEscape(project) + "/proxy/",
				HttpOnly: true, SameSite: http.SameSiteLaxMode, Secure: s.secure(r), MaxAge: max(1, int(time.Until(l.ExpiresAt).Seconds())),
			})
		}
	}
	to := s.Base + r.URL.EscapedPath()
	if query != "" {
		to += "?" + query
	}
	http.Redirect(w, r, to, http.StatusFound)
}

// appSecret is what the cookie of a project's applications holds: the hash of
// the login it belongs to, with a proof that we have written it.
func (s *Server) appSecret(project string, login []byte) string {
	m := hmac.New(sha256.New, s.Apps.Key)
	m.Write([]byte("application\x00" + project + "\x00"))
	m.Write(login)
	return hex.EncodeToString(login) + "." + hex.EncodeToString(m.Sum(nil))
}

// appVisitor finds the project by the cookie of its applications: it counts as
// long as the login that it came from, and the person may open the project.
func (s *Server) appVisitor(r *http.Request, project string) (hub.Project, error) {
	for _, c := range r.CookiesNamed(appCookie) {
		text, _, _ := strings.Cut(c.Value, ".")
		login, err := hex.DecodeString(text)
		if err != nil || !hmac.Equal([]byte(c.Value), []byte(s.appSecret(project, login))) {
			continue
		}
		u, _, err := s.hub.ByLoginHash(r.Context(), login)
		if err != nil {
			continue
		}
		return s.hub.MayOpen(r.Context(), u, project)
	}
	return hub.Project{}, errAppsEnter
}

var appsError = template.Must(template.New("").Parse(`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{{.Title}}</title></head>
<body><h1>{{.Title}}</h1><p>{{.Detail}}</p></body></html>
`))

// appsFail is Fail on the origin of applications, where the console's pages have
// no business.
func (s *Server) appsFail(w http.ResponseWriter, r *http.Request, err error) {
	if !wantsPage(r) {
		s.Fail(w, r, err)
		return
	}
	if r.Context().Err() != nil && errors.Is(err, context.Canceled) {
		return
	}
	p := s.problemOf(r, err)
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", "default-src 'none'")
	w.WriteHeader(p.Status)
	appsError.Execute(w, p)
}
