package keep

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// maxNames is how many files of a folder are looked at: a journal of 32 GiB has
// as many.
const maxNames = 4096

// ReadLeft calls fn with the records from seq from on in the journal that a
// keeper left in dir, or is still writing, in the order of their segments, until
// fn returns false. What is torn or damaged ends its segment. The files are the kernel's to write: no link is followed,
// and a record is at most as large as what its file has left.
func ReadLeft(dir string, from uint64, fn func(Record) bool) error {
	root, err := os.OpenRoot(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer root.Close()
	d, err := root.Open(".")
	if err != nil {
		return err
	}
	defer d.Close()
	entries, err := d.ReadDir(maxNames)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	var firsts []uint64
	for _, e := range entries {
		var first uint64
		name := strings.TrimSuffix(e.Name(), journalSuffix)
		if _, err := fmt.Sscanf(name, "%d", &first); err == nil && segmentName(first) == e.Name() {
			firsts = append(firsts, first)
		}
	}
	slices.Sort(firsts)
	for i, first := range firsts {
		if i+1 < len(firsts) && firsts[i+1] <= from {
			continue // all of it is older
		}
		if more, err := readLeft(root, segmentName(first), from, fn); err != nil || !more {
			return err
		}
	}
	return nil
}

func readLeft(root *os.Root, name string, from uint64, fn func(Record) bool) (more bool, err error) {
	f, err := root.OpenFile(name, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil // its keeper needed it no more
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil || !st.Mode().IsRegular() {
		return true, err
	}
	r := newEntryReader(io.NewSectionReader(f, 0, st.Size()), st.Size())
	for {
		b, err := r.next()
		if err != nil {
			return true, nil // the end, or what a crash has torn
		}
		if rec, err := ParseRecord(b); err == nil && rec.Seq >= from && !fn(rec) {
			return false, nil
		}
	}
}
