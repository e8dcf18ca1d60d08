package server

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Language servers and packages of a project are their owner's: who may not know
// of the project gets the same answer as where there is none.
func TestWhoMayUseLanguagesAndPackages(t *testing.T) {
	s := newSite(t, nil)
	s.hub.Data = t.TempDir()
	home := filepath.Join(s.hub.Data, "projects", "mine", "home", ".local", "lib", "python3.13", "site-packages", "shoes-2.1.dist-info")
	if err := os.MkdirAll(home, 0o755); err != nil {
		t.Fatal(err)
	}
	ask := func(method, path, token string) (int, string) {
		res, b := s.browse(s.handler, method, "http://127.0.0.1:8888"+path, func(r *http.Request) {
			r.Header.Set("Accept", "application/json")
			if token != "" {
				r.Header.Set("Authorization", "Bearer "+token)
			}
			if strings.Contains(path, "/lsp/ws/") {
				r.Header.Set("Connection", "Upgrade")
				r.Header.Set("Upgrade", "websocket")
				r.Header.Set("Sec-WebSocket-Version", "13")
				r.Header.Set("Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA==")
			}
		})
		return res.StatusCode, b
	}
	for path, allowed := range map[string]struct {
		method string
		status int
		says   string
	}{
		"/projects/mine/lsp/status":                        {"GET", 200, `"sessions":{}`},
		"/projects/mine/lsp/ws/pylsp":                      {"GET", 422, "language_server_missing"},
		"/projects/mine/lsp/ws/..%2f..":                    {"GET", 404, ""},
		"/api/v1/projects/mine/packages":                   {"GET", 200, `"name":"shoes","version":"2.1"`},
		"/api/v1/projects/mine/packages/requirements.txt":  {"GET", 200, "shoes==2.1\n"},
		"/api/v1/projects/mine/packages/aside":             {"DELETE", 404, "no_packages_aside"},
		"/api/v1/projects/mine/packages?image=no-such-one": {"GET", 404, "image_not_found"},
	} {
		for who, want := range map[string]int{"": 401, "stranger": 404, "owner": allowed.status, "administrator": allowed.status} {
			status, b := ask(allowed.method, path, s.tokens[who])
			if status != want || (who == "owner" || who == "administrator") && !strings.Contains(b, allowed.says) {
				t.Errorf("%s, %q: %d %.300s", path, who, status, b)
			}
			if who == "stranger" {
				none, same := ask(allowed.method, strings.Replace(path, "/mine", "/no-such", 1), s.tokens[who])
				if none != status || strings.ReplaceAll(same, "no-such", "mine") != b {
					t.Errorf("%s: a stranger can tell it from none: %d %s, %d %s", path, status, b, none, same)
				}
			}
		}
	}
	if status, b := ask("POST", "/api/v1/projects/mine/packages/reset", s.tokens["stranger"]); status != 404 {
		t.Errorf("a stranger resets: %d %s", status, b)
	}
}
