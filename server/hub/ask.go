package hub

import (
	"context"
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"cellar/internal/fault"
	"cellar/kernel"
	"cellar/kernel/wire"
)

// hubSession is header.session of what the hub itself asks a kernel; clients
// see nothing of it.
const hubSession = "cellar-hub"

var errNotPython = fault.New(fault.Unsupported, "not_python", "This works with Python kernels only, for now.")

var errBusy = fault.New(fault.Conflict, "kernel_busy", "A cell is running. Wait until it has ended, or interrupt it, and try again.")

// Ask evaluates a Python expression in the kernel, silently and between cells,
// and returns the string it gives. It is for the hub's own small questions; the
// answer is untrusted.
func (l *Live) Ask(ctx context.Context, expression string) (string, error) {
	return l.askFor(ctx, expression, 20*time.Second)
}

func (l *Live) askFor(ctx context.Context, expression string, limit time.Duration) (string, error) {
	spec, _ := l.h.specFor(l.Record())
	state, busy := l.atWork()
	for until := time.Now().Add(quiet); busy && time.Now().Before(until) && ctx.Err() == nil; state, busy = l.atWork() {
		select { // a page's question about the kernel makes it busy for a moment, too
		case <-ctx.Done():
		case <-time.After(quiet / 40):
		}
	}
	switch {
	case spec.Language != "python":
		return "", errNotPython
	case state != kernel.Running:
		return "", fault.Newf(fault.Conflict, "wrong_state", "The kernel is %s.", state)
	case busy:
		return "", errBusy
	}
	content, err := json.Marshal(map[string]any{
		"code": "", "silent": true, "store_history": false, "allow_stdin": false, "stop_on_error": false,
		"user_expressions": map[string]string{"r": expression},
	})
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	m, err := l.question(ctx, "execute_request", content)
	if err != nil {
		return "", err
	}
	return askedAnswer(m)
}

// quiet is how long something short is waited for.
const quiet = 2 * time.Second

// atWork reports what a kernel is, and whether something is run in it.
func (l *Live) atWork() (state kernel.State, busy bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.rec.State, l.book.busy() || l.busy == "busy"
}

// question sends a request of the hub's own and waits for its reply.
func (l *Live) question(ctx context.Context, kind string, content []byte) (*wire.Message, error) {
	id := newID()
	header, _ := json.Marshal(wire.Header{MsgID: id, MsgType: kind, Session: hubSession, Username: "cellar", Date: wire.Date(time.Now().UTC().Format(time.RFC3339Nano)), Version: "5.3"})
	answer := make(chan *wire.Message, 1)
	l.mu.Lock()
	if l.asked == nil {
		l.asked = map[string]chan *wire.Message{}
	}
	l.asked[id] = answer
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.asked, id)
	}()
	if err := l.Send(wire.Shell, &wire.Message{Header: header, Content: content}); err != nil {
		return nil, err
	}
	select {
	case <-ctx.Done():
		return nil, errBusy
	case m, ok := <-answer:
		if !ok {
			return nil, errKernelEnded
		}
		return m, nil
	}
}

func askedAnswer(m *wire.Message) (string, error) {
	var c struct {
		Expressions map[string]struct {
			Status string            `json:"status"`
			Data   map[string]string `json:"data"`
			EName  string            `json:"ename"`
			EValue string            `json:"evalue"`
		} `json:"user_expressions"`
	}
	if err := json.Unmarshal(m.Content, &c); err != nil {
		return "", err
	}
	r := c.Expressions["r"]
	if r.Status != "ok" {
		return "", fault.Newf(fault.Invalid, "cell_not_understood", "The kernel could not answer: %s: %.300s", r.EName, r.EValue)
	}
	return unquotePython(r.Data["text/plain"])
}

// unquotePython reads Python's repr of a hexadecimal string: quotes around it.
func unquotePython(s string) (string, error) {
	s = strings.Trim(s, "'\"")
	b := make([]byte, len(s)/2)
	for i := range b {
		n, err := strconv.ParseUint(s[2*i:2*i+2], 16, 8)
		if err != nil {
			return "", fault.New(fault.Unavailable, "kernel_answer", "The kernel's answer could not be read.")
		}
		b[i] = byte(n)
	}
	return string(b), nil
}
