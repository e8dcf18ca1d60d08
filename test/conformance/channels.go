package main

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"cellar/kernel/wire"
)

// channelChecks run once for each framing.
var channelChecks = inBothFramings(map[string]func(*try, string){
	"execute":       channelExecute,
	"error":         channelError,
	"display":       channelDisplay,
	"stdin":         channelStdin,
	"kernel-info":   channelInfo,
	"complete":      channelComplete,
	"inspect":       channelInspect,
	"is-complete":   channelIsComplete,
	"history":       channelHistory,
	"comm":          channelComm,
	"comm-12mb":     channelCommLarge,
	"comm-20mb":     channelCommHuge,
	"control":       channelControl,
	"order":         channelOrder,
	"unicode":       channelUnicode,
	"reconnect":     channelReconnect,
	"other-session": channelOtherSession,
	"delete-kernel": channelDeleteKernel,
	"restart-told":  channelRestartTold,
	"twenty":        channelTwenty,
	"debugger":      channelDebugger,
	"autorestart":   channelAutorestart,
})

var channelOrderOfNames = strings.Fields("execute error display stdin kernel-info complete inspect is-complete history comm comm-12mb comm-20mb control order unicode reconnect other-session delete-kernel restart-told twenty debugger autorestart")

func inBothFramings(table map[string]func(*try, string)) (out []*check) {
	for _, name := range channelOrderOfNames {
		for _, framing := range framings {
			f := table[name]
			out = append(out, &check{name: "ws." + name + "." + framing, limit: 3 * time.Minute, run: func(t *try) { f(t, framing) }})
		}
	}
	return out
}

func channelExecute(t *try, framing string) {
	c := t.open(t.sharedKernel(), framing)
	h := c.exec("print('out'); import sys; print('err', file=sys.stderr); 6*7")
	t.want("stdout", h.text("stdout"), "out\n")
	t.want("stderr", h.text("stderr"), "err\n")
	t.want("the reply's status", h.reply.text("status"), "ok")
	t.want("the reply's channel", h.reply.channel, "shell")
	r := h.first("execute_result")
	if r == nil {
		t.failf("there is no execute_result")
	}
	t.want("the result", r.data("text/plain"), "42")
	t.want("its channel", r.channel, "iopub")
	if h.first("execute_input") == nil {
		t.failf("there is no execute_input")
	}
	t.want("the first status", h.first("status").text("execution_state"), "busy")
}

func channelError(t *try, framing string) {
	c := t.open(t.sharedKernel(), framing)
	h := c.exec("1/0")
	e := h.first("error")
	if e == nil {
		t.failf("there is no error")
	}
	t.want("the error", e.text("ename"), "ZeroDivisionError")
	t.want("the reply's status", h.reply.text("status"), "error")
}

func channelDisplay(t *try, framing string) {
	c := t.open(t.sharedKernel(), framing)
	h := c.exec("from IPython.display import display, HTML, clear_output\nd = display(HTML('<b>1</b>'), display_id='one')\nd.update(HTML('<b>2</b>'))\nclear_output(wait=True)")
	if m := h.first("display_data"); m == nil || m.data("text/html") != "<b>1</b>" {
		t.failf("there is no display_data with the HTML")
	}
	if m := h.first("update_display_data"); m == nil || m.data("text/html") != "<b>2</b>" {
		t.failf("there is no update_display_data with the HTML")
	}
	if m := h.first("clear_output"); m == nil || m.content["wait"] != true {
		t.failf("there is no clear_output that waits")
	}
}

func channelStdin(t *try, framing string) {
	id := t.sharedKernel()
	c, other := t.open(id, framing), t.open(id, framing)
	other.printed("print(0)", "0\n")
	asked := c.send(wire.Shell, "execute_request", code("print('hello', input('name? '))"))
	m := c.next()
	for ; m.kind != "input_request"; m = c.next() {
	}
	t.want("the prompt", m.text("prompt"), "name? ")
	t.want("its channel", m.channel, "stdin")
	c.send(wire.Stdin, "input_reply", map[string]string{"value": "Ada", "status": "ok"})
	t.want("what was printed", c.hear(asked).text("stdout"), "hello Ada\n")
	for {
		m := other.next() // sees all of iopub, but not the question
		if m.kind == "input_request" {
			t.failf("the question also came to a client that did not ask")
		}
		if m.kind == "stream" && strings.Contains(m.text("text"), "Ada") {
			return
		}
	}
}

func channelInfo(t *try, framing string) {
	c := t.open(t.sharedKernel(), framing)
	h := c.hear(c.send(wire.Shell, "kernel_info_request", map[string]any{}))
	t.want("the reply", h.reply.kind, "kernel_info_reply")
	if d := differ("kernel_info_reply", map[string]any(h.reply.content), map[string]any{
		"status": "ok", "protocol_version": "5*", "implementation": "ipython", "banner": "<string>", "language_info": map[string]any{"name": "python", "file_extension": ".py", "mimetype": "text/x-python"},
	}); d != "" {
		t.failf("%s", d)
	}
}

