package vault

import (
	"bytes"
	"crypto/cipher"
	"encoding/binary"
	"errors"
	"fmt"
)

// A segment is a blob: sealed blocks, then the sealed table, then the sealed
// hashes, then the trailer in the clear.
//
//	table   per block: offset u32, length u32, entries u8
//	        per entry: level in bits 0-2, links to the last base in bits 3-5
//	        per entry that is a delta: base location u64
//	hashes  per entry: 16 bytes
//	trailer see below; authenticated with the table and with the hashes
//
// An entry's number is 16 * its block + its place. Blocks have up to 16 pages,
// compressed and encrypted together; a delta stands in its block as the XOR with
// its base. Reading needs the table alone, a few bytes per page; storing needs
// the hashes too.
const (
	blockPages = 16
	maxEntries = 1 << 17 // of a segment; also the most blocks
	maxBlocks  = maxEntries
	maxDepth   = 4 // deltas to follow until a whole page
	maxSealed  = 1 + blockPages*PageSize + tagSize

	trailerMagic = "CVsg"
	trailerSize  = 64
	version      = 1

	nonceTable  = 1<<32 - 1
	nonceHashes = 1<<32 - 2
)

// trailer is the end of a segment.
type trailer struct {
	number  uint32
	blocks  uint32
	entries uint32
	data    uint32 // bytes of sealed blocks
	table   uint32 // bytes of the sealed table
	hashes  uint32 // bytes of the sealed hashes
	id      keyID
	salt    salt
}

func (t trailer) encode() []byte {
	b := append(make([]byte, 0, trailerSize), trailerMagic...)
	for _, n := range []uint32{version, t.number, t.blocks, t.entries, t.data, t.table, t.hashes} {
		b = binary.LittleEndian.AppendUint32(b, n)
	}
	b = append(append(b, t.id[:]...), t.salt[:]...)
	return b[:trailerSize]
}

func parseTrailer(b []byte) (t trailer, err error) {
	if len(b) != trailerSize || string(b[:4]) != trailerMagic {
		return t, errors.New("no trailer of a segment")
	}
	if v := binary.LittleEndian.Uint32(b[4:]); v != version {
		return t, fmt.Errorf("a segment of version %d", v)
	}
	for i, n := range []*uint32{&t.number, &t.blocks, &t.entries, &t.data, &t.table, &t.hashes} {
		*n = binary.LittleEndian.Uint32(b[8+4*i:])
	}
	copy(t.id[:], b[32:])
	copy(t.salt[:], b[32+keyIDSize:])
	switch {
	case !bytes.Equal(t.encode(), b):
		return t, errors.New("a trailer with more in it than there is")
	case t.blocks > maxBlocks || t.entries > maxEntries || t.blocks > t.entries || t.entries > t.blocks*blockPages:
		return t, errors.New("a segment with counts that cannot be")
	case t.table < tagSize || t.table > tagSize+1+17*maxEntries:
		return t, errors.New("a table of a size that cannot be")
	case t.hashes != t.entries*uint32(len(Hash{}))+tagSize:
		return t, errors.New("hashes of a size that cannot be")
	}
	return t, nil
}

func (t trailer) size() int64 {
	return int64(t.data) + int64(t.table) + int64(t.hashes) + trailerSize
}

// footer is what must be known of a segment to read it. It does not change.
type footer struct {
	trailer
	aead    cipher.AEAD
	offsets []uint32
	lengths []uint32
	first   []uint32 // per block and one more: entries before it
	deltas  []uint32 // per block and one more: deltas before it
	kinds   []kind   // per entry
	bases   []Location
}

// kind is what an entry is: its level, and how many deltas lead to a whole page.
type kind uint8

func kindOf(level, depth int) kind { return kind(level | depth<<3) }
func (k kind) level() int          { return int(k & 7) }
func (k kind) depth() int          { return int(k >> 3) }

