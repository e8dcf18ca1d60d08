package server

import (
	"encoding/json"
	"net/http"
	"time"

	"cellar/internal/fault"
	"cellar/kernel"
)

// status answers the small routes of a Jupyter server that belong to no part.
func (s *Server) status() http.Handler {
	m := http.NewServeMux()
	write := func(w http.ResponseWriter, v any) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-cache")
		json.NewEncoder(w).Encode(v)
	}
	m.HandleFunc("GET /api", func(w http.ResponseWriter, _ *http.Request) { write(w, map[string]string{"version": "2.15.0"}) })
	m.HandleFunc("GET /api/{$}", func(w http.ResponseWriter, _ *http.Request) { write(w, map[string]string{"version": "2.15.0"}) })
	m.HandleFunc("GET /api/me", func(w http.ResponseWriter, r *http.Request) {
		u, _ := Who(r.Context())
		write(w, map[string]any{
			"identity":    map[string]any{"username": u.Name, "name": u.Name, "display_name": u.Name, "initials": initials(u.Name), "avatar_url": nil, "color": nil},
			"permissions": map[string]any{"contents": []string{"read", "write"}, "kernels": []string{"read", "write", "execute"}, "sessions": []string{"read", "write"}},
		})
	})
	m.HandleFunc("GET /api/status", func(w http.ResponseWriter, r *http.Request) {
		kernels, connections := 0, 0
		last := s.started()
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
		write(w, map[string]any{"connections": connections, "kernels": kernels, "last_activity": last.UTC().Format(time.RFC3339Nano), "started": s.started().UTC().Format(time.RFC3339Nano)})
	})
	m.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		s.Fail(w, r, fault.New(fault.NotFound, "not_found", "There is nothing at this address."))
	})
	return m
}

func initials(name string) string {
	for _, r := range name {
		return string(r)
	}
	return ""
}

var startedAt = time.Now()

func (s *Server) started() time.Time { return startedAt }
