package hub

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// SettledStore holds two revisions of a node and nothing else.
type SettledStore struct{ Store }

func (SettledStore) Revisions(context.Context, string) ([]Revision, error) {
	return []Revision{{Node: "n", Number: 3, Files: 2, Checkpoint: "c"}, {Node: "n", Number: 2, Files: 2, Checkpoint: "c"}, {Node: "n", Number: 1, Files: 1, Checkpoint: "c"}}, nil
}

func (SettledStore) Checkpoints(context.Context, string) ([]Checkpoint, error) {
	return []Checkpoint{{ID: "c", Kind: KindPublish}, {ID: "manual", Kind: KindManual}}, nil
}

// Folders are as the records say: one from before there were revisions is that of
// revision 1, also when a hub was killed while it moved, and what nobody knows is
// gone.
func TestNodesAreSettled(t *testing.T) {
	h := &Hub{Config: Config{Data: t.TempDir()}, Store: SettledStore{}, Log: slog.New(slog.DiscardHandler)}
	for _, name := range []string{"n/dump/pages", "n/files/a", "n/r1/journal/b", "n/container.log", "n/r2/dump/pages", "n/r4/dump/pages", "stray/r1/dump/pages"} {
		path := filepath.Join(h.Data, "nodes", name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{"n/container.log", "n/r1/dump/pages", "n/r1/files/a", "n/r1/journal/b", "n/r2/dump/pages"}
	for turn := range 2 {
		if err := h.settleNodes(t.Context()); err != nil {
			t.Fatal(err)
		}
		var got []string
		filepath.WalkDir(filepath.Join(h.Data, "nodes"), func(path string, d os.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				rel, _ := filepath.Rel(filepath.Join(h.Data, "nodes"), path)
				got = append(got, rel)
			}
			return err
		})
		if !slices.Equal(got, want) {
			t.Errorf("turn %d: %v", turn, got)
		}
	}
}

// Deeds of one name take turns, those of others do not wait, and who gives up
// leaves nothing.
func TestDeeds(t *testing.T) {
	var d deeds
	release, err := d.take(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	other, err := d.take(t.Context(), "b")
	if err != nil {
		t.Fatal(err)
	}
	other()
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := d.take(gone, "a"); err == nil {
		t.Error("two at once")
	}
	next := make(chan struct{})
	go func() {
		defer close(next)
		release, err := d.take(t.Context(), "a")
		if err != nil {
			t.Error(err)
			return
		}
		release()
	}()
	release()
	<-next
	if len(d.now) != 0 {
		t.Errorf("%d names are left", len(d.now))
	}
}
