package hub

import (
	"context"
	"path"
	"slices"
	"time"

	"github.com/google/uuid"

	"cellar/internal/fault"
	"cellar/kernel"
)

// OpenSession opens a notebook, console or file on a kernel: the session there
// is for that path, or a new one on kernel id, or on a kernel started for it.
func (h *Hub) OpenSession(ctx context.Context, p Project, s Session, id kernel.ID, spec, configuration string) (Session, error) {
	h.session.Lock() // four clients that open one notebook at once get one session
	defer h.session.Unlock()
	list, err := h.Store.Sessions(ctx, p.ID)
	if err != nil {
		return s, err
	}
	for _, o := range list {
		if o.Path != s.Path {
			continue
		}
		if _, err := h.Live(p.ID, o.Kernel); err == nil {
			return o, nil
		}
		if err := h.Store.DeleteSession(ctx, p.ID, o.ID); err != nil { // its kernel is gone
			return s, err
		}
	}
	if id != "" {
		if _, err := h.Live(p.ID, id); err != nil {
			return s, err
		}
	} else {
		l, err := h.StartKernel(ctx, p, spec, cleanDir(path.Dir(s.Path)), configuration)
		if err != nil {
			return s, err
		}
		id = l.ID()
	}
	s.ID, s.Project, s.Kernel, s.CreatedAt = uuid.NewString(), p.ID, id, time.Now()
	return s, h.Store.PutSession(ctx, s)
}

// cleanDir is a folder below the project's files, "" for the top.
func cleanDir(dir string) string {
	dir = path.Clean("/" + dir)[1:]
	if dir == "." {
		return ""
	}
	return dir
}

// Session finds a session.
func (h *Hub) Session(ctx context.Context, project, id string) (Session, error) {
	list, err := h.Store.Sessions(ctx, project)
	if err != nil {
		return Session{}, err
	}
	if i := slices.IndexFunc(list, func(s Session) bool { return s.ID == id }); i >= 0 {
		return list[i], nil
	}
	return Session{}, fault.New(fault.NotFound, "session_not_found", "There is no session by that ID.")
}

// CloseSession ends a session and, when no other uses it, its kernel.
func (h *Hub) CloseSession(ctx context.Context, project, id string) error {
	s, err := h.Session(ctx, project, id)
	if err != nil {
		return err
	}
	if err := h.Store.DeleteSession(ctx, project, id); err != nil {
		return err
	}
	list, err := h.Store.Sessions(ctx, project)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(list, func(o Session) bool { return o.Kernel == s.Kernel }) {
		return nil
	}
	l, err := h.Live(project, s.Kernel)
	if err != nil {
		return nil
	}
	return h.Shutdown(ctx, l)
}

// opening is how long a page takes at most from a session to its path.
const opening = time.Minute

// joined is the kernel for a session that has just got its path. Pages that open
// one notebook in the same seconds each start a kernel under a name of their own
// and give it the notebook's path then. The first keeps its kernel; the others
// come to that as long as nothing was run in theirs.
func (h *Hub) joined(ctx context.Context, s Session) (kernel.ID, error) {
	list, err := h.Store.Sessions(ctx, s.Project)
	if err != nil {
		return "", err
	}
	l, err := h.Live(s.Project, s.Kernel)
	if err != nil || time.Since(s.CreatedAt) > opening || !l.unused() || slices.ContainsFunc(list, func(o Session) bool { return o.Kernel == s.Kernel && o.ID != s.ID }) {
		return s.Kernel, nil
	}
	for _, o := range list {
		if o.Path != s.Path || o.ID == s.ID {
			continue
		}
		if other, err := h.Live(s.Project, o.Kernel); err == nil && other.Record().Spec == l.Record().Spec {
			return o.Kernel, nil
		}
	}
	return s.Kernel, nil
}

// unused reports whether nothing was run, or is waiting to be run, in a kernel.
func (l *Live) unused() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.fresh && !slices.ContainsFunc(l.out, func(o *outgoing) bool { return o.msgID != "" })
}

// ChangeSession renames a session or gives it another kernel: change sets the
// fields; with an empty Kernel a new one of kind *spec is started.
func (h *Hub) ChangeSession(ctx context.Context, p Project, id string, change func(*Session), spec *string) (Session, error) {
	h.session.Lock()
	defer h.session.Unlock()
	s, err := h.Session(ctx, p.ID, id)
	if err != nil {
		return s, err
	}
	old, from := s.Kernel, s.Path
	change(&s)
	if s.Path != from && s.Kernel == old {
		if s.Kernel, err = h.joined(ctx, s); err != nil {
			return s, err
		}
	}
	if s.Kernel == "" { // another kind of kernel
		rec := Kernel{}
		if l, err := h.Live(p.ID, old); err == nil {
			rec = l.Record()
		}
		l, err := h.StartKernel(ctx, p, *spec, cleanDir(path.Dir(s.Path)), rec.home())
		if err != nil {
			return s, err
		}
		s.Kernel = l.ID()
	} else if _, err := h.Live(p.ID, s.Kernel); err != nil {
		return s, err
	}
	if err := h.Store.PutSession(ctx, s); err != nil {
		return s, err
	}
	if s.Kernel != old {
		list, err := h.Store.Sessions(ctx, p.ID)
		if err != nil {
			return s, err
		}
		if l, err := h.Live(p.ID, old); err == nil && !slices.ContainsFunc(list, func(o Session) bool { return o.Kernel == old }) {
			return s, h.Shutdown(ctx, l)
		}
	}
	return s, nil
}
