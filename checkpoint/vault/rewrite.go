package vault

import "context"

// rewrite copies the living entries of the segments that go.
func (g *gc) rewrite(ctx context.Context) error {
	for _, n := range g.copy {
		if err := g.rewriteSegment(ctx, n); err != nil {
			return err
		}
	}
	return g.sealCopies(ctx)
}

func (g *gc) rewriteSegment(ctx context.Context, n uint32) error {
	f, err := g.v.footer(ctx, n)
	if err != nil {
		return err
	}
	hashes, err := g.v.hashesOf(ctx, f)
	if err != nil {
		return err
	}
	g.moves[n] = &forward{}
	marks := g.c.marks.bits[n]
	var buf []byte
	for b := range f.blocks {
		var live []noted
		var places []uint32
		for d := f.first[b]; d < f.first[b+1]; d++ {
			place := d - f.first[b]
			if !marks.has(b*blockPages + place) {
				continue
			}
			e := noted{hash: hashAt(hashes, int(d)), kind: f.kinds[d]}
			if e.kind.depth() > 0 {
				e.base = f.base(b, int(d))
			}
			live, places = append(live, e), append(places, place)
		}
		if len(live) == 0 {
			continue
		}
		if buf, err = g.v.openBlock(ctx, f, b, buf[:0]); err != nil {
			return err
		}
		if err := g.rewriteBlock(ctx, f, b, buf, live, places); err != nil {
			return err
		}
		if err := g.v.limit(ctx, int(f.lengths[b])); err != nil {
			return err
		}
	}
	return nil
}

// rewriteBlock copies the entries of a block: as it stands when all of it lives.
func (g *gc) rewriteBlock(ctx context.Context, f *footer, b uint32, packed []byte, live []noted, places []uint32) error {
	w, err := g.writer(ctx)
	if err != nil {
		return err
	}
	moves := g.moves[f.number]
	if len(live) == int(f.first[b+1]-f.first[b]) {
		first, err := w.copyBlock(packed, live)
		for i := range places {
			moves.add(b*blockPages+places[i], first+Location(i))
		}
		return err
	}
	pages, err := g.v.blocks.stretch(nil, packed)
	if err == nil && len(pages) != int(f.first[b+1]-f.first[b])*PageSize {
		err = errShort
	}
	if err != nil {
		return damaged(blockName(f.number, b), err)
	}
	for i, e := range live {
		n := int(places[i]) * PageSize
		l, err := w.add(&e.hash, e.kind, e.base, pages[n:n+PageSize])
		if err != nil {
			return err
		}
		moves.add(b*blockPages+places[i], l)
	}
	return nil
}

// writer answers the segment that copies go into.
func (g *gc) writer(ctx context.Context) (*writer, error) {
	if g.w != nil && (g.w.size() >= g.v.opt.SegmentBytes || g.w.entries() > g.v.opt.SegmentEntries-blockPages) {
		if err := g.sealCopies(ctx); err != nil {
			return nil, err
		}
	}
	if g.w == nil {
		n, err := g.v.number(ctx, g.owner)
		if err != nil {
			return nil, err
		}
		g.w = newWriter(ctx, g.v.Reader, n)
	}
	return g.w, nil
}

func (g *gc) sealCopies(ctx context.Context) error {
	w := g.w
	if w == nil {
		return nil
	}
	g.w = nil
	f, err := w.seal()
	if err != nil {
		return err
	}
	g.did.After += f.size()
	return g.v.publish(ctx, f)
}
