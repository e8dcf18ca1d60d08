package server

import (
	"bytes"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	"cellar/server/hub"
)

// memory is a log that can be read.
type memory struct {
	sync.Mutex
	bytes.Buffer
}

func (m *memory) Write(b []byte) (int, error) {
	m.Lock()
	defer m.Unlock()
	return m.Buffer.Write(b)
}

func (m *memory) text() string {
	m.Lock()
	defer m.Unlock()
	return m.String()
}

// TestSecretsAreNotLogged: tokens in every place where they are taken, passwords,
// logins; whatever comes of the request, the log of the most talkative level has
// none of them.
func TestSecretsAreNotLogged(t *testing.T) {
	log := &memory{}
	w := newTown(t, func(o *Options) { o.Start = hub.Secret() })
	logger := slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	w.server.log, w.hub.Log = logger, logger
	if err := w.hub.SetPassword(t.Context(), w.owner, "adas-password"); err != nil {
		t.Fatal(err)
	}
	p := w.project()
	owner, browser, nobody := w.by(w.owner, "token"), w.by(w.owner, "cookie"), w.visitor("192.0.2.1")
	secrets := map[string]string{
		"token": owner.token, "login": browser.cookies[loginCookie], "XSRF": browser.cookies[xsrfCookie], "start": w.server.start,
		"a made-up token": hub.Secret(), "a key": hub.Secret(), "a password": "hunter2-hunter2", "ada's password": "adas-password",
	}
	for name, secret := range secrets {
		for _, path := range []string{"/", "/signin", "/projects/" + p + "/", "/projects/" + p + "/lab", "/projects/" + p + "/files/a.txt", "/projects/" + p + "/api/contents/none",
			"/projects/" + p + "/api/kernels/none/channels", "/projects/" + p + "/terminals/websocket/1", "/projects/" + p + "/api/terminals", "/projects/" + p + "/proxy/9000/x", "/projects/none/api", "/api/v1/me", "/none"} {
			for _, method := range []string{"GET", "POST"} {
				nobody.do(method, path+"?token="+secret, "", nil)
				nobody.header = map[string]string{"Authorization": "Bearer " + secret}
				nobody.do(method, path, "", nil)
				nobody.header = map[string]string{"Authorization": "token " + secret, "Referer": "http://example.com" + path + "?token=" + secret}
				nobody.do(method, path, "", nil)
				nobody.header = map[string]string{"X-XSRFToken": secret, "Cookie": loginCookie + "=" + secret}
				nobody.do(method, path, "", nil)
				nobody.header = nil
			}
		}
		nobody.header = map[string]string{"Authorization": "Bearer " + secret}
		nobody.do("POST", "/nodes/n/execute", "application/json", []byte("{}"))
		nobody.header = nil
		nobody.form("/signin", "name", "ada", "password", secret)
		nobody.form("/signin", "name", secret, "password", "x") // in the wrong field
		nobody.cookies = map[string]string{xsrfCookie: nobody.cookies[xsrfCookie]}
		for place := range strings.SplitSeq(log.text(), "\n") {
			if strings.Contains(place, secret) {
				t.Errorf("%s is in the log: %s", name, place)
				break
			}
		}
	}
	if !strings.Contains(log.text(), "sign-in refused") || !strings.Contains(log.text(), "/api/terminals") {
		t.Errorf("this log shows nothing: %s", log.text())
	}
}

