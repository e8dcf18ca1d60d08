package hub

import (
	"bytes"
	"encoding/json"
	"slices"
	"time"
)

// Overlay lays what kernels said over a project's notebooks as they are loaded
// and saved: a tab that was away erases nothing, and a file need never change
// behind an open tab's back.
type Overlay struct {
	h       *Hub
	project string
}

// Overlay returns the overlay of a project.
func (h *Hub) Overlay(project string) Overlay { return Overlay{h, project} }

// Lays reports whether a run on the notebook is unsettled, or what another cell
// changed in it.
func (o Overlay) Lays(path string) bool {
	return slices.ContainsFunc(o.h.LiveOf(o.project), func(l *Live) bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return len(l.book.patchesOf(path)) > 0 || slices.ContainsFunc(l.book.order, func(r *Run) bool { return r.Path == path && !r.settled })
	})
}

// Loaded returns nb (memory form) with the outputs of unsettled runs.
func (o Overlay) Loaded(path string, nb []byte) []byte {
	return o.lay(path, nb, func(r *Run, _ map[string]json.RawMessage) bool {
		r.loaded = r.loaded || r.Ended()
		return true
	})
}

// Peek is Loaded for who will not save: nothing is noted.
func (o Overlay) Peek(path string, nb []byte) []byte {
	return o.lay(path, nb, func(*Run, map[string]json.RawMessage) bool { return true })
}

// Saving returns what is to be written when a client saves nb. A run that the
// client has seen the end of is the client's to keep or clear; any other run
// wins over what the client has.
func (o Overlay) Saving(path string, nb []byte) []byte {
	return o.lay(path, nb, func(r *Run, cell map[string]json.RawMessage) bool {
		if r.Ended() && (r.loaded || (r.delivered && !r.gap)) {
			// A save that was under way when the run ended does not know its end.
			if !r.loaded && time.Since(r.EndedAt) < saveUnderWay && !sameCount(r, cell) {
				return true
			}
			r.settled = true
			return false
		}
		return true
	})
}

const saveUnderWay = 2 * time.Second

func sameCount(r *Run, cell map[string]json.RawMessage) bool {
	b, err := json.Marshal(r.Count)
	return err == nil && bytes.Equal(b, bytes.TrimSpace(cell["execution_count"]))
}

func (o Overlay) lay(path string, nb []byte, use func(*Run, map[string]json.RawMessage) bool) []byte {
	for _, l := range o.h.LiveOf(o.project) {
		nb = l.lay(path, nb, use)
	}
	return nb
}

// lay puts the outputs of this kernel's runs on path into nb.
func (l *Live) lay(path string, nb []byte, use func(*Run, map[string]json.RawMessage) bool) []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	runs := map[string]*Run{}
	for _, r := range l.book.order {
		if r.Path == path && !r.settled {
			supersede(runs, r)
			runs[r.CellID] = r
		}
	}
	patches := l.book.patchesOf(path)
	if len(runs) == 0 && len(patches) == 0 {
		return nb
	}
	out, err := layOver(nb, runs, use)
	if err == nil {
		out, err = patchOver(out, patches)
	}
	l.book.forget()
	if err != nil {
		return nb // not a notebook we understand: it stays what it is
	}
	return out
}

// layOver replaces outputs and execution_count of the cells that runs names.
func layOver(nb []byte, runs map[string]*Run, use func(*Run, map[string]json.RawMessage) bool) ([]byte, error) {
	if len(runs) == 0 {
		return nb, nil
	}
	return eachCell(nb, func(cell map[string]json.RawMessage, id string) (bool, error) {
		run := runs[id]
		if run == nil || !use(run, cell) {
			return false, nil
		}
		outputs := []any{}
		for _, o := range run.Outputs {
			outputs = append(outputs, o.inFile())
		}
		b, err := json.Marshal(outputs)
		if err != nil {
			return false, err
		}
		count, err := json.Marshal(run.Count)
		cell["outputs"], cell["execution_count"] = b, count
		if err == nil && len(run.stamps) > 0 {
			cell["metadata"], err = withStamps(cell["metadata"], run)
		}
		return true, err
	})
}

// eachCell lets do change the code cells of a notebook; do says whether it has.
func eachCell(nb []byte, do func(cell map[string]json.RawMessage, id string) (bool, error)) ([]byte, error) {
	var doc map[string]json.RawMessage
	var cells []map[string]json.RawMessage
	if err := json.Unmarshal(nb, &doc); err != nil {
		return nil, err
	}
	if err := json.Unmarshal(doc["cells"], &cells); err != nil {
		return nil, err
	}
	changed := false
	for _, cell := range cells {
		var id, kind string
		json.Unmarshal(cell["id"], &id)
		json.Unmarshal(cell["cell_type"], &kind)
		if kind != "code" {
			continue
		}
		did, err := do(cell, id)
		if err != nil {
			return nil, err
		}
		changed = changed || did
	}
	if !changed {
		return nb, nil
	}
	b, err := json.Marshal(cells)
	if err != nil {
		return nil, err
	}
	doc["cells"] = b
	return json.Marshal(doc)
}

func always(*Run, map[string]json.RawMessage) bool { return true }

// supersede settles an ended run of the same cell that a newer one replaces:
// two may wait in the kernel at once.
func supersede(runs map[string]*Run, newer *Run) {
	if old := runs[newer.CellID]; old != nil && old.Ended() {
		old.settled = true
	}
}
