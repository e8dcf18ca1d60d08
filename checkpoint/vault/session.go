package vault

import (
	"bufio"
	"context"
	"errors"
	"io"
	"iter"

	"cellar/internal/fault"
)

// Session stores one checkpoint. Nothing of it is there before Commit. A session
// is for one goroutine; any number of sessions run at once. It takes about 10 MiB
// beside the caches, however large the checkpoint is.
type Session struct {
	v      *Vault
	ctx    context.Context
	owner  *owner
	w      *writer
	delta  deltas
	hash   Hash
	added  int64
	worked int
	err    error // why it can only be aborted; errEnded at the end

	objects map[Object]bool // that may be committed

	// Under v.mu: what a collection must leave in place for us.
	pins  map[uint32]*bitmap // single entries, by segment
	roots []Object           // whole trees
}

var errEnded = fault.New(fault.Conflict, "vault_session", "This session of the vault has ended.")

// Begin begins a session, which lives as long as ctx. End it with Commit or Abort.
func (v *Vault) Begin(ctx context.Context) (*Session, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s := &Session{v: v, ctx: ctx, owner: &owner{"session"}, delta: deltas{s: v.squeeze},
		objects: map[Object]bool{}, pins: map[uint32]*bitmap{}}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.sessions[s] = true
	return s, nil
}

// Put stores an object that has these pages and zeros elsewhere. Numbers ascend;
// a page has PageSize bytes and is not kept. Base is what the object is likely to
// resemble, page by page: an object of a checkpoint, or of this session, or the
// zero Object. After an error the session can only be aborted.
func (s *Session) Put(base Object, pages iter.Seq2[uint64, []byte]) (Object, error) {
	b, err := s.builder(base)
	if err != nil {
		return Object{}, s.fail(err)
	}
	return s.put(b, pages)
}

// Patch is Put for an object that is as base but for these pages. Base must be of
// this session: put, or kept.
func (s *Session) Patch(base Object, pages iter.Seq2[uint64, []byte]) (Object, error) {
	if !s.objects[base] && base != (Object{}) {
		return Object{}, s.fail(fault.New(fault.Invalid, "vault_object", "Only an object of this session can be patched."))
	}
	b, err := s.builder(base)
	if err != nil {
		return Object{}, s.fail(err)
	}
	b.inherit, b.base.strict = true, true
	return s.put(b, pages)
}

// PutReader stores what r gives, as Put does.
func (s *Session) PutReader(base Object, r io.Reader) (Object, error) {
	b, err := s.builder(base)
	if err != nil {
		return Object{}, s.fail(err)
	}
	var size uint64
	var failed error
	o, err := s.put(b, func(yield func(uint64, []byte) bool) {
		in, page := bufio.NewReaderSize(r, 64<<10), make([]byte, PageSize)
		for n := uint64(0); ; n++ {
			got, err := io.ReadFull(in, page)
			size += uint64(got)
			clear(page[got:])
			if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
				failed = err
				return
			}
			if got > 0 && !yield(n, page) || err != nil {
				return
			}
		}
	})
	if err = errors.Join(err, failed); err != nil {
		return Object{}, s.fail(err)
	}
	o.Size = size
	s.objects[o] = true
	return o, nil
}

// Keep takes an object of the checkpoint name into this session, as it is: it may
// be committed with it, and patched.
func (s *Session) Keep(name string, o Object) error {
	if s.err != nil {
		return s.err
	}
	if ok, err := s.v.pinRoot(s, o); err != nil {
		return err
	} else if !ok {
		return baseGone()
	}
	// Pinned first, then looked at: a manifest that is there now was there when
	// its object was pinned.
	objects, err := s.v.Objects(s.ctx, name)
	if err != nil {
		return err
	}
	for _, is := range objects {
		if is == o {
			s.objects[o] = true
			return nil
		}
	}
	return baseGone()
}

func baseGone() error {
	return fault.New(fault.NotFound, CodeBase, "The vault has no such object in that checkpoint.")
}

// builder prepares to store an object beside base.
func (s *Session) builder(base Object) (*builder, error) {
	if s.err != nil {
		return nil, s.err
	}
	if err := base.check(); err != nil {
		return nil, fault.Wrap(fault.Invalid, "vault_object", "This is no object of the vault.", err)
	}
	if s.objects[base] && s.w != nil {
		if err := s.seal(); err != nil { // so that the base can be read
			return nil, err
		}
	}
	if !s.objects[base] {
		ok, err := s.v.pinRoot(s, base)
		if err != nil {
			return nil, err
		}
		if !ok {
			base = Object{}
		}
	}
	return &builder{s: s, base: cursor{r: s.v.Reader, o: base}}, nil
}

func (s *Session) put(b *builder, pages iter.Seq2[uint64, []byte]) (Object, error) {
	next := uint64(0)
	for n, page := range pages {
		if n < next || n >= MaxPages || len(page) != PageSize {
			return Object{}, s.fail(fault.Newf(fault.Invalid, "vault_range", "Page %d of %d bytes cannot come after page %d.", n, len(page), int64(next)-1))
		}
		next = n + 1
		if err := s.putPage(b, n, page); err != nil {
			return Object{}, s.fail(err)
		}
		if err := s.work(PageSize); err != nil {
			return Object{}, s.fail(err)
		}
	}
	o, err := b.finish(next * PageSize)
	if err != nil {
		return Object{}, s.fail(err)
	}
	s.objects[o] = true
	return o, nil
}

