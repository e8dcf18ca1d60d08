package hub

import (
	"maps"
	"slices"
	"sync"
	"time"

	"cellar/node"
)

// maxFigures bounds the nodes and aliases whose last hour is remembered, some 20
// KiB each; the rest of a very large crowd is not drawn.
const maxFigures = 2000

// Minute is one minute of the last hour of a node or alias.
type Minute = node.Minute

// figures are the last hour of the nodes and aliases that were called in it.
type figures struct {
	mu   sync.Mutex
	list map[string]*node.Figures
}

func (f *figures) of(id string, create bool) *node.Figures {
	f.mu.Lock()
	defer f.mu.Unlock()
	v := f.list[id]
	if v == nil && create && len(f.list) < maxFigures {
		if f.list == nil {
			f.list = map[string]*node.Figures{}
		}
		v = &node.Figures{}
		f.list[id] = v
	}
	return v
}

func (f *figures) sweep(now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for id, v := range f.list {
		if v.Quiet(now) {
			delete(f.list, id)
		}
	}
}

// Note counts a call of a node or alias that has ended with an HTTP status.
func (h *Hub) Note(id string, status int, took time.Duration) {
	if f := h.figures.of(id, true); f != nil {
		f.Add(time.Now(), status, took)
	}
}

// see notes how much is under way at a node.
func (h *Hub) see(id string, s node.Stats) {
	if f := h.figures.of(id, true); f != nil {
		f.See(time.Now(), s.Active, s.Instances)
	}
}

// FiguresOf are the last sixty minutes of a node or alias.
func (h *Hub) FiguresOf(id string) []Minute {
	f := h.figures.of(id, false)
	if f == nil {
		f = &node.Figures{}
	}
	return f.Hour(time.Now())
}

// observe notes how much is under way at each node.
func (i *instances) observe(now time.Time) {
	i.mu.Lock()
	ids := slices.Collect(maps.Keys(i.served))
	i.mu.Unlock()
	for _, id := range ids {
		if s := i.stats(id, 0); s.Active > 0 || s.Instances > 0 {
			i.h.see(id, s)
		}
	}
	i.h.figures.sweep(now)
}
