package server

import (
	"os"
	"path/filepath"
	"testing"

	"cellar/server/hub"
	"cellar/server/jupyter/contents"
)

// TestAProjectMadeAgain: whoever opens the files of a project that is being deleted must not keep the next one of that name from its own.
func TestAProjectMadeAgain(t *testing.T) {
	top := t.TempDir()
	trees := &Trees{Dir: func(id string) string { return filepath.Join(top, id) }}
	p := hub.Project{ID: "again"}
	write := func() {
		if err := os.Mkdir(trees.Dir(p.ID), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(trees.Dir(p.ID), "a.txt"), []byte("a"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write()
	first, err := trees.Open(p)
	if err != nil {
		t.Fatal(err)
	}
	if same, err := trees.Open(p); err != nil || same != first {
		t.Errorf("opened twice: %v", err)
	}
	if err := os.RemoveAll(trees.Dir(p.ID)); err != nil {
		t.Fatal(err)
	}
	if _, err := trees.Open(p); err == nil { // as a kernel's last outputs are written
		t.Error("the files of no project were opened")
	}
	write()
	tree, err := trees.Open(p)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tree.Get("a.txt", contents.Want{}); err != nil {
		t.Error(err)
	}
}
