package acceptance

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"cellar/internal/testkit"
	"cellar/kernel/wire"
)

func TestChannels(t *testing.T) {
	h := startHub(t)
	p, k := h.project("Channels")

	t.Run("twenty megabytes both ways in both framings", func(t *testing.T) {
		big := bytes.Repeat([]byte("0123456789abcdef"), 20<<20/16)
		for _, v1 := range []bool{true, false} {
			c := h.Channels(p, k, "", v1)
			c.End(c.Run(`def _echo(comm, _):
    @comm.on_msg
    def back(m):
        comm.send({'n': len(m['buffers'][0])}, buffers=[bytes(m['buffers'][0]), b''])
get_ipython().kernel.comm_manager.register_target('echo', _echo)`))
			c.Send("shell", "comm_open", map[string]any{"comm_id": "c1", "target_name": "echo", "data": map[string]any{}})
			id := c.Send("shell", "comm_msg", map[string]any{"comm_id": "c1", "data": map[string]any{}}, big)
			all := c.Until("answer of the comm", func(m testkit.Heard) bool { return m.Kind == "comm_msg" && m.Parent == id })
			m := all[len(all)-1]
			if len(m.Buffers) != 2 || !bytes.Equal(m.Buffers[0], big) || len(m.Buffers[1]) != 0 || !strings.Contains(string(m.Content), fmt.Sprint(len(big))) {
				t.Errorf("v1 %v: %d buffers came back, %s", v1, len(m.Buffers), m.Content)
			}
			c.Close()
		}
	})

	t.Run("complete, inspect, is_complete, history", func(t *testing.T) {
		c := h.Channels(p, k, "", true)
		c.End(c.Run("a_long_name = 41"))
		var complete struct{ Matches []string }
		c.Reply(c.Send("shell", "complete_request", map[string]any{"code": "a_long", "cursor_pos": 6}), &complete)
		var inspect struct {
			Found bool
			Data  map[string]string
		}
		c.Reply(c.Send("shell", "inspect_request", map[string]any{"code": "len", "cursor_pos": 3, "detail_level": 0}), &inspect)
		var whole, half struct{ Status string }
		c.Reply(c.Send("shell", "is_complete_request", map[string]any{"code": "1+1"}), &whole)
		c.Reply(c.Send("shell", "is_complete_request", map[string]any{"code": "for x in y:"}), &half)
		var history struct{ History [][]any }
		c.Reply(c.Send("shell", "history_request", map[string]any{"hist_access_type": "tail", "n": 5, "output": false, "raw": true}), &history)
		if len(complete.Matches) != 1 || complete.Matches[0] != "a_long_name" || !inspect.Found || !strings.Contains(inspect.Data["text/plain"], "number of items") || whole.Status != "complete" || half.Status != "incomplete" {
			t.Errorf("%v, %v, %v, %v", complete, inspect.Found, whole, half)
		}
		if n := len(history.History); n == 0 || fmt.Sprint(history.History[n-1][2]) != "a_long_name = 41" {
			t.Errorf("history: %v", history.History)
		}
	})

	t.Run("twenty clients hear everything in order", func(t *testing.T) {
		var list []*testkit.Channels
		for i := range 20 {
			list = append(list, h.Channels(p, k, "", i%2 == 0))
		}
		id := list[0].Run("for i in range(3000):\n    print(i, flush=True)")
		want := numbers(3000)
		together(len(list), func(i int) {
			all := list[i].End(id)
			if got := testkit.Printed(all, id); got != want {
				t.Errorf("client %d heard %d bytes of %d", i, len(got), len(want))
			}
			for _, m := range all {
				if i > 0 && m.Kind == "execute_reply" {
					t.Errorf("client %d got the answer to another's question", i)
				}
			}
		})
	})

	t.Run("ten thousand outputs and a hundred megabytes", func(t *testing.T) {
		c := h.Channels(p, k, "", true)
		id := c.Run("from IPython.display import display\nfor i in range(10_000):\n    display(i)")
		n := 0
		for _, m := range c.End(id) {
			if m.Kind == "display_data" {
				var d struct{ Data map[string]string }
				json.Unmarshal(m.Content, &d)
				if d.Data["text/plain"] != fmt.Sprint(n) {
					t.Fatalf("output %d is %v", n, d.Data)
				}
				n++
			}
		}
		if n != 10_000 {
			t.Errorf("%d of 10,000 outputs", n)
		}
		id = c.Run("import sys\nfor i in range(100):\n    sys.stdout.write('x' * 999_999 + '\\n')")
		if got := len(testkit.Printed(c.End(id), id)); got != 100_000_000 {
			t.Errorf("%d of 100,000,000 bytes", got)
		}
	})

	// What a kernel does while it sleeps in one long call, and while it does a little at a time.
	for _, work := range []string{"time.sleep(300)", "while True: time.sleep(0.05)"} {
		for name, interrupt := range map[string]func(c *testkit.Channels){
			"REST":    func(*testkit.Channels) { h.Want(204, "POST", "/projects/"+p+"/api/kernels/"+k+"/interrupt", nil, nil) },
			"message": func(c *testkit.Channels) { c.Send("control", "interrupt_request", map[string]any{}) },
		} {
			t.Run("interrupt by "+name+" of "+work, func(t *testing.T) {
				c := h.Channels(p, k, "", true)
				c.T, c.Patience = t, 15*time.Second
				t.Cleanup(func() { h.Do("POST", "/projects/"+p+"/api/kernels/"+k+"/interrupt", nil, nil) }) // the next ones must not wait behind this
				id := c.Run("import time\nprint('begun')\n" + work)
				c.Until("begin", func(m testkit.Heard) bool { return m.Kind == "stream" && m.Parent == id })
				interrupt(c)
				found := false
				for _, m := range c.End(id) {
					found = found || m.Kind == "error" && strings.Contains(string(m.Content), "KeyboardInterrupt")
				}
				if !found {
					t.Error("no KeyboardInterrupt")
				}
			})
		}
	}

	t.Run("input after a reconnect", func(t *testing.T) {
		c := h.Channels(p, k, "", true)
		other := h.Channels(p, k, "", true)
		id := c.Run("print('got', input('name? '))")
		c.Until("question", func(m testkit.Heard) bool { return m.Kind == "input_request" && m.Channel == "stdin" })
		c.Close()
		c = h.Channels(p, k, c.Session, true)
		c.Send("stdin", "input_reply", map[string]any{"value": "Ada"})
		if got := testkit.Printed(c.End(id), id); got != "got Ada\n" {
			t.Errorf("it said %q", got)
		}
		for _, m := range other.End(id) {
			if m.Kind == "input_request" {
				t.Error("another client is asked too")
			}
		}
	})

	t.Run("a client that comes back hears what it missed", func(t *testing.T) {
		c, witness := h.Channels(p, k, "", true), h.Channels(p, k, "", true)
		h.Want(201, "PUT", "/projects/"+p+"/api/contents/go", map[string]string{"type": "file", "format": "text", "content": ""}, nil)
		id := c.Run("import time\nprint('first', flush=True)\nwhile not open('/project/go').read(): time.sleep(0.01)\nfor i in range(500): print(i, flush=True)")
		c.Until("begin", func(m testkit.Heard) bool { return m.Kind == "stream" && m.Parent == id })
		c.Close()
		h.Want(200, "PUT", "/projects/"+p+"/api/contents/go", map[string]string{"type": "file", "format": "text", "content": "x"}, nil)
		witness.End(id)
		c = h.Channels(p, k, c.Session, true)
		idle, answered := false, false // they come by ways of their own
		all := c.Until("end and answer", func(m testkit.Heard) bool {
			idle, answered = idle || m.Idle(id), answered || m.Kind == "execute_reply" && m.Parent == id
			return idle && answered
		})
		if got := testkit.Printed(all, id); got != numbers(500) {
			t.Errorf("it hears %d bytes", len(got))
		}
	})

	t.Run("a breakpoint in a cell", func(t *testing.T) { breakpoint(t, h.Channels(p, k, "", true)) })

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
		// JupyterLab's page, in the same seconds: it opens one by another path, and moves it here.
		var own, moved struct {
			ID, Path string
			Kernel   struct{ ID string }
		}
		h.Want(201, "POST", "/projects/"+p+"/api/sessions", map[string]any{"path": "of-a-page", "name": "", "type": "notebook", "kernel": map[string]string{"name": "python3"}}, &own)
		h.Want(200, "PATCH", "/projects/"+p+"/api/sessions/"+own.ID, map[string]any{"path": "one.ipynb"}, &moved)
		var first struct{ Kernel struct{ ID string } }
		h.Want(200, "GET", "/projects/"+p+"/api/sessions/"+ids[0], nil, &first)
		if moved.ID != own.ID || moved.Path != "one.ipynb" || moved.Kernel.ID != first.Kernel.ID || own.Kernel.ID == first.Kernel.ID {
			t.Errorf("moved: %+v, it was %+v, and the first has %+v", moved, own, first)
		}
		h.Want(404, "GET", "/projects/"+p+"/api/kernels/"+own.Kernel.ID, nil, nil)
		h.Want(204, "DELETE", "/projects/"+p+"/api/sessions/"+own.ID, nil, nil)
		// One in which something was run keeps what it has.
		h.Want(201, "POST", "/projects/"+p+"/api/sessions", map[string]any{"path": "of-another", "name": "", "type": "notebook", "kernel": map[string]string{"name": "python3"}}, &own)
		c1 := h.Channels(p, own.Kernel.ID, "", true)
		c1.End(c1.Run("x = 1"))
		h.Want(200, "PATCH", "/projects/"+p+"/api/sessions/"+own.ID, map[string]any{"path": "one.ipynb"}, &moved)
		if moved.Kernel.ID != own.Kernel.ID {
			t.Errorf("moved: %+v, it was %+v", moved, own)
		}
		h.Want(204, "DELETE", "/projects/"+p+"/api/sessions/"+own.ID, nil, nil)
		// Another kernel for it: the old one goes, and its sockets with it.
		var before, after struct{ Kernel struct{ ID string } }
		h.Want(200, "GET", "/projects/"+p+"/api/sessions/"+ids[0], nil, &before)
		c := h.Channels(p, before.Kernel.ID, "", true)
		c.Reply(c.Send("shell", "kernel_info_request", map[string]any{}), nil)
		h.Want(200, "PATCH", "/projects/"+p+"/api/sessions/"+ids[0], map[string]any{"kernel": map[string]any{"name": "python3", "id": nil}}, &after)
		if after.Kernel.ID == before.Kernel.ID || after.Kernel.ID == "" {
			t.Errorf("the kernel is %q, and was %q", after.Kernel.ID, before.Kernel.ID)
		}
		if ce := c.ClosedWith(); ce.Code != websocket.CloseNormalClosure {
			t.Errorf("the old kernel's socket: %v", ce)
		}
		h.Want(404, "GET", "/projects/"+p+"/api/kernels/"+before.Kernel.ID, nil, nil)
		c = h.Channels(p, after.Kernel.ID, "", true)
		h.Want(204, "DELETE", "/projects/"+p+"/api/sessions/"+ids[0], nil, nil)
		if ce := c.ClosedWith(); ce.Code != websocket.CloseNormalClosure { // the lab does not reconnect after 1000
			t.Errorf("a deleted kernel's socket: %v", ce)
		}
	})

	t.Run("a cell changes what another has shown, with nobody there", func(t *testing.T) {
		cell := func(id, outputs string) string {
			return `{"cell_type":"code","id":"` + id + `","source":"x","metadata":{},"execution_count":null,"outputs":[` + outputs + `]}`
		}
		save := func(status int, shown string) {
			t.Helper()
			body := `{"type":"notebook","format":"json","content":{"cells":[` + cell("a", shown) + `,` + cell("b", "") + `],"metadata":{},"nbformat":4,"nbformat_minor":5}}`
			h.Want(status, "PUT", "/projects/"+p+"/api/contents/shown.ipynb", []byte(body), nil)
		}
		save(201, "")
		kernel := h.session(p, "shown.ipynb")
		s := h.Open(p, kernel)
		s.Wait(s.Send("from IPython.display import display\nbar = display('0 percent', display_id='bar')", "a"))
		save(200, `{"output_type":"display_data","metadata":{},"data":{"text/plain":"'0 percent'"}}`) // as a tab does that has seen it
		s.Send("import time\ntime.sleep(1)\nbar.update('100 percent')", "b")
		s.Close()
		file := filepath.Join(h.data, "projects", p, "files", "shown.ipynb")
		for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
			b, err := os.ReadFile(file)
			if err == nil && strings.Contains(string(b), "'100 percent'") && !strings.Contains(string(b), "'0 percent'") {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("the file holds %s, %v", b, err)
			}
		}
		h.Want(204, "DELETE", "/projects/"+p+"/api/kernels/"+kernel, nil, nil)
	})

	t.Run("a kernel that dies", func(t *testing.T) {
		c := h.Channels(p, k, "", true)
		c.Run("import os\nos._exit(3)")
		c.Until("a restart", func(m testkit.Heard) bool { return told(m, "restarting") })
		id := c.Run("print(6 * 7)")
		if got := testkit.Printed(c.End(id), id); got != "42\n" {
			t.Errorf("started again it says %q", got)
		}
	})
}

