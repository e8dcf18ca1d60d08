package hub

import (
	"cellar/kernel/keep"
	"cellar/kernel/wire"
	"cellar/proxy"
)

// behind is where a client is whose queue was full: it gets the rest from the
// journal as fast as it reads, and nobody waits for it.
type behind struct {
	next  uint64  // the first record that it has not got
	later []later // what the hub itself had to say meanwhile
}

// later is a message of the hub's own; after is the record it came after.
type later struct {
	after uint64
	item  proxy.Item
}

// maxLater bounds what the hub says to a client that is behind: one who asks much
// and reads nothing is let go.
const maxLater = 1000

// give hands a client a message: record seq of the journal, or with 0 one of the
// hub's own. The lock is held.
func (l *Live) give(c *Client, it proxy.Item, seq uint64) {
	if c.behind == nil {
		if c.Queue.Push(it) {
			return
		}
		c.behind = &behind{next: seq}
		if seq == 0 {
			c.behind.next = l.seq + 1
		}
		journal := l.journalDir()
		l.h.wg.Go(func() { l.catchUp(c, journal) })
	}
	switch {
	case seq > 0: // it comes from the journal
	case len(c.behind.later) < maxLater:
		c.behind.later = append(c.behind.later, later{l.seq, it})
	default:
		c.Queue.Close(proxy.ErrSlow)
	}
}

// catchUp gives a client what it missed until it misses nothing. It ends with the
// client's queue.
func (l *Live) catchUp(c *Client, journal string) {
	for c.Queue.Room(l.h.ctx) == nil {
		l.mu.Lock()
		b, upTo := *c.behind, l.seq
		l.mu.Unlock()
		began, had := b.next, len(b.later)
		full := !b.read(c, journal, upTo)
		l.mu.Lock()
		c.behind.next = b.next
		c.behind.later = c.behind.later[had-len(b.later):]
		if !full && b.next == began && began <= upTo {
			l.h.Log.Warn("a client reads so slowly that the journal has not kept what it missed", "kernel", l.rec.ID, "record", began)
			c.Queue.Close(proxy.ErrSlow)
		}
		done := !full && b.next > l.seq && c.behind.flush(c, b.next)
		if done {
			c.behind = nil
		}
		l.mu.Unlock()
		if done {
			return
		}
	}
}

// read pushes the records up to upTo and what the hub said between them. It
// reports whether all had room; a record that is missing ends it.
func (b *behind) read(c *Client, journal string, upTo uint64) (room bool) {
	room = true
	keep.ReadLeft(journal, b.next, func(r keep.Record) bool {
		if r.Seq != b.next || r.Seq > upTo {
			return false
		}
		room = b.flush(c, r.Seq)
		if it, ok := c.wants(r); ok && room {
			room = c.Queue.Push(it)
		}
		if room {
			b.next++
		}
		return room
	})
	return room
}

// flush pushes what the hub said before record seq; false: it has no room.
func (b *behind) flush(c *Client, seq uint64) bool {
	for len(b.later) > 0 && b.later[0].after < seq {
		if !c.Queue.Push(b.later[0].item) {
			return false
		}
		b.later = b.later[1:]
	}
	return true
}

// wants reports whether a record is for a client, as take1 decides it.
func (c *Client) wants(r keep.Record) (proxy.Item, bool) {
	it := proxy.Item{Channel: r.Channel, Message: r.Message}
	if r.Channel == wire.Event || r.Channel == wire.Request {
		return it, false
	}
	if _, err := wire.ParseHeader(r.Message.Header); err != nil {
		return it, false
	}
	parent, err := wire.ParseHeader(r.Message.Parent)
	return it, err == nil && parent.Session != hubSession && c.sees(r.Channel, parent.Session)
}

// sees reports whether a message is for a client: what is published is for all,
// an answer for the session that asked.
func (c *Client) sees(ch wire.Channel, asked string) bool {
	return ch == wire.IOPub || c.Session == asked || asked == ""
}

// wanted is the first record that a client has still to get from the journal;
// the lock is held.
func (l *Live) wanted() (first uint64, any bool) {
	look := func(c *Client) {
		if c.behind != nil && (!any || c.behind.next < first) {
			first, any = c.behind.next, true
		}
	}
	for c := range l.clients {
		look(c)
	}
	for _, c := range l.parked {
		look(c)
	}
	return first, any
}

// cutBehind lets go of the clients that are behind: the journal they are in goes.
// The lock is held.
func (l *Live) cutBehind() {
	look := func(c *Client) {
		if c.behind != nil {
			c.Queue.Close(proxy.ErrSlow)
		}
	}
	for c := range l.clients {
		look(c)
	}
	for _, c := range l.parked {
		look(c)
	}
}
