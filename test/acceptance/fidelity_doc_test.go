package acceptance

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cellar/internal/testkit"
)

// TestFidelityIsDocumented: docs/fidelity.md has the table that TestFidelity holds
// sessions to. CELLAR_WRITE_DOCS=1 writes it there.
func TestFidelityIsDocumented(t *testing.T) {
	const begin, end = "<!-- The table: CELLAR_WRITE_DOCS=1 go test -run TestFidelityIsDocumented ./test/acceptance -->\n", "<!-- The table ends. -->\n"
	name := filepath.Join(testkit.Root(), "docs", "fidelity.md")
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := strings.Cut(string(b), begin)
	old, foot, ends := strings.Cut(rest, end)
	if !ok || !ends {
		t.Fatalf("%s has no place for the table", name)
	}
	table := fidelityTable()
	if old == table {
		return
	}
	if os.Getenv("CELLAR_WRITE_DOCS") == "" {
		t.Fatalf("%s has another table than the test; CELLAR_WRITE_DOCS=1 writes it", name)
	}
	if err := os.WriteFile(name, []byte(head+begin+table+end+foot), 0o644); err != nil {
		t.Fatal(err)
	}
}

func fidelityTable() string {
	var b strings.Builder
	b.WriteString("\n| | hibernate | apply | branch | move | pickle | what to know |\n|---|---|---|---|---|---|---|\n")
	for _, th := range things {
		fmt.Fprintf(&b, "| %s |", th.name)
		for _, deed := range []string{"hibernate", "apply", "branch", "move", "pickle"} {
			fmt.Fprintf(&b, " %s |", spoken(th.after(deed)))
		}
		fmt.Fprintf(&b, " %s |\n", th.know)
	}
	return b.String() + "\n"
}

// spoken is an answer as a person reads it.
func spoken(answer string) string {
	answer = strings.TrimSpace(answer)
	switch {
	case answer == "True":
		return "yes"
	case strings.HasSuffix(answer, "False"):
		return "no"
	case answer == refused:
		return answer
	}
	if text, ok := strings.CutPrefix(answer, "'"); ok { // Python's text
		answer = strings.TrimSuffix(text, "'")
	}
	return "no: `" + strings.ReplaceAll(answer, "`", "'") + "`"
}
