package tree

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"cellar/checkpoint/vault"
	"cellar/internal/fault"
)

// body is what the manifest of a snapshot says. Its objects are the listing and
// the data: one sequence of pages in which every content has a range of its own.
// A snapshot patches the data of the one before, so that what has not changed
// costs nothing.
type body struct {
	Version int             `json:"version"`
	Summary Summary         `json:"summary"`
	Next    uint64          `json:"next"` // pages from here on were never used
	Loose   [][2]uint64     `json:"loose,omitempty"`
	About   json.RawMessage `json:"about,omitempty"`
}

const (
	version     = 1
	listing     = 0 // which object is which
	data        = 1
	maxBody     = 16 << 20
	maxLoose    = 100_000
	tries       = 3               // how often a file is read that changes meanwhile
	settledFrom = 2 * time.Second // a change this long ago shows in a file's times if there is another
)

// Save takes a snapshot and keeps it as name. base names one that it is likely to
// resemble: what has the same times, size and inode there is not read again. An
// empty one, or one that is there no more, means none.
func Save(ctx context.Context, v *vault.Vault, name string, project vault.Key, base string, t Taking) (Summary, int64, error) {
	var like *Snapshot
	if base != "" {
		like, _ = Open(ctx, v.Reader, base, project) // without it more is read, no more than that
	}
	sum, added, err := save(ctx, v, name, project, base, like, t)
	if like != nil && err != nil && ctx.Err() == nil && !errors.Is(err, fault.Exhausted) && fault.CodeOf(err) != vault.CodeExists {
		sum, added, err = save(ctx, v, name, project, "", nil, t) // it is being collected, or is damaged
	}
	return sum, added, err
}

func save(ctx context.Context, v *vault.Vault, name string, project vault.Key, base string, like *Snapshot, t Taking) (sum Summary, added int64, err error) {
	s, err := v.Begin(ctx)
	if err != nil {
		return sum, 0, err
	}
	defer s.Abort()
	var old [2]vault.Object
	w := saver{ctx: ctx, t: t, sum: Summary{Begun: t.begun}, buf: make([]byte, 256*vault.PageSize)}
	if w.sum.Begun.IsZero() {
		w.sum.Begun = time.Now()
	}
	if like != nil {
		old = like.objects
		if err := s.Keep(base, old[data]); err != nil {
			return sum, 0, err
		}
		w.next = like.body.Next
	}
	if err := w.look(); err != nil {
		return sum, 0, err
	}
	w.plan(like)
	o, err := s.Patch(old[data], w.pages)
	if err = errors.Join(err, w.failed); err != nil {
		return sum, 0, err
	}
	w.close()
	list, err := s.PutReader(old[listing], bytes.NewReader(encode(w.list)))
	if err != nil {
		return sum, 0, err
	}
	b, err := json.Marshal(body{Version: version, Summary: w.sum, Next: w.next, Loose: w.loose, About: t.About})
	if err != nil {
		return sum, 0, err
	}
	added, err = s.Commit(name, project, b, []vault.Object{listing: list, data: o})
	return w.sum, added, err
}

type saver struct {
	ctx    context.Context
	t      Taking
	list   []Entry
	gone   map[int]bool // entries that are there no more
	queue  []job        // by page
	again  []job        // what changed while it was read
	next   uint64
	loose  [][2]uint64 // ranges that have something nobody needs
	sum    Summary
	buf    []byte
	failed error
}

// job is a range of pages that gets the content of a file, or zeros (file -1).
type job struct {
	extent
	file  int
	tried int
}

// look lists what is there. What was written through a mapping shows in a file's
// times only once it is on the disk: that is waited for first.
func (w *saver) look() (err error) {
	for _, top := range w.t.Tops {
		if f, err := top.Root.Open("."); err == nil {
			_ = unix.Syncfs(int(f.Fd())) // a disk that fails is told of by who reads it
			f.Close()
		}
	}
	w.list, w.sum.Cut, err = Look(w.ctx, w.t)
	w.gone = map[int]bool{}
	return err
}

