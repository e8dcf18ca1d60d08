package app

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/gorilla/websocket"

	"cellar/internal/fault"
)

func TestParse(t *testing.T) {
	for path, want := range map[string]Address{
		"/proxy/8000":                  {Port: 8000, Mount: "/proxy/8000"},
		"/proxy/8000/":                 {Port: 8000, Mount: "/proxy/8000", Rest: "/"},
		"/proxy/8000/a%2Fb/c":          {Port: 8000, Mount: "/proxy/8000", Rest: "/a%2Fb/c"},
		"/proxy/absolute/8000/x":       {Port: 8000, Absolute: true, Mount: "/proxy/absolute/8000", Rest: "/x"},
		"/proxy/65535/absolute/8000/x": {Port: 65535, Mount: "/proxy/65535", Rest: "/absolute/8000/x"},
		"/proxy/1//x":                  {Port: 1, Mount: "/proxy/1", Rest: "//x"},
	} {
		if got, err := Parse(path); err != nil || got != want {
			t.Errorf("%s: %+v, %v", path, got, err)
		}
	}
	for path, class := range map[string]fault.Class{
		"/proxy": fault.NotFound, "/proxy/": fault.NotFound, "/proxy/absolute/": fault.NotFound, "/other/8000/": fault.NotFound, "/pr%6Fxy/8000/": fault.NotFound,
		"/proxy/0/": fault.Invalid, "/proxy/65536/": fault.Invalid, "/proxy/-1/": fault.Invalid, "/proxy/08/": fault.Invalid, "/proxy/+8/": fault.Invalid,
		"/proxy/host:80/": fault.Invalid, "/proxy/absolute/x/": fault.Invalid, "/proxy/8000%2F../": fault.Invalid,
	} {
		if _, err := Parse(path); fault.ClassOf(err) != class {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// front is a Way in front of an application, as a server.
func front(t *testing.T, path string, application http.Handler, change func(*Way)) string {
	t.Helper()
	backend := httptest.NewServer(application)
	t.Cleanup(backend.Close)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a, err := Parse(strings.TrimPrefix(r.URL.EscapedPath(), "/base/projects/p"))
		if err != nil {
			t.Error(err)
			return
		}
		y := &Way{
			Address: a, Prefix: "/base/projects/p" + a.Mount, Host: r.Host, Cookies: []string{"hub_login", "_xsrf"},
			Dial:   func(context.Context) (net.Conn, error) { return net.Dial("tcp", backend.Listener.Addr().String()) },
			Secret: func(s string) bool { return s == "hubsecret" },
			Fail: func(w http.ResponseWriter, _ *http.Request, err error) {
				http.Error(w, fault.CodeOf(err)+": "+fault.Sentence(err), http.StatusBadGateway)
			},
			Log: log.New(io.Discard, "", 0),
		}
		if change != nil {
			change(y)
		}
		y.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	return s.URL + "/base/projects/p" + path
}

func get(t *testing.T, address string, header http.Header) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "GET", address, nil)
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range header {
		r.Header[k] = v
	}
	res, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(b)
}

func TestPathsReachTheApplicationAsTheyCame(t *testing.T) {
	echo := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.RequestURI) })
	host := strings.TrimSuffix(front(t, "/", echo, nil), "/")
	for path, want := range map[string]string{
		"/proxy/8000/":                           "/",
		"/proxy/8000/a%2Fb/%C3%A9?x=1;2&y=%zz":   "/a%2Fb/%C3%A9?x=1;2&y=%zz",
		"/proxy/8000//x":                         "//x",
		"/proxy/8000/?token=hubsecret&a=1":       "/?a=1",
		"/proxy/8000/?a=1&%74oken=hubsecret":     "/?a=1",
		"/proxy/8000/?token=mine&a=token":        "/?token=mine&a=token",
		"/proxy/absolute/8000/s%20t/?q":          "/base/projects/p/proxy/absolute/8000/s%20t/?q",
		"/proxy/8000/proxy/9000/x":               "/proxy/9000/x",
		"/proxy/8000/base/projects/p/proxy/8000": "/base/projects/p/proxy/8000",
	} {
		if _, got := get(t, host+path, nil); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
	res, _ := get(t, host+"/proxy/8000?a=1&token=hubsecret", nil)
	if to := res.Header.Get("Location"); res.StatusCode != 302 || to != "/base/projects/p/proxy/8000/?a=1" {
		t.Errorf("without the slash: %d %s", res.StatusCode, to)
	}
}

