package vault

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"cellar/checkpoint/vault/blob/blobtest"
	"cellar/internal/fault"
)

// The index is lost, left open by a crash, of other segments, or nonsense: nothing
// is stored twice, and nothing is believed that is not so.
func TestIndex(t *testing.T) {
	r := rand.New(rand.NewPCG(51, 52))
	store, opt := blobtest.NewFailing(), small
	opt.Index = filepath.Join(t.TempDir(), "sub", "index")
	m := memory{}
	for i := range uint64(600) {
		m[i] = content(r)
	}
	v := open(t, store, opt)
	_, _, err := keep(v, "a", Object{}, m)
	ok(t, err)
	if _, err := Open(ctx, store, tenant, opt); !errors.Is(err, fault.Conflict) {
		t.Errorf("opened twice: %v", err)
	}
	ok(t, v.Close())
	whole, err := os.ReadFile(opt.Index)
	ok(t, err)
	older := whole
	write := func(b []byte) { ok(t, os.WriteFile(opt.Index, b, 0o600)) }
	garbled := func() []byte {
		b := append([]byte(nil), whole...)
		for i := indexHeader; i < len(b); i++ {
			b[i] = byte(r.Uint32())
		}
		return b
	}
	for i, c := range []struct {
		name  string
		spoil func()
		finds bool
	}{
		{"closed in order", func() {}, true},
		{"lost", func() { ok(t, os.Remove(opt.Index)) }, true},
		{"cut", func() { write(whole[:len(whole)-7]) }, true},
		{"empty", func() { write(nil) }, true},
		{"dirty", func() { b := append([]byte(nil), whole...); b[headState] = 0; write(b) }, true},
		{"of other segments", func() { write(older) }, true},
		{"of another vault", func() { b := append([]byte(nil), whole...); b[headID]++; write(b) }, true},
		{"garbled", func() { write(garbled()) }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.spoil()
			v := open(t, store, opt)
			o, added, err := keep(v, fmt.Sprint("c", i), Object{}, m)
			ok(t, err)
			if c.finds && added > 1000 {
				t.Errorf("%d bytes were stored again", added)
			}
			ok(t, compare(v.Reader, o, m))
			ok(t, v.Close())
			if whole, err = os.ReadFile(opt.Index); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestIndexGrows(t *testing.T) {
	for _, name := range []string{"", filepath.Join(t.TempDir(), "index")} {
		x, err := openIndex(name, keyring{})
		ok(t, err)
		ok(t, x.begin())
		hash := func(segment, i uint32) (h Hash) {
			r := rand.New(rand.NewPCG(uint64(segment), uint64(i)))
			for k := range h {
				h[k] = byte(r.Uint32())
			}
			return h
		}
		const each = 3000
		there := func(n uint32) bool { return n > 3 }
		for n := uint32(1); n <= 20; n++ {
			f := &footer{trailer: trailer{number: n, entries: each, blocks: each}, first: make([]uint32, each+1)}
			hashes := []byte{}
			for i := range uint32(each) {
				f.first[i+1] = i + 1
				h := hash(n, i)
				hashes = append(hashes, h[:]...)
			}
			ok(t, x.add(f, hashes, there))
		}
		for n := uint32(4); n <= 20; n++ {
			for i := range uint32(each) {
				h := hash(n, i)
				if l, ok := x.lookup(&h); !ok || l != at(n, i*blockPages) {
					t.Fatalf("entry %d of segment %d is at %v, %v", i, n, l, ok)
				}
			}
		}
		if h := hash(99, 1); func() bool { _, ok := x.lookup(&h); return ok }() {
			t.Error("found what was never added")
		}
		if x.used > 19*each || x.slots != 1<<17 {
			t.Errorf("%d of %d slots are used: what is gone was kept", x.used, x.slots)
		}
		ok(t, x.close(nil))
	}
}
