package lab_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"testing"
)

// disabled is the list in the page.
func (s *server) disabled() []string {
	s.t.Helper()
	_, body := s.do("GET", "/lab", "")
	var c struct {
		DisabledExtensions []string `json:"disabledExtensions"`
	}
	found := configOf.FindStringSubmatch(body)
	if found == nil {
		s.t.Fatalf("no page: %s", body)
	}
	if err := json.Unmarshal([]byte(found[1]), &c); err != nil {
		s.t.Fatal(err)
	}
	return c.DisabledExtensions
}

func TestPlugins(t *testing.T) {
	s := serve(t, map[string]any{"disabledExtensions": []string{"@server/off"}})
	ask := func(command, plugin string) *http.Response {
		t.Helper()
		res, _ := s.do("POST", "/lab/api/plugins", fmt.Sprintf(`{"cmd":%q,"plugin_name":%q}`, command, plugin))
		return res
	}
	if _, body := s.do("GET", "/lab/api/plugins", ""); body != `{"allLocked":false,"lockRules":["@server/off"]}` {
		t.Errorf("the locks: %s", body)
	}
	for range 2 { // twice is once
		if res := ask("disable", "@jupyterlab/celltags-extension:plugin"); res.StatusCode != 201 {
			t.Errorf("disable: %d", res.StatusCode)
		}
	}
	if got := s.disabled(); !slices.Equal(got, []string{"@jupyterlab/celltags-extension:plugin", "@server/off"}) {
		t.Errorf("the page leaves out %q", got)
	}
	if _, body := s.do("GET", "/lab/api/plugins", ""); body != `{"allLocked":false,"lockRules":["@server/off"]}` {
		t.Errorf("what one switched off oneself is locked: %s", body)
	}
	if res := ask("enable", "@jupyterlab/celltags-extension:plugin"); res.StatusCode != 201 {
		t.Errorf("enable: %d", res.StatusCode)
	}
	if got := s.disabled(); !slices.Equal(got, []string{"@server/off"}) {
		t.Errorf("the page leaves out %q", got)
	}
	for _, name := range []string{"@server/off", "@server/off:part"} {
		if res := ask("enable", name); res.StatusCode != 403 {
			t.Errorf("enable what the server switched off: %s: %d", name, res.StatusCode)
		}
	}
	for _, row := range [][2]string{{"remove", "a:b"}, {"disable", ""}, {"disable", "../x"}, {"disable", "<script>"}} {
		if res := ask(row[0], row[1]); res.StatusCode != 400 {
			t.Errorf("%s %s: %d", row[0], row[1], res.StatusCode)
		}
	}
}
