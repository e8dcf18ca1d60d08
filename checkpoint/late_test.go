package checkpoint

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"cellar/checkpoint/vault"
	"cellar/kernel/pager"
)

// TestAHollowDump: what may come late is not in its files, and is found in the
// vault, also by a reader that was open before the vault was collected.
func TestAHollowDump(t *testing.T) {
	ctx, dir := t.Context(), t.TempDir()
	keys := memoryKeys{}
	a := openArchive(t, filepath.Join(dir, "archive"), keys)
	const early, late, more = 50, 2000, 700
	memory := random(4, (early+late+more)*vault.PageSize)
	regions := []region{{start: 0x400000, pages: early}, {start: 0x7f0000000000, pages: late, late: true}, {start: 0x7f1000000000, pages: more, late: true}}
	in := filepath.Join(dir, "in")
	dump(t, in, regions, memory)
	p := Place{"ann", "digits", "one"}
	// Others of the same vault come before and after it, and go.
	var others []Place
	save := func(id string, memory []byte) {
		other := filepath.Join(dir, "other-"+id)
		dump(t, other, regions, memory)
		o := Place{"ann", "digits", id}
		_, _, err := a.Save(ctx, o, other, "", nil)
		ok(t, err)
		others = append(others, o)
	}
	mixed := bytes.Clone(memory)
	for i := 0; i < len(mixed); i += 3 * vault.PageSize { // two pages of three are also this one's
		copy(mixed[i:], random(uint64(i), vault.PageSize))
	}
	save("before", mixed)
	_, _, err := a.Save(ctx, p, in, "", nil)
	ok(t, err)
	save("after", random(6, len(memory)))

	out := filepath.Join(dir, "out")
	asked := ""
	ok(t, a.Load(ctx, p, out, func(dump string) (bool, error) {
		asked = dump
		lazy, all, err := pager.LazyBytes(dump)
		if lazy != (late+more)*vault.PageSize || all != int64(len(memory)) {
			err = fmt.Errorf("%d of %d bytes may come late", lazy, all)
		}
		return true, err
	}))
	if asked != filepath.Join(out, Dump) || !pager.Hollow(asked) {
		t.Errorf("asked of %q, hollow: %v", asked, pager.Hollow(asked))
	}
	ok(t, pager.Check(asked))
	b, err := os.ReadFile(filepath.Join(asked, "pages-3.img"))
	ok(t, err)
	if !bytes.Equal(b[:early*vault.PageSize], memory[:early*vault.PageSize]) {
		t.Error("what CRIU reads itself is not there")
	}
	if !bytes.Equal(b[early*vault.PageSize:], make([]byte, (late+more)*vault.PageSize)) {
		t.Error("what comes late is there, too")
	}
	st, err := os.Stat(filepath.Join(asked, "pages-3.img"))
	ok(t, err)
	if held := st.Sys().(*syscall.Stat_t).Blocks * 512; held > 2*early*vault.PageSize {
		t.Errorf("the hollow file takes %d bytes", held)
	}
	if _, _, err := a.Save(ctx, Place{"ann", "digits", "again"}, out, "", nil); err == nil {
		t.Error("a hollow folder was stored")
	}

	key, err := a.LateKey(ctx, "ann")
	ok(t, err)
	open, err := OpenLate(asked, vault.Key(key))
	ok(t, err)
	source, err := open(filepath.Join(asked, "pages-3.img"))
	ok(t, err)
	defer source.Close()
	if !source.ByAddress() {
		t.Error("pages are not found by address")
	}
	check := func(from, pages, at uint64) {
		t.Helper()
		for done := uint64(0); done < pages*vault.PageSize; {
			b, err := source.Pages(from+done, pages*vault.PageSize-done)
			ok(t, err)
			if !bytes.Equal(b, memory[at+done:at+done+uint64(len(b))]) {
				t.Fatalf("other bytes at %#x", from+done)
			}
			done += uint64(len(b))
		}
	}
	check(0x7f0000000000, 10, early*vault.PageSize)
	for _, o := range others {
		ok(t, a.Delete(ctx, o))
	}
	got, err := a.Collect(ctx, "ann")
	ok(t, err)
	if got.Removed == 0 {
		t.Errorf("nothing was collected: %+v", got)
	}
	check(0x7f0000000000, late, early*vault.PageSize)
	check(0x7f1000000000, more, (early+late)*vault.PageSize)
	if _, err := open(filepath.Join(asked, "pages-9.img")); err == nil {
		t.Error("a pages file that is not there was opened")
	}
	if open, err := OpenLate(asked, vault.Key{9}); err == nil {
		if s, err := open(filepath.Join(asked, "pages-3.img")); err == nil {
			if _, err := s.Pages(0x7f0000000000, vault.PageSize); err == nil {
				t.Error("read with another key")
			}
		}
	}
}
