package tree

import (
	"context"
	"encoding/json"
	"io"
	"sort"
	"strings"

	"cellar/checkpoint/vault"
)

// Snapshot is one that is kept, open for reading.
type Snapshot struct {
	Entries []Entry // in the order of their paths
	body    body
	objects [2]vault.Object
	r       *vault.Reader
}

// Open reads what a snapshot has.
func Open(ctx context.Context, r *vault.Reader, name string, project vault.Key) (*Snapshot, error) {
	b, objects, err := r.Manifest(ctx, name, project)
	if err != nil {
		return nil, err
	}
	s := &Snapshot{r: r}
	if len(b) > maxBody || json.Unmarshal(b, &s.body) != nil || s.body.Version != version || len(objects) != 2 || objects[listing].Size > maxListing {
		return nil, damaged("its description cannot be read")
	}
	s.objects = [2]vault.Object(objects)
	if err := s.body.check(); err != nil {
		return nil, err
	}
	text := make([]byte, pagesOf(int64(objects[listing].Size))*vault.PageSize)
	if err := r.Object(objects[listing]).ReadPages(ctx, 0, text); err != nil {
		return nil, err
	}
	s.Entries, err = parse(text, s.body.Next)
	return s, err
}

// check refuses ranges that are none.
func (b body) check() error {
	bad := b.Next > vault.MaxPages || len(b.Loose) > maxLoose
	for _, x := range b.Loose {
		bad = bad || x[0] > b.Next || x[1] > b.Next-x[0]
	}
	if bad {
		return damaged("its description has places that there are not")
	}
	return nil
}

// Summary is what was counted when it was taken.
func (s *Snapshot) Summary() Summary { return s.body.Summary }

// About is what the caller said of it.
func (s *Snapshot) About() json.RawMessage { return s.body.About }

// Find finds a path; none in a snapshot that is nil.
func (s *Snapshot) Find(p string) (Entry, bool) {
	if s == nil {
		return Entry{}, false
	}
	i := sort.Search(len(s.Entries), func(i int) bool { return s.Entries[i].Path >= p })
	if i < len(s.Entries) && s.Entries[i].Path == p {
		return s.Entries[i], true
	}
	return Entry{}, false
}

// Below are the entries below a path, without itself.
func (s *Snapshot) Below(p string) []Entry {
	from := sort.Search(len(s.Entries), func(i int) bool { return s.Entries[i].Path >= p+"/" })
	to := from
	for to < len(s.Entries) && strings.HasPrefix(s.Entries[to].Path, p+"/") {
		to++
	}
	return s.Entries[from:to]
}

// Content reads a file of the snapshot.
func (s *Snapshot) Content(ctx context.Context, e Entry) io.Reader {
	return &content{ctx: ctx, pages: s.r.Object(s.objects[data]), page: e.at.page, left: e.Size}
}

// ahead is how much of a file is decoded at once.
const ahead = 64 * vault.PageSize

type content struct {
	ctx   context.Context
	pages *vault.Pages
	page  uint64
	left  int64
	buf   []byte
	have  []byte
}

// Read implements io.Reader.
func (c *content) Read(p []byte) (int, error) {
	if len(c.have) == 0 {
		if c.left <= 0 {
			return 0, io.EOF
		}
		n := min(c.left, ahead)
		if c.buf == nil {
			c.buf = make([]byte, pagesOf(n)*vault.PageSize)
		}
		whole := c.buf[:pagesOf(n)*vault.PageSize]
		if err := c.pages.ReadPages(c.ctx, c.page, whole); err != nil {
			return 0, err
		}
		c.have = whole[:n]
		c.page += pagesOf(n)
		c.left -= n
	}
	n := copy(p, c.have)
	c.have = c.have[n:]
	return n, nil
}
