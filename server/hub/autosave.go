package hub

import (
	"context"
	"encoding/json"
	"strings"
	"time"
	"unicode"

	"cellar/kernel"
	"cellar/kernel/keep"
)

// unsaved is what an automatic checkpoint of a kernel would keep; the kernel's
// lock guards it.
type unsaved struct {
	since time.Time // something was run then that no checkpoint has; zero: nothing
	last  string    // the first line of what was run last
}

// note takes in a request to run something.
func (u *unsaved) note(r keep.Record) {
	var c struct {
		Code   string `json:"code"`
		Silent bool   `json:"silent"`
	}
	if json.Unmarshal(r.Message.Content, &c) != nil || c.Silent {
		return
	}
	u.since, u.last = r.Time, headline(c.Code)
}

// headline is the first line of a cell that says something, fit for a name.
func headline(code string) string {
	for line := range strings.Lines(code) {
		line = strings.Map(func(r rune) rune {
			if unicode.IsControl(r) || r == unicode.ReplacementChar {
				return -1
			}
			return r
		}, strings.TrimSpace(line))
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if runes := []rune(line); len(runes) > 40 {
			line = string(runes[:39]) + "…"
		}
		return line
	}
	return ""
}

// autosave keeps an automatic checkpoint of a kernel that has run something and
// rests since a while. One that could not be kept is not tried again before
// something else was run.
func (h *Hub) autosave(l *Live, u kernel.Usage, now time.Time) {
	after := h.autosaveAfter(l.Project())
	l.mu.Lock()
	due := after > 0 && !l.unsaved.since.IsZero() && u.Memory <= h.AutosaveMemory && l.rec.State == kernel.Running &&
		l.busy != "busy" && !l.book.busy() && len(l.out) == 0 && now.Sub(l.rec.ActiveAt) >= after && now.Sub(l.unsaved.since) >= after
	name := ""
	if l.unsaved.last != "" {
		name = "After " + l.unsaved.last
	}
	if due {
		l.unsaved.since = time.Time{}
	}
	l.mu.Unlock()
	if !due {
		return
	}
	h.wg.Go(func() {
		o := h.Operations.Begin(h.ctx, l.Project(), "autosave "+string(l.ID()), func(ctx context.Context, o *Operation) (any, error) {
			return h.Keep(ctx, l, KindAuto, name, o)
		})
		if s, err := o.Wait(h.ctx); err == nil && s.Error == nil {
			h.prune(h.ctx, l)
		}
	})
}

// saved notes that a checkpoint has what the kernel is; the lock is held.
func (u *unsaved) saved() { u.since = time.Time{} }
