package hub

import (
	"context"

	"cellar/internal/fault"
	"cellar/kernel"
)

// compare says which variables differ from those of then, or why that is not
// known: an empty list would say that none does.
func (l *Live) compare(ctx context.Context, then []Variable) (list []VariableChange, why string) {
	l.mu.Lock()
	rec, busy := l.rec, l.book.busy()
	spec, known := l.h.specFor(l.rec)
	l.mu.Unlock()
	switch {
	case !known:
		return nil, "No image of this server has this kernel any more: which variables differ cannot be shown."
	case spec.Language != "python":
		return nil, "This kernel has no list of variables, as it is not a Python kernel: which of them differ cannot be shown."
	case then == nil:
		return nil, "The checkpoint has no list of variables: which of them differ cannot be shown."
	case rec.State != kernel.Running && rec.State != kernel.Hibernated:
		return nil, "The kernel does not run at this moment: which variables differ cannot be shown."
	}
	now, err := l.Variables(ctx)
	if err == nil && !now.Live && rec.State != kernel.Hibernated {
		err = errNoAnswer // of what it said earlier nothing follows
	}
	if err != nil {
		return nil, "Which variables differ cannot be shown. " + fault.Sentence(err)
	}
	switch {
	case now.Total > len(now.Items) || len(then) >= maxVariables:
		why = "There are more variables than are listed: only those that both lists have are compared."
	case busy:
		why = "A cell is running; it ends unfinished in the present, and stays unfinished in the kept state."
	}
	return diffVariables(now.Items, then, now.Total > len(now.Items) || len(then) >= maxVariables), why
}

// diffVariables lists what differs; of lists that are cut, only names in both
// tell something.
func diffVariables(now, then []Variable, cut bool) []VariableChange {
	old := map[string]Variable{}
	for _, v := range then {
		old[v.Name] = v
	}
	out := []VariableChange{}
	for _, v := range now {
		o, was := old[v.Name]
		delete(old, v.Name)
		if !was && !cut {
			out = append(out, VariableChange{v.Name, v.String(), ""})
		} else if was && !o.same(v) {
			out = append(out, VariableChange{v.Name, v.String(), o.String()})
		}
	}
	for _, v := range then {
		if _, left := old[v.Name]; left && !cut {
			out = append(out, VariableChange{v.Name, "", v.String()})
		}
	}
	return out
}
