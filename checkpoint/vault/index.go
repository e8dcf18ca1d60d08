package vault

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"

	"cellar/internal/fault"
)

// index leads from the hash of a page to where it may be: a table with open
// addressing, 24 bytes a slot (hash, location), in a file that is mapped. It is
// derived from the footers and never believed: a hit is asked of the footer.
// Entries of segments that are gone stay until the table grows.
//
// The file's header says of which segments it is. It is marked before the first
// change, so that after a crash it is made anew.
type index struct {
	mu    sync.RWMutex
	name  string // "": in memory
	lock  *os.File
	file  *os.File
	mem   []byte
	slots uint64 // a power of two
	used  uint64
	id    keyID
}

const (
	indexMagic  = "CVindex1"
	indexHeader = 4096
	slotSize    = 24
	firstSlots  = 1 << 15

	headID    = 8
	headState = 16 // 1: closed in order
	headUsed  = 24
	headOf    = 32 // digest of the segments' numbers
)

// openIndex opens the index in a file of that name, which one process has at a time.
func openIndex(name string, keys keyring) (*index, error) {
	x := &index{name: name, id: keys.id}
	if name == "" {
		return x, x.make(firstSlots)
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return nil, fmt.Errorf("open the index: %w", err)
	}
	lock, err := os.OpenFile(name+".lock", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the index: %w", err)
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(fault.Wrap(fault.Conflict, "vault_open", "Another process has this vault open.", err), lock.Close())
	}
	x.lock = lock
	if x.load() != nil {
		if err := x.make(firstSlots); err != nil {
			return nil, errors.Join(err, x.abandon())
		}
	}
	return x, nil
}

// load maps the file that is there.
func (x *index) load() error {
	f, err := os.OpenFile(x.name, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		return errors.Join(err, f.Close())
	}
	slots := uint64(max(info.Size()-indexHeader, 0)) / slotSize
	if slots < firstSlots || slots&(slots-1) != 0 || indexHeader+slots*slotSize != uint64(info.Size()) {
		return errors.Join(errors.New("not the size of an index"), f.Close())
	}
	mem, err := unix.Mmap(int(f.Fd()), 0, int(info.Size()), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return errors.Join(err, f.Close())
	}
	used := binary.LittleEndian.Uint64(mem[headUsed:])
	if string(mem[:8]) != indexMagic || !bytes.Equal(mem[headID:headID+keyIDSize], x.id[:]) || used > slots*3/4 {
		return errors.Join(errors.New("no index of this vault"), unix.Munmap(mem), f.Close())
	}
	x.file, x.mem, x.slots, x.used = f, mem, slots, used
	return nil
}

// make begins an empty table.
func (x *index) make(slots uint64) error {
	f, mem, err := x.mapNew(slots)
	if err != nil {
		return err
	}
	old := index{file: x.file, mem: x.mem}
	x.file, x.mem, x.slots, x.used = f, mem, slots, 0
	return old.unmap()
}

// mapNew makes room for a table: a new file in place of the old, or memory.
func (x *index) mapNew(slots uint64) (*os.File, []byte, error) {
	size := int(indexHeader + slots*slotSize)
	if x.name == "" {
		mem, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
		return nil, mem, full(err)
	}
	f, err := os.OpenFile(x.name+".new", os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, nil, full(err)
	}
	// Allocated, not only of that length: a disk that is full must be an error here and no SIGBUS later.
	if err := unix.Fallocate(int(f.Fd()), 0, 0, int64(size)); err != nil {
		return nil, nil, full(errors.Join(err, f.Close(), os.Remove(f.Name())))
	}
	mem, err := unix.Mmap(int(f.Fd()), 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, nil, full(errors.Join(err, f.Close(), os.Remove(f.Name())))
	}
	copy(mem, indexMagic)
	copy(mem[headID:], x.id[:])
	if err := os.Rename(f.Name(), x.name); err != nil {
		return nil, nil, full(errors.Join(err, unix.Munmap(mem), f.Close()))
	}
	return f, mem, nil
}

func full(err error) error {
	if err == nil {
		return nil
	}
	return fault.Wrap(fault.Exhausted, "vault_index", "There is no room for the index of the vault.", err)
}

func (x *index) unmap() error {
	var err error
	if x.mem != nil {
		err = unix.Munmap(x.mem)
	}
	if x.file != nil {
		err = errors.Join(err, x.file.Close())
	}
	x.file, x.mem = nil, nil
	return err
}

// isOf says whether the table was closed in order, with just these segments.
func (x *index) isOf(segments []uint32) bool {
	of := digest(segments)
	return x.name != "" && x.mem[headState] == 1 && bytes.Equal(x.mem[headOf:headOf+len(of)], of[:])
}

