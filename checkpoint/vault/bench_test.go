package vault

import (
	"encoding/binary"
	"fmt"
	"iter"
	"math/rand/v2"
	"sync"
	"testing"

	"cellar/checkpoint/vault/blob"
)

// heap is the memory of a process as benchmarks see it: a third small numbers,
// a third text, a third noise.
type heap []byte

func newHeap(pages int) heap {
	h, r := make(heap, pages*PageSize), rand.New(rand.NewPCG(61, 62))
	words := []string{"self", "import", "numpy", "return", "None", "0.125", "frame", "index", "value", "\x00\x00\x00"}
	for n := range pages {
		p := h[n*PageSize : (n+1)*PageSize]
		switch n / 64 % 3 {
		case 0:
			for i := 0; i < PageSize; i += 8 {
				binary.LittleEndian.PutUint64(p[i:], 0x7f0000000000+uint64(r.IntN(1<<24)))
			}
		case 1:
			for i := 0; i < PageSize; {
				i += copy(p[i:], words[r.IntN(len(words))])
			}
		default:
			for i := 0; i < PageSize; i += 8 {
				binary.LittleEndian.PutUint64(p[i:], r.Uint64())
			}
		}
	}
	return h
}

func (h heap) pages() iter.Seq2[uint64, []byte] {
	return func(yield func(uint64, []byte) bool) {
		for n := 0; n < len(h); n += PageSize {
			if !yield(1<<34+uint64(n/PageSize), h[n:n+PageSize]) {
				return
			}
		}
	}
}

// touch changes a few bytes of so many pages, here and there.
func (h heap) touch(pages int, seed uint64) {
	r := rand.New(rand.NewPCG(63, seed))
	for range pages {
		n := r.IntN(len(h)/PageSize) * PageSize
		for range 6 {
			h[n+r.IntN(PageSize)]++
		}
	}
}

const benchPages = 32 << 10 // 128 MiB

func benchVault(b *testing.B) (*Vault, *blob.Disk) {
	store, err := blob.OpenDisk(b.TempDir())
	ok(b, err)
	b.Cleanup(func() { store.Close() })
	return open(b, store, Options{}), store
}

func benchPut(b *testing.B, v *Vault, name string, base Object, h heap) (Object, int64) {
	s, err := v.Begin(ctx)
	ok(b, err)
	defer s.Abort()
	o, err := s.Put(base, h.pages())
	ok(b, err)
	added, err := s.Commit(name, project, nil, []Object{o})
	ok(b, err)
	return o, added
}

// copyAll is what all figures are to be held against.
func BenchmarkMemoryCopy(b *testing.B) {
	h := newHeap(benchPages)
	to := make([]byte, PageSize)
	rate(b, int64(len(h)), func() {
		for _, p := range h.pages() {
			copy(to, p)
		}
	})
}

func BenchmarkPut(b *testing.B) {
	h := newHeap(benchPages)
	for _, c := range []struct {
		name    string
		changed int
	}{{"unchanged", 0}, {"0.1%", benchPages / 1000}, {"5%", benchPages / 20}} {
		b.Run(c.name, func(b *testing.B) {
			v, _ := benchVault(b)
			o, _ := benchPut(b, v, "first", Object{}, h)
			var added int64
			n := 0
			rate(b, int64(len(h)), func() {
				n++
				h.touch(c.changed, uint64(n)) // microseconds
				o, added = benchPut(b, v, fmt.Sprint("c", n), o, h)
			})
			b.ReportMetric(float64(added), "added-B")
			if c.changed > 0 {
				b.ReportMetric(float64(added)/float64(c.changed), "B/changed-page")
			}
		})
	}
	b.Run("all new", func(b *testing.B) {
		var added int64
		rate(b, int64(len(h)), func() {
			v, _ := benchVault(b)
			_, added = benchPut(b, v, "first", Object{}, h)
		})
		b.ReportMetric(float64(added)/float64(len(h)), "stored/raw")
	})
	b.Run("known, no base", func(b *testing.B) {
		v, _ := benchVault(b)
		benchPut(b, v, "first", Object{}, h)
		n := 0
		rate(b, int64(len(h)), func() {
			n++
			benchPut(b, v, fmt.Sprint("c", n), Object{}, h)
		})
	})
}

func BenchmarkRead(b *testing.B) {
	h := newHeap(benchPages)
	v, store := benchVault(b)
	o, _ := benchPut(b, v, "first", Object{}, h)
	for _, workers := range []int{1, 2} {
		b.Run(fmt.Sprintf("runs of 1 MiB, %d at once", workers), func(b *testing.B) {
			rate(b, int64(len(h)), func() {
				p := OpenReader(store, tenant, 8<<20).Object(o)
				var wg sync.WaitGroup
				for w := range workers {
					wg.Go(func() {
						buf := make([]byte, 1<<20)
						for n := w * 256; n < benchPages; n += 256 * workers {
							if err := p.ReadPages(ctx, 1<<34+uint64(n), buf); err != nil {
								b.Error(err)
							}
						}
					})
				}
				wg.Wait()
			})
		})
	}
	b.Run("random pages", func(b *testing.B) {
		p, r, buf := OpenReader(store, tenant, 8<<20).Object(o), rand.New(rand.NewPCG(1, 1)), make([]byte, PageSize)
		rate(b, PageSize, func() { ok(b, p.ReadPage(ctx, 1<<34+uint64(r.IntN(benchPages)), buf)) })
	})
}

func BenchmarkUpkeep(b *testing.B) {
	h := newHeap(benchPages)
	v, _ := benchVault(b)
	_, stored := benchPut(b, v, "first", Object{}, h)
	for _, deep := range []bool{false, true} {
		b.Run(fmt.Sprintf("verify, deep %v", deep), func(b *testing.B) {
			rate(b, stored, func() {
				report, err := v.Verify(ctx, deep)
				ok(b, err)
				if len(report.Damage) > 0 {
					b.Fatal(report)
				}
			})
		})
	}
	b.Run("gc, all lives", func(b *testing.B) {
		rate(b, stored, func() {
			_, err := v.GC(ctx)
			ok(b, err)
		})
	})
	b.Run("gc, merges all", func(b *testing.B) {
		var bytes int64
		var worked float64
		for b.Loop() {
			v, _ := benchVault(b)
			v.opt.SegmentBytes = stored / 10
			benchPut(b, v, "first", Object{}, h)
			v.opt.SegmentBytes = 64 << 20
			before := processor()
			did, err := v.GC(ctx)
			ok(b, err)
			if did.Rewritten < 5 {
				b.Fatal(did)
			}
			bytes, worked = bytes+did.Before, worked+processor()-before
		}
		b.ReportMetric(float64(bytes)/1e6/worked, "MB/cpu-s")
	})
}
