package vault

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"

	"cellar/checkpoint/vault/blob"
	"cellar/internal/fault"
)

// Reader reads a vault. It has no index and changes nothing, and may do so in
// another process than the one that writes: what a collection moves away under it
// is found again. It is for many goroutines.
type Reader struct {
	store   blob.Store
	keys    keyring
	hash    *hasher
	there   func(segment uint32) bool // of the process that writes: which segments count; else nil
	squeeze *squeezers
	blocks  *stretchers
	tables  *stretchers

	footers  *lru[uint32, *footer]
	hashes   *lru[uint32, []byte]
	forwards *lru[uint32, *forward]
	decoded  *lru[Location, []byte] // by the location of a block's first entry
	nodes    *lru[nodeKey, *node]
}

// OpenReader opens the vault in store for reading. Cache is the memory for
// decoded blocks and for footers, bytes each.
func OpenReader(store blob.Store, tenant Key, cache int64) *Reader {
	return &Reader{
		store: store, keys: keyring{tenant, tenant.id()}, hash: newHasher(tenant),
		squeeze:  &squeezers{},
		blocks:   &stretchers{most: blockPages * PageSize},
		tables:   &stretchers{most: 32 << 20},
		footers:  newLRU[uint32, *footer](cache / 4),
		hashes:   newLRU[uint32, []byte](cache / 2),
		forwards: newLRU[uint32, *forward](cache / 8),
		decoded:  newLRU[Location, []byte](cache / 2),
		nodes:    newLRU[nodeKey, *node](cache / 2),
	}
}

// readAll reads a small blob.
func (r *Reader) readAll(ctx context.Context, name string, most int64) ([]byte, error) {
	size, err := r.store.Size(ctx, name)
	if err != nil {
		return nil, err
	}
	if size > most {
		return nil, damaged(name, fmt.Errorf("%d bytes long", size))
	}
	b := make([]byte, size)
	return b, r.readAt(ctx, name, b, 0)
}

// readAt reads part of a blob; a blob that is too short is damaged.
func (r *Reader) readAt(ctx context.Context, name string, p []byte, off int64) error {
	err := r.store.ReadAt(ctx, name, p, off)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return damaged(name, err)
	}
	return err
}

// maxBox bounds boxes: a forward, or the manifest of a caller.
const maxBox = 64 << 20

func (r *Reader) readBox(ctx context.Context, name string, k Key, kind boxKind) ([]byte, error) {
	b, err := r.readAll(ctx, name, maxBox)
	if err != nil {
		return nil, err
	}
	return openBox(k, kind, []byte(name), b)
}

func (r *Reader) writeBox(ctx context.Context, name string, k Key, kind boxKind, plain []byte) error {
	return r.store.Put(ctx, name, func(w io.Writer) error {
		_, err := w.Write(sealBox(k, kind, []byte(name), plain))
		return err
	})
}

// trailer reads the end of a segment.
func (r *Reader) trailer(ctx context.Context, n uint32) (trailer, error) {
	if f, ok := r.footers.get(n); ok {
		return f.trailer, nil
	}
	name := segName(n)
	size, err := r.store.Size(ctx, name)
	if err != nil {
		return trailer{}, err
	}
	if size < trailerSize {
		return trailer{}, damaged(name, errors.New("too short"))
	}
	b := make([]byte, trailerSize)
	if err := r.readAt(ctx, name, b, size-trailerSize); err != nil {
		return trailer{}, err
	}
	t, err := parseTrailer(b)
	if err == nil && t.id != r.keys.id {
		return trailer{}, wrongKey(name)
	}
	if err == nil && (t.number != n || t.size() != size) {
		err = errors.New("another segment's trailer")
	}
	if err != nil {
		return trailer{}, damaged(name, err)
	}
	return t, nil
}