func digest(segments []uint32) [32]byte {
	b := make([]byte, 0, 4*len(segments))
	for _, n := range segments {
		b = binary.LittleEndian.AppendUint32(b, n)
	}
	return sha256.Sum256(b)
}

// begin marks the table as being changed.
func (x *index) begin() error {
	if x.name == "" {
		return nil
	}
	x.mem[headState] = 0
	return unix.Msync(x.mem[:indexHeader], unix.MS_SYNC)
}

// reset empties the table.
func (x *index) reset() error {
	if x.used > 0 || x.mem[headState] != 0 {
		if err := x.make(firstSlots); err != nil {
			return err
		}
	}
	return x.begin()
}

// close writes all down and says of which segments the table is.
func (x *index) close(segments []uint32) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.name == "" || x.mem == nil {
		return x.abandonLocked()
	}
	of := digest(segments)
	binary.LittleEndian.PutUint64(x.mem[headUsed:], x.used)
	copy(x.mem[headOf:], of[:])
	err := unix.Msync(x.mem, unix.MS_SYNC)
	if err == nil {
		x.mem[headState] = 1
		err = unix.Msync(x.mem[:indexHeader], unix.MS_SYNC)
	}
	return errors.Join(err, x.abandonLocked())
}

// abandon lets the table go without a word: the next Open makes it anew.
func (x *index) abandon() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.abandonLocked()
}

func (x *index) abandonLocked() error {
	err := x.unmap()
	if x.lock != nil {
		err = errors.Join(err, x.lock.Close())
		x.lock = nil
	}
	return err
}

func (x *index) slot(i uint64) []byte {
	at := indexHeader + i*slotSize
	return x.mem[at : at+slotSize : at+slotSize]
}

// seek answers the slot of h, or the free one where it would be. A table that a
// crash has garbled may have no free slot: then ok is false.
func (x *index) seek(h *Hash) (slot []byte, free, ok bool) {
	i := binary.LittleEndian.Uint64(h[:])
	for range x.slots {
		i &= x.slots - 1
		s := x.slot(i)
		if binary.LittleEndian.Uint64(s[16:]) == 0 {
			return s, true, true
		}
		if Hash(s) == *h {
			return s, false, true
		}
		i++
	}
	return nil, false, false
}

// lookup answers where a page with that hash may be.
func (x *index) lookup(h *Hash) (Location, bool) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	if x.mem == nil {
		return 0, false
	}
	s, free, ok := x.seek(h)
	if !ok || free {
		return 0, false
	}
	return Location(binary.LittleEndian.Uint64(s[16:])), true
}

// add lets all entries of a segment be found; isThere says which segments still are.
func (x *index) add(f *footer, hashes []byte, isThere func(uint32) bool) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.mem == nil {
		return errors.New("the index is closed")
	}
	if need := x.used + uint64(f.entries); need > x.slots*7/10 {
		if err := x.grow(uint64(f.entries), isThere); err != nil {
			return err
		}
	}
	f.each(func(entry uint32, d int) {
		h := hashAt(hashes, d)
		x.put(&h, at(f.number, entry))
	})
	return nil
}

func (x *index) put(h *Hash, l Location) {
	s, free, ok := x.seek(h)
	if !ok {
		return
	}
	if free {
		copy(s, h[:])
		x.used++
	}
	binary.LittleEndian.PutUint64(s[16:], uint64(l))
}

// grow moves what still is there into a table with room for more.
func (x *index) grow(more uint64, isThere func(uint32) bool) error {
	there := map[uint32]bool{}
	var live uint64
	x.each(func(_ *Hash, l Location) {
		is, known := there[l.segment()]
		if !known {
			is = isThere(l.segment())
			there[l.segment()] = is
		}
		if is {
			live++
		}
	})
	slots := uint64(firstSlots)
	for slots*5/10 < live+more {
		slots *= 2
	}
	old := index{file: x.file, mem: x.mem, slots: x.slots}
	f, mem, err := x.mapNew(slots)
	if err != nil {
		return err
	}
	x.file, x.mem, x.slots, x.used = f, mem, slots, 0
	old.each(func(h *Hash, l Location) {
		if there[l.segment()] {
			x.put(h, l)
		}
	})
	return old.unmap()
}

func (x *index) each(fn func(*Hash, Location)) {
	for i := range x.slots {
		s := x.slot(i)
		if l := Location(binary.LittleEndian.Uint64(s[16:])); l != 0 {
			h := Hash(s)
			fn(&h, l)
		}
	}
}
