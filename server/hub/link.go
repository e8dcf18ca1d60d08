package hub

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"cellar/internal/fault"
	"cellar/kernel/keep"
	"cellar/kernel/wire"
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
	for {
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

// take1 takes in one record.
func (l *Live) take1(r keep.Record) {
	h, err := wire.ParseHeader(r.Message.Header)
	if err != nil {
		return
	}
	l.mu.Lock()
	parent, err := l.parents.Parse(r.Message.Parent)
	if err != nil || r.Seq <= l.seq {
		l.mu.Unlock()
		return
	}
	gap := r.Seq - l.seq - 1
	l.seq = r.Seq
	if gap > 0 {
		l.noteGap(gap)
	}
	if r.Channel == wire.Event {
		l.mu.Unlock()
		l.onEvent(r)
		return
	}
	if r.Channel == wire.Request {
		l.fresh = l.fresh && h.Session == hubSession
		for _, o := range l.out {
			if o.msgID == h.MsgID {
				l.drop(o)
				break
			}
		}
	}
	if parent.Session == hubSession {
		if c := l.asked[parent.MsgID]; c != nil && r.Channel == wire.Shell {
			select {
			case c <- r.Message:
			default:
			}
		}
		l.mu.Unlock()
		return
	}
	l.recall.note(r, h, parent)
	if r.Channel == wire.Request && h.MsgType == "execute_request" {
		l.unsaved.note(r)
	}
	heard := l.noteAsked(r, h, parent)
	run := l.book.note(r, h, parent)
	if run != nil && r.Channel == wire.Request && r.Seq <= l.gapUntil {
		run.gap = true
	}
	if run != nil && run.Ended() && l.hasClient(run.Session) {
		run.delivered = true
	}
	toldBefore := l.busy
	if r.Channel == wire.IOPub && h.MsgType == "status" {
		l.noteStatus(r, parent)
	}
	if r.Channel != wire.Request && r.Seq > l.quietUntil {
		l.forward(r.Channel, r.Message, parent.Session, r.Seq)
	}
	busyChanged := toldBefore != l.busy
	news := newsOf(run, r, h)
	now, again := r.Seq > l.caughtUp, r.Seq <= l.quietUntil
	l.mu.Unlock()
	if heard {
		l.setDied(nil)
	}
	switch {
	case news == runBegan && now:
		l.beginMeter(run)
	case news == runEnded:
		l.runEnds(run, again)
	}
	if news == runQueued || news == runBegan {
		l.tellRun(run)
	}
	if busyChanged {
		l.tell()
	}
	if news == runEnded {
		l.h.wg.Go(func() { l.persist(l.h.ctx) })
	}
}

// noteStatus keeps Jupyter's execution_state; the lock is held.
func (l *Live) noteStatus(r keep.Record, parent wire.Header) {
	var c struct {
		State string `json:"execution_state"`
	}
	if json.Unmarshal(r.Message.Content, &c) != nil || (c.State != "busy" && c.State != "idle") {
		return
	}
	// What a client asks by opening a page is not work. Nor is what is asked on the control channel, as by the
	// debugger whenever a notebook is shown: its idle says nothing of a cell that runs meanwhile.
	switch parent.MsgType {
	case "kernel_info_request", "comm_info_request", "history_request", "debug_request", "interrupt_request", "shutdown_request":
		return
	}
	l.busy = c.State
	l.rec.ActiveAt = r.Time
}

// noteGap says in the output that the journal's quota dropped records; the lock
// is held.
func (l *Live) noteGap(n uint64) {
	l.fresh = false // a request may have been among them
	for _, run := range l.book.order {
		if run.State == RunRunning {
			text := fmt.Sprintf("\n[%d messages were dropped here: the output passed the server's limit]\n", n)
			run.add(&Output{stream: "stderr", text: []byte(text)}, len(text))
			run.version++
		}
	}
	l.h.Log.Warn("journal dropped records", "kernel", l.rec.ID, "records", n)
}

func (l *Live) onEvent(r keep.Record) {
	var e keep.Event
	if json.Unmarshal(r.Message.Content, &e) != nil {
		return
	}
	switch e.Event {
	case keep.EventReady:
		l.mu.Lock()
		if len(e.Info) > 0 && len(e.Info) < 1<<20 && json.Valid(e.Info) {
			l.info = e.Info
		}
		l.setReady()
		l.mu.Unlock()
		l.signal()
		l.keepInfo(e.Info)
	case keep.EventHooked:
		if e.Hooked != nil {
			l.hooked(*e.Hooked)
		}
	case keep.EventExited:
		l.mu.Lock()
		l.exit, l.exitAt = &e, r.Time
		for id, answer := range l.asked { // nobody will answer
			delete(l.asked, id)
			close(answer)
		}
		container := l.rec.Container
		l.mu.Unlock()
		l.h.wg.Go(func() { l.kernelEnded(container) })
	}
}

func (l *Live) keepInfo(info json.RawMessage) {
	if err := l.remember(infoFile, info); err != nil {
		l.h.Log.Warn("kernel info not kept", "kernel", l.rec.ID, "error", err)
	}
}

// ackEvery bounds how often the database is told what is done with.
const ackEvery = time.Second

// acknowledge lets the keeper forget what notebooks carry. The database is told
// first: after a crash records come twice rather than never.
func (l *Live) acknowledge(client *keep.Client) {
	l.mu.Lock()
	done := l.book.done(l.seq)
	// The journal of a kernel that has ended tells so to the next hub, until it is seen to.
	ago := time.Since(l.ackedAt)
	due := l.exit == nil && done > l.rec.Acked && (done-l.rec.Acked > 2000 || ago > ackEvery)
	release := done
	if first, any := l.wanted(); any {
		release = min(done, first-1)
	}
	// A client that was behind held it back, and has come on.
	late := l.exit == nil && !due && release > l.released && release <= l.rec.Acked && ago > ackEvery
	if late {
		l.released, l.ackedAt = release, time.Now()
	}
	l.mu.Unlock()
	if late {
		client.Ack(release)
	}
	if !due {
		return
	}
	if err := l.keepDisplays(); err != nil {
		l.h.Log.Warn("displays of a kernel not kept; its journal stays", "kernel", l.rec.ID, "error", err)
		return
	}
	l.mu.Lock()
	l.rec.Acked, l.released, l.ackedAt = done, release, time.Now()
	rec := l.rec
	l.mu.Unlock()
	if err := l.h.Store.PutKernel(l.h.ctx, rec); err != nil {
		l.h.Log.Warn("acknowledgement not recorded", "kernel", rec.ID, "error", err)
		return
	}
	client.Ack(release)
}
