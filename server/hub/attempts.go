package hub

import (
	"sync"
	"time"
)

// attempts counts wrong passwords by name, whether or not there is such a user.
type attempts struct {
	mu   sync.Mutex
	list map[string]attempt
}

type attempt struct {
	n     int
	since time.Time
}

const (
	maxAttempts   = 10
	attemptWindow = 5 * time.Minute
	maxNames      = 10_000 // a stranger must not fill the memory with names
)

func (a *attempts) allow(name string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	t := a.list[name]
	return t.n < maxAttempts || time.Since(t.since) > attemptWindow
}

func (a *attempts) failed(name string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.list == nil || len(a.list) >= maxNames {
		a.list = map[string]attempt{}
	}
	t := a.list[name]
	if time.Since(t.since) > attemptWindow {
		t = attempt{since: time.Now()}
	}
	t.n++
	a.list[name] = t
}
