package hub

import (
	"context"
	"errors"
	"os"
	"path"
	"path/filepath"
	"slices"
	"time"

	"cellar/internal/fault"
	"cellar/node"
)

// Visitor is who looks at a share.
type Visitor struct {
	User     User
	SignedIn bool
	From     string // the address
}

// maxShared bounds a notebook that is shown to strangers, in bytes.
const maxShared = 32 << 20

var errSharedLarge = fault.Newf(fault.Exhausted, "too_large", "The notebook is larger than the %d MiB that are shown by a link.", maxShared>>20)

// Shared is what a share shows.
type Shared struct {
	Share
	Owner string    // the name
	At    time.Time // when what is shown was so; zero: now
}

// ByLink finds a share by its secret. Unknown, revoked, expired and not for the
// visitor look the same.
func (h *Hub) ByLink(ctx context.Context, v Visitor, secret string) (Shared, error) {
	s, err := h.Store.ShareByHash(ctx, HashSecret(secret))
	if err == nil && !h.mayRead(v, s) && !h.owns(ctx, v, s) {
		err = errNotShared
	}
	if errors.Is(err, fault.NotFound) {
		return Shared{}, h.sharing.refuse(v.From, time.Now())
	}
	if err != nil {
		return Shared{}, err
	}
	return h.shared(ctx, s)
}

// SharedWith finds a share by its ID, for the named and its owner.
func (h *Hub) SharedWith(ctx context.Context, u User, id string) (Shared, error) {
	v := Visitor{User: u, SignedIn: true}
	s, err := h.Store.Share(ctx, id)
	if err == nil && (s.Audience != AudienceNamed || !h.mayRead(v, s)) && !h.owns(ctx, v, s) {
		err = errNotShared
	}
	if errors.Is(err, fault.NotFound) {
		return Shared{}, errNotShared
	}
	if err != nil {
		return Shared{}, err
	}
	return h.shared(ctx, s)
}

// SharedWithMe lists what others share with a person by name.
func (h *Hub) SharedWithMe(ctx context.Context, u User) (out []Shared, err error) {
	list, err := h.Store.SharesFor(ctx, u.ID)
	for _, s := range list {
		if !h.mayRead(Visitor{User: u, SignedIn: true}, s) {
			continue
		}
		if one, err := h.shared(ctx, s); err == nil {
			out = append(out, one)
		}
	}
	return out, err
}

// mayRead reports whether a share that is found is for a visitor. What the operator
// has limited since it was made holds for it, too.
func (h *Hub) mayRead(v Visitor, s Share) bool {
	if s.expired(time.Now()) || h.Links == LinksOff {
		return false
	}
	switch s.Audience {
	case AudienceAnyone:
		return v.SignedIn || h.Links != AudiencePeople
	case AudiencePeople:
		return v.SignedIn
	case AudienceNamed:
		return v.SignedIn && slices.Contains(s.People, v.User.ID)
	}
	return false
}

// owns reports whether a visitor shares it; expired ones, too.
func (h *Hub) owns(ctx context.Context, v Visitor, s Share) bool {
	p, err := h.Store.Project(ctx, s.Project)
	return err == nil && v.SignedIn && p.Owner == v.User.ID
}

func (h *Hub) shared(ctx context.Context, s Share) (Shared, error) {
	out := Shared{Share: s}
	p, err := h.Store.Project(ctx, s.Project)
	if err != nil {
		return out, err
	}
	u, err := h.Store.UserByID(ctx, p.Owner)
	if err != nil {
		return out, err
	}
	out.Owner = u.Name
	if s.Checkpoint != "" {
		c, err := h.Store.Checkpoint(ctx, s.Project, s.Checkpoint)
		if errors.Is(err, fault.NotFound) {
			err = errNotShared
		}
		out.At = c.CreatedAt
		return out, err
	}
	return out, nil
}

// Opened counts a visit to a share, unless it is its owner's own.
func (h *Hub) Opened(ctx context.Context, v Visitor, s Shared) {
	if !h.owns(ctx, v, s.Share) {
		h.sharing.opened(s.ID, time.Now())
	}
}

// MayLook refuses when a share is looked at more often than is answered.
func (h *Hub) MayLook(s Shared) error {
	if h.sharing.tooOften(s.ID, time.Now()) {
		return errShareRate
	}
	return nil
}

// SharedNotebook reads what a share shows, in memory form.
func (h *Hub) SharedNotebook(ctx context.Context, s Shared) ([]byte, error) {
	p, err := h.Store.Project(ctx, s.Project)
	if err != nil {
		return nil, err
	}
	nb, err := h.sharedNotebook(ctx, p, s.Share)
	if errors.Is(err, fault.NotFound) {
		err = fault.New(fault.NotFound, "notebook_gone", "The notebook is not there any more.")
	}
	return nb, err
}

