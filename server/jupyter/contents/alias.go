package contents

import "sync"

// aliases remember, per path, the hash a client is to see for a file that the hub rewrote itself: a
// browser compares hashes before it saves, and must not take the hub's own write for a stranger's.
// As soon as anybody else writes, the disk's hash differs from the remembered one and shows itself.
type aliases struct {
	mu sync.Mutex
	of map[string]alias
}

type alias struct{ disk, client string }

// shown answers the hash to tell a client for a file whose bytes have the hash disk.
func (a *aliases) shown(place, disk string) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	if known := a.of[place]; known.disk == disk && disk != "" {
		return known.client
	}
	return disk
}

// rewrote notes that the hub replaced bytes of hash before by bytes of hash after.
func (a *aliases) rewrote(place, before, after string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	client := before
	if known := a.of[place]; known.disk == before {
		client = known.client
	}
	if a.of == nil {
		a.of = map[string]alias{}
	}
	a.of[place] = alias{disk: after, client: client}
}

func (a *aliases) forget(place string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.of, place)
}

func (a *aliases) move(from, to string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if known, ok := a.of[from]; ok {
		a.of[to] = known
		delete(a.of, from)
	}
}
