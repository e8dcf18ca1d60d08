package server

import (
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

// described says what the routes of a project's Jupyter API do; a test holds it
// to what there is.
var described = map[string]string{
	"GET /api":                             "The version of Jupyter Server whose API this is",
	"GET /api/me":                          "Who asks, and what they may do",
	"GET /api/status":                      "Kernels, connections and the last activity",
	"GET /api/spec.yaml":                   "This description",
	"GET /api/resolvePath":                 "Where a file is that a kernel names",
	"GET /api/contents/{path...}":          "A file, notebook or directory; below a file, its checkpoints",
	"HEAD /api/contents/{path...}":         "The same without its content",
	"POST /api/contents/{path...}":         "Make something under a name of the server's choice, copy, or keep or restore a checkpoint",
	"PUT /api/contents/{path...}":          "Save a file, notebook or directory, or a chunk of an upload",
	"PATCH /api/contents/{path...}":        "Rename",
	"DELETE /api/contents/{path...}":       "Delete",
	"GET /files/{path...}":                 "A file as it is, with ranges",
	"HEAD /files/{path...}":                "Its headers",
	"GET /view/{path...}":                  "A page that shows a file",
	"HEAD /view/{path...}":                 "Its headers",
	"GET /directories/{path...}":           "A directory as an archive",
	"HEAD /directories/{path...}":          "Its headers",
	"GET /api/kernelspecs":                 "The kernels that can be started",
	"GET /api/kernelspecs/{name}":          "One of them",
	"GET /kernelspecs/{name}/{file}":       "A logo of it",
	"GET /api/kernels":                     "List kernels",
	"POST /api/kernels":                    "Start a kernel",
	"GET /api/kernels/{id}":                "Show a kernel",
	"DELETE /api/kernels/{id}":             "Shut a kernel down",
	"POST /api/kernels/{id}/interrupt":     "Interrupt a kernel",
	"POST /api/kernels/{id}/restart":       "Restart a kernel; its state is kept as a checkpoint",
	"GET /api/kernels/{id}/channels":       "Websocket: the kernel's channels, in either framing",
	"GET /api/sessions":                    "List sessions",
	"POST /api/sessions":                   "Open a session; one for each path",
	"GET /api/sessions/{id}":               "Show a session",
	"PATCH /api/sessions/{id}":             "Rename a session, or give it another kernel",
	"DELETE /api/sessions/{id}":            "Close a session and, when no other uses it, its kernel",
	"GET /api/terminals":                   "List terminals",
	"POST /api/terminals":                  "Open a terminal",
	"GET /api/terminals/{name}":            "Show a terminal",
	"DELETE /api/terminals/{name}":         "Close a terminal",
	"GET /terminals/websocket/{name}":      "Websocket: a terminal",
	"POST /api/events":                     "Emit an event of a registered schema",
	"GET /api/events/subscribe":            "Websocket: what happens",
	"GET /api/nbconvert":                   "The formats that notebooks can be given",
	"GET /nbconvert/{format}/{path...}":    "A notebook in another format",
	"POST /nbconvert/{format}":             "The same of a notebook in the request",
	"GET /api/config/{path...}":            "A section of the front end's settings",
	"HEAD /api/config/{path...}":           "Its headers",
	"PUT /api/config/{path...}":            "Replace a section",
	"PATCH /api/config/{path...}":          "Lay changes over a section",
	"GET /lab/api/settings/{path...}":      "The lab's settings",
	"PUT /lab/api/settings/{path...}":      "Change the settings of a plugin",
	"GET /lab/api/workspaces/{path...}":    "The lab's workspaces",
	"PUT /lab/api/workspaces/{path...}":    "Keep a workspace",
	"DELETE /lab/api/workspaces/{path...}": "Forget a workspace",
	"GET /lab/api/translations/{path...}":  "Languages, or the texts of one",
	"GET /lab/api/licenses/{path...}":      "Licences of the lab's parts",
	"GET /lab/api/plugins/{path...}":       "Plugins of the page that nobody can switch",
	"POST /lab/api/plugins/{path...}":      "Switch a plugin of the page on or off",
	"GET /proxy/{path...}":                 "An application in the project, by its port",
	"GET /lsp/status":                      "Language servers",
	"GET /lab/api/listings/{path...}":      "Extensions that may be installed from the browser: none",
	"GET /lab/api/themes/{path...}":        "Files of a theme",
}

// spec describes the project's Jupyter API as OpenAPI.
func (s *Server) spec(w http.ResponseWriter, r *http.Request) error {
	doc := huma.OpenAPI{
		OpenAPI: "3.1.0",
		Info:    &huma.Info{Title: "Jupyter Server API of a Cellar project", Version: jupyterVersion},
		Servers: []*huma.Server{{URL: projectOf(r).base}},
		Components: &huma.Components{SecuritySchemes: map[string]*huma.SecurityScheme{
			"token":  {Type: "apiKey", In: "header", Name: "Authorization", Description: "token TOKEN, or Bearer TOKEN"},
			"cookie": {Type: "apiKey", In: "cookie", Name: loginCookie},
		}},
		Security: []map[string][]string{{"token": {}}, {"cookie": {}}},
		Paths:    map[string]*huma.PathItem{},
	}
	for _, route := range s.projectRoutes() {
		method, pattern, _ := strings.Cut(route, " ")
		summary := described[route]
		if route == "/proxy/{path...}" {
			method, pattern, summary = http.MethodGet, route, described["GET "+route]
		}
		if summary == "" {
			continue // pages and their files
		}
		describe(doc.Paths, method, pattern, summary)
	}
	out, err := doc.YAML()
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "text/x-yaml; charset=utf-8")
	w.Header().Set("Cache-Control", "no-cache")
	_, _ = w.Write(out) // a client that went away needs no answer
	return nil
}

func describe(paths map[string]*huma.PathItem, method, pattern, summary string) {
	pattern = strings.ReplaceAll(pattern, "...}", "}")
	item := paths[pattern]
	if item == nil {
		item = &huma.PathItem{}
		paths[pattern] = item
	}
	op := &huma.Operation{Summary: summary, Responses: map[string]*huma.Response{
		"default": {Description: "What was asked for, or an error as JSON with a message"},
	}}
	for _, word := range strings.Split(pattern, "/") {
		if strings.HasPrefix(word, "{") {
			op.Parameters = append(op.Parameters, &huma.Param{Name: strings.Trim(word, "{}"), In: "path", Required: true, Schema: &huma.Schema{Type: "string"}})
		}
	}
	switch method {
	case http.MethodGet:
		item.Get = op
	case http.MethodHead:
		item.Head = op
	case http.MethodPost:
		item.Post = op
	case http.MethodPut:
		item.Put = op
	case http.MethodPatch:
		item.Patch = op
	case http.MethodDelete:
		item.Delete = op
	}
}
