package vault

import (
	"context"

	"cellar/internal/fault"
)

// cursor walks an object beside the pages that are stored, to compare with. What
// is lost of the object counts as not there, unless strict.
type cursor struct {
	r      *Reader
	o      Object
	strict bool
	path   [maxHeight + 1]struct {
		known bool
		index uint64
		at    *node
		l     Location
	}
}

// get answers the node of that level and index and where it is; nil for none.
func (c *cursor) get(ctx context.Context, level int, index uint64) (*node, Location, error) {
	if level > int(c.o.Height) || level == 0 || c.o.Root == 0 {
		return nil, 0, nil
	}
	p := &c.path[level]
	if p.known && p.index == index {
		return p.at, p.l, nil
	}
	l := c.o.Root
	if level == int(c.o.Height) {
		if index != 0 {
			return nil, 0, nil
		}
	} else {
		above, _, err := c.get(ctx, level+1, index/fan)
		if err != nil || above == nil {
			return nil, 0, err
		}
		l = above[index%fan]
	}
	p.known, p.index, p.at, p.l = true, index, nil, l
	if l == 0 {
		return nil, 0, nil
	}
	at, err := c.r.node(ctx, l, level)
	if isLost(err) && !c.strict {
		p.l = 0
		return nil, 0, nil
	}
	if err != nil {
		p.known = false
		return nil, 0, err
	}
	p.at = at
	return at, l, nil
}

// page answers where page n of the object is.
func (c *cursor) page(ctx context.Context, n uint64) (Location, error) {
	if c.o.Height == 0 {
		if n == 0 {
			return c.o.Root, nil
		}
		return 0, nil
	}
	at, _, err := c.get(ctx, 1, n/fan)
	if at == nil {
		return 0, err
	}
	return at[n%fan], nil
}

// builder makes the tree of an object out of the locations of its pages, which
// come in ascending order. A node is stored when the next one begins.
type builder struct {
	s       *Session
	base    cursor
	inherit bool // what is not set is as in base
	any     bool
	last    uint64
	open    [maxHeight + 1]bool
	index   [maxHeight + 1]uint64
	nodes   [maxHeight + 1]node
}

// set says where the child of that level and index is.
func (b *builder) set(level int, index uint64, l Location) error {
	above, at := level+1, index/fan
	if above > maxHeight {
		return fault.New(fault.Invalid, "vault_range", "A page's number is beyond what an object can have.")
	}
	if b.open[above] && b.index[above] != at {
		if err := b.close(above); err != nil {
			return err
		}
	}
	if !b.open[above] {
		if err := b.begin(above, at); err != nil {
			return err
		}
	}
	b.nodes[above][index%fan] = l
	return nil
}

func (b *builder) begin(level int, index uint64) error {
	b.open[level], b.index[level], b.nodes[level] = true, index, node{}
	if !b.inherit {
		return nil
	}
	if level > int(b.base.o.Height) && index == 0 {
		l, err := b.lift(level - 1)
		b.nodes[level][0] = l
		return err
	}
	at, _, err := b.base.get(b.s.ctx, level, index)
	if at != nil {
		b.nodes[level] = *at
	}
	return err
}

// lift answers the base's tree as a tree of a greater height.
func (b *builder) lift(height int) (Location, error) {
	l := b.base.o.Root
	for level := int(b.base.o.Height) + 1; level <= height && l != 0; level++ {
		var err error
		if l, err = b.s.storeNode(level, &node{l}, nil, 0); err != nil {
			return 0, err
		}
	}
	return l, nil
}

// close stores the open node of a level and tells the level above.
func (b *builder) close(level int) error {
	l, err := b.store(level)
	if err != nil {
		return err
	}
	b.open[level] = false
	return b.set(level, b.index[level], l)
}

func (b *builder) store(level int) (Location, error) {
	at, l, err := b.base.get(b.s.ctx, level, b.index[level])
	if err != nil {
		return 0, err
	}
	return b.s.storeNode(level, &b.nodes[level], at, l)
}

// page says where page n is.
func (b *builder) page(n uint64, l Location) error {
	b.any, b.last = true, n
	return b.set(0, n, l)
}

// finish stores what is open and answers the object.
func (b *builder) finish(size uint64) (Object, error) {
	if !b.any {
		if b.inherit {
			return Object{b.base.o.Root, b.base.o.Height, max(size, b.base.o.Size)}, nil
		}
		return Object{Size: size}, nil
	}
	o := Object{Size: size}
	if b.inherit {
		o.Height, o.Size = b.base.o.Height, max(size, b.base.o.Size)
	}
	for !o.covers(b.last) {
		o.Height++
	}
	if o.Height == 0 {
		o.Root = b.nodes[1][0]
		return o, nil
	}
	for level := 1; level < int(o.Height); level++ {
		if err := b.close(level); err != nil {
			return Object{}, err
		}
	}
	var err error
	o.Root, err = b.store(int(o.Height))
	return o, err
}
