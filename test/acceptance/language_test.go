package acceptance

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// editor is a client of a language server, as JupyterLab is one.
type editor struct {
	t      *testing.T
	ws     *websocket.Conn
	asked  int
	notice map[string]json.RawMessage // the last of each method
}

func (h *hub) editor(t *testing.T, project, server string) *editor {
	t.Helper()
	address := "ws" + strings.TrimPrefix(h.Base, "http") + "/projects/" + url.PathEscape(project) + "/lsp/ws/" + server
	ws, res, err := websocket.DefaultDialer.Dial(address, http.Header{"Authorization": {"Bearer " + h.Token}})
	if err != nil {
		t.Fatalf("%s: %v %+v", server, err, res)
	}
	t.Cleanup(func() { ws.Close() })
	return &editor{t: t, ws: ws, notice: map[string]json.RawMessage{}}
}

type lspMessage struct {
	ID     *int            `json:"id"`
	Method string          `json:"method"`
	Params json.RawMessage `json:"params"`
	Result json.RawMessage `json:"result"`
	Error  json.RawMessage `json:"error"`
}

func (e *editor) next() lspMessage {
	e.t.Helper()
	e.ws.SetReadDeadline(time.Now().Add(time.Minute))
	kind, b, err := e.ws.ReadMessage()
	if err != nil {
		e.t.Fatal(err)
	}
	var m lspMessage
	if err := json.Unmarshal(b, &m); err != nil || kind != websocket.TextMessage {
		e.t.Fatalf("%d %v: %.300s", kind, err, b)
	}
	if m.Method != "" {
		e.notice[m.Method] = m.Params
	}
	return m
}

func (e *editor) send(v map[string]any) {
	e.t.Helper()
	v["jsonrpc"] = "2.0"
	if err := e.ws.WriteJSON(v); err != nil {
		e.t.Fatal(err)
	}
}

func (e *editor) tell(method string, params any) {
	e.send(map[string]any{"method": method, "params": params})
}

func (e *editor) ask(method string, params any) string {
	e.t.Helper()
	e.asked++
	e.send(map[string]any{"method": method, "params": params, "id": e.asked})
	for {
		m := e.next()
		if m.ID != nil && *m.ID == e.asked && m.Method == "" {
			if m.Error != nil {
				e.t.Fatalf("%s: %s", method, m.Error)
			}
			return string(m.Result)
		}
	}
}

// told waits for a notification that satisfies the test.
func (e *editor) told(method string, test func(params string) bool) string {
	e.t.Helper()
	for {
		if got := string(e.notice[method]); got != "" && test(got) {
			return got
		}
		e.next()
	}
}

func (e *editor) begin() string {
	e.t.Helper()
	capabilities := e.ask("initialize", map[string]any{"processId": nil, "rootUri": "file:///project", "capabilities": map[string]any{}})
	e.tell("initialized", map[string]any{})
	return capabilities
}

func at(uri string, line, character int) map[string]any {
	return map[string]any{"textDocument": map[string]any{"uri": uri}, "position": map[string]any{"line": line, "character": character}}
}

type lspStatus struct {
	Version  int
	Sessions map[string]struct {
		Clients int    `json:"handler_count"`
		Status  string `json:"status"`
	}
	Specs map[string]struct {
		Languages []string
		Install   map[string]string
		OnDisk    *bool `json:"requires_documents_on_disk"`
	}
}

