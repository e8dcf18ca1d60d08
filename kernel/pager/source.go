package pager

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Source gives the bytes of one pages file of a dump. But for Ahead it is used by
// one goroutine.
type Source interface {
	// ByAddress reports whether pages are asked for by the address that they had
	// in the dumped process, instead of by their place in the file.
	ByAddress() bool
	// Pages returns bytes from at on: n of them or fewer, a page at least; at and n
	// are multiples of the page size. They are good until the next call.
	Pages(at, n uint64) ([]byte, error)
	// Ahead prepares for Pages of the same bytes. It may be called by another
	// goroutine than the one that uses the source, until that closes it.
	Ahead(at, n uint64)
	Close() error
}

// LateName is a file of a dump that is hollow: the pages that may come late are
// not in its pages files. It tells an Opener where they are.
const LateName = "late.json"

// Hollow reports whether a dump is: then it can be thawed with a pager only.
func Hollow(dump string) bool {
	_, err := os.Lstat(filepath.Join(dump, LateName))
	return err == nil
}

// Opener opens a pages file by its name, a path below the dump's folder.
type Opener func(name string) (Source, error)

// mapped is a pages file on disk.
type mapped struct {
	name  string
	bytes []byte
}

func openMapped(name string) (Source, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	m := &mapped{name: name}
	if st.Size() == 0 {
		return m, nil
	}
	if m.bytes, err = unix.Mmap(int(f.Fd()), 0, int(st.Size()), unix.PROT_READ, unix.MAP_PRIVATE); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return m, nil
}

func (m *mapped) ByAddress() bool { return false }

func (m *mapped) Pages(at, n uint64) ([]byte, error) {
	if size := uint64(len(m.bytes)); at > size || n > size-at {
		return nil, fmt.Errorf("%s is cut off", m.name)
	}
	return m.bytes[at : at+n], nil
}

func (m *mapped) Ahead(at, n uint64) {
	if size := uint64(len(m.bytes)); at < size {
		unix.Madvise(m.bytes[at:min(size, at+n)], unix.MADV_WILLNEED) // touching it could end us, if the file is cut off
	}
}

func (m *mapped) Close() error {
	if m.bytes == nil {
		return nil
	}
	return unix.Munmap(m.bytes)
}
