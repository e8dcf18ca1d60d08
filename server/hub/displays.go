package hub

import (
	"encoding/base64"
	"slices"
)

// keptDisplay is an output with a display_id that a notebook carries, as it is
// kept for the next hub: the journal is forgotten up to there.
type keptDisplay struct {
	Notebook string `json:"notebook"`
	Cell     string `json:"cell"`
	Display  string `json:"display_id"`
	Sum      string `json:"sum"` // of what it shows, base64
}

// keptDisplays belong to one lineage: another knows none of them.
type keptDisplays struct {
	Journal string        `json:"journal"`
	List    []keptDisplay `json:"displays"`
}

// carried lists the outputs with a display_id that notebooks carry, those of runs
// too that are in a file and are not forgotten yet.
func (b *book) carried() []shown {
	out := b.shown
	for _, r := range b.order {
		if r.carried() {
			out = append(out[:len(out):len(out)], r.displays()...)
			r.kept = r.version
		}
	}
	b.shownNew = false
	return out[max(0, len(out)-maxShown):]
}

// carriedNew reports whether carried would give something else than last time.
func (b *book) carriedNew() bool {
	return b.shownNew || slices.ContainsFunc(b.order, func(r *Run) bool {
		return r.carried() && r.kept != r.version && slices.ContainsFunc(r.Outputs, func(o *Output) bool { return o.display != "" })
	})
}

// carried reports whether a notebook's file has the run as it is now.
func (r *Run) carried() bool {
	return r.Ended() && !r.old && (r.settled || r.written == r.version)
}

// keepDisplays writes down what carried gives, if it may have changed. It is
// called before the journal is acknowledged.
func (l *Live) keepDisplays() error {
	l.mu.Lock()
	if !l.book.carriedNew() {
		l.mu.Unlock()
		return nil
	}
	kept := keptDisplays{Journal: l.rec.Journal, List: []keptDisplay{}}
	for _, s := range l.book.carried() {
		if len(s.cell)+len(s.display)+len(s.path) < maxTold*4 {
			kept.List = append(kept.List, keptDisplay{s.path, s.cell, s.display, base64.StdEncoding.EncodeToString(s.sum[:])})
		}
	}
	l.mu.Unlock()
	err := l.remember(displaysFile, kept)
	if err != nil {
		l.mu.Lock()
		l.book.shownNew = true
		l.mu.Unlock()
	}
	return err
}

func (l *Live) readDisplays() {
	var kept keptDisplays
	l.recalls(displaysFile, &kept)
	if kept.Journal != l.rec.Journal {
		return
	}
	for _, k := range kept.List[max(0, len(kept.List)-maxShown):] {
		s := shown{path: k.Notebook, cell: k.Cell, display: k.Display}
		if sum, err := base64.StdEncoding.DecodeString(k.Sum); err == nil && len(sum) == len(s.sum) {
			copy(s.sum[:], sum)
			l.book.shown = append(l.book.shown, s)
		}
	}
}