// footer answers what is known of a segment, read once.
func (r *Reader) footer(ctx context.Context, n uint32) (*footer, error) {
	if f, ok := r.footers.get(n); ok {
		return f, nil
	}
	t, err := r.trailer(ctx, n)
	if err != nil {
		return nil, err
	}
	sealed := make([]byte, t.table)
	if err := r.readAt(ctx, segName(n), sealed, int64(t.data)); err != nil {
		return nil, err
	}
	f, err := r.openTable(t, sealed)
	if err != nil {
		return nil, damaged(segName(n), err)
	}
	r.footers.add(n, f, f.cost())
	return f, nil
}

func (r *Reader) openTable(t trailer, sealed []byte) (*footer, error) {
	aead := r.keys.tenant.aead(t.salt[:], "segment")
	x := nonceOf(nonceTable)
	packed, err := aead.Open(sealed[:0], x[:], sealed, t.encode())
	if err != nil {
		return nil, err
	}
	plain, err := r.tables.stretch(nil, packed)
	if err != nil {
		return nil, err
	}
	f, err := parseTable(t, plain)
	if err != nil {
		return nil, err
	}
	f.aead = aead
	return f, nil
}

// hashesOf answers the hashes of a segment's entries, by rank.
func (r *Reader) hashesOf(ctx context.Context, f *footer) ([]byte, error) {
	if h, ok := r.hashes.get(f.number); ok {
		return h, nil
	}
	sealed := make([]byte, f.trailer.hashes)
	if err := r.readAt(ctx, segName(f.number), sealed, int64(f.data)+int64(f.table)); err != nil {
		return nil, err
	}
	x := nonceOf(nonceHashes)
	h, err := f.aead.Open(sealed[:0], x[:], sealed, f.encode())
	if err != nil {
		return nil, damaged(segName(f.number), err)
	}
	r.hashes.add(f.number, h, int64(len(h)))
	return h, nil
}

func hashAt(hashes []byte, d int) Hash { return Hash(hashes[d*len(Hash{}):]) }

// forget drops what was kept of a segment that is gone.
func (r *Reader) forget(n uint32) {
	r.footers.drop(n)
	r.hashes.drop(n)
	r.forwards.drop(n)
}

// spot is an entry that was found.
type spot struct {
	f *footer
	l Location // in f, after all moves
	d int      // its rank
}

func (s spot) kind() kind { return s.f.kinds[s.d] }

// base answers what a delta stands on.
func (s spot) base() Location { return s.f.base(s.l.block(), s.d) }

// maxMoves bounds how often a location is looked up again. Collections keep it at one move; a
// reader that holds what an older one said needs more.
const maxMoves = 8

// find answers where a location is now. What was kept of moves may be from before
// later ones, so that a failure is looked into once more.
func (r *Reader) find(ctx context.Context, l Location) (spot, error) {
	s, err := r.follow(ctx, l, nil)
	if fault.CodeOf(err) == CodeGone {
		s, err = r.follow(ctx, l, r.forwards.drop)
	}
	return s, err
}

// follow goes from move to move; it calls fresh, if given, with each segment first.
func (r *Reader) follow(ctx context.Context, l Location, fresh func(uint32)) (spot, error) {
	where := l
	for range maxMoves {
		if fresh != nil {
			fresh(where.segment())
		}
		f, err := r.present(ctx, where.segment())
		if err == nil {
			d, ok := f.dense(where.entry())
			if !ok {
				return spot{}, gone(l)
			}
			return spot{f, where, d}, nil
		}
		if !errors.Is(err, fault.NotFound) {
			return spot{}, err
		}
		if where, err = r.moved(ctx, where); err != nil {
			return spot{}, err
		}
	}
	return spot{}, gone(l)
}

// present answers the footer of a segment that counts. A footer may be kept of one
// that was collected: a mark made there would be none where its pages are now.
func (r *Reader) present(ctx context.Context, n uint32) (*footer, error) {
	if r.there != nil && !r.there(n) {
		return nil, blob.Absent(segName(n))
	}
	return r.footer(ctx, n)
}

// moved answers where an entry of a segment that is gone was put.
func (r *Reader) moved(ctx context.Context, l Location) (Location, error) {
	fwd, err := r.forward(ctx, l.segment())
	if errors.Is(err, fault.NotFound) {
		return 0, gone(l)
	}
	if err != nil {
		return 0, err
	}
	to, ok := fwd.lookup(l.entry())
	if !ok {
		return 0, gone(l)
	}
	return to, nil
}

