package server

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cellar/server/hub"
)

type madeShare struct{ ID, URL, Name string }

// share makes a link and returns it.
func (w *town) share(p, body string) madeShare {
	w.t.Helper()
	got := w.ask(w.by(w.owner, "token"), "POST", "/api/v1/projects/"+p+"/shares", body)
	if got.status != 201 {
		w.t.Fatalf("%s: %d %s", body, got.status, got.body)
	}
	var out madeShare
	if err := json.Unmarshal([]byte(got.body), &out); err != nil || len(out.URL) < 32 {
		w.t.Fatalf("%v: %s", err, got.body)
	}
	return out
}

func (w *town) write(p, name, text string) {
	w.t.Helper()
	if err := os.WriteFile(filepath.Join(w.hub.FilesDir(p), name), []byte(text), 0o644); err != nil {
		w.t.Fatal(err)
	}
}

// aNotebook has one cell of code.
func aNotebook(source string) string {
	b, _ := json.Marshal(map[string]any{"cells": []any{map[string]any{"cell_type": "code", "id": "a", "metadata": map[string]any{}, "source": source, "outputs": []any{}, "execution_count": nil}}, "metadata": map[string]any{}, "nbformat": 4, "nbformat_minor": 5})
	return string(b)
}

// page asks as a browser does that shows a page.
func page(v *visitor) *visitor {
	v.header = map[string]string{"Accept": "text/html"}
	return v
}

// TestSharedPages: who may look at what, and how it is answered.
func TestSharedPages(t *testing.T) {
	w := newTown(t)
	p := w.project()
	w.write(p, "n.ipynb", aNotebook("secret_of_the_notebook"))
	anyone := w.share(p, `{"notebook":"n.ipynb","name":"for all"}`)
	people := w.share(p, `{"notebook":"n.ipynb","audience":"people"}`)
	named := w.share(p, `{"notebook":"n.ipynb","audience":"named","people":["bob"],"name":"for bob"}`)
	carol := w.user("carol", "")
	visitors := map[string]*visitor{"nobody": w.visitor("192.0.2.7"), "bob": w.by(w.stranger, "cookie"), "carol": w.by(carol, "cookie"), "owner": w.by(w.owner, "cookie")}
	may := map[string]map[string]bool{
		anyone.URL:             {"nobody": true, "bob": true, "carol": true, "owner": true},
		people.URL:             {"bob": true, "carol": true, "owner": true},
		named.URL:              {"bob": true, "owner": true},
		"/shared/" + named.ID:  {"bob": true, "owner": true},
		"/shared/" + people.ID: {"owner": true},
		"/shared/" + anyone.ID: {"owner": true},
		"/s/" + anyone.ID:      {},
		anyone.URL + "x":       {},
		"/s/" + strings.ToUpper(strings.TrimPrefix(anyone.URL, "/s/")): {},
	}
	for url, who := range may {
		for name, v := range visitors {
			outer := w.ask(page(v), "GET", url, "")
			inner := w.ask(page(v), "GET", url+"/notebook", "")
			want := 404
			if who[name] {
				want = 200
			} else if name == "nobody" && strings.HasPrefix(url, "/shared/") {
				want = 302 // to sign in, whether there is one or not
			}
			if outer.status != want || inner.status != want {
				t.Errorf("%s by %s: %d and %d, want %d", url, name, outer.status, inner.status, want)
			}
			if got := strings.Contains(inner.body, "secret_of_the_notebook"); got != (want == 200) || strings.Contains(outer.body, "secret_of_the_notebook") {
				t.Errorf("%s by %s: the notebook is shown: %v", url, name, got)
			}
			for _, r := range []reply{outer, inner} {
				if r.header.Get("Referrer-Policy") != "no-referrer" || !strings.Contains(r.header.Get("X-Robots-Tag"), "noindex") || r.header.Get("Cache-Control") != "no-store" {
					t.Errorf("%s by %s: %v", url, name, r.header)
				}
			}
			if policy := inner.header.Get("Content-Security-Policy"); want == 200 && (!strings.Contains(policy, "; sandbox") || strings.Contains(policy, "allow-scripts") || strings.Contains(policy, "allow-same-origin") || !strings.HasPrefix(policy, "default-src 'none'")) {
				t.Errorf("%s: %s", url, policy)
			}
		}
	}
	// Those who are named find it in their list, and nobody else.
	for name, want := range map[string]int{"bob": 1, "carol": 0, "owner": 0} {
		v := visitors[name]
		v.header = nil
		got := w.ask(v, "GET", "/api/v1/shared", "")
		if strings.Count(got.body, `"id"`) != want || strings.Contains(got.body, strings.TrimPrefix(named.URL, "/s/")) {
			t.Errorf("shared with %s: %s", name, got.body)
		}
	}
}