func TestWhatTheApplicationIsToldOfARequest(t *testing.T) {
	var seen http.Header
	var host string
	at := front(t, "/proxy/8000/", http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen, host = r.Header, r.Host }), func(y *Way) { y.Secure = true })
	own, _ := url.Parse(at)
	get(t, at, http.Header{
		"Cookie": {"hub_login=s1; mine=1; _xsrf=s2", "theirs=2;hub_login=s3; hub_login"}, "Authorization": {"Bearer hubsecret"}, "X-Xsrftoken": {"s2"},
		"X-Forwarded-Host": {"evil"}, "X-Forwarded-User": {"root"}, "X-Real-Ip": {"192.0.2.1"}, "Connection": {"X-Gone, Upgrade"}, "X-Gone": {"1"}, "Upgrade": {"h2c"}, "Keep-Alive": {"9"},
		"Referer": {"http://x/projects/p/proxy/8000/?token=hubsecret&b=1"}, "X-Kept": {"1"}, "Accept-Encoding": {"br"},
	})
	want := map[string]string{
		"Cookie": "mine=1; theirs=2", "Authorization": "", "X-Xsrftoken": "", "X-Forwarded-Host": own.Host, "X-Forwarded-Proto": "https", "X-Forwarded-Prefix": "/base/projects/p/proxy/8000",
		"X-Forwarded-For": "", "X-Forwarded-User": "", "X-Real-Ip": "", "X-Gone": "", "Upgrade": "", "Keep-Alive": "", "Referer": "http://x/projects/p/proxy/8000/?b=1", "X-Kept": "1", "Accept-Encoding": "br",
	}
	for name, value := range want {
		if got := strings.Join(seen.Values(name), "|"); got != value {
			t.Errorf("%s: %q, want %q", name, got, value)
		}
	}
	if host != own.Host {
		t.Errorf("Host: %s", host)
	}
	for _, v := range seen {
		for _, secret := range []string{"hubsecret", "s1", "s2", "s3"} {
			if slices.ContainsFunc(v, func(s string) bool { return strings.Contains(s, secret) }) {
				t.Errorf("the application is told %s: %v", secret, seen)
			}
		}
	}
	get(t, at, http.Header{"Authorization": {"Bearer of-the-application"}})
	if got := seen.Get("Authorization"); got != "Bearer of-the-application" {
		t.Errorf("the application's own Authorization: %q", got)
	}
}

func TestOnTheHubsOriginNothingOfASecretPasses(t *testing.T) {
	var uri, authorization string
	at := front(t, "/proxy/8000/", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		uri, authorization = r.RequestURI, r.Header.Get("Authorization")
		w.Header().Set("Content-Security-Policy", "sandbox allow-scripts allow-same-origin")
		w.Header().Add("Content-Security-Policy", "default-src *")
		w.Header().Set("Access-Control-Allow-Origin", "*")
		w.Header().Set("X-Content-Type-Options", "off")
	}), func(y *Way) { y.Sandbox = true })
	res, _ := get(t, at+"?token=any&a=1", http.Header{"Authorization": {"Bearer any"}})
	if uri != "/?a=1" || authorization != "" {
		t.Errorf("the application is told %s and %q", uri, authorization)
	}
	if got := res.Header.Values("Content-Security-Policy"); !slices.Equal(got, []string{"sandbox"}) || res.Header.Get("Access-Control-Allow-Origin") != "" || res.Header.Get("X-Content-Type-Options") != "" {
		t.Errorf("the answer: %v", res.Header)
	}
}

