package contents

import (
	"fmt"
	"slices"
)

// invalid says in a sentence what is wrong with a notebook in memory by the schema of format 4, "" when
// nothing is. Jupyter opens and saves such a notebook all the same and tells this beside it; so do we.
// It looks at what front ends stumble over: kinds of cells and outputs and the members they must have.
func invalid(nb *value) string {
	for i, cell := range nb.get("cells").items() {
		if what := invalidCell(&cell); what != "" {
			return fmt.Sprintf("Notebook validation failed: cell %d: %s", i+1, what)
		}
	}
	return ""
}

func invalidCell(cell *value) string {
	switch kind := cell.get("cell_type").str(); kind {
	case "raw", "markdown":
		if cell.get("outputs") != nil || cell.get("execution_count") != nil {
			return fmt.Sprintf("a %s cell has no outputs and no execution_count.", kind)
		}
	case "code":
		if n := cell.get("execution_count"); !isNull(n) && !n.is(kindNumber) {
			return "its execution_count is neither a number nor null."
		}
		for i, out := range cell.get("outputs").items() {
			if what := invalidOutput(&out); what != "" {
				return fmt.Sprintf("output %d: %s", i+1, what)
			}
		}
	default:
		return fmt.Sprintf("%.40q is no type of a cell.", kind)
	}
	if tags := cell.get("metadata").get("tags"); tags != nil && !tags.is(kindArray) {
		return "its tags are no list."
	}
	return ""
}

// isNull is also true of what is not there.
func isNull(v *value) bool { return v == nil || v.is(kindLiteral) && string(v.text) == "null" }

// outputMembers are what an output of each type must have, and of which kinds.
var outputMembers = map[string][]struct {
	name  string
	kinds string
}{
	"stream":         {{"name", `"`}, {"text", `"[`}},
	"error":          {{"ename", `"`}, {"evalue", `"`}, {"traceback", `[`}},
	"display_data":   {{"data", `{`}, {"metadata", `{`}},
	"execute_result": {{"data", `{`}, {"metadata", `{`}},
}

func invalidOutput(out *value) string {
	kind := out.get("output_type").str()
	members, known := outputMembers[kind]
	if !known {
		return fmt.Sprintf("%.40q is no type of an output.", kind)
	}
	for _, m := range members {
		v := out.get(m.name)
		if !slices.ContainsFunc([]byte(m.kinds), v.is) {
			return fmt.Sprintf("its %s is missing or of the wrong kind.", m.name)
		}
	}
	return ""
}
