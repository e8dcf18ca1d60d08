package testkit

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"cellar/kernel/wire"
)

// Client talks to a hub as a program does: REST with a token, kernels by
// websocket.
type Client struct {
	T     testing.TB
	Base  string // http://host:port[/prefix]
	Token string
}

// Do sends a request with a JSON body (nil: none) and decodes the answer into
// out (nil: ignored). It returns the status and the raw answer.
func (c *Client) Do(method, path string, in, out any) (int, []byte) {
	c.T.Helper()
	status, b, err := c.Try(method, path, in)
	if err != nil {
		c.T.Fatalf("%s %s: %v", method, path, err)
	}
	if out != nil && status < 300 {
		if err := json.Unmarshal(b, out); err != nil {
			c.T.Fatalf("%s %s: %v in %s", method, path, err, b)
		}
	}
	return status, b
}

// Try is Do without judging.
func (c *Client) Try(method, path string, in any) (int, []byte, error) {
	var body io.Reader
	if raw, ok := in.([]byte); ok {
		body = bytes.NewReader(raw)
	} else if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return 0, nil, err
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(context.Background(), method, c.Base+path, body)
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	if c.Token != "" {
		req.Header.Set("Authorization", "Bearer "+c.Token)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return res.StatusCode, b, err
}

// Want is Do that expects a status.
func (c *Client) Want(status int, method, path string, in, out any) []byte {
	c.T.Helper()
	got, b := c.Do(method, path, in, out)
	if got != status {
		c.T.Fatalf("%s %s: status %d, want %d: %s", method, path, got, status, b)
	}
	return b
}

// Operation is an operation's answer.
type Operation struct {
	ID       string          `json:"id"`
	Done     bool            `json:"done"`
	Message  string          `json:"message"`
	Response json.RawMessage `json:"response"`
	Error    *struct {
		Code, Title, Detail string
	} `json:"error"`
}

// Run starts an operation and waits for its end.
func (c *Client) Run(path string, in any) Operation {
	c.T.Helper()
	var o Operation
	c.Want(http.StatusAccepted, http.MethodPost, path, in, &o)
	return c.Await(o.ID)
}

// Await waits for the end of an operation.
func (c *Client) Await(id string) Operation {
	c.T.Helper()
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); {
		var o Operation
		c.Want(http.StatusOK, http.MethodGet, "/api/v1/operations/"+id, nil, &o)
		if o.Done {
			return o
		}
		time.Sleep(10 * time.Millisecond)
	}
	c.T.Fatalf("operation %s does not end", id)
	return Operation{}
}

// MustRun is Run that expects success and decodes the response.
func (c *Client) MustRun(path string, in, out any) {
	c.T.Helper()
	o := c.Run(path, in)
	if o.Error != nil {
		c.T.Fatalf("%s: %s: %s", path, o.Error.Code, o.Error.Detail)
	}
	if out != nil {
		if err := json.Unmarshal(o.Response, out); err != nil {
			c.T.Fatal(err)
		}
	}
}

// Socket is a kernel's channels.
type Socket struct {
	c       *Client
	ws      *websocket.Conn
	session string
}

var counter atomic.Int64

// Open opens the channels of a kernel, v1 framing.
func (c *Client) Open(project, kernel string) *Socket {
	c.T.Helper()
	session := fmt.Sprintf("test-%d-%d", time.Now().UnixNano(), counter.Add(1))
	u, err := url.Parse(c.Base)
	if err != nil {
		c.T.Fatal(err)
	}
	u.Scheme = strings.Replace(u.Scheme, "http", "ws", 1)
	u.Path += "/projects/" + project + "/api/kernels/" + kernel + "/channels"
	u.RawQuery = "session_id=" + session
	d := websocket.Dialer{Subprotocols: []string{wire.SubprotocolV1}}
	ws, res, err := d.Dial(u.String(), http.Header{"Authorization": {"token " + c.Token}})
	if err != nil {
		c.T.Fatalf("%v: %v", err, res)
	}
	c.T.Cleanup(func() { ws.Close() })
	return &Socket{c, ws, session}
}

// Close closes the socket.
func (s *Socket) Close() { s.ws.Close() }

