package lab

import (
	"encoding/json"
	"html"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// icon is drawn in the page itself: one request less, and it is there before anything else.
const (
	iconStart = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><path d="M2 15V7a6 6 0 0 1 12 0v8z" fill="`
	iconEnd   = `"/><path d="M5 15V8a3 3 0 0 1 6 0v7z" fill="#fff"/></svg>`
	iconIdle  = iconStart + "#7a2e4d" + iconEnd
	iconBusy  = iconStart + "#d9822b" + iconEnd
)

// contentPolicy keeps the page out of strangers' frames and its base and forms at home. Scripts are not
// limited: the outputs of trusted cells bring their own and load libraries from anywhere, as in Jupyter.
const contentPolicy = "frame-ancestors 'self'; base-uri 'self'; form-action 'self'"

func (l *lab) labPage(w http.ResponseWriter, r *http.Request, rest string) error {
	mode := "multiple-document"
	if r.URL.Query().Get("mode") == "single-document" {
		mode = "single-document"
	}
	return l.page(w, r, rest, mode)
}

func (l *lab) docPage(w http.ResponseWriter, r *http.Request, rest string) error {
	return l.page(w, r, rest, "single-document")
}

// page answers the one HTML page there is. rest is [workspaces/NAME/][tree/PATH].
func (l *lab) page(w http.ResponseWriter, r *http.Request, rest, mode string) error {
	workspace, tree, ok := parsePage(rest)
	if !ok {
		return errNothing
	}
	config := l.pageConfig(base(r))
	operator, err := l.operatorConfig()
	if err != nil { // the operator's slip must not keep people out
		l.Log.Error("the operator's page config is left out", "error", err)
	}
	maps.Copy(config, operator)
	over, err := l.Page(r)
	if err != nil {
		return err
	}
	maps.Copy(config, over)
	config["disabledExtensions"] = l.disabled(operator["disabledExtensions"], over["disabledExtensions"], l.ownDisabled(r))
	config["mode"], config["workspace"], config["treePath"] = mode, workspace, tree
	out, err := l.html(config)
	if err != nil {
		return err
	}
	head := w.Header()
	head.Set("Content-Type", "text/html; charset=utf-8")
	head.Set("Content-Security-Policy", contentPolicy)
	head.Set("X-Content-Type-Options", "nosniff")
	head.Set("Referrer-Policy", "same-origin")
	head.Set("Cache-Control", "no-store") // it may hold a token
	_, _ = w.Write([]byte(out))
	return nil
}

// languageExtension stands for some of JupyterLab's own plugins: it has what they
// have, so only one of the two may run.
const languageExtension = "@jupyter-lsp/jupyterlab-lsp"

var languageStandsFor = []string{
	"@jupyterlab/lsp-extension:settings", "@jupyterlab/fileeditor-extension:language-server",
	"@jupyterlab/notebook-extension:language-server", "@jupyterlab/completer-extension:base-service",
}

// disabled brings the lists of disabled extensions together: what any of them
// names is.
func (l *lab) disabled(lists ...any) []string {
	out := []string{}
	for _, list := range lists {
		switch list := list.(type) {
		case []string:
			out = append(out, list...)
		case []any:
			for _, name := range list {
				if name, ok := name.(string); ok {
					out = append(out, name)
				}
			}
		}
	}
	if l.settings.has(languageExtension) && !slices.Contains(out, languageExtension) {
		out = append(out, languageStandsFor...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func parsePage(rest string) (workspace, tree string, ok bool) {
	workspace = "default"
	if after, found := strings.CutPrefix(rest, "workspaces/"); found {
		workspace, rest, _ = strings.Cut(after, "/")
	}
	if rest == "" || rest == "tree" {
		return workspace, "", workspace != ""
	}
	tree, ok = strings.CutPrefix(rest, "tree/")
	return workspace, tree, ok && workspace != ""
}

// untracked are requests whose busy and idle are not the kernel's: those on the control channel, which are answered
// beside a running cell, so that the page would say that the kernel is idle while the cell runs. jupyter_server's list
// also has what a page asks on the shell channel when it connects; but after a restart nothing else tells it that the
// kernel is idle.
var untracked = []string{"shutdown_request", "interrupt_request", "debug_request"}

// pageConfig is what JupyterLab 4.6 needs to start, and what its features look at. appUrl is the same under /doc: the
// page asks below it for its settings, workspaces and translations.
func (l *lab) pageConfig(base string) map[string]any {
	c := map[string]any{
		"appName": "Cellar", "appNamespace": "lab", "appVersion": l.manifest.Version, "appUrl": "/lab",
		"baseUrl": base, "wsUrl": "", "token": "",
		"federated_extensions": l.extensions.forPage(), "disabledExtensions": []any{}, "deferredExtensions": []any{},
		"cacheFiles": true, "devMode": false, "buildAvailable": false, "buildCheck": false,
		"quitButton": false, "terminalsAvailable": true, "notebookStartsKernel": true,
		"notebookVersion": "[2, 0, 0]", "preferredPath": "/", "treeUrl": "/lab/tree", "store_id": 0,
		"allow_hidden_files": false, "delete_to_trash": false, "exposeAppInBrowser": false,
		"translationsApiUrl": "/lab/api/translations", "settingsUrl": "/lab/api/settings",
		"workspacesApiUrl": "/lab/api/workspaces", "themesUrl": "/lab/api/themes",
		"listingsUrl": "/lab/api/listings", "licensesUrl": "/lab/api/licenses",
		"labextensionsUrl": "/lab/extensions", "fullMathjaxUrl": "", "untracked_message_types": untracked,
	}
	for full, path := range map[string]string{
		"fullAppUrl": "lab", "fullTreeUrl": "lab/tree", "fullStaticUrl": "static/lab",
		"fullSettingsUrl": "lab/api/settings", "fullThemesUrl": "lab/api/themes",
		"fullWorkspacesApiUrl": "lab/api/workspaces", "fullTranslationsApiUrl": "lab/api/translations",
		"fullListingsUrl": "lab/api/listings", "fullLicensesUrl": "lab/api/licenses",
		"fullLabextensionsUrl": "lab/extensions",
	} {
		c[full] = base + path
	}
	return c
}

// html writes the page. json.Marshal escapes <, > and &, so the config cannot end its script element.
func (l *lab) html(config map[string]any) (string, error) {
	data, err := json.Marshal(config)
	if err != nil {
		return "", err
	}
	static, _ := config["fullStaticUrl"].(string)
	name, _ := config["appName"].(string)
	var b strings.Builder
	b.WriteString(`<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">` +
		`<meta name="viewport" content="width=device-width, initial-scale=1"><title>` + html.EscapeString(name) + `</title>`)
	b.WriteString(`<link rel="icon" type="image/svg+xml" class="idle favicon" href="` + dataURI(iconIdle) + `">`)
	b.WriteString(`<link rel="" type="image/svg+xml" class="busy favicon" href="` + dataURI(iconBusy) + `">`)
	b.WriteString(`<script id="jupyter-config-data" type="application/json">`)
	b.Write(data)
	b.WriteString(`</script>`)
	for _, file := range l.manifest.Preload {
		b.WriteString(`<link rel="preload" as="script" href="` + html.EscapeString(static+"/"+file) + `">`)
	}
	for _, file := range l.manifest.Scripts {
		b.WriteString(`<script defer src="` + html.EscapeString(static+"/"+file) + `"></script>`)
	}
	b.WriteString(`</head><body class="jp-ThemedContainer"></body></html>`)
	return b.String(), nil
}

func dataURI(svg string) string { return "data:image/svg+xml," + url.PathEscape(svg) }

func favicon(w http.ResponseWriter, _ *http.Request, _ string) error {
	w.Header().Set("Content-Type", "image/svg+xml")
	w.Header().Set("Cache-Control", "public, max-age=86400")
	_, _ = w.Write([]byte(iconIdle))
	return nil
}
