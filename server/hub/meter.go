package hub

import (
	"slices"
	"time"

	"cellar/kernel"
)

// meter finds the peak of memory while a run goes on. The figure is that of the
// whole kernel, what it held before the run included, without reclaimable file
// pages: the one that its limit is about. It is the largest of
//
//   - what is measured once a second and at the run's end;
//   - the machine's own counter since the run's beginning, less the most file
//     pages that were seen meanwhile, as the counter has those too.
//
// So what lasts a second is seen; what is shorter is seen where the machine has
// such a counter (control groups version 1, or Linux 6.12), and where file pages
// did not go meanwhile: the figure may be too low then, never too high by more
// than what a cell behind it takes within the first milliseconds.
// While no hub is there nothing is measured.
type meter struct {
	run     *Run
	began   time.Time
	counter bool  // the machine's counter began with this run
	files   int64 // most file pages seen during it
}

// look takes a measurement in; the lock is held.
func (m *meter) look(u kernel.Usage) {
	m.files = max(m.files, u.Files)
	m.run.Peak = max(m.run.Peak, u.Memory)
	if m.counter && u.Peak > 0 {
		m.run.Peak = max(m.run.Peak, u.Peak-m.files)
	}
}

// beginMeter measures run from here on.
func (l *Live) beginMeter(run *Run) {
	l.mu.Lock()
	container, before := l.rec.Container, l.lastRead
	l.mu.Unlock()
	if container == "" {
		return
	}
	if before != nil { // the counter is still of the run before
		<-before
	}
	err := l.h.Runtime.ResetPeak(l.h.ctx, container)
	if err != nil {
		l.h.Log.Debug("peak of memory not counted", "kernel", l.rec.ID, "error", err)
	}
	l.mu.Lock()
	l.meter = meter{run: run, began: time.Now(), counter: err == nil}
	l.mu.Unlock()
}

// endMeter takes the last measurement of run.
func (l *Live) endMeter(run *Run) {
	l.mu.Lock()
	container, mine := l.rec.Container, l.meter.run == run
	l.mu.Unlock()
	if container == "" || !mine {
		return
	}
	u, err := l.h.Runtime.Usage(l.h.ctx, container)
	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil {
		l.meter.look(u)
	}
	l.meter = meter{}
}

// meterNow takes in what is measured once a second, asked for at a moment; the
// lock is held. It returns a run that goes on unmeasured: it began while no hub
// was there.
func (l *Live) meterNow(u kernel.Usage, asked time.Time) *Run {
	if l.meter.run != nil && !l.meter.run.Ended() {
		if asked.After(l.meter.began) { // else it may be what the run before used
			l.meter.look(u)
		}
		return nil
	}
	i := slices.IndexFunc(l.book.order, func(r *Run) bool { return r.State == RunRunning && !r.old })
	if i < 0 {
		return nil
	}
	return l.book.order[i]
}
