package hub

import (
	"context"
	"io/fs"
	"os"
	"path"
	"strings"
	"testing"
)

// A kernel may put things in the way while packages are moved: what cannot be
// moved back stays where it went.
func TestMoveThatCannotBeUndone(t *testing.T) {
	root, err := os.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	for _, name := range []string{"one/a", "two/b"} {
		if err := root.MkdirAll(path.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := root.WriteFile(name, []byte(name), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	const aside = ".cellar/packages-1"
	_, err = move(context.Background(), root, []string{"one", "two"}, func(place string) (string, string) {
		if place == "two" { // what a kernel does meanwhile: the way back is blocked, and so is this one
			root.MkdirAll("one/in/the/way", 0o755)
			root.MkdirAll(path.Join(aside, "two/in/the/way"), 0o755)
		}
		return place, path.Join(aside, place)
	})
	if err == nil {
		t.Fatal("the move succeeded: the test is wrong")
	}
	removeEmpty(root, aside)
	var found []string
	fs.WalkDir(root.FS(), ".", func(name string, d fs.DirEntry, _ error) error {
		if !d.IsDir() {
			found = append(found, name)
		}
		return nil
	})
	if got := strings.Join(found, " "); got != ".cellar/packages-1/one/a two/b" {
		t.Errorf("there is %s", got)
	}
	if _, err := root.Stat(path.Join(aside, "two")); err == nil {
		t.Error("an empty folder is left")
	}
}
