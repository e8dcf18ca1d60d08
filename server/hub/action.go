package hub

import "cellar/kernel"

// Action tells followers what was asked of a kernel, and what came of it.
type Action struct {
	Kernel kernel.ID // empty: it was not started
	Spec   string
	Action string // start, interrupt, restart, shutdown
	Err    error
}

func (l *Live) acted(action string, err error) {
	l.h.acted(l.Project(), Action{l.ID(), l.Record().Spec, action, err})
}

func (h *Hub) acted(project string, a Action) {
	h.Tell(Event{Project: project, Type: "action", Data: a})
}
