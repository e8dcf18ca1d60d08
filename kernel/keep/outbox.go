package keep

import (
	"sync"

	"cellar/kernel/wire"
)

// outbox holds what one socket of the kernel has still to take: a kernel that
// does not read must not keep an interrupt or an acknowledgement waiting behind
// its messages. Over its bound put waits, and with it the hub.
type outbox struct {
	mu     sync.Mutex
	change *sync.Cond
	list   []*wire.Message
	bytes  int
	closed bool
}

const outboxBytes = 128 << 20

func newOutbox() *outbox {
	o := &outbox{}
	o.change = sync.NewCond(&o.mu)
	return o
}

// put adds m; after close it is dropped.
func (o *outbox) put(m *wire.Message) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for o.bytes > outboxBytes && !o.closed {
		o.change.Wait()
	}
	if o.closed {
		return
	}
	o.list = append(o.list, m)
	o.bytes += m.Size()
	o.change.Broadcast()
}

// take waits for a message; false after close.
func (o *outbox) take() (*wire.Message, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for len(o.list) == 0 && !o.closed {
		o.change.Wait()
	}
	if o.closed {
		return nil, false
	}
	m := o.list[0]
	o.list[0] = nil
	o.list = o.list[1:]
	o.bytes -= m.Size()
	o.change.Broadcast()
	return m, true
}

func (o *outbox) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed, o.list = true, nil
	o.change.Broadcast()
}
