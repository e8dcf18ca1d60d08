package hub

import (
	"time"

	"cellar/kernel/keep"
	"cellar/kernel/wire"
)

// runNews is what a record means for its run, for those who do not follow every
// output.
type runNews int

const (
	noNews runNews = iota
	runQueued
	runBegan
	runEnded
)

// newsOf reads it off a record that was taken in; the lock is held.
func newsOf(run *Run, r keep.Record, h wire.Header) runNews {
	switch {
	case run == nil:
		return noNews
	case r.Channel == wire.Request:
		return runQueued
	case h.MsgType == "execute_reply" && run.State == RunAborted: // no idle of it changes anything more
		return runEnded
	case h.MsgType != "status":
		return noNews
	case run.Ended():
		return runEnded
	}
	return runBegan
}

// runEnds does what the end of a run asks for; again says that it was told of in
// an earlier life of the kernel. What a measured run needed is read beside: it
// takes longer than all the rest, and the next cell's outputs are not to wait.
func (l *Live) runEnds(run *Run, again bool) {
	l.mu.Lock()
	l.noteAway(run)
	seen := len(l.clients) > 0
	before, measured := l.lastRead, l.meter.run == run
	finish := func() {
		l.mu.Lock()
		l.noteTiming(run)
		e := l.endedRun(run, "")
		l.mu.Unlock()
		if e.seen = seen; !again && run.State != RunAborted { // cancelled by one that failed before it: that one is told
			l.h.tell(l.rec.Project, e)
		}
		l.tellRun(run)
	}
	if !measured {
		l.mu.Unlock()
		finish()
		return
	}
	done := make(chan struct{})
	l.lastRead = done
	l.mu.Unlock()
	l.h.wg.Go(func() {
		defer close(done)
		if before != nil {
			<-before
		}
		l.endMeter(run)
		finish()
	})
}

// cutOff does the same for runs that end with their kernel.
func (l *Live) cutOff(runs []*Run) {
	for _, run := range runs {
		l.mu.Lock()
		if !run.StartedAt.IsZero() { // not one that only waited
			l.addAway(run, RunError)
		}
		l.noteTiming(run)
		e := l.endedRun(run, l.rec.Detail)
		l.mu.Unlock()
		l.h.tell(l.rec.Project, e)
		l.tellRun(run)
	}
}

func (l *Live) tellRun(run *Run) {
	l.mu.Lock()
	v := run.view(l.rec.ID)
	l.mu.Unlock()
	v.Outputs = nil
	l.h.events.send(Event{Project: l.rec.Project, Type: "run", Data: v})
}

// Wake is how a hibernated kernel came back last.
type Wake struct {
	At   time.Time
	Took time.Duration
}
