package keep

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

func left(t *testing.T, dir string, from uint64) (seqs []uint64, contents []string) {
	t.Helper()
	if err := ReadLeft(dir, from, func(r Record) bool {
		seqs, contents = append(seqs, r.Seq), append(contents, string(r.Message.Content))
		return true
	}); err != nil {
		t.Fatal(err)
	}
	return seqs, contents
}

// What a keeper has written is read without it, over several segments, up to
// where a crash has torn the last.
func TestReadLeft(t *testing.T) {
	dir := t.TempDir()
	j := openJournal(t, dir, 1<<30)
	long := strings.Repeat("x", 3<<20)
	for range 4 { // two segments and a third
		appendAll(t, j, long, "short")
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if len(j.segments) < 2 {
		t.Fatal("one segment only: the test is wrong")
	}
	seqs, contents := left(t, dir, 1)
	if !slices.Equal(seqs, []uint64{1, 2, 3, 4, 5, 6, 7, 8}) || contents[6] != long || contents[7] != "short" {
		t.Errorf("records %v", seqs)
	}
	if seqs, _ := left(t, dir, 8); !slices.Equal(seqs, []uint64{8}) {
		t.Errorf("from 8: %v", seqs)
	}
	last := j.path(j.segments[len(j.segments)-1].first)
	b, err := os.ReadFile(last)
	if err != nil {
		t.Fatal(err)
	}
	os.WriteFile(last, b[:len(b)-1], 0o644)
	if seqs, _ := left(t, dir, 1); !slices.Equal(seqs, []uint64{1, 2, 3, 4, 5, 6, 7}) {
		t.Errorf("a torn end: %v", seqs)
	}
	if seqs, _ := left(t, filepath.Join(dir, "none"), 1); seqs != nil {
		t.Errorf("no journal: %v", seqs)
	}
}

// The folder is the kernel's to write: links are not followed, and an entry that
// says it is huge takes no memory.
func TestReadLeftIsUntrusted(t *testing.T) {
	dir, outside := t.TempDir(), t.TempDir()
	j := openJournal(t, outside, 1<<30)
	appendAll(t, j, "a secret")
	j.Close()
	if err := os.Symlink(j.path(1), filepath.Join(dir, segmentName(1))); err != nil {
		t.Fatal(err)
	}
	if err := ReadLeft(dir, 1, func(r Record) bool { t.Errorf("read through a link: %s", r.Message.Content); return true }); err == nil {
		t.Error("a link in place of a segment is no error")
	}
	os.Remove(filepath.Join(dir, segmentName(1)))
	head := binary.LittleEndian.AppendUint32(nil, 1<<30)
	os.WriteFile(filepath.Join(dir, segmentName(1)), append(head, make([]byte, 100)...), 0o644)
	os.WriteFile(filepath.Join(dir, "1.journal"), []byte("not a name of ours"), 0o644)
	os.Mkdir(filepath.Join(dir, segmentName(7)), 0o755)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if seqs, _ := left(t, dir, 1); seqs != nil {
		t.Errorf("records %v", seqs)
	}
	runtime.ReadMemStats(&after)
	if got := after.TotalAlloc - before.TotalAlloc; got > 64<<20 {
		t.Errorf("%d bytes taken", got)
	}
}
