package hub

import (
	"encoding/json"
	"fmt"
	"time"

	"cellar/kernel/keep"
	"cellar/kernel/wire"
)

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
	if r.Channel == wire.Shell && h.MsgType == "execute_reply" {
		l.giveBack()
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
	case keep.EventWants:
		l.mu.Lock()
		now := r.Seq > l.caughtUp // what was wanted before the link came is told with it, if nobody has answered
		l.mu.Unlock()
		if e.Want != nil && now {
			l.wants(*e.Want)
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