func (h *Hub) sharedNotebook(ctx context.Context, p Project, s Share) ([]byte, error) {
	if s.Notebook == "" {
		return nil, fault.New(fault.Unsupported, "no_notebook", "There is no notebook in this to show.")
	}
	if path.Ext(s.Notebook) != ".ipynb" {
		return nil, fault.New(fault.Invalid, "not_a_notebook", "Only notebooks can be shown by a link.")
	}
	if s.Checkpoint != "" {
		c, err := h.Store.Checkpoint(ctx, p.ID, s.Checkpoint)
		if err != nil {
			return nil, err
		}
		return h.keptNotebook(ctx, c, maxShared, errSharedLarge)
	}
	size, err := h.sizeOfNotebook(p, s.Notebook)
	if err != nil {
		return nil, err
	}
	if size > maxShared {
		return nil, errSharedLarge
	}
	nb, err := h.Notebooks.Read(ctx, p, s.Notebook)
	if err != nil {
		return nil, err
	}
	if nb = h.Overlay(p.ID).Peek(s.Notebook, nb); len(nb) > maxShared {
		return nil, errSharedLarge
	}
	return nb, nil
}

// sizeOfNotebook looks before it is read.
func (h *Hub) sizeOfNotebook(p Project, name string) (int64, error) {
	if !filepath.IsLocal(name) {
		return 0, fault.New(fault.Invalid, "bad_path", "The path leads out of the project.")
	}
	root, err := os.OpenRoot(h.FilesDir(p.ID))
	if err != nil {
		return 0, err
	}
	defer root.Close()
	st, err := root.Stat(name)
	if err != nil || !st.Mode().IsRegular() {
		return 0, fault.New(fault.NotFound, "notebook_not_found", "There is no such notebook.")
	}
	return st.Size(), nil
}

// keptNotebook reads the notebook of a checkpoint, from its folder or from where
// it is stored; nothing else of it is laid out. One of more bytes than most is the
// error large.
func (h *Hub) keptNotebook(ctx context.Context, c Checkpoint, most int64, large error) ([]byte, error) {
	const name = "notebook.ipynb"
	file := filepath.Join(h.vaultDir(c.ID), name)
	st, err := os.Stat(file)
	if err == nil && st.Size() > most {
		return nil, large
	}
	var nb []byte
	if err == nil {
		nb, err = os.ReadFile(file)
	}
	if errors.Is(err, os.ErrNotExist) && h.Archive != nil {
		place, e := h.placeOf(ctx, c.Project, c.ID)
		if e != nil {
			return nil, e
		}
		nb, err = h.Archive.File(ctx, place, name)
	}
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, fault.NotFound) {
		return nil, fault.New(fault.Unsupported, "no_notebook", "This checkpoint has no notebook to show.")
	}
	if err == nil && int64(len(nb)) > most {
		err = large
	}
	return nb, err
}

// opened counts a visit.
func (s *sharing) opened(id string, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.opens == nil {
		s.opens = map[string]Opens{}
	}
	o := s.opens[id]
	s.opens[id] = Opens{o.Opened + 1, now}
}

// tooOften counts a look at a share, and reports whether there are too many.
func (s *sharing) tooOften(id string, now time.Time) bool {
	s.mu.Lock()
	if s.paces == nil || len(s.paces) >= maxSharedPaces {
		s.paces = map[string]*node.Spending{}
	}
	p := s.paces[id]
	if p == nil {
		p = &node.Spending{}
		s.paces[id] = p
	}
	s.mu.Unlock()
	_, err := p.Take(node.Allowance{Rate: shareRate}, now)
	return err != nil
}

// refuse counts a link that shows nothing. Good ones are opened all the same.
func (s *sharing) refuse(from string, now time.Time) error {
	from = network(from)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.wrong == nil {
		s.wrong = counters{}
	}
	if s.wrong.full(from, maxWrongKeys, now) {
		return errTooManyFrom
	}
	s.wrong.add(from, now)
	return errNotShared
}

// noteShares writes down how often shares were opened.
func (h *Hub) noteShares(ctx context.Context) {
	h.sharing.mu.Lock()
	list := h.sharing.opens
	h.sharing.opens = nil
	h.sharing.mu.Unlock()
	if len(list) == 0 {
		return
	}
	if err := h.Store.OpenedShares(context.WithoutCancel(ctx), list); err != nil && h.ctx.Err() == nil {
		h.Log.Warn("visits to links are not written down", "error", err)
	}
}
