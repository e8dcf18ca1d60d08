package server

import (
	_ "embed"
	"encoding/json"
	"net/http"
	"time"

	"cellar/internal/fault"
	"cellar/kernel"
)

// jupyterSpec describes the Jupyter Server API of a project.
//
//go:embed jupyter.yaml
var jupyterSpec []byte

// status answers the small routes of a Jupyter server that belong to no part.
func (s *Server) status() http.Handler {
	m := http.NewServeMux()
	m.HandleFunc("GET /api", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, map[string]string{"version": "2.15.0"}) })
	m.HandleFunc("GET /api/{$}", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, map[string]string{"version": "2.15.0"}) })
	m.HandleFunc("GET /api/me", s.me)
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
		writeJSON(w, map[string]any{"connections": connections, "kernels": kernels, "last_activity": last.UTC().Format(time.RFC3339Nano), "started": s.started().UTC().Format(time.RFC3339Nano)})
	})
	m.HandleFunc("GET /api/spec.yaml", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/x-yaml")
		w.Write(jupyterSpec)
	})
	m.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		s.Fail(w, r, fault.New(fault.NotFound, "not_found", "There is nothing at this address."))
	})
	return m
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-cache")
	json.NewEncoder(w).Encode(v)
}

func initials(name string) string {
	for _, r := range name {
		return string(r)
	}
	return ""
}

var startedAt = time.Now()

func (s *Server) started() time.Time { return startedAt }
