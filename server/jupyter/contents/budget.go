package contents

import (
	"context"
	"time"

	"golang.org/x/sync/semaphore"

	"cellar/internal/fault"
)

// Budget bounds the memory that documents take while they are received, read and
// written, for all trees that share it. One document may take many times its
// length: its values are counted, not its bytes.
type Budget struct {
	bodies  *semaphore.Weighted // bytes of requests and answers
	parsing *semaphore.Weighted // bytes of parsed documents
}

// What a hub has for all documents together, in bytes, and how long one waits for
// its share.
const (
	bodiesBudget   = 1 << 30
	parsingBudget  = 2 << 30
	budgetPatience = 30 * time.Second
)

// NewBudget returns a budget of the usual size.
func NewBudget() *Budget {
	return &Budget{semaphore.NewWeighted(bodiesBudget), semaphore.NewWeighted(parsingBudget)}
}

var errBusy = fault.New(fault.Unavailable, "busy", "The server is busy with other large documents. Try again in a moment.")

// body takes a share for n more bytes of a request or an answer. It does not wait: who holds a
// share already must not wait for more.
func (b *Budget) body(n int64) error {
	if b == nil || b.bodies.TryAcquire(n) {
		return nil
	}
	return errBusy
}

func (b *Budget) bodyDone(n int64) {
	if b != nil && n > 0 {
		b.bodies.Release(n)
	}
}

// parse waits for the share of a document.
func (b *Budget) parse(ctx context.Context, doc []byte) (done func(), err error) {
	if b == nil || len(doc) < 64<<10 { // a thousand of these at once are no danger
		return func() {}, nil
	}
	n := min(2*int64(len(doc))+valueSize*valuesIn(doc), parsingBudget)
	ctx, cancel := context.WithTimeout(ctx, budgetPatience)
	defer cancel()
	if b.parsing.Acquire(ctx, n) != nil {
		return nil, errBusy
	}
	return func() { b.parsing.Release(n) }, nil
}
