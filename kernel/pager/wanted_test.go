package pager

import (
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"
)

// watched is the pages file of a dump, and writes down what is asked of it.
type watched struct {
	Source
	asked *[]uint64
	ahead *atomic.Int64
}

func (w watched) Pages(at, n uint64) ([]byte, error) {
	if n > pageSize { // the last page is asked for to see whether it is there
		*w.asked = append(*w.asked, at)
	}
	return w.Source.Pages(at, n)
}

func (w watched) Ahead(at, n uint64) {
	w.ahead.Add(int64(n))
	w.Source.Ahead(at, n)
}

// thaw has a victim served, which does lines before anything comes unasked, and
// answers what was asked of the pages file and prepared of it, in order.
func thaw(t *testing.T, wanted string, lines ...string) (asked []uint64, ahead int64) {
	t.Helper()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	s := &served{victim: startVictim(t, pair[1]), result: make(chan error, 1)}
	// The same memory at other addresses: what is written down is made to fit.
	list := readWanted(wanted)
	for pid, blocks := range list {
		delete(list, pid)
		for i := range blocks {
			blocks[i] += s.base
		}
		list[s.pid] = blocks
	}
	if list != nil {
		if err := list.write(wanted); err != nil {
			t.Fatal(err)
		}
	}
	var prepared atomic.Int64
	go func() {
		_, err := Serve(pair[0], -1, s.dump, Options{Wanted: wanted, Open: func(name string) (Source, error) {
			source, err := openMapped(name)
			return watched{source, &asked, &prepared}, err
		}})
		s.result <- err
	}()
	s.do("send()")
	s.do(lines...)
	s.do("running()")
	s.end()
	s.do("region.check()")
	list = readWanted(wanted)
	for _, blocks := range list {
		for i := range blocks {
			blocks[i] -= s.base
		}
	}
	if err := list.write(wanted); err != nil {
		t.Fatal(err)
	}
	return asked, prepared.Load()
}

// TestWhatWasWantedComesFirst: the next time, and is prepared before.
func TestWhatWasWantedComesFirst(t *testing.T) {
	wanted := filepath.Join(t.TempDir(), "wanted.json")
	// Pages far apart, the last first: not what would come anyway.
	touch := []string{"region.check([1100])", "region.check([700])", "region.check([300])"}
	first, ahead := thaw(t, wanted, touch...)
	if ahead != 0 {
		t.Errorf("%d bytes were prepared of what nobody knew of", ahead)
	}
	again, ahead := thaw(t, wanted)
	if ahead < 3*pageSize || ahead > 3*faultBlock {
		t.Errorf("%d bytes were prepared", ahead)
	}
	third, _ := thaw(t, wanted) // though nobody waited for it the second time
	for _, got := range [][]uint64{again, third} {
		for i := range 3 { // the blocks begin elsewhere, as the memory does
			if len(got) < 4 || len(first) < 4 || max(got[i], first[i])-min(got[i], first[i]) >= faultBlock {
				t.Fatalf("first %v, later %v", first[:min(4, len(first))], got[:min(4, len(got))])
			}
		}
	}
}

func TestWantedIsNotBelieved(t *testing.T) {
	name := filepath.Join(t.TempDir(), "wanted.json")
	for _, text := range []string{"", "{", `{"x":[1]}`, `{"1":"x"}`, `{"1":[-1]}`} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := readWanted(name); len(got) > 0 {
			t.Errorf("%q: %v", text, got)
		}
	}
	if err := os.WriteFile(name, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := readWanted(name); got != nil {
		t.Errorf("a megabyte: %v", got)
	}
	// Addresses that are nobody's, and more than there may be.
	list := wanted{1: nil}
	for i := range uint64(5000) {
		list[1] = append(list[1], i<<40)
	}
	if err := list.write(name); err != nil {
		t.Fatal(err)
	}
	if asked, _ := thaw(t, name); len(asked) == 0 {
		t.Error("nothing was served")
	}
}