func TestAnswersStayBelowThePrefix(t *testing.T) {
	var header http.Header
	h := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for k, v := range header {
			w.Header()[k] = v
		}
	})
	cut, whole := front(t, "/proxy/8000/", h, nil), front(t, "/proxy/absolute/8000/", h, nil)
	u, _ := url.Parse(cut)
	prefix := "/base/projects/p/proxy/8000"
	for to, want := range map[string]string{
		"/login?next=%2Fa#top":            prefix + "/login?next=%2Fa#top",
		prefix + "/x":                     prefix + "/x",
		prefix + "9/x":                    prefix + prefix + "9/x",
		"next":                            "next",
		"?q=1":                            "?q=1",
		"http://" + u.Host + "/x":         prefix + "/x",
		"http://localhost:8000":           prefix + "/",
		"https://127.0.0.1:8000/a%2Fb":    prefix + "/a%2Fb",
		"http://[::1]:8000/x":             prefix + "/x",
		"http://localhost:9000/x":         "http://localhost:9000/x",
		"http://localhost:8000//evil/":    prefix + "//evil/",
		"https://elsewhere.example/login": "https://elsewhere.example/login",
		"//elsewhere.example/x":           "//elsewhere.example/x",
		"mailto:someone":                  "mailto:someone",
	} {
		header = http.Header{"Location": {to}, "Content-Location": {to}}
		res, _ := get(t, cut, nil)
		if got := res.Header.Get("Location"); got != want || res.Header.Get("Content-Location") != want {
			t.Errorf("Location %s: %s, want %s", to, got, want)
		}
	}
	for to, want := range map[string]string{"/x": "/x", "http://localhost:8000//evil/": "/.//evil/", "http://localhost:8000/x": "/x"} {
		header = http.Header{"Location": {to}}
		if res, _ := get(t, whole, nil); res.Header.Get("Location") != want {
			t.Errorf("absolute, Location %s: %s, want %s", to, res.Header.Get("Location"), want)
		}
	}
	for line, want := range map[string]string{
		"a=1":                                  "a=1",
		"a=1; Path=/":                          "a=1; Path=" + prefix + "/",
		"a=b=c; path=/x; HttpOnly; Max-Age=3":  "a=b=c; HttpOnly; Max-Age=3; Path=" + prefix + "/x",
		"a=1; Path=" + prefix + "/y; Secure":   "a=1; Secure; Path=" + prefix + "/y",
		"a=1; Domain=example.org; DOMAIN=org":  "a=1",
		"a=1; Path=/x; Path=/y":                "a=1; Path=" + prefix + "/y",
		"a=1; Path=relative":                   "a=1",
		"hub_login=evil":                       "",
		" hub_login = evil; Path=/":            "",
		"_xsrf=evil":                           "",
		"=hub_login=evil":                      "",
		"hub_login":                            "",
		"hub_login2=1; SameSite=None; Path=/z": "hub_login2=1; SameSite=None; Path=" + prefix + "/z",
	} {
		header = http.Header{"Set-Cookie": {line}}
		if res, _ := get(t, cut, nil); strings.Join(res.Header.Values("Set-Cookie"), "|") != want {
			t.Errorf("Set-Cookie %s: %v, want %s", line, res.Header.Values("Set-Cookie"), want)
		}
	}
	header = http.Header{"Set-Cookie": {"a=1; Path=/", "b=1; Path=/base/projects/p/proxy/absolute/8000/x"}}
	if res, _ := get(t, whole, nil); !slices.Equal(res.Header.Values("Set-Cookie"), []string{"a=1; Path=/base/projects/p/proxy/absolute/8000/", "b=1; Path=/base/projects/p/proxy/absolute/8000/x"}) {
		t.Errorf("absolute: %v", res.Header.Values("Set-Cookie"))
	}
	header = http.Header{"X-Own": {"1"}, "Content-Security-Policy": {"default-src 'self'"}}
	for _, name := range beyond {
		header[name] = []string{"1"}
	}
	res, _ := get(t, cut, nil)
	for _, name := range beyond {
		if res.Header.Get(name) != "" {
			t.Errorf("%s passes", name)
		}
	}
	if res.Header.Get("X-Own") != "1" || res.Header.Get("Content-Security-Policy") != "default-src 'self'" {
		t.Errorf("the application's own headers: %v", res.Header)
	}
}