// cost is the memory that a footer takes, about.
func (f *footer) cost() int64 {
	return 512 + int64(16*len(f.offsets)+len(f.kinds)+8*len(f.bases))
}

// dense answers the rank of an entry among those that are there.
func (f *footer) dense(entry uint32) (int, bool) {
	b, place := entry/blockPages, entry%blockPages
	if b >= f.blocks || place >= f.first[b+1]-f.first[b] {
		return 0, false
	}
	return int(f.first[b] + place), true
}

// base answers what the delta at rank d of block b stands on.
func (f *footer) base(b uint32, d int) Location {
	n := f.deltas[b]
	for i := int(f.first[b]); i < d; i++ {
		if f.kinds[i].depth() > 0 {
			n++
		}
	}
	return f.bases[n]
}

// entries calls fn with every entry's number and rank.
func (f *footer) each(fn func(entry uint32, d int)) {
	for b := range f.blocks {
		for d := f.first[b]; d < f.first[b+1]; d++ {
			fn(b*blockPages+d-f.first[b], int(d))
		}
	}
}

// encodeTable writes the table; parseTable reads it.
func (f *footer) encodeTable() []byte {
	b := make([]byte, 0, 9*len(f.offsets)+len(f.kinds)+8*len(f.bases))
	for i := range f.offsets {
		b = binary.LittleEndian.AppendUint32(b, f.offsets[i])
		b = binary.LittleEndian.AppendUint32(b, f.lengths[i])
		b = append(b, byte(f.first[i+1]-f.first[i]))
	}
	for _, k := range f.kinds {
		b = append(b, byte(k))
	}
	for _, l := range f.bases {
		b = binary.LittleEndian.AppendUint64(b, uint64(l))
	}
	return b
}

// parseTable checks all that reading relies on: a table of whoever has the key
// can be wrong, and does no more harm than an error.
func parseTable(t trailer, b []byte) (*footer, error) {
	blocks, entries := int(t.blocks), int(t.entries)
	if len(b) < 9*blocks+entries {
		return nil, errors.New("a table that is too short")
	}
	f := &footer{trailer: t, offsets: make([]uint32, blocks), lengths: make([]uint32, blocks),
		first: make([]uint32, blocks+1), deltas: make([]uint32, blocks+1), kinds: make([]kind, entries)}
	for i := range blocks {
		f.offsets[i], f.lengths[i] = binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint32(b[4:])
		count := uint32(b[8])
		if count == 0 || count > blockPages || f.lengths[i] <= tagSize || f.lengths[i] > maxSealed ||
			uint64(f.offsets[i])+uint64(f.lengths[i]) > uint64(t.data) {
			return nil, fmt.Errorf("block %d cannot be", i)
		}
		f.first[i+1] = f.first[i] + count
		b = b[9:]
	}
	if f.first[blocks] != t.entries {
		return nil, errors.New("blocks that have not the entries")
	}
	if err := f.parseKinds(b[:entries]); err != nil {
		return nil, err
	}
	return f, f.parseBases(b[entries:])
}

func (f *footer) parseKinds(b []byte) error {
	for block := range f.blocks {
		f.deltas[block+1] = f.deltas[block]
		for d := f.first[block]; d < f.first[block+1]; d++ {
			k := kind(b[d])
			if k.level() > maxHeight || k.depth() > maxDepth {
				return fmt.Errorf("entry %d is of kind %d", d, k)
			}
			f.kinds[d] = k
			if k.depth() > 0 {
				f.deltas[block+1]++
			}
		}
	}
	return nil
}

func (f *footer) parseBases(b []byte) error {
	n := int(f.deltas[f.blocks])
	if len(b) != 8*n {
		return errors.New("bases of another number than deltas")
	}
	f.bases = make([]Location, n)
	for i := range f.bases {
		f.bases[i] = Location(binary.LittleEndian.Uint64(b[8*i:]))
		if f.bases[i] == 0 || !f.bases[i].valid() {
			return fmt.Errorf("base %s cannot be", f.bases[i])
		}
	}
	return nil
}
