package main

import (
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"cellar/internal/testkit"
)

// galataFiles build Galata's helper as an extension, and configure Playwright.
//
//go:embed galata
var galataFiles embed.FS

// galataVersion is that of @jupyterlab/galata on npm which goes with the JupyterLab
// that Cellar is built with.
const galataVersion = "5.6.3"

const galataManifest = `{
  "name": "galata-tests", "version": "0.0.0", "private": true,
  "dependencies": {
    "@jupyterlab/galata": "` + galataVersion + `",
    "@playwright/test": "^1.60.0",
    "@fontsource-variable/noto-sans-sc": "^5.2.10",
    "@fontsource/dejavu-mono": "^5.2.5",
    "@fontsource/dejavu-sans": "^5.2.5",
    "@rspack/core": "2.2.9",
    "@module-federation/runtime-tools": "^2.0.0",
    "css-loader": "^7.0.0",
    "style-loader": "^4.0.0"
  }
}
`

// galataChecks are JupyterLab's UI tests, a check for each of their files that a word
// of GALATA names: GALATA="jupyterlab/notebook-create galata/contents".
func galataChecks() (out []*check, err error) {
	words := strings.Fields(os.Getenv("GALATA"))
	source := os.Getenv(labSource)
	if len(words) == 0 {
		return nil, nil
	}
	if source == "" {
		return nil, fmt.Errorf("GALATA wants %s too", labSource)
	}
	tests := filepath.Join(source, "galata", "test")
	isTest := regexp.MustCompile(`\.(test|spec)\.ts$`)
	err = filepath.WalkDir(tests, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !isTest.MatchString(name) {
			return err
		}
		file, err := filepath.Rel(tests, name)
		if err != nil {
			return err
		}
		for _, word := range words {
			if strings.HasPrefix(file, word) {
				out = append(out, &check{
					name: "galata." + isTest.ReplaceAllString(file, ""), only: cellarSide, limit: 20 * time.Minute,
					why: "JupyterLab's UI tests drive the page that Cellar serves; JupyterLab runs them on jupyter_server itself",
					run: func(t *try) { t.playwright(source, file) },
				})
				break
			}
		}
		return nil
	})
	if err == nil && len(out) == 0 {
		err = fmt.Errorf("no test of %s begins with %s", tests, strings.Join(words, " or "))
	}
	return out, err
}

// galata is a project whose page has Galata's helper, and where its tests lie.
type galata struct {
	dir, state, address string
	site                *site
}

func (w *world) startGalata(t *try, source string) (*galata, error) {
	if w.galata != nil {
		return w.galata, nil
	}
	g := &galata{dir: filepath.Join(testkit.Cache(), "conformance", "galata"), state: filepath.Join(w.work, "galata-state.json")}
	if err := installed(t.ctx, g.dir, []byte(galataManifest)); err != nil {
		return nil, err
	}
	files, err := fs.Sub(galataFiles, "galata")
	if err != nil {
		return nil, err
	}
	for _, name := range []string{"rspack.config.cjs", "build.cjs", "playwright.config.cjs"} {
		text, err := fs.ReadFile(files, name)
		if err = errors.Join(err, os.WriteFile(filepath.Join(g.dir, name), text, 0o644)); err != nil {
			return nil, err
		}
	}
	tests := filepath.Join(g.dir, "test")
	if err := errors.Join(os.RemoveAll(tests), os.CopyFS(tests, os.DirFS(filepath.Join(source, "galata", "test")))); err != nil {
		return nil, err
	}
	build := exec.CommandContext(t.ctx, "node", "build.cjs")
	build.Dir = g.dir
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("building Galata's helper: %w: %s", err, out)
	}
	if err := w.galataHub(t, g); err != nil {
		return nil, err
	}
	w.galata = g
	return g, nil
}

