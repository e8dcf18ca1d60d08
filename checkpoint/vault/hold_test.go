package vault

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"cellar/checkpoint/vault/blob/blobtest"
	"cellar/internal/fault"
)

// What a session refers to stays, whatever is deleted and collected before it
// ends: in each way of referring, and with the session at each step of the
// collection.
func TestSessionsHoldWhatTheyUse(t *testing.T) {
	ways := map[string]func(*Session, Object, memory) (Object, error){
		"as base":  func(s *Session, o Object, m memory) (Object, error) { return s.Put(o, m.pages()) },
		"by hash":  func(s *Session, _ Object, m memory) (Object, error) { return s.Put(Object{}, m.pages()) },
		"kept":     func(s *Session, o Object, _ memory) (Object, error) { return o, s.Keep("a", o) },
		"patched":  func(s *Session, o Object, m memory) (Object, error) { return patched(s, o, m) },
		"own":      func(s *Session, _ Object, m memory) (Object, error) { return own(s, m) },
		"as delta": func(s *Session, o Object, m memory) (Object, error) { return s.Put(o, touched(m).pages()) },
	}
	for name, refer := range ways {
		for step := range 5 {
			t.Run(fmt.Sprint(name, " before step ", step), func(t *testing.T) { holds(t, refer, step, name) })
		}
	}
}

func patched(s *Session, o Object, m memory) (Object, error) {
	if err := s.Keep("a", o); err != nil {
		return o, err
	}
	return s.Patch(o, memory{}.pages())
}

// own stores pages that are nowhere else, and seals them.
func own(s *Session, m memory) (Object, error) {
	o, err := s.Put(Object{}, touched(m).pages())
	if err == nil && s.w != nil {
		err = s.seal()
	}
	return o, err
}

func touched(m memory) memory {
	next := memory{}
	for n, p := range m {
		p = append([]byte(nil), p...)
		p[100]++
		next[n] = p
	}
	return next
}

func holds(t *testing.T, refer func(*Session, Object, memory) (Object, error), at int, way string) {
	v := open(t, blobtest.NewFailing(), small)
	r := rand.New(rand.NewPCG(43, 44))
	m := change(r, change(r, change(r, memory{})))
	o, _, err := keep(v, "a", Object{}, m)
	ok(t, err)
	var s *Session
	var is Object
	begin := func() {
		s, err = v.Begin(ctx)
		ok(t, err)
		is, err = refer(s, o, m)
	}
	needs := way == "kept" || way == "patched" // need the checkpoint to be there
	if needs {
		begin()
	}
	ok(t, v.Delete(ctx, "a"))
	g := newGC(v)
	for i, step := range []func() error{
		func() error { return g.cut(ctx) }, func() error { return g.closing(ctx) },
		func() error { return g.copies(ctx) }, func() error { return g.removal(ctx) },
	} {
		if i == at && !needs {
			begin()
			ok(t, err)
		}
		ok(t, step())
	}
	g.end()
	if at == 4 && !needs {
		begin()
	}
	ok(t, err)
	_, err = s.Commit("n", project, nil, []Object{is})
	ok(t, err)
	want := m
	if way == "own" || way == "as delta" {
		want = touched(m)
	}
	for range 2 {
		ok(t, compare(v.Reader, is, want))
		_, err = v.GC(ctx)
		ok(t, err)
	}
	if _, err := s.Put(Object{}, m.pages()); !errors.Is(err, fault.Conflict) {
		t.Errorf("a session goes on after its end: %v", err)
	}
	ok(t, v.Delete(ctx, "n"))
	for range 2 {
		_, err = v.GC(ctx)
		ok(t, err)
	}
	if s, err := v.Stats(ctx); err != nil || s.Segments != 0 {
		t.Errorf("%+v, %v", s, err)
	}
}

// A delta of a session that gave up, on a page that goes: nobody may use it.
func TestDeltaOnWhatGoes(t *testing.T) {
	v := open(t, blobtest.NewFailing(), small)
	r := rand.New(rand.NewPCG(45, 46))
	page := make([]byte, PageSize)
	for i := range page {
		page[i] = byte(r.Uint32())
	}
	m := memory{7: page}
	o, _, err := keep(v, "a", Object{}, m)
	ok(t, err)
	ok(t, v.Delete(ctx, "a"))
	g := newGC(v)
	ok(t, g.cut(ctx))
	gaveUp, err := v.Begin(ctx)
	ok(t, err)
	_, err = gaveUp.Put(o, touched(m).pages())
	ok(t, err)
	ok(t, gaveUp.seal())
	gaveUp.Abort()
	ok(t, g.closing(ctx))
	s, err := v.Begin(ctx)
	ok(t, err)
	is, err := s.Put(Object{}, touched(m).pages())
	ok(t, err)
	ok(t, g.copies(ctx))
	ok(t, g.removal(ctx))
	g.end()
	_, err = s.Commit("b", project, nil, []Object{is})
	ok(t, err)
	ok(t, compare(v.Reader, is, touched(m)))
}

// A page that looks like a node which its process could guess is not taken for it.
func TestPageThatLooksLikeANode(t *testing.T) {
	v := open(t, blobtest.NewFailing(), small)
	s, err := v.Begin(ctx)
	ok(t, err)
	r := rand.New(rand.NewPCG(47, 48))
	noise := func(n int) []byte {
		p := make([]byte, n)
		for i := range p {
			p[i] = byte(r.Uint32())
		}
		return p
	}
	m := memory{0: noise(PageSize), 1: noise(PageSize), 2: noise(PageSize)}
	first, err := s.Put(Object{}, m.pages())
	ok(t, err)
	n := node{at(1, 0), at(1, 1), at(1, 2)}
	if first.Root.segment() != 1 || first.Root.entry() != 16 {
		t.Fatalf("guessed wrong: the root is %v", first.Root)
	}
	fake := make([]byte, PageSize)
	n.encode(fake)
	second, err := s.Put(Object{}, memory{0: fake}.pages())
	ok(t, err)
	_, err = s.Commit("a", project, nil, []Object{first, second})
	ok(t, err)
	ok(t, compare(v.Reader, first, m))
	ok(t, compare(v.Reader, second, memory{0: fake}))
}
