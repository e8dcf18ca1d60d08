package hub

import (
	"context"
	"slices"
	"sync"
	"time"

	"cellar/internal/fault"
	"cellar/kernel"
)

const (
	maxLine    = 1000 // kernels that wait
	maxLineOne = 50   // of one person
)

// waitingDetail is on record for a kernel that waits: the next hub puts it in
// line again.
const waitingDetail = "It waits for room on this machine."

var errLeft = fault.New(fault.Conflict, "line_left", "It does not wait for room any more. Run it again, or start it, when there is some.")

// place is a kernel's in the line.
type place struct {
	id    kernel.ID
	user  string
	need  need
	since time.Time
	ready chan struct{} // closed when there is room for it, or it has left
	room  bool
	left  bool
	users int // who wait for it
	ahead int // how many are served before it
}

// line is where kernels wait for room: people take turns, and of one person the
// kernel that came first is served first. Nobody is served past the one whose
// turn it is, so that a large one is not kept waiting by small ones for ever.
type line struct {
	h      *Hub
	mu     sync.Mutex
	places map[kernel.ID]*place
	turn   map[string]uint64 // when a person was served last
	turns  uint64

	shut chan struct{} // closed when the hub ends: who waits is put in line by the next
	once sync.Once
}

func newLine(h *Hub) *line {
	return &line{h: h, places: map[kernel.ID]*place{}, turn: map[string]uint64{}, shut: make(chan struct{})}
}

func (q *line) close() { q.once.Do(func() { close(q.shut) }) }

var errShut = fault.New(fault.Unavailable, "server_stops", "The server is about to stop. The kernel is in line again when it is back.")

// promised are the places of kernels that have room and are about to take it.
func (q *line) promised() (out []place) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, p := range q.places {
		if p.room {
			out = append(out, *p)
		}
	}
	return out
}

// waiting are the places without room, in the order in which they are served; the
// lock is held.
func (q *line) waiting() (out []*place) {
	of := map[string][]*place{}
	turn := map[string]uint64{}
	for _, p := range q.places {
		if !p.room {
			of[p.user] = append(of[p.user], p)
			turn[p.user] = q.turn[p.user]
		}
	}
	for _, list := range of {
		slices.SortFunc(list, func(a, b *place) int { return a.since.Compare(b.since) })
	}
	next := q.turns
	for len(of) > 0 {
		best := ""
		for user, list := range of {
			if best == "" || turn[user] < turn[best] || turn[user] == turn[best] && list[0].since.Before(of[best][0].since) {
				best = user
			}
		}
		out = append(out, of[best][0])
		next++
		turn[best] = next
		if of[best] = of[best][1:]; len(of[best]) == 0 {
			delete(of, best)
		}
	}
	return out
}

func (q *line) length() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.waiting())
}

// enter waits until there is room for a kernel. What is promised to it is its own
// until leave is called, when it holds a configuration or has failed to.
func (q *line) enter(ctx context.Context, l *Live, c Configuration, since time.Time) (leave func(), err error) {
	p, err := q.join(ctx, l, c, since)
	if err != nil {
		return nil, err
	}
	leave = func() { q.done(p) }
	q.serve()
	select {
	case <-p.ready:
	case <-q.shut:
		leave()
		return nil, errShut
	case <-ctx.Done():
		leave()
		return nil, ctx.Err()
	}
	q.mu.Lock()
	left := p.left
	q.mu.Unlock()
	if left {
		leave()
		return nil, errLeft
	}
	return leave, nil
}

