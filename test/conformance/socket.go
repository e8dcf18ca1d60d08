package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"

	"cellar/kernel/wire"
)

// dial opens a websocket of the site.
func (t *try) dial(path string, protocols []string, header http.Header) (*websocket.Conn, *http.Response, error) {
	d := websocket.Dialer{Subprotocols: protocols, HandshakeTimeout: 30 * time.Second}
	ws, res, err := d.DialContext(t.ctx, strings.Replace(t.base, "http", "ws", 1)+path, header)
	if err == nil {
		t.later(func() { ws.Close() })
	}
	return ws, res, err
}

func (t *try) withToken() http.Header { return http.Header{"Authorization": {"token " + t.token}} }

// framings are the two forms of messages on a kernel's websocket.
var framings = []string{"json", "v1"}

// channels is one client of a kernel.
type channels struct {
	t       *try
	ws      *websocket.Conn
	v1      bool
	session string
}

// message is what came on a channel, with its JSON decoded.
type message struct {
	channel string
	kind    string
	parent  string // the ID of the request it belongs to
	session string // of that request
	content map[string]any
	buffers [][]byte
}

func (m *message) text(name string) string { s, _ := m.content[name].(string); return s }

func (m *message) data(mime string) string {
	d, _ := m.content["data"].(map[string]any)
	s, _ := d[mime].(string)
	return s
}

var serial atomic.Int64

func unique(what string) string {
	return fmt.Sprintf("%s-%d-%d", what, time.Now().UnixNano(), serial.Add(1))
}

// open opens the channels of a kernel as a client of its own.
func (t *try) open(kernel, framing string) *channels {
	return t.openAs(kernel, framing, unique("session"))
}

// client opens the channels in the framing that clients of this site prefer.
func (t *try) client(kernel string) *channels {
	if t.jsonOnly {
		return t.open(kernel, "json")
	}
	return t.open(kernel, "v1")
}

func (t *try) openAs(kernel, framing, session string) *channels {
	var protocols []string
	if framing == "v1" {
		protocols = []string{wire.SubprotocolV1}
	}
	ws, res, err := t.dial("api/kernels/"+kernel+"/channels?session_id="+url.QueryEscape(session), protocols, t.withToken())
	if err != nil {
		status := 0
		if res != nil {
			status = res.StatusCode
		}
		t.failf("opening the channels: %v (%d)", err, status)
	}
	c := &channels{t: t, ws: ws, v1: ws.Subprotocol() == wire.SubprotocolV1, session: session}
	if c.v1 != (framing == "v1") {
		t.failf("asked for %s, the server chose %q", framing, ws.Subprotocol())
	}
	return c
}

func part(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

// send sends a request and returns its ID.
func (c *channels) send(ch wire.Channel, kind string, content any, buffers ...[]byte) string {
	return c.sendWith(ch, kind, map[string]any{}, map[string]any{}, content, buffers...)
}

func (c *channels) sendWith(ch wire.Channel, kind string, parent, metadata, content any, buffers ...[]byte) string {
	id := unique("m")
	m := &wire.Message{
		Header: part(map[string]any{"msg_id": id, "msg_type": kind, "session": c.session, "username": "t", "version": "5.3", "date": time.Now().UTC().Format(time.RFC3339Nano)}),
		Parent: part(parent), Metadata: part(metadata), Content: part(content), Buffers: buffers,
	}
	frame, binary := wire.EncodeV1(nil, ch, m), true
	if !c.v1 {
		var err error
		frame, binary, err = wire.EncodeJSON(ch, m)
		c.t.must(err)
	}
	c.raw(binary, frame)
	return id
}

func (c *channels) raw(binary bool, frame []byte) {
	kind := websocket.TextMessage
	if binary {
		kind = websocket.BinaryMessage
	}
	c.t.must(c.ws.WriteMessage(kind, frame))
}

// next is the next message; it ends the check when none comes.
func (c *channels) next() *message {
	m, err := c.read(30 * time.Second)
	c.t.must(err)
	return m
}

func (c *channels) read(wait time.Duration) (*message, error) {
	c.ws.SetReadDeadline(time.Now().Add(wait))
	kind, frame, err := c.ws.ReadMessage()
	if err != nil {
		return nil, err
	}
	decode := wire.DecodeV1
	if !c.v1 {
		decode = func(b []byte) (wire.Channel, *wire.Message, error) {
			return wire.DecodeJSON(b, kind == websocket.BinaryMessage)
		}
	}
	ch, m, err := decode(frame)
	if err != nil {
		return nil, err
	}
	h, err := wire.ParseHeader(m.Header)
	if err != nil {
		return nil, err
	}
	p, err := wire.ParseHeader(m.Parent)
	if err != nil {
		return nil, err
	}
	out := &message{channel: ch.String(), kind: h.MsgType, parent: p.MsgID, session: p.Session, buffers: m.Buffers}
	return out, json.Unmarshal(m.Content, &out.content)
}

// heard is all that a request brought until its reply came and the kernel was idle.
type heard struct {
	reply *message
	all   []*message
}

// text is what was printed to a stream.
func (h *heard) text(stream string) string {
	var b strings.Builder
	for _, m := range h.all {
		if m.kind == "stream" && m.text("name") == stream {
			b.WriteString(m.text("text"))
		}
	}
	return b.String()
}

// first is the first message of a kind, nil when there is none.
func (h *heard) first(kind string) *message {
	for _, m := range h.all {
		if m.kind == kind {
			return m
		}
	}
	return nil
}

// hear collects what a request brings: its reply, and on iopub all up to idle.
func (c *channels) hear(id string) *heard {
	h := &heard{}
	for idle := false; !idle || h.reply == nil; {
		m := c.next()
		if m.parent != id {
			continue
		}
		h.all = append(h.all, m)
		switch {
		case strings.HasSuffix(m.kind, "_reply"):
			h.reply = m
		case m.kind == "status" && m.text("execution_state") == "idle":
			idle = true
		}
	}
	return h
}

// code is an execute_request's content.
func code(text string) map[string]any {
	return map[string]any{"code": text, "silent": false, "store_history": true, "user_expressions": map[string]any{}, "allow_stdin": true, "stop_on_error": true}
}

// exec runs code.
func (c *channels) exec(text string) *heard {
	return c.hear(c.send(wire.Shell, "execute_request", code(text)))
}

// printed runs code and wants what it prints.
func (c *channels) printed(text, want string) {
	if got := c.exec(text).text("stdout"); got != want {
		c.t.failf("%q printed %q, want %q", text, got, want)
	}
}