// TestTokensLeaveTheAddress before a page could read it there or send it on.
func TestTokensLeaveTheAddress(t *testing.T) {
	w := newTown(t)
	p := w.project()
	token := w.by(w.owner, "token").token
	bobs := w.by(w.stranger, "cookie").cookies[loginCookie]
	page := map[string]string{"Accept": "text/html"}
	document := map[string]string{"Accept": "text/html", "Sec-Fetch-Dest": "document", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Site": "none"}
	frame := map[string]string{"Accept": "text/html", "Sec-Fetch-Dest": "iframe", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Site": "cross-site"}
	fromElsewhere := map[string]string{"Accept": "text/html", "Sec-Fetch-Dest": "document", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Site": "cross-site"}
	image := map[string]string{"Accept": "image/*", "Sec-Fetch-Dest": "image", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Site": "cross-site"}
	for _, c := range []struct {
		path   string
		header map[string]string
		login  string // a cookie it comes with
		to     string // "" for none: the answer itself
		signed bool   // a login is opened
	}{
		{"/files/a.txt?token=T&x=1", page, "", "/files/a.txt?x=1", true},
		{"/files/a.txt?token=T", document, "", "/files/a.txt", true},
		{"/files/a.txt?token=T", frame, "", "/files/a.txt", false},
		{"/files/a.txt?token=T", image, "", "", false},
		{"/files/a.txt?token=T", nil, "", "", false}, // a program
		{"/view/a.txt?token=T", document, "", "/view/a.txt", true},
		{"/nbconvert/html/n.ipynb?token=T", document, "", "/nbconvert/html/n.ipynb", true},
		{"/kernelspecs/python3/logo.svg?token=T", document, "", "/kernelspecs/python3/logo.svg", true},
		{"/lab?token=T", document, "", "/lab", true},
		{"/lab?token=T", frame, "", "/lab", false},
		{"/?token=T", document, "", "/", true},
		{"/lab?token=T", document, bobs, "/lab", true},       // typed, or from a mail: it is meant
		{"/lab?token=T", fromElsewhere, bobs, "/lab", false}, // a foreign page makes nobody somebody else
		{"/lab?token=T", fromElsewhere, "", "/lab", true},
		{"/api/contents/a.txt?token=T", nil, "", "", false},
	} {
		v := w.visitor("192.0.2.1")
		v.header = c.header
		if c.login != "" {
			v.cookies[loginCookie] = c.login
		}
		res := v.do("GET", "/projects/"+p+strings.Replace(c.path, "=T", "="+token, 1), "", nil)
		to := res.Header.Get("Location")
		want := c.to
		if want != "" {
			want = "/projects/" + p + want
		}
		opened := false
		for _, cookie := range res.Cookies() {
			opened = opened || cookie.Name == loginCookie && cookie.Value != c.login
		}
		if to != want || opened != c.signed || strings.Contains(to, token) || res.Header.Get("Referrer-Policy") != "same-origin" {
			t.Errorf("%s %v: %d to %q, a login: %v, %q", c.path, c.header, res.StatusCode, to, opened, res.Header.Get("Referrer-Policy"))
		}
	}
}

// TestHost: by which names the hub may be reached.
func TestHost(t *testing.T) {
	for _, c := range []struct {
		loopback bool
		hosts    []string
		proxies  string
		host     string
		forward  string
		want     bool
	}{
		{true, nil, "", "127.0.0.1:8888", "", true},
		{true, nil, "", "[::1]:8888", "", true},
		{true, nil, "", "localhost:8888", "", true},
		{true, nil, "", "cellar.localhost", "", true},
		{true, nil, "", "LOCALHOST.", "", true},
		{true, nil, "", "evil.example:8888", "", false},
		{true, nil, "", "127.0.0.1.evil.example", "", false},
		{true, nil, "", "localhost.evil.example", "", false},
		{true, nil, "", "", "", false},
		{true, []string{"Cellar.Example"}, "", "cellar.example:8888", "", true},
		{true, nil, "", "evil.example", "localhost", false},                    // no proxy: what it forwards counts nothing
		{true, nil, "192.0.2.1/32", "x", "anything.example", true},             // the proxy knows its names
		{true, []string{"a.example"}, "192.0.2.1/32", "x", "b.example", false}, // but where they are listed
		{true, []string{"a.example"}, "192.0.2.1/32", "x", "a.example", true},
		{false, nil, "", "anything.example", "", true},
		{false, []string{"a.example"}, "", "b.example", "", false},
		{false, []string{"a.example"}, "", "a.example", "", true},
		{false, []string{"a.example"}, "", "192.0.2.7:8888", "", true},
	} {
		d := newDoor(t)
		if c.proxies != "" {
			d = newDoor(t, c.proxies)
		}
		d.server.Hosts, d.server.Loopback = c.hosts, c.loopback
		_, token, err := d.hub.AddToken(t.Context(), d.user("ada", ""), "t")
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range []string{"/signin", "/healthz", "/metrics", "/api/v1/openapi.json", "/api/v1/me"} {
			for _, secret := range []string{"", token} {
				v := &visitor{door: d, address: "192.0.2.1", token: secret, cookies: map[string]string{}, header: map[string]string{}}
				if c.forward != "" {
					v.header["X-Forwarded-Host"] = c.forward
				}
				r := v.request("GET", path, "", nil)
				r.Host = c.host
				rec := &firstWord{header: http.Header{}}
				d.handler.ServeHTTP(rec, r)
				refused := strings.Contains(rec.body.String(), `"unknown_host"`)
				if want := c.want || secret != ""; refused == want { // a program with a token is no stranger's page
					t.Errorf("%+v, %s, token %v: %d %s", c, path, secret != "", rec.status, rec.body.String())
				}
			}
		}
	}
}

// TestOrigin: which pages may change something, and open websockets, by cookie.
func TestOrigin(t *testing.T) {
	d := newDoor(t, "10.0.0.0/8")
	login, err := d.hub.OpenLogin(t.Context(), d.user("ada", ""))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		origin, host, proto string // proto: of a proxy that ends TLS
		want                bool
	}{
		{"", "cellar.example", "", true},
		{"http://cellar.example", "cellar.example", "", true},
		{"http://CELLAR.example:8888", "cellar.example:8888", "", true},
		{"http://cellar.example:8889", "cellar.example:8888", "", false},
		{"http://evil.example", "cellar.example", "", false},
		{"http://cellar.example.evil.example", "cellar.example", "", false},
		{"http://evil.example/cellar.example", "cellar.example", "", false},
		{"http://cellar.example@evil.example", "cellar.example", "", false},
		{"null", "cellar.example", "", false},
		{"file://", "cellar.example", "", false},
		{"https://cellar.example", "cellar.example", "https", true},
		{"http://cellar.example", "cellar.example", "https", false}, // anybody on the way could have written that page
	} {
		v := &visitor{door: d, address: "10.0.0.1", cookies: map[string]string{loginCookie: login, xsrfCookie: "x"}, header: map[string]string{"X-Forwarded-Host": c.host}}
		if c.origin != "" {
			v.header["Origin"] = c.origin
		}
		if c.proto != "" {
			v.header["X-Forwarded-Proto"] = c.proto
		}
		if res := v.do("POST", "/api/v1/tokens", "application/json", []byte(`{"name":"t"}`)); (res.StatusCode == 201) != c.want {
			t.Errorf("%+v: a change is %d", c, res.StatusCode)
		}
		r := v.request("GET", "/", "", nil)
		id := d.server.identify(r)
		if id.how != byCookie {
			t.Fatal("not signed in")
		}
		if got := d.server.socketOrigin(r); got != c.want {
			t.Errorf("%+v: a websocket is let in: %v", c, got)
		}
	}
	if u, err := url.Parse("null"); err != nil || u.Host != "" {
		t.Error(u, err)
	}
}