// TestLinksAreLimited: what the operator does not allow cannot be made, and what was
// made before is not shown.
func TestLinksAreLimited(t *testing.T) {
	w := newTown(t)
	p := w.project()
	anyone, named := w.share(p, `{"notebook":"n.ipynb"}`), w.share(p, `{"notebook":"n.ipynb","audience":"named","people":["bob"]}`)
	nobody, bob, owner := w.visitor("192.0.2.7"), w.by(w.stranger, "token"), w.by(w.owner, "token")
	for limit, c := range map[string]struct {
		make, people           string
		nobody, bob, bobByName int
	}{
		"":       {"201", "201", 200, 200, 200},
		"people": {"403 links_limited", "201", 404, 200, 200},
		"none":   {"403 links_off", "403 links_off", 404, 404, 404},
	} {
		w.server.hub.Links = limit
		at := "/api/v1/projects/" + p + "/shares"
		wanted(t, limit, "owner", "token", w.ask(owner, "POST", at, `{"notebook":"n.ipynb"}`), c.make)
		wanted(t, limit, "owner", "token", w.ask(owner, "POST", at, `{"notebook":"n.ipynb","audience":"people"}`), c.people)
		if a, b, n := w.ask(nobody, "GET", anyone.URL, "").status, w.ask(bob, "GET", anyone.URL, "").status, w.ask(bob, "GET", "/shared/"+named.ID, "").status; a != c.nobody || b != c.bob || n != c.bobByName {
			t.Errorf("%q: %d %d %d", limit, a, b, n)
		}
	}
}

// TestRevokedLink: one that was revoked, one that has expired and one that never
// was cannot be told apart.
func TestRevokedLink(t *testing.T) {
	w := newTown(t)
	p := w.project()
	revoked, kept := w.share(p, `{"notebook":"n.ipynb"}`), w.share(p, `{"notebook":"n.ipynb","expires_seconds":3600}`)
	v := w.visitor("192.0.2.9")
	if got := w.ask(v, "GET", revoked.URL, ""); got.status != 200 {
		t.Fatal(got.status)
	}
	w.ask(v, "GET", revoked.URL+"/notebook", "") // is remembered for a moment
	if got := w.ask(w.by(w.owner, "token"), "DELETE", "/api/v1/projects/"+p+"/shares/"+revoked.ID, ""); got.status != 204 {
		t.Fatal(got)
	}
	for _, rest := range []string{"", "/notebook"} {
		for _, accept := range []string{"text/html", "*/*"} {
			v.header = map[string]string{"Accept": accept}
			a, b := w.ask(v, "GET", revoked.URL+rest, ""), w.ask(v, "GET", "/s/"+strings.Repeat("a", 32)+rest, "")
			secret := strings.TrimPrefix(revoked.URL, "/s/")
			if a.status != 404 || strings.ReplaceAll(a.body, secret, "?") != strings.ReplaceAll(b.body, strings.Repeat("a", 32), "?") || headers(a.header) != headers(b.header) {
				t.Errorf("%s %s: %d %s %s\nbut %d %s %s", rest, accept, a.status, a.body, headers(a.header), b.status, b.body, headers(b.header))
			}
		}
	}
	if got := w.ask(v, "GET", kept.URL, ""); got.status != 200 {
		t.Errorf("the other link: %d", got.status)
	}
}

