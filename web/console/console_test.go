package console

import (
	"html"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"
)

const hostile = `"'><script>alert(1)</script><img src=x onerror=alert(1)> ${x} {{.}}` + "`"

func newConsole(t *testing.T) *Console {
	t.Helper()
	c, err := New()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// everyPage renders each page for the given person and prefix, with text in every place for text.
func everyPage(c *Console, base, text string, person *Person) map[string]*httptest.ResponseRecorder {
	p := Page{Base: base, Person: person, XSRF: text, Version: text}
	r := httptest.NewRequest(http.MethodGet, base+"/", nil)
	out := map[string]*httptest.ResponseRecorder{}
	render := func(name string, f func(w http.ResponseWriter)) {
		w := httptest.NewRecorder()
		f(w)
		out[name] = w
	}
	if person != nil {
		render("home", func(w http.ResponseWriter) { c.Home(w, r, p) })
		render("project", func(w http.ResponseWriter) { c.Project(w, r, p, ProjectInfo{ID: text, Name: text}) })
		render("node", func(w http.ResponseWriter) {
			c.Node(w, r, p, ProjectInfo{ID: text, Name: text}, NodeInfo{ID: text, Name: text})
		})
		render("sessions", func(w http.ResponseWriter) { c.Sessions(w, r, p) })
		render("account", func(w http.ResponseWriter) { c.Account(w, r, p) })
		render("usage", func(w http.ResponseWriter) { c.Usage(w, r, p) })
		render("people", func(w http.ResponseWriter) { c.People(w, r, p) })
		render("machine", func(w http.ResponseWriter) { c.Machine(w, r, p) })
	}
	render("signin", func(w http.ResponseWriter) { c.SignIn(w, r, p, "/"+text, text, http.StatusUnauthorized) })
	render("firstpassword", func(w http.ResponseWriter) { c.FirstPassword(w, r, p, text) })
	render("error", func(w http.ResponseWriter) { c.Error(w, r, p, http.StatusNotFound, text, text, text) })
	return out
}

var tag = regexp.MustCompile(`<(/?)([a-zA-Z][a-zA-Z0-9]*)((?:[^>"']|"[^"]*"|'[^']*')*)>`)
var attribute = regexp.MustCompile(`\s([a-zA-Z-]+)(?:="([^"]*)")?`)

// attributes of a tag, by name; the names in order.
func attributes(s string) (map[string]string, []string) {
	values, names := map[string]string{}, []string{}
	for _, m := range attribute.FindAllStringSubmatch(s, -1) {
		values[strings.ToLower(m[1])] = html.UnescapeString(m[2])
		names = append(names, strings.ToLower(m[1]))
	}
	return values, names
}

func TestHostileTextStaysText(t *testing.T) {
	c := newConsole(t)
	for _, person := range []*Person{nil, {Name: hostile, Admin: true, HasPassword: true}, {Name: hostile}} {
		for name, w := range everyPage(c, "/cellar", hostile, person) {
			body := w.Body.String()
			if strings.Contains(body, "<script>") || strings.Contains(body, "<img src=x") || strings.Contains(body, "ZgotmplZ") {
				t.Errorf("%s: hostile text became markup:\n%s", name, body)
			}
			if person != nil && !strings.Contains(html.UnescapeString(body), hostile) {
				t.Errorf("%s: the text is not shown as it is", name)
			}
		}
	}
}

func TestPagesKeepTheirPolicy(t *testing.T) {
	c := newConsole(t)
	for _, base := range []string{"", "/cellar"} {
		for name, w := range everyPage(c, base, hostile, &Person{Name: hostile, Admin: true}) {
			for header, want := range map[string]string{
				"Content-Security-Policy": Policy, "Cache-Control": "no-store",
				"X-Content-Type-Options": "nosniff", "Content-Type": "text/html; charset=utf-8",
			} {
				if got := w.Header().Get(header); got != want {
					t.Errorf("%s: %s is %q, want %q", name, header, got, want)
				}
			}
			for _, m := range tag.FindAllStringSubmatch(w.Body.String(), -1) {
				checkTag(t, name, base, m[2], m[0], m[3])
			}
		}
	}
}

func checkTag(t *testing.T, page, base, element, whole, rest string) {
	values, names := attributes(rest)
	for _, a := range names {
		if strings.HasPrefix(a, "on") || a == "style" || a == "srcdoc" {
			t.Errorf("%s: inline %s in %s", page, a, whole)
		}
	}
	switch {
	case element == "style":
		t.Errorf("%s: inline style", page)
	case element == "script" && !strings.HasPrefix(whole, "</") && values["src"] == "":
		t.Errorf("%s: inline script", page)
	}
	for _, a := range []string{"src", "href", "action"} {
		v, found := values[a]
		if found && v != "#main" && !strings.HasPrefix(v, base+"/") {
			t.Errorf("%s: %s leads out of the hub: %s", page, a, whole)
		}
	}
}

func TestPagesAskForFilesThatExist(t *testing.T) {
	c := newConsole(t)
	for name, w := range everyPage(c, "/cellar", "x", &Person{Name: "vera", Admin: true}) {
		asked := 0
		for _, m := range regexp.MustCompile(`(?:src|href)="(/cellar/static/[^"]*)"`).FindAllStringSubmatch(w.Body.String(), -1) {
			asked++
			got := httptest.NewRecorder()
			c.Static().ServeHTTP(got, httptest.NewRequest(http.MethodGet, m[1], nil))
			if got.Code != http.StatusOK || !strings.Contains(got.Header().Get("Cache-Control"), "immutable") {
				t.Errorf("%s: %s answers %d, cached as %q", name, m[1], got.Code, got.Header().Get("Cache-Control"))
			}
		}
		if asked < 3 {
			t.Errorf("%s asks for %d files only", name, asked)
		}
	}
}

func TestNavigationKnowsThePerson(t *testing.T) {
	c := newConsole(t)
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	for _, test := range []struct {
		person     *Person
		has, hasnt []string
	}{
		{&Person{Name: "vera", Admin: true}, []string{`href="/people"`, `href="/machine"`, `action="/signout"`, `name="_xsrf" value="tok"`}, nil},
		{&Person{Name: "lev"}, []string{`href="/account"`, `href="/sessions"`, `action="/signout"`}, []string{`href="/people"`, `href="/machine"`}},
		{nil, []string{`href="/"`}, []string{`href="/people"`, `action="/signout"`, `href="/account"`}},
	} {
		w := httptest.NewRecorder()
		c.Error(w, r, Page{Person: test.person, XSRF: "tok"}, http.StatusNotFound, "", "", "")
		for _, s := range test.has {
			if !strings.Contains(w.Body.String(), s) {
				t.Errorf("%v: no %s", test.person, s)
			}
		}
		for _, s := range test.hasnt {
			if strings.Contains(w.Body.String(), s) {
				t.Errorf("%v: has %s", test.person, s)
			}
		}
		if w.Code != http.StatusNotFound || !strings.Contains(w.Body.String(), "Not Found") {
			t.Errorf("status %d", w.Code)
		}
	}
}

func TestSignInKeepsNextOnThisServer(t *testing.T) {
	for next, want := range map[string]string{
		"": "/cellar/", "/cellar/p/x?a=b": "/cellar/p/x?a=b", "//evil.example": "/cellar/", "https://evil.example": "/cellar/",
		`/\evil.example`: "/cellar/", "javascript:alert(1)": "/cellar/", "/\t/evil.example": "/cellar/",
	} {
		if got := local("/cellar", next); got != want {
			t.Errorf("local(%q) is %q, want %q", next, got, want)
		}
	}
}

// The present password is asked for where there is one, and nowhere else.
func TestThePresentPassword(t *testing.T) {
	c := newConsole(t)
	for has, want := range map[bool]int{true: 1, false: 0} {
		pages := everyPage(c, "/cellar", "tok", &Person{Name: "vera", HasPassword: has})
		for _, name := range []string{"account", "firstpassword"} {
			if n := strings.Count(pages[name].Body.String(), `name="present" autocomplete="current-password" required`); n != want {
				t.Errorf("%s, password %v: asked %d times", name, has, n)
			}
		}
	}
}

func TestForms(t *testing.T) {
	c := newConsole(t)
	pages := everyPage(c, "/cellar", "tok", &Person{Name: "vera", HasPassword: true})
	for name, want := range map[string][]string{
		"signin":        {`action="/cellar/signin"`, `name="name"`, `name="password"`, `name="next" value="/tok"`, `name="_xsrf" value="tok"`},
		"firstpassword": {`action="/cellar/account/password"`, `name="password"`, `name="again"`, `name="_xsrf" value="tok"`, `<a href="/cellar/">Later</a>`},
		"account":       {`action="/cellar/account/password"`, `name="password"`, `name="again"`, `autocomplete="new-password"`, `name="present"`},
		"project":       {`data-id="tok"`, `href="/cellar/projects/tok/lab"`},
	} {
		for _, s := range want {
			if !strings.Contains(pages[name].Body.String(), s) {
				t.Errorf("%s has no %s", name, s)
			}
		}
	}
	if code := pages["signin"].Code; code != http.StatusUnauthorized {
		t.Errorf("a refused sign-in answers %d", code)
	}
}

func TestProjectIDInAddresses(t *testing.T) {
	v := view{Page: Page{Base: "/cellar"}, Project: ProjectInfo{ID: "a/../b?c#d"}}
	if got, want := v.LabURL(), "/cellar/projects/a%2F..%2Fb%3Fc%23d/lab"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// The modules put text in as text, and find one another.
func TestModules(t *testing.T) {
	forbidden := regexp.MustCompile(`innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|setAttribute\("(?:style|on)|javascript:|cssText`)
	imports := regexp.MustCompile(`from "([^"]+)"`)
	files, err := os.ReadDir("static")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		b, err := os.ReadFile("static/" + f.Name())
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(f.Name(), ".js") {
			continue
		}
		if m := forbidden.Find(b); m != nil {
			t.Errorf("%s uses %s", f.Name(), m)
		}
		for _, m := range imports.FindAllSubmatch(b, -1) {
			if _, err := os.Stat("static/" + strings.TrimPrefix(string(m[1]), "./")); err != nil {
				t.Errorf("%s imports %s: %v", f.Name(), m[1], err)
			}
		}
	}
}
