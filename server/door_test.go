package server

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	"cellar/server/api"
	"cellar/server/hub"
	"cellar/server/store"
)

// door is a server over a hub with records alone: nothing runs behind it.
type door struct {
	t       testing.TB
	hub     *hub.Hub
	trees   *Trees
	handler http.Handler
	server  *Server
}

func newDoor(t testing.TB, proxies ...string) *door {
	t.Helper()
	s, err := store.Open(t.Context(), filepath.Join(t.TempDir(), "cellar.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	h := &hub.Hub{Store: s, Log: slog.New(slog.DiscardHandler)}
	first, err := h.FirstStart(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	o := Options{
		Hub: h, First: first, Log: h.Log, Trees: &Trees{},
		Doctor: func(context.Context) []api.Finding { return nil }, Ready: func(context.Context) error { return nil },
		Apps: &Apps{Key: []byte("0123456789abcdef0123456789abcdef"), Port: 8889, HubPort: 8888, Loopback: true},
	}
	for _, p := range proxies {
		o.Proxies = append(o.Proxies, netip.MustParsePrefix(p))
	}
	handler, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return &door{t, h, o.Trees, handler, handler}
}

// user adds an account with a password.
func (d *door) user(name, password string) hub.User {
	d.t.Helper()
	u, _, err := d.hub.AddUser(d.t.Context(), name, false)
	if err == nil && password != "" {
		err = d.hub.SetPassword(d.t.Context(), u, password)
	}
	if err != nil {
		d.t.Fatal(err)
	}
	return u
}

// visitor is a browser, or a program with a token.
type visitor struct {
	*door
	token   string
	address string            // the machine it comes from
	header  map[string]string // what it adds
	cookies map[string]string
}

func (d *door) visitor(address string) *visitor {
	v := &visitor{door: d, address: address, cookies: map[string]string{}}
	v.do("GET", "/signin", "", nil)
	return v
}

func (v *visitor) do(method, path, kind string, body []byte) *http.Response {
	v.t.Helper()
	w := httptest.NewRecorder()
	v.handler.ServeHTTP(w, v.request(method, path, kind, body))
	for _, c := range w.Result().Cookies() {
		v.cookies[c.Name] = c.Value
	}
	return w.Result()
}

// request is one as the visitor sends it.
func (v *visitor) request(method, path, kind string, body []byte) *http.Request {
	r := httptest.NewRequest(method, path, bytes.NewReader(body)).WithContext(v.t.Context())
	r.RemoteAddr = v.address + ":40000"
	if kind != "" {
		r.Header.Set("Content-Type", kind)
	}
	if v.token != "" {
		r.Header.Set("Authorization", "Bearer "+v.token)
	}
	for k, value := range v.cookies {
		r.AddCookie(&http.Cookie{Name: k, Value: value})
	}
	r.Header.Set(xsrfHeader, v.cookies[xsrfCookie])
	for k, value := range v.header {
		r.Header.Set(k, value)
	}
	return r
}

// api sends JSON and returns the status and the code of a problem.
func (v *visitor) api(method, path string, body any) (status int, code string) {
	v.t.Helper()
	var b []byte
	if body != nil {
		b, _ = json.Marshal(body)
	}
	res := v.do(method, "/api/v1"+path, "application/json", b)
	var p struct{ Code string }
	json.NewDecoder(res.Body).Decode(&p)
	return res.StatusCode, p.Code
}

func (v *visitor) form(path string, pairs ...string) (status int, text string) {
	v.t.Helper()
	q := url.Values{"_xsrf": {v.cookies[xsrfCookie]}}
	for i := 0; i < len(pairs); i += 2 {
		q.Set(pairs[i], pairs[i+1])
	}
	res := v.do("POST", path, "application/x-www-form-urlencoded", []byte(q.Encode()))
	b, _ := io.ReadAll(res.Body)
	return res.StatusCode, string(b)
}

func (v *visitor) signIn(name, password string) int {
	v.t.Helper()
	status, _ := v.form("/signin", "name", name, "password", password)
	return status
}

func (v *visitor) signedIn(what string, want int) {
	v.t.Helper()
	if status, _ := v.api("GET", "/me", nil); status != want {
		v.t.Errorf("%s: GET /me is %d, want %d", what, status, want)
	}
}

func TestPasswordOverHTTP(t *testing.T) {
	d := newDoor(t)
	ada := d.user("ada", "first-password")
	d.user("bob", "bobs-password")
	_, token, err := d.hub.AddToken(t.Context(), ada, "script")
	if err != nil {
		t.Fatal(err)
	}
	script := &visitor{door: d, address: "192.0.2.9", token: token, cookies: map[string]string{}}
	here, there, bob := d.visitor("192.0.2.1"), d.visitor("192.0.2.2"), d.visitor("192.0.2.3")
	for _, v := range []*visitor{here, there} {
		if status := v.signIn("ada", "first-password"); status != http.StatusSeeOther {
			t.Fatalf("signing in: %d", status)
		}
	}
	bob.signIn("bob", "bobs-password")

	for name, body := range map[string]any{
		"none": map[string]string{"password": "second-password"}, "wrong": map[string]string{"present": "nonsense", "password": "second-password"},
	} {
		if status, code := here.api("POST", "/password", body); status != http.StatusForbidden || code != "wrong_password" {
			t.Errorf("present password %s: %d %s", name, status, code)
		}
		if status, code := script.api("POST", "/password", body); status != http.StatusForbidden || code != "wrong_password" {
			t.Errorf("by token, present password %s: %d %s", name, status, code)
		}
	}
	if status, text := here.form("/account/password", "password", "second-password", "again", "second-password"); status == http.StatusSeeOther || !strings.Contains(text, "The present password is wrong.") || !strings.Contains(text, `name="present"`) {
		t.Errorf("the form without it: %d %s", status, text)
	}
	there.signedIn("nothing has changed yet", 200)

	if status, code := here.api("POST", "/password", map[string]string{"present": "first-password", "password": "second-password"}); status != http.StatusNoContent {
		t.Fatalf("with the present password: %d %s", status, code)
	}
	here.signedIn("the browser it was done in", 200)
	there.signedIn("another browser", 401)
	script.signedIn("a token", 200)
	bob.signedIn("somebody else", 200)
	if there.signIn("ada", "first-password") == http.StatusSeeOther || there.signIn("ada", "second-password") != http.StatusSeeOther {
		t.Error("the old password signs in, or the new one does not")
	}
	if status, text := here.form("/account/password", "present", "second-password", "password", "third-password", "again", "third-password"); status != http.StatusSeeOther {
		t.Errorf("the form with it: %d %s", status, text)
	}
	here.signedIn("the browser with the form", 200)
	there.signedIn("another browser after the form", 401)

	// By a token no browser is the one it is done in.
	if status, code := script.api("POST", "/password", map[string]string{"present": "third-password", "password": "fourth-password"}); status != http.StatusNoContent {
		t.Errorf("by token: %d %s", status, code)
	}
	here.signedIn("a browser, after a token did it", 401)
	here.signIn("ada", "fourth-password")
	here.signedIn("signed in again", 200)

	if err := d.hub.SetPassword(t.Context(), ada, "given-by-another"); err != nil { // what cellar user password does
		t.Fatal(err)
	}
	here.signedIn("after an administrator", 401)
	script.signedIn("a token after an administrator", 200)
	bob.signedIn("somebody else", 200)
}

func TestTheFirstPasswordHasNoneBeforeIt(t *testing.T) {
	d := newDoor(t)
	v := d.visitor("192.0.2.1")
	admin, err := d.hub.FirstStart(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if v.cookies[loginCookie], err = d.hub.OpenLogin(t.Context(), admin); err != nil {
		t.Fatal(err)
	}
	if res := v.do("GET", "/welcome", "", nil); res.StatusCode != 200 {
		t.Errorf("the page: %d", res.StatusCode)
	} else if b, _ := io.ReadAll(res.Body); bytes.Contains(b, []byte(`name="present"`)) {
		t.Error("it asks for a password that there is not")
	}
	if status, text := v.form("/account/password", "password", "first-password", "again", "first-password"); status != http.StatusSeeOther {
		t.Fatalf("%d %s", status, text)
	}
	v.signedIn("afterwards", 200)
	res := v.do("GET", "/account", "", nil)
	if b, _ := io.ReadAll(res.Body); !bytes.Contains(b, []byte(`name="present"`)) {
		t.Error("the account page does not ask for the present password")
	}
}

// One machine does not get to try every name.
func TestSigningInIsLimitedByAddress(t *testing.T) {
	d := newDoor(t, "10.0.0.0/8")
	d.user("ada", "adas-password")
	// Attempts for one name are limited to ten: more names are needed, which need not exist.
	tooLong := strings.Repeat("x", 2000) // wrong at a glance: fifty hashes would take a while
	tries := func(v *visitor, n int) (last int) {
		for i := range n {
			last = v.signIn("nobody"+v.address+v.header["X-Forwarded-For"]+string(rune('a'+i/8)), tooLong)
		}
		return last
	}
	direct := d.visitor("192.0.2.1")
	direct.header = map[string]string{"X-Forwarded-For": "198.51.100.1"} // made up: it is no proxy
	if status := tries(direct, 50); status != http.StatusForbidden {
		t.Fatalf("fifty attempts: %d", status)
	}
	if status, text := direct.form("/signin", "name", "ada", "password", "adas-password"); status != http.StatusTooManyRequests || !strings.Contains(text, "Too many attempts from your address") {
		t.Errorf("one more: %d %s", status, text)
	}
	direct.header["X-Forwarded-For"] = "198.51.100.2"
	if status := direct.signIn("ada", "adas-password"); status != http.StatusTooManyRequests {
		t.Errorf("under a made-up address: %d", status)
	}
	if status := d.visitor("192.0.2.2").signIn("ada", "adas-password"); status != http.StatusSeeOther {
		t.Errorf("another machine: %d", status)
	}

	// Behind a proxy it is the person's address that counts, not the proxy's.
	far, near := d.visitor("10.0.0.1"), d.visitor("10.0.0.1")
	far.header, near.header = map[string]string{"X-Forwarded-For": "203.0.113.7"}, map[string]string{"X-Forwarded-For": "203.0.113.8"}
	tries(far, 50)
	if status := far.signIn("ada", "adas-password"); status != http.StatusTooManyRequests {
		t.Errorf("through the proxy: %d", status)
	}
	if status := near.signIn("ada", "adas-password"); status != http.StatusSeeOther {
		t.Errorf("another person through the same proxy: %d", status)
	}
	far.header["X-Forwarded-For"] = "203.0.113.99, 203.0.113.7, 10.0.0.2" // the first made up, the last a second proxy
	if status := far.signIn("ada", "adas-password"); status != http.StatusTooManyRequests {
		t.Errorf("with an address in front: %d", status)
	}
}
