package hub

import (
	"encoding/json"

	"cellar/kernel/keep"
	"cellar/kernel/wire"
)

// recall has answers to what pages ask when they open, which is no reason to wake
// a kernel that sleeps: what was run last, and that nobody debugs. It is what the
// kernel answered last, and what was run since. The kernel's lock guards it.
type recall struct {
	entries []recalled      // oldest first; nil: the kernel has not been asked yet
	debug   json.RawMessage // its answer to debugInfo while nobody debugs; nil: not known
	waiting map[string]bool // msg_ids of requests whose answers are worth keeping
}

// recalled is an entry as the protocol has it: session, line, input.
type recalled [3]any

// Bounds of what is recalled: entries, and bytes of input.
const (
	maxRecalled      = 1000
	maxRecalledBytes = 1 << 20
	maxWaiting       = 64
)

// newLife forgets whom the process before has not answered and, if the next one is
// not thawed, what only that process knew.
func (r *recall) newLife(thawed bool) {
	if r.waiting = nil; !thawed {
		r.debug = nil
	}
}

// tailRequest is a history_request that asks for the newest inputs, as they were
// typed.
type tailRequest struct {
	Access string `json:"hist_access_type"`
	Output bool   `json:"output"`
	Raw    bool   `json:"raw"`
	N      int    `json:"n"`
}

func readTail(content []byte) (t tailRequest, ok bool) {
	err := json.Unmarshal(content, &t)
	return t, err == nil && t.Access == "tail" && !t.Output && t.Raw && t.N > 0
}

// dap is a message of the Debug Adapter Protocol, as far as it is looked at.
type dap struct {
	Seq     int             `json:"seq"`
	Command string          `json:"command"`
	Success bool            `json:"success"`
	Body    json.RawMessage `json:"body"`
}

// asks notes a request whose answer is to be kept. Any other debug_request makes
// what is known of debugging out of date.
func (r *recall) asks(h wire.Header, m *wire.Message) {
	worth := false
	switch h.MsgType {
	case "history_request":
		_, worth = readTail(m.Content)
	case "debug_request":
		var q dap
		err := json.Unmarshal(m.Content, &q)
		worth = err == nil && q.Command == "debugInfo"
		if !worth && q.Command != "modules" { // which a page asks for after each cell
			r.debug = nil
		}
	}
	if worth && len(r.waiting) < maxWaiting {
		if r.waiting == nil {
			r.waiting = map[string]bool{}
		}
		r.waiting[h.MsgID] = true
	}
}

// note takes in a record: an answer to such a request, or something that is run.
func (r *recall) note(rec keep.Record, h, parent wire.Header) {
	switch {
	case rec.Channel == wire.Control && h.MsgType == "debug_reply" && r.waiting[parent.MsgID]:
		delete(r.waiting, parent.MsgID)
		r.noteDebug(rec.Message.Content)
	case rec.Channel == wire.Shell && h.MsgType == "history_reply" && r.waiting[parent.MsgID]:
		delete(r.waiting, parent.MsgID)
		var c struct {
			History []recalled `json:"history"`
		}
		if json.Unmarshal(rec.Message.Content, &c) == nil && c.History != nil && len(c.History) >= min(len(r.entries), maxRecalled/2) {
			r.entries = c.History
			r.cut()
		}
	case rec.Channel == wire.Request && h.MsgType == "execute_request" && r.entries != nil:
		var c struct {
			Code   string `json:"code"`
			Silent bool   `json:"silent"`
			Store  *bool  `json:"store_history"`
		}
		if json.Unmarshal(rec.Message.Content, &c) == nil && c.Code != "" && !c.Silent && (c.Store == nil || *c.Store) {
			r.entries = append(r.entries, recalled{0, len(r.entries) + 1, c.Code})
			r.cut()
		}
	}
}

// noteDebug keeps an answer to debugInfo that says that nobody debugs.
func (r *recall) noteDebug(content []byte) {
	var a dap
	var body struct {
		IsStarted   bool              `json:"isStarted"`
		Breakpoints []json.RawMessage `json:"breakpoints"`
	}
	r.debug = nil
	if json.Unmarshal(content, &a) != nil || !a.Success || json.Unmarshal(a.Body, &body) != nil {
		return
	}
	if !body.IsStarted && len(body.Breakpoints) == 0 && len(a.Body) < 64<<10 {
		r.debug = a.Body
	}
}

// cut drops the oldest entries over the bounds.
func (r *recall) cut() {
	from, bytes := len(r.entries), 0
	for from > 0 && len(r.entries)-from < maxRecalled {
		text, _ := r.entries[from-1][2].(string)
		if bytes += len(text); bytes > maxRecalledBytes {
			break
		}
		from--
	}
	r.entries = append([]recalled{}, r.entries[from:]...)
}

// debugging is the content of a debug_reply; nil when only the kernel knows.
func (r *recall) debugging(content []byte) []byte {
	var q dap
	if r.debug == nil || json.Unmarshal(content, &q) != nil || q.Command != "debugInfo" {
		return nil
	}
	b, err := json.Marshal(map[string]any{"type": "response", "seq": q.Seq, "request_seq": q.Seq, "success": true, "command": q.Command, "body": r.debug})
	if err != nil {
		return nil
	}
	return b
}

// answer is the content of a history_reply; nil when only the kernel knows.
func (r *recall) answer(content []byte) []byte {
	t, ok := readTail(content)
	if !ok || r.entries == nil {
		return nil
	}
	b, err := json.Marshal(map[string]any{"status": "ok", "history": r.entries[max(0, len(r.entries)-t.N):]})
	if err != nil {
		return nil
	}
	return b
}

// remembered is recall as it is written down.
type remembered struct {
	History []recalled      `json:"history"`
	Debug   json.RawMessage `json:"debug,omitempty"`
}

// keepRecall writes it down, for a hub that starts while the kernel sleeps.
func (l *Live) keepRecall() {
	l.mu.Lock()
	m := remembered{l.recall.entries, l.recall.debug}
	l.mu.Unlock()
	if err := l.remember(recallFile, m); err != nil {
		l.h.Log.Warn("answers for pages not kept", "kernel", l.ID(), "error", err)
	}
}

func (l *Live) readRecall() {
	var m remembered
	l.recalls(recallFile, &m)
	l.recall.entries, l.recall.debug = m.History, m.Debug
}
