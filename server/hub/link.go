package hub

import (
	"context"
	"time"

	"cellar/internal/fault"
	"cellar/kernel/keep"
)

// connect links the hub to the keeper of a running container, going on after
// the last record seen.
func (l *Live) connect(ctx context.Context) error {
	l.mu.Lock()
	container, from := l.rec.Container, l.seq+1
	l.mu.Unlock()
	client, err := l.dial(ctx, container, from)
	if err != nil {
		return err
	}
	client.Answered = l.answered
	l.mu.Lock()
	l.link, l.leaving = client, false
	done := make(chan struct{})
	l.linked = done
	if client.Hello.Ready {
		l.setReady()
	}
	var hold chan struct{}
	if client.Hello.Raw {
		hold = make(chan struct{})
		l.hold = hold
	}
	caughtUp := client.Hello.Next - 1
	l.caughtUp = caughtUp
	if l.rebuilding {
		l.rebuilding, l.gapUntil = false, caughtUp
	}
	l.mu.Unlock()
	l.h.wg.Go(func() {
		defer close(done)
		l.receive(client, caughtUp)
	})
	if hold != nil {
		l.h.wg.Go(func() { l.becomeOwn(container, hold) })
	}
	if !client.Hello.Alive {
		l.h.wg.Go(func() { l.kernelEnded(container) })
	}
	return nil
}

// setReady lets messages through; the lock is held.
func (l *Live) setReady() {
	select {
	case <-l.ready:
	default:
		close(l.ready)
	}
}

const dialEvery = 2 * time.Millisecond

func (l *Live) dial(ctx context.Context, container string, from uint64) (*keep.Client, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		conn, err := l.h.Runtime.Dial(ctx, container, keep.Port)
		if err == nil {
			var c *keep.Client
			stop := context.AfterFunc(ctx, func() { conn.Close() })
			if c, err = keep.Open(conn, from); err == nil && stop() {
				return c, nil
			}
			conn.Close()
		}
		select {
		case <-ctx.Done():
			return nil, fault.Wrap(fault.Unavailable, "keeper_silent", "The kernel's container does not answer.", err)
		case <-time.After(dialEvery):
		}
	}
}

// unlink lets go of the keeper and waits until all it sent is taken in.
func (l *Live) unlink() {
	l.mu.Lock()
	link, done := l.link, l.linked
	l.leaving = true
	l.mu.Unlock()
	if link == nil {
		return
	}
	if err := link.Do(keep.OpDetach); err != nil {
		link.Close()
	}
	select {
	case <-done:
	case <-time.After(5 * time.Second):
		link.Close()
		<-done
	}
}

// receive takes in the journal until the link ends, and sends what waits.
func (l *Live) receive(client *keep.Client, caughtUp uint64) {
	ctx, cancel := context.WithCancel(l.h.ctx)
	defer cancel()
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		l.sendOut(ctx, client, caughtUp)
	}()
	stop := context.AfterFunc(l.h.ctx, func() { client.Close() })
	defer stop()
	var err error
	want := client.Hello.Want
	for {
		if want != nil && l.unseen() > caughtUp { // the cell that asks is known by now
			l.wants(*want)
			want = nil
		}
		var r keep.Record
		if r, err = client.Next(); err != nil {
			break
		}
		l.take1(r)
		if !client.Waiting() {
			l.signal()
			l.acknowledge(client)
		}
	}
	client.Close()
	cancel()
	<-sent
	l.mu.Lock()
	l.link = nil
	onPurpose := l.leaving
	l.mu.Unlock()
	if !onPurpose && l.h.ctx.Err() == nil {
		l.h.wg.Go(func() { l.lost(err) })
	}
}

// sendOut writes what waits to the keeper. Requests that an earlier link may
// have lost are sent again once the journal up to now shows they did not arrive.
func (l *Live) sendOut(ctx context.Context, client *keep.Client, caughtUp uint64) {
	first := true
	for {
		l.mu.Lock()
		ready, hold, next := l.ready, l.hold, (*outgoing)(nil)
		if l.seq >= caughtUp {
			if first {
				for _, o := range l.out {
					o.sent = false
				}
				first = false
			}
			for _, o := range l.out {
				if !o.sent {
					next = o
					break
				}
			}
		}
		l.mu.Unlock()
		if next == nil {
			select {
			case <-ctx.Done():
				return
			case <-l.outWake:
			}
			continue
		}
		select {
		case <-ctx.Done():
			return
		case <-ready:
		}
		if hold != nil {
			select {
			case <-ctx.Done():
				return
			case <-hold:
			}
		}
		if err := client.Send(next.ch, next.m); err != nil {
			return
		}
		l.mu.Lock()
		if next.sent = true; next.msgID == "" {
			l.drop(next)
		}
		l.mu.Unlock()
	}
}

// drop takes a message off the list; the lock is held.
func (l *Live) drop(o *outgoing) {
	for i, p := range l.out {
		if p == o {
			l.out = append(l.out[:i:i], l.out[i+1:]...)
			l.outBytes -= o.m.Size()
			return
		}
	}
}
