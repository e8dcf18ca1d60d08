// Package lsp serves Jupyter's language servers of one project, as the
// jupyter-lsp server extension does: what there is, and a websocket to each that
// carries one message of the protocol in each text frame. It does not know what
// the messages say.
package lsp

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"cellar/internal/fault"
	"cellar/kernel/language"
	"cellar/server/hub"
)

// Root is where documents are for a language server: a project's files, as its
// containers have them.
const Root = "file:///project"

// Config is what the routes need.
type Config struct {
	Hub     *hub.Hub
	Project func(*http.Request) hub.Project
	Origin  func(*http.Request) bool
	Fail    func(http.ResponseWriter, *http.Request, error)
}

// Routes lists what Handler serves, as patterns of http.ServeMux.
func Routes() []string { return []string{"GET /lsp/status", "GET /lsp/ws/{server}"} }

// Handler serves /lsp with the project's prefix stripped.
func Handler(c Config) http.Handler {
	m := http.NewServeMux()
	h := &handler{c}
	for pattern, f := range map[string]func(http.ResponseWriter, *http.Request) error{
		"GET /lsp/status":      h.status,
		"GET /lsp/ws/{server}": h.socket,
	} {
		m.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			if err := f(w, r); err != nil {
				c.Fail(w, r, err)
			}
		})
	}
	m.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		c.Fail(w, r, fault.New(fault.NotFound, "not_found", "There is nothing at this address."))
	})
	return m
}

type handler struct{ Config }

// version is that of the form below: "spec schema version" in jupyter-lsp.
const version = 2

// spec describes a language server, started or not.
type spec struct {
	Argv        []string          `json:"argv"` // said to nobody; the form wants one
	Version     int               `json:"version"`
	DisplayName string            `json:"display_name"`
	Languages   []string          `json:"languages"`
	MimeTypes   []string          `json:"mime_types"`
	URLs        map[string]string `json:"urls"`
	Install     map[string]string `json:"install,omitempty"`
	// ConfigSchema is that of a server's settings; ours takes all that people set.
	ConfigSchema json.RawMessage `json:"config_schema"`
	// OnDisk false: what is being edited is in the messages alone, and all
	// documents, those of notebooks too, are below the root.
	OnDisk bool `json:"requires_documents_on_disk"`
}

var anySettings = json.RawMessage(`{"type":"object","properties":{},"additionalProperties":true}`)

type session struct {
	Clients int        `json:"handler_count"`
	Status  string     `json:"status"`
	Said    *time.Time `json:"last_server_message_at"`
	Told    *time.Time `json:"last_handler_message_at"`
	Spec    spec       `json:"spec"`
}

// status lists the servers that the project has as sessions, which are what the
// lab uses, and all that we know as specs, which are what it can tell a person
// to install.
func (h *handler) status(w http.ResponseWriter, r *http.Request) error {
	sessions, specs := map[string]session{}, map[string]spec{}
	for _, s := range h.Hub.LanguageServers(h.Project(r)) {
		one := spec{
			Argv: []string{""}, Version: version, DisplayName: s.Name, Languages: s.Languages, MimeTypes: s.Types,
			URLs: map[string]string{"home": s.Home}, Install: s.Install, ConfigSchema: anySettings,
		}
		specs[s.ID] = one
		if !s.Found {
			continue
		}
		state := "not_started"
		if s.Clients > 0 {
			state = "started"
		}
		sessions[s.ID] = session{s.Clients, state, moment(s.Said), moment(s.Told), one}
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-cache")
	return json.NewEncoder(w).Encode(map[string]any{"version": version, "sessions": sessions, "specs": specs})
}

func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

const (
	pingEvery = 30 * time.Second
	// patience is how long either side may take to take a message in. What waits
	// meanwhile waits in the other: nothing is queued here.
	patience = time.Minute
)

func (h *handler) socket(w http.ResponseWriter, r *http.Request) error {
	if !websocket.IsWebSocketUpgrade(r) {
		return fault.New(fault.Invalid, "not_a_websocket", "This address is for websockets.")
	}
	if !h.Origin(r) { // before a server is started for it
		return fault.New(fault.Denied, "foreign_origin", "The request came from a page of another site.")
	}
	conn, err := h.Hub.OpenLanguage(r.Context(), h.Project(r), r.PathValue("server"))
	if err != nil {
		return err
	}
	defer conn.Close()
	up := websocket.Upgrader{CheckOrigin: h.Origin, ReadBufferSize: 4 << 10, WriteBufferSize: 32 << 10}
	ws, err := up.Upgrade(w, r, nil)
	if err != nil {
		return nil // the upgrader has answered
	}
	defer ws.Close()
	b := &bridge{ws: ws, server: conn}
	ctx, cancel := context.WithCancel(r.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		b.show()
		ws.Close()
	})
	wg.Go(func() { b.ping(ctx) })
	b.listen()
	conn.Close()
	cancel()
	wg.Wait()
	return nil
}

// server is a connection to a language server.
type server interface {
	io.ReadWriteCloser
	SetWriteDeadline(time.Time) error
}

// bridge is one client and its language server.
type bridge struct {
	ws     *websocket.Conn
	server server
}

// show sends what the server says.
func (b *bridge) show() {
	from := language.NewReader(b.server)
	for {
		message, err := from.Next()
		if err != nil {
			b.bye(err)
			return
		}
		b.ws.SetWriteDeadline(time.Now().Add(patience))
		if b.ws.WriteMessage(websocket.TextMessage, message) != nil {
			return
		}
	}
}

// bye says why there is no more.
func (b *bridge) bye(err error) {
	code, why := websocket.CloseInternalServerErr, "The language server said what is no message."
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		code, why = websocket.CloseServiceRestart, "The language server ended."
	}
	b.ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, why), time.Now().Add(10*time.Second))
}

// listen hands what the client says to the server.
func (b *bridge) listen() {
	b.ws.SetReadLimit(language.MaxMessage)
	beat := func(string) error { return b.ws.SetReadDeadline(time.Now().Add(3 * pingEvery)) }
	beat("")
	b.ws.SetPongHandler(beat)
	for {
		_, message, err := b.ws.ReadMessage()
		if err != nil {
			return
		}
		beat("")
		if !language.IsMessage(message) {
			reason := websocket.FormatCloseMessage(websocket.CloseUnsupportedData, "A message is a JSON object.")
			b.ws.WriteControl(websocket.CloseMessage, reason, time.Now().Add(10*time.Second))
			return
		}
		b.server.SetWriteDeadline(time.Now().Add(patience))
		if language.Write(b.server, message) != nil {
			return
		}
	}
}

func (b *bridge) ping(ctx context.Context) {
	tick := time.NewTicker(pingEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			b.ws.WriteControl(websocket.PingMessage, nil, time.Now().Add(10*time.Second))
		}
	}
}
