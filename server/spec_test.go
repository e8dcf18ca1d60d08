package server

import (
	"encoding/json"
	"net/http"
	"regexp"
	"strings"
	"testing"
)

// What the description of the Jupyter API lists is there.
func TestJupyterSpec(t *testing.T) {
	_, s, token := eventDoor(t)
	get := func(path string) (int, string) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+"/projects/p"+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "token "+token)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		var said struct{ Reason string }
		json.NewDecoder(res.Body).Decode(&said)
		return res.StatusCode, said.Reason
	}
	if status, _ := get("/api/spec.yaml"); status != http.StatusOK {
		t.Fatalf("spec.yaml: %d", status)
	}
	paths, method := regexp.MustCompile(`^  (/api\S*):$`), regexp.MustCompile(`^    get:`)
	seen, path := 0, ""
	for line := range strings.Lines(string(jupyterSpec)) {
		line = strings.TrimRight(line, "\n")
		if m := paths.FindStringSubmatch(line); m != nil {
			path = regexp.MustCompile(`\{\w+\}`).ReplaceAllString(m[1], "x")
		}
		// Without a build of the lab its routes say so; without a machine terminals cannot be asked.
		if !method.MatchString(line) || strings.HasPrefix(path, "/api/terminals") {
			continue
		}
		seen++
		if status, reason := get(path); reason == "not_found" || reason == "no_such_route" || status == http.StatusMethodNotAllowed || status >= 500 {
			t.Errorf("%s: %d %s", path, status, reason)
		}
	}
	if seen < 15 {
		t.Errorf("%d paths were asked", seen)
	}
}
