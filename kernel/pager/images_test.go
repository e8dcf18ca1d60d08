package pager

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
)

// entry is a pagemap_entry of CRIU's: vaddr, nr_pages, flags.
type entry struct{ start, pages, flags uint64 }

const lazyPresent = flagLazy | flagPresent

// image is a page map for the pages file with that ID.
func image(id uint64, list ...entry) []byte {
	b := binary.LittleEndian.AppendUint32(nil, imageMagic)
	b = binary.LittleEndian.AppendUint32(b, pagemapMagic)
	b = framed(b, field(nil, 1, id))
	for _, e := range list {
		b = framed(b, field(field(field(nil, 1, e.start), 5, e.pages), 4, e.flags))
	}
	return b
}

func field(b []byte, n protowire.Number, v uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, n, protowire.VarintType), v)
}

func framed(b, message []byte) []byte {
	return append(binary.LittleEndian.AppendUint32(b, uint32(len(message))), message...)
}

func TestParsePagemap(t *testing.T) {
	const p = pageSize
	old := framed(image(7), field(field(field(nil, 1, 4*p), 2, 3), 4, lazyPresent))
	extra := framed(image(7), protowire.AppendBytes(protowire.AppendTag(field(field(field(nil, 1, p), 5, 1), 4, lazyPresent), 9, protowire.BytesType), []byte("later")))
	for name, c := range map[string]struct {
		image []byte
		want  []piece
		err   string
	}{
		"nothing":            {image: image(7)},
		"one":                {image: image(7, entry{4 * p, 2, lazyPresent}), want: []piece{{4 * p, 6 * p, 0}}},
		"neighbours":         {image: image(7, entry{4 * p, 2, lazyPresent}, entry{6 * p, 1, lazyPresent}), want: []piece{{4 * p, 6 * p, 0}, {6 * p, 7 * p, 2 * p}}},
		"what is not lazy":   {image: image(7, entry{4 * p, 2, flagPresent}, entry{8 * p, 1, lazyPresent}), want: []piece{{8 * p, 9 * p, 2 * p}}},
		"zero pages":         {image: image(7, entry{4 * p, 2, flagLazy}, entry{8 * p, 1, lazyPresent}), want: []piece{{8 * p, 9 * p, 0}}},
		"an empty entry":     {image: image(7, entry{4 * p, 0, lazyPresent}, entry{4 * p, 1, lazyPresent}), want: []piece{{4 * p, 5 * p, 0}}},
		"the old field":      {image: old, want: []piece{{4 * p, 7 * p, 0}}},
		"an unknown field":   {image: extra, want: []piece{{p, 2 * p, 0}}},
		"in a parent":        {image: image(7, entry{4 * p, 1, lazyPresent | flagParent}), err: "older"},
		"in_parent":          {image: framed(image(7), field(field(field(nil, 1, p), 5, 1), 3, 1)), err: "older"},
		"another magic":      {image: append([]byte{1}, image(7)[1:]...), err: "not a page map"},
		"another image":      {image: append(append([]byte{}, image(7)[:4]...), 1, 2, 3, 4, 0, 0, 0, 0), err: "not a page map"},
		"no bytes":           {err: "not a page map"},
		"no head":            {image: image(7)[:8], err: "cut off"},
		"cut off":            {image: image(7, entry{4 * p, 2, lazyPresent})[:16], err: "cut off"},
		"cut off at the end": {image: image(7, entry{4 * p, 2, lazyPresent})[:19], err: "cut off"},
		"a huge message":     {image: append(image(7), 255, 255, 255, 255, 8), err: "cut off"},
		"a bad tag":          {image: framed(image(7), []byte{0}), err: "proto"},
		"a bad number":       {image: framed(image(7), []byte{8, 255}), err: "EOF"},
		"not at a page":      {image: image(7, entry{4*p + 1, 1, lazyPresent}), err: "out of order"},
		"going back":         {image: image(7, entry{8 * p, 1, lazyPresent}, entry{4 * p, 1, lazyPresent}), err: "out of order"},
		"overlapping":        {image: image(7, entry{4 * p, 2, lazyPresent}, entry{5 * p, 1, lazyPresent}), err: "out of order"},
		"too many":           {image: image(7, entry{4 * p, 1 << 60, lazyPresent}), err: "out of order"},
		"around the end":     {image: image(7, entry{1<<64 - p, 2, lazyPresent}), err: "out of order"},
		"no process's":       {image: image(7, entry{1<<64 - 4*p, 2, lazyPresent}), err: "out of order"},
	} {
		t.Run(name, func(t *testing.T) {
			regions, id, err := parseMap(c.image)
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Fatalf("error %v, want %q", err, c.err)
				}
				return
			}
			if s := late(regions); err != nil || id != 7 || !reflect.DeepEqual(s.pieces, c.want) {
				t.Errorf("%+v, pages-%d, %v; want %+v", s, id, err, c.want)
			}
		})
	}
}

