package main

import (
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/gorilla/websocket"
)

var terminalChecks = []*check{
	{name: "terminals.life", run: terminalLife},
	{name: "terminals.setup-first", run: terminalSetup},
	{name: "terminals.stdin-stdout", run: terminalRun},
	{name: "terminals.set-size", run: terminalSize},
	{name: "terminals.replay", run: terminalReplay},
	{name: "terminals.disconnect", run: terminalDisconnect},
	{name: "terminals.unknown", run: terminalUnknown},
	{name: "terminals.unicode", run: terminalUnicode},
}

// terminal starts one for the check.
func (t *try) terminal() string {
	name := t.call(http.StatusOK, "POST", "api/terminals", nil).at("name")
	t.later(func() { t.ask(request{method: "DELETE", path: "api/terminals/" + name}) })
	return name
}

// screen is a client of a terminal.
type screen struct {
	t  *try
	ws *websocket.Conn
}

func (t *try) watch(name string) *screen {
	ws, _, err := t.dial("terminals/websocket/"+name, nil, t.withToken())
	t.must(err)
	return &screen{t, ws}
}

func (s *screen) next() []any {
	s.ws.SetReadDeadline(time.Now().Add(20 * time.Second))
	_, b, err := s.ws.ReadMessage()
	s.t.must(err)
	var m []any
	s.t.must(json.Unmarshal(b, &m))
	return m
}

func (s *screen) send(v ...any) { s.t.must(s.ws.WriteJSON(v)) }

// until reads output until it holds a text.
func (s *screen) until(text string) {
	var got strings.Builder
	for !strings.Contains(got.String(), text) {
		if m := s.next(); m[0] == "stdout" {
			got.WriteString(m[1].(string))
		}
	}
}

func terminalLife(t *try) {
	a := t.call(http.StatusOK, "POST", "api/terminals", nil)
	name := a.at("name")
	if d := differ("model", a.value(), map[string]any{"name": "<string>", "last_activity": "<time>"}); d != "" {
		t.failf("%s", d)
	}
	found := false
	for _, one := range t.get("api/terminals").list() {
		found = found || one["name"] == name
	}
	if !found {
		t.failf("the terminal is not listed")
	}
	t.want("the name", t.get("api/terminals/"+name).at("name"), name)
	t.call(http.StatusNoContent, "DELETE", "api/terminals/"+name, nil)
	t.call(http.StatusNotFound, "GET", "api/terminals/"+name, nil)
}

func terminalSetup(t *try) {
	s := t.watch(t.terminal())
	t.want("the first message", s.next()[0], "setup")
}

func terminalRun(t *try) {
	s := t.watch(t.terminal())
	s.send("stdin", "echo $((6*7))x\r")
	s.until("42x")
}

func terminalSize(t *try) {
	s := t.watch(t.terminal())
	s.send("set_size", 31, 97, 620, 970)
	s.send("stdin", "stty size\r")
	s.until("31 97")
}

func terminalReplay(t *try) {
	name := t.terminal()
	s := t.watch(name)
	s.send("stdin", "echo $((6*7))x\r")
	s.until("42x")
	s.ws.Close()
	t.watch(name).until("42x")
}

func terminalDisconnect(t *try) {
	name := t.terminal()
	s := t.watch(name)
	s.send("stdin", "exit\r")
	for m := s.next(); m[0] != "disconnect"; m = s.next() {
	}
	t.eventually("the terminal should be gone", func() (bool, string) {
		a := t.ask(request{method: "GET", path: "api/terminals/" + name})
		return a.status == http.StatusNotFound, string(a.body)
	})
}

func terminalUnknown(t *try) {
	t.call(http.StatusNotFound, "GET", "api/terminals/no-such", nil)
	t.call(http.StatusNotFound, "DELETE", "api/terminals/no-such", nil)
	if ws, res, err := t.dial("terminals/websocket/no-such", nil, t.withToken()); err == nil {
		ws.SetReadDeadline(time.Now().Add(5 * time.Second))
		if _, b, err := ws.ReadMessage(); err == nil {
			t.failf("a terminal that is not there says %s", b)
		}
	} else if res == nil || res.StatusCode != http.StatusNotFound {
		t.failf("%v", err)
	}
}

func terminalUnicode(t *try) {
	s := t.watch(t.terminal())
	s.send("stdin", "printf '\\303\\244\\360\\237\\246\\200.\\n'\r")
	s.until("ä🦀.")
}
