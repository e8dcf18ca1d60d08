package hub

import (
	"bytes"
	"encoding/json"
	"slices"
	"time"

	"cellar/kernel/keep"
	"cellar/kernel/wire"
)

// States of a run.
const (
	RunQueued  = "queued"
	RunRunning = "running"
	RunDone    = "done"
	RunError   = "error"
	RunAborted = "aborted"
)

// Run is one execution of one cell: what the hub knows of it from the journal.
type Run struct {
	MsgID     string
	CellID    string
	Path      string
	Session   string // header.session of who sent it
	State     string
	Count     *int
	QueuedAt  time.Time
	StartedAt time.Time
	EndedAt   time.Time
	Peak      int64  // bytes of memory, see meter; 0: not measured
	LastMsgID string // of the last message in Outputs
	Outputs   []*Output
	sizes     sizes

	// stamps are the moments that JupyterLab keeps in a cell's metadata.execution;
	// nil where its setting does not ask for them.
	stamps    map[string]string
	seq       uint64 // of its request in the journal
	clear     bool   // clear_output(wait=True) waits for the next output
	delivered bool   // a connected client of its sender saw the end
	loaded    bool   // a client loaded the notebook with its result
	written   int    // version that is in the file on disk
	kept      int    // version whose displays the next hub knows
	version   int    // grows with every change
	gap       bool   // part of it was said while no hub was there
	old       bool   // of an earlier life of the kernel: its seq means nothing now
	settled   bool   // the notebook carries it: nothing to lay over any more
}

// Ended reports whether nothing more will come.
func (r *Run) Ended() bool {
	return r.State == RunDone || r.State == RunError || r.State == RunAborted
}

// book keeps the runs of one kernel. It is not safe for concurrent use.
type book struct {
	byMsg   map[string]*Run
	order   []*Run
	pathOf  func() string
	shown   []shown  // outputs with a display_id that notebooks carry
	patches []*patch // what they show now
	// shownNew: what carried gives may have changed since it was kept.
	shownNew bool
}

func newBook(path func() string) *book {
	return &book{byMsg: map[string]*Run{}, pathOf: path}
}

// note takes one record of the journal; it returns the run that changed.
func (b *book) note(r keep.Record, h, parent wire.Header) *Run {
	if r.Channel == wire.Request {
		return b.request(r, h)
	}
	run := b.byMsg[parent.MsgID]
	if run == nil || (r.Channel != wire.IOPub && r.Channel != wire.Shell) {
		return nil
	}
	if !b.apply(run, r, h) {
		return nil
	}
	run.stamp(r, h)
	run.version++
	if r.Channel == wire.IOPub {
		run.LastMsgID = h.MsgID
	}
	return run
}

func (b *book) request(r keep.Record, h wire.Header) *Run {
	var meta struct {
		CellID       string `json:"cellId"`
		RecordTiming bool   `json:"recordTiming"`
	}
	var content struct {
		Silent bool `json:"silent"`
	}
	if json.Unmarshal(r.Message.Metadata, &meta) != nil || meta.CellID == "" || b.byMsg[h.MsgID] != nil {
		return nil
	}
	if json.Unmarshal(r.Message.Content, &content) != nil || content.Silent {
		return nil
	}
	run := &Run{MsgID: h.MsgID, CellID: meta.CellID, Path: b.pathOf(), Session: h.Session, State: RunQueued, QueuedAt: r.Time, seq: r.Seq, version: 1}
	if meta.RecordTiming {
		run.stamps = map[string]string{}
	}
	for _, old := range b.order { // the newer run of a cell replaces the older
		if old.CellID == run.CellID && old.Path == run.Path && old.Ended() {
			old.settled = true
		}
	}
	b.renew(run.Path, run.CellID)
	b.byMsg[run.MsgID] = run
	b.order = append(b.order, run)
	return run
}

// stream adds what was printed, which is most of what a kernel says.
func (b *book) stream(run *Run, content []byte) bool {
	last := &Output{}
	if n := len(run.Outputs); n > 0 && !run.clear {
		last = run.Outputs[n-1]
	}
	had := len(last.text)
	name, text, ok := wire.AppendStream(last.text, content)
	if !ok || name == "" {
		return false
	}
	if b.clearIfAsked(run); last.stream == name && !last.note {
		last.text = text
		run.grew(len(text) - had)
	} else {
		run.add(&Output{stream: name, text: bytes.Clone(text[had:])}, len(text)-had)
	}
	return true
}

