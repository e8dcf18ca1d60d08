package blobtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"

	"cellar/checkpoint/vault/blob"
	"cellar/internal/fault"
)

// Run makes all tests of a store; open makes an empty one for each.
func Run(t *testing.T, open func(*testing.T) blob.Store) {
	tests := []struct {
		name string
		test func(*testing.T, blob.Store)
	}{
		{"reads what was put", readsWhatWasPut},
		{"a failed put leaves nothing", failedPut},
		{"a put replaces", replaces},
		{"absent", absent},
		{"list", list},
		{"names", names},
		{"an ended context", ended},
		{"many at once", manyAtOnce},
	}
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) { c.test(t, open(t)) })
	}
}

func put(s blob.Store, name string, b []byte) error {
	return s.Put(context.Background(), name, func(w io.Writer) error {
		for chunk := b; len(chunk) > 0; chunk = chunk[min(len(chunk), 1000):] {
			if _, err := w.Write(chunk[:min(len(chunk), 1000)]); err != nil {
				return err
			}
		}
		return nil
	})
}

func get(s blob.Store, name string) ([]byte, error) {
	size, err := s.Size(context.Background(), name)
	if err != nil {
		return nil, err
	}
	p := make([]byte, size)
	return p, s.ReadAt(context.Background(), name, p, 0)
}

func want(t *testing.T, s blob.Store, name string, b []byte) {
	t.Helper()
	if got, err := get(s, name); err != nil || !bytes.Equal(got, b) {
		t.Errorf("%s: %d bytes, error %v; want %d bytes", name, len(got), err, len(b))
	}
}

func text(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*i>>3 + i)
	}
	return b
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func readsWhatWasPut(t *testing.T, s blob.Store) {
	b := text(1 << 20)
	must(t, put(s, "seg/1", b))
	want(t, s, "seg/1", b)
	p := make([]byte, 100)
	must(t, s.ReadAt(context.Background(), "seg/1", p, 777))
	if !bytes.Equal(p, b[777:877]) {
		t.Error("other bytes in the middle")
	}
	for _, off := range []int64{1<<20 - 99, 1 << 20, 1 << 40} {
		if err := s.ReadAt(context.Background(), "seg/1", p, off); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("reading beyond the end at %d: %v", off, err)
		}
	}
	must(t, put(s, "empty", nil))
	want(t, s, "empty", nil)
}

func failedPut(t *testing.T, s blob.Store) {
	trouble := errors.New("trouble")
	for _, name := range []string{"new", "old"} {
		if name == "old" {
			must(t, put(s, name, text(10)))
		}
		err := s.Put(context.Background(), name, func(w io.Writer) error {
			if _, err := w.Write(text(1 << 20)); err != nil {
				return err
			}
			return trouble
		})
		if !errors.Is(err, trouble) {
			t.Errorf("%s: error %v", name, err)
		}
	}
	if _, err := get(s, "new"); !errors.Is(err, fault.NotFound) {
		t.Errorf("a failed put left a blob: %v", err)
	}
	want(t, s, "old", text(10))
	must(t, s.Sweep(context.Background()))
	want(t, s, "old", text(10))
	if found, err := s.List(context.Background(), ""); err != nil || len(found) != 1 {
		t.Errorf("listed %v, %v", found, err)
	}
}

func replaces(t *testing.T, s blob.Store) {
	for _, n := range []int{3000, 10, 5000} {
		must(t, put(s, "a", text(n)))
		want(t, s, "a", text(n))
	}
}

func absent(t *testing.T, s blob.Store) {
	if _, err := s.Size(context.Background(), "a/b"); !errors.Is(err, fault.NotFound) {
		t.Errorf("size of nothing: %v", err)
	}
	if err := s.ReadAt(context.Background(), "a/b", make([]byte, 1), 0); !errors.Is(err, fault.NotFound) {
		t.Errorf("read of nothing: %v", err)
	}
	must(t, s.Delete(context.Background(), "a/b"))
	must(t, put(s, "a/b", text(10)))
	want(t, s, "a/b", text(10))
	must(t, s.Delete(context.Background(), "a/b"))
	if _, err := get(s, "a/b"); !errors.Is(err, fault.NotFound) {
		t.Errorf("after delete: %v", err)
	}
	if err := s.ReadAt(context.Background(), "a/b", make([]byte, 1), 0); !errors.Is(err, fault.NotFound) {
		t.Errorf("read after delete: %v", err)
	}
}

func list(t *testing.T, s blob.Store) {
	for i, name := range []string{"seg/2", "seg/1", "segment", "man/x", "man/y", "z"} {
		must(t, put(s, name, text(i)))
	}
	for prefix, want := range map[string]string{
		"seg/": "[{seg/1 1} {seg/2 0}]", "man/": "[{man/x 3} {man/y 4}]", "no": "[]",
		"": "[{man/x 3} {man/y 4} {seg/1 1} {seg/2 0} {segment 2} {z 5}]", "seg": "[{seg/1 1} {seg/2 0} {segment 2}]",
	} {
		if got, err := s.List(context.Background(), prefix); err != nil || fmt.Sprint(got) != want {
			t.Errorf("list %q: %v, %v; want %s", prefix, got, err, want)
		}
	}
}

func names(t *testing.T, s blob.Store) {
	for _, name := range []string{"", "/a", "a/", "a//b", "../a", "a/../b", ".tmp", "a/.b", "a b", "a\x00", "ü", string(make([]byte, 300))} {
		if err := put(s, name, text(1)); !errors.Is(err, fault.Invalid) {
			t.Errorf("put %q: %v", name, err)
		}
		if _, err := s.Size(context.Background(), name); !errors.Is(err, fault.Invalid) {
			t.Errorf("size %q: %v", name, err)
		}
		if err := s.Delete(context.Background(), name); !errors.Is(err, fault.Invalid) {
			t.Errorf("delete %q: %v", name, err)
		}
	}
}

func ended(t *testing.T, s blob.Store) {
	must(t, put(s, "a", text(10)))
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := s.Put(ctx, "b", func(io.Writer) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("put: %v", err)
	}
	if err := s.ReadAt(ctx, "a", make([]byte, 1), 0); !errors.Is(err, context.Canceled) {
		t.Errorf("read: %v", err)
	}
	if _, err := get(s, "b"); !errors.Is(err, fault.NotFound) {
		t.Errorf("put of an ended context: %v", err)
	}
}

func manyAtOnce(t *testing.T, s blob.Store) {
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			name := fmt.Sprintf("seg/%d", i)
			for n := range 20 {
				if err := put(s, name, text(1000+n)); err != nil {
					t.Error(err)
				}
				if got, err := get(s, name); err != nil || !bytes.Equal(got, text(1000+n)) {
					t.Errorf("%s: %d bytes, %v", name, len(got), err)
				}
				if got, err := s.List(context.Background(), "seg/"); err != nil || len(got) > 8 {
					t.Errorf("%d blobs, %v", len(got), err)
				}
			}
			if err := s.Delete(context.Background(), name); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got, err := s.List(context.Background(), ""); err != nil || len(got) != 0 {
		t.Errorf("left: %v, %v", got, err)
	}
}