// plan decides what is read, and where it goes: into the place it had, if it fits.
func (w *saver) plan(like *Snapshot) {
	w.limit()
	var free []extent
	taken := map[uint64]bool{} // first pages that keep their use
	var fresh []int
	for i := range w.list {
		e := &w.list[i]
		if !e.HasContent() {
			continue
		}
		old, ok := like.Find(e.Path)
		switch {
		case ok && old.HasContent() && old.unchanged(*e):
			e.at, e.Sum = old.at, old.Sum
		case ok && old.HasContent() && pagesOf(e.Size) <= old.at.pages:
			e.at = old.at
			w.queue = append(w.queue, job{extent: e.at, file: i})
		default:
			fresh = append(fresh, i)
		}
		if e.at.pages > 0 {
			taken[e.at.page] = true
		}
	}
	if like != nil {
		for _, e := range like.Entries {
			if e.HasContent() && e.at.pages > 0 && !taken[e.at.page] {
				free = append(free, e.at)
			}
		}
		for _, x := range like.body.Loose {
			free = append(free, extent{x[0], x[1]})
		}
	}
	for _, x := range free {
		w.queue = append(w.queue, job{extent: x, file: -1})
	}
	slices.SortFunc(w.queue, func(a, b job) int { return cmp.Compare(a.page, b.page) })
	for _, i := range fresh {
		w.queue = append(w.queue, w.append(i, w.list[i].Size, 0))
	}
}

// append makes room for a content behind all others; for one that grew while it
// was read there is more.
func (w *saver) append(file int, size int64, tried int) job {
	x := extent{w.next, pagesOf(size)}
	if tried > 0 {
		x.pages += 64 + x.pages/8
	}
	w.next = x.end()
	w.list[file].at = x
	return job{extent: x, file: file, tried: tried}
}

// limit leaves out what is over the limits: of all the files the largest, so that
// the most are kept.
func (w *saver) limit() {
	for _, top := range w.t.Tops {
		var files []*Entry
		for i := range w.list {
			e := &w.list[i]
			if _, ours := e.Below(top.Name); !ours || e.Kind != File {
				continue
			}
			if top.Limits.File > 0 && e.Size > top.Limits.File {
				e.Why = TooLarge
				continue
			}
			files = append(files, e)
		}
		if top.Limits.Total <= 0 {
			continue
		}
		slices.SortStableFunc(files, func(a, b *Entry) int { return cmp.Compare(a.Size, b.Size) })
		left := top.Limits.Total
		for _, e := range files {
			if left -= e.Size; left < 0 {
				e.Why = TooMuch
			}
		}
	}
}

// unchanged reports whether a file is, by what the file system says, as it was
// when its content was kept.
func (e Entry) unchanged(now Entry) bool {
	return !e.Unsettled && !e.Torn && e.Size == now.Size && e.Mtime == now.Mtime && e.Ctime == now.Ctime && e.Inode == now.Inode
}

// pages yields what the data has otherwise than before.
func (w *saver) pages(yield func(uint64, []byte) bool) {
	for _, j := range w.queue {
		if !w.work(j, yield) {
			return
		}
	}
	for len(w.again) > 0 {
		j := w.again[0]
		w.again = w.again[1:]
		if !w.work(w.append(j.file, w.list[j.file].Size, j.tried), yield) {
			return
		}
	}
}

func (w *saver) work(j job, yield func(uint64, []byte) bool) bool {
	if w.failed = w.ctx.Err(); w.failed != nil {
		return false
	}
	if j.file < 0 {
		return zeros(j.extent, yield)
	}
	return w.file(j, yield)
}

// zeros empties a range.
func zeros(x extent, yield func(uint64, []byte) bool) bool {
	var page [vault.PageSize]byte
	for n := x.page; n < x.end(); n++ {
		if !yield(n, page[:]) {
			return false
		}
	}
	return true
}

