// Package terminals serves Jupyter's terminals of one project: REST and the
// websocket with its JSON arrays (terminado's protocol).
package terminals

import (
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/gorilla/websocket"

	"cellar/internal/fault"
	"cellar/kernel/terminal"
	"cellar/server/hub"
)

// Config is what the routes need.
type Config struct {
	Hub     *hub.Hub
	Project func(*http.Request) hub.Project
	Origin  func(*http.Request) bool
	Fail    func(http.ResponseWriter, *http.Request, error)
}

// Handler serves /api/terminals and /terminals/websocket with the project's
// prefix stripped.
func Handler(c Config) http.Handler {
	m := http.NewServeMux()
	h := &handler{c}
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
		"GET /api/terminals":              h.list,
		"POST /api/terminals":             h.open,
		"GET /api/terminals/{name}":       h.get,
		"DELETE /api/terminals/{name}":    h.close,
		"GET /terminals/websocket/{name}": h.socket,
	}
}

type handler struct{ Config }

type model struct {
	Name         string `json:"name"`
	LastActivity string `json:"last_activity"`
}

func modelOf(i terminal.Info) model {
	return model{i.Name, time.UnixMilli(i.Active).UTC().Format("2006-01-02T15:04:05.000000Z")}
}

func answer(w http.ResponseWriter, v any) error {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-cache")
	return json.NewEncoder(w).Encode(v)
}

func (h *handler) list(w http.ResponseWriter, r *http.Request) error {
	list, err := h.Hub.Terminals(r.Context(), h.Project(r))
	if err != nil {
		return err
	}
	out := []model{}
	for _, i := range list {
		out = append(out, modelOf(i))
	}
	return answer(w, out)
}

func (h *handler) open(w http.ResponseWriter, r *http.Request) error {
	var in struct {
		Name string `json:"name"`
		CWD  string `json:"cwd"`
	}
	b, err := io.ReadAll(io.LimitReader(r.Body, maxBody+1))
	if err != nil {
		return fault.Wrap(fault.Invalid, "bad_body", "The request could not be read.", err)
	}
	if len(b) > maxBody {
		return fault.New(fault.Exhausted, "too_large", "The request is too large.")
	}
	if len(b) > 0 && json.Unmarshal(b, &in) != nil {
		return fault.New(fault.Invalid, "bad_json", "The request is not valid JSON.")
	}
	name, err := h.Hub.NewTerminal(r.Context(), h.Project(r), in.Name, in.CWD)
	if err != nil {
		return err
	}
	return answer(w, modelOf(terminal.Info{Name: name, Active: time.Now().UnixMilli()}))
}

func (h *handler) get(w http.ResponseWriter, r *http.Request) error {
	list, err := h.Hub.Terminals(r.Context(), h.Project(r))
	if err != nil {
		return err
	}
	for _, i := range list {
		if i.Name == r.PathValue("name") {
			return answer(w, modelOf(i))
		}
	}
	return fault.New(fault.NotFound, "terminal_not_found", "There is no terminal by that name.")
}

func (h *handler) close(w http.ResponseWriter, r *http.Request) error {
	if err := h.Hub.CloseTerminal(r.Context(), h.Project(r), r.PathValue("name")); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

const (
	maxBody    = 64 << 10
	maxMessage = 1 << 20
	pingEvery  = 30 * time.Second
)

func (h *handler) socket(w http.ResponseWriter, r *http.Request) error {
	name := r.PathValue("name")
	// First, as attaching may start a container: no page but ours makes us do that.
	if !websocket.IsWebSocketUpgrade(r) {
		return fault.New(fault.Invalid, "websocket_expected", "This address is for a websocket.")
	}
	if !h.Origin(r) {
		return fault.New(fault.Denied, "foreign_page", "This request comes from a page of another address.")
	}
	c, err := h.Hub.AttachTerminal(r.Context(), h.Project(r), name, false, "")
	if err != nil {
		return err
	}
	defer c.Close()
	up := websocket.Upgrader{CheckOrigin: h.Origin, ReadBufferSize: 4 << 10, WriteBufferSize: 32 << 10}
	ws, err := up.Upgrade(w, r, nil)
	if err != nil {
		return nil // the upgrader has answered
	}
	defer ws.Close()
	s := &screen{ws: ws}
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		s.show(c)
		ws.Close()
	})
	s.listen(c)
	c.Close()
	return nil
}

// screen is one browser's view.
type screen struct {
	ws *websocket.Conn
	mu sync.Mutex
}

func (s *screen) send(v ...any) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ws.SetWriteDeadline(time.Now().Add(time.Minute))
	return s.ws.WriteJSON(v)
}

// show sends output; a character cut in two by a read waits for its rest.
func (s *screen) show(c *terminal.Client) {
	if s.send("setup", map[string]any{}) != nil {
		return
	}
	var rest []byte
	for {
		b, err := c.Next()
		if errors.Is(err, io.EOF) {
			s.send("disconnect", 1)
		}
		if err != nil {
			return
		}
		b = append(rest, b...)
		n := whole(b)
		rest = append([]byte(nil), b[n:]...)
		if n > 0 && s.send("stdout", strings.ToValidUTF8(string(b[:n]), "\uFFFD")) != nil {
			return
		}
	}
}

// whole is the length of b without a character begun at its end.
func whole(b []byte) int {
	for i := len(b) - 1; i >= 0 && i >= len(b)-utf8.UTFMax; i-- {
		if utf8.RuneStart(b[i]) {
			if !utf8.FullRune(b[i:]) {
				return i
			}
			break
		}
	}
	return len(b)
}

func (s *screen) listen(c *terminal.Client) {
	s.ws.SetReadLimit(maxMessage)
	beat := func(string) error { return s.ws.SetReadDeadline(time.Now().Add(3 * pingEvery)) }
	beat("")
	s.ws.SetPongHandler(beat)
	tick := time.NewTicker(pingEvery)
	defer tick.Stop()
	done := make(chan struct{})
	defer close(done)
	go func() {
		for {
			select {
			case <-done:
				return
			case <-tick.C:
				s.ws.WriteControl(websocket.PingMessage, nil, time.Now().Add(10*time.Second))
			}
		}
	}()
	for {
		_, b, err := s.ws.ReadMessage()
		if err != nil {
			return
		}
		beat("")
		o, ok := parseOrder(b)
		if !ok {
			return
		}
		if o.resize {
			err = c.Resize(o.rows, o.cols)
		} else {
			err = c.Write([]byte(o.text))
		}
		if err != nil {
			return
		}
	}
}

// order is what a browser wants of a terminal: to type something, or another size.
type order struct {
	text       string
	resize     bool
	rows, cols uint16
}

// parseOrder reads a message of a browser. One that we do not know types nothing;
// one that is not well-formed is not ok.
func parseOrder(b []byte) (o order, ok bool) {
	var m []any
	if json.Unmarshal(b, &m) != nil || len(m) == 0 {
		return o, false
	}
	switch m[0] {
	case "stdin":
		o.text, ok = arg(m, 1).(string)
		return o, ok
	case "set_size":
		rows, ok1 := arg(m, 1).(float64)
		cols, ok2 := arg(m, 2).(float64)
		if !ok1 || !ok2 {
			return o, false
		}
		return order{resize: true, rows: bounded(rows), cols: bounded(cols)}, true
	}
	return o, true
}

func arg(m []any, i int) any {
	if i < len(m) {
		return m[i]
	}
	return nil
}

func bounded(v float64) uint16 { return uint16(min(max(v, 1), 1000)) }