// galataHub starts a hub whose pages have the helper, and signs a browser in.
func (w *world) galataHub(t *try, g *galata) error {
	const name = "cellar-galata"
	data := filepath.Join(w.work, name+".data")
	if err := os.CopyFS(filepath.Join(data, "labextensions"), os.DirFS(filepath.Join(g.dir, "labextensions"))); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(data, "labconfig"), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(data, "labconfig", "page_config.json"), []byte(`{"exposeAppInBrowser": true}`), 0o644); err != nil {
		return err
	}
	h, err := w.startHub(context.WithoutCancel(t.ctx), name)
	if err != nil {
		return err
	}
	if g.site, err = h.project(t.ctx, "Galata"); err != nil {
		return err
	}
	if g.address, err = w.atRoot(g.site); err != nil {
		return err
	}
	one := &try{site: g.site, ctx: t.ctx, world: w}
	for _, m := range one.get("api/contents").contentNames() { // the tests want an empty folder
		one.call(http.StatusNoContent, "DELETE", "api/contents/"+url.PathEscape(m), nil)
	}
	u, err := url.Parse(g.site.base)
	if err != nil {
		return err
	}
	var cookies []map[string]any
	for _, c := range one.browser().Jar.Cookies(u) {
		cookies = append(cookies, map[string]any{
			"name": c.Name, "value": c.Value, "domain": u.Hostname(), "path": "/", "expires": -1, "httpOnly": c.Name != "_xsrf", "secure": false, "sameSite": "Lax",
		})
	}
	return os.WriteFile(g.state, part(map[string]any{"cookies": cookies, "origins": []any{}}), 0o600)
}

// contentNames are the names in a folder's model.
func (a *answer) contentNames() (out []string) {
	var m struct{ Content []struct{ Name string } }
	_ = json.Unmarshal(a.body, &m)
	for _, c := range m.Content {
		out = append(out, c.Name)
	}
	return out
}

// suite is a part of Playwright's report.
type suite struct {
	Suites []suite
	Specs  []struct {
		Title string
		Tests []struct {
			Status  string // expected, unexpected, flaky, skipped
			Results []struct{ Error struct{ Message string } }
		}
	}
}

// playwright runs one file of tests.
func (t *try) playwright(source, file string) {
	g, err := t.world.startGalata(t, source)
	t.must(err)
	report := filepath.Join(t.world.work, "playwright.json")
	os.Remove(report)
	cmd := exec.CommandContext(t.ctx, filepath.Join(g.dir, "node_modules", ".bin", "playwright"), "test", "--config=playwright.config.cjs", regexp.QuoteMeta("test/"+file)+"$")
	cmd.Dir = g.dir
	cmd.Env = append(os.Environ(), "TARGET_URL="+g.address, "CELLAR_TOKEN="+g.site.token, "STATE="+g.state,
		"RESULTS="+filepath.Join(t.world.work, "playwright"), "REPORT="+report)
	cmd.WaitDelay = 5 * time.Second
	said, runErr := cmd.CombinedOutput() // its status says no more than the report
	var all suite
	b, err := os.ReadFile(report)
	if err == nil {
		err = json.Unmarshal(b, &all)
	}
	if err != nil {
		t.failf("%v: %v: %s", runErr, err, said[max(0, len(said)-1500):])
	}
	passed, skipped := t.suite(all)
	t.note = fmt.Sprintf("%d tests passed", passed)
	if skipped > 0 {
		t.note += fmt.Sprintf(", %d skipped by the tests themselves", skipped)
	}
	if passed+len(t.parts)+skipped == 0 {
		t.failf("no test was run: %s", said[max(0, len(said)-1500):])
	}
}

func (t *try) suite(s suite) (passed, skipped int) {
	for _, below := range s.Suites {
		p, k := t.suite(below)
		passed, skipped = passed+p, skipped+k
	}
	for _, spec := range s.Specs {
		for _, one := range spec.Tests {
			switch one.Status {
			case "unexpected":
				why := "no reason told"
				if n := len(one.Results); n > 0 {
					why = firstLines(one.Results[n-1].Error.Message)
				}
				t.part(spec.Title, why)
			case "skipped":
				skipped++
			default: // a flaky one passed at its second try
				passed++
			}
		}
	}
	return passed, skipped
}
