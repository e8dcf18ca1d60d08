package acceptance

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"cellar/kernel/wire"
)

// channels is a client of a kernel that says and hears everything, in either
// framing.
type channels struct {
	t        testing.TB
	ws       *websocket.Conn
	v1       bool
	session  string
	patience time.Duration
}

type heard struct {
	channel wire.Channel
	kind    string
	parent  string
	content json.RawMessage
	buffers [][]byte
}

var numbered atomic.Int64

// dialChannels opens a kernel's channels; session "" is a new one.
func (h *hub) dialChannels(project, kernel, session string, v1 bool) *channels {
	h.t.Helper()
	if session == "" {
		session = fmt.Sprintf("s-%d-%d", time.Now().UnixNano(), numbered.Add(1))
	}
	d := websocket.Dialer{ReadBufferSize: 1 << 20}
	if v1 {
		d.Subprotocols = []string{wire.SubprotocolV1}
	}
	ws, res, err := d.Dial(strings.Replace(h.Base, "http", "ws", 1)+"/projects/"+project+"/api/kernels/"+kernel+"/channels?session_id="+session, http.Header{"Authorization": {"token " + h.Token}})
	if err != nil {
		h.t.Fatalf("%v: %v", err, res)
	}
	h.t.Cleanup(func() { ws.Close() })
	return &channels{h.t, ws, v1, session, 60 * time.Second}
}

func (c *channels) send(ch wire.Channel, kind string, content any, buffers ...[]byte) string {
	c.t.Helper()
	id := fmt.Sprintf("m-%d-%d", time.Now().UnixNano(), numbered.Add(1))
	header, _ := json.Marshal(wire.Header{MsgID: id, MsgType: kind, Session: c.session, Username: "t", Version: "5.3", Date: time.Now().UTC().Format(time.RFC3339Nano)})
	body, err := json.Marshal(content)
	if err != nil {
		c.t.Fatal(err)
	}
	m := &wire.Message{Header: header, Content: body, Buffers: buffers}
	frame, binary := wire.EncodeV1(nil, ch, m), true
	if !c.v1 {
		if frame, binary, err = wire.EncodeJSON(ch, m); err != nil {
			c.t.Fatal(err)
		}
	}
	form := websocket.TextMessage
	if binary {
		form = websocket.BinaryMessage
	}
	if err := c.ws.WriteMessage(form, frame); err != nil {
		c.t.Fatal(err)
	}
	return id
}

func (c *channels) run(code string) string {
	c.t.Helper()
	return c.send(wire.Shell, "execute_request", map[string]any{"code": code, "silent": false, "store_history": true, "user_expressions": map[string]any{}, "allow_stdin": true, "stop_on_error": true})
}

func (c *channels) try() (heard, error) {
	c.ws.SetReadDeadline(time.Now().Add(c.patience))
	form, frame, err := c.ws.ReadMessage()
	if err != nil {
		return heard{}, err
	}
	var ch wire.Channel
	var m *wire.Message
	if c.v1 {
		ch, m, err = wire.DecodeV1(frame)
	} else {
		ch, m, err = wire.DecodeJSON(frame, form == websocket.BinaryMessage)
	}
	if err != nil {
		return heard{}, err
	}
	h, _ := wire.ParseHeader(m.Header)
	p, _ := wire.ParseHeader(m.Parent)
	return heard{ch, h.MsgType, p.MsgID, append(json.RawMessage(nil), m.Content...), m.Buffers}, nil
}

// until hears messages up to the one that is wanted, and gives all of them.
func (c *channels) until(what string, wanted func(heard) bool) []heard {
	c.t.Helper()
	var all []heard
	for {
		m, err := c.try()
		if err != nil {
			var kinds []string
			for _, m := range all[max(0, len(all)-20):] {
				kinds = append(kinds, m.channel.String()+"/"+m.kind+string(m.content[:min(len(m.content), 120)]))
			}
			c.t.Fatalf("no %s: %v; heard %q", what, err, kinds)
		}
		all = append(all, m)
		if wanted(m) {
			return all
		}
	}
}

