package vault

import (
	"context"
	"iter"
	"sync/atomic"

	"cellar/internal/fault"
)

// Pages reads an object. It is for many goroutines.
type Pages struct {
	r    *Reader
	o    Object
	leaf atomic.Pointer[leaf] // the last one read
}

// leaf is where 512 pages in a row are, from page 512*index on.
type leaf struct {
	index uint64
	at    *node
}

// Object opens an object for reading. It reads nothing yet.
func (r *Reader) Object(o Object) *Pages { return &Pages{r: r, o: o} }

// Size answers the object's size, in bytes.
func (p *Pages) Size() uint64 { return p.o.Size }

// locate answers the leaf that has page n. Outside of the tree all is zero.
func (p *Pages) locate(ctx context.Context, n uint64) (*leaf, error) {
	index := n / fan
	if l := p.leaf.Load(); l != nil && l.index == index {
		return l, nil
	}
	l := &leaf{index: index, at: &node{}}
	switch {
	case p.o.check() != nil:
		return nil, fault.Wrap(fault.Invalid, "vault_object", "This is no object of the vault.", p.o.check())
	case p.o.Height == 0:
		if index == 0 {
			l.at[0] = p.o.Root
		}
	case p.o.covers(n):
		where := p.o.Root
		for level := int(p.o.Height); level >= 1; level-- {
			at, err := p.r.node(ctx, where, level)
			if err != nil {
				return nil, err
			}
			if level == 1 {
				l.at = at
			} else {
				where = at[n>>(fanBits*(uint(level)-1))%fan]
			}
		}
	}
	p.leaf.Store(l)
	return l, nil
}

// ReadPage reads page n into buf, which has PageSize bytes.
func (p *Pages) ReadPage(ctx context.Context, n uint64, buf []byte) error {
	return p.ReadPages(ctx, n, buf[:PageSize])
}

// ReadPages reads pages in a row from page first on, until buf is full. The
// length of buf is a multiple of PageSize.
func (p *Pages) ReadPages(ctx context.Context, first uint64, buf []byte) error {
	if len(buf)%PageSize != 0 || first >= MaxPages || uint64(len(buf)/PageSize) > MaxPages-first {
		return fault.New(fault.Invalid, "vault_range", "This range of pages cannot be read.")
	}
	var run runReader
	for n := first; len(buf) > 0; n, buf = n+1, buf[PageSize:] {
		l, err := p.locate(ctx, n)
		if err != nil {
			return err
		}
		if err := run.page(ctx, p.r, l.at[n%fan], buf[:PageSize]); err != nil {
			return err
		}
	}
	return nil
}

// runReader reads pages one after the other, with an eye on the last block: in a
// run the next page mostly stands there.
type runReader struct {
	segment uint32 // as it was asked for; 0: none yet
	f       *footer
	index   uint32
	block   []byte
}

func (x *runReader) page(ctx context.Context, r *Reader, l Location, buf []byte) error {
	if l != 0 && l.segment() == x.segment && l.block() == x.index {
		d, ok := x.f.dense(l.entry())
		if ok && x.f.kinds[d] == kindOf(0, 0) {
			copy(buf, x.block[l.place()*PageSize:])
			return nil
		}
	}
	if l == 0 {
		clear(buf)
		return nil
	}
	s, stored, err := r.stored(ctx, l)
	if err != nil {
		return err
	}
	if s.kind() != kindOf(0, 0) {
		return r.page(ctx, l, 0, buf)
	}
	copy(buf, stored)
	if s.l == l {
		block, err := r.block(ctx, s.f, l.block()) // from the cache
		if err != nil {
			return nil
		}
		x.segment, x.f, x.index, x.block = l.segment(), s.f, l.block(), block
	}
	return nil
}

// Present yields the numbers of the pages that are not zero, ascending, from page
// from on. It ends after an error.
func (p *Pages) Present(ctx context.Context, from uint64) iter.Seq2[uint64, error] {
	return func(yield func(uint64, error) bool) {
		if err := p.o.check(); err != nil {
			yield(0, fault.Wrap(fault.Invalid, "vault_object", "This is no object of the vault.", err))
			return
		}
		p.present(ctx, p.o.Root, int(p.o.Height), 0, from, yield)
	}
}

// present yields the pages of the subtree at l that begins with page first.
func (p *Pages) present(ctx context.Context, l Location, level int, first, from uint64, yield func(uint64, error) bool) bool {
	span := uint64(1) << (fanBits * uint(level))
	if l == 0 || first+span <= from {
		return true
	}
	if level == 0 {
		return yield(first, nil)
	}
	at, err := p.r.node(ctx, l, level)
	if err != nil {
		yield(0, err)
		return false
	}
	for i, child := range at {
		if !p.present(ctx, child, level-1, first+uint64(i)*(span/fan), from, yield) {
			return false
		}
	}
	return true
}

// Locate answers all pages of the object that are read together with page n at no
// further cost: they stand in the same block, within the 2 MiB around n. It has n
// itself, unless that is zero.
func (p *Pages) Locate(ctx context.Context, n uint64) ([]uint64, error) {
	l, err := p.locate(ctx, n)
	if err != nil || l.at[n%fan] == 0 {
		return nil, err
	}
	block := l.at[n%fan] / blockPages
	var pages []uint64
	for i, at := range l.at {
		if at != 0 && at/blockPages == block {
			pages = append(pages, l.index*fan+uint64(i))
		}
	}
	return pages, nil
}