// apply changes run by a message; false when nothing of interest was in it.
func (b *book) apply(run *Run, r keep.Record, h wire.Header) bool {
	if h.MsgType == "stream" {
		return b.stream(run, r.Message.Content)
	}
	var c struct {
		Wait           bool            `json:"wait"`
		ExecutionState string          `json:"execution_state"`
		ExecutionCount *int            `json:"execution_count"`
		Status         string          `json:"status"`
		Data           json.RawMessage `json:"data"`
		Metadata       json.RawMessage `json:"metadata"`
		EName          string          `json:"ename"`
		EValue         string          `json:"evalue"`
		Traceback      []string        `json:"traceback"`
		Transient      struct {
			DisplayID string `json:"display_id"`
		} `json:"transient"`
	}
	if json.Unmarshal(r.Message.Content, &c) != nil {
		return false
	}
	switch h.MsgType {
	case "execute_reply":
		if c.ExecutionCount != nil {
			run.Count = c.ExecutionCount
		}
		if c.Status == "aborted" && !run.Ended() {
			run.State, run.EndedAt = RunAborted, r.Time
		}
	case "status":
		switch {
		case c.ExecutionState == "busy" && run.State == RunQueued:
			run.State, run.StartedAt = RunRunning, r.Time
		case c.ExecutionState == "idle" && !run.Ended():
			run.EndedAt = r.Time
			if run.State = RunDone; slices.ContainsFunc(run.Outputs, func(o *Output) bool { return o.body["output_type"] == "error" }) {
				run.State = RunError
			}
		default:
			return false
		}
	case "execute_input":
		run.Count = c.ExecutionCount
	case "display_data", "execute_result":
		b.clearIfAsked(run)
		body := map[string]any{"output_type": h.MsgType, "data": orObject(c.Data), "metadata": orObject(c.Metadata)}
		if h.MsgType == "execute_result" {
			body["execution_count"] = c.ExecutionCount
		}
		if c.Transient.DisplayID != "" { // for pages that follow the run; a notebook's file has none
			body["transient"] = c.Transient
		}
		run.add(&Output{body: body, display: c.Transient.DisplayID}, len(r.Message.Content))
	case "update_display_data":
		return b.updateDisplay(c.Transient.DisplayID, orObject(c.Data), orObject(c.Metadata))
	case "error":
		b.clearIfAsked(run)
		run.add(&Output{body: map[string]any{"output_type": "error", "ename": c.EName, "evalue": c.EValue, "traceback": c.Traceback}}, len(r.Message.Content))
	case "clear_output":
		if run.clear = c.Wait; !c.Wait {
			run.empty()
		}
	default:
		return false
	}
	return true
}

func (b *book) clearIfAsked(run *Run) {
	if run.clear {
		run.empty()
	}
}

// updateDisplay changes every output with that display_id, whichever cell made it.
func (b *book) updateDisplay(id string, data, metadata json.RawMessage) bool {
	b.forget() // from here on those that notebooks carry are among the shown
	found := b.change(id, data, metadata)
	for _, run := range b.order {
		for _, o := range run.Outputs {
			if id != "" && o.display == id {
				o.body["data"], o.body["metadata"] = data, metadata
				run.version++
				found = true
			}
		}
		run.recount()
	}
	return found
}

func orObject(raw json.RawMessage) json.RawMessage {
	if len(raw) == 0 || bytes.Equal(raw, []byte("null")) {
		return json.RawMessage("{}")
	}
	return raw
}

// abortOpen ends all runs that have not: the kernel that ran them is gone.
func (b *book) abortOpen(at time.Time) (changed []*Run) {
	for _, run := range b.order {
		if !run.Ended() {
			run.State, run.EndedAt = RunAborted, at
			run.version++
			changed = append(changed, run)
		}
	}
	return changed
}

// age marks all runs as those of an earlier life.
func (b *book) age() {
	for _, run := range b.order {
		run.old = true
	}
	b.shown, b.shownNew = nil, true // nothing that runs now knows these
	b.patches = slices.DeleteFunc(b.patches, func(p *patch) bool { return p.written })
}

// openFrom is the seq after which the journal has all of the runs that have not
// ended, or last when there are none.
func (b *book) openFrom(last uint64) uint64 {
	for _, run := range b.order {
		if !run.Ended() && !run.old {
			return min(last, run.seq-1)
		}
	}
	return last
}

// busy reports whether a run waits or goes on.
func (b *book) busy() bool {
	return slices.ContainsFunc(b.order, func(r *Run) bool { return !r.Ended() })
}

// done is the seq up to which the journal is not needed any more, given the
// last seq seen: what the notebooks carry by themselves.
func (b *book) done(last uint64) uint64 {
	for _, run := range b.order {
		if !run.settled && !run.old && !(run.Ended() && run.written == run.version) {
			return min(last, run.seq-1)
		}
	}
	return last
}

// forget drops settled runs, once nothing waits for them.
func (b *book) forget() {
	b.order = slices.DeleteFunc(b.order, func(r *Run) bool {
		if r.settled && r.Ended() {
			b.remember(r)
			delete(b.byMsg, r.MsgID)
			return true
		}
		return false
	})
}