// file reads a file into its range. One that does not fit any more, or changes
// while it is read, is put off; after some tries it is kept as it came.
func (w *saver) file(j job, yield func(uint64, []byte) bool) bool {
	e := &w.list[j.file]
	top, rel := w.topOf(e.Path)
	f, before, err := openFile(top.Root, rel, e.Inode)
	if err != nil {
		return w.without(j, err, yield)
	}
	defer f.Close()
	e.take(&before)
	if top.Limits.File > 0 && e.Size > top.Limits.File {
		e.Why = TooLarge
		return zeros(j.extent, yield)
	}
	last := j.tried+1 >= tries
	if pagesOf(e.Size) > j.pages && !last {
		w.again = append(w.again, job{file: j.file, tried: j.tried + 1})
		return zeros(j.extent, yield)
	}
	more, err := w.content(j, e, io.LimitReader(f, min(e.Size, int64(j.pages)*vault.PageSize)), yield)
	if !more {
		return false
	}
	if err != nil {
		e.Why = Unreadable
		w.loosen(j.extent)
		return true
	}
	var after unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &after); err != nil {
		w.failed = err
		return false
	}
	w.sum.Read++
	w.sum.ReadBytes += e.Size
	e.Unsettled = e.Ctime >= w.sum.Begun.Add(-settledFrom).UnixNano()
	if before.Size == after.Size && before.Mtim == after.Mtim && before.Ctim == after.Ctim {
		return true
	}
	if !last {
		w.loosen(j.extent)
		e.take(&after)
		w.again = append(w.again, job{file: j.file, tried: j.tried + 1})
		return true
	}
	e.Torn = true
	return true
}

// without notes that a file is gone, or cannot be read.
func (w *saver) without(j job, err error, yield func(uint64, []byte) bool) bool {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ELOOP) || errors.Is(err, unix.ENOTDIR) {
		w.gone[j.file] = true
	}
	w.list[j.file].Why = Unreadable
	return zeros(j.extent, yield)
}

// loosen has a range emptied by the next snapshot: this one has been there.
func (w *saver) loosen(x extent) {
	if x.pages > 0 && len(w.loose) < maxLoose {
		w.loose = append(w.loose, [2]uint64{x.page, x.pages})
	}
}

// content yields what r has, and zeros to the end of the range.
func (w *saver) content(j job, e *Entry, r io.Reader, yield func(uint64, []byte) bool) (more bool, err error) {
	sum, n, size := sha256.New(), j.page, int64(0)
	for {
		got, err := io.ReadFull(r, w.buf)
		sum.Write(w.buf[:got])
		size += int64(got)
		whole := w.buf[:pagesOf(int64(got))*vault.PageSize]
		clear(whole[got:])
		for ; len(whole) > 0; n, whole = n+1, whole[vault.PageSize:] {
			if !yield(n, whole[:vault.PageSize]) {
				return false, nil
			}
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			break
		}
		if err != nil {
			return true, err
		}
	}
	e.Sum, e.Size = sumOf(sum.Sum(nil)), size
	return zeros(extent{n, j.end() - n}, yield), nil
}

func (w *saver) topOf(p string) (Top, string) {
	for _, top := range w.t.Tops {
		if rel, ok := (Entry{Path: p}).Below(top.Name); ok {
			return top, rel
		}
	}
	panic("an entry of no top") // they come from Look
}

// close drops what is gone and counts.
func (w *saver) close() {
	list := w.list[:0]
	for i, e := range w.list {
		if w.gone[i] {
			continue
		}
		if e.Why != Kept {
			w.sum.Left++
		} else if e.Kind == File {
			w.sum.Files++
			w.sum.Bytes += e.Size
		}
		if e.Torn {
			w.sum.Torn++
		}
		list = append(list, e)
	}
	w.list = list
	w.sum.Ended = time.Now()
}
