package hub

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"strings"

	"cellar/internal/fault"
)

// CellChange is one cell now and at a checkpoint; an empty side means that it is
// not there, or has nothing in it.
type CellChange struct {
	ID   string `json:"id"`
	Type string `json:"type" enum:"code,markdown,raw"`
	Kind string `json:"kind" enum:"new,gone,edited"`
	Now  string `json:"now"`
	Then string `json:"then"`
}

// CellChanges is how the text of a notebook differs; outputs are not compared.
type CellChanges struct {
	Items []CellChange `json:"items"`
	More  int          `json:"more" doc:"how many changed cells are not listed"`
}

// Bounds of what is compared and told.
const (
	maxCompared    = 64 << 20 // bytes of a notebook
	maxCellChanges = 200
	maxCellSource  = 20_000 // bytes
)

var errCompared = fault.New(fault.Exhausted, "too_large", "The notebook is too large to be compared.")

// sourced is a cell without its outputs.
type sourced struct{ id, kind, source string }

// cellsOf reads the texts of a notebook's cells.
func cellsOf(nb []byte) (out []sourced, err error) {
	if len(nb) > maxCompared {
		return nil, errCompared
	}
	var n struct {
		Cells []struct {
			ID     string          `json:"id"`
			Type   string          `json:"cell_type"`
			Source json.RawMessage `json:"source"`
		} `json:"cells"`
	}
	if err := json.Unmarshal(nb, &n); err != nil {
		return nil, fault.Wrap(fault.Invalid, "not_a_notebook", "The notebook cannot be read.", err)
	}
	for i, c := range n.Cells {
		text, lines := "", []string{}
		if json.Unmarshal(c.Source, &text) != nil && json.Unmarshal(c.Source, &lines) == nil {
			text = strings.Join(lines, "")
		}
		if c.ID == "" { // before nbformat 4.5
			c.ID = "#" + strconv.Itoa(i+1)
		}
		out = append(out, sourced{c.ID, c.Type, text})
	}
	return out, nil
}

// diffCells lists what differs, in the order of now; what is gone comes where it was.
func diffCells(now, then []sourced) CellChanges {
	out := CellChanges{Items: []CellChange{}}
	add := func(c CellChange) {
		if len(out.Items) == maxCellChanges {
			out.More++
			return
		}
		c.Now, c.Then = cutText(c.Now), cutText(c.Then)
		out.Items = append(out.Items, c)
	}
	is, was := map[string]bool{}, map[string]int{}
	for _, c := range now {
		is[c.id] = true
	}
	for i, c := range then {
		was[c.id] = i
	}
	told := 0 // of then, whether they are gone
	gone := func(until int) {
		for ; told < until; told++ {
			if c := then[told]; !is[c.id] {
				add(CellChange{c.id, c.kind, "gone", "", c.source})
			}
		}
	}
	for _, c := range now {
		i, there := was[c.id]
		if !there {
			add(CellChange{c.id, c.kind, "new", c.source, ""})
			continue
		}
		gone(i)
		if old := then[i]; old.source != c.source || old.kind != c.kind {
			add(CellChange{c.id, c.kind, "edited", c.source, old.source})
		}
	}
	gone(len(then))
	return out
}

func cutText(s string) string {
	if len(s) <= maxCellSource {
		return s
	}
	return strings.ToValidUTF8(s[:maxCellSource], "") + "…"
}

// notebookAt is the notebook that a checkpoint holds; none is an empty one.
func (h *Hub) notebookAt(ctx context.Context, c Checkpoint) ([]sourced, error) {
	if c.Notebook == "" {
		return nil, nil
	}
	nb, err := h.keptNotebook(ctx, c, maxCompared, errCompared)
	if fault.CodeOf(err) == "no_notebook" {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return cellsOf(nb)
}

// tellCells takes in how the notebook differs, or why that is not known.
func (c *Changes) tellCells(now, then []sourced, errs ...error) {
	if err := errors.Join(errs...); err != nil {
		c.Notes = append(c.Notes, "How the notebook's text differs cannot be shown. "+fault.Sentence(err))
		return
	}
	cells := diffCells(now, then)
	c.Cells = &cells
}
