package main

import (
	"fmt"
	"time"

	"cellar/kernel/wire"
)

// dap asks the kernel's debugger and wants success.
func (c *channels) dap(seq int, command string, arguments any) map[string]any {
	id := c.send(wire.Control, "debug_request", map[string]any{"type": "request", "seq": seq, "command": command, "arguments": arguments})
	for {
		m, err := c.read(90 * time.Second) // the adapter is a process that has to start
		if err != nil {
			c.t.failf("%s: %v", command, err)
		}
		if m.parent != id || m.kind != "debug_reply" {
			continue
		}
		if m.content["success"] != true {
			c.t.failf("%s: %v", command, m.content)
		}
		body, _ := m.content["body"].(map[string]any)
		return body
	}
}

// channelDebugger stops at a breakpoint in a cell, and goes on.
func channelDebugger(t *try, framing string) {
	const cell = "x = 1\ny = x + 1\nprint(y)\n"
	c := t.open(t.kernel(), framing)
	c.printed("print(1)", "1\n")
	c.dap(1, "initialize", map[string]any{"clientID": "conformance", "adapterID": "", "pathFormat": "path", "linesStartAt1": true, "columnsStartAt1": true, "supportsVariableType": true, "supportsVariablePaging": true, "supportsRunInTerminalRequest": true, "locale": "en"})
	c.dap(2, "attach", map[string]any{})
	source, _ := c.dap(3, "dumpCell", map[string]any{"code": cell})["sourcePath"].(string)
	if source == "" {
		t.failf("dumpCell tells no sourcePath")
	}
	c.dap(4, "setBreakpoints", map[string]any{"source": map[string]string{"path": source}, "breakpoints": []any{map[string]int{"line": 2}}, "sourceModified": false})
	c.dap(5, "configurationDone", map[string]any{})
	asked := c.send(wire.Shell, "execute_request", code(cell))
	var thread any
	for thread == nil {
		m := c.next()
		if body, _ := m.content["body"].(map[string]any); m.kind == "debug_event" && m.text("event") == "stopped" {
			thread = body["threadId"]
			t.want("why it stopped", fmt.Sprint(body["reason"]), "breakpoint")
		}
	}
	// Not by dap: what the cell prints may come before the answer.
	c.send(wire.Control, "debug_request", map[string]any{"type": "request", "seq": 6, "command": "continue", "arguments": map[string]any{"threadId": thread}})
	t.want("what was printed", c.hear(asked).text("stdout"), "2\n")
	c.dap(7, "disconnect", map[string]any{"restart": false, "terminateDebuggee": false})
}

// channelAutorestart: a kernel that dies is started again, and who is connected is told.
func channelAutorestart(t *try, framing string) {
	id := t.kernel()
	c := t.open(id, framing)
	c.printed("x = 1; print(x)", "1\n")
	c.send(wire.Shell, "execute_request", code("import os; os._exit(1)"))
	for {
		m := c.next()
		if s := m.text("execution_state"); m.kind == "status" && (s == "restarting" || s == "autorestarting") {
			break
		}
	}
	c = t.open(id, framing)
	c.printed("print('x' in globals())", "False\n")
}