// TestSharesAreBounded: wrong links are counted by address, looks by share; right
// ones are let in all the same.
func TestSharesAreBounded(t *testing.T) {
	w := newTown(t)
	p := w.project()
	good := w.share(p, `{"notebook":"n.ipynb"}`)
	v := w.visitor("192.0.2.33")
	refused := 0
	for range 60 {
		if w.ask(v, "GET", "/s/wrong", "").status == 429 {
			refused++
		}
	}
	if refused != 10 {
		t.Errorf("%d of 60 wrong ones were refused", refused)
	}
	if got := w.ask(v, "GET", good.URL, ""); got.status != 200 {
		t.Errorf("a right one: %d", got.status)
	}
	busy := 0
	for range 100 {
		if got := w.ask(v, "GET", good.URL, ""); got.status == 429 && got.header.Get("Retry-After") != "" {
			busy++
		}
	}
	if busy == 0 {
		t.Error("a hundred looks at once were all answered")
	}
	for what, body := range map[string]string{
		"400 person_unknown":     `{"notebook":"n.ipynb","audience":"named","people":["nobody"]}`,
		"400 people_missing":     `{"notebook":"n.ipynb","audience":"named"}`,
		"400 people_unwanted":    `{"notebook":"n.ipynb","people":["bob"]}`,
		"400 expiry_invalid":     `{"notebook":"n.ipynb","expires_seconds":99999999}`,
		"400 copies_invalid":     `{"notebook":"n.ipynb","copies":"state"}`,
		"404 notebook_not_found": `{"notebook":"none.ipynb"}`,
		"400 not_a_notebook":     `{"notebook":"a.txt"}`,
		"400 bad_path":           `{"notebook":"../x.ipynb"}`,
		"404 not_found":          `{"checkpoint":"none"}`,
		"422 no_notebook":        `{}`,
	} {
		got := w.ask(w.by(w.owner, "token"), "POST", "/api/v1/projects/"+p+"/shares", body)
		wanted(t, body, "owner", "token", got, what)
	}
}

// TestShareFollowsItsNotebook: it goes where the notebook goes, and ends with it.
func TestShareFollowsItsNotebook(t *testing.T) {
	w := newTown(t)
	p := w.project()
	owner, v := w.by(w.owner, "token"), w.visitor("192.0.2.8")
	w.write(p, "n.ipynb", aNotebook("first"))
	s := w.share(p, `{"notebook":"n.ipynb"}`)
	at := "/projects/" + p + "/api/contents/"
	if got := w.ask(owner, "POST", at, `{"type":"directory"}`); got.status != 201 {
		t.Fatal(got)
	}
	if got := w.ask(owner, "PATCH", at+"n.ipynb", `{"path":"Untitled Folder/m.ipynb"}`); got.status != 200 {
		t.Fatal(got)
	}
	if got := w.ask(owner, "PATCH", at+"Untitled%20Folder", `{"path":"deep"}`); got.status != 200 {
		t.Fatal(got)
	}
	w.write(p, "n.ipynb", aNotebook("another one"))
	if got := w.ask(v, "GET", s.URL+"/notebook", ""); !strings.Contains(got.body, "first") {
		t.Errorf("after it was moved: %d %.300s", got.status, got.body)
	}
	if got := w.ask(owner, "DELETE", at+"deep", ""); got.status != 204 {
		t.Fatal(got)
	}
	if got := w.ask(v, "GET", s.URL, ""); got.status != 404 || got.code != "not_shared" {
		t.Errorf("after it was deleted: %d", got.status)
	}
}

