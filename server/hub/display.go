package hub

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"slices"
)

// An output with a display_id may be changed by any later cell, also when the
// notebook carries the run it came from and nobody is connected. A notebook's
// outputs have no display_id, so the book remembers where such outputs are, and
// changes in the notebook those that still are what they were.

// shown is where an output with a display_id is in a notebook.
type shown struct {
	path, cell, display string
	sum                 [sha256.Size]byte // of what it shows
}

// patch is what such an output shows now; before are the sums of what it showed.
type patch struct {
	path, cell, display string
	before              map[[sha256.Size]byte]bool
	data, metadata      json.RawMessage
	written             bool // the file on disk has it
}

// Bounds of one kernel; the oldest are forgotten.
const (
	maxShown      = 1000
	maxPatches    = 200
	maxPatchBytes = 32 << 20 // of all together
	maxBefore     = 1000     // of one
)

// displaySum is the same for the same data, however it is written.
func displaySum(data json.RawMessage) (sum [sha256.Size]byte, ok bool) {
	var v any
	if json.Unmarshal(data, &v) != nil {
		return sum, false
	}
	b, err := json.Marshal(v)
	return sha256.Sum256(b), err == nil
}

// remember keeps where the outputs of a run are that a notebook carries from now on.
func (b *book) remember(r *Run) {
	b.shown = append(b.shown, r.displays()...)
	b.shown = b.shown[max(0, len(b.shown)-maxShown):]
	b.shownNew = true
}

// displays are the outputs of a run that may be changed later.
func (r *Run) displays() (out []shown) {
	for _, o := range r.Outputs {
		data, _ := o.body["data"].(json.RawMessage)
		if sum, ok := displaySum(data); ok && o.display != "" {
			out = append(out, shown{r.Path, r.CellID, o.display, sum})
		}
	}
	return out
}

// renew forgets what a cell showed before it runs anew.
func (b *book) renew(path, cell string) {
	before := len(b.shown)
	b.shown = slices.DeleteFunc(b.shown, func(s shown) bool { return s.path == path && s.cell == cell })
	b.patches = slices.DeleteFunc(b.patches, func(p *patch) bool { return p.path == path && p.cell == cell })
	b.shownNew = b.shownNew || len(b.shown) != before
}

// change notes that outputs which notebooks carry show something else now.
func (b *book) change(display string, data, metadata json.RawMessage) (found bool) {
	now, ok := displaySum(data)
	if !ok || display == "" || len(data)+len(metadata) > maxPatchBytes/4 {
		return false
	}
	for i := range b.shown {
		s := &b.shown[i]
		if s.display != display {
			continue
		}
		found = true
		p := b.patchOf(s)
		if len(p.before) < maxBefore {
			p.before[s.sum] = true
		}
		p.data, p.metadata, p.written = data, metadata, false
		s.sum = now
		b.shownNew = true
	}
	b.bound()
	return found
}

func (b *book) patchOf(s *shown) *patch {
	for _, p := range b.patches {
		if p.path == s.path && p.cell == s.cell && p.display == s.display {
			return p
		}
	}
	p := &patch{path: s.path, cell: s.cell, display: s.display, before: map[[sha256.Size]byte]bool{}}
	b.patches = append(b.patches, p)
	return p
}

func (b *book) bound() {
	size := 0
	for i := len(b.patches) - 1; i >= 0; i-- {
		size += len(b.patches[i].data) + len(b.patches[i].metadata)
		if size > maxPatchBytes || len(b.patches)-i > maxPatches {
			b.patches = slices.Clone(b.patches[i+1:])
			return
		}
	}
}

// patchesOf are those of a notebook.
func (b *book) patchesOf(path string) (out []*patch) {
	for _, p := range b.patches {
		if p.path == path {
			out = append(out, p)
		}
	}
	return out
}

// markWritten notes what the file on disk has, where nothing newer has come.
func (b *book) markWritten(list []patch) {
	for _, w := range list {
		for _, p := range b.patches {
			if p.path == w.path && p.cell == w.cell && p.display == w.display && bytes.Equal(p.data, w.data) && bytes.Equal(p.metadata, w.metadata) {
				p.written = true
			}
		}
	}
}

// patchOver changes the outputs that still show what patches say they did. A
// notebook without any comes back as it is.
func patchOver(nb []byte, patches []*patch) ([]byte, error) {
	if len(patches) == 0 {
		return nb, nil
	}
	return eachCell(nb, func(cell map[string]json.RawMessage, id string) (bool, error) {
		var outputs []map[string]json.RawMessage
		if !slices.ContainsFunc(patches, func(p *patch) bool { return p.cell == id }) || json.Unmarshal(cell["outputs"], &outputs) != nil {
			return false, nil
		}
		changed := false
		for _, o := range outputs {
			sum, ok := displaySum(o["data"])
			for _, p := range patches {
				if now, _ := displaySum(p.data); ok && p.cell == id && p.before[sum] && sum != now {
					o["data"], o["metadata"], changed = p.data, p.metadata, true
					break
				}
			}
		}
		if !changed {
			return false, nil
		}
		b, err := json.Marshal(outputs)
		cell["outputs"] = b
		return true, err
	})
}