// Send asks to execute code on behalf of a cell ("" for none) and returns the
// message's ID.
func (s *Socket) Send(code, cell string) string {
	s.c.T.Helper()
	id := fmt.Sprintf("m-%d-%d", time.Now().UnixNano(), counter.Add(1))
	header, _ := json.Marshal(wire.Header{MsgID: id, MsgType: "execute_request", Session: s.session, Username: "t", Version: "5.3", Date: wire.Date(time.Now().UTC().Format(time.RFC3339Nano))})
	content, _ := json.Marshal(map[string]any{"code": code, "silent": false, "store_history": true, "user_expressions": map[string]any{}, "allow_stdin": true, "stop_on_error": true})
	meta := []byte("{}")
	if cell != "" {
		meta, _ = json.Marshal(map[string]string{"cellId": cell})
	}
	if err := s.ws.WriteMessage(websocket.BinaryMessage, wire.EncodeV1(nil, wire.Shell, &wire.Message{Header: header, Metadata: meta, Content: content})); err != nil {
		s.c.T.Fatal(err)
	}
	return id
}

// Said is one message that a request brought on iopub.
type Said struct {
	Type  string            // "stream", "execute_result", "display_data", "error" ...
	Text  string            // of a stream
	Data  map[string]string // by MIME type
	Error string
}

// Hear collects what a request brings until it is idle. Kernels differ in how
// they tell a value: IRkernel displays what IPython returns.
func (s *Socket) Hear(id string) []Said {
	s.c.T.Helper()
	var out []Said
	for {
		s.ws.SetReadDeadline(time.Now().Add(90 * time.Second))
		_, frame, err := s.ws.ReadMessage()
		if err != nil {
			s.c.T.Fatalf("after %q: %v", tail(plain(out)), err)
		}
		ch, m, err := wire.DecodeV1(frame)
		if err != nil && ch != wire.IOPub {
			continue
		}
		h, _ := wire.ParseHeader(m.Header)
		p, _ := wire.ParseHeader(m.Parent)
		if p.MsgID != id || ch != wire.IOPub {
			continue
		}
		var c struct {
			Text           string            `json:"text"`
			Data           map[string]string `json:"data"`
			ExecutionState string            `json:"execution_state"`
			EName          string            `json:"ename"`
			EValue         string            `json:"evalue"`
		}
		json.Unmarshal(m.Content, &c)
		said := Said{Type: h.MsgType, Text: c.Text, Data: c.Data}
		switch h.MsgType {
		case "error":
			said.Error = c.EName + ": " + c.EValue
		case "status":
			if c.ExecutionState == "idle" {
				return out
			}
		}
		out = append(out, said)
	}
}

func plain(list []Said) string {
	var out strings.Builder
	for _, said := range list {
		switch said.Type {
		case "stream":
			out.WriteString(said.Text)
		case "execute_result":
			out.WriteString(said.Data["text/plain"])
		case "error":
			out.WriteString(said.Error)
		}
	}
	return out.String()
}

// Wait is Hear as text: what a request prints or evaluates to.
func (s *Socket) Wait(id string) string {
	s.c.T.Helper()
	return plain(s.Hear(id))
}

// Ask sends a request on the shell channel and returns the content of its reply.
func (s *Socket) Ask(kind string, content any) json.RawMessage {
	s.c.T.Helper()
	id := fmt.Sprintf("m-%d-%d", time.Now().UnixNano(), counter.Add(1))
	header, _ := json.Marshal(wire.Header{MsgID: id, MsgType: kind, Session: s.session, Username: "t", Version: "5.3", Date: wire.Date(time.Now().UTC().Format(time.RFC3339Nano))})
	body, err := json.Marshal(content)
	if err != nil {
		s.c.T.Fatal(err)
	}
	if err := s.ws.WriteMessage(websocket.BinaryMessage, wire.EncodeV1(nil, wire.Shell, &wire.Message{Header: header, Metadata: []byte("{}"), Content: body})); err != nil {
		s.c.T.Fatal(err)
	}
	for {
		s.ws.SetReadDeadline(time.Now().Add(90 * time.Second))
		_, frame, err := s.ws.ReadMessage()
		if err != nil {
			s.c.T.Fatalf("no answer to %s: %v", kind, err)
		}
		if ch, m, err := wire.DecodeV1(frame); err == nil && ch == wire.Shell {
			if p, _ := wire.ParseHeader(m.Parent); p.MsgID == id {
				return append(json.RawMessage{}, m.Content...)
			}
		}
	}
}

// Exec runs code and returns what came of it.
func (s *Socket) Exec(code string) string {
	s.c.T.Helper()
	return s.Wait(s.Send(code, ""))
}

func tail(s string) string { return s[max(0, len(s)-200):] }
