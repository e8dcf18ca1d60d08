package server

import (
	"errors"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"sync"

	"cellar/internal/fault"
	"cellar/server/hub"
	"cellar/server/jupyter/contents"
)

// maxTrusted is how many outputs are remembered for one person in one project, of
// 32 bytes each. Over it the older half is forgotten, and shown without scripts.
const maxTrusted = 32 << 10

// trust is what one person trusts in one project: a file of sums, the newest last.
// Its lock is held while that small file is read or written: what is learnt first
// must not be written last.
type trust struct {
	file string
	own  bool

	mu    sync.Mutex
	read  bool
	known map[contents.Sum]bool
	order []contents.Sum
}

// trusts keeps what people trust, as long as the hub runs.
type trusts struct {
	mu   sync.Mutex
	open map[[2]string]*trust
}

// of finds what a person trusts. What kernels of a project say is its owner's own
// doing, unless they began as somebody else's; an administrator who looks in is
// not to act for it.
func (t *trusts) of(h *hub.Hub, p hub.Project, person string) *trust {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.open == nil {
		t.open = map[[2]string]*trust{}
	}
	key := [2]string{p.ID, person}
	if t.open[key] == nil {
		t.open[key] = &trust{file: filepath.Join(h.LabDir(p.ID), person, "trusted"), own: p.Owner == person && !p.Foreign}
	}
	return t.open[key]
}

func (t *trusts) drop(project string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for key := range t.open {
		if key[0] == project {
			delete(t.open, key)
		}
	}
}

// Own implements contents.Trust.
func (t *trust) Own() bool { return t.own }

// Knows implements contents.Trust. What cannot be read is not trusted.
func (t *trust) Knows(s contents.Sum) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.load() == nil && t.known[s]
}

// load reads the file once; the lock is held.
func (t *trust) load() error {
	if t.read {
		return nil
	}
	b, err := os.ReadFile(t.file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	t.known, t.order = map[contents.Sum]bool{}, nil
	for ; len(b) >= len(contents.Sum{}); b = b[len(contents.Sum{}):] { // a piece at the end was being written when the hub ended
		t.add(contents.Sum(b))
	}
	t.read = true
	return nil
}

func (t *trust) add(s contents.Sum) {
	if !t.known[s] {
		t.known[s] = true
		t.order = append(t.order, s)
	}
}

// Learn implements contents.Trust.
func (t *trust) Learn(sums []contents.Sum) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.load(); err != nil {
		return fault.Wrap(fault.Internal, "not_kept", "What is trusted could not be read.", err)
	}
	for _, s := range sums {
		t.add(s)
	}
	if len(t.order) > maxTrusted {
		for _, s := range t.order[:len(t.order)-maxTrusted/2] {
			delete(t.known, s)
		}
		t.order = append([]contents.Sum(nil), t.order[len(t.order)-maxTrusted/2:]...)
	}
	b := make([]byte, 0, len(t.order)*len(contents.Sum{}))
	for _, s := range t.order {
		b = append(b, s[:]...)
	}
	err := os.MkdirAll(filepath.Dir(t.file), 0o700)
	if err == nil {
		if err = os.WriteFile(t.file+".new", b, 0o600); err == nil {
			err = os.Rename(t.file+".new", t.file)
		}
	}
	return fault.Wrap(fault.Internal, "not_kept", "What is trusted could not be kept.", err)
}

// trust is what the person behind a request trusts.
func (s *Server) trust(r *http.Request) contents.Trust {
	u, _ := Who(r.Context())
	return s.Trees.trusts.of(s.hub, projectOf(r).Project, u.ID)
}
