package vault

import (
	"syscall"
	"testing"
)

// rate reports what a benchmark does per second of processor time: on a machine
// that others use too, the only figure that means something.
func rate(b *testing.B, bytes int64, work func()) {
	before := processor()
	n := 0
	for b.Loop() {
		work()
		n++
	}
	b.ReportMetric(float64(bytes)*float64(n)/1e6/(processor()-before), "MB/cpu-s")
}

// processor answers the seconds that this process has worked.
func processor() float64 {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}
