package pager

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// model is a space as a table: for each page that is missing, the page of the
// pages file that holds it.
type model map[uint64]uint64

func modelOf(t *testing.T, s *space) model {
	t.Helper()
	m := model{}
	var last uint64
	for _, p := range s.pieces {
		if p.start >= p.end || p.start < last {
			t.Fatalf("pieces are empty or out of order: %+v", s.pieces)
		}
		last = p.end
		for a := p.start; a < p.end; a += pageSize {
			m[a/pageSize] = (p.off + a - p.start) / pageSize
		}
	}
	return m
}

func (m model) equal(o model) bool {
	if len(m) != len(o) {
		return false
	}
	for k, v := range m {
		if w, ok := o[k]; !ok || v != w {
			return false
		}
	}
	return true
}

// TestSpaceAgainstAModel does random things to a small address space and to a
// table of its pages.
func TestSpaceAgainstAModel(t *testing.T) {
	const pages = 48
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 1))
		s, m := &space{}, model{}
		for page, off := uint64(0), uint64(0); page < pages; {
			n := min(1+r.Uint64N(9), pages-page)
			if r.IntN(3) > 0 {
				s.pieces = append(s.pieces, piece{page * pageSize, (page + n) * pageSize, off * pageSize})
				for i := range n {
					m[page+i] = off + i
				}
			}
			page, off = page+n, off+n+r.Uint64N(3)
		}
		for range 60 {
			step(t, r, s, m, pages)
			if got := modelOf(t, s); !got.equal(m) {
				t.Fatalf("seed %d: have %v, want %v", seed, got, m)
			}
			if s.bytes() != uint64(len(m))*pageSize || s.empty() != (len(m) == 0) {
				t.Fatalf("seed %d: %d bytes, empty %v, want %d pages", seed, s.bytes(), s.empty(), len(m))
			}
		}
	}
}

func step(t *testing.T, r *rand.Rand, s *space, m model, pages uint64) {
	t.Helper()
	a, n := r.Uint64N(pages), r.Uint64N(8)
	n = min(n, pages-a)
	switch r.IntN(5) {
	case 0:
		s.drop(a*pageSize, (a+n)*pageSize)
		for i := range n {
			delete(m, a+i)
		}
	case 1:
		part := &space{pieces: s.extract(a*pageSize, (a+n)*pageSize)}
		want := model{}
		for i := range n {
			if off, ok := m[a+i]; ok {
				want[a+i] = off
				delete(m, a+i)
			}
		}
		if got := modelOf(t, part); !got.equal(want) {
			t.Fatalf("extracted %v, want %v", got, want)
		}
		for _, p := range part.pieces { // and back, one by one
			i := s.after(p.start)
			s.pieces = slices.Insert(s.pieces, i, p)
		}
		for k, v := range want {
			m[k] = v
		}
	case 2:
		to := r.Uint64N(pages - n + 1)
		if n == 0 || (to < a+n && a < to+n) { // as mremap, which refuses these
			return
		}
		s.move(a*pageSize, to*pageSize, n*pageSize)
		for i := range n {
			delete(m, to+i)
			if off, ok := m[a+i]; ok {
				m[to+i] = off
				delete(m, a+i)
			}
		}
	case 3:
		c := s.clone()
		c.drop(0, pages*pageSize)
		c.pieces = append(c.pieces, piece{0, pageSize, 999 * pageSize})
	case 4:
		block := uint64(4)
		p, ok := s.around(a*pageSize, block*pageSize)
		off, want := m[a]
		if ok != want {
			t.Fatalf("around page %d: %v, want %v", a, ok, want)
		}
		if !ok {
			return
		}
		if p.start > a*pageSize || p.end <= a*pageSize || p.start/pageSize/block != a/block || (p.end-1)/pageSize/block != a/block {
			t.Fatalf("around page %d is %+v", a, p)
		}
		for q := p.start; q < p.end; q += pageSize {
			if have, ok := m[q/pageSize]; !ok || have != (p.off+q-p.start)/pageSize {
				t.Fatalf("around page %d: page %d is said to be at %d of the file; model %v", a, q/pageSize, (p.off+q-p.start)/pageSize, m)
			}
		}
		if got := (p.off + a*pageSize - p.start) / pageSize; got != off {
			t.Fatalf("around page %d: at %d of the file, want %d", a, got, off)
		}
	}
}
