package tour

import (
	"encoding/json"
	"regexp"
	"slices"
	"testing"
)

// cellID is what nbformat 4.5 allows for the id of a cell.
var cellID = regexp.MustCompile(`^[a-zA-Z0-9-_]{1,64}$`)

// TestTheTourIsANotebook checks what nbformat 4.5's schema requires.
func TestTheTourIsANotebook(t *testing.T) {
	var nb struct {
		Major    int                        `json:"nbformat"`
		Minor    int                        `json:"nbformat_minor"`
		Metadata map[string]json.RawMessage `json:"metadata"`
		Cells    []map[string]json.RawMessage
	}
	if err := json.Unmarshal(notebook, &nb); err != nil {
		t.Fatal(err)
	}
	if nb.Major != 4 || nb.Minor != 5 || nb.Metadata == nil || len(nb.Cells) == 0 {
		t.Fatalf("nbformat %d.%d, %d cells, metadata %v", nb.Major, nb.Minor, len(nb.Cells), nb.Metadata)
	}
	seen := map[string]string{}
	for i, cell := range nb.Cells {
		var id, kind string
		json.Unmarshal(cell["id"], &id)
		json.Unmarshal(cell["cell_type"], &kind)
		if !cellID.MatchString(id) {
			t.Errorf("cell %d: id %q", i, id)
		}
		if _, twice := seen[id]; twice {
			t.Errorf("the id %q is there twice", id)
		}
		seen[id] = kind
		want := []string{"cell_type", "id", "metadata", "source"}
		if kind == "code" {
			want = []string{"cell_type", "execution_count", "id", "metadata", "outputs", "source"}
			if string(cell["execution_count"]) != "null" || !regexp.MustCompile(`^\[\s*\]$`).Match(cell["outputs"]) {
				t.Errorf("cell %s has been run: a tour begins unread", id)
			}
		}
		var keys []string
		for k := range cell {
			keys = append(keys, k)
		}
		if slices.Sort(keys); !slices.Equal(keys, want) {
			t.Errorf("cell %s has %v, want %v", id, keys, want)
		}
		var lines []string
		var text string
		if json.Unmarshal(cell["source"], &lines) != nil && json.Unmarshal(cell["source"], &text) != nil {
			t.Errorf("cell %s: source is neither text nor lines", id)
		}
	}
	if seen["predict"] != "code" { // the cell that the documentation publishes
		t.Errorf("predict is %q", seen["predict"])
	}
}
