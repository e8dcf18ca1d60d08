package vault

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"

	"cellar/checkpoint/vault/blob"
	"cellar/checkpoint/vault/blob/blobtest"
	"cellar/internal/fault"
)

tenant  = Key{1, 2, 3}
	project = Key{9, 8, 7}
	small   = Options{SegmentBytes: 160 << 10, SegmentEntries: 200, Cache: 8 << 20}
)

func TestRoundTrip(t *testing.T) {
	v := open(t, blobtest.NewFailing(), small)
	r := rand.New(rand.NewPCG(1, 2))
	m, o := memory{}, Object{}
	for i := range 20 {
		m = change(r, m)
		was := o
		var err error
		if o, _, err = keep(v, fmt.Sprint("c", i), was, m); err != nil {
			t.Fatal(err)
		}
		ok(t, compare(v.Reader, o, m))
		again, added, err := keep(v, fmt.Sprint("again", i), o, m)
		ok(t, err)
		if again.Root != o.Root {
			t.Errorf("the same pages are another tree: %v, %v", again, o)
		}
		if added > 400 {
			t.Errorf("nothing changed, and %d bytes were added", added)
		}
		// Without a base it is found by content. Deltas make no difference.
		other, _, err := keep(v, fmt.Sprint("other", i), Object{}, m)
		ok(t, err)
		if other.Root != o.Root {
			t.Errorf("the same pages are another tree without a base")
		}
	}
	report, err := v.Verify(ctx, true)
	if err != nil || len(report.Damage) > 0 || report.Manifests != 60 {
		t.Errorf("%+v, %v", report, err)
	}
	ok(t, v.Close())
}

func TestPatch(t *testing.T) {
	v := open(t, blobtest.NewFailing(), small)
	r := rand.New(rand.NewPCG(3, 4))
	m, o, name := memory{}, Object{}, ""
	for i := range 40 {
		s, err := v.Begin(ctx)
		ok(t, err)
		if name != "" {
			ok(t, s.Keep(name, o))
		}
		part := change(r, memory{})
		for n := range m { // some pages go
			if r.IntN(20) == 0 {
				part[n] = make([]byte, PageSize)
			}
		}
		if o, err = s.Patch(o, part.pages()); err != nil {
			t.Fatal(err)
		}
		maps.Copy(m, part)
		name = fmt.Sprint("c", i)
		_, err = s.Commit(name, project, nil, []Object{o})
		ok(t, err)
		ok(t, compare(v.Reader, o, m))
	}
	s, err := v.Begin(ctx)
	ok(t, err)
	if _, err := s.Patch(o, memory{}.pages()); !errors.Is(err, fault.Invalid) {
		t.Errorf("patched an object of another session: %v", err)
	}
	s.Abort()
	s, _ = v.Begin(ctx)
	defer s.Abort()
	if err := s.Keep("c0", o); fault.CodeOf(err) != CodeBase {
		t.Errorf("kept an object of another checkpoint: %v", err)
	}
	if err := s.Keep("none", o); !errors.Is(err, fault.NotFound) {
		t.Errorf("kept an object of no checkpoint: %v", err)
	}
	if _, err := s.Commit("x", project, nil, []Object{o}); !errors.Is(err, fault.Invalid) {
		t.Errorf("committed an object of another session: %v", err)
	}
}

func TestFiles(t *testing.T) {
	v := open(t, blobtest.NewFailing(), small)
	s, err := v.Begin(ctx)
	ok(t, err)
	defer s.Abort()
	r := rand.New(rand.NewPCG(5, 6))
	for _, size := range []int{0, 1, 4095, 4096, 4097, 8192, 300_000, 3 << 20} {
		b := make([]byte, size)
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		o, err := s.PutReader(Object{}, bytes.NewReader(b))
		ok(t, err)
		if o.Size != uint64(size) || size <= 4096 && o.Height != 0 {
			t.Errorf("%d bytes are %+v", size, o)
		}
		again, err := s.PutReader(o, bytes.NewReader(b))
		if err != nil || again != o {
			t.Errorf("again: %+v, %v", again, err)
		}
		got := make([]byte, (size+4095)/4096*4096)
		if s.w != nil {
			ok(t, s.seal())
		}
		ok(t, v.Object(o).ReadPages(ctx, 0, got))
		if !bytes.Equal(got[:size], b) {
			t.Errorf("%d bytes are read as others", size)
		}
	}
	if _, err := s.PutReader(Object{}, io.MultiReader(bytes.NewReader(make([]byte, 9000)), broken{})); !errors.Is(err, errBroken) {
		t.Errorf("a reader that fails: %v", err)
	}
	if _, err := s.Commit("x", project, nil, nil); !errors.Is(err, errBroken) {
		t.Errorf("committed after a failure: %v", err)
	}
}

var errBroken = errors.New("broken")

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errBroken }