// TestLanguageServer: pylsp of the image, in a container of its own: completion,
// diagnostics, rename; what is typed and what is in the files.
func TestLanguageServer(t *testing.T) {
	h := startHub(t)
	p, k := h.project("Languages")
	s := h.Open(p, k)
	s.Exec("open('helpers.py', 'w').write('def greeting_of(name):\\n    return name\\n')")
	base := "/projects/" + p + "/lsp/"
	var status lspStatus
	h.Want(200, "GET", base+"status", nil, &status)
	if one, ok := status.Sessions["pylsp"]; status.Version != 2 || !ok || len(status.Sessions) != 1 || one.Status != "not_started" || one.Clients != 0 {
		t.Fatalf("status: %+v", status)
	}
	if spec := status.Specs["bash-language-server"]; len(spec.Languages) == 0 || spec.Install["npm"] == "" || spec.OnDisk == nil || *spec.OnDisk {
		t.Errorf("spec of one that is missing: %+v", spec)
	}
	for server, want := range map[string]int{"bash-language-server": 422, "no-such": 404} {
		if code, b := h.socketStatus(base + "ws/" + server); code != want {
			t.Errorf("%s: %d %s", server, code, b)
		}
	}

	start := time.Now()
	e := h.editor(t, p, "pylsp")
	if got := e.begin(); !strings.Contains(got, "completionProvider") || !strings.Contains(got, "renameProvider") {
		t.Fatalf("capabilities: %s", got)
	}
	t.Logf("first answer of a language server after %v", time.Since(start))
	const uri = "file:///project/notebook.py"
	e.tell("textDocument/didOpen", map[string]any{"textDocument": map[string]any{
		"uri": uri, "languageId": "python", "version": 1, "text": "import helpers\ndef shoe_size(feet):\n    return feet\n\nshoe_size(42)\nhelpers.gree\n",
	}})
	if got := e.ask("textDocument/completion", at(uri, 5, 12)); !strings.Contains(got, "greeting_of") {
		t.Errorf("completion from a file of the project: %s", got)
	}
	if got := e.ask("textDocument/completion", at(uri, 4, 4)); !strings.Contains(got, "shoe_size") {
		t.Errorf("completion from the text: %s", got)
	}
	rename := at(uri, 1, 6)
	rename["newName"] = "shoe_length"
	if got := e.ask("textDocument/rename", rename); !strings.Contains(got, "shoe_length") || !strings.Contains(got, "notebook.py") {
		t.Errorf("rename: %s", got)
	}
	e.tell("textDocument/didChange", map[string]any{
		"textDocument": map[string]any{"uri": uri, "version": 2}, "contentChanges": []any{map[string]any{"text": "def broken(:\n"}},
	})
	e.told("textDocument/publishDiagnostics", func(got string) bool { return strings.Contains(strings.ToLower(got), "syntax") })

	h.Want(200, "GET", base+"status", nil, &status)
	if one := status.Sessions["pylsp"]; one.Status != "started" || one.Clients != 1 {
		t.Errorf("status with a client: %+v", one)
	}
	// A second page has a server of its own: its documents and numbers are its own.
	two := h.editor(t, p, "pylsp")
	two.begin()
	two.tell("textDocument/didOpen", map[string]any{"textDocument": map[string]any{"uri": uri, "languageId": "python", "version": 1, "text": "import os\nos.path.joi\n"}})
	if got := two.ask("textDocument/completion", at(uri, 1, 11)); !strings.Contains(got, "join") {
		t.Errorf("completion in a second page: %s", got)
	}

	// Kernels of the project can be frozen with all that going on.
	h.MustRun(h.path(p, k, "hibernate"), nil, nil)
	if got := s.Exec("6 * 7"); got != "42" {
		t.Errorf("after a sleep beside a language server: %s", got)
	}

	// What is no message is refused, and takes nothing down.
	two.ws.WriteMessage(websocket.TextMessage, []byte("hello"))
	two.ws.SetReadDeadline(time.Now().Add(time.Minute))
	for {
		if _, _, err := two.ws.ReadMessage(); err != nil {
			if !websocket.IsCloseError(err, websocket.CloseUnsupportedData) {
				t.Errorf("after nonsense: %v", err)
			}
			break
		}
	}
	if got := e.ask("textDocument/hover", at(uri, 0, 5)); got == "" {
		t.Error("the first one is silent")
	}
	waitFor(t, "the second one's server ends", func() bool {
		h.Want(200, "GET", base+"status", nil, &status)
		return status.Sessions["pylsp"].Clients == 1
	})
}

// socketStatus is what a websocket's refusal says.
func (h *hub) socketStatus(path string) (int, string) {
	h.t.Helper()
	_, res, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(h.Base, "http")+path, http.Header{"Authorization": {"Bearer " + h.Token}})
	if err == nil || res == nil {
		h.t.Fatalf("%s: %v", path, err)
	}
	b := make([]byte, 1000)
	n, _ := res.Body.Read(b)
	return res.StatusCode, string(b[:n])
}

