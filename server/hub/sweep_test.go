package hub

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
)

// A hub sweeps what it finds under its name in the machine's shared memory, so
// it does not begin without one.
func TestAHubNeedsAName(t *testing.T) {
	for _, name := range []string{"", ".."} {
		h := &Hub{Config: Config{Data: t.TempDir(), ShortName: name}, Log: slog.New(slog.DiscardHandler)}
		if _, err := Open(context.Background(), h, nil); err == nil {
			t.Errorf("a hub named %q is opened", name)
		}
	}
}

// Of the dumps in memory those are swept that nobody names; what is no dump is
// nobody's business.
func TestSweepMoves(t *testing.T) {
	h := &Hub{Config: Config{ShortName: "celtest-" + filepath.Base(t.TempDir()) + newID()}}
	t.Cleanup(func() { os.RemoveAll(h.moveRoot()) })
	names := map[string]bool{"move-named": true, "move-draining": true, "move-left": false, "foreign": true}
	for name := range names {
		if err := os.MkdirAll(filepath.Join(h.moveRoot(), name, "dump"), 0o711); err != nil {
			t.Fatal(err)
		}
	}
	h.sweepMoves([]Kernel{{Checkpoint: "move-named"}}, map[string]string{"c": h.dumpDir("move-draining")})
	for name, stays := range names {
		if _, err := os.Stat(filepath.Join(h.moveRoot(), name)); (err == nil) != stays {
			t.Errorf("%s is there: %v", name, err == nil)
		}
	}
}
