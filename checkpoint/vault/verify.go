package vault

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"cellar/internal/fault"
)

// Damage is something that is not as it was written.
type Damage struct {
	Blob   string
	Detail string // for the log
}

// Report is what Verify found.
type Report struct {
	Segments  int
	Bytes     int64 // stored, that were read
	Manifests int
	Damage    []Damage
	Hurt      []string // checkpoints that are not whole
}

// Verify reads everything and says what is damaged, and which checkpoints that
// hurts. Deep: it also decompresses all pages and compares them with their hashes.
// It answers an error only if it could not look.
func (v *Vault) Verify(ctx context.Context, deep bool) (Report, error) {
	if err := v.alone(ctx); err != nil {
		return Report{}, err
	}
	defer func() { <-v.upkeep }()
	c := &checker{v: v, deep: deep, bad: map[uint32]*bitmap{}}
	if err := c.blobs(ctx); err != nil {
		return c.report, fmt.Errorf("verify: %w", err)
	}
	if err := c.manifests(ctx); err != nil {
		return c.report, fmt.Errorf("verify: %w", err)
	}
	return c.report, nil
}

// checker is the work of one Verify.
type checker struct {
	v      *Vault
	deep   bool
	report Report
	bad    map[uint32]*bitmap // entries that cannot be read, by segment
}

// note takes a finding. What is no finding is an error.
func (c *checker) note(name string, err error) error {
	if err == nil {
		return nil
	}
	if !isLost(err) {
		return err
	}
	c.report.Damage = append(c.report.Damage, Damage{name, err.Error()})
	return nil
}

func (c *checker) blobs(ctx context.Context) error {
	v := c.v
	v.mu.Lock()
	numbers := slices.Sorted(maps.Keys(v.sealed))
	v.mu.Unlock()
	for _, n := range numbers {
		// What is in a cache is not what is on the storage.
		v.footers.drop(n)
		v.hashes.drop(n)
		if err := c.note(segName(n), c.segment(ctx, n)); err != nil {
			return err
		}
	}
	forwards, err := v.store.List(ctx, fwdPrefix)
	if err != nil {
		return err
	}
	for _, b := range forwards {
		n, ok := numberOf(b.Name, fwdPrefix)
		if !ok {
			continue
		}
		v.forwards.drop(n)
		_, err := v.forward(ctx, n)
		if err := c.note(b.Name, err); err != nil {
			return err
		}
	}
	_, err = v.readBox(ctx, highName, v.keys.tenant, boxHigh)
	if errors.Is(err, fault.NotFound) && len(numbers) == 0 {
		return nil // a vault that was never written
	}
	return c.note(highName, err)
}

func (c *checker) segment(ctx context.Context, n uint32) error {
	c.report.Segments++
	f, err := c.v.footer(ctx, n)
	if err != nil {
		return err
	}
	hashes, err := c.v.hashesOf(ctx, f)
	if err != nil {
		return err
	}
	c.report.Bytes += f.size()
	buf := make([]byte, maxSealed)
	for b := range f.blocks {
		err := c.block(ctx, f, b, hashes, buf)
		if isLost(err) {
			c.badBlock(f, b)
		}
		if err := c.note(segName(n), err); err != nil {
			return err
		}
		if err := c.v.limit(ctx, int(f.lengths[b])); err != nil {
			return err
		}
	}
	return nil
}

func (c *checker) badBlock(f *footer, b uint32) {
	for place := range f.first[b+1] - f.first[b] {
		c.badEntry(at(f.number, b*blockPages+place))
	}
}

func (c *checker) badEntry(l Location) {
	if c.bad[l.segment()] == nil {
		c.bad[l.segment()] = &bitmap{}
	}
	c.bad[l.segment()].set(l.entry())
}

func (c *checker) block(ctx context.Context, f *footer, b uint32, hashes, buf []byte) error {
	packed, err := c.v.openBlock(ctx, f, b, buf)
	if err != nil || !c.deep {
		return err
	}
	count := f.first[b+1] - f.first[b]
	pages, err := c.v.blocks.stretch(nil, packed)
	if err == nil && len(pages) != int(count)*PageSize {
		err = errShort
	}
	if err != nil {
		return damaged(blockName(f.number, b), err)
	}
	for place := range count {
		l := at(f.number, b*blockPages+place)
		d := int(f.first[b] + place)
		err := c.entry(ctx, spot{f, l, d}, pages[place*PageSize:(place+1)*PageSize], hashAt(hashes, d))
		if isLost(err) {
			c.badEntry(l)
		}
		if err := c.note(segName(f.number), err); err != nil {
			return err
		}
	}
	return nil
}

// entry compares a page with its hash. A delta without its base is lost only to
// those who use it: it may be dead, and its base collected.
func (c *checker) entry(ctx context.Context, s spot, page []byte, want Hash) error {
	k := s.kind()
	if k.depth() > 0 {
		page = make([]byte, PageSize)
		err := c.v.page(ctx, s.l, k.level(), page)
		if fault.CodeOf(err) == CodeGone {
			c.badEntry(s.l)
			return nil
		}
		if err != nil {
			return err
		}
	}
	if c.v.hash.sum(k.level(), page) != want {
		return damaged(s.l.String(), errors.New("a page that has another hash"))
	}
	return nil
}

// manifests looks whether all that checkpoints use is there and whole.
func (c *checker) manifests(ctx context.Context) error {
	names, err := c.v.List(ctx)
	if err != nil {
		return err
	}
	c.report.Manifests = len(names)
	// Nodes are read from the storage anew.
	c.v.nodes.clear()
	shared, alone := c.marker(), len(c.report.Damage) > 0
	for _, name := range names {
		m := shared
		if alone {
			m = c.marker() // what two share hurts both
		}
		err := m.manifest(ctx, name)
		if isLost(err) && !alone {
			alone = true
			shared = c.marker()
		}
		if isLost(err) || fault.CodeOf(err) == CodeKey {
			c.report.Hurt = append(c.report.Hurt, name)
			c.report.Damage = append(c.report.Damage, Damage{manPrefix + name, err.Error()})
			continue
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (c *checker) marker() *marker {
	m := newMarker(c.v.Reader)
	m.check = func(s spot) error {
		if c.bad[s.f.number].has(s.l.entry()) {
			return damaged(s.l.String(), errors.New("a damaged page"))
		}
		return nil
	}
	return m
}