// putPage stores a page if need be, and says where it is.
func (s *Session) putPage(b *builder, n uint64, page []byte) error {
	was, err := b.base.page(s.ctx, n)
	if err != nil {
		return err
	}
	if isZero(page) {
		if was == 0 || !b.inherit {
			return nil
		}
		return b.page(n, 0)
	}
	s.hash = s.v.hash.sum(0, page)
	l, err := s.place(0, page, was)
	if err != nil {
		return err
	}
	return b.page(n, l)
}

// place answers where the page with s.hash is; it is stored if it is nowhere. Was
// is where the page that it took the place of is.
func (s *Session) place(level int, page []byte, was Location) (Location, error) {
	var base spot
	if was != 0 {
		same, at, err := s.sameAs(was)
		if err != nil {
			return 0, err
		}
		if same {
			return was, nil
		}
		base = at
	}
	if l, ok, err := s.known(level); ok || err != nil {
		return l, err
	}
	return s.store(level, page, was, base)
}

// sameAs says whether the page at l has the hash s.hash. A page that is lost has
// not, and its spot is of no footer.
func (s *Session) sameAs(l Location) (bool, spot, error) {
	at, err := s.v.find(s.ctx, l)
	if err == nil {
		var hashes []byte
		if hashes, err = s.v.hashesOf(s.ctx, at.f); err == nil {
			return hashAt(hashes, at.d) == s.hash, at, nil
		}
	}
	if isLost(err) {
		return false, spot{}, nil
	}
	return false, spot{}, err
}

// known looks the page with s.hash up in all of the vault.
func (s *Session) known(level int) (Location, bool, error) {
	if s.w != nil {
		if l, ok := s.w.lookup(&s.hash); ok {
			return l, true, nil
		}
	}
	l, ok := s.v.index.lookup(&s.hash)
	if !ok {
		return 0, false, nil
	}
	ok, strict := s.v.pin(s, l)
	if !ok {
		return 0, false, nil
	}
	ok, err := s.confirm(level, l, strict)
	if isLost(err) {
		return 0, false, nil
	}
	return l, ok, err
}

// confirm asks the footer of the segment whether l has what the index says, and
// whether what it stands on is there.
func (s *Session) confirm(level int, l Location, strict bool) (bool, error) {
	f, err := s.v.footer(s.ctx, l.segment())
	if err != nil {
		return false, err
	}
	hashes, err := s.v.hashesOf(s.ctx, f)
	if err != nil {
		return false, err
	}
	d, ok := f.dense(l.entry())
	if !ok || hashAt(hashes, d) != s.hash || f.kinds[d].level() != level {
		return false, nil
	}
	for at := (spot{f, l, d}); at.kind().depth() > 0; {
		if strict {
			return false, nil
		}
		if at, err = s.v.find(s.ctx, at.base()); err != nil {
			return false, err
		}
	}
	return true, nil
}

// store writes the page with s.hash into the session's segment.
func (s *Session) store(level int, page []byte, was Location, base spot) (Location, error) {
	w, err := s.writer()
	if err != nil {
		return 0, err
	}
	k, from, stored := kindOf(level, 0), Location(0), page
	if base.f != nil && base.kind().depth() < maxDepth && base.kind().level() == level {
		err := s.v.page(s.ctx, was, level, s.delta.contents[:])
		if err != nil && !isLost(err) {
			return 0, err
		}
		if xor, ok := s.delta.better(page, s.delta.contents[:]); ok && err == nil {
			k, from, stored = kindOf(level, base.kind().depth()+1), was, xor
		}
	}
	return w.add(&s.hash, k, from, stored)
}

// storeNode answers where a node is; it is stored if it is nowhere. Was is the
// base's node in its place, at l.
func (s *Session) storeNode(level int, n, was *node, l Location) (Location, error) {
	if *n == (node{}) {
		return 0, nil
	}
	if was != nil && *n == *was {
		return l, nil
	}
	var page [PageSize]byte
	n.encode(page[:])
	s.hash = s.v.hash.sum(level, page[:])
	return s.place(level, page[:], l)
}

// writer answers the segment that is being written; a full one is sealed first.
func (s *Session) writer() (*writer, error) {
	if s.w != nil && (s.w.size() >= s.v.opt.SegmentBytes || s.w.entries() >= s.v.opt.SegmentEntries) {
		if err := s.seal(); err != nil {
			return nil, err
		}
	}
	if s.w == nil {
		n, err := s.v.number(s.ctx, s.owner)
		if err != nil {
			return nil, err
		}
		s.w = newWriter(s.ctx, s.v.Reader, n)
	}
	return s.w, nil
}

// seal ends the segment that is being written; others may refer to it from then on.
func (s *Session) seal() error {
	w := s.w
	s.w = nil
	f, err := w.seal()
	if err != nil {
		return err
	}
	s.added += f.size()
	return s.v.publish(s.ctx, f)
}

// publish lets a segment that is durable be found.
func (v *Vault) publish(ctx context.Context, f *footer) error {
	v.footers.add(f.number, f, f.cost())
	v.mu.Lock()
	v.sealed[f.number] = f.size()
	v.mu.Unlock()
	return v.indexSegment(ctx, f)
}

// work counts bytes and lets the limiter wait.
func (s *Session) work(n int) error {
	if s.worked += n; s.worked < 1<<20 {
		return nil
	}
	n, s.worked = s.worked, 0
	return s.v.limit(s.ctx, n)
}

func (v *Vault) limit(ctx context.Context, n int) error {
	if err := ctx.Err(); err != nil || v.opt.Limit == nil {
		return err
	}
	return v.opt.Limit(ctx, n)
}

func (s *Session) fail(err error) error {
	if s.err == nil {
		s.err = err
	}
	return err
}
