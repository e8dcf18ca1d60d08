package pager

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"google.golang.org/protobuf/encoding/protowire"
)

// Magic numbers and flags of CRIU's pagemap-PID.img (CRIU 4.2: include/magic.h,
// include/pagemap.h, images/pagemap.proto). An image is two little-endian
// magic numbers and messages, each after its length as a 32-bit number.
const (
	imageMagic   = 0x54564319
	pagemapMagic = 0x56084025

	flagParent  = 1 << 0 // the bytes are in an older dump
	flagLazy    = 1 << 1 // may come after the process has begun
	flagPresent = 1 << 2 // the bytes are in the pages file
)

// maxAddress is above all that a process can have (5-level page tables).
const maxAddress = 1 << 57

// maxImage bounds a pagemap file; a page map of 1 TiB in single pages is less.
const maxImage = 4 << 30

// Region is memory in a row of which a dump has the bytes.
type Region struct {
	Start uint64 // address
	Size  uint64 // bytes
	At    uint64 // where they begin in the pages file
	Late  bool   // they may come after the process has begun
}

// ReadMap reads a page map of a dump, pagemap-*.img: its regions in the order of
// their addresses, and the number of the pages file that has their bytes.
func ReadMap(name string) (regions []Region, pages uint64, err error) {
	st, err := os.Stat(name)
	if err != nil {
		return nil, 0, err
	}
	if st.Size() > maxImage {
		return nil, 0, fmt.Errorf("%s has %d bytes", name, st.Size())
	}
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, 0, err
	}
	regions, pages, err = parseMap(b)
	if err != nil {
		return nil, 0, fmt.Errorf("%s: %w", filepath.Base(name), err)
	}
	return regions, pages, nil
}

// PagesFile is the name of a pages file by its number.
func PagesFile(n uint64) string { return "pages-" + strconv.FormatUint(n, 10) + ".img" }

// pagemap reads which memory of the process pid may come late, and the pages
// file that holds its bytes.
func pagemap(dir string, pid int) (s *space, pages string, err error) {
	regions, id, err := ReadMap(filepath.Join(dir, "pagemap-"+strconv.Itoa(pid)+".img"))
	if err != nil {
		return nil, "", err
	}
	return late(regions), filepath.Join(dir, PagesFile(id)), nil
}

// late is what of regions may come late.
func late(regions []Region) *space {
	s := &space{}
	for _, r := range regions {
		if r.Late && r.Size > 0 {
			s.pieces = append(s.pieces, piece{start: r.Start, end: r.Start + r.Size, off: r.At})
		}
	}
	return s
}

// parseMap reads the bytes of a pagemap image.
func parseMap(b []byte) (regions []Region, pages uint64, err error) {
	if len(b) < 8 || binary.LittleEndian.Uint32(b) != imageMagic || binary.LittleEndian.Uint32(b[4:]) != pagemapMagic {
		return nil, 0, fmt.Errorf("not a page map")
	}
	head, b, err := message(b[8:])
	if err != nil {
		return nil, 0, err
	}
	var off, last uint64
	for len(b) > 0 {
		var e map[protowire.Number]uint64
		if e, b, err = message(b); err != nil {
			return nil, 0, err
		}
		start, n, flags := e[1], e[5], e[4]
		if n == 0 {
			n = e[2] // the 32-bit field of CRIU before 4.2
		}
		if flags&flagParent != 0 || e[3] != 0 {
			return nil, 0, fmt.Errorf("the dump needs an older one")
		}
		size := n * pageSize
		if start%pageSize != 0 || n > maxAddress/pageSize || start > maxAddress || start+size > maxAddress || start < last {
			return nil, 0, fmt.Errorf("entry at %#x of %d pages is out of order", start, n)
		}
		last = start + size
		if flags&flagPresent == 0 {
			continue
		}
		regions = append(regions, Region{Start: start, Size: size, At: off, Late: flags&flagLazy != 0})
		off += size
	}
	return regions, head[1], nil
}

// bytesOf is how long the pages file of regions has to be.
func bytesOf(regions []Region) uint64 {
	if len(regions) == 0 {
		return 0
	}
	last := regions[len(regions)-1]
	return last.At + last.Size
}

// message takes the next length-prefixed message from b: its numbers by field.
// All fields of a page map are varints.
func message(b []byte) (map[protowire.Number]uint64, []byte, error) {
	if len(b) < 4 {
		return nil, nil, fmt.Errorf("cut off")
	}
	n := uint64(binary.LittleEndian.Uint32(b))
	if b = b[4:]; n > uint64(len(b)) {
		return nil, nil, fmt.Errorf("cut off")
	}
	body, rest := b[:n], b[n:]
	out := map[protowire.Number]uint64{}
	for len(body) > 0 {
		field, kind, n := protowire.ConsumeTag(body)
		if n < 0 {
			return nil, nil, protowire.ParseError(n)
		}
		body = body[n:]
		if kind == protowire.VarintType {
			v, n := protowire.ConsumeVarint(body)
			if n < 0 {
				return nil, nil, protowire.ParseError(n)
			}
			out[field], body = v, body[n:]
			continue
		}
		if n = protowire.ConsumeFieldValue(field, kind, body); n < 0 {
			return nil, nil, protowire.ParseError(n)
		}
		body = body[n:]
	}
	return out, rest, nil
}

// LazyBytes is how much of a dump's memory may come after its processes have
// begun, and how much memory it has in all.
func LazyBytes(dir string) (lazy, all int64, err error) {
	maps, err := filepath.Glob(filepath.Join(dir, "pagemap-*.img"))
	if err != nil {
		return 0, 0, err
	}
	for _, name := range maps {
		var pid int
		if _, err := fmt.Sscanf(filepath.Base(name), "pagemap-%d.img", &pid); err != nil {
			continue // pagemap-shmem-N.img: shared memory never comes late
		}
		s, pages, err := pagemap(dir, pid)
		if err != nil {
			return 0, 0, err
		}
		st, err := os.Stat(pages)
		if err != nil {
			return 0, 0, err
		}
		lazy += int64(s.bytes())
		all += st.Size()
	}
	return lazy, all, nil
}

// Check reports a pages file of a dump that lacks bytes.
func Check(dir string) error {
	maps, err := filepath.Glob(filepath.Join(dir, "pagemap-*.img"))
	if err != nil {
		return err
	}
	for _, name := range maps {
		regions, id, err := ReadMap(name)
		if err != nil {
			return err
		}
		size, pages := bytesOf(regions), filepath.Join(dir, PagesFile(id))
		if st, err := os.Stat(pages); err != nil && size > 0 {
			return err
		} else if err == nil && uint64(st.Size()) < size {
			return fmt.Errorf("%s is cut off: %d of %d bytes", pages, st.Size(), size)
		}
	}
	return nil
}
