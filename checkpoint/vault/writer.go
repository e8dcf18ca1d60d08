package vault

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// writer writes one segment, block by block, into a blob that appears when it is
// sealed. It is for one goroutine, and takes up to about 5 MiB.
type writer struct {
	r      *Reader
	foot   footer // number, salt, cipher, offsets and lengths; the rest at the end
	counts []uint8
	open   [2]pending // pages, nodes: mixed they would part pages that are read in a row
	pipe   *io.PipeWriter
	put    chan error // answers once, when the store is done with the blob
	buf    []byte

	// Per entry, in the order in which they came.
	hashes  []Hash
	kinds   []kind
	bases   []Location
	numbers []uint32
	table   []uint32 // open addressing by hash: 1 + which of them
}

// pending is a block that has room left.
type pending struct {
	open   bool
	number uint32
	pages  []byte
}

var errAborted = errors.New("given up")

// newWriter begins segment n. Whoever begins one calls seal or abort.
func newWriter(ctx context.Context, r *Reader, n uint32) *writer {
	w := &writer{r: r, put: make(chan error, 1), table: make([]uint32, 256)}
	w.foot.number, w.foot.id, w.foot.salt = n, r.keys.id, newSalt()
	w.foot.aead = r.keys.tenant.aead(w.foot.salt[:], "segment")
	var from *io.PipeReader
	from, w.pipe = io.Pipe()
	go func() {
		err := r.store.Put(ctx, segName(n), func(to io.Writer) error {
			_, err := io.Copy(to, from)
			return err
		})
		if err != nil {
			from.CloseWithError(err)
		}
		w.put <- err
	}()
	return w
}

func (w *writer) entries() int { return len(w.numbers) }

// lookup answers where in this segment a page with that hash is.
func (w *writer) lookup(h *Hash) (Location, bool) {
	i := w.seek(h)
	if w.table[i] == 0 {
		return 0, false
	}
	return at(w.foot.number, w.numbers[w.table[i]-1]), true
}

func (w *writer) seek(h *Hash) uint32 {
	mask := uint32(len(w.table) - 1)
	i := binary.LittleEndian.Uint32(h[8:]) & mask
	for w.table[i] != 0 && w.hashes[w.table[i]-1] != *h {
		i = (i + 1) & mask
	}
	return i
}

// add stores an entry: a page or, with a base, its difference.
func (w *writer) add(h *Hash, k kind, base Location, stored []byte) (Location, error) {
	p := &w.open[min(k.level(), 1)]
	if !p.open {
		p.open, p.number, p.pages = true, w.newBlock(), p.pages[:0]
	}
	number := p.number*blockPages + uint32(len(p.pages)/PageSize)
	p.pages = append(p.pages, stored...)
	w.note(h, k, base, number)
	if len(p.pages) == blockPages*PageSize {
		if err := w.flush(p); err != nil {
			return 0, err
		}
	}
	return at(w.foot.number, number), nil
}

func (w *writer) newBlock() uint32 {
	w.foot.offsets, w.foot.lengths = append(w.foot.offsets, 0), append(w.foot.lengths, 0)
	w.counts = append(w.counts, 0)
	return uint32(len(w.counts) - 1)
}

func (w *writer) note(h *Hash, k kind, base Location, number uint32) {
	w.hashes, w.kinds = append(w.hashes, *h), append(w.kinds, k)
	w.bases, w.numbers = append(w.bases, base), append(w.numbers, number)
	w.counts[number/blockPages]++
	if len(w.numbers) > len(w.table)/2 {
		w.table = make([]uint32, 2*len(w.table))
		for i := range w.hashes {
			w.table[w.seek(&w.hashes[i])] = uint32(i) + 1
		}
		return
	}
	w.table[w.seek(h)] = uint32(len(w.numbers))
}

// noted is an entry of a block that is copied as it stands.
type noted struct {
	hash Hash
	kind kind
	base Location
}

// copyBlock stores a block that is compressed already.
func (w *writer) copyBlock(packed []byte, entries []noted) (first Location, err error) {
	b := w.newBlock()
	for i := range entries {
		w.note(&entries[i].hash, entries[i].kind, entries[i].base, b*blockPages+uint32(i))
	}
	w.buf = append(w.buf[:0], packed...)
	return at(w.foot.number, b*blockPages), w.sealBlock(b)
}

