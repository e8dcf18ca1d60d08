package server

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"cellar/server/hub"
)

// A stream that is refused has not begun: it has a status and a problem.
func TestRefusedStreams(t *testing.T) {
	d := newDoor(t)
	ada := d.user("ada", "")
	bob := d.user("bob", "")
	if _, err := d.hub.Store.AddProject(t.Context(), hub.Project{ID: "p", Name: "P", Owner: ada.ID, CreatedAt: time.Now()}); err != nil {
		t.Fatal(err)
	}
	d.hub.Operations = &hub.Operations{}
	_, theirs, err := d.hub.AddToken(t.Context(), bob, "t")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/projects/p/events", "/projects/none/events", "/operations/none/events"} {
		for token, want := range map[string]int{"": 401, "wrong": 401, theirs: 404} {
			v := &visitor{door: d, address: "192.0.2.1", token: token, cookies: map[string]string{}}
			v.header = map[string]string{"Accept": "text/event-stream"}
			res := v.do("GET", "/api/v1"+path, "", nil)
			b, _ := io.ReadAll(res.Body)
			var p problem
			if json.Unmarshal(b, &p) != nil || res.StatusCode != want || p.Status != want || p.Code == "" || p.Detail == "" ||
				res.Header.Get("Content-Type") != "application/problem+json" {
				t.Errorf("%s with token %q: %d %s %s", path, token, res.StatusCode, res.Header.Get("Content-Type"), b)
			}
		}
	}
}

// Who may follow hears of a node that is deleted.
func TestANodeIsDeletedBeforeTheEyesOfAFollower(t *testing.T) {
	d := newDoor(t)
	d.hub.Data = t.TempDir()
	ada := d.user("ada", "")
	_, token, err := d.hub.AddToken(t.Context(), ada, "t")
	if err != nil {
		t.Fatal(err)
	}
	p, err := d.hub.Store.AddProject(t.Context(), hub.Project{ID: "p", Name: "P", Owner: ada.ID, CreatedAt: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.hub.Store.AddRevision(t.Context(), hub.Node{ID: "n", Project: "p", Name: "digit", CreatedAt: time.Now()},
		hub.Revision{Node: "n", Number: 1, Files: 1, Inputs: []byte("[]"), Outputs: []byte("[]"), CreatedAt: time.Now()}); err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(d.handler)
	defer s.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, "GET", s.URL+"/api/v1/projects/p/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	res, err := http.DefaultClient.Do(r) // answers at once, though nothing has happened yet
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != 200 || !strings.HasPrefix(res.Header.Get("Content-Type"), "text/event-stream") {
		t.Fatalf("%d %v", res.StatusCode, res.Header)
	}
	if err := d.hub.DeleteNode(ctx, p, "n"); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(res.Body)
	event := ""
	for lines.Scan() {
		if name, ok := strings.CutPrefix(lines.Text(), "event: "); ok {
			event = name
		}
		if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
			var v struct {
				ID   string
				Gone bool
			}
			if json.Unmarshal([]byte(data), &v) != nil || event != "node" || v.ID != "n" || !v.Gone {
				t.Errorf("%s: %s", event, data)
			}
			return
		}
	}
	t.Errorf("the stream ended: %v", lines.Err())
}
