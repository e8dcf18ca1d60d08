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

var (
	ctx     = context.Background()
	tenant  = Key{1, 2, 3}
	project = Key{9, 8, 7}
	small   = Options{SegmentBytes: 160 << 10, SegmentEntries: 200, Cache: 8 << 20}
)

// memory is what an object is to hold.
type memory map[uint64][]byte

func (m memory) pages() iter.Seq2[uint64, []byte] {
	return func(yield func(uint64, []byte) bool) {
		for _, n := range slices.Sorted(maps.Keys(m)) {
			if !yield(n, m[n]) {
				return
			}
		}
	}
}

func open(t testing.TB, s blob.Store, o Options) *Vault {
	t.Helper()
	v, err := Open(ctx, s, tenant, o)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// keep stores m as a checkpoint of one object.
func keep(v *Vault, name string, base Object, m memory) (Object, int64, error) {
	s, err := v.Begin(ctx)
	if err != nil {
		return Object{}, 0, err
	}
	defer s.Abort()
	o, err := s.Put(base, m.pages())
	if err != nil {
		return Object{}, 0, err
	}
	added, err := s.Commit(name, project, []byte("text of "+name), []Object{o})
	return o, added, err
}

// compare reads all of an object, in every way there is.
func compare(r *Reader, o Object, m memory) error {
	p := r.Object(o)
	want := []uint64{}
	for _, n := range slices.Sorted(maps.Keys(m)) {
		if !isZero(m[n]) {
			want = append(want, n)
		}
	}
	got := []uint64{}
	for n, err := range p.Present(ctx, 0) {
		if err != nil {
			return err
		}
		got = append(got, n)
	}
	if !slices.Equal(got, want) {
		return fmt.Errorf("%d pages are there, want %d", len(got), len(want))
	}
	buf := make([]byte, 5*PageSize)
	for _, n := range want {
		if err := p.ReadPage(ctx, n, buf); err != nil {
			return err
		}
		if !bytes.Equal(buf[:PageSize], m[n]) {
			return fmt.Errorf("page %d has other bytes", n)
		}
		first := n - min(n, 2)
		first = min(first, MaxPages-5)
		if err := p.ReadPages(ctx, first, buf); err != nil {
			return err
		}
		for i := range uint64(5) {
			is, page := buf[i*PageSize:(i+1)*PageSize], m[first+i]
			if page == nil {
				page = zeroPage[:]
			}
			if !bytes.Equal(is, page) {
				return fmt.Errorf("page %d has other bytes in a run", first+i)
			}
		}
		near, err := p.Locate(ctx, n)
		if err != nil || !slices.Contains(near, n) {
			return fmt.Errorf("page %d is near %v, %w", n, near, err)
		}
	}
	return nil
}

// content makes pages of the kinds that there are in a process.
func content(r *rand.Rand) []byte {
	p := make([]byte, PageSize)
	switch r.IntN(5) {
	case 0: // zeros
	case 1: // numbers that look alike
		for i := 0; i < PageSize; i += 8 {
			p[i], p[i+1] = byte(r.IntN(256)), byte(r.IntN(4))
		}
	case 2: // a few that are everywhere
		for i := range p {
			p[i] = byte(i * r.IntN(4))
		}
		p[0] = byte(r.IntN(8)) + 1
		for i := 1; i < PageSize; i++ {
			p[i] = p[0] * byte(i)
		}
	case 3: // looks like a node
		var n node
		for i := range 5 {
			n[i] = at(uint32(r.IntN(5)+1), uint32(r.IntN(100)))
		}
		n.encode(p)
	default:
		for i := range p {
			p[i] = byte(r.Uint32())
		}
	}
	return p
}

var regions = []uint64{0, 500, 511, 1 << 18, 1<<35 - 9, MaxPages - 40}

// change makes the next state of a process.
func change(r *rand.Rand, m memory) memory {
	next := memory{}
	maps.Copy(next, m)
	for range r.IntN(40) {
		n := regions[r.IntN(len(regions))] + uint64(r.IntN(40))
		switch was := next[n]; {
		case was != nil && r.IntN(2) == 0: // a little
			was = bytes.Clone(was)
			for range 1 + r.IntN(300) {
				was[r.IntN(PageSize)]++
			}
			next[n] = was
		case was != nil && r.IntN(6) == 0:
			delete(next, n)
		default:
			next[n] = content(r)
		}
	}
	return next
}

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
	if text := fmt.Sprintf("%v %+v %s %#v", project, project, project, project); bytes.Contains([]byte(text), []byte("9")) {
		t.Errorf("a key is printed: %s", text)
	}
}

