package vault

import (
	"bytes"
	"context"
	"fmt"
	"iter"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"cellar/checkpoint/vault/blob"
)

var (
	ctx     = context.Background()

// memory is what an object is to hold.
type memory map[uint64][]byte

func (m memory) pages() iter.Seq2[uint64, []byte] {
	return func(yield func(uint64, []byte) bool) {
		for _, n := range slices.Sorted(maps.Keys(m)) {
			if !yield(n, m[n]) {
				return
			}
		}
	}
}

func open(t testing.TB, s blob.Store, o Options) *Vault {
	t.Helper()
	v, err := Open(ctx, s, tenant, o)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// keep stores m as a checkpoint of one object.
func keep(v *Vault, name string, base Object, m memory) (Object, int64, error) {
	s, err := v.Begin(ctx)
	if err != nil {
		return Object{}, 0, err
	}
	defer s.Abort()
	o, err := s.Put(base, m.pages())
	if err != nil {
		return Object{}, 0, err
	}
	added, err := s.Commit(name, project, []byte("text of "+name), []Object{o})
	return o, added, err
}

// compare reads all of an object, in every way there is.
func compare(r *Reader, o Object, m memory) error {
	p := r.Object(o)
	want := []uint64{}
	for _, n := range slices.Sorted(maps.Keys(m)) {
		if !isZero(m[n]) {
			want = append(want, n)
		}
	}
	got := []uint64{}
	for n, err := range p.Present(ctx, 0) {
		if err != nil {
			return err
		}
		got = append(got, n)
	}
	if !slices.Equal(got, want) {
		return fmt.Errorf("%d pages are there, want %d", len(got), len(want))
	}
	buf := make([]byte, 5*PageSize)
	for _, n := range want {
		if err := p.ReadPage(ctx, n, buf); err != nil {
			return err
		}
		if !bytes.Equal(buf[:PageSize], m[n]) {
			return fmt.Errorf("page %d has other bytes", n)
		}
		first := n - min(n, 2)
		first = min(first, MaxPages-5)
		if err := p.ReadPages(ctx, first, buf); err != nil {
			return err
		}
		for i := range uint64(5) {
			is, page := buf[i*PageSize:(i+1)*PageSize], m[first+i]
			if page == nil {
				page = zeroPage[:]
			}
			if !bytes.Equal(is, page) {
				return fmt.Errorf("page %d has other bytes in a run", first+i)
			}
		}
		near, err := p.Locate(ctx, n)
		if err != nil || !slices.Contains(near, n) {
			return fmt.Errorf("page %d is near %v, %w", n, near, err)
		}
	}
	return nil
}

// content makes pages of the kinds that there are in a process.
func content(r *rand.Rand) []byte {
	p := make([]byte, PageSize)
	switch r.IntN(5) {
	case 0: // zeros
	case 1: // numbers that look alike
		for i := 0; i < PageSize; i += 8 {
			p[i], p[i+1] = byte(r.IntN(256)), byte(r.IntN(4))
		}
	case 2: // a few that are everywhere
		for i := range p {
			p[i] = byte(i * r.IntN(4))
		}
		p[0] = byte(r.IntN(8)) + 1
		for i := 1; i < PageSize; i++ {
			p[i] = p[0] * byte(i)
		}
	case 3: // looks like a node
		var n node
		for i := range 5 {
			n[i] = at(uint32(r.IntN(5)+1), uint32(r.IntN(100)))
		}
		n.encode(p)
	default:
		for i := range p {
			p[i] = byte(r.Uint32())
		}
	}
	return p
}

var regions = []uint64{0, 500, 511, 1 << 18, 1<<35 - 9, MaxPages - 40}

// change makes the next state of a process.
func change(r *rand.Rand, m memory) memory {
	next := memory{}
	maps.Copy(next, m)
	for range r.IntN(40) {
		n := regions[r.IntN(len(regions))] + uint64(r.IntN(40))
		switch was := next[n]; {
		case was != nil && r.IntN(2) == 0: // a little
			was = bytes.Clone(was)
			for range 1 + r.IntN(300) {
				was[r.IntN(PageSize)]++
			}
			next[n] = was
		case was != nil && r.IntN(6) == 0:
			delete(next, n)
		default:
			next[n] = content(r)
		}
	}
	return next
}
