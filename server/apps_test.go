package server

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"syscall"
	"testing"
	"time"

	"cellar/kernel"
	"cellar/server/hub"
)

// shellsOnly is a Runtime in which each project has a container for terminals,
// and an application on port 8000 in it.
type shellsOnly struct {
	kernel.Runtime
	application net.Addr
	dials       int
}

func (r *shellsOnly) List(context.Context) (out []kernel.Status, err error) {
	for _, p := range []string{"mine", "bobs"} {
		out = append(out, kernel.Status{Name: p, Running: true, Labels: map[string]string{"cellar.kind": "terminal", "cellar.project": p}})
	}
	return out, nil
}

func (r *shellsOnly) Dial(_ context.Context, _ string, port int) (net.Conn, error) {
	r.dials++
	if port != 8000 {
		return nil, syscall.ECONNREFUSED
	}
	return net.Dial(r.application.Network(), r.application.String())
}

// site is a hub with two projects, one of ada's and one of bob's, and an
// application that tells what it was asked.
type site struct {
	*door
	apps    http.Handler
	runtime *shellsOnly
	ada     hub.User
	tokens  map[string]string
}

func newSite(t *testing.T, change func(*Apps)) *site {
	t.Helper()
	d := newDoor(t)
	if change != nil {
		change(d.server.Apps)
	}
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.SetCookie(w, &http.Cookie{Name: "own", Value: "1", Path: "/"})
		http.SetCookie(w, &http.Cookie{Name: loginCookie, Value: "evil", Path: "/"})
		w.Header().Set("Content-Type", "text/plain")
		fmt.Fprintf(w, "%s %s cookie=%q auth=%q", r.Method, r.RequestURI, r.Header.Get("Cookie"), r.Header.Get("Authorization"))
	}))
	t.Cleanup(backend.Close)
	s := &site{door: d, apps: d.server.AppsHandler(), runtime: &shellsOnly{application: backend.Listener.Addr()}, tokens: map[string]string{}}
	d.hub.Runtime = s.runtime
	s.ada = d.user("ada", "adas-password")
	bob := d.user("bob", "bobs-password")
	for id, owner := range map[string]hub.User{"mine": s.ada, "bobs": bob} {
		if _, err := d.hub.Store.AddProject(t.Context(), hub.Project{ID: id, Name: id, Owner: owner.ID, CreatedAt: time.Now()}); err != nil {
			t.Fatal(err)
		}
	}
	admin, err := d.hub.FirstStart(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for name, u := range map[string]hub.User{"owner": s.ada, "stranger": bob, "administrator": admin} {
		if _, s.tokens[name], err = d.hub.AddToken(t.Context(), u, "test"); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// browse is a request of a browser that asks for a page.
func (s *site) browse(h http.Handler, method, address string, change func(*http.Request)) (*http.Response, string) {
	s.t.Helper()
	r := httptest.NewRequest(method, address, nil).WithContext(s.t.Context())
	r.Header.Set("Accept", "text/html")
	if change != nil {
		change(r)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	b, _ := io.ReadAll(w.Result().Body)
	return w.Result(), string(b)
}

func with(name, value string) func(*http.Request) {
	return func(r *http.Request) { r.AddCookie(&http.Cookie{Name: name, Value: value}) }
}

func (s *site) login(u hub.User) string {
	s.t.Helper()
	secret, err := s.hub.OpenLogin(s.t.Context(), u)
	if err != nil {
		s.t.Fatal(err)
	}
	return secret
}

// enter goes the way from the hub to an application and returns its address and
// the cookie.
func (s *site) enter(address, login string) (string, *http.Cookie) {
	s.t.Helper()
	res, b := s.browse(s.handler, "GET", address, with(loginCookie, login))
	if res.StatusCode != 302 {
		s.t.Fatalf("%s: %d %s", address, res.StatusCode, b)
	}
	res, b = s.browse(s.apps, "GET", res.Header.Get("Location"), nil)
	var found *http.Cookie
	for _, c := range res.Cookies() {
		if c.Name == appCookie {
			found = c
		}
	}
	if res.StatusCode != 302 || found == nil {
		s.t.Fatalf("the ticket: %d %s", res.StatusCode, b)
	}
	return res.Header.Get("Location"), found
}

// TestWhoReachesApplications: all routes x who asks.
func TestWhoReachesApplications(t *testing.T) {
	s := newSite(t, nil)
	for _, path := range []string{"/projects/%s/proxy/8000/", "/projects/%s/proxy/8000", "/projects/%s/proxy/absolute/8000/x", "/projects/%s/proxy/8000/a/b?c=d"} {
		for _, method := range []string{"GET", "POST", "DELETE", "OPTIONS"} {
			for who, want := range map[string]int{"": 401, "stranger": 404, "owner": 200, "administrator": 200} {
				v := &visitor{door: s.door, address: "192.0.2.1", token: s.tokens[who], cookies: map[string]string{}}
				before := s.runtime.dials
				res := v.do(method, fmt.Sprintf(path, "mine"), "", nil)
				body, _ := io.ReadAll(res.Body)
				if want == 200 && method == "GET" && strings.HasSuffix(path, "8000") {
					want = 302
				}
				if res.StatusCode != want || (want >= 400 && s.runtime.dials != before) {
					t.Errorf("%s %s, %q: %d %s", method, path, who, res.StatusCode, body)
				}
				if want == 404 {
					res := v.do(method, fmt.Sprintf(path, "invented"), "", nil)
					if b, _ := io.ReadAll(res.Body); res.StatusCode != 404 || !bytes.Equal(b, body) {
						t.Errorf("%s %s, %q: a project that there is not gives %d %s, a foreign one %s", method, path, who, res.StatusCode, b, body)
					}
				}
				if want == 200 && (res.Header.Get("Content-Security-Policy") != "sandbox" || res.Header.Get("X-Content-Type-Options") != "nosniff" || bytes.Contains(body, []byte(s.tokens[who]))) {
					t.Errorf("%s %s, %q: %v %s", method, path, who, res.Header, body)
				}
				for _, c := range res.Cookies() {
					if c.Value == "evil" {
						t.Errorf("%s %s, %q: the application sets %s", method, path, who, c)
					}
				}
			}
		}
	}
}

func TestAnswersAboutPorts(t *testing.T) {
	s := newSite(t, nil)
	v := &visitor{door: s.door, address: "192.0.2.1", token: s.tokens["owner"], cookies: map[string]string{}}
	for path, want := range map[string]string{
		"9000/": "502 nothing_listens", "7397/": "400 port_reserved", "7398/": "400 port_reserved", "absolute/7399/": "400 port_reserved",
		"0/": "400 port_invalid", "65536/": "400 port_invalid", "x/": "400 port_invalid", "": "404 not_found",
	} {
		res := v.do("GET", "/projects/mine/proxy/"+path, "", nil)
		b, _ := io.ReadAll(res.Body)
		status, code, _ := strings.Cut(want, " ")
		if fmt.Sprint(res.StatusCode) != status || !bytes.Contains(b, []byte(`"reason":"`+code+`"`)) {
			t.Errorf("%s: %d %s, want %s", path, res.StatusCode, b, want)
		}
	}
}

func TestABrowserGoesToTheOriginOfApplications(t *testing.T) {
	s := newSite(t, nil)
	login := s.login(s.ada)
	hubs := "http://127.0.0.1:8888/projects/mine/proxy/8000/a%2Fb?c=d"
	res, _ := s.browse(s.handler, "GET", hubs, with(loginCookie, login))
	to := res.Header.Get("Location")
	ticket, ok := strings.CutPrefix(to, "http://localhost:8889/projects/mine/proxy/8000/a%2Fb?c=d&"+ticketParam+"=")
	if res.StatusCode != 302 || !ok || len(ticket) != 32 || res.Header.Get("Cache-Control") != "no-store" {
		t.Fatalf("%d %s", res.StatusCode, to)
	}
	for from, host := range map[string]string{"localhost:8888": "127.0.0.1:8889", "cellar.example:80": "cellar.example:8889", "[::1]:8888": "[::1]:8889"} {
		res, _ := s.browse(s.handler, "GET", "http://"+from+"/projects/mine/proxy/8000/", with(loginCookie, login))
		if u, err := url.Parse(res.Header.Get("Location")); err != nil || u.Host != host {
			t.Errorf("from %s: %v %v", from, u, err)
		}
	}
	if s.runtime.dials != 0 {
		t.Error("a browser reached the application on the hub's origin")
	}

	// The ticket becomes a cookie and leaves the address.
	res, b := s.browse(s.apps, "GET", to, nil)
	if at := res.Header.Get("Location"); res.StatusCode != 302 || at != "/projects/mine/proxy/8000/a%2Fb?c=d" || len(res.Cookies()) != 1 {
		t.Fatalf("%d %s %v %s", res.StatusCode, at, res.Cookies(), b)
	}
	c := res.Cookies()[0]
	if c.Name != appCookie || c.Path != "/projects/mine/proxy/" || !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || c.MaxAge < 29*24*3600 || c.MaxAge > 30*24*3600 || strings.Contains(c.Value, login) {
		t.Errorf("%+v", c)
	}
	if res, _ := s.browse(s.apps, "GET", to, nil); len(res.Cookies()) != 0 {
		t.Error("a ticket is good twice")
	}
	at := "http://localhost:8889/projects/mine/proxy/8000/a%2Fb?c=d"
	res, b = s.browse(s.apps, "GET", at, func(r *http.Request) {
		r.Header.Set("Cookie", loginCookie+"="+login+"; "+c.Name+"="+c.Value+"; _xsrf=x; own=1")
		r.Header.Set("Authorization", "Bearer "+s.tokens["owner"])
	})
	if res.StatusCode != 200 || b != `GET /a%2Fb?c=d cookie="own=1" auth=""` || res.Header.Get("Content-Security-Policy") != "" || len(res.Cookies()) != 1 || res.Cookies()[0].Path != "/projects/mine/proxy/8000/" {
		t.Errorf("%d %s %v", res.StatusCode, b, res.Header)
	}

	// Not for another project, nor without it, nor changed; the login of the hub does not count here.
	for name, send := range map[string]func(*http.Request){
		"none": func(*http.Request) {}, "the hub's": with(loginCookie, login), "changed": with(appCookie, c.Value[:len(c.Value)-1]+"x"),
		"token": func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+s.tokens["owner"]) },
	} {
		if res, _ := s.browse(s.apps, "GET", at, send); res.StatusCode != 302 || res.Header.Get("Location") != "http://127.0.0.1:8888/projects/mine/proxy/8000/a%2Fb?c=d" {
			t.Errorf("cookie %s: %d %s", name, res.StatusCode, res.Header.Get("Location"))
		}
		if res, b := s.browse(s.apps, "POST", at, send); res.StatusCode != 401 {
			t.Errorf("cookie %s: POST %d %s", name, res.StatusCode, b)
		}
	}
	if res, _ := s.browse(s.apps, "POST", "http://localhost:8889/projects/bobs/proxy/8000/", with(appCookie, c.Value)); res.StatusCode != 401 {
		t.Errorf("another project by this one's cookie: %d", res.StatusCode)
	}
	// A ticket for one project is none for another.
	res, _ = s.browse(s.handler, "GET", hubs, with(loginCookie, login))
	if res, _ := s.browse(s.apps, "GET", strings.Replace(res.Header.Get("Location"), "/mine/", "/bobs/", 1), nil); len(res.Cookies()) != 0 {
		t.Error("a ticket opens another project")
	}
	// It ends with the login.
	if err := s.hub.Store.DeleteLogin(t.Context(), hub.HashSecret(login)); err != nil {
		t.Fatal(err)
	}
	if res, _ := s.browse(s.apps, "POST", at, with(appCookie, c.Value)); res.StatusCode != 401 {
		t.Errorf("after signing out: %d", res.StatusCode)
	}
}

func TestTheOriginOfApplicationsServesNothingElse(t *testing.T) {
	s := newSite(t, nil)
	login := s.login(s.ada)
	_, c := s.enter("http://127.0.0.1:8888/projects/mine/proxy/8000/", login)
	for _, path := range []string{"/", "/signin", "/api/v1/me", "/healthz", "/metrics", "/projects/mine/api/contents/", "/projects/mine/lab", "/projects/mine/files/proxy/8000/", "/projects//proxy/8000/", "/static/console/x.js", "/projects"} {
		for _, method := range []string{"GET", "POST"} {
			res, b := s.browse(s.apps, method, "http://localhost:8889"+path, func(r *http.Request) {
				with(appCookie, c.Value)(r)
				with(loginCookie, login)(r)
			})
			if res.StatusCode != 404 {
				t.Errorf("%s %s: %d %s", method, path, res.StatusCode, b)
			}
		}
	}
	// Pages of others do not send for the person.
	for origin, want := range map[string]int{"http://localhost:8889": 200, "http://127.0.0.1:8888": 403, "http://evil.example": 403, "null": 403, "": 200} {
		res, _ := s.browse(s.apps, "POST", "http://localhost:8889/projects/mine/proxy/8000/", func(r *http.Request) {
			with(appCookie, c.Value)(r)
			if origin != "" {
				r.Header.Set("Origin", origin)
			}
		})
		if res.StatusCode != want {
			t.Errorf("Origin %q: %d", origin, res.StatusCode)
		}
		res, _ = s.browse(s.apps, "GET", "http://localhost:8889/projects/mine/proxy/8000/", func(r *http.Request) {
			with(appCookie, c.Value)(r)
			r.Header.Set("Connection", "Upgrade")
			r.Header.Set("Upgrade", "websocket")
			if origin != "" {
				r.Header.Set("Origin", origin)
			}
		})
		if res.StatusCode != want {
			t.Errorf("websocket, Origin %q: %d", origin, res.StatusCode)
		}
	}
	// An administrator may, a stranger may not.
	admin, _ := s.hub.FirstStart(t.Context())
	s.enter("http://127.0.0.1:8888/projects/mine/proxy/8000/", s.login(admin))
	if res, _ := s.browse(s.handler, "GET", "http://127.0.0.1:8888/projects/bobs/proxy/8000/", with(loginCookie, login)); res.StatusCode != 404 {
		t.Errorf("a stranger: %d", res.StatusCode)
	}
	if res, _ := s.browse(s.apps, "GET", "http://localhost:8889/projects/bobs/proxy/8000/", with(appCookie, s.server.appSecret("bobs", hub.HashSecret(login)))); res.StatusCode != 404 {
		t.Errorf("a cookie for a project that is not the person's any more: %d", res.StatusCode)
	}
}

func TestWhatBrowsersMayNotDoOnTheHubsOrigin(t *testing.T) {
	s := newSite(t, nil)
	login := s.login(s.ada)
	at := "http://127.0.0.1:8888/projects/mine/proxy/8000/"
	for name, want := range map[string]struct {
		method string
		change func(*http.Request)
		status int
	}{
		"a form":                 {"POST", func(*http.Request) {}, 403},
		"a form with the secret": {"POST", func(r *http.Request) { with(xsrfCookie, "x")(r); r.Header.Set(xsrfHeader, "x") }, 403},
		"a websocket":            {"GET", func(r *http.Request) { r.Header.Set("Upgrade", "websocket") }, 403},
		"loaded by an application": {"GET", func(r *http.Request) {
			r.Header.Set("Sec-Fetch-Site", "same-site")
			r.Header.Set("Sec-Fetch-Mode", "no-cors")
			r.Header.Set("Accept", "*/*")
		}, 401},
		"a link in an application": {"GET", func(r *http.Request) {
			r.Header.Set("Sec-Fetch-Site", "same-site")
			r.Header.Set("Sec-Fetch-Mode", "navigate")
		}, 302},
	} {
		res, b := s.browse(s.handler, want.method, at, func(r *http.Request) { with(loginCookie, login)(r); want.change(r) })
		if res.StatusCode != want.status {
			t.Errorf("%s: %d %s", name, res.StatusCode, b)
		}
	}
	// A link with a token signs in and takes the token out; a program's websocket wants the header.
	res, _ := s.browse(s.handler, "GET", at+"?a=1&token="+s.tokens["owner"], nil)
	if to := res.Header.Get("Location"); res.StatusCode != 302 || to != "/projects/mine/proxy/8000/?a=1" {
		t.Errorf("a link with a token: %d %s", res.StatusCode, to)
	}
	res, _ = s.browse(s.handler, "GET", at+"?token=of-the-application", with(loginCookie, login))
	if to := res.Header.Get("Location"); res.StatusCode != 302 || !strings.HasPrefix(to, "http://localhost:8889/projects/mine/proxy/8000/?token=of-the-application&") {
		t.Errorf("the application's own token: %d %s", res.StatusCode, to)
	}
	if res, _ := s.browse(s.handler, "POST", at+"?token="+s.tokens["owner"], nil); res.StatusCode != 403 || s.runtime.dials != 0 {
		t.Errorf("a token in the address: %d", res.StatusCode)
	}
}

// The hub knows pages of other ports of its name by their Origin.
func TestTheHubRefusesTheOriginOfApplications(t *testing.T) {
	s := newSite(t, nil)
	login := s.login(s.ada)
	for header, value := range map[string]string{"Origin": "http://cellar.example:8889", "Sec-Fetch-Site": "same-site"} {
		res, b := s.browse(s.handler, "POST", "http://cellar.example:8888/api/v1/projects", func(r *http.Request) {
			with(loginCookie, login)(r)
			with(xsrfCookie, "known")(r) // an application can read it: it is no secret to other ports
			r.Header.Set(xsrfHeader, "known")
			r.Header.Set(header, value)
			r.Header.Set("Content-Type", "application/json")
			r.Body = io.NopCloser(strings.NewReader(`{"name":"x"}`))
			r.ContentLength = -1
		})
		if res.StatusCode != 403 && res.StatusCode != 401 {
			t.Errorf("%s %s: %d %s", header, value, res.StatusCode, b)
		}
	}
	if list, err := s.hub.ProjectsOf(t.Context(), s.ada); err != nil || len(list) != 1 {
		t.Errorf("%v %v", list, err)
	}
	r := httptest.NewRequest("GET", "http://cellar.example:8888/projects/mine/api/kernels/x/channels", nil)
	r.Header.Set("Origin", "http://cellar.example:8889")
	if s.server.socketOrigin(r) {
		t.Error("a page of an application may open websockets of the hub")
	}
}

// An application can set a cookie for a path of the hub, with a login of its
// owner: the person must not act on that account.
func TestTwoLoginsAreNone(t *testing.T) {
	s := newSite(t, nil)
	bob, err := s.hub.Store.UserByName(t.Context(), "bob")
	if err != nil {
		t.Fatal(err)
	}
	ada, bobs := s.login(s.ada), s.login(bob)
	for cookies, want := range map[string]string{
		loginCookie + "=" + ada:                                                      "ada",
		loginCookie + "=" + bobs + "; " + loginCookie + "=" + ada:                    "",
		loginCookie + "=nonsense; " + loginCookie + "=" + ada:                        "ada", // another hub's, on the same host
		loginCookie + "=" + s.login(s.ada) + "; " + loginCookie + "=" + ada:          "ada",
		strings.Repeat(loginCookie+"=x; ", maxLogins) + loginCookie + "=" + ada:      "",
		loginCookie + "=" + ada + strings.Repeat("; "+loginCookie+"=x", maxLogins+9): "ada",
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Cookie", cookies)
		if got := s.server.byCookie(r).user.Name; got != want {
			t.Errorf("%s: %q, want %q", cookies, got, want)
		}
	}
}

func TestAddressesOfApplications(t *testing.T) {
	s := newSite(t, func(a *Apps) { a.URL = "https://{project}.apps.example" })
	login := s.login(s.ada)
	res, _ := s.browse(s.handler, "GET", "http://cellar.example/projects/mine/proxy/8000/", with(loginCookie, login))
	to := res.Header.Get("Location")
	if !strings.HasPrefix(to, "https://mine.apps.example/projects/mine/proxy/8000/?"+ticketParam+"=") {
		t.Fatalf("%d %s", res.StatusCode, to)
	}
	// The name of one project does not serve another.
	_, c := s.enter("http://cellar.example/projects/mine/proxy/8000/", login)
	for host, want := range map[string]int{"mine.apps.example": 200, "bobs.apps.example": 401, "cellar.example": 401} {
		if res, b := s.browse(s.apps, "GET", "https://"+host+"/projects/mine/proxy/8000/", with(appCookie, c.Value)); res.StatusCode != want {
			t.Errorf("%s: %d %s", host, res.StatusCode, b)
		}
	}
	if res, b := s.browse(s.apps, "GET", "https://mine.apps.example/projects/mine/proxy/8000/", nil); res.StatusCode != 401 || !strings.Contains(b, "Open this application from Cellar") || res.Header.Get("Content-Security-Policy") != "default-src 'none'" {
		t.Errorf("without a cookie: %d %s", res.StatusCode, b)
	}
	for id, want := range map[string]string{"mine": "mine", "a-2": "a-2", "проект": "p--" + hostLabel("проект")[3:], strings.Repeat("a", 64): hostLabel(strings.Repeat("a", 64))} {
		if got := hostLabel(id); got != want || len(got) > 63 || strings.Trim(got, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
			t.Errorf("%s: %s", id, got)
		}
	}

	s = newSite(t, nil)
	s.server.Proxies = append(s.server.Proxies, netip.MustParsePrefix("192.0.2.0/24")) // httptest's address
	if res, b := s.browse(s.handler, "GET", "http://cellar.example/projects/mine/proxy/8000/", with(loginCookie, s.login(s.ada))); res.StatusCode != 422 || !strings.Contains(b, "--apps-url") {
		t.Errorf("behind a proxy: %d %s", res.StatusCode, b)
	}
	s.server.Apps = nil
	if res, b := s.browse(s.handler, "GET", "http://cellar.example/projects/mine/proxy/8000/", with(loginCookie, s.login(s.ada))); res.StatusCode != 422 || !strings.Contains(b, "--apps-listen") {
		t.Errorf("turned off: %d %s", res.StatusCode, b)
	}
}

func TestTickets(t *testing.T) {
	var k tickets
	first := k.issue("p", []byte("login"))
	other := k.issue("p", []byte("other"))
	for range maxTickets {
		k.issue("p", []byte("login"))
	}
	if len(k.list) != maxTickets+1 {
		t.Errorf("%d are kept", len(k.list))
	}
	if _, ok := k.take(first, "p"); ok {
		t.Error("the oldest is still good")
	}
	if login, ok := k.take(other, "p"); !ok || string(login) != "other" {
		t.Errorf("another login's: %q %v", login, ok)
	}
	late := k.issue("p", []byte("late"))
	name := string(hub.HashSecret(late))
	old := k.list[name]
	old.until = time.Now().Add(-time.Second)
	k.list[name] = old
	if _, ok := k.take(late, "p"); ok {
		t.Error("an expired one is good")
	}
}
