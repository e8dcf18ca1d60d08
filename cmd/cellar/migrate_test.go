package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cellar/server/store"
)

// command runs the program in this process.
func command(t *testing.T, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, trouble bytes.Buffer
	status = run(t.Context(), args, &out, &trouble)
	return status, out.String(), trouble.String()
}

func TestMigrate(t *testing.T) {
	old := t.TempDir() // its database is older than every step: an empty file
	if err := os.WriteFile(filepath.Join(old, "cellar.db"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	status, out, trouble := command(t, "migrate", "--data", old, "--check")
	if status != 3 || !strings.Contains(out, "pending: 0001_first\n") || !strings.Contains(trouble, "pending") {
		t.Errorf("--check: %d %q %q", status, out, trouble)
	}
	if list, err := store.Pending(t.Context(), filepath.Join(old, "cellar.db")); err != nil || len(list) == 0 {
		t.Errorf("--check changed the database: %v, %v", list, err)
	}

	hub := &world{dataFlags: dataFlags{Data: old}} // a running hub is the one that has the lock
	if err := hub.takeLock(); err != nil {
		t.Fatal(err)
	}
	if status, out, _ := command(t, "migrate", "--data", old, "--check"); status != 3 || !strings.Contains(out, "pending: ") {
		t.Errorf("--check beside a hub: %d %q", status, out)
	}
	if status, out, trouble = command(t, "migrate", "--data", old); status != 1 || out != "" || !strings.Contains(trouble, "running") {
		t.Errorf("beside a hub: %d %q %q", status, out, trouble)
	}
	if list, err := store.Pending(t.Context(), filepath.Join(old, "cellar.db")); err != nil || len(list) == 0 {
		t.Errorf("it migrated beside a hub: %v, %v", list, err)
	}
	hub.close()

	if status, out, trouble = command(t, "migrate", "--data", old); status != 0 || !strings.Contains(out, "applied: 0001_first\n") || trouble != "" {
		t.Errorf("migrate: %d %q %q", status, out, trouble)
	}
	for _, args := range [][]string{{"migrate", "--data", old}, {"migrate", "--data", old, "--check"}} {
		if status, out, trouble = command(t, args...); status != 0 || !strings.Contains(out, "up to date") || trouble != "" {
			t.Errorf("%v afterwards: %d %q %q", args, status, out, trouble)
		}
	}
}

func TestMigrateWithoutADatabase(t *testing.T) {
	dir := t.TempDir()
	for name, data := range map[string]string{"data folder": filepath.Join(dir, "none"), "database": dir} {
		status, out, trouble := command(t, "migrate", "--data", data)
		if status != 1 || out != "" || !strings.Contains(trouble, "there is no "+name) {
			t.Errorf("no %s: %d %q %q", name, status, out, trouble)
		}
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 0 {
		t.Errorf("something was made: %v", entries)
	}
	if status, _, _ := command(t, "migrate", "--nonsense"); status != 2 {
		t.Errorf("a flag that does not exist: %d", status)
	}
}