func kinds(all []testkit.Heard) (out []string) {
	for _, m := range all {
		name := m.Kind
		if m.Kind == "status" {
			name += string(m.Content)
		}
		out = append(out, name)
	}
	return out
}

// breakpoint stops a cell by the debugger's protocol, looks at a variable, and
// lets it go on.
func breakpoint(t *testing.T, c *testkit.Channels) {
	seq := 0
	ask := func(command string, arguments any) (body json.RawMessage) {
		t.Helper()
		seq++
		var r struct {
			Success bool
			Message string
			Body    json.RawMessage
		}
		id := c.Send("control", "debug_request", map[string]any{"type": "request", "seq": seq, "command": command, "arguments": arguments})
		if c.Reply(id, &r); !r.Success {
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
	id := c.Run(code)
	all := c.Until("stop", func(m testkit.Heard) bool {
		return m.Kind == "debug_event" && strings.Contains(string(m.Content), `"stopped"`)
	})
	var stopped struct {
		Body struct {
			ThreadID int    `json:"threadId"`
			Reason   string `json:"reason"`
		}
	}
	json.Unmarshal(all[len(all)-1].Content, &stopped)
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
	c.Send("control", "debug_request", map[string]any{"type": "request", "seq": seq, "command": "continue", "arguments": map[string]any{"threadId": stopped.Body.ThreadID}})
	if got := testkit.Printed(c.End(id), id); got != "went on 41\n" {
		t.Errorf("it said %q", got)
	}
	ask("disconnect", map[string]any{"restart": false, "terminateDebuggee": false})
}

// TestASlowClientCatchesUp: one that does not read for a while holds nobody back,
// and then gets every line on the same socket.
func TestASlowClientCatchesUp(t *testing.T) {
	h := startHub(t)
	p, k := h.project("Slow")
	h.Open(p, k).Exec("1")
	j := jupyterOf(h, p)
	fast := j.open(k)
	defer fast.close()
	const lines, width = 600_000, 200
	code := fmt.Sprintf("for i in range(%d): print(f'{i:0%d}')", lines, width-1)
	slow := j.open(k)
	defer slow.close()
	if got := execute(fast, code); got != lines*width {
		t.Errorf("who reads got %d bytes of %d", got, lines*width)
	}
	next := 0
	for rest := ""; next < lines; {
		_, m := slow.receive()
		head, err := wire.ParseHeader(m.Header)
		if err != nil {
			t.Fatal(err)
		}
		if head.MsgType != "stream" {
			continue
		}
		var c struct{ Text string }
		if err := json.Unmarshal(m.Content, &c); err != nil {
			t.Fatal(err)
		}
		rest += c.Text
		for len(rest) >= width && next < lines {
			if want := fmt.Sprintf("%0*d\n", width-1, next); rest[:width] != want {
				t.Fatalf("line %d is %q", next, rest[:width])
			}
			rest, next = rest[width:], next+1
		}
	}
	if got := execute(slow, "print('awake')"); got != len("awake\n") {
		t.Errorf("afterwards it got %d bytes", got)
	}
}
