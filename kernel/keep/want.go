package keep

import "sync"

// A cell may begin with a line that asks for a configuration of its own. The
// kernel asks for it, through the pipes of hooks, before it runs the cell, and
// waits; when the cell has ended it gives it back. From the kernel:
// {"want":"c1.2","id":7}, or "" for giving back. To the kernel:
// {"granted":7,"error":"There is no ..."}.
//
// The newest want is kept until a hub has answered it: it is told in the journal,
// and again to every hub that connects. So a hub that was killed meanwhile, or a
// kernel that was frozen while it waits, loses nothing but time.

// Want is a configuration that a kernel asks for. It is untrusted.
type Want struct {
	ID            uint64 `json:"id"`
	Configuration string `json:"configuration"` // empty: it gives back what it was given
}

// Grant answers a want.
type Grant struct {
	ID    uint64 `json:"granted"`
	Error string `json:"error,omitempty"` // a sentence; empty: the configuration is there
}

// maxWant is the length of a configuration's name in bytes.
const maxWant = 100

// wants keeps the newest want of a process.
type wants struct {
	mu   sync.Mutex
	open *Want
}

// put notes a want; false when it is none.
func (w *wants) put(id uint64, configuration string) (Want, bool) {
	if id == 0 || len(configuration) > maxWant {
		return Want{}, false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.open = &Want{ID: id, Configuration: configuration}
	return *w.open, true
}

// get is the want that nobody has answered, or nil.
func (w *wants) get() *Want {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.open
}

// answered forgets a want, unless there is a newer one.
func (w *wants) answered(id uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.open != nil && w.open.ID == id {
		w.open = nil
	}
}

// grant answers the kernel.
func (k *Keeper) grant(g Grant) {
	k.mu.Lock()
	p := k.kernel
	k.mu.Unlock()
	if p == nil {
		return
	}
	p.hooks.wants.answered(g.ID)
	p.hooks.say(g)
}
