package criu

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/checkpoint-restore/go-criu/v8/crit"
	remap "github.com/checkpoint-restore/go-criu/v8/crit/images/remap-file-path"
)

// remaps says of files of a dump that they had lost their names.
func remaps(t *testing.T, dir string, entries ...*remap.RemapFilePathEntry) {
	t.Helper()
	img := &crit.CriuImage{Magic: "REMAP_FPATH", EntryType: &remap.RemapFilePathEntry{}}
	for _, e := range entries {
		img.Entries = append(img.Entries, &crit.CriuEntry{Message: e})
	}
	if err := encode(filepath.Join(dir, "remap-fpath.img"), img); err != nil {
		t.Fatal(err)
	}
}

// TestADeletedFileIsInTheDump: what had no name when it was dumped is neither made
// anew nor compared with what has its name now; what CRIU kept by a link has the
// size of that, and is made anew when that is gone.
func TestADeletedFileIsInTheDump(t *testing.T) {
	top, onMachine := project(t, map[string]string{"again": "1234567", ".link_remap.1": "12345"})
	dir := dump(t, open{"/home/deleted", 9}, open{"/home/again", 9}, open{"/home/linked", 3}, open{"/home/.link_remap.1", -1}, open{"/home/lost", 3}, open{"/home/.link_remap.2", -1})
	remaps(t, dir,
		&remap.RemapFilePathEntry{OrigId: new(uint32(1)), RemapId: new(uint32(1)), RemapType: remap.RemapType_GHOST.Enum()},
		&remap.RemapFilePathEntry{OrigId: new(uint32(2)), RemapId: new(uint32(2)), RemapType: remap.RemapType_GHOST.Enum()},
		&remap.RemapFilePathEntry{OrigId: new(uint32(3)), RemapId: new(uint32(4)), RemapType: remap.RemapType_LINKED.Enum()},
		&remap.RemapFilePathEntry{OrigId: new(uint32(5)), RemapId: new(uint32(6)), RemapType: remap.RemapType_LINKED.Enum()})
	moved := func(name string, size uint64) string { return "/home/again" }
	changed, err := AdoptSizes(dir, onMachine, moved)
	if err != nil {
		t.Fatal(err)
	}
	if want := []Changed{{Name: "/home/linked", Was: 3, Is: 5}, {Name: "/home/lost", Was: 3, Gone: true}}; !reflect.DeepEqual(modeless(changed), want) {
		t.Errorf("changed %+v, want %+v", changed, want)
	}
	want := map[string]uint64{"/home/deleted": 9, "/home/again": 9, "/home/linked": 5, "/home/.link_remap.1": 0, "/home/lost": 0, "/home/.link_remap.2": 0}
	if got := sizes(t, dir); !reflect.DeepEqual(got, want) {
		t.Errorf("sizes %v, want %v", got, want)
	}
	if st, err := os.Lstat(filepath.Join(top, ".link_remap.2")); err != nil || st.Size() != 0 {
		t.Errorf("the link that was gone: %v, %v", st, err)
	}
	for _, name := range []string{"deleted", "linked", "lost"} {
		if _, err := os.Lstat(filepath.Join(top, name)); err == nil {
			t.Errorf("%s was made anew", name)
		}
	}
}