func TestManifests(t *testing.T) {
	store := blobtest.NewFailing()
	v := open(t, store, small)
	m := memory{3: content(rand.New(rand.NewPCG(1, 1)))}
	o, _, err := keep(v, "a", Object{}, m)
	ok(t, err)
	text, objects, err := v.Manifest(ctx, "a", project)
	if err != nil || string(text) != "text of a" || !slices.Equal(objects, []Object{o}) {
		t.Errorf("%q, %v, %v", text, objects, err)
	}
	if _, _, err := keep(v, "a", Object{}, m); !errors.Is(err, fault.Conflict) {
		t.Errorf("a name was given twice: %v", err)
	}
	for _, name := range []string{"", "a/b", "..", ".a", string(make([]byte, 200))} {
		if _, _, err := keep(v, name, Object{}, m); !errors.Is(err, fault.Invalid) {
			t.Errorf("name %q: %v", name, err)
		}
	}
	// Keys.
	if _, _, err := v.Manifest(ctx, "a", Key{}); fault.CodeOf(err) != CodeKey {
		t.Errorf("wrong key: %v", err)
	}
	if _, err := Open(ctx, store, Key{5}, small); fault.CodeOf(err) != CodeKey || !errors.Is(err, fault.Denied) {
		t.Errorf("wrong key of the tenant: %v", err)
	}
	if err := OpenReader(store, Key{5}, 1<<20).Object(o).ReadPage(ctx, 3, make([]byte, PageSize)); fault.CodeOf(err) != CodeKey {
		t.Errorf("wrong key of the tenant, reading: %v", err)
	}
	// Rotation.
	next := Key{4, 4}
	if err := v.Reseal(ctx, "a", Key{}, next); fault.CodeOf(err) != CodeKey {
		t.Errorf("resealed with a wrong key: %v", err)
	}
	ok(t, v.Reseal(ctx, "a", project, next))
	if _, _, err := v.Manifest(ctx, "a", project); fault.CodeOf(err) != CodeKey {
		t.Errorf("the old key still opens: %v", err)
	}
	if text, _, err := v.Manifest(ctx, "a", next); err != nil || string(text) != "text of a" {
		t.Errorf("%q, %v", text, err)
	}
	// A manifest under another's name is none.
	store.Set("man/b", store.Bytes("man/a"))
	if _, _, err := v.Manifest(ctx, "b", next); fault.CodeOf(err) != CodeDamaged {
		t.Errorf("a manifest was taken for another: %v", err)
	}
	ok(t, v.Delete(ctx, "b"))
	names, err := v.List(ctx)
	if err != nil || !slices.Equal(names, []string{"a"}) {
		t.Errorf("%v, %v", names, err)
	}
	ok(t, v.Delete(ctx, "a"))
	ok(t, v.Delete(ctx, "a"))
	if _, _, err := v.Manifest(ctx, "a", next); !errors.Is(err, fault.NotFound) {
		t.Errorf("deleted: %v", err)
	}
	if text := fmt.Sprintf("%v %+v %s %#v", project, project, project, project); strings.Contains(text, "9") {
		t.Errorf("a key is printed: %s", text)
	}
}

func TestInvalidPages(t *testing.T) {
	v := open(t, blobtest.NewFailing(), small)
	page := make([]byte, PageSize)
	for name, pages := range map[string]iter.Seq2[uint64, []byte]{
		"descending": func(y func(uint64, []byte) bool) { _ = y(5, page) && y(4, page) },
		"twice": func(y func(uint64, []byte) bool) {
			if y(5, page) {
				y(5, page)
			}
		},
		"beyond":     func(y func(uint64, []byte) bool) { y(MaxPages, page) },
		"short":      func(y func(uint64, []byte) bool) { y(0, page[1:]) },
	} {
		s, err := v.Begin(ctx)
		ok(t, err)
		if _, err := s.Put(Object{}, pages); !errors.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
		s.Abort()
	}
	p := v.Object(Object{Root: 7, Height: 9})
	if err := p.ReadPage(ctx, 0, page); !errors.Is(err, fault.Invalid) {
		t.Errorf("an object that cannot be: %v", err)
	}
	if err := v.Object(Object{}).ReadPages(ctx, MaxPages-1, make([]byte, 2*PageSize)); !errors.Is(err, fault.Invalid) {
		t.Errorf("beyond the end: %v", err)
	}
}

func TestLimit(t *testing.T) {
	stop := errors.New("enough")
	asked := 0
	opt := small
	opt.Limit = func(_ context.Context, n int) error {
		if asked += n; asked > 3<<20 {
			return stop
		}
		return nil
	}
	v := open(t, blobtest.NewFailing(), opt)
	m := memory{}
	for i := range uint64(2000) {
		m[i] = bytes.Repeat([]byte{byte(i), byte(i >> 8), 1, 1}, PageSize/4)
	}
	if _, _, err := keep(v, "a", Object{}, m); !errors.Is(err, stop) {
		t.Errorf("%v after %d bytes", err, asked)
	}
	names, err := v.List(ctx)
	if err != nil || len(names) > 0 {
		t.Errorf("%v, %v", names, err)
	}
}
