package store

import (
	"sync"
	"time"
)

// recentFor is how long a record that every request asks for is taken from
// memory. What this process writes is seen at once; what a command beside the
// hub writes, a revoked token for example, after that time.
const recentFor = time.Second

// maxRecent bounds the records of one kind in memory.
const maxRecent = 4096

// recent remembers what was read lately.
type recent[V any] struct {
	mu      sync.Mutex
	entries map[string]remembered[V]
	epoch   uint64 // grows with every write: what was being read then is old
}

type remembered[V any] struct {
	value V
	until time.Time
}

// get returns the value of key, read by load if it is not remembered. Failures
// are not remembered.
func (r *recent[V]) get(key string, load func() (V, error)) (V, error) {
	now := time.Now()
	r.mu.Lock()
	e, ok := r.entries[key]
	epoch := r.epoch
	r.mu.Unlock()
	if ok && now.Before(e.until) {
		return e.value, nil
	}
	v, err := load()
	if err != nil {
		return v, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.epoch != epoch {
		return v, nil
	}
	if r.entries == nil || len(r.entries) >= maxRecent {
		r.entries = map[string]remembered[V]{}
	}
	r.entries[key] = remembered[V]{v, now.Add(recentFor)}
	return v, nil
}

// forget drops all, after a write.
func (r *recent[V]) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.entries = nil
	r.epoch++
}
