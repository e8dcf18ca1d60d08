package hub

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestDiffCells(t *testing.T) {
	nb := func(cells string) []sourced {
		t.Helper()
		var parts []string
		for each := range strings.FieldsSeq(cells) {
			id, source, _ := strings.Cut(each, "=")
			parts = append(parts, fmt.Sprintf(`{"id":%q,"cell_type":"code","source":["%s"]}`, id, source))
		}
		list, err := cellsOf([]byte(`{"cells":[` + strings.Join(parts, ",") + `]}`))
		if err != nil {
			t.Fatal(err)
		}
		return list
	}
	for _, c := range []struct{ then, now, want string }{
		{"a=1 b=2", "a=1 b=2", ""},
		{"a=1 b=2 c=3", "a=1 c=4", "gone:b edited:c"},
		{"a=1", "z=0 a=1 y=2", "new:z new:y"},
		{"a=1 b=2", "", "gone:a gone:b"},
		{"", "a=1", "new:a"},
		{"a=1 b=2 c=3", "c=3 a=1", "gone:b"},
		{"a=1 b=2 c=3 d=4", "d=4 a=1 x=5 c=6", "gone:b new:x edited:c"},
	} {
		got := ""
		for _, change := range diffCells(nb(c.now), nb(c.then)).Items {
			got += " " + change.Kind + ":" + change.ID
		}
		if strings.TrimSpace(got) != c.want {
			t.Errorf("%q to %q: %q, want %q", c.then, c.now, got, c.want)
		}
	}
	old, err := cellsOf([]byte(`{"cells":[{"cell_type":"markdown","source":"text"}]}`))
	if err != nil || old[0] != (sourced{"#1", "markdown", "text"}) {
		t.Error(old, err)
	}
	if _, err := cellsOf([]byte("[")); err == nil {
		t.Error("what is no notebook is read")
	}
	for _, r := range []string{"a", "ä", "世", "😀"} { // of one to four bytes
		long := cutText(strings.Repeat(r, maxCellSource))
		if !utf8.ValidString(long) || len(long) > maxCellSource+4 || len(long) < maxCellSource-4 {
			t.Errorf("a long text of %s is cut to %d bytes", r, len(long))
		}
	}
	var many []sourced
	for i := range maxCellChanges + 5 {
		many = append(many, sourced{fmt.Sprint(i), "code", "x"})
	}
	if d := diffCells(many, nil); len(d.Items) != maxCellChanges || d.More != 5 {
		t.Error(len(d.Items), d.More)
	}
}
