package hub

import (
	"context"
	"errors"
	"slices"

	"cellar/internal/fault"
)

// persist brings the notebook on disk up to date with what the kernel said,
// unless a tab is open: that one saves by itself.
func (l *Live) persist(ctx context.Context) {
	l.mu.Lock()
	if len(l.clients) > 0 {
		l.mu.Unlock()
		return
	}
	paths := map[string]bool{}
	for _, r := range l.book.order {
		if !r.settled && r.written != r.version {
			paths[r.Path] = true
		}
	}
	for _, p := range l.book.patches {
		if !p.written {
			paths[p.path] = true
		}
	}
	l.mu.Unlock()
	for path := range paths {
		l.persistPath(ctx, path)
	}
	l.mu.Lock()
	link := l.link
	l.mu.Unlock()
	if link != nil && len(paths) > 0 {
		l.acknowledge(link)
	}
}

func (l *Live) persistPath(ctx context.Context, path string) {
	p, err := l.h.Store.Project(ctx, l.rec.Project)
	if err != nil {
		return
	}
	versions := map[*Run]int{}
	var patched []patch
	err = fault.New(fault.NotFound, "no_notebook", "No notebook.")
	if path != "" {
		err = l.h.Notebooks.Update(ctx, p, path, func(nb []byte) ([]byte, error) {
			l.mu.Lock()
			runs := map[string]*Run{}
			for _, r := range l.book.order {
				if r.Path == path && !r.settled {
					supersede(runs, r)
					runs[r.CellID] = r
					versions[r] = r.version
				}
			}
			defer l.mu.Unlock()
			patches := l.book.patchesOf(path)
			patched = patched[:0]
			for _, p := range patches {
				patched = append(patched, *p)
			}
			out, err := layOver(nb, runs, always)
			if err == nil {
				out, err = patchOver(out, patches)
			}
			return out, err
		})
	}
	switch {
	case errors.Is(err, fault.NotFound): // renamed away or deleted: nothing to write to
		l.mu.Lock()
		for _, r := range l.book.order {
			if r.Path == path && r.Ended() {
				r.settled = true
			}
		}
		l.book.forget()
		l.book.patches = slices.DeleteFunc(l.book.patches, func(p *patch) bool { return p.path == path })
		l.mu.Unlock()
	case err != nil:
		l.h.Log.Error("outputs not written to the notebook; they stay in the journal", "kernel", l.rec.ID, "notebook", path, "error", err)
	default:
		l.mu.Lock()
		for r, v := range versions {
			r.written = v
		}
		l.book.markWritten(patched)
		l.mu.Unlock()
	}
}