func (w *writer) flush(p *pending) error {
	if !p.open {
		return nil
	}
	p.open = false
	w.buf = w.r.squeeze.squeeze(w.buf[:0], p.pages)
	return w.sealBlock(p.number)
}

// sealBlock encrypts and writes what stands in buf.
func (w *writer) sealBlock(b uint32) error {
	w.foot.offsets[b] = w.foot.data
	n, err := w.sealed(b)
	w.foot.lengths[b] = n
	w.foot.data += n
	return err
}

// sealed encrypts buf in place and writes it.
func (w *writer) sealed(n uint32) (uint32, error) {
	x := nonceOf(n)
	var also []byte
	if n >= nonceHashes {
		also = w.foot.encode()
	}
	w.buf = w.foot.aead.Seal(w.buf[:0], x[:], w.buf, also)
	_, err := w.pipe.Write(w.buf)
	return uint32(len(w.buf)), err
}

// size is about how many bytes the segment has by now.
func (w *writer) size() int64 { return int64(w.foot.data) + int64(20*w.entries()) }

// seal ends the segment and waits until it is durable.
func (w *writer) seal() (*footer, error) {
	err := w.finish()
	w.pipe.CloseWithError(err) // nil: the end of the blob
	if put := <-w.put; put != nil || err != nil {
		return nil, fmt.Errorf("write segment %08x: %w", w.foot.number, errors.Join(put, err))
	}
	return &w.foot, nil
}

func (w *writer) finish() error {
	for i := range w.open {
		if err := w.flush(&w.open[i]); err != nil {
			return err
		}
	}
	hashes, err := w.complete()
	if err != nil {
		return err
	}
	// The sizes stand in the trailer, and the trailer is sealed with both.
	table := w.r.squeeze.squeeze(nil, w.foot.encodeTable())
	w.foot.table, w.foot.hashes = uint32(len(table)+tagSize), uint32(len(hashes)+tagSize)
	w.buf = append(w.buf[:0], table...)
	if _, err := w.sealed(nonceTable); err != nil {
		return err
	}
	w.buf = append(w.buf[:0], hashes...)
	if _, err := w.sealed(nonceHashes); err != nil {
		return err
	}
	_, err = w.pipe.Write(w.foot.trailer.encode())
	return err
}

// complete puts what is known of the entries in the order of their numbers, into
// the footer, and answers the hashes in that order.
func (w *writer) complete() ([]byte, error) {
	f := &w.foot
	f.blocks, f.entries = uint32(len(w.counts)), uint32(w.entries())
	f.first, f.deltas = make([]uint32, f.blocks+1), make([]uint32, f.blocks+1)
	for b, n := range w.counts {
		f.first[b+1] = f.first[b] + uint32(n)
	}
	f.kinds = make([]kind, f.entries)
	hashes, bases := make([]byte, int(f.entries)*len(Hash{})), make([]Location, f.entries)
	for i, number := range w.numbers {
		d := f.first[number/blockPages] + number%blockPages
		f.kinds[d], bases[d] = w.kinds[i], w.bases[i]
		copy(hashes[int(d)*len(Hash{}):], w.hashes[i][:])
	}
	for b := range f.blocks {
		f.deltas[b+1] = f.deltas[b]
		for d := f.first[b]; d < f.first[b+1]; d++ {
			if bases[d] != 0 {
				f.deltas[b+1]++
				f.bases = append(f.bases, bases[d])
			}
		}
	}
	if _, err := parseTrailer(f.trailerFor(hashes).encode()); err != nil {
		return nil, err // a limit was passed: our mistake, and not one to store
	}
	return hashes, nil
}

// trailerFor is the trailer, but for the size of the table.
func (f *footer) trailerFor(hashes []byte) trailer {
	t := f.trailer
	t.table, t.hashes = tagSize, uint32(len(hashes)+tagSize)
	return t
}

// abort gives the segment up; nothing of it appears.
func (w *writer) abort() {
	w.pipe.CloseWithError(errAborted)
	<-w.put
}
