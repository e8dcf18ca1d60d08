package hub

import (
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
)

// TestWhatWasOnItsWayGoes: a hub that begins removes variables that one before it
// left in a home, nothing else, and is not held up by what a kernel put there.
func TestWhatWasOnItsWayGoes(t *testing.T) {
	h, _ := timedHub(t)
	home := func(project string) string {
		dir := filepath.Join(h.Data, "projects", project, "home")
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	kept := filepath.Join(home("plain"), asideTop)
	outside := t.TempDir()
	for _, dir := range []string{kept, outside} {
		os.MkdirAll(dir, 0o700)
		for _, name := range []string{variablesPrefix + "abc", "other"} {
			if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := os.Symlink(outside, filepath.Join(home("link"), asideTop)); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(home("pipe"), asideTop), 0o600); err != nil {
		t.Fatal(err)
	}
	home("empty")
	h.sweepVariables()
	for dir, want := range map[string][]string{kept: {"other"}, outside: {"other", variablesPrefix + "abc"}} {
		var names []string
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			names = append(names, e.Name())
		}
		if !slices.Equal(names, want) {
			t.Errorf("%s: %q, want %q", dir, names, want)
		}
	}
}
