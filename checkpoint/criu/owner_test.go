package criu

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/checkpoint-restore/go-criu/v8/crit"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/userns"
)

// TestRebase: the copy has other IDs, what it is a link of stays, and IDs that are
// not the project's are refused.
func TestRebase(t *testing.T) {
	dir, copied := t.TempDir(), t.TempDir()
	extent := func(inside, outside, n uint32) *userns.UidGidExtent {
		return &userns.UidGidExtent{First: new(inside), LowerFirst: new(outside), Count: new(n)}
	}
	img := &crit.CriuImage{Magic: "USERNS", EntryType: &userns.UsernsEntry{}, Entries: []*crit.CriuEntry{{Message: &userns.UsernsEntry{
		UidMap: []*userns.UidGidExtent{extent(0, 131072, 65536)}, GidMap: []*userns.UidGidExtent{extent(0, 131072, 1000), extent(1000, 132072, 10)},
	}}}}
	name := filepath.Join(dir, "userns-10.img")
	if err := encode(name, img); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(name, filepath.Join(copied, "userns-10.img")); err != nil {
		t.Fatal(err)
	}
	if err := Rebase(copied, 131072, 262144, 65536); err != nil {
		t.Fatal(err)
	}
	first := func(dir string) (out []uint32) {
		img, err := decode(filepath.Join(dir, "userns-10.img"), &userns.UsernsEntry{})
		if err != nil {
			t.Fatal(err)
		}
		u := img.Entries[0].Message.(*userns.UsernsEntry)
		for _, x := range append(u.UidMap, u.GidMap...) {
			out = append(out, x.GetLowerFirst())
		}
		return out
	}
	if got := first(copied); got[0] != 262144 || got[1] != 262144 || got[2] != 263144 {
		t.Errorf("%v", got)
	}
	if got := first(dir); got[0] != 131072 {
		t.Errorf("the first dump has changed: %v", got)
	}
	if err := Rebase(copied, 131072, 0, 65536); err == nil {
		t.Error("foreign IDs were moved")
	}
	if err := Rebase(t.TempDir(), 0, 65536, 65536); err == nil {
		t.Error("a dump without a user namespace was taken")
	}
}