// block answers a decoded block, which nobody may change.
func (r *Reader) block(ctx context.Context, f *footer, b uint32) ([]byte, error) {
	key := at(f.number, b*blockPages)
	if pages, ok := r.decoded.get(key); ok {
		return pages, nil
	}
	packed, err := r.openBlock(ctx, f, b, nil)
	if err != nil {
		return nil, err
	}
	count := int(f.first[b+1] - f.first[b])
	pages, err := r.blocks.stretch(make([]byte, 0, count*PageSize), packed)
	if err == nil && len(pages) != count*PageSize {
		err = errShort
	}
	if err != nil {
		return nil, damaged(blockName(f.number, b), err)
	}
	r.decoded.add(key, pages, int64(len(pages))+128)
	return pages, nil
}

var errShort = errors.New("pages are missing")

func blockName(segment, b uint32) string { return fmt.Sprintf("%s block %d", segName(segment), b) }

// openBlock reads a block and decrypts it; it stays compressed. What it answers
// lies in buf when that has room.
func (r *Reader) openBlock(ctx context.Context, f *footer, b uint32, buf []byte) ([]byte, error) {
	n := int(f.lengths[b])
	if cap(buf) < n {
		buf = make([]byte, n)
	}
	sealed := buf[:n]
	if err := r.readAt(ctx, segName(f.number), sealed, int64(f.offsets[b])); err != nil {
		return nil, err
	}
	return f.unsealBlock(b, sealed)
}

func (f *footer) unsealBlock(b uint32, sealed []byte) ([]byte, error) {
	x := nonceOf(b)
	packed, err := f.aead.Open(sealed[:0], x[:], sealed, nil)
	if err != nil {
		return nil, damaged(blockName(f.number, b), err)
	}
	return packed, nil
}

// page reads the page at l, of that level, into buf.
func (r *Reader) page(ctx context.Context, l Location, level int, buf []byte) error {
	if l == 0 {
		clear(buf)
		return nil
	}
	for depth := maxDepth + 1; ; {
		s, stored, err := r.stored(ctx, l)
		if err != nil {
			return err
		}
		k := s.kind()
		if k.level() != level || k.depth() >= depth {
			return damaged(s.l.String(), errors.New("an entry of a kind that does not belong here"))
		}
		if depth > maxDepth {
			copy(buf, stored)
		} else {
			subtle.XORBytes(buf, buf, stored)
		}
		if depth = k.depth(); depth == 0 {
			return nil
		}
		l = s.base()
	}
}

// stored answers an entry as it stands in its block. A segment that goes between
// finding and reading is looked for again.
func (r *Reader) stored(ctx context.Context, l Location) (spot, []byte, error) {
	for range maxMoves {
		s, err := r.find(ctx, l)
		if err != nil {
			return s, nil, err
		}
		block, err := r.block(ctx, s.f, s.l.block())
		if err == nil {
			n := s.l.place() * PageSize
			return s, block[n : n+PageSize], nil
		}
		if !errors.Is(err, fault.NotFound) {
			return s, nil, err
		}
		r.forget(s.f.number)
		r.forget(l.segment())
	}
	return spot{}, nil, gone(l)
}

type nodeKey struct {
	l     Location
	level int
}

// node reads the node at l, whose children are of the level below.
func (r *Reader) node(ctx context.Context, l Location, level int) (*node, error) {
	if l == 0 {
		return &node{}, nil
	}
	key := nodeKey{l, level}
	if n, ok := r.nodes.get(key); ok {
		return n, nil
	}
	buf := make([]byte, PageSize)
	if err := r.page(ctx, l, level, buf); err != nil {
		return nil, err
	}
	n, err := parseNode(buf)
	if err != nil {
		return nil, damaged(l.String(), err)
	}
	r.nodes.add(key, n, PageSize+128)
	return n, nil
}