func channelComplete(t *try, framing string) {
	c := t.open(t.sharedKernel(), framing)
	h := c.hear(c.send(wire.Shell, "complete_request", map[string]any{"code": "prin", "cursor_pos": 4}))
	if !strings.Contains(fmt.Sprint(h.reply.content["matches"]), "print") {
		t.failf("the matches are %v", h.reply.content["matches"])
	}
}

func channelInspect(t *try, framing string) {
	c := t.open(t.sharedKernel(), framing)
	h := c.hear(c.send(wire.Shell, "inspect_request", map[string]any{"code": "len", "cursor_pos": 3, "detail_level": 0}))
	t.want("found", h.reply.content["found"], true)
	if !strings.Contains(h.reply.data("text/plain"), "len") {
		t.failf("the text is %q", h.reply.data("text/plain"))
	}
}

func channelIsComplete(t *try, framing string) {
	c := t.open(t.sharedKernel(), framing)
	for text, want := range map[string]string{"1+1": "complete", "for i in x:": "incomplete", "1 +* 1": "invalid"} {
		h := c.hear(c.send(wire.Shell, "is_complete_request", map[string]any{"code": text}))
		t.want(fmt.Sprintf("%q", text), h.reply.text("status"), want)
	}
}

func channelHistory(t *try, framing string) {
	c := t.open(t.sharedKernel(), framing)
	c.exec("history_mark = 'conformance'")
	h := c.hear(c.send(wire.Shell, "history_request", map[string]any{"output": false, "raw": true, "hist_access_type": "tail", "n": 5, "session": 0, "start": 0, "stop": 10, "unique": false, "pattern": ""}))
	t.want("the status", h.reply.text("status"), "ok")
	if !strings.Contains(fmt.Sprint(h.reply.content["history"]), "history_mark") {
		t.failf("what was just run is not in the history: %v", h.reply.content["history"])
	}
}

// echoComm is a comm target in the kernel that answers with what it got, twice as long.
const echoComm = `
def _opened(comm, message):
    @comm.on_msg
    def _(m):
        data = m['buffers'][0].tobytes() if m['buffers'] else b''
        comm.send({'n': len(data)}, buffers=[data])
get_ipython().kernel.comm_manager.register_target('echo', _opened)
`

func (t *try) comm(framing string, size int) {
	c := t.open(t.sharedKernel(), framing)
	c.exec(echoComm)
	id := unique("comm")
	c.hearIdle(c.send(wire.Shell, "comm_open", map[string]any{"comm_id": id, "target_name": "echo", "data": map[string]any{}}))
	data := bytes.Repeat([]byte("0123456789abcdef"), size/16)
	asked := c.send(wire.Shell, "comm_msg", map[string]any{"comm_id": id, "data": map[string]any{}}, data)
	for {
		m := c.next()
		if m.parent != asked || m.kind != "comm_msg" {
			continue
		}
		if len(m.buffers) != 1 || !bytes.Equal(m.buffers[0], data) {
			t.failf("%d buffers came back, not the one of %d bytes", len(m.buffers), len(data))
		}
		break
	}
	c.send(wire.Shell, "comm_close", map[string]any{"comm_id": id, "data": map[string]any{}})
	info := c.hear(c.send(wire.Shell, "comm_info_request", map[string]any{"target_name": "echo"}))
	if strings.Contains(fmt.Sprint(info.reply.content["comms"]), id) {
		t.failf("the closed comm is still listed")
	}
}

// hearIdle waits for the end of what has no reply.
func (c *channels) hearIdle(id string) {
	for {
		if m := c.next(); m.parent == id && m.kind == "status" && m.text("execution_state") == "idle" {
			return
		}
	}
}

func channelComm(t *try, framing string)      { t.comm(framing, 1<<10) }
func channelCommLarge(t *try, framing string) { t.comm(framing, 12<<20) }
func channelCommHuge(t *try, framing string)  { t.comm(framing, 20<<20) }

func channelControl(t *try, framing string) {
	c := t.open(t.sharedKernel(), framing)
	h := c.hear(c.send(wire.Control, "kernel_info_request", map[string]any{}))
	t.want("the reply", h.reply.kind, "kernel_info_reply")
	t.want("its channel", h.reply.channel, "control")
}

func channelOrder(t *try, framing string) {
	c := t.open(t.sharedKernel(), framing)
	h := c.exec("import sys\nfor i in range(2000):\n    print(i); sys.stdout.flush()")
	var want strings.Builder
	for i := range 2000 {
		fmt.Fprintln(&want, i)
	}
	if h.text("stdout") != want.String() {
		t.failf("%d bytes were printed, %d came, or not in order", want.Len(), len(h.text("stdout")))
	}
}

