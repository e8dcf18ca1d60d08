// Package kernels serves Jupyter's kernels, sessions, kernelspecs and channels
// of one project. It knows no sign-in.
package kernels

import (
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"

	"cellar/internal/fault"
	"cellar/kernel"
	"cellar/proxy"
	"cellar/server/hub"
)

// Config is what the routes need.
type Config struct {
	Hub     *hub.Hub
	Project func(*http.Request) hub.Project
	Base    func(*http.Request) string // the project's base URL path, with a slash at its end
	Origin  func(*http.Request) bool   // may this page open a socket
	Fail    func(http.ResponseWriter, *http.Request, error)
}

const maxBody = 1 << 20

// Handler serves /api/kernels, /api/sessions, /api/kernelspecs and /kernelspecs
// with the project's prefix stripped.
func Handler(c Config) http.Handler {
	m := http.NewServeMux()
	h := &handler{Config: c}
	for pattern, f := range h.routes() {
		m.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			if err := f(w, r); err != nil {
				c.Fail(w, r, err)
			}
		})
	}
	return m
}

// Routes lists what Handler answers, as patterns of http.ServeMux.
func Routes() []string { return slices.Sorted(maps.Keys((&handler{}).routes())) }

func (h *handler) routes() map[string]func(http.ResponseWriter, *http.Request) error {
	return map[string]func(http.ResponseWriter, *http.Request) error{
		"GET /api/kernelspecs":             h.specs,
		"GET /api/kernelspecs/{name}":      h.spec,
		"GET /kernelspecs/{name}/{file}":   h.resource,
		"GET /api/kernels":                 h.list,
		"POST /api/kernels":                h.start,
		"GET /api/kernels/{id}":            h.get,
		"DELETE /api/kernels/{id}":         h.shutdown,
		"POST /api/kernels/{id}/interrupt": h.interrupt,
		"POST /api/kernels/{id}/restart":   h.restart,
		"GET /api/kernels/{id}/channels":   h.channels,
		"GET /api/sessions":                h.sessions,
		"POST /api/sessions":               h.openSession,
		"GET /api/sessions/{id}":           h.session,
		"PATCH /api/sessions/{id}":         h.changeSession,
		"DELETE /api/sessions/{id}":        h.closeSession,
	}
}

type handler struct{ Config }

func answer(w http.ResponseWriter, status int, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-cache")
	w.WriteHeader(status)
	w.Write(b)
	return nil
}

func read(r *http.Request, v any) error {
	b, err := io.ReadAll(io.LimitReader(r.Body, maxBody+1))
	if err != nil {
		return fault.Wrap(fault.Invalid, "bad_body", "The request could not be read.", err)
	}
	if len(b) > maxBody {
		return fault.New(fault.Exhausted, "too_large", "The request is too large.")
	}
	if len(b) == 0 {
		return nil
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fault.Wrap(fault.Invalid, "bad_json", "The request is not valid JSON.", err)
	}
	return nil
}

