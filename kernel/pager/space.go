package pager

import "slices"

// pageSize of the processes whose memory is served; dumps are made and thawed
// on machines of the same architecture.
const pageSize = 4096

// piece is memory that still has to come: addresses [start, end) of the
// process, whose bytes begin at off in its pages file.
type piece struct {
	start, end uint64
	off        uint64
}

// space is what is still missing in one address space: pieces in order of their
// addresses, none touching another's bytes.
type space struct {
	pieces []piece
}

func (s *space) empty() bool { return len(s.pieces) == 0 }

// bytes that are missing.
func (s *space) bytes() (n uint64) {
	for _, p := range s.pieces {
		n += p.end - p.start
	}
	return n
}

// byAddress makes the place of all bytes the address they have now.
func (s *space) byAddress() {
	for i := range s.pieces {
		s.pieces[i].off = s.pieces[i].start
	}
}

// after is the index of the first piece that ends behind addr.
func (s *space) after(addr uint64) int {
	i, _ := slices.BinarySearchFunc(s.pieces, addr, func(p piece, a uint64) int {
		if p.end <= a {
			return -1
		}
		return 1
	})
	return i
}

// around is the missing memory at addr and beside it, within the block of size
// bytes that addr lies in; ok is false when addr itself is not missing.
func (s *space) around(addr, size uint64) (p piece, ok bool) {
	i := s.after(addr)
	if i == len(s.pieces) || s.pieces[i].start > addr {
		return p, false
	}
	block := addr / size * size
	return s.pieces[i].cut(block, block+size), true
}

// cut is the part of p within [start, end).
func (p piece) cut(start, end uint64) piece {
	if start > p.start {
		p.off += start - p.start
		p.start = start
	}
	p.end = min(p.end, end)
	return p
}

// drop forgets [start, end): it has come, or it is not wanted any more.
func (s *space) drop(start, end uint64) {
	s.extract(start, end)
}

// extract drops [start, end) and returns what was missing of it.
func (s *space) extract(start, end uint64) []piece {
	if start >= end {
		return nil
	}
	i := s.after(start)
	j := i
	var out, rest []piece
	for ; j < len(s.pieces) && s.pieces[j].start < end; j++ {
		p := s.pieces[j]
		out = append(out, p.cut(start, end))
		if p.start < start {
			rest = append(rest, p.cut(p.start, start))
		}
		if p.end > end {
			rest = append(rest, p.cut(end, p.end))
		}
	}
	if j > i {
		s.pieces = slices.Replace(s.pieces, i, j, rest...)
	}
	return out
}

// move takes [from, from+size) to another address, as mremap did.
func (s *space) move(from, to, size uint64) {
	moved := s.extract(from, from+size)
	s.drop(to, to+size) // what was mapped there is gone
	for k := range moved {
		moved[k].start += to - from
		moved[k].end += to - from
	}
	if len(moved) > 0 {
		i := s.after(moved[0].start)
		s.pieces = slices.Insert(s.pieces, i, moved...)
	}
}

// clone is the same missing memory, for a forked child.
func (s *space) clone() *space { return &space{pieces: slices.Clone(s.pieces)} }