// What comes before the answer proper is not looked at, so it must not pass.
func TestEarlyHintsDoNotPass(t *testing.T) {
	at := front(t, "/proxy/8000/", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Set-Cookie", "hub_login=evil; Path=/")
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Del("Set-Cookie")
		io.WriteString(w, "done")
	}), nil)
	u, _ := url.Parse(at)
	conn, err := net.Dial("tcp", u.Host)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", u.Path)
	b, err := io.ReadAll(conn)
	if err != nil || !strings.HasPrefix(string(b), "HTTP/1.1 200 OK\r\n") || strings.Contains(string(b), "hub_login") || !strings.HasSuffix(string(b), "done") {
		t.Errorf("%v: %s", err, b)
	}
}

func TestAnswersComeAsTheyAreMade(t *testing.T) {
	more := make(chan bool)
	at := front(t, "/proxy/8000/", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, "one\n")
		http.NewResponseController(w).Flush()
		<-more
		io.WriteString(w, "two\n")
	}), nil)
	res, err := http.Get(at)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	r := bufio.NewReader(res.Body)
	if line, err := r.ReadString('\n'); line != "one\n" {
		t.Fatalf("%q %v", line, err)
	}
	close(more) // only now: the first line did not wait for the second
	if line, err := r.ReadString('\n'); line != "two\n" {
		t.Fatalf("%q %v", line, err)
	}
}

func TestWebsockets(t *testing.T) {
	up := websocket.Upgrader{Subprotocols: []string{"echo"}, CheckOrigin: func(*http.Request) bool { return true }}
	at := front(t, "/proxy/8000/ws?a=1", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.RequestURI() != "/ws?a=1" || r.Header.Get("Cookie") != "mine=1" {
			t.Errorf("%s %s", r.RequestURI, r.Header)
		}
		ws, err := up.Upgrade(w, r, http.Header{"Set-Cookie": {"hub_login=evil", "a=1; Path=/"}})
		if err != nil {
			t.Error(err)
			return
		}
		defer ws.Close()
		for {
			kind, b, err := ws.ReadMessage()
			if err != nil {
				return
			}
			ws.WriteMessage(kind, b)
		}
	}), nil)
	d := websocket.Dialer{Subprotocols: []string{"echo"}}
	ws, res, err := d.DialContext(t.Context(), strings.Replace(at, "http", "ws", 1), http.Header{"Cookie": {"mine=1; hub_login=s"}})
	if err != nil {
		t.Fatal(err)
	}
	defer ws.Close()
	if got := res.Header.Values("Set-Cookie"); ws.Subprotocol() != "echo" || !slices.Equal(got, []string{"a=1; Path=/base/projects/p/proxy/8000/"}) {
		t.Errorf("%s %v", ws.Subprotocol(), got)
	}
	for _, text := range []string{"one", strings.Repeat("x", 1<<20)} {
		ws.WriteMessage(websocket.TextMessage, []byte(text))
		if _, b, err := ws.ReadMessage(); err != nil || string(b) != text {
			t.Fatalf("%d bytes came back: %v", len(b), err)
		}
	}
}

func TestApplicationsThatDoNotAnswer(t *testing.T) {
	hang := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		if r.URL.Path == "/noise" {
			io.WriteString(conn, "SSH-2.0-Server\r\n")
		}
		if r.URL.Path == "/large" {
			io.WriteString(conn, "HTTP/1.1 200 OK\r\nX-Large: "+strings.Repeat("x", maxHeader)+"\r\n\r\n")
		}
		conn.Close()
	})
	at := front(t, "/proxy/8000", hang, nil)
	for _, path := range []string{"/", "/noise", "/large"} {
		if res, b := get(t, at+path, nil); res.StatusCode != http.StatusBadGateway || !strings.HasPrefix(b, BadGateway+": The application on port 8000") {
			t.Errorf("%s: %d %s", path, res.StatusCode, b)
		}
	}
	refused := fault.New(fault.Unavailable, "nothing_listens", "Nothing listens.")
	at = front(t, "/proxy/8000/", hang, func(y *Way) {
		y.Dial = func(context.Context) (net.Conn, error) { return nil, refused }
	})
	if _, b := get(t, at, nil); !strings.HasPrefix(b, "nothing_listens: Nothing listens.") {
		t.Errorf("%s", b)
	}
	if err := (&Way{}).told(context.Canceled); !errors.Is(err, context.Canceled) {
		t.Errorf("somebody who left: %v", err)
	}
}