func (m heard) idle(parent string) bool {
	return m.kind == "status" && m.parent == parent && strings.Contains(string(m.content), `"idle"`)
}

// end hears all that a request brings.
func (c *channels) end(id string) []heard {
	c.t.Helper()
	return c.until("end of "+id, func(m heard) bool { return m.idle(id) })
}

// reply is the answer to a request on shell or control.
func (c *channels) reply(id string, into any) heard {
	c.t.Helper()
	all := c.until("reply", func(m heard) bool { return m.parent == id && (m.channel == wire.Shell || m.channel == wire.Control) })
	m := all[len(all)-1]
	if into != nil {
		if err := json.Unmarshal(m.content, into); err != nil {
			c.t.Fatal(err)
		}
	}
	return m
}

func text(all []heard, parent string) string {
	var b strings.Builder
	for _, m := range all {
		if m.kind == "stream" && m.parent == parent {
			var c struct{ Text string }
			json.Unmarshal(m.content, &c)
			b.WriteString(c.Text)
		}
	}
	return b.String()
}

// closedWith reads until the socket ends.
func (c *channels) closedWith() *websocket.CloseError {
	c.t.Helper()
	for {
		_, err := c.try()
		var ce *websocket.CloseError
		if errors.As(err, &ce) {
			return ce
		}
		if err != nil {
			c.t.Fatalf("the socket ended without a word: %v", err)
		}
	}
}

