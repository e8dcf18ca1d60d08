// Package events serves Jupyter's event stream of one project: what was done to
// its files and kernels by API, in the form of Jupyter Server's schemas. It
// knows no sign-in.
package events

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"cellar/internal/fault"
	"cellar/server/hub"
)

// Config is what the routes need.
type Config struct {
	Hub     *hub.Hub
	Project func(*http.Request) hub.Project
	Origin  func(*http.Request) bool // may this page open a socket
	Fail    func(http.ResponseWriter, *http.Request, error)
}

// Emitted is an event as a schema describes it.
type Emitted struct {
	Schema string
	Data   map[string]any
}

// Emit hands an event to those who listen to the project. Nobody may listen:
// then it is forgotten.
func Emit(h *hub.Hub, project string, e Emitted) {
	h.Tell(hub.Event{Project: project, Type: "jupyter", Data: e})
}

// Handler serves /api/events and /api/events/subscribe with the project's prefix
// stripped.
func Handler(c Config) http.Handler {
	m := http.NewServeMux()
	h := &handler{c}
	m.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		c.Fail(w, r, fault.New(fault.NotFound, "not_found", "There is nothing at this address."))
	})
	for pattern, f := range h.routes() {
		m.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			if err := f(w, r); err != nil {
				c.Fail(w, r, err)
			}
		})
	}
	return m
}

// Routes lists what Handler answers, as patterns of http.ServeMux.
func Routes() []string { return slices.Sorted(maps.Keys((&handler{}).routes())) }

func (h *handler) routes() map[string]func(http.ResponseWriter, *http.Request) error {
	return map[string]func(http.ResponseWriter, *http.Request) error{
		"POST /api/events":          h.post,
		"GET /api/events/subscribe": h.subscribe,
	}
}

type handler struct{ Config }

// maxEvent bounds an event that a client posts.
const maxEvent = 64 << 10

// Times as clients of the Python server write them, with a Z after the offset.
var stamps = []string{"2006-01-02T15:04:05Z07:00Z", "2006-01-02T15:04:05Z0700Z"}

// post lets a client emit an event of a registered schema.
func (h *handler) post(w http.ResponseWriter, r *http.Request) error {
	b, err := io.ReadAll(io.LimitReader(r.Body, maxEvent+1))
	if err != nil {
		return fault.Wrap(fault.Invalid, "bad_body", "The request could not be read.", err)
	}
	if len(b) > maxEvent {
		return fault.New(fault.Exhausted, "too_large", "The event is too large.")
	}
	var in struct {
		Schema    *string        `json:"schema_id"`
		Version   any            `json:"version"` // a number or a string: the Python server takes both
		Data      map[string]any `json:"data"`
		Timestamp *string        `json:"timestamp"`
	}
	if err := json.Unmarshal(b, &in); err != nil {
		return fault.Wrap(fault.Invalid, "bad_json", "The request is not valid JSON for an event.", err)
	}
	if in.Schema == nil || in.Version == nil || in.Data == nil {
		return fault.New(fault.Invalid, "event_incomplete", "An event needs schema_id, version and data.")
	}
	s, ok := schemas[*in.Schema]
	if !ok {
		return fault.Newf(fault.Invalid, "unknown_schema", "No schema %q is registered here.", *in.Schema)
	}
	if version := fmt.Sprint(in.Version); version != s.version {
		return fault.Newf(fault.Invalid, "unknown_schema", "The schema %s is registered in version %s, not %.20s.", *in.Schema, s.version, version)
	}
	if in.Timestamp != nil && !isStamp(*in.Timestamp) {
		return fault.New(fault.Invalid, "bad_timestamp", "A timestamp is written like 2022-05-26T13:50:00+05:00Z.")
	}
	if err := s.check(in.Data); err != nil {
		return err
	}
	Emit(h.Hub, h.Project(r).ID, Emitted{*in.Schema, in.Data})
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func isStamp(text string) bool {
	for _, layout := range stamps {
		if _, err := time.Parse(layout, text); err == nil {
			return true
		}
	}
	return false
}

const (
	pingEvery = 30 * time.Second
	writeWait = 60 * time.Second
)

// subscribe sends a client what happens from now on. One that does not read
// loses the oldest: the hub keeps a bounded number for each follower.
func (h *handler) subscribe(w http.ResponseWriter, r *http.Request) error {
	happened, stop := h.Hub.Follow(h.Project(r).ID) // first: who sees the open line misses nothing
	defer stop()
	up := websocket.Upgrader{CheckOrigin: h.Origin, ReadBufferSize: 1 << 10, WriteBufferSize: 4 << 10}
	ws, err := up.Upgrade(w, r, nil)
	if err != nil {
		return nil // the upgrader has answered
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	defer ws.Close()
	gone := make(chan struct{})
	wg.Go(func() {
		defer close(gone)
		listen(ws)
	})
	tick := time.NewTicker(pingEvery)
	defer tick.Stop()
	for {
		select {
		case <-gone:
			return nil
		case <-tick.C:
			err = ws.WriteControl(websocket.PingMessage, nil, time.Now().Add(writeWait))
		case e := <-happened:
			message, ours := capsule(e)
			if !ours {
				continue
			}
			ws.SetWriteDeadline(time.Now().Add(writeWait))
			err = ws.WriteJSON(message)
		}
		if err != nil {
			return nil
		}
	}
}

// listen reads until the client is gone. It has nothing to say.
func listen(ws *websocket.Conn) {
	ws.SetReadLimit(maxEvent)
	beat := func(string) error { return ws.SetReadDeadline(time.Now().Add(3 * pingEvery)) }
	beat("")
	ws.SetPongHandler(beat)
	for {
		if _, _, err := ws.ReadMessage(); err != nil {
			return
		}
		beat("")
	}
}

// capsule is an event in the form that Jupyter Server sends: the fields of the
// schema, and beside them the schema's ID.
func capsule(e hub.Event) (map[string]any, bool) {
	var out Emitted
	switch v := e.Data.(type) {
	case Emitted:
		out = v
	case hub.Action:
		out = Emitted{KernelActions, action(v)}
	default:
		return nil, false // of the hub's own API
	}
	message := maps.Clone(out.Data)
	message["schema_id"] = out.Schema
	return message, true
}

var done = map[string]string{"start": "started", "interrupt": "interrupted", "restart": "restarted", "shutdown": "shut down"}

func action(a hub.Action) map[string]any {
	data := map[string]any{"action": a.Action, "kernel_name": a.Spec, "status": "success"}
	if a.Kernel != "" {
		data["kernel_id"] = string(a.Kernel)
	}
	if data["msg"] = fmt.Sprintf("Kernel %s was %s.", a.Kernel, done[a.Action]); a.Err != nil {
		data["status"], data["msg"] = "error", fault.Sentence(a.Err)
	}
	return data
}
