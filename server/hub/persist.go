package hub

import (
	"context"
	"errors"

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
			return layOver(nb, runs, always)
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
		l.mu.Unlock()
	case err != nil:
		l.h.Log.Error("outputs not written to the notebook; they stay in the journal", "kernel", l.rec.ID, "notebook", path, "error", err)
	default:
		l.mu.Lock()
		for r, v := range versions {
			r.written = v
		}
		l.mu.Unlock()
	}
}
