package hub

import (
	"fmt"
	"strings"
	"testing"
)

func shows(texts ...string) string {
	var outputs []string
	for _, text := range texts {
		outputs = append(outputs, fmt.Sprintf(`{"output_type":"display_data","metadata":{},"data":{ "text/plain":%q}}`, text))
	}
	return `{"cells":[{"cell_type":"code","id":"a","source":"","metadata":{},"execution_count":1,"outputs":[` + strings.Join(outputs, ",") + `]},{"cell_type":"code","id":"b","source":"","metadata":{},"execution_count":2,"outputs":[]}],"metadata":{},"nbformat":4,"nbformat_minor":5}`
}

// TestUpdatesOfOutputsThatANotebookCarries: cell b changes what cell a has shown,
// when the notebook has a's outputs already and the hub need not keep its run.
func TestUpdatesOfOutputsThatANotebookCarries(t *testing.T) {
	j := newJournal(t)
	j.request("ra", "a")
	j.busy("ra")
	j.display("ra", "display_data", "bar", `{"text/plain":"0 %"}`)
	j.display("ra", "display_data", "", `{"text/plain":"0 %"}`)
	j.idle("ra").settled = true
	j.b.forget()
	j.request("rb", "b")
	j.busy("rb")
	j.display("rb", "update_display_data", "bar", `{"text/plain":"50 %"}`)
	j.display("rb", "update_display_data", "bar", `{"text/plain":"100 %"}`)
	j.display("rb", "update_display_data", "other", `{"text/plain":"no"}`)

	laid := func(nb string) string {
		t.Helper()
		out, err := patchOver([]byte(nb), j.b.patchesOf("x.ipynb"))
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	for name, c := range map[string]struct{ from, to string }{
		"as it was saved":            {shows("0 %", "1"), shows("100 %", "1")},
		"as a tab had it in between": {shows("50 %", "1"), shows("100 %", "1")},
		"as a tab that was there":    {shows("100 %", "1"), shows("100 %", "1")},
		"a person has cleared it":    {shows(), shows()},
		"something else is there":    {shows("7", "8"), shows("7", "8")},
		"the cell is not there":      {strings.Replace(shows("0 %"), `"id":"a"`, `"id":"z"`, 1), strings.Replace(shows("0 %"), `"id":"a"`, `"id":"z"`, 1)},
	} {
		got := laid(c.from)
		sameJSON(t, name, got, c.to)
		if c.from == c.to && got != c.from {
			t.Errorf("%s: written anew for nothing", name)
		}
	}
	if out, err := patchOver([]byte(shows("0 %")), j.b.patchesOf("y.ipynb")); err != nil || string(out) != shows("0 %") {
		t.Errorf("another notebook: %s %v", out, err)
	}

	// The file is written once for each change.
	dirty := func() (n int) {
		for _, p := range j.b.patches {
			if !p.written {
				n++
			}
		}
		return n
	}
	before := *j.b.patches[0]
	if dirty() != 1 {
		t.Errorf("%d are to be written", dirty())
	}
	j.display("rb", "update_display_data", "bar", `{"text/plain":"done"}`)
	j.b.markWritten([]patch{before}) // what was written is older
	if dirty() != 1 {
		t.Error("the newer one is taken for written")
	}
	j.b.markWritten([]patch{*j.b.patches[0]})
	if dirty() != 0 {
		t.Error("it is written again")
	}

	// A new run of the cell, and a new life of the kernel, begin anew.
	j.request("ra2", "a")
	if len(j.b.patches) != 0 || len(j.b.shown) != 0 {
		t.Errorf("after a new run: %v, %v", j.b.patches, j.b.shown)
	}
}

func TestDisplaysAreBounded(t *testing.T) {
	j := newJournal(t)
	for i := range maxShown + 50 {
		id, cell := fmt.Sprintf("r%d", i), fmt.Sprintf("c%d", i)
		j.request(id, cell)
		j.busy(id)
		j.display(id, "display_data", "d", `{"text/plain":"0"}`)
		j.idle(id).settled = true
		j.b.forget()
	}
	j.request("u", "u")
	large := fmt.Sprintf(`{"text/plain":%q}`, strings.Repeat("x", maxPatchBytes/50))
	j.display("u", "update_display_data", "d", large)
	size := 0
	for _, p := range j.b.patches {
		size += len(p.data)
	}
	if len(j.b.shown) > maxShown || len(j.b.patches) > maxPatches || size > maxPatchBytes || len(j.b.patches) == 0 {
		t.Errorf("%d shown, %d patches of %d bytes", len(j.b.shown), len(j.b.patches), size)
	}
	j.b.age()
	if len(j.b.shown) != 0 {
		t.Error("a new life remembers what an earlier one has shown")
	}
}
