package hub

import (
	"context"
	"encoding/json"
	"path"
	"time"

	"cellar/kernel"
)

// View is the kernel as the hub's API shows it.
type View struct {
	ID             kernel.ID    `json:"id"`
	State          kernel.State `json:"state"`
	StateDetail    string       `json:"state_detail"`
	Since          time.Time    `json:"since"`
	Configuration  string       `json:"configuration"`
	Home           string       `json:"home,omitempty" doc:"the configuration that it goes back to when the cell that borrowed this one has ended"`
	Machine        string       `json:"machine"`
	Spec           string       `json:"spec"`
	Notebook       string       `json:"notebook"`
	ExecutionState string       `json:"execution_state"`
	LastActivity   time.Time    `json:"last_activity"`
	Connections    int          `json:"connections"`
	CPUPercent     float64      `json:"cpu_percent" doc:"100 is one core"`
	CPUs           int          `json:"cpus" doc:"cores of its configuration; 0: not known any more"`
	MemoryBytes    int64        `json:"memory_bytes"`
	MemoryLimit    int64        `json:"memory_limit"`
	Checkpoint     string       `json:"checkpoint,omitempty"`
	Base           string       `json:"base,omitempty" doc:"the checkpoint that its state came from last, or that was kept of it last"`
	AwakeUntil     *time.Time   `json:"awake_until,omitempty" doc:"it does not hibernate by itself before"`
	WokeAt         *time.Time   `json:"woke_at,omitempty" doc:"when it last came back from hibernation, since the server's start"`
	WakeMS         float64      `json:"wake_ms,omitempty" doc:"how long that took, in milliseconds"`
	Died           *Died        `json:"died,omitempty" doc:"how the kernel ended by itself; told until something is run in its next life"`
	Line           *InLine      `json:"line,omitempty" doc:"it waits for room on the machine"`
	Use            *UseView     `json:"use,omitempty" doc:"what it costs"`
	Gone           bool         `json:"gone,omitempty"` // shut down for good
}

// View returns the present state.
func (l *Live) View() View { return l.view(l.h.notebookOf(l.rec.Project, l.rec.ID)) }

func (l *Live) view(notebook string) View {
	l.mu.Lock()
	defer l.mu.Unlock()
	spec := l.rec.Spec
	if s, ok := l.h.specFor(l.rec); ok {
		spec = s.Name // clients look it up among those offered
	}
	v := View{
		ID: l.rec.ID, State: l.rec.State, StateDetail: l.rec.Detail, Since: l.rec.Since, Configuration: l.rec.Configuration, Home: l.rec.Home,
		Machine: "local", Spec: spec, Notebook: notebook, ExecutionState: l.executionState(), LastActivity: l.rec.ActiveAt,
		Connections: len(l.clients), Checkpoint: l.rec.Checkpoint, Base: l.rec.Base, Died: l.died,
	}
	v.Line = l.h.line.of(l.rec.ID)
	v.Use = l.h.useOf(l.rec.ID, l.rec.Project)
	if until := l.rec.AwakeUntil; until.After(time.Now()) {
		v.AwakeUntil = &until
	}
	if l.rec.Container != "" {
		v.CPUPercent, v.MemoryBytes, v.MemoryLimit = l.cpu*100, l.usage.Memory, l.usage.Limit
	}
	if c, err := l.h.Configuration(l.rec.Configuration); err == nil {
		v.CPUs = c.CPUs
	}
	if !l.woke.At.IsZero() {
		at := l.woke.At
		v.WokeAt, v.WakeMS = &at, float64(l.woke.Took.Microseconds())/1000
	}
	return v
}

// Use is a kernel with what it is at.
type Use struct {
	View
	Running string // the cell that runs
	Waiting int    // cells that wait behind it
}

// ViewsOf lists a project's kernels, asking for their notebooks once.
func (h *Hub) ViewsOf(ctx context.Context, project string) (out []Use) {
	live := h.LiveOf(project)
	if len(live) == 0 {
		return nil
	}
	notebooks := h.notebooksOf(ctx, project)
	for _, l := range live {
		u := Use{View: l.view(notebooks[l.ID()])}
		l.mu.Lock()
		for _, r := range l.book.order {
			switch r.State {
			case RunRunning:
				u.Running = cut(r.CellID)
			case RunQueued:
				u.Waiting++
			}
		}
		l.mu.Unlock()
		out = append(out, u)
	}
	return out
}

// executionState is Jupyter's word; the lock is held.
func (l *Live) executionState() string {
	switch l.rec.State {
	case kernel.Starting:
		return "starting"
	case kernel.Dead:
		return "dead"
	case kernel.Hibernated:
		return "idle"
	}
	return l.busy
}

// Info is the kernel's kernel_info_reply, nil before it first answered.
func (l *Live) Info() json.RawMessage {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.info
}

// Runs lists the runs that a notebook does not carry yet, and those going on.
func (l *Live) Runs(notebook string) []RunView {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []RunView
	for _, r := range l.book.order {
		if r.Path == notebook && !r.settled {
			out = append(out, r.view(l.rec.ID))
		}
	}
	return out
}

// RunView is a run as the hub's API shows it.
type RunView struct {
	CellID         string          `json:"cell_id"`
	MsgID          string          `json:"msg_id"`
	LastMsgID      string          `json:"last_msg_id"`
	Kernel         kernel.ID       `json:"kernel"`
	State          string          `json:"state"`
	ExecutionCount *int            `json:"execution_count"`
	QueuedAt       time.Time       `json:"queued_at"`
	StartedAt      *time.Time      `json:"started_at"`
	EndedAt        *time.Time      `json:"ended_at"`
	DurationMS     int64           `json:"duration_ms"`
	PeakMemory     int64           `json:"peak_memory_bytes" doc:"most memory in use by the whole kernel while the cell ran, without file caches; 0: not measured"`
	Outputs        json.RawMessage `json:"outputs,omitempty"`
}

func (r *Run) view(id kernel.ID) RunView {
	v := RunView{CellID: r.CellID, MsgID: r.MsgID, LastMsgID: r.LastMsgID, Kernel: id, State: r.State, ExecutionCount: r.Count, QueuedAt: r.QueuedAt, PeakMemory: r.Peak}
	if !r.StartedAt.IsZero() {
		v.StartedAt = &r.StartedAt
		v.DurationMS = time.Since(r.StartedAt).Milliseconds()
	}
	if !r.EndedAt.IsZero() {
		v.EndedAt = &r.EndedAt
		v.DurationMS = 0 // one that never began took no time
		if !r.StartedAt.IsZero() {
			v.DurationMS = r.EndedAt.Sub(r.StartedAt).Milliseconds()
		}
	}
	if r.Outputs != nil {
		v.Outputs, _ = json.Marshal(r.Outputs)
	} else {
		v.Outputs = json.RawMessage("[]")
	}
	return v
}

// notebookOf is the path of the notebook that a kernel belongs to, "" for none.
func (h *Hub) notebookOf(project string, id kernel.ID) string {
	return h.notebooksOf(h.ctx, project)[id]
}

// notebooksOf gives the notebooks of a project's kernels; of several, the one
// that was opened first.
func (h *Hub) notebooksOf(ctx context.Context, project string) map[kernel.ID]string {
	list, err := h.Store.Sessions(ctx, project)
	if err != nil {
		return nil
	}
	out := map[kernel.ID]string{}
	for _, s := range list {
		if path.Ext(s.Path) == ".ipynb" && out[s.Kernel] == "" {
			out[s.Kernel] = s.Path
		}
	}
	return out
}