// TestCopyIsOnesOwn: a copy belongs to who makes it, has the notebook alone, and
// trusts none of its outputs.
func TestCopyIsOnesOwn(t *testing.T) {
	w := newTown(t)
	p := w.project()
	hostile := strings.Replace(aNotebook("x"), `"outputs":[]`, `"outputs":[{"output_type":"display_data","metadata":{},"data":{"text/html":"<script>x()</script>"}}]`, 1)
	w.write(p, "n.ipynb", hostile)
	s := w.share(p, `{"notebook":"n.ipynb","audience":"named","people":["bob"]}`)
	bob := w.by(w.stranger, "cookie")
	var o hub.OperationState
	for _, body := range []string{`{"share":"` + s.ID + `","name":"Mine"}`, `{"secret":"` + strings.TrimPrefix(s.URL, "/s/") + `","name":"Mine"}`} {
		got := w.ask(bob, "POST", "/api/v1/shared/copy", body)
		if got.status != 202 || json.Unmarshal([]byte(got.body), &o) != nil {
			t.Fatalf("%d %s", got.status, got.body)
		}
		for deadline := time.Now().Add(20 * time.Second); !o.Done && time.Now().Before(deadline); {
			if got = w.ask(bob, "GET", "/api/v1/operations/"+o.ID, ""); got.status != 200 || json.Unmarshal([]byte(got.body), &o) != nil {
				t.Fatalf("%d %s", got.status, got.body)
			}
		}
		if o.Error != nil || !o.Done {
			t.Fatalf("%+v", o)
		}
		for _, other := range []*visitor{w.by(w.user("eve"+o.ID, ""), "token"), w.by(w.owner, "token")} {
			if got := w.ask(other, "GET", "/api/v1/operations/"+o.ID, ""); got.status != 404 {
				t.Errorf("somebody else sees the operation: %d", got.status)
			}
		}
	}
	for _, id := range []string{"mine", "mine-2"} {
		if got := w.ask(bob, "GET", "/projects/"+id+"/api/contents/n.ipynb", ""); got.status != 200 || !strings.Contains(got.body, "x()") || strings.Contains(got.body, `"trusted":true`) {
			t.Errorf("the copy: %d %s", got.status, got.body)
		}
		if got := w.ask(bob, "GET", "/projects/"+id+"/api/contents/a.txt", ""); got.status != 404 {
			t.Errorf("another file came along: %d", got.status)
		}
		if got := w.ask(w.by(w.owner, "token"), "GET", "/api/v1/projects/"+id, ""); got.status != 404 {
			t.Errorf("its author may open it: %d", got.status)
		}
	}
	if got := w.ask(w.by(w.user("dora", ""), "token"), "POST", "/api/v1/shared/copy", `{"share":"`+s.ID+`","name":"x"}`); got.status != 404 {
		t.Errorf("somebody who is not named: %d", got.status)
	}
}

// TestSharedBelowABasePath: all addresses of a page have the base path.
func TestSharedBelowABasePath(t *testing.T) {
	w := newTown(t, func(o *Options) { o.Base = "/cellar" })
	p := w.project()
	owner := w.by(w.owner, "token")
	got := w.ask(owner, "POST", "/cellar/api/v1/projects/"+p+"/shares", `{"notebook":"n.ipynb"}`)
	var s madeShare
	if err := json.Unmarshal([]byte(got.body), &s); err != nil || !strings.HasPrefix(s.URL, "/cellar/s/") {
		t.Fatalf("%d %s", got.status, got.body)
	}
	v := page(w.visitor("192.0.2.7"))
	got = w.ask(v, "GET", s.URL, "")
	for _, want := range []string{`src="` + s.URL + `/notebook"`, `href="/cellar/signin?next=%2Fcellar%2Fs%2F`} {
		if !strings.Contains(got.body, want) {
			t.Errorf("no %s in %s", want, got.body)
		}
	}
	if got := w.ask(v, "GET", s.URL+"/notebook", ""); got.status != 200 {
		t.Errorf("the notebook: %d", got.status)
	}
	if got := w.ask(v, "GET", "/cellar/s/none", ""); got.status != 404 || !strings.Contains(got.body, `/cellar/signin?next=%2fcellar%2fs%2fnone`) {
		t.Errorf("none: %d %s", got.status, got.body)
	}
	if got := w.ask(v, "GET", s.URL+"/", ""); got.status != 404 {
		t.Errorf("a slash more: %d", got.status)
	}
}

func TestForLog(t *testing.T) {
	for in, want := range map[string]string{"/s/abc": "/s/…", "/s/abc/notebook": "/s/…/notebook", "/p/x": "/p/x", "/s/": "/s/…", "/shared/x": "/shared/x"} {
		if got := forLog(in); got != want {
			t.Errorf("%s: %s", in, got)
		}
	}
}