func TestInvalidPages(t *testing.T) {
	v := open(t, blobtest.NewFailing(), small)
	page := make([]byte, PageSize)
	for name, pages := range map[string]iter.Seq2[uint64, []byte]{
		"descending": func(y func(uint64, []byte) bool) { _ = y(5, page) && y(4, page) },
		"twice": func(y func(uint64, []byte) bool) {
			for range 2 {
				if !y(5, page) {
					return
				}
			}
		},
		"beyond": func(y func(uint64, []byte) bool) { y(MaxPages, page) },
		"short":  func(y func(uint64, []byte) bool) { y(0, page[1:]) },
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

// model is what a vault is to hold.
type model struct {
	memory map[string]memory
	object map[string]Object
}

func (m model) check(r *Reader) error {
	names, err := r.List(ctx)
	if err != nil {
		return err
	}
	if want := slices.Sorted(maps.Keys(m.memory)); !slices.Equal(names, want) {
		return fmt.Errorf("checkpoints %v, want %v", names, want)
	}
	for name, want := range m.memory {
		text, objects, err := r.Manifest(ctx, name, project)
		if err != nil || string(text) != "text of "+name || len(objects) != 1 {
			return fmt.Errorf("manifest %s: %q, %v, %w", name, text, objects, err)
		}
		if err := compare(r, objects[0], want); err != nil {
			return fmt.Errorf("checkpoint %s: %w", name, err)
		}
	}
	return nil
}

func TestModel(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { runModel(t, seed) })
	}
}

func runModel(t *testing.T, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 7))
	store, opt := blobtest.NewFailing(), small
	opt.Index = filepath.Join(t.TempDir(), "index")
	v := open(t, store, opt)
	reader := OpenReader(store, tenant, 1<<20) // as in another process: keeps what was
	m, rewritten := model{map[string]memory{}, map[string]Object{}}, 0
	for step := range 100 {
		names := slices.Sorted(maps.Keys(m.memory))
		pick := ""
		if len(names) > 0 {
			pick = names[r.IntN(len(names))]
		}
		what := r.IntN(12)
		switch {
		case what < 6 || pick == "":
			name := fmt.Sprint("c", step)
			next := change(r, m.memory[pick])
			base := m.object[pick]
			if r.IntN(4) == 0 {
				base = Object{}
			}
			o, _, err := keep(v, name, base, next)
			ok(t, err)
			m.memory[name], m.object[name] = next, o
		case what < 9:
			ok(t, v.Delete(ctx, pick))
			delete(m.memory, pick)
		case what < 11:
			did, err := v.GC(ctx)
			ok(t, err)
			rewritten += did.Rewritten
			if did.After > did.Before {
				t.Errorf("a collection made more: %+v", did)
			}
		default:
			if r.IntN(2) == 0 {
				ok(t, v.Close())
			} else {
				ok(t, v.index.abandon())
			}
			v = open(t, store, opt)
		}
		if what < 9 && step%8 > 0 {
			continue // compared now and then, and after all that moves things
		}
		if err := errors.Join(m.check(v.Reader), m.check(reader)); err != nil {
			t.Fatalf("step %d: %v", step, err)
		}
	}
	report, err := v.Verify(ctx, true)
	if err != nil || len(report.Damage) > 0 {
		t.Errorf("%+v, %v", report, err)
	}
	if rewritten < 10 {
		t.Errorf("only %d segments were rewritten: this tests little", rewritten)
	}
	stats, err := v.Stats(ctx)
	if err != nil || stats.Manifests != len(m.memory) {
		t.Errorf("%+v, %v", stats, err)
	}
	for name := range m.memory {
		ok(t, v.Delete(ctx, name))
	}
	_, err = v.GC(ctx)
	ok(t, err)
	left, err := store.List(ctx, "")
	if err != nil || len(left) != 1 || left[0].Name != highName {
		t.Errorf("left of an empty vault: %v, %v", left, err)
	}
	ok(t, v.Close())
}
