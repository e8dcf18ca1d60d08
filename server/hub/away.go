package hub

import (
	"bytes"
	"slices"
	"time"
)

// Away is a cell that ended while no client was at its kernel: what a person who
// comes back would like to hear first.
type Away struct {
	MsgID          string    `json:"msg_id"`
	CellID         string    `json:"cell_id"`
	Notebook       string    `json:"notebook"`
	State          string    `json:"state"` // done or error
	ExecutionCount *int      `json:"execution_count"`
	StartedAt      time.Time `json:"started_at"`
	EndedAt        time.Time `json:"ended_at"`
	DurationMS     int64     `json:"duration_ms"`
	Lines          int       `json:"lines"` // of printed text
}

// maxAway is how many a kernel remembers; the newest count.
const maxAway = 100

// noteAway remembers a run that has just ended, if nobody was there; the lock is
// held. One that was cancelled is no news of its own.
func (l *Live) noteAway(r *Run) {
	if r.State != RunAborted {
		l.addAway(r, r.State)
	}
}

// addAway does it, whatever became of the run. One that ended before this hub
// began may have been seen: not counted.
func (l *Live) addAway(r *Run, state string) {
	if len(l.clients) > 0 || r.EndedAt.Before(l.h.since) {
		return
	}
	a := Away{
		MsgID: r.MsgID, CellID: r.CellID, Notebook: r.Path, State: state, ExecutionCount: r.Count,
		StartedAt: r.StartedAt, EndedAt: r.EndedAt, DurationMS: r.EndedAt.Sub(r.StartedAt).Milliseconds(),
	}
	a.Lines = lines(r)
	l.away = append(l.away, a)
	l.away = l.away[max(0, len(l.away)-maxAway):]
}

// lines counts those of printed text in a run's outputs.
func lines(r *Run) (n int) {
	for _, o := range r.Outputs {
		n += bytes.Count(o.text, []byte("\n"))
	}
	return n
}

// Away lists what ended in a notebook while nobody was there, oldest first.
func (h *Hub) Away(project, notebook string) []Away {
	out := []Away{}
	for _, l := range h.LiveOf(project) {
		l.mu.Lock()
		for _, a := range l.away {
			if a.Notebook == notebook {
				out = append(out, a)
			}
		}
		l.mu.Unlock()
	}
	slices.SortFunc(out, func(a, b Away) int { return a.EndedAt.Compare(b.EndedAt) })
	return out
}

// Back forgets what ended in a notebook up to a moment: the person has heard it.
func (h *Hub) Back(project, notebook string, upTo time.Time) {
	for _, l := range h.LiveOf(project) {
		l.mu.Lock()
		l.away = slices.DeleteFunc(l.away, func(a Away) bool { return a.Notebook == notebook && !a.EndedAt.After(upTo) })
		l.mu.Unlock()
	}
}