func TestLazyBytes(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "pagemap-10.img"), image(1, entry{pageSize, 2, lazyPresent}, entry{4 * pageSize, 1, flagPresent}))
	write(t, filepath.Join(dir, "pagemap-11.img"), image(2, entry{pageSize, 3, lazyPresent}))
	write(t, filepath.Join(dir, "pagemap-shmem-3.img"), []byte("not for us"))
	write(t, filepath.Join(dir, "pages-1.img"), make([]byte, 3*pageSize))
	write(t, filepath.Join(dir, "pages-2.img"), make([]byte, 3*pageSize))
	lazy, all, err := LazyBytes(dir)
	if lazy != 5*pageSize || all != 6*pageSize || err != nil {
		t.Errorf("%d of %d, %v", lazy, all, err)
	}
	os.Remove(filepath.Join(dir, "pages-2.img"))
	if _, _, err := LazyBytes(dir); err == nil {
		t.Error("a pages file that is not there is no error")
	}
}

func write(t testing.TB, name string, b []byte) {
	t.Helper()
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestCheck(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "pagemap-10.img"), image(1, entry{pageSize, 2, lazyPresent}, entry{4 * pageSize, 1, flagPresent}, entry{9 * pageSize, 9, flagLazy}))
	write(t, filepath.Join(dir, "pagemap-shmem-3.img"), image(2, entry{0, 2, flagPresent}))
	write(t, filepath.Join(dir, "pagemap-11.img"), image(7))
	write(t, filepath.Join(dir, "pages-1.img"), make([]byte, 3*pageSize))
	write(t, filepath.Join(dir, "pages-2.img"), make([]byte, 2*pageSize))
	if err := Check(dir); err != nil {
		t.Errorf("a whole dump: %v", err)
	}
	for _, name := range []string{"pages-1.img", "pages-2.img"} {
		st, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		os.Truncate(filepath.Join(dir, name), st.Size()-1)
		if err := Check(dir); err == nil || !strings.Contains(err.Error(), name+" is cut off") {
			t.Errorf("%s is cut off: %v", name, err)
		}
		os.Truncate(filepath.Join(dir, name), st.Size())
	}
	os.Remove(filepath.Join(dir, "pages-2.img"))
	if err := Check(dir); err == nil {
		t.Error("a pages file that is not there is no error")
	}
}

// FuzzParsePagemap: whatever the bytes, the pieces are ordered, disjoint, whole
// pages of what a process can have, and no more than there are bytes for.
func FuzzParsePagemap(f *testing.F) {
	f.Add(image(1, entry{pageSize, 2, lazyPresent}, entry{9 * pageSize, 1, flagPresent}, entry{16 * pageSize, 300, lazyPresent}))
	f.Add(image(1, entry{1<<64 - 2*pageSize, 1, lazyPresent}))
	f.Add(image(1, entry{pageSize, 1 << 40, lazyPresent}, entry{1 << 53, 1 << 40, lazyPresent}))
	f.Add(framed(image(1), field(field(nil, 1, pageSize), 2, 1<<33)))
	f.Add(image(1)[:11])
	f.Fuzz(func(t *testing.T, b []byte) {
		regions, _, err := parseMap(b)
		if err != nil {
			return
		}
		s, size := late(regions), bytesOf(regions)
		if len(s.pieces) > len(b)/4 {
			t.Fatalf("%d pieces from %d bytes", len(s.pieces), len(b))
		}
		var last, off uint64
		for _, p := range s.pieces {
			if p.start < last || p.end <= p.start || p.off < off || p.start%pageSize+p.end%pageSize+p.off%pageSize != 0 || p.end > 1<<57 || p.off+p.end-p.start > 1<<57 {
				t.Fatalf("piece %s in %+v", fmt.Sprintf("%+v", p), s.pieces)
			}
			last, off = p.end, p.off+p.end-p.start
		}
		if off > size {
			t.Fatalf("pieces up to %d of a file of %d", off, size)
		}
	})
}