// A server that a person installed is found, and is as hostile as anything a
// project holds: it lies about lengths, floods, and ends.
func TestHostileLanguageServer(t *testing.T) {
	h := startHub(t)
	p, k := h.project("Hostile")
	s := h.Open(p, k)
	install := func(script string) {
		t.Helper()
		b, _ := json.Marshal("#!/usr/bin/env python3\nimport sys, os\nsys.stdin.readline()\no = sys.stdout.buffer\n" + script)
		s.Exec("import os, json\nos.makedirs('/home/cellar/.local/bin', exist_ok=True)\nf = '/home/cellar/.local/bin/jedi-language-server'\nopen(f, 'w').write(json.loads(r'''" + string(b) + "'''))\nos.chmod(f, 0o755)")
	}
	install("")
	var status lspStatus
	h.Want(200, "GET", "/projects/"+p+"/lsp/status", nil, &status)
	if _, own := status.Sessions["jedi-language-server"]; !own || len(status.Sessions) != 1 {
		t.Errorf("what the person installed is not offered in the image's place: %+v", status.Sessions)
	}
	hello := `{"jsonrpc":"2.0","method":"hello"}`
	good := "o.write(b'Content-Length: %d\\r\\n\\r\\n' % len(m) + m); o.flush()\n"
	for name, c := range map[string]struct {
		script string
		code   int
		hello  bool // it is heard before the end
	}{
		"ends":               {"", websocket.CloseServiceRestart, false},
		"a length of 2^60":   {"o.write(b'Content-Length: 1152921504606846976\\r\\n\\r\\n{'); o.flush(); sys.stdin.read()\n", websocket.CloseInternalServerErr, false},
		"a negative length":  {"o.write(b'Content-Length: -1\\r\\n\\r\\n{}'); o.flush(); sys.stdin.read()\n", websocket.CloseInternalServerErr, false},
		"no JSON":            {"o.write(b'Content-Length: 4\\r\\n\\r\\nabcd'); o.flush(); sys.stdin.read()\n", websocket.CloseInternalServerErr, false},
		"an endless line":    {"while True: o.write(b'x' * 65536)\n", websocket.CloseInternalServerErr, false},
		"cut off":            {"o.write(b'Content-Length: 100\\r\\n\\r\\n{'); o.flush()\n", websocket.CloseServiceRestart, false},
		"noise, then good":   {"print('Loading ...', flush=True); m = b'" + hello + "'\n" + good, websocket.CloseServiceRestart, true},
		"a child stays":      {"m = b'" + hello + "'\n" + good + "if os.fork() == 0:\n    os.setsid(); import time; time.sleep(3600)\nos._exit(0)\n", 0, true},
		"floods its stderr":  {"m = b'" + hello + "'\nfor i in range(1000): sys.stderr.write('e' * 65536)\n" + good, websocket.CloseServiceRestart, true},
		"takes nothing more": {"m = b'" + hello + "'\n" + good + "import time; time.sleep(3600)\n", 0, true},
	} {
		install(c.script)
		e := h.editor(t, p, "jedi-language-server")
		e.tell("initialize", map[string]any{})
		e.ws.WriteMessage(websocket.TextMessage, []byte("{\n}"))
		e.ws.SetReadDeadline(time.Now().Add(time.Minute))
		_, b, err := e.ws.ReadMessage()
		if c.hello {
			if string(b) != hello {
				t.Errorf("%s: %.200s %v", name, b, err)
			}
			if c.code == 0 { // it would stay: the client goes
				e.ws.Close()
				continue
			}
			_, b, err = e.ws.ReadMessage()
		}
		if !websocket.IsCloseError(err, c.code) {
			t.Errorf("%s: %.200s %v", name, b, err)
		}
	}
	waitFor(t, "all of them are gone", func() bool {
		h.Want(200, "GET", "/projects/"+p+"/lsp/status", nil, &status)
		return status.Sessions["jedi-language-server"].Clients == 0
	})
	if got := s.Exec("6 * 7"); got != "42" {
		t.Errorf("the kernel: %s", got)
	}
}

// waitFor polls until look is true.
func waitFor(t testing.TB, what string, look func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !look(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within a minute: %s", what)
		}
	}
}
