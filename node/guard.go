package node

import (
	"fmt"
	"sync"
	"time"

	"cellar/internal/fault"
)

// Guard are the limits beyond which an alias goes back to its previous setting.
// Its zero value guards nothing.
type Guard struct {
	ErrorPercent float64 `json:"error_percent,omitempty" minimum:"0" maximum:"100" doc:"more of a target's calls than this have failed; 0 is not looked at"`
	LatencyMS    float64 `json:"latency_ms,omitempty" minimum:"0" doc:"more milliseconds than this at the percentile; 0 is not looked at"`
	Percentile   float64 `json:"percentile,omitempty" minimum:"0" maximum:"100" doc:"of the latency; 95 if left out"`
	Window       int     `json:"window_seconds,omitempty" minimum:"0" maximum:"3600" doc:"over which calls are counted; 60 if left out"`
	MinCalls     int     `json:"min_calls,omitempty" minimum:"0" maximum:"1000000" doc:"fewer calls of a target in the window say nothing; 20 if left out"`
}

// On reports whether there is a limit.
func (g Guard) On() bool { return g.ErrorPercent > 0 || g.LatencyMS > 0 }

// Complete fills in what was left out.
func (g Guard) Complete() Guard {
	if !g.On() {
		return Guard{}
	}
	if g.Percentile == 0 {
		g.Percentile = 95
	}
	if g.Window == 0 {
		g.Window = 60
	}
	if g.MinCalls == 0 {
		g.MinCalls = 20
	}
	return g
}

// Check reports what is wrong with a guard.
func (g Guard) Check() error {
	switch {
	case g.ErrorPercent < 0 || g.ErrorPercent > 100 || g.Percentile < 0 || g.Percentile > 100:
		return fault.New(fault.Invalid, "guard_invalid", "Percentages of a guard are from 0 to 100.")
	case g.LatencyMS < 0 || g.MinCalls < 0 || g.Window < 0 || g.Window > 3600:
		return fault.New(fault.Invalid, "guard_invalid", "A guard's numbers are not negative, and its window has 3600 seconds at most.")
	case !g.On() && (g.Percentile != 0 || g.Window != 0 || g.MinCalls != 0):
		return fault.New(fault.Invalid, "guard_empty", "A guard needs a limit: of errors in percent, or of latency in milliseconds.")
	}
	return nil
}

const windowSlots = 20

// Window counts what came of the calls of the last while. It takes 5 KiB.
type Window struct {
	mu    sync.Mutex
	slot  time.Duration
	slots [windowSlots]windowSlot
}

type windowSlot struct {
	at            int64 // which slot of time it counts
	calls, failed int
	took          Histogram
}

// NewWindow counts over a time.
func NewWindow(over time.Duration) *Window { return &Window{slot: max(over/windowSlots, 1)} }

// Add counts a call that has ended.
func (w *Window) Add(now time.Time, failed bool, took time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	at := now.UnixNano() / int64(w.slot)
	s := &w.slots[at%windowSlots]
	if s.at != at {
		*s = windowSlot{at: at}
	}
	s.calls++
	if failed {
		s.failed++
	}
	s.took.Add(took)
}

// Exceeds says in a sentence which limit the calls are beyond; empty: none.
func (w *Window) Exceeds(g Guard, now time.Time) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	calls, failed := 0, 0
	var took Histogram
	newest := now.UnixNano() / int64(w.slot)
	for i := range w.slots {
		if s := &w.slots[i]; s.at > newest-windowSlots && s.at <= newest {
			calls, failed = calls+s.calls, failed+s.failed
			took.Merge(&s.took)
		}
	}
	if calls == 0 || calls < g.MinCalls {
		return ""
	}
	if percent := 100 * float64(failed) / float64(calls); g.ErrorPercent > 0 && percent > g.ErrorPercent {
		return fmt.Sprintf("%.3g %% of %d calls in %d s failed, more than %.3g %%", percent, calls, g.Window, g.ErrorPercent)
	}
	if ms := float64(took.Percentile(g.Percentile)) / 1e6; g.LatencyMS > 0 && ms > g.LatencyMS {
		return fmt.Sprintf("%.3g %% of %d calls in %d s took up to %.4g ms, more than %.4g ms", g.Percentile, calls, g.Window, ms, g.LatencyMS)
	}
	return ""
}
