package tree

import (
	"cmp"
	"encoding/binary"
	"hash/fnv"
	"slices"
	"strings"

	"cellar/checkpoint/vault"
)

// A listing is chunks, each a length (u32) and entries, filled up with zeros to
// whole pages. Where a chunk ends is decided by the paths in it, so what is in
// between two changes makes the same pages, and a vault has those already.

const (
	chunkMost  = 3500 // bytes after which a chunk ends
	chunkEvery = 32   // of how many paths one ends a chunk, about
	maxListing = 128 << 20
)

const (
	flagTorn = 1 << iota
	flagUnsettled
)

func endsChunk(p string) bool {
	h := fnv.New32a()
	h.Write([]byte(p))
	return h.Sum32()%chunkEvery == 0
}

// encode writes a listing; the paths are in order.
func encode(list []Entry) []byte {
	var out, chunk []byte
	end := func() {
		if len(chunk) == 0 {
			return
		}
		out = binary.LittleEndian.AppendUint32(out, uint32(len(chunk)))
		out = append(out, chunk...)
		out = append(out, make([]byte, -len(out)&(vault.PageSize-1))...)
		chunk = chunk[:0]
	}
	for _, e := range list {
		chunk = e.append(chunk)
		if len(chunk) > chunkMost || endsChunk(e.Path) {
			end()
		}
	}
	end()
	return out
}

func (e *Entry) append(b []byte) []byte {
	flags := byte(0)
	if e.Torn {
		flags |= flagTorn
	}
	if e.Unsettled {
		flags |= flagUnsettled
	}
	b = binary.AppendUvarint(b, uint64(len(e.Path)))
	b = append(b, e.Path...)
	b = append(b, byte(e.Kind), byte(e.Why), flags)
	b = binary.AppendUvarint(b, uint64(e.Mode))
	b = binary.AppendVarint(b, e.Mtime)
	b = binary.AppendVarint(b, e.Ctime)
	b = binary.AppendUvarint(b, e.Inode)
	switch e.Kind {
	case File:
		b = binary.AppendUvarint(b, uint64(e.Size))
		if e.Why == Kept {
			b = binary.AppendUvarint(b, e.at.page)
			b = binary.AppendUvarint(b, e.at.pages)
			b = append(b, e.Sum[:]...)
		}
	case Link:
		b = binary.AppendUvarint(b, uint64(len(e.Target)))
		b = append(b, e.Target...)
	}
	return b
}

// parse reads a listing whose contents lie below page next.
func parse(b []byte, next uint64) ([]Entry, error) {
	if len(b) > maxListing || len(b)%vault.PageSize != 0 {
		return nil, damaged("the list has a size that it cannot have")
	}
	var list []Entry
	for len(b) > 0 {
		n := int64(binary.LittleEndian.Uint32(b))
		if n == 0 || n+4 > int64(len(b)) {
			return nil, damaged("a part of the list is cut")
		}
		in := input{b: b[4 : 4+n]}
		for len(in.b) > 0 {
			e := in.entry(next)
			if in.bad || len(list) >= maxEntries || len(list) > 0 && list[len(list)-1].Path >= e.Path {
				return nil, damaged("an entry of the list cannot be")
			}
			list = append(list, e)
		}
		b = b[(n+4+vault.PageSize-1)/vault.PageSize*vault.PageSize:]
	}
	return list, apart(list)
}

// apart refuses contents that lie over each other.
func apart(list []Entry) error {
	var used []extent
	for _, e := range list {
		if e.HasContent() && e.at.pages > 0 {
			used = append(used, e.at)
		}
	}
	slices.SortFunc(used, func(a, b extent) int { return cmp.Compare(a.page, b.page) })
	for i := 1; i < len(used); i++ {
		if used[i].page < used[i-1].end() {
			return damaged("two files are kept in one place")
		}
	}
	return nil
}

// input is what is left to parse; bad once something could not be.
type input struct {
	b   []byte
	bad bool
}

func (in *input) uint() uint64 {
	v, n := binary.Uvarint(in.b)
	if n <= 0 {
		in.bad, n = true, 0
	}
	in.b = in.b[n:]
	return v
}

func (in *input) int() int64 {
	v, n := binary.Varint(in.b)
	if n <= 0 {
		in.bad, n = true, 0
	}
	in.b = in.b[n:]
	return v
}

func (in *input) bytes(n uint64) []byte {
	if n > uint64(len(in.b)) {
		in.bad = true
		return make([]byte, min(n, 64))
	}
	out := in.b[:n]
	in.b = in.b[n:]
	return out
}

func (in *input) text() string {
	n := in.uint()
	if n > maxPath {
		in.bad = true
		return ""
	}
	return string(in.bytes(n))
}

func (in *input) entry(next uint64) (e Entry) {
	e.Path = in.text()
	head := in.bytes(3)
	e.Kind, e.Why = Kind(head[0]), Why(head[1])
	e.Torn, e.Unsettled = head[2]&flagTorn != 0, head[2]&flagUnsettled != 0
	mode := in.uint()
	e.Mode, e.Mtime, e.Ctime, e.Inode = uint32(mode), in.int(), in.int(), in.uint()
	switch e.Kind {
	case File:
		e.Size = int64(in.uint())
		if e.Why == Kept {
			e.at = extent{in.uint(), in.uint()}
			copy(e.Sum[:], in.bytes(uint64(len(e.Sum))))
		}
	case Link:
		e.Target = in.text()
		in.bad = in.bad || e.Target == "" || strings.IndexByte(e.Target, 0) >= 0
	case Folder, Other:
	default:
		in.bad = true
	}
	in.bad = in.bad || !checkPath(e.Path) || mode > 0o7777 || int(e.Why) >= len(whys) || head[2] > flagTorn|flagUnsettled ||
		e.Size < 0 || e.at.page > next || e.at.pages > next-e.at.page || e.HasContent() && pagesOf(e.Size) > e.at.pages
	return e
}

// pagesOf is the pages that so many bytes take.
func pagesOf(size int64) uint64 { return (uint64(size) + vault.PageSize - 1) / vault.PageSize }
