package contents

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

// A notebook of format 3 opens as Jupyter's own upgrade makes it.
func TestUpgradeFrom3(t *testing.T) {
	rows := []struct{ name, cell, want string }{
		{"code", `{"cell_type":"code","language":"python","collapsed":true,"input":["a\n","b"],"prompt_number":2,"metadata":{},"outputs":[
			{"output_type":"pyout","prompt_number":2,"metadata":{},"text":["4"],"png":"iVBO"},
			{"output_type":"stream","stream":"stderr","text":["x"]},
			{"output_type":"stream","text":"y"},
			{"output_type":"display_data","html":["<b>"],"latex":"$x$"},
			{"output_type":"pyerr","ename":"E","evalue":"v","traceback":["t"]}]}`,
			`{"cell_type":"code","source":"a\nb","execution_count":2,"metadata":{"collapsed":true},"outputs":[
			{"output_type":"execute_result","execution_count":2,"metadata":{},"data":{"text/plain":"4","image/png":"iVBO"}},
			{"output_type":"stream","name":"stderr","text":"x"},
			{"output_type":"stream","name":"stdout","text":"y"},
			{"output_type":"display_data","metadata":{},"data":{"text/html":"<b>","text/latex":"$x$"}},
			{"output_type":"error","ename":"E","evalue":"v","traceback":["t"]}]}`},
		{"heading", `{"cell_type":"heading","level":3,"source":["A"],"metadata":{}}`, `{"cell_type":"markdown","source":"### A","metadata":{}}`},
		{"heading of no level", `{"cell_type":"heading","level":99,"source":"A"}`, `{"cell_type":"markdown","source":"# A","metadata":{}}`},
		{"html", `{"cell_type":"html","source":"<i>","metadata":{}}`, `{"cell_type":"markdown","source":"<i>","metadata":{}}`},
		{"raw", `{"cell_type":"raw","source":"r","metadata":{}}`, `{"cell_type":"raw","source":"r","metadata":{}}`},
	}
	for _, row := range rows {
		nb, err := parseNotebook([]byte(`{"nbformat":3,"nbformat_minor":0,"metadata":{"name":"n"},"worksheets":[{"cells":[` + row.cell + `]}]}`))
		if err != nil {
			t.Errorf("%s: %v", row.name, err)
			continue
		}
		if what := invalid(&nb); what != "" {
			t.Errorf("%s: %s", row.name, what)
		}
		cell := nb.get("cells").kids[0]
		if !validID(cell.get("id").str()) {
			t.Errorf("%s: the cell has no ID", row.name)
		}
		cell.drop("id")
		var got, want any
		if err := json.Unmarshal(cell.appendCompact(nil), &got); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal([]byte(row.want), &want); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %s", row.name, cell.appendCompact(nil))
		}
		if disk := string(diskForm(&nb)); strings.Contains(disk, "worksheets") || !strings.Contains(disk, `"nbformat": 4`) {
			t.Errorf("%s is saved as %s", row.name, disk)
		}
	}
}

func TestInvalid(t *testing.T) {
	rows := []struct{ cell, want string }{
		{`{"cell_type":"code","source":"","outputs":[]}`, ""},
		{`{"cell_type":"markdown","source":""}`, ""},
		{`{"cell_type":"spoon","source":""}`, "type of a cell"},
		{`{"source":""}`, "type of a cell"},
		{`{"cell_type":"markdown","outputs":[]}`, "has no outputs"},
		{`{"cell_type":"code","execution_count":"1"}`, "execution_count"},
		{`{"cell_type":"code","outputs":[{"output_type":"spoon"}]}`, "type of an output"},
		{`{"cell_type":"code","outputs":[1]}`, "type of an output"},
		{`{"cell_type":"code","outputs":[{"output_type":"stream","text":"x"}]}`, "output 1: its name"},
		{`{"cell_type":"code","outputs":[{"output_type":"stream","name":"stdout","text":{}}]}`, "its text"},
		{`{"cell_type":"code","outputs":[{"output_type":"error","ename":"E","evalue":"v","traceback":"t"}]}`, "its traceback"},
		{`{"cell_type":"code","outputs":[{"output_type":"display_data","data":{}}]}`, "its metadata"},
		{`{"cell_type":"code","metadata":{"tags":"a"}}`, "tags"},
	}
	for _, row := range rows {
		nb, err := parseNotebook([]byte(`{"nbformat":4,"nbformat_minor":5,"cells":[` + row.cell + `]}`))
		if err != nil {
			t.Fatal(err)
		}
		got := invalid(&nb)
		if row.want == "" && got != "" || !strings.Contains(got, row.want) {
			t.Errorf("%s: %q, want %q", row.cell, got, row.want)
		}
	}
}
