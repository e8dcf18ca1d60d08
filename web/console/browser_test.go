package console

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// fakeHub answers the REST API with one item of each kind, hostile names in all of them.
func fakeHub(t *testing.T, c *Console) *httptest.Server {
	const base = "/cellar"
	p := Page{Base: base, Person: &Person{Name: "vera", Admin: true}, XSRF: "tok"}
	mux := http.NewServeMux()
	mux.Handle("GET "+base+"/static/console/", c.Static())
	mux.HandleFunc("GET "+base+"/{$}", func(w http.ResponseWriter, r *http.Request) { c.Home(w, r, p) })
	mux.HandleFunc("GET "+base+"/p/{id}", func(w http.ResponseWriter, r *http.Request) {
		c.Project(w, r, p, ProjectInfo{ID: r.PathValue("id"), Name: hostile})
	})
	mux.HandleFunc("GET "+base+"/p/{id}/nodes/{n}", func(w http.ResponseWriter, r *http.Request) {
		c.Node(w, r, p, ProjectInfo{ID: r.PathValue("id"), Name: hostile}, NodeInfo{ID: r.PathValue("n"), Name: hostile})
	})
	mux.HandleFunc("GET "+base+"/sessions", func(w http.ResponseWriter, r *http.Request) { c.Sessions(w, r, p) })
	mux.HandleFunc("GET "+base+"/account", func(w http.ResponseWriter, r *http.Request) { c.Account(w, r, p) })
	mux.HandleFunc("GET "+base+"/usage", func(w http.ResponseWriter, r *http.Request) { c.Usage(w, r, p) })
	mux.HandleFunc("GET "+base+"/people", func(w http.ResponseWriter, r *http.Request) { c.People(w, r, p) })
	mux.HandleFunc("GET "+base+"/machine", func(w http.ResponseWriter, r *http.Request) { c.Machine(w, r, p) })
	type item map[string]any
	standing := func(limit, used float64) item {
		return item{"limits": item{"run": 0, "hour": 0, "day": limit, "month": 0}, "used": item{"hour": used, "day": used, "month": used}}
	}
	answers := map[string]item{
		"me":             {"id": "u1", "name": "vera", "admin": true},
		"projects":       {"id": "p1", "name": hostile, "owner": "u2", "created_at": "2026-01-02T03:04:05Z", "kernels": item{"running": 2}},
		"users":          {"id": "u2", "name": hostile, "created_at": "2026-01-02T03:04:05Z"},
		"tokens":         {"id": "t1", "name": hostile, "created_at": "2026-01-02T03:04:05Z", "used_at": "0001-01-01T00:00:00Z"},
		"configurations": {"name": hostile, "cpus": 2, "memory": 4 << 30, "gpus": 0, "units_per_second": 1.5, "available": true},
		"doctor":         {"code": "D1", "status": "fail", "title": hostile, "detail": hostile, "fix": hostile},
		"kernels": {"id": "k1", "state": "running", "state_detail": hostile, "notebook": hostile, "configuration": hostile, "execution_state": "busy", "waiting_cells": 3,
			"cpu_percent": 150, "cpus": 2, "memory_bytes": 1 << 30, "memory_limit": 2 << 30, "connections": 4, "owner": hostile, "project": item{"id": "p1", "name": hostile}},
		"projects/p1/webhook": {"url": hostile, "has_secret": true, "minimal_seconds": 90, "when": "failure",
			"last_delivery": item{"state": "failed", "attempts": 5, "status": 500, "created_at": "2026-01-02T03:04:05Z", "error": hostile}},
		"projects/p1": {"id": "p1", "name": hostile, "autosave": hostile, "idle_after": 120, "idle_most": 1800},
		"projects/p1/kernels": {"id": "k1", "state": "running", "state_detail": hostile, "notebook": hostile, "configuration": hostile,
			"machine": hostile, "execution_state": "busy", "cpu_percent": 50, "memory_bytes": 1 << 30, "memory_limit": 2 << 30},
		"projects/p1/checkpoints": {"id": "c1", "name": hostile, "notebook": hostile, "kind": "auto", "size": 2048, "added_bytes": 1024},
		"projects/p1/usage":       {"project": item{"files": 1 << 20, "home": 5 << 20, "checkpoints": 3 << 20}, "project_total": 9 << 20, "project_limit": 9 << 20, "user_total": 12 << 20, "user_limit": 20 << 20},
		"usage":                   {"key": "k1-and-more", "name": hostile, "project": "p1", "seconds": 7530, "units": 1204.5, "held": 1},
		"projects/p1/limits":      {"project": standing(2000, 1700), "user": standing(0, 0), "news": []item{{"level": "near", "detail": hostile}}},
		"users/u2/limits":         standing(500, 20),
		"projects/p1/packages":    {"name": hostile, "version": hostile, "language": "python", "own": true, "requested": false, "image_version": hostile},
		"projects/p1/nodes/n1": {"id": "n1", "name": hostile, "state": "running", "notebook": hostile, "cell": hostile, "revision": 2, "calls": 12, "errors": 3, "configuration": hostile,
			"inputs": []item{{"name": hostile, "type": "int"}}, "outputs": []item{{"name": hostile, "type": hostile}}, "created_at": "2026-01-02T03:04:05Z"},
		"projects/p1/nodes/n1/figures": {"at": "2026-01-02T03:04:00Z", "calls": 90, "codes": item{"200": 80, "422": 7, "503": 3}, "p50_ms": 3, "p95_ms": 40, "p99_ms": 1200, "active": 5, "instances": 1},
		"projects/p1/nodes/n1/revisions": {"number": 2, "current": true, "notebook": hostile, "cell": hostile, "source": hostile, "author": hostile, "note": hostile,
			"configuration": hostile, "created_at": "2026-01-02T03:04:05Z", "calls": 5},
		"projects/p1/aliases": {"id": "a1", "name": hostile, "url": "/aliases/a1/execute", "setting": item{"number": 3, "author": "", "reason": hostile, "at": "2026-01-02T03:04:05Z",
			"targets": []item{{"node": "n1", "name": hostile, "revision": 2, "percent": 90}, {"node": "n1", "name": hostile, "percent": 10}}, "guard": item{"error_percent": 5, "window_seconds": 60, "min_calls": 20}}},
		"projects/p1/keys": {"id": "k1", "name": hostile, "scope": []string{"n1"}, "rate": 5, "quota": 1000, "calls_today": 17, "author": hostile, "created_at": "2026-01-02T03:04:05Z"},
		"projects/p1/nodes": {"id": hostile, "name": hostile, "state": "idle", "notebook": hostile, "calls": 12,
			"inputs": []item{{"name": hostile, "type": "int"}}, "outputs": []item{{"name": hostile, "type": hostile}}},
	}
	mux.HandleFunc("GET "+base+"/api/v1/{path...}", func(w http.ResponseWriter, r *http.Request) {
		answer, found := answers[r.PathValue("path")]
		if !found {
			w.WriteHeader(http.StatusNoContent) // the events: a browser that reads this does not ask again
			return
		}
		var body any = answer
		if p := r.PathValue("path"); p != "me" && p != "projects/p1" && p != "projects/p1/webhook" && p != "projects/p1/usage" && !strings.HasSuffix(p, "/limits") && p != "projects/p1/nodes/n1" {
			body = item{"items": []item{answer}}
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(body)
	})
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s
}

// Chromium fills each page from the API, under the policy, without a complaint.
func TestPagesInChromium(t *testing.T) {
	chromium, err := exec.LookPath("chromium")
	if err != nil || testing.Short() {
		t.Skip("needs chromium, and some seconds")
	}
	s := fakeHub(t, newConsole(t))
	for path, want := range map[string][]string{
		"/":              {"2 running", "belongs to"},
		"/p/p1":          {"Running, busy", "1 GiB of 2 GiB", "Automatic", "curl -X POST", "12", "The last message did not arrive", "One is set", "needed by another", "requirements.txt", "1,700 of 2,000 units today", "2 h 06 min", "1,205"},
		"/usage":         {"By person", "20 of 500 units today", "Download as CSV"},
		"/p/p1/nodes/n1": {"Running", "90 a minute", "1.2 s", "Current", "90 %", "back by itself", "17 of 1,000 today", "5 a second", "curl -X POST"},
		"/sessions":      {"150 % of 200 %", "1 GiB of 2 GiB", "Running, busy, 3 waiting", "belongs to", "1 kernel in memory: 1 GiB, 1.5 cores busy."},
		"/account":       {"used <time", "never"},
		"/people":        {"since"},
		"/machine":       {"1 problem keeps", "4 GiB"},
	} {
		t.Run(path, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			var complaints bytes.Buffer
			cmd := exec.CommandContext(ctx, chromium, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--v=0",
				"--user-data-dir="+t.TempDir(), "--virtual-time-budget=4000", "--dump-dom", s.URL+"/cellar"+path)
			cmd.Stderr = &complaints
			cmd.WaitDelay = 5 * time.Second
			out, err := cmd.Output()
			if err != nil {
				t.Fatalf("chromium: %v\n%s", err, complaints.String())
			}
			checkDOM(t, string(out), want)
			for line := range strings.Lines(complaints.String()) {
				if strings.Contains(line, "CONSOLE") {
					t.Errorf("the browser complains: %s", line)
				}
			}
		})
	}
}

func checkDOM(t *testing.T, dom string, want []string) {
	if strings.Contains(dom, "<script>") || strings.Contains(dom, "<img src=\"x\"") {
		t.Errorf("hostile text became markup:\n%s", dom)
	}
	if !strings.Contains(dom, "&lt;script&gt;") {
		t.Errorf("the names are not shown:\n%s", dom)
	}
	for _, s := range want {
		if !strings.Contains(dom, s) {
			t.Errorf("the page has no %q:\n%s", s, dom)
		}
	}
}
