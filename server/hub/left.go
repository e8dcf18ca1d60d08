package hub

import (
	"math"

	"cellar/kernel/keep"
	"cellar/kernel/wire"
)

// hearLeft takes in what the journal of l has after the last record seen, when
// no keeper is there to tell it: after a reboot, or when a container was killed.
// What it says of the kernel's own life is passed over, but for its end: that
// life has ended.
func (l *Live) hearLeft() {
	l.mu.Lock()
	from := l.seq + 1
	l.gapUntil = math.MaxUint64 // no client has seen any of it
	l.mu.Unlock()
	err := keep.ReadLeft(l.journalDir(), from, func(r keep.Record) bool {
		if r.Channel != wire.Event {
			l.take1(r)
		} else if e, ok := exitOf(r); ok {
			l.mu.Lock()
			l.exit, l.exitAt = &e, r.Time
			l.mu.Unlock()
		}
		return true
	})
	if err != nil {
		l.h.Log.Warn("journal of a kernel that is gone not read to its end", "kernel", l.rec.ID, "error", err)
	}
	l.mu.Lock()
	l.gapUntil = l.seq
	l.mu.Unlock()
}
