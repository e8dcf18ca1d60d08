// Package proxy carries traffic: between browsers' sockets and kernels, and
// between HTTP callers and instances of nodes. It knows no users and no records.
package proxy

import (
	"context"
	"errors"
	"sync"

	"cellar/kernel/wire"
)

// Item is one message on its way to a client.
type Item struct {
	Channel wire.Channel
	Message *wire.Message
}

// size is what an item counts for: its bytes and what keeping it takes.
func (i Item) size() int { return i.Message.Size() + 64 }

// ErrSlow ends a client that read so slowly that what it missed is not kept any
// more: the notebook has it.
var ErrSlow = errors.New("this client reads too slowly: what it missed is in the notebook only; reconnect")

// Queue holds what one client has still to get, bounded in bytes. What does not
// fit is refused, and has to be fetched again once there is room: one slow client
// never holds others back.
type Queue struct {
	mu    sync.Mutex
	items []Item
	bytes int
	limit int
	wake  chan struct{} // holds a token while items or err wait
	room  chan struct{} // holds a token after items were taken, or at the end
	err   error
}

// NewQueue returns a queue of at most limit bytes.
func NewQueue(limit int) *Queue {
	return &Queue{limit: limit, wake: make(chan struct{}, 1), room: make(chan struct{}, 1)}
}

// Push adds an item and reports whether it had room. An empty queue has room for
// any; one that has ended takes it and forgets it.
func (q *Queue) Push(i Item) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.err != nil {
		return true
	}
	if q.bytes > 0 && q.bytes+i.size() > q.limit {
		return false
	}
	q.bytes += i.size()
	q.items = append(q.items, i)
	signal(q.wake)
	return true
}

// Room waits until half of the queue is free; the error is the one that it ended
// with, or ctx's.
func (q *Queue) Room(ctx context.Context) error {
	for {
		q.mu.Lock()
		free, err := q.bytes <= q.limit/2, q.err
		q.mu.Unlock()
		if err != nil || free {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-q.room:
		}
	}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Pop waits for items and takes all there are.
func (q *Queue) Pop(ctx context.Context) ([]Item, error) {
	for {
		q.mu.Lock()
		items, err := q.items, q.err
		q.items, q.bytes = nil, 0
		q.mu.Unlock()
		signal(q.room)
		if len(items) > 0 {
			return items, nil
		}
		if err != nil {
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-q.wake:
		}
	}
}

// Unpop puts back items that could not be delivered.
func (q *Queue) Unpop(items []Item) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.items = append(append([]Item(nil), items...), q.items...)
	for _, i := range items {
		q.bytes += i.size()
	}
	signal(q.wake)
}

// Close ends the queue: what is in it is still given out, then err.
func (q *Queue) Close(err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.err == nil {
		q.err = err
	}
	signal(q.wake)
	signal(q.room)
}
