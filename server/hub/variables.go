package hub

import (
	"context"
	"encoding/json"
	"time"

	"cellar/kernel"
)

// Variable is one name of the user's namespace. Its value is never read by code
// of the person's: only what the interpreter tells of the object itself.
type Variable struct {
	Name  string `json:"name"`
	Type  string `json:"type"`
	Shape string `json:"shape,omitempty"`
	Size  int64  `json:"size"`            // bytes, as far as known without counting
	Value string `json:"value,omitempty"` // of plain values, cut
}

func (v Variable) String() string {
	switch {
	case v.Value != "":
		return v.Value
	case v.Shape != "":
		return v.Type + " " + v.Shape
	}
	return v.Type
}

const maxVariables = 2000

func (l *Live) variables(ctx context.Context) ([]Variable, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	answer, err := l.Ask(ctx, "__import__('json').dumps(__import__('cellar_kernel.variables').variables.listing(get_ipython())).encode().hex()")
	if err != nil {
		return nil, err
	}
	var out []Variable
	if err := json.Unmarshal([]byte(answer), &out); err != nil {
		return nil, err
	}
	return out[:min(len(out), maxVariables)], nil
}

// variablesIfIdle lists the variables unless that would have to wait.
func (l *Live) variablesIfIdle(ctx context.Context) []Variable {
	vars, err := l.variables(ctx)
	if err != nil {
		return nil
	}
	return vars
}

// compare says which variables differ from those of then, or why that is not
// known: an empty list would say that none does.
func (l *Live) compare(ctx context.Context, then []Variable) (list []VariableChange, why string) {
	l.mu.Lock()
	state, busy := l.rec.State, l.book.busy()
	spec, known := l.h.specFor(l.rec)
	l.mu.Unlock()
	switch {
	case !known:
		return nil, "No image of this server has this kernel any more: which variables differ cannot be shown."
	case spec.Language != "python":
		return nil, "This kernel has no list of variables, as it is not a Python kernel: which of them differ cannot be shown."
	case state != kernel.Running:
		return nil, "The kernel does not run at this moment: which variables differ cannot be shown."
	case busy:
		return nil, "A cell is running; it ends unfinished in the present, and stays unfinished in the kept state."
	case then == nil:
		return nil, "The checkpoint has no list of variables: which of them differ cannot be shown."
	}
	now, err := l.variables(ctx)
	if err != nil {
		l.h.Log.Warn("variables not listed", "kernel", l.rec.ID, "error", err)
		return nil, "The kernel did not list its variables: which of them differ cannot be shown."
	}
	return diffVariables(now, then), ""
}

func diffVariables(now, then []Variable) []VariableChange {
	old := map[string]Variable{}
	for _, v := range then {
		old[v.Name] = v
	}
	out := []VariableChange{}
	for _, v := range now {
		o, was := old[v.Name]
		delete(old, v.Name)
		if !was {
			out = append(out, VariableChange{v.Name, v.String(), ""})
		} else if o != v {
			out = append(out, VariableChange{v.Name, v.String(), o.String()})
		}
	}
	for _, v := range then {
		if _, left := old[v.Name]; left {
			out = append(out, VariableChange{v.Name, "", v.String()})
		}
	}
	return out
}