// model is Jupyter's kernel model with what Cellar adds.
func model(v hub.View) map[string]any {
	return map[string]any{
		"id": v.ID, "name": v.Spec, "last_activity": stamp(v.LastActivity), "execution_state": v.ExecutionState, "connections": v.Connections,
		"cellar": map[string]any{"state": v.State, "configuration": v.Configuration},
	}
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000000Z") }

func (h *handler) live(r *http.Request) (*hub.Live, error) {
	return h.Hub.Live(h.Project(r).ID, kernel.ID(r.PathValue("id")))
}

func (h *handler) list(w http.ResponseWriter, r *http.Request) error {
	out := []any{}
	for _, l := range h.Hub.LiveOf(h.Project(r).ID) {
		out = append(out, model(l.View()))
	}
	return answer(w, http.StatusOK, out)
}

func (h *handler) start(w http.ResponseWriter, r *http.Request) error {
	var in struct {
		Name          string `json:"name"`
		Path          string `json:"path"`
		Configuration string `json:"configuration"`
	}
	if err := read(r, &in); err != nil {
		return err
	}
	dir := strings.Trim(path.Clean("/"+in.Path), "/")
	if path.Ext(dir) != "" {
		dir = path.Dir("/" + dir)[1:]
	}
	l, err := h.Hub.StartKernel(r.Context(), h.Project(r), in.Name, dir, in.Configuration)
	if err != nil {
		return err
	}
	w.Header().Set("Location", h.Base(r)+"api/kernels/"+string(l.ID()))
	return answer(w, http.StatusCreated, model(l.View()))
}

func (h *handler) get(w http.ResponseWriter, r *http.Request) error {
	l, err := h.live(r)
	if err != nil {
		return err
	}
	return answer(w, http.StatusOK, model(l.View()))
}

func (h *handler) shutdown(w http.ResponseWriter, r *http.Request) error {
	l, err := h.live(r)
	if err != nil {
		return err
	}
	if err := h.Hub.Shutdown(r.Context(), l); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (h *handler) interrupt(w http.ResponseWriter, r *http.Request) error {
	l, err := h.live(r)
	if err != nil {
		return err
	}
	if err := l.Interrupt(r.Context()); err != nil && !errors.Is(err, fault.Conflict) {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (h *handler) restart(w http.ResponseWriter, r *http.Request) error {
	l, err := h.live(r)
	if err != nil {
		return err
	}
	if err := h.Hub.Restart(r.Context(), l); err != nil {
		return err
	}
	return answer(w, http.StatusOK, model(l.View()))
}

func (h *handler) channels(w http.ResponseWriter, r *http.Request) error {
	l, err := h.live(r)
	if err != nil {
		return err
	}
	ws, err := proxy.Upgrade(w, r, h.Origin)
	if err != nil {
		return nil // the upgrader has answered
	}
	client, err := l.Attach(r.URL.Query().Get("session_id"))
	if err != nil {
		proxy.Refuse(ws, fault.Sentence(err))
		return nil
	}
	client.By = hub.Actor(r.Context())
	ctx, done := client.Context(r.Context())
	defer done()
	err = proxy.Kernel(ctx, ws, client.Queue, func(ch kernelChannel, m *kernelMessage) error {
		return l.SendFrom(client, ch, m)
	})
	l.Detach(client, err)
	return nil
}

func (h *handler) specModel(r *http.Request, s hub.KernelSpec) map[string]any {
	resources := map[string]string{}
	for file := range s.Resources {
		resources[strings.TrimSuffix(file, path.Ext(file))] = h.Base(r) + "kernelspecs/" + url.PathEscape(s.Name) + "/" + file
	}
	meta := s.Metadata
	if meta == nil {
		meta = map[string]any{}
	}
	env := s.Env
	if env == nil {
		env = map[string]string{}
	}
	return map[string]any{"name": s.Name, "resources": resources, "spec": map[string]any{
		"argv": s.Argv, "display_name": s.DisplayName, "language": s.Language, "env": env, "metadata": meta, "interrupt_mode": orSignal(s.InterruptMode),
	}}
}

func orSignal(mode string) string {
	if mode == "" {
		return "signal"
	}
	return mode
}

func (h *handler) specs(w http.ResponseWriter, r *http.Request) error {
	out := map[string]any{}
	for name, s := range h.Hub.Specs() {
		out[name] = h.specModel(r, s)
	}
	return answer(w, http.StatusOK, map[string]any{"default": h.Hub.DefaultSpec, "kernelspecs": out})
}

var errNoSpec = fault.New(fault.NotFound, "kernelspec_not_found", "There is no kernel by that name.")

func (h *handler) spec(w http.ResponseWriter, r *http.Request) error {
	s, ok := h.Hub.Specs()[r.PathValue("name")]
	if !ok {
		return errNoSpec
	}
	return answer(w, http.StatusOK, h.specModel(r, s))
}

func (h *handler) resource(w http.ResponseWriter, r *http.Request) error {
	b, ok := h.Hub.Specs()[r.PathValue("name")].Resources[r.PathValue("file")]
	if !ok {
		return errNoSpec
	}
	// An image is not ours: what it holds must not run as a page of ours.
	w.Header().Set("Content-Security-Policy", "sandbox; default-src 'none'; style-src 'unsafe-inline'")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Cache-Control", "max-age=3600")
	http.ServeContent(w, r, r.PathValue("file"), time.Time{}, strings.NewReader(string(b)))
	return nil
}