func TestChannels(t *testing.T) {
	h := startHub(t)
	p, k := h.project("Channels")

	t.Run("twenty megabytes both ways in both framings", func(t *testing.T) {
		big := bytes.Repeat([]byte("0123456789abcdef"), 20<<20/16)
		for _, v1 := range []bool{true, false} {
			c := h.dialChannels(p, k, "", v1)
			c.end(c.run(`def _echo(comm, _):
    @comm.on_msg
    def back(m):
        comm.send({'n': len(m['buffers'][0])}, buffers=[bytes(m['buffers'][0]), b''])
get_ipython().kernel.comm_manager.register_target('echo', _echo)`))
			c.send(wire.Shell, "comm_open", map[string]any{"comm_id": "c1", "target_name": "echo", "data": map[string]any{}})
			id := c.send(wire.Shell, "comm_msg", map[string]any{"comm_id": "c1", "data": map[string]any{}}, big)
			all := c.until("answer of the comm", func(m heard) bool { return m.kind == "comm_msg" && m.parent == id })
			m := all[len(all)-1]
			if len(m.buffers) != 2 || !bytes.Equal(m.buffers[0], big) || len(m.buffers[1]) != 0 || !strings.Contains(string(m.content), fmt.Sprint(len(big))) {
				t.Errorf("v1 %v: %d buffers came back, %s", v1, len(m.buffers), m.content)
			}
			c.ws.Close()
		}
	})

	t.Run("complete, inspect, is_complete, history", func(t *testing.T) {
		c := h.dialChannels(p, k, "", true)
		c.end(c.run("a_long_name = 41"))
		var complete struct{ Matches []string }
		c.reply(c.send(wire.Shell, "complete_request", map[string]any{"code": "a_long", "cursor_pos": 6}), &complete)
		var inspect struct {
			Found bool
			Data  map[string]string
		}
		c.reply(c.send(wire.Shell, "inspect_request", map[string]any{"code": "len", "cursor_pos": 3, "detail_level": 0}), &inspect)
		var whole, half struct{ Status string }
		c.reply(c.send(wire.Shell, "is_complete_request", map[string]any{"code": "1+1"}), &whole)
		c.reply(c.send(wire.Shell, "is_complete_request", map[string]any{"code": "for x in y:"}), &half)
		var history struct{ History [][]any }
		c.reply(c.send(wire.Shell, "history_request", map[string]any{"hist_access_type": "tail", "n": 5, "output": false, "raw": true}), &history)
		if len(complete.Matches) != 1 || complete.Matches[0] != "a_long_name" || !inspect.Found || !strings.Contains(inspect.Data["text/plain"], "number of items") || whole.Status != "complete" || half.Status != "incomplete" {
			t.Errorf("%v, %v, %v, %v", complete, inspect.Found, whole, half)
		}
		if n := len(history.History); n == 0 || fmt.Sprint(history.History[n-1][2]) != "a_long_name = 41" {
			t.Errorf("history: %v", history.History)
		}
	})

	t.Run("twenty clients hear everything in order", func(t *testing.T) {
		var list []*channels
		for i := range 20 {
			list = append(list, h.dialChannels(p, k, "", i%2 == 0))
		}
		id := list[0].run("for i in range(3000):\n    print(i, flush=True)")
		want := numbers(3000)
		together(len(list), func(i int) {
			all := list[i].end(id)
			if got := text(all, id); got != want {
				t.Errorf("client %d heard %d bytes of %d", i, len(got), len(want))
			}
			for _, m := range all {
				if i > 0 && m.kind == "execute_reply" {
					t.Errorf("client %d got the answer to another's question", i)
				}
			}
		})
	})

	t.Run("ten thousand outputs and a hundred megabytes", func(t *testing.T) {
		c := h.dialChannels(p, k, "", true)
		id := c.run("from IPython.display import display\nfor i in range(10_000):\n    display(i)")
		n := 0
		for _, m := range c.end(id) {
			if m.kind == "display_data" {
				var d struct{ Data map[string]string }
				json.Unmarshal(m.content, &d)
				if d.Data["text/plain"] != fmt.Sprint(n) {
					t.Fatalf("output %d is %v", n, d.Data)
				}
				n++
			}
		}
		if n != 10_000 {
			t.Errorf("%d of 10,000 outputs", n)
		}
		id = c.run("import sys\nfor i in range(100):\n    sys.stdout.write('x' * 999_999 + '\\n')")
		if got := len(text(c.end(id), id)); got != 100_000_000 {
			t.Errorf("%d of 100,000,000 bytes", got)
		}
	})

	// What a kernel does while it sleeps in one long call, and while it does a little at a time.
	for _, work := range []string{"time.sleep(300)", "while True: time.sleep(0.05)"} {
		for name, interrupt := range map[string]func(c *channels){
			"REST":    func(*channels) { h.Want(204, "POST", "/projects/"+p+"/api/kernels/"+k+"/interrupt", nil, nil) },
			"message": func(c *channels) { c.send(wire.Control, "interrupt_request", map[string]any{}) },
		} {
			t.Run("interrupt by "+name+" of "+work, func(t *testing.T) {
				c := h.dialChannels(p, k, "", true)
				c.t, c.patience = t, 15*time.Second
				t.Cleanup(func() { h.Do("POST", "/projects/"+p+"/api/kernels/"+k+"/interrupt", nil, nil) }) // the next ones must not wait behind this
				// Told by another thread, when this one is at work: a signal that meets print in the midst of sending may be lost in there.
				id := c.run("import time, threading\nthreading.Timer(0.3, print, ['begun']).start()\n" + work)
				c.until("begin", func(m heard) bool { return m.kind == "stream" && m.parent == id })
				interrupt(c)
				found := false
				for _, m := range c.end(id) {
					found = found || m.kind == "error" && strings.Contains(string(m.content), "KeyboardInterrupt")
				}
				if !found {
					t.Error("no KeyboardInterrupt")
				}
			})
		}
	}

	t.Run("input after a reconnect", func(t *testing.T) {
		c := h.dialChannels(p, k, "", true)
		other := h.dialChannels(p, k, "", true)
		id := c.run("print('got', input('name? '))")
		c.until("question", func(m heard) bool { return m.kind == "input_request" && m.channel == wire.Stdin })
		c.ws.Close()
		c = h.dialChannels(p, k, c.session, true)
		c.send(wire.Stdin, "input_reply", map[string]any{"value": "Ada"})
		if got := text(c.end(id), id); got != "got Ada\n" {
			t.Errorf("it said %q", got)
		}
		for _, m := range other.end(id) {
			if m.kind == "input_request" {
				t.Error("another client is asked too")
			}
		}
	})

	t.Run("a client that comes back hears what it missed", func(t *testing.T) {
		c, witness := h.dialChannels(p, k, "", true), h.dialChannels(p, k, "", true)
		h.Want(201, "PUT", "/projects/"+p+"/api/contents/go", map[string]string{"type": "file", "format": "text", "content": ""}, nil)
		id := c.run("import time\nprint('first', flush=True)\nwhile not open('/project/go').read(): time.sleep(0.01)\nfor i in range(500): print(i, flush=True)")
		c.until("begin", func(m heard) bool { return m.kind == "stream" && m.parent == id })
		c.ws.Close()
		h.Want(200, "PUT", "/projects/"+p+"/api/contents/go", map[string]string{"type": "file", "format": "text", "content": "x"}, nil)
		witness.end(id)
		c = h.dialChannels(p, k, c.session, true)
		idle, answered := false, false // they come by ways of their own
		all := c.until("end and answer", func(m heard) bool {
			idle, answered = idle || m.idle(id), answered || m.kind == "execute_reply" && m.parent == id
			return idle && answered
		})
		if got := text(all, id); got != numbers(500) {
			t.Errorf("it hears %d bytes", len(got))
		}
	})

	t.Run("a breakpoint in a cell", func(t *testing.T) { breakpoint(t, h.dialChannels(p, k, "", true)) })

	t.Run("four clients open one notebook at once", func(t *testing.T) {
		ids := make([]string, 4)
		together(4, func(i int) {
			var s struct{ ID string }
			h.Want(201, "POST", "/projects/"+p+"/api/sessions", map[string]any{"path": "one.ipynb", "name": "", "type": "notebook", "kernel": map[string]string{"name": "python3"}}, &s)
			ids[i] = s.ID
		})
		if ids[0] == "" || ids[1] != ids[0] || ids[2] != ids[0] || ids[3] != ids[0] {
			t.Errorf("sessions: %v", ids)
		}
		var list []struct{ Path string }
		h.Want(200, "GET", "/projects/"+p+"/api/sessions", nil, &list)
		if n := strings.Count(fmt.Sprint(list), "one.ipynb"); n != 1 {
			t.Errorf("%d sessions for the path", n)
		}
		// Another kernel for it: the old one goes, and its sockets with it.
		var before, after struct{ Kernel struct{ ID string } }
		h.Want(200, "GET", "/projects/"+p+"/api/sessions/"+ids[0], nil, &before)
		c := h.dialChannels(p, before.Kernel.ID, "", true)
		c.reply(c.send(wire.Shell, "kernel_info_request", map[string]any{}), nil)
		h.Want(200, "PATCH", "/projects/"+p+"/api/sessions/"+ids[0], map[string]any{"kernel": map[string]any{"name": "python3", "id": nil}}, &after)
		if after.Kernel.ID == before.Kernel.ID || after.Kernel.ID == "" {
			t.Errorf("the kernel is %q, and was %q", after.Kernel.ID, before.Kernel.ID)
		}
		if ce := c.closedWith(); ce.Code != websocket.CloseNormalClosure {
			t.Errorf("the old kernel's socket: %v", ce)
		}
		h.Want(404, "GET", "/projects/"+p+"/api/kernels/"+before.Kernel.ID, nil, nil)
		c = h.dialChannels(p, after.Kernel.ID, "", true)
		h.Want(204, "DELETE", "/projects/"+p+"/api/sessions/"+ids[0], nil, nil)
		if ce := c.closedWith(); ce.Code != websocket.CloseNormalClosure { // the lab does not reconnect after 1000
			t.Errorf("a deleted kernel's socket: %v", ce)
		}
	})

	t.Run("a kernel that dies", func(t *testing.T) {
		c := h.dialChannels(p, k, "", true)
		c.run("import os\nos._exit(3)")
		all := c.until("last status", func(m heard) bool { return m.kind == "status" && strings.Contains(string(m.content), `"dead"`) })
		t.Logf("heard %v", kinds(all))
		h.Want(200, "POST", "/projects/"+p+"/api/kernels/"+k+"/restart", nil, nil)
		id := c.run("print(6 * 7)")
		if got := text(c.end(id), id); got != "42\n" {
			t.Errorf("after a restart it says %q", got)
		}
	})
}