func (q *line) join(ctx context.Context, l *Live, c Configuration, since time.Time) (*place, error) {
	project, err := q.h.Store.Project(ctx, l.Project())
	if err != nil {
		return nil, err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if p := q.places[l.ID()]; p != nil && !p.left {
		p.users++
		return p, nil
	}
	mine := 0
	for _, p := range q.places {
		if !p.room && p.user == project.Owner {
			mine++
		}
	}
	if len(q.places) >= maxLine || mine >= maxLineOne {
		return nil, fault.Newf(fault.Exhausted, "line_full", "This machine is full, and too many kernels wait for it already (%d of yours). Shut down what is not needed, or try again later.", mine)
	}
	p := &place{id: l.ID(), user: project.Owner, need: c.need(), since: since, ready: make(chan struct{}), users: 1, ahead: -1}
	q.places[p.id] = p
	return p, nil
}

// promise keeps room for a kernel that has it and is between two containers.
func (q *line) promise(id kernel.ID, n need) (leave func()) {
	q.mu.Lock()
	defer q.mu.Unlock()
	p := q.places[id]
	if p == nil || !p.room {
		p = &place{id: id, ready: make(chan struct{}), room: true, ahead: -1}
		q.places[id] = p
	}
	p.need = n
	p.users++
	return func() { q.done(p) }
}

// done gives up a place; the last who waited for it takes it away.
func (q *line) done(p *place) {
	q.mu.Lock()
	if p.users--; p.users <= 0 && q.places[p.id] == p {
		delete(q.places, p.id)
	}
	q.mu.Unlock()
	q.serve()
}

// quit has a kernel wait no more; true when it did.
func (q *line) quit(id kernel.ID) bool {
	q.mu.Lock()
	p := q.places[id]
	waits := p != nil && !p.room && !p.left
	if waits {
		p.left = true
		delete(q.places, id)
		close(p.ready)
	}
	q.mu.Unlock()
	if waits {
		q.serve()
	}
	return waits
}

// serve gives room to those whose turn it is, and tells the others where they
// stand.
func (q *line) serve() {
	for {
		q.mu.Lock()
		list := q.waiting()
		q.mu.Unlock()
		if len(list) == 0 {
			return
		}
		first := list[0]
		if !q.h.fitsNow(first.need, first.id) {
			q.tell()
			return
		}
		q.mu.Lock()
		if q.places[first.id] == first && !first.room && !first.left {
			first.room, first.ahead = true, -1
			if len(list) == 1 { // who has nobody behind takes no turn
				q.turn = map[string]uint64{}
			} else {
				q.turns++
				q.turn[first.user] = q.turns
			}
			close(first.ready)
		}
		q.mu.Unlock()
	}
}

// tell tells those who wait how many are before them, where that has changed.
func (q *line) tell() {
	q.mu.Lock()
	var changed []kernel.ID
	for i, p := range q.waiting() {
		if p.ahead != i {
			p.ahead = i
			changed = append(changed, p.id)
		}
	}
	q.mu.Unlock()
	for _, id := range changed {
		q.h.mu.Lock()
		l := q.h.live[id]
		q.h.mu.Unlock()
		if l != nil {
			l.tell()
		}
	}
}

// InLine is where a kernel stands.
type InLine struct {
	Position int       `json:"position" doc:"1 is next"`
	Length   int       `json:"length"`
	Since    time.Time `json:"since"`
}

func (q *line) of(id kernel.ID) *InLine {
	if q == nil {
		return nil
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	p := q.places[id]
	if p == nil || p.room || p.ahead < 0 {
		return nil
	}
	n := 0
	for _, o := range q.places {
		if !o.room {
			n++
		}
	}
	return &InLine{Position: p.ahead + 1, Length: n, Since: p.since}
}

// awaitRoom puts a kernel in line, and says so on its record while it waits.
func (h *Hub) awaitRoom(ctx context.Context, l *Live, since time.Time) (leave func(), err error) {
	for {
		rec := l.Record()
		c, err := h.Configuration(rec.Configuration)
		if err != nil {
			return nil, err
		}
		marked := !h.fitsNow(c.need(), rec.ID)
		if marked {
			l.change(ctx, func(k *Kernel) { k.Detail = waitingDetail })
		}
		leave, err = h.line.enter(ctx, l, c, since)
		if marked && err != errShut { // a hub that stops leaves it to the next
			l.change(context.WithoutCancel(ctx), func(k *Kernel) {
				if k.Detail == waitingDetail {
					k.Detail = ""
				}
			})
		}
		if err != nil || l.Record().Configuration == c.Name {
			return leave, err
		}
		leave() // it was switched meanwhile
	}
}

// LeaveLine has a kernel wait for room no more.
func (h *Hub) LeaveLine(l *Live) error {
	if !h.line.quit(l.ID()) {
		return fault.New(fault.Conflict, "not_in_line", "The kernel does not wait for room.")
	}
	return nil
}
