package node

import (
	"strings"
	"testing"
	"time"
	"unsafe"
)

func TestGuard(t *testing.T) {
	begin := time.Unix(1_700_000_000, 0)
	errors := Guard{ErrorPercent: 10, MinCalls: 10}.Complete()
	slow := Guard{LatencyMS: 100, Percentile: 90, MinCalls: 10}.Complete()
	for _, c := range []struct {
		name          string
		guard         Guard
		calls, failed int
		took          time.Duration
		after         time.Duration
		want          string
	}{
		{"too few", errors, 9, 9, 0, 0, ""},
		{"just as many as allowed", errors, 100, 10, 0, 0, ""},
		{"one more", errors, 100, 11, 0, 0, "11 % of 100 calls in 60 s failed, more than 10 %"},
		{"long ago", errors, 100, 100, 0, 61 * time.Second, ""},
		{"not so long ago", errors, 100, 100, 0, 50 * time.Second, "100 % of 100 calls"},
		{"fast", slow, 100, 100, 80 * time.Millisecond, 0, ""},
		{"slow", slow, 100, 0, 200 * time.Millisecond, 0, "90 % of 100 calls in 60 s took up to"},
		{"off", Guard{}, 100, 100, time.Hour, 0, ""},
	} {
		w := NewWindow(time.Minute)
		for i := range c.calls {
			w.Add(begin, i < c.failed, c.took)
		}
		if got := w.Exceeds(c.guard, begin.Add(c.after)); (c.want == "") != (got == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q", c.name, got)
		}
	}
	if size := unsafe.Sizeof(Window{}); size > 8<<10 {
		t.Errorf("a window takes %d bytes", size)
	}
	for _, g := range []Guard{{ErrorPercent: 101}, {LatencyMS: -1}, {LatencyMS: 1, Window: 3601}, {MinCalls: 5}, {ErrorPercent: 1, Percentile: -1}} {
		if g.Check() == nil {
			t.Errorf("%+v is accepted", g)
		}
	}
	for _, g := range []Guard{{}, {ErrorPercent: 5}, slow} {
		if err := g.Complete().Check(); err != nil {
			t.Errorf("%+v: %v", g, err)
		}
	}
}

func TestHistogram(t *testing.T) {
	var h Histogram
	if h.Percentile(99) != 0 {
		t.Error("of nothing")
	}
	for i := range 1000 {
		h.Add(time.Duration(i+1) * time.Millisecond)
	}
	h.Add(time.Hour)
	h.Add(0)
	for p, want := range map[float64]time.Duration{50: 500 * time.Millisecond, 95: 950 * time.Millisecond, 1: 10 * time.Millisecond} {
		if got := h.Percentile(p); got < want*7/8 || got > want*9/8 {
			t.Errorf("p%v = %v, want about %v", p, got, want)
		}
	}
}

func TestFigures(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	var f Figures
	f.Add(now.Add(-59*time.Minute), 200, time.Millisecond)
	for code := range 30 {
		f.Add(now, 400+code, 10*time.Millisecond)
	}
	f.See(now, 7, 2)
	f.See(now, 3, 1)
	hour := f.Hour(now)
	if len(hour) != 60 || hour[0].Calls != 1 || hour[0].Codes[200] != 1 || hour[0].P95 == 0 || hour[1].Calls != 0 {
		t.Errorf("%+v", hour[:2])
	}
	last, sum := hour[59], uint32(0)
	for _, n := range last.Codes {
		sum += n
	}
	if last.Calls != 30 || sum != 30 || len(last.Codes) != figureCodes || last.Active != 7 || last.Instances != 2 || last.P50 < 8 || last.P50 > 12 {
		t.Errorf("%+v", last)
	}
	if later := f.Hour(now.Add(time.Minute)); later[0].Calls != 0 || later[58].Calls != 30 {
		t.Errorf("a minute later: %+v", later[58])
	}
	if f.Quiet(now.Add(59*time.Minute)) || !f.Quiet(now.Add(2*time.Hour)) {
		t.Error("quiet")
	}
	if size := unsafe.Sizeof(f); size > 32<<10 {
		t.Errorf("the figures of a node take %d bytes", size)
	}
}
