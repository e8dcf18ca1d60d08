package server

import (
	"encoding/json"
	"net/http"
	"slices"
	"time"

	"cellar/internal/fault"
	"cellar/kernel"
)

// jupyterVersion is the version of the Python server whose API this one has.
const jupyterVersion = "2.15.0"

// statusRoutes are the small routes of a Jupyter server that belong to no part.
func (s *Server) statusRoutes() map[string]func(http.ResponseWriter, *http.Request) error {
	return map[string]func(http.ResponseWriter, *http.Request) error{
		"GET /api":             s.apiVersion,
		"GET /api/{$}":         s.apiVersion,
		"GET /api/me":          s.me,
		"GET /api/status":      s.serverStatus,
		"GET /api/spec.yaml":   s.spec,
		"GET /api/resolvePath": s.resolvePath,
	}
}

func answer(w http.ResponseWriter, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-cache")
	_, _ = w.Write(b) // a client that went away needs no answer
	return nil
}

func (s *Server) apiVersion(w http.ResponseWriter, _ *http.Request) error {
	return answer(w, map[string]string{"version": jupyterVersion})
}

// may is what whoever may open a project may do in it.
var may = map[string][]string{
	"contents": {"read", "write"}, "kernels": {"read", "write", "execute"}, "sessions": {"read", "write"},
	"kernelspecs": {"read"}, "terminals": {"read", "write", "execute"}, "events": {"read", "write"}, "nbconvert": {"read", "write"}, "config": {"read", "write"},
}

// me tells who asks and what they may do; ?permissions= asks about some alone, as
// JSON: {"resource": ["action"]}.
func (s *Server) me(w http.ResponseWriter, r *http.Request) error {
	permissions := may
	if asked := r.URL.Query().Get("permissions"); asked != "" {
		var want map[string][]string
		if err := json.Unmarshal([]byte(asked), &want); err != nil {
			return fault.Wrap(fault.Invalid, "bad_permissions", `permissions is to be JSON: {"resource": ["action"]}.`, err)
		}
		permissions = map[string][]string{}
		for resource, actions := range want {
			permissions[resource] = []string{}
			for _, action := range actions {
				if slices.Contains(may[resource], action) {
					permissions[resource] = append(permissions[resource], action)
				}
			}
		}
	}
	u, _ := Who(r.Context())
	return answer(w, map[string]any{
		"identity":    map[string]any{"username": u.Name, "name": u.Name, "display_name": u.Name, "initials": initials(u.Name), "avatar_url": nil, "color": nil},
		"permissions": permissions,
	})
}

func (s *Server) serverStatus(w http.ResponseWriter, r *http.Request) error {
	kernels, connections := 0, 0
	last := startedAt
	for _, l := range s.hub.LiveOf(projectOf(r).ID) {
		v := l.View()
		if v.State != kernel.Dead {
			kernels++
		}
		connections += v.Connections
		if v.LastActivity.After(last) {
			last = v.LastActivity
		}
	}
	return answer(w, map[string]any{"connections": connections, "kernels": kernels, "last_activity": stamp(last), "started": stamp(startedAt)})
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000000Z") }

func initials(name string) string {
	for _, r := range name {
		return string(r)
	}
	return ""
}

var startedAt = time.Now()
