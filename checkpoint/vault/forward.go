package vault

import (
	"context"
	"encoding/binary"
	"errors"
	"sort"

	"cellar/internal/fault"
)

// forward says where the entries of a segment that was collected are now: runs of
// entries that lie in a row both before and after. The table of a segment is
// written before the segment goes, and goes when nothing refers to it any more.
type forward struct {
	from []uint32 // entries, ascending
	runs []uint32 // lengths
	to   []Location
}

const maxForward = 12 + maxEntries*16 // bytes, before compression

func (f *forward) lookup(entry uint32) (Location, bool) {
	i := sort.Search(len(f.from), func(i int) bool { return f.from[i] > entry }) - 1
	if i < 0 || entry-f.from[i] >= f.runs[i] {
		return 0, false
	}
	return f.to[i] + Location(entry-f.from[i]), true
}

// add appends a move; entries come in ascending order.
func (f *forward) add(entry uint32, to Location) {
	if i := len(f.from) - 1; i >= 0 && f.from[i]+f.runs[i] == entry && f.to[i]+Location(f.runs[i]) == to {
		f.runs[i]++
		return
	}
	f.from, f.runs, f.to = append(f.from, entry), append(f.runs, 1), append(f.to, to)
}

// each calls fn with every move.
func (f *forward) each(fn func(entry uint32, to Location)) {
	for i := range f.from {
		for k := range f.runs[i] {
			fn(f.from[i]+k, f.to[i]+Location(k))
		}
	}
}

func (f *forward) cost() int64 { return 128 + int64(16*len(f.from)) }

func (f *forward) encode() []byte {
	b := make([]byte, 0, 16*len(f.from))
	for i := range f.from {
		b = binary.LittleEndian.AppendUint32(b, f.from[i])
		b = binary.LittleEndian.AppendUint32(b, f.runs[i])
		b = binary.LittleEndian.AppendUint64(b, uint64(f.to[i]))
	}
	return b
}

func parseForward(b []byte) (*forward, error) {
	if len(b)%16 != 0 || len(b) > maxForward {
		return nil, errors.New("a table of moves of a size that cannot be")
	}
	f, end, total := &forward{}, uint64(0), uint64(0)
	for ; len(b) > 0; b = b[16:] {
		from, run, to := binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint32(b[4:]), Location(binary.LittleEndian.Uint64(b[8:]))
		total += uint64(run)
		last, next := uint64(to.entry())+uint64(run), uint64(from)+uint64(run)
		if run == 0 || uint64(from) < end || total > maxEntries || max(last, next) > maxBlocks*blockPages || to.segment() == 0 {
			return nil, errors.New("a move that cannot be")
		}
		end = next
		f.from, f.runs, f.to = append(f.from, from), append(f.runs, run), append(f.to, to)
	}
	return f, nil
}

// forward reads the moves of a segment's entries.
func (r *Reader) forward(ctx context.Context, n uint32) (*forward, error) {
	if f, ok := r.forwards.get(n); ok {
		return f, nil
	}
	name := fwdName(n)
	packed, err := r.readBox(ctx, name, r.keys.tenant, boxForward)
	if fault.CodeOf(err) == CodeDamaged { // replaced while we read it?
		packed, err = r.readBox(ctx, name, r.keys.tenant, boxForward)
	}
	if err != nil {
		return nil, err
	}
	plain, err := r.tables.stretch(nil, packed)
	if err != nil {
		return nil, damaged(name, err)
	}
	f, err := parseForward(plain)
	if err != nil {
		return nil, damaged(name, err)
	}
	r.forwards.add(n, f, f.cost())
	return f, nil
}

func (r *Reader) writeForward(ctx context.Context, n uint32, f *forward) error {
	packed := r.squeeze.squeeze(nil, f.encode())
	if err := r.writeBox(ctx, fwdName(n), r.keys.tenant, boxForward, packed); err != nil {
		return err
	}
	r.forwards.drop(n)
	return nil
}
