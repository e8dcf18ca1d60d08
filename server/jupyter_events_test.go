package server

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"cellar/internal/fault"
	"cellar/server/hub"
	"cellar/server/jupyter/events"
)

// eventDoor is a door with a project of Ada's, one of Bob's, and her token.
func eventDoor(t *testing.T) (d *door, s *httptest.Server, token string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: a project's files belong to a user of its own")
	}
	d = newDoor(t)
	d.hub.Data = t.TempDir()
	files := map[string]string{"p": t.TempDir(), "q": t.TempDir()}
	d.trees.Dir = func(project string) string { return files[project] }
	ada, bob := d.user("ada", ""), d.user("bob", "")
	for id, u := range map[string]hub.User{"p": ada, "q": ada, "theirs": bob} {
		if _, err := d.hub.Store.AddProject(t.Context(), hub.Project{ID: id, Name: id, Owner: u.ID, CreatedAt: time.Now()}); err != nil {
			t.Fatal(err)
		}
	}
	_, token, err := d.hub.AddToken(t.Context(), ada, "t")
	if err != nil {
		t.Fatal(err)
	}
	s = httptest.NewServer(d.handler)
	t.Cleanup(s.Close)
	return d, s, token
}

func subscribe(t *testing.T, s *httptest.Server, project string, header http.Header) (*websocket.Conn, int) {
	t.Helper()
	ws, res, err := websocket.DefaultDialer.Dial(strings.Replace(s.URL, "http", "ws", 1)+"/projects/"+project+"/api/events/subscribe", header)
	if err != nil {
		if res == nil {
			t.Fatal(err)
		}
		return nil, res.StatusCode
	}
	t.Cleanup(func() { ws.Close() })
	ws.SetReadDeadline(time.Now().Add(time.Minute))
	return ws, res.StatusCode
}

func nextEvent(t *testing.T, ws *websocket.Conn) (out map[string]any) {
	t.Helper()
	if err := ws.ReadJSON(&out); err != nil {
		t.Fatal(err)
	}
	return out
}

// What is done to files and kernels is told in the form of Jupyter's schemas, to
// those of the project alone.
func TestServerEvents(t *testing.T) {
	d, s, token := eventDoor(t)
	bearer := http.Header{"Authorization": {"Bearer " + token}}
	ws, status := subscribe(t, s, "p", bearer)
	other, _ := subscribe(t, s, "q", bearer)
	if ws == nil || other == nil {
		t.Fatal(status)
	}
	v := &visitor{door: d, address: "192.0.2.1", token: token, cookies: map[string]string{}}
	do := func(want int, method, path string, body any) {
		t.Helper()
		b, _ := json.Marshal(body)
		if body == nil {
			b = nil
		}
		if res := v.do(method, "/projects/p/api/"+path, "application/json", b); res.StatusCode != want {
			t.Fatalf("%s %s: %d", method, path, res.StatusCode)
		}
	}
	of := func(action, path, from string) map[string]any {
		m := map[string]any{"schema_id": events.ContentsService, "action": action, "path": path}
		if from != "" {
			m["source_path"] = from
		}
		return m
	}
	for _, step := range []struct {
		do   func()
		want map[string]any
	}{
		{func() { do(201, "POST", "contents/", map[string]string{"type": "directory"}) }, of("create", "Untitled Folder", "")},
		{func() {
			do(201, "PUT", "contents/a.txt", map[string]string{"type": "file", "format": "text", "content": "x"})
		}, of("save", "a.txt", "")},
		{func() { do(200, "GET", "contents/a.txt", nil) }, of("get", "a.txt", "")},
		{func() { do(201, "POST", "contents/Untitled%20Folder", map[string]string{"copy_from": "/a.txt"}) }, of("copy", "Untitled Folder/a.txt", "a.txt")},
		{func() { do(200, "PATCH", "contents/a.txt", map[string]string{"path": "b.txt"}) }, of("rename", "b.txt", "a.txt")},
		{func() { do(404, "GET", "contents/a.txt", nil); do(204, "DELETE", "contents/b.txt", nil) }, of("delete", "b.txt", "")}, // only what succeeded
		{func() {
			d.hub.Tell(hub.Event{Project: "p", Type: "kernel", Data: hub.View{}}) // not of this stream
			d.hub.Tell(hub.Event{Project: "p", Type: "action", Data: hub.Action{Kernel: "k", Spec: "python3", Action: "interrupt"}})
		}, map[string]any{"schema_id": events.KernelActions, "action": "interrupt", "kernel_id": "k", "kernel_name": "python3", "status": "success", "msg": "Kernel k was interrupted."}},
		{func() {
			d.hub.Tell(hub.Event{Project: "p", Type: "action", Data: hub.Action{Spec: "ir", Action: "start", Err: fault.New(fault.Invalid, "x", "There is none.")}})
		}, map[string]any{"schema_id": events.KernelActions, "action": "start", "kernel_name": "ir", "status": "error", "msg": "There is none."}},
		{func() {
			do(204, "POST", "events", map[string]any{"schema_id": events.ContentsService, "version": 1, "data": map[string]any{"action": "upload", "path": "c", "schema_id": "mine"}})
		}, of("upload", "c", "")},
		{func() {
			do(204, "POST", "events", map[string]any{"schema_id": events.KernelActions, "version": "1", "timestamp": "2022-05-26T13:50:00+05:00Z",
				"data": map[string]any{"action": "start", "msg": "none"}})
		}, map[string]any{"schema_id": events.KernelActions, "action": "start", "msg": "none"}},
	} {
		step.do()
		if got := nextEvent(t, ws); !reflect.DeepEqual(got, step.want) {
			t.Errorf("told %v, want %v", got, step.want)
		}
	}
	events.Emit(d.hub, "q", events.Emitted{Schema: "last", Data: map[string]any{}})
	if got := nextEvent(t, other); got["schema_id"] != "last" {
		t.Errorf("another project heard of %v", got)
	}
}

