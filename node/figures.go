package node

import (
	"sync"
	"time"
)

// An hour by the minute, and this many different statuses in each.
const (
	figureMinutes = 60
	figureCodes   = 10
)

// Figures are what happened to a node or an alias in the last hour, in some 20
// KiB.
type Figures struct {
	mu      sync.Mutex
	minutes [figureMinutes]minute
}

type minute struct {
	at        int64 // minutes since 1970
	calls     uint32
	codes     [figureCodes]struct{ code, n uint32 }
	took      Histogram
	active    int32 // the most at a time
	instances int32
}

// Minute is one minute of Figures.
type Minute struct {
	At        time.Time      `json:"at"`
	Calls     uint32         `json:"calls"`
	Codes     map[int]uint32 `json:"codes"`
	P50       float64        `json:"p50_ms"`
	P95       float64        `json:"p95_ms"`
	P99       float64        `json:"p99_ms"`
	Active    int32          `json:"active" doc:"the most calls at a time"`
	Instances int32          `json:"instances" doc:"the most at a time"`
}

func (f *Figures) now(t time.Time) *minute {
	at := t.Unix() / 60
	m := &f.minutes[at%figureMinutes]
	if m.at != at {
		*m = minute{at: at}
	}
	return m
}

// Add counts a call that has ended.
func (f *Figures) Add(now time.Time, code int, took time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	m := f.now(now)
	m.calls++
	m.took.Add(took)
	for i := range m.codes {
		c := &m.codes[i]
		if c.n == 0 {
			c.code = uint32(code)
		}
		if c.code == uint32(code) || i == figureCodes-1 { // the last stands for all others
			c.n++
			return
		}
	}
}

// See notes how many calls and instances there are.
func (f *Figures) See(now time.Time, active, instances int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	m := f.now(now)
	m.active, m.instances = max(m.active, int32(active)), max(m.instances, int32(instances))
}

// Hour lists the last sixty minutes, the oldest first; the last one is not over.
func (f *Figures) Hour(now time.Time) []Minute {
	f.mu.Lock()
	defer f.mu.Unlock()
	newest := now.Unix() / 60
	out := make([]Minute, 0, figureMinutes)
	for at := newest - figureMinutes + 1; at <= newest; at++ {
		v := Minute{At: time.Unix(at*60, 0).UTC(), Codes: map[int]uint32{}}
		if m := &f.minutes[at%figureMinutes]; m.at == at {
			v.Calls, v.Active, v.Instances = m.calls, m.active, m.instances
			v.P50, v.P95, v.P99 = ms(m.took.Percentile(50)), ms(m.took.Percentile(95)), ms(m.took.Percentile(99))
			for _, c := range m.codes {
				if c.n > 0 {
					v.Codes[int(c.code)] += c.n
				}
			}
		}
		out = append(out, v)
	}
	return out
}

// Quiet reports whether nothing was noted in the last hour.
func (f *Figures) Quiet(now time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range f.minutes {
		if f.minutes[i].at > now.Unix()/60-figureMinutes {
			return false
		}
	}
	return true
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
