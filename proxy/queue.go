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

// ErrSlow ends a client that does not read: what waited for it is in the
// notebook and comes again when it reconnects.
var ErrSlow = errors.New("this client reads too slowly; reconnect to catch up")

// Queue holds what one client has still to get, bounded in bytes. Over the
// bound it is closed with ErrSlow: one slow client never holds others back.
type Queue struct {
	mu    sync.Mutex
	items []Item
	bytes int
	limit int
	wake  chan struct{} // holds a token while items or err wait
	err   error
}

// NewQueue returns a queue of at most limit bytes.
func NewQueue(limit int) *Queue { return &Queue{limit: limit, wake: make(chan struct{}, 1)} }

// Push adds an item.
func (q *Queue) Push(i Item) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.err != nil {
		return
	}
	if q.bytes += i.size(); q.bytes > q.limit {
		q.items, q.bytes, q.err = nil, 0, ErrSlow
	} else {
		q.items = append(q.items, i)
	}
	q.signal()
}

func (q *Queue) signal() {
	select {
	case q.wake <- struct{}{}:
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
	q.signal()
}

// Close ends the queue: what is in it is still given out, then err.
func (q *Queue) Close(err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.err == nil {
		q.err = err
	}
	q.signal()
}
