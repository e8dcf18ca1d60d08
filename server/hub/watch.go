package hub

import (
	"context"
	"math"
	"os"
	"strconv"
	"strings"
	"time"

	"cellar/kernel"
)

const (
	watchEvery = time.Second
	// idleCPU is how much of a core a kernel may use and still count as idle.
	idleCPU = 0.2
	// flushEvery is how often a running cell's outputs reach the notebook on
	// disk while no tab is open.
	flushEvery = 10 * time.Second
	// Followers are told of a kernel's use when it has changed by so much since
	// they were told last: bytes, cores.
	useStep = 4 << 20
	cpuStep = 0.02
)

// watch measures kernels and sends to sleep those that nobody uses.
func (h *Hub) watch() {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	flush := time.NewTicker(flushEvery)
	defer flush.Stop()
	day := h.tellNewDay(time.Time{})
	for {
		select {
		case <-h.ctx.Done():
			return
		case <-flush.C:
			for _, l := range h.LiveOf("") {
				l.persist(h.ctx)
				l.keepTimings()
			}
			h.noteKeys(h.ctx)
			h.noteShares(h.ctx)
			h.ledger.writeLeft(h.ctx)
			h.ledger.leaveSign(true)
			h.audit(h.ctx)
		case <-tick.C:
			for _, l := range h.LiveOf("") {
				h.measure(l)
			}
			h.ledger.leaveSign(false)
			h.keepLimits()
			h.line.serve()
			day = h.tellNewDay(day)
			h.nodes.sweep()
			h.nodes.observe(time.Now())
			h.sweepLanguages(time.Now())
		}
	}
}

func (h *Hub) measure(l *Live) {
	rec := l.Record()
	if rec.Container == "" || rec.State != kernel.Running {
		return
	}
	asked := time.Now()
	u, err := h.Runtime.Usage(h.ctx, rec.Container)
	if err != nil {
		return
	}
	now := time.Now()
	l.mu.Lock()
	if d := now.Sub(l.usageAt).Seconds(); d > 0 && u.CPU >= l.usage.CPU && !l.usageAt.IsZero() {
		l.cpu = float64(u.CPU-l.usage.CPU) / 1e9 / d
	}
	link := l.link
	moved := abs(u.Memory-l.toldMemory) > useStep || math.Abs(l.cpu-l.toldCPU) > cpuStep
	l.usage, l.usageAt = u, now
	if moved {
		l.toldMemory, l.toldCPU = u.Memory, l.cpu
	}
	unmeasured := l.meterNow(u, asked)
	l.mu.Unlock()
	if unmeasured != nil {
		l.beginMeter(unmeasured)
	}
	if moved {
		l.tell()
	}
	if link != nil {
		l.acknowledge(link)
	}
	h.autosave(l, u, now)
	if h.idle(l, now) {
		h.wg.Go(func() {
			o := h.Operations.Begin(h.ctx, rec.Project, "hibernate idle "+string(rec.ID), func(ctx context.Context, o *Operation) (any, error) {
				return h.Hibernate(ctx, l, o)
			})
			if s, err := o.Wait(h.ctx); err == nil && s.Error != nil {
				l.mu.Lock()
				l.awake = time.Now().Add(time.Minute) // not again at once
				l.mu.Unlock()
			}
		})
	}
}

// idle reports whether a kernel has done nothing for long enough; it says so
// once per limit.
func (h *Hub) idle(l *Live, now time.Time) bool {
	after := h.idleAfter(l.Project())
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cpu > idleCPU || l.busy == "busy" || l.book.busy() || len(l.out) > 0 {
		l.rec.ActiveAt = now
		return false
	}
	if after <= 0 || now.Before(l.awake) || now.Before(l.rec.AwakeUntil) || now.Sub(l.rec.ActiveAt) < after {
		return false
	}
	l.awake = now.Add(after)
	return true
}

func abs(n int64) int64 {
	if n < 0 {
		return -n
	}
	return n
}

// memoryAvailable is what the machine could still give, in bytes.
func memoryAvailable() int64 {
	b, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "MemAvailable:"); ok {
			n, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			return n << 10
		}
	}
	return 0
}
