package testkit

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"cellar/kernel/wire"
)

// Channels is a client of a kernel that says and hears everything, in either
// framing.
type Channels struct {
	T        testing.TB
	ws       *websocket.Conn
	v1       bool
	Session  string
	Patience time.Duration // with silence
}

// Heard is one message that a kernel sent.
type Heard struct {
	Channel string // "shell", "iopub" ...
	Kind    string
	Parent  string // msg_id of the request
	Content json.RawMessage
	Buffers [][]byte
}

// Channels opens a kernel's channels; session "" is a new one.
func (c *Client) Channels(project, kernel, session string, v1 bool) *Channels {
	c.T.Helper()
	if session == "" {
		session = fmt.Sprintf("s-%d-%d", time.Now().UnixNano(), counter.Add(1))
	}
	d := websocket.Dialer{ReadBufferSize: 1 << 20}
	if v1 {
		d.Subprotocols = []string{wire.SubprotocolV1}
	}
	ws, res, err := d.Dial(strings.Replace(c.Base, "http", "ws", 1)+"/projects/"+project+"/api/kernels/"+kernel+"/channels?session_id="+session, http.Header{"Authorization": {"token " + c.Token}})
	if err != nil {
		c.T.Fatalf("%v: %v", err, res)
	}
	c.T.Cleanup(func() { ws.Close() })
	return &Channels{c.T, ws, v1, session, 60 * time.Second}
}

// Send sends a message and returns its ID.
func (c *Channels) Send(channel, kind string, content any, buffers ...[]byte) string {
	c.T.Helper()
	ch, ok := wire.ChannelOf(channel)
	if !ok {
		c.T.Fatalf("there is no channel %q", channel)
	}
	id := fmt.Sprintf("m-%d-%d", time.Now().UnixNano(), counter.Add(1))
	header, _ := json.Marshal(wire.Header{MsgID: id, MsgType: kind, Session: c.Session, Username: "t", Version: "5.3", Date: wire.Date(time.Now().UTC().Format(time.RFC3339Nano))})
	body, err := json.Marshal(content)
	if err != nil {
		c.T.Fatal(err)
	}
	m := &wire.Message{Header: header, Content: body, Buffers: buffers}
	frame, binary := wire.EncodeV1(nil, ch, m), true
	if !c.v1 {
		if frame, binary, err = wire.EncodeJSON(ch, m); err != nil {
			c.T.Fatal(err)
		}
	}
	form := websocket.TextMessage
	if binary {
		form = websocket.BinaryMessage
	}
	if err := c.ws.WriteMessage(form, frame); err != nil {
		c.T.Fatal(err)
	}
	return id
}

// Run asks to run code and returns the message's ID.
func (c *Channels) Run(code string) string {
	c.T.Helper()
	return c.Send("shell", "execute_request", map[string]any{"code": code, "silent": false, "store_history": true, "user_expressions": map[string]any{}, "allow_stdin": true, "stop_on_error": true})
}

// Try waits for the next message.
func (c *Channels) Try() (Heard, error) {
	c.ws.SetReadDeadline(time.Now().Add(c.Patience))
	form, frame, err := c.ws.ReadMessage()
	if err != nil {
		return Heard{}, err
	}
	var ch wire.Channel
	var m *wire.Message
	if c.v1 {
		ch, m, err = wire.DecodeV1(frame)
	} else {
		ch, m, err = wire.DecodeJSON(frame, form == websocket.BinaryMessage)
	}
	if err != nil {
		return Heard{}, err
	}
	h, _ := wire.ParseHeader(m.Header)
	p, _ := wire.ParseHeader(m.Parent)
	return Heard{ch.String(), h.MsgType, p.MsgID, append(json.RawMessage(nil), m.Content...), m.Buffers}, nil
}

// Until hears messages up to the one that is wanted, and gives all of them.
func (c *Channels) Until(what string, wanted func(Heard) bool) []Heard {
	c.T.Helper()
	var all []Heard
	for {
		m, err := c.Try()
		if err != nil {
			var kinds []string
			for _, m := range all[max(0, len(all)-20):] {
				kinds = append(kinds, m.Channel+"/"+m.Kind+string(m.Content[:min(len(m.Content), 120)]))
			}
			c.T.Fatalf("no %s: %v; Heard %q", what, err, kinds)
		}
		all = append(all, m)
		if wanted(m) {
			return all
		}
	}
}

// Idle reports whether the kernel is done with a request.
func (m Heard) Idle(parent string) bool {
	return m.Kind == "status" && m.Parent == parent && strings.Contains(string(m.Content), `"idle"`)
}

// End hears all that a request brings.
func (c *Channels) End(id string) []Heard {
	c.T.Helper()
	return c.Until("end of "+id, func(m Heard) bool { return m.Idle(id) })
}

// Reply is the answer to a request on shell or control.
func (c *Channels) Reply(id string, into any) Heard {
	c.T.Helper()
	all := c.Until("reply", func(m Heard) bool { return m.Parent == id && (m.Channel == "shell" || m.Channel == "control") })
	m := all[len(all)-1]
	if into != nil {
		if err := json.Unmarshal(m.Content, into); err != nil {
			c.T.Fatal(err)
		}
	}
	return m
}

// Printed is what a request printed.
func Printed(all []Heard, parent string) string {
	var b strings.Builder
	for _, m := range all {
		if m.Kind == "stream" && m.Parent == parent {
			var c struct{ Text string }
			json.Unmarshal(m.Content, &c)
			b.WriteString(c.Text)
		}
	}
	return b.String()
}

// ClosedWith reads until the socket ends.
func (c *Channels) ClosedWith() *websocket.CloseError {
	c.T.Helper()
	for {
		_, err := c.Try()
		var ce *websocket.CloseError
		if errors.As(err, &ce) {
			return ce
		}
		if err != nil {
			c.T.Fatalf("the socket ended without a word: %v", err)
		}
	}
}

// Close cuts the line, without a word.
func (c *Channels) Close() { c.ws.Close() }
