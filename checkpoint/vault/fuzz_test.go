package vault

import (
	"bytes"
	"encoding/binary"
	"testing"

	"cellar/checkpoint/vault/blob/blobtest"
)

// What is sealed was written by whoever has the key, and can still be wrong: the
// parsers answer errors, within bounds.

func FuzzTrailer(f *testing.F) {
	f.Add(trailer{number: 1, blocks: 1, entries: 2, table: 40, hashes: 48}.encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		tr, err := parseTrailer(b)
		if err != nil {
			return
		}
		again, err := parseTrailer(tr.encode())
		if err != nil || again != tr {
			t.Errorf("%+v is %+v, %v", tr, again, err)
		}
	})
}

func FuzzTable(f *testing.F) {
	good := footer{trailer: trailer{blocks: 2, entries: 3, data: 1000}, offsets: []uint32{0, 100}, lengths: []uint32{100, 200},
		first: []uint32{0, 2, 3}, kinds: []kind{kindOf(0, 0), kindOf(0, 2), kindOf(3, 0)}, bases: []Location{at(4, 5)}}
	f.Add(uint32(2), uint32(3), uint32(1000), good.encodeTable())
	f.Fuzz(func(t *testing.T, blocks, entries, data uint32, b []byte) {
		if blocks > maxBlocks || entries > maxEntries {
			return // parseTrailer lets none pass
		}
		foot, err := parseTable(trailer{number: 1, blocks: blocks, entries: entries, data: data}, b)
		if err != nil {
			return
		}
		if !bytes.Equal(foot.encodeTable(), b) {
			t.Error("another table")
		}
		foot.each(func(entry uint32, d int) {
			is, ok := foot.dense(entry)
			if !ok || is != d {
				t.Errorf("entry %d has rank %d, %v; want %d", entry, is, ok, d)
			}
			if foot.kinds[d].depth() > 0 && !foot.base(entry/blockPages, d).valid() {
				t.Error("a base that cannot be")
			}
		})
	})
}

func FuzzForward(f *testing.F) {
	moves := &forward{}
	for _, e := range []uint32{0, 1, 2, 7, 8, 100} {
		moves.add(e, at(3, 20+e))
	}
	f.Add(moves.encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		moves, err := parseForward(b)
		if err != nil {
			return
		}
		n := 0
		moves.each(func(entry uint32, to Location) {
			n++
			if is, ok := moves.lookup(entry); !ok || is != to || !to.valid() {
				t.Errorf("entry %d goes to %v, %v; want %v", entry, is, ok, to)
			}
		})
		if n > maxEntries {
			t.Errorf("%d moves", n)
		}
	})
}

func FuzzNode(f *testing.F) {
	n := node{1: at(1, 2), 511: at(7, 7)}
	var page [PageSize]byte
	n.encode(page[:])
	f.Add(page[:])
	f.Fuzz(func(t *testing.T, b []byte) {
		n, err := parseNode(b)
		if err != nil {
			return
		}
		var page [PageSize]byte
		n.encode(page[:])
		if !bytes.Equal(page[:], b) {
			t.Error("another node")
		}
	})
}

func FuzzManifest(f *testing.F) {
	s := &squeezers{}
	r := OpenReader(blobtest.NewFailing(), tenant, 1<<16)
	f.Add(sealManifest(tenant, project, "a", []Object{{at(1, 1), 2, 5000}}, []byte("{}"), s), []byte{})
	f.Add([]byte{}, appendObjects(nil, []Object{{at(1, 1), 2, 5000}}))
	f.Fuzz(func(t *testing.T, whole, objects []byte) {
		_, _, _ = r.openManifest("a", whole) // no panic
		parsed, err := parseObjects(objects)
		if err == nil && !bytes.Equal(appendObjects(nil, parsed), objects) {
			t.Error("other objects")
		}
	})
}

func FuzzStretch(f *testing.F) {
	s := &squeezers{}
	f.Add(s.squeeze(nil, make([]byte, 1000)))
	f.Add(s.squeeze(nil, make([]byte, 10<<20)))
	d := &stretchers{most: blockPages * PageSize}
	f.Fuzz(func(t *testing.T, b []byte) {
		if out, err := d.stretch(nil, b); err == nil && len(out) > blockPages*PageSize {
			t.Errorf("%d bytes", len(out))
		}
	})
}

// Trees that whoever has the key made wrong: levels that do not descend, deltas
// that stand on themselves. Reading and marking end with an error.
func TestHostileTrees(t *testing.T) {
	store := blobtest.NewFailing()
	r := OpenReader(store, tenant, 1<<20)
	w := newWriter(ctx, r, 1)
	page := func(l Location) []byte {
		b := make([]byte, PageSize)
		for i := range 512 {
			binary.LittleEndian.PutUint64(b[8*i:], uint64(l))
		}
		return b
	}
	add := func(level, depth int, base Location, b []byte) Location {
		h := Hash{byte(w.entries()), 1}
		l, err := w.add(&h, kindOf(level, depth), base, b)
		ok(t, err)
		return l
	}
	// Entries of pages begin at 0, of nodes at 16: both blocks are open from the first.
	self := add(0, 1, at(1, 0), page(0))                      // stands on itself
	loop := add(5, 0, 0, page(at(1, 16)))                     // is its own child
	deep := add(0, 4, at(1, 0), page(0))                      // four deltas that are not there
	away := add(1, 0, 0, page(at(77, 3)))                     // children in a segment that is not there
	wild := add(1, 0, 0, bytes.Repeat([]byte{255}, PageSize)) // locations that cannot be
	cross := add(1, 1, self, page(0))                         // a node that stands on a page
	_, err := w.seal()
	ok(t, err)
	for name, o := range map[string]Object{
		"self": {self, 0, 4096}, "loop": {loop, 5, 4096}, "deep": {deep, 0, 4096}, "away": {away, 1, 4096},
		"wild": {wild, 1, 4096}, "cross": {cross, 1, 4096}, "page as node": {self, 1, 4096}, "node as page": {loop, 0, 4096},
		"no entry": {at(1, 40), 0, 4096}, "no segment": {at(9, 0), 0, 4096},
	} {
		if err := r.Object(o).ReadPage(ctx, 0, make([]byte, PageSize)); !isLost(err) {
			t.Errorf("read %s: %v", name, err)
		}
		if err := newMarker(r).mark(ctx, o.Root, int(o.Height)); !isLost(err) {
			t.Errorf("mark %s: %v", name, err)
		}
		if o.Height > 0 {
			for _, err := range r.Object(o).Present(ctx, 0) {
				if err != nil {
					if !isLost(err) {
						t.Errorf("pages of %s: %v", name, err)
					}
					break
				}
			}
		}
	}
}
