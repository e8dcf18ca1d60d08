package hub

import (
	"encoding/json"
	"maps"
	"slices"
	"time"

	"cellar/kernel"
	"cellar/kernel/keep"
	"cellar/kernel/wire"
)

// Timing is how long a cell's last run took and how much memory it needed: what
// stays known of a run when its outputs are in the notebook.
type Timing struct {
	CellID         string     `json:"cell_id"`
	MsgID          string     `json:"msg_id"`
	Kernel         kernel.ID  `json:"kernel"`
	Notebook       string     `json:"notebook" doc:"as it was called when the cell was run"`
	State          string     `json:"state" enum:"queued,running,done,error,aborted"`
	ExecutionCount *int       `json:"execution_count"`
	StartedAt      *time.Time `json:"started_at"`
	EndedAt        *time.Time `json:"ended_at"`
	DurationMS     int64      `json:"duration_ms" doc:"so far, while it runs"`
	PeakMemory     int64      `json:"peak_memory_bytes" doc:"most memory in use by the whole kernel while the cell ran, without file caches; 0: not measured"`
}

// Bounds of what a kernel remembers. Names of cells are the client's.
const (
	maxTimings = 2000
	maxCellID  = 128
)

func (r *Run) timing(id kernel.ID) Timing {
	v := r.view(id)
	return Timing{
		CellID: r.CellID, MsgID: r.MsgID, Kernel: id, Notebook: r.Path, State: r.State, ExecutionCount: r.Count,
		StartedAt: v.StartedAt, EndedAt: v.EndedAt, DurationMS: v.DurationMS, PeakMemory: r.Peak,
	}
}

// noteTiming remembers a run that has ended; the lock is held. One that never
// began took no time.
func (l *Live) noteTiming(r *Run) {
	if r.StartedAt.IsZero() || len(r.CellID) > maxCellID || len(r.MsgID) > maxCellID {
		return
	}
	l.timings = slices.DeleteFunc(l.timings, func(old Timing) bool {
		if old.CellID != r.CellID || old.Notebook != r.Path {
			return false
		}
		if old.MsgID == r.MsgID && r.Peak == 0 { // read again from the journal, which has no memory in it
			r.Peak = old.PeakMemory
		}
		return true
	})
	l.timings = append(l.timings, r.timing(l.rec.ID))
	l.timings = l.timings[max(0, len(l.timings)-maxTimings):]
	l.timingsNew = true
}

// Timings lists what is known of a notebook's cells: the last run of each, those
// that go on included.
func (h *Hub) Timings(project, notebook string) []Timing {
	out := []Timing{}
	for _, l := range h.LiveOf(project) {
		mine := h.notebookOf(project, l.ID()) == notebook // whatever it was called then
		l.mu.Lock()
		for _, t := range l.timings {
			if mine || t.Notebook == notebook {
				out = append(out, t)
			}
		}
		for _, r := range l.book.order {
			if !r.Ended() && (mine || r.Path == notebook) {
				out = append(out, r.timing(l.rec.ID))
			}
		}
		l.mu.Unlock()
	}
	return out
}

// keepTimings writes what is remembered beside the journal, if it has changed:
// it outlives a hub, as the kernel does.
func (l *Live) keepTimings() {
	l.mu.Lock()
	changed, list := l.timingsNew, slices.Clone(l.timings)
	l.timingsNew = false
	l.mu.Unlock()
	if !changed {
		return
	}
	if err := l.remember(timingsFile, list); err != nil {
		l.h.Log.Warn("times of cells not kept", "kernel", l.rec.ID, "error", err)
	}
}

// stamp notes the moments that JupyterLab's setting "recordTiming" asks for.
func (r *Run) stamp(rec keep.Record, h wire.Header) {
	if r.stamps == nil {
		return
	}
	var c struct {
		State string `json:"execution_state"`
	}
	at := stampOf(string(h.Date), rec.Time)
	switch h.MsgType {
	case "status":
		if json.Unmarshal(rec.Message.Content, &c) == nil && (c.State == "busy" || c.State == "idle") {
			r.stamps["iopub.status."+c.State] = at
		}
	case "execute_input":
		r.stamps["iopub.execute_input"] = at
	case "execute_reply":
		r.stamps["shell.execute_reply"] = at
		var m struct {
			Started wire.Date `json:"started"`
		}
		if json.Unmarshal(rec.Message.Metadata, &m) == nil && m.Started != "" {
			r.stamps["shell.execute_reply.started"] = stampOf(string(m.Started), r.StartedAt)
		}
	}
}

// stampOf is the time a kernel says, if it is one, else ours.
func stampOf(said string, ours time.Time) string {
	if len(said) < 64 {
		if _, err := time.Parse(time.RFC3339Nano, said); err == nil {
			return said
		}
	}
	return ours.UTC().Format(time.RFC3339Nano)
}

// withStamps puts a run's moments into a cell's metadata.
func withStamps(metadata json.RawMessage, r *Run) (json.RawMessage, error) {
	m := map[string]any{}
	if len(metadata) > 0 {
		if err := json.Unmarshal(metadata, &m); err != nil {
			return nil, err
		}
	}
	execution, ok := m["execution"].(map[string]any)
	if !ok {
		execution = map[string]any{}
	}
	for k, v := range maps.All(r.stamps) {
		execution[k] = v
	}
	m["execution"] = execution
	return json.Marshal(m)
}
