package hub

import (
	"context"
	"encoding/json"
	"time"
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
