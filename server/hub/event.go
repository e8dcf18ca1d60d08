package hub

import (
	"sync"
)

// Event tells followers of a project that something changed.
type Event struct {
	Project string
	Type    string // kernel, run, node, restarted, action; others are of those who tell
	Data    any    // marshalled for the follower
}

// events hands every event to every follower of its project. A follower that
// does not keep up loses the oldest: an event carries the whole new state, or is
// news that nothing depends on.
type events struct {
	mu        sync.Mutex
	followers map[chan Event]string
}

const followerQueue = 256

func (e *events) follow(project string) (<-chan Event, func()) {
	c := make(chan Event, followerQueue)
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.followers == nil {
		e.followers = map[chan Event]string{}
	}
	e.followers[c] = project
	return c, func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		delete(e.followers, c)
	}
}

func (e *events) send(ev Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for c, project := range e.followers {
		if project != ev.Project {
			continue
		}
		for sent := false; !sent; {
			select {
			case c <- ev:
				sent = true
			default:
				select {
				case <-c:
				default:
				}
			}
		}
	}
}
