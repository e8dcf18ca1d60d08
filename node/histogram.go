package node

import (
	"math"
	"time"
)

// Durations are counted in buckets that grow by a quarter each, from 0.2 ms to
// over a minute: a percentile is off by an eighth at most.
const (
	buckets     = 60
	firstBucket = 200 * time.Microsecond
	growth      = 1.25
)

// Histogram counts durations. Its zero value is empty.
type Histogram [buckets]uint32

var logGrowth = math.Log(growth)

// Add counts one.
func (h *Histogram) Add(d time.Duration) {
	i := 0
	if d > firstBucket {
		i = min(int(math.Log(float64(d)/float64(firstBucket))/logGrowth)+1, buckets-1)
	}
	h[i]++
}

// Merge adds another's counts.
func (h *Histogram) Merge(o *Histogram) {
	for i, n := range o {
		h[i] += n
	}
}

// Percentile is the duration that p percent took at most; 0 when nothing was
// counted.
func (h *Histogram) Percentile(p float64) time.Duration {
	total := uint64(0)
	for _, n := range h {
		total += uint64(n)
	}
	if total == 0 {
		return 0
	}
	rank := max(1, uint64(math.Ceil(float64(total)*p/100)))
	for i, n := range h {
		if uint64(n) < rank {
			rank -= uint64(n)
			continue
		}
		upper := float64(firstBucket) * math.Pow(growth, float64(i))
		lower := upper / growth
		if i == 0 {
			lower = 0
		}
		return time.Duration(lower + (upper-lower)*float64(rank)/float64(n))
	}
	return 0 // the loop has found it
}