func channelUnicode(t *try, framing string) {
	c := t.open(t.sharedKernel(), framing)
	c.printed("print('ä日本🦀\\u2028')", "ä日本🦀\u2028\n")
}

// channelReconnect: a client that comes back with its session_id gets what it missed.
func channelReconnect(t *try, framing string) {
	id := t.kernel()
	c := t.open(id, framing)
	c.printed("print(1)", "1\n")
	asked := c.send(wire.Shell, "execute_request", code("import time\nprint('begun', flush=True)\ntime.sleep(1.5)\nprint('done')"))
	for m := c.next(); m.kind != "stream"; m = c.next() {
	}
	c.ws.Close()
	t.eventually("the kernel should be idle again", func() (bool, string) {
		k := t.get("api/kernels/" + id)
		return k.at("execution_state") == "idle" && k.at("connections") == "0", string(k.body)
	})
	c = t.openAs(id, framing, c.session)
	h := c.hear(asked)
	t.want("what came late", h.text("stdout"), "done\n")
}

// channelOtherSession: another client gets nothing of what was kept for the first.
func channelOtherSession(t *try, framing string) {
	id := t.kernel()
	c := t.open(id, framing)
	asked := c.send(wire.Shell, "execute_request", code("print('begun', flush=True)\nimport time; time.sleep(1)\nprint('secret')"))
	for m := c.next(); m.kind != "stream"; m = c.next() {
	}
	c.ws.Close()
	t.eventually("the kernel should be idle again", func() (bool, string) {
		k := t.get("api/kernels/" + id)
		return k.at("execution_state") == "idle" && k.at("connections") == "0", string(k.body)
	})
	other := t.open(id, framing)
	own := other.send(wire.Shell, "execute_request", code("print('mine')"))
	for {
		m := other.next()
		if m.parent == asked && m.kind == "execute_reply" {
			t.failf("a reply for another session came")
		}
		if m.parent == own && m.kind == "execute_reply" {
			return
		}
	}
}

// channelDeleteKernel: who is connected hears of the kernel's end.
func channelDeleteKernel(t *try, framing string) {
	id := t.kernel()
	c := t.open(id, framing)
	c.printed("print(1)", "1\n")
	t.call(204, "DELETE", "api/kernels/"+id, nil)
	deadline := time.Now().Add(8 * time.Second)
	for {
		_, err := c.read(time.Until(deadline))
		if websocket.IsUnexpectedCloseError(err) || websocket.IsCloseError(err, websocket.CloseNormalClosure, websocket.CloseGoingAway) {
			return
		}
		if err != nil {
			t.failf("the websocket stays open and silent: %v", err)
		}
	}
}

// channelRestartTold: a restart is told as Jupyter tells it.
func channelRestartTold(t *try, framing string) {
	id := t.kernel()
	c := t.open(id, framing)
	c.printed("print(1)", "1\n")
	t.call(200, "POST", "api/kernels/"+id+"/restart", nil)
	for range 3 { // what is sent while the new process begins may be lost
		asked := c.send(wire.Shell, "kernel_info_request", map[string]any{})
		for end := time.Now().Add(8 * time.Second); time.Now().Before(end); {
			if m, err := c.read(time.Until(end)); err != nil {
				c = t.open(id, framing)
				break
			} else if m.parent == asked && m.kind == "kernel_info_reply" {
				c.printed("print(2)", "2\n")
				return
			}
		}
	}
	t.failf("after a restart nothing answers")
}

// channelTwenty: twenty clients of one kernel each see what one of them runs.
func channelTwenty(t *try, framing string) {
	id := t.sharedKernel()
	first := t.open(id, framing)
	all := []*channels{first}
	for range 19 {
		all = append(all, t.open(id, framing))
	}
	for _, c := range all { // each is known to the kernel's server before the code runs
		c.hear(c.send(wire.Shell, "kernel_info_request", map[string]any{}))
	}
	asked := first.send(wire.Shell, "execute_request", code("for i in range(50): print(i, flush=True)"))
	var mu sync.Mutex
	var wrong []int
	var wg sync.WaitGroup
	for i, c := range all {
		wg.Go(func() {
			text, err := c.streamOf(asked)
			if err != nil || strings.Count(text, "\n") != 50 {
				mu.Lock()
				wrong = append(wrong, i)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if len(wrong) > 0 {
		t.failf("clients %v did not get all lines", wrong)
	}
}

// streamOf is what a request printed, until it is idle.
func (c *channels) streamOf(id string) (string, error) {
	var b strings.Builder
	for {
		m, err := c.read(30 * time.Second)
		if err != nil {
			return b.String(), err
		}
		switch {
		case m.parent != id:
		case m.kind == "stream":
			b.WriteString(m.text("text"))
		case m.kind == "status" && m.text("execution_state") == "idle":
			return b.String(), nil
		}
	}
}