func kinds(all []heard) (out []string) {
	for _, m := range all {
		name := m.kind
		if m.kind == "status" {
			name += string(m.content)
		}
		out = append(out, name)
	}
	return out
}

// breakpoint stops a cell by the debugger's protocol, looks at a variable, and
// lets it go on.
func breakpoint(t *testing.T, c *channels) {
	seq := 0
	ask := func(command string, arguments any) (body json.RawMessage) {
		t.Helper()
		seq++
		var r struct {
			Success bool
			Message string
			Body    json.RawMessage
		}
		id := c.send(wire.Control, "debug_request", map[string]any{"type": "request", "seq": seq, "command": command, "arguments": arguments})
		if c.reply(id, &r); !r.Success {
			t.Fatalf("%s: %s", command, r.Message)
		}
		return r.Body
	}
	ask("initialize", map[string]any{"clientID": "t", "clientName": "t", "adapterID": "", "pathFormat": "path", "linesStartAt1": true, "columnsStartAt1": true, "supportsVariableType": true, "supportsRunInTerminalRequest": true, "locale": "en"})
	ask("attach", map[string]any{})
	code := "a = 40\nb = a + 1\nprint('went on', b)"
	var dumped struct{ SourcePath string }
	json.Unmarshal(ask("dumpCell", map[string]any{"code": code}), &dumped)
	var set struct{ Breakpoints []struct{ Verified bool } }
	json.Unmarshal(ask("setBreakpoints", map[string]any{"breakpoints": []any{map[string]any{"line": 2}}, "source": map[string]any{"path": dumped.SourcePath}, "sourceModified": false}), &set)
	if len(set.Breakpoints) != 1 || !set.Breakpoints[0].Verified {
		t.Fatalf("the breakpoint is not taken: %v", set)
	}
	ask("configurationDone", map[string]any{})
	id := c.run(code)
	all := c.until("stop", func(m heard) bool { return m.kind == "debug_event" && strings.Contains(string(m.content), `"stopped"`) })
	var stopped struct {
		Body struct {
			ThreadID int    `json:"threadId"`
			Reason   string `json:"reason"`
		}
	}
	json.Unmarshal(all[len(all)-1].content, &stopped)
	var stack struct {
		StackFrames []struct{ ID, Line int }
	}
	json.Unmarshal(ask("stackTrace", map[string]any{"threadId": stopped.Body.ThreadID}), &stack)
	if stopped.Body.Reason != "breakpoint" || len(stack.StackFrames) == 0 || stack.StackFrames[0].Line != 2 {
		t.Fatalf("stopped by %+v at %+v", stopped, stack)
	}
	var value struct{ Result string }
	json.Unmarshal(ask("evaluate", map[string]any{"expression": "a", "frameId": stack.StackFrames[0].ID, "context": "watch"}), &value)
	if value.Result != "40" {
		t.Errorf("a is %q", value.Result)
	}
	seq++
	c.send(wire.Control, "debug_request", map[string]any{"type": "request", "seq": seq, "command": "continue", "arguments": map[string]any{"threadId": stopped.Body.ThreadID}})
	if got := text(c.end(id), id); got != "went on 41\n" {
		t.Errorf("it said %q", got)
	}
	ask("disconnect", map[string]any{"restart": false, "terminateDebuggee": false})
}
