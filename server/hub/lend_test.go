package hub

import (
	"os"
	"path/filepath"
	"testing"
)

// What was laid out from the archive in another boot may have lost its content in
// a power cut; what never was in the archive, or was laid out since, is kept.
func TestStaleLayOut(t *testing.T) {
	h := &Hub{Config: Config{Data: t.TempDir()}}
	for name, c := range map[string]struct {
		marker *string
		stale  bool
	}{
		"never-laid-out": {nil, false},
		"in-this-boot":   {new(bootID()), false},
		"in-another":     {new("another"), true},
		"zeros":          {new("\x00\x00\x00\x00"), true},
		"empty":          {new(""), true},
	} {
		dir := h.vaultDir(name)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if c.marker != nil {
			if err := os.WriteFile(filepath.Join(dir, laidOut), []byte(*c.marker), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if got := h.staleLayOut(name); got != c.stale {
			t.Errorf("%s: %v", name, got)
		}
	}
}
