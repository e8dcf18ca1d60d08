package hub

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"cellar/kernel/wire"
)

// comms are the comms that a kernel sleeps with: who opens its page asks for them,
// and that need wake it only if there are widgets to bring back.
type comms struct {
	Checkpoint string            `json:"checkpoint"` // the one it sleeps in
	List       map[string]commOf `json:"comms"`
}

type commOf struct {
	Target string `json:"target_name"`
}

// Targets of ipywidgets: a widget, and the one by which a page asks for the state of all.
const (
	widgetTarget  = "jupyter.widget"
	controlTarget = "jupyter.widget.control"
)

const (
	maxComms  = 10_000
	commsTime = time.Second
)

// askComms asks the kernel for its comms; nil when it does not answer soon.
func (l *Live) askComms(ctx context.Context) map[string]commOf {
	l.mu.Lock()
	busy := l.book.busy() || l.busy == "busy"
	l.mu.Unlock()
	if busy {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, commsTime)
	defer cancel()
	m, err := l.question(ctx, "comm_info_request", []byte("{}"))
	if err != nil {
		return nil
	}
	var c struct {
		Status string            `json:"status"`
		Comms  map[string]commOf `json:"comms"`
	}
	if json.Unmarshal(m.Content, &c) != nil || c.Status == "error" || c.Comms == nil || len(c.Comms) > maxComms {
		return nil
	}
	return c.Comms
}

// keepComms remembers what the kernel sleeps with, beside its journal.
func (l *Live) keepComms(checkpoint string, list map[string]commOf) {
	var err error
	if list != nil {
		err = l.remember(commsFile, comms{checkpoint, list})
	}
	if list == nil || err != nil {
		list, err = nil, errors.Join(err, l.forget(commsFile))
	}
	if err != nil {
		l.h.Log.Warn("comms of a kernel not kept", "kernel", l.rec.ID, "error", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.comms = comms{checkpoint, list}
}

// commsAsleep is what the kernel sleeps with; the lock is held. Not known: false.
func (l *Live) commsAsleep() (map[string]commOf, bool) {
	return l.comms.List, l.comms.List != nil && l.comms.Checkpoint == l.rec.Checkpoint
}

// answerComms answers for a hibernated kernel what concerns comms that it does
// not have; false: the kernel itself has to. The lock is held.
func (l *Live) answerComms(h wire.Header, m *wire.Message) (said []*wire.Message, ok bool) {
	list, known := l.commsAsleep()
	var c struct {
		ID     string `json:"comm_id"`
		Target string `json:"target_name"`
	}
	if !known || json.Unmarshal(m.Content, &c) != nil {
		return nil, false
	}
	if h.MsgType == "comm_open" {
		for _, other := range list {
			if other.Target == widgetTarget {
				return nil, false
			}
		}
		if c.Target != controlTarget {
			return nil, false
		}
		content, _ := json.Marshal(map[string]any{"comm_id": c.ID, "data": map[string]any{}})
		return []*wire.Message{message("comm_close", m.Header, content)}, true // as a kernel without ipywidgets does
	}
	_, has := list[c.ID]
	return nil, !has // what is said to a comm that is not there says nothing
}

// commInfo is the reply to a comm_info_request; the lock is held.
func (l *Live) commInfo(m *wire.Message) ([]byte, bool) {
	list, known := l.commsAsleep()
	var c struct {
		Target string `json:"target_name"`
	}
	if !known || json.Unmarshal(m.Content, &c) != nil {
		return nil, false
	}
	out := map[string]commOf{}
	for id, of := range list {
		if c.Target == "" || of.Target == c.Target {
			out[id] = of
		}
	}
	b, err := json.Marshal(map[string]any{"status": "ok", "comms": out})
	return b, err == nil
}
