package blob_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"cellar/checkpoint/vault/blob"
	"cellar/checkpoint/vault/blob/blobtest"
)

func TestDisk(t *testing.T) {
	blobtest.Run(t, func(t *testing.T) blob.Store { return disk(t, t.TempDir()) })
}

func TestFailing(t *testing.T) {
	blobtest.Run(t, func(t *testing.T) blob.Store { return blobtest.NewFailing() })
}

func disk(t *testing.T, dir string) *blob.Disk {
	t.Helper()
	d, err := blob.OpenDisk(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

func put(t *testing.T, s blob.Store, name, text string) {
	t.Helper()
	if err := s.Put(context.Background(), name, func(w io.Writer) error { _, err := io.WriteString(w, text); return err }); err != nil {
		t.Fatal(err)
	}
}

// What another process replaces is seen by one that kept the old file open.
func TestReplacedByAnother(t *testing.T) {
	dir := t.TempDir()
	writer, reader := disk(t, dir), disk(t, dir)
	for _, text := range []string{"one", "three"} {
		put(t, writer, "man/a", text)
		size, err := reader.Size(context.Background(), "man/a")
		p := make([]byte, size)
		if err == nil {
			err = reader.ReadAt(context.Background(), "man/a", p, 0)
		}
		if err != nil || string(p) != text {
			t.Errorf("%q, %v; want %q", p, err, text)
		}
	}
}

func TestOpenFilesAreBounded(t *testing.T) {
	d := disk(t, t.TempDir())
	for i := range 100 {
		name := fmt.Sprintf("seg/%d", i)
		put(t, d, name, "x")
		if err := d.ReadAt(context.Background(), name, make([]byte, 1), 0); err != nil {
			t.Fatal(err)
		}
	}
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	if len(fds) > 90 {
		t.Errorf("%d files are open", len(fds))
	}
}

func TestSweep(t *testing.T) {
	dir := t.TempDir()
	d := disk(t, dir)
	left := filepath.Join(dir, ".tmp", "put-1")
	if err := os.WriteFile(left, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := d.Sweep(context.Background()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(left); !os.IsNotExist(err) {
		t.Errorf("still there: %v", err)
	}
}
