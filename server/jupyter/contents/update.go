package contents

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"path"

	"cellar/internal/fault"
)

// UpdateNotebook changes a notebook behind the browsers' backs: fn gets and answers the form in
// memory. The file keeps its time of change, and clients go on seeing the hash they know, so that a
// browser with the notebook open does not take this for somebody else's edit. When fn answers nil or an
// error nothing is written. fn may be called again where a kernel wrote the file in the meantime, and
// must not call the tree for the same path. What it changes is trusted where it is trust's own.
func (t *Tree) UpdateNotebook(p string, trust Trust, fn func(nb []byte) ([]byte, error)) error {
	place, err := t.place(p)
	if err != nil {
		return err
	}
	defer t.locks.hold(place)()
	for range 5 {
		if done, err := t.update(place, trust, fn); done || err != nil {
			return err
		}
	}
	return fault.Newf(fault.Unavailable, "file_busy", "%s is being changed all the time.", place)
}

// empty is a notebook without cells.
const empty = `{"cells":[],"metadata":{},"nbformat":4,"nbformat_minor":5}`

// AddNotebook makes a new notebook of one in memory form. A name that is taken gets a number, and a
// directory that is not there any more is the root.
func (t *Tree) AddNotebook(p string, trust Trust, nb []byte) (*Model, error) {
	place, err := t.place(p)
	if err != nil {
		return nil, err
	}
	dir, err := t.directory(dirOf(place))
	if err != nil {
		dir = ""
	}
	m, err := t.claim(dir, path.Base(place), "", func(to string) error {
		return t.create(to, nil, func(w io.Writer) error { _, err := io.WriteString(w, empty); return err })
	})
	if err != nil {
		return nil, err
	}
	err = t.UpdateNotebook(m.Path, trust, func([]byte) ([]byte, error) { return nb, nil })
	if err != nil {
		return nil, errors.Join(err, t.Delete(m.Path))
	}
	return m, nil
}

// update answers done unless the file changed under it.
func (t *Tree) update(place string, trust Trust, fn func(nb []byte) ([]byte, error)) (done bool, err error) {
	data, info, err := t.read(place)
	if err != nil {
		return false, err
	}
	release, err := t.budget.parse(context.Background(), data)
	if err != nil {
		return false, err
	}
	defer release()
	nb, err := parseNotebook(data)
	if err != nil {
		return false, err
	}
	before := sumsOf(&nb)
	changed, err := fn(nb.appendCompact(make([]byte, 0, len(data))))
	if err != nil || changed == nil {
		return true, err
	}
	if nb, err = parseNotebook(changed); err != nil {
		return false, err
	}
	if err := learn(sumsOf(&nb), before, nil, trust); err != nil {
		return false, err
	}
	out := diskForm(&nb)
	if bytes.Equal(out, data) {
		return true, nil
	}
	if now, err := t.root.Stat(at(place)); err != nil || !sameVersion(info, now) {
		return false, classed(place, err)
	}
	old, after := sum(data), sum(out)
	client := t.shownHash(place, old)
	// Noted first: a client that looks between the two steps must know the new bytes.
	t.aliases.note(place, alias{disk: after, before: old, client: client})
	_, err = t.put(place, out, disguise{changed: info.ModTime(), disk: after, client: client})
	return true, err
}

// sameVersion says whether two looks at a path saw the same bytes, as far as the system tells.
func sameVersion(a, b fs.FileInfo) bool {
	return a.Size() == b.Size() && a.ModTime().Equal(b.ModTime()) && changed(a) == changed(b)
}