// What is no event of a registered schema is refused, and nobody hears of it.
func TestEventsThatAreNone(t *testing.T) {
	d, s, token := eventDoor(t)
	ws, _ := subscribe(t, s, "p", http.Header{"Authorization": {"Bearer " + token}})
	v := &visitor{door: d, address: "192.0.2.1", token: token, cookies: map[string]string{}}
	contents := func(data string) string {
		return `{"schema_id":"` + events.ContentsService + `","version":1,"data":` + data + `}`
	}
	kernels := func(data string) string {
		return `{"schema_id":"` + events.KernelActions + `","version":1,"data":` + data + `}`
	}
	for name, body := range map[string]string{
		"nothing":          ``,
		"not JSON":         `{`,
		"a list":           `[]`,
		"null":             `null`,
		"no schema":        `{"version":1,"data":{}}`,
		"no version":       `{"schema_id":"` + events.ContentsService + `","data":{"action":"get","path":""}}`,
		"no data":          `{"schema_id":"` + events.ContentsService + `","version":1}`,
		"unknown schema":   `{"schema_id":"https://example.org/x/v1","version":1,"data":{"action":"get","path":""}}`,
		"other version":    `{"schema_id":"` + events.ContentsService + `","version":2,"data":{"action":"get","path":""}}`,
		"no timestamp":     `{"schema_id":"` + events.ContentsService + `","version":1,"timestamp":"yesterday","data":{"action":"get","path":""}}`,
		"no action":        contents(`{"path":"x"}`),
		"unknown action":   contents(`{"action":"eat","path":"x"}`),
		"action no string": contents(`{"action":1,"path":"x"}`),
		"no path":          contents(`{"action":"get"}`),
		"path no string":   contents(`{"action":"get","path":7}`),
		"source no string": contents(`{"action":"copy","path":"x","source_path":{}}`),
		"no msg":           kernels(`{"action":"start"}`),
		"no kernel":        kernels(`{"action":"restart","msg":"m"}`),
		"started, no ID":   kernels(`{"action":"start","status":"success","msg":"m"}`),
		"unknown status":   kernels(`{"action":"start","status":"odd","msg":"m"}`),
		"code no number":   kernels(`{"action":"start","status":"error","msg":"m","status_code":"500"}`),
	} {
		if res := v.do("POST", "/projects/p/api/events", "application/json", []byte(body)); res.StatusCode != 400 {
			t.Errorf("%s: %d", name, res.StatusCode)
		}
	}
	if res := v.do("POST", "/projects/p/api/events", "application/json", []byte(contents(`{"action":"get","path":"`+strings.Repeat("x", 70000)+`"}`))); res.StatusCode != 413 {
		t.Errorf("a long one: %d", res.StatusCode)
	}
	if res := v.do("POST", "/projects/theirs/api/events", "application/json", []byte(contents(`{"action":"get","path":"x"}`))); res.StatusCode != 404 {
		t.Errorf("to somebody else's project: %d", res.StatusCode)
	}
	events.Emit(d.hub, "p", events.Emitted{Schema: "last", Data: map[string]any{}})
	if got := nextEvent(t, ws); got["schema_id"] != "last" {
		t.Errorf("told %v", got)
	}
}

// Who may not open the project may not listen, and no foreign page may with the
// cookie of one who may.
func TestWhoMaySubscribe(t *testing.T) {
	d, s, token := eventDoor(t)
	ada, err := d.hub.Store.UserByName(t.Context(), "ada")
	if err != nil {
		t.Fatal(err)
	}
	login, err := d.hub.OpenLogin(t.Context(), ada)
	if err != nil {
		t.Fatal(err)
	}
	cookie, bearer := loginCookie+"="+login, "Bearer "+token
	for _, c := range []struct {
		project string
		header  http.Header
		want    int
	}{
		{"p", nil, 401},
		{"theirs", http.Header{"Authorization": {bearer}}, 404},
		{"p", http.Header{"Cookie": {cookie}, "Origin": {"http://evil.example"}}, 403},
		{"p", http.Header{"Cookie": {cookie}, "Origin": {s.URL}}, 101},
		{"p", http.Header{"Authorization": {bearer}, "Origin": {"http://evil.example"}}, 101},
	} {
		if _, status := subscribe(t, s, c.project, c.header); status != c.want {
			t.Errorf("%s %v: %d, want %d", c.project, c.header, status, c.want)
		}
	}
}
