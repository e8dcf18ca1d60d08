package node

import (
	"testing"
	"time"

	"cellar/internal/fault"
)

func TestAllowance(t *testing.T) {
	noon := time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)
	take := func(s *Spending, a Allowance, at time.Time, n int) (taken int, wait time.Duration, code string) {
		for range n {
			w, err := s.Take(a, at)
			if err == nil {
				taken++
			}
			wait, code = w, fault.CodeOf(err)
		}
		return taken, wait, code
	}
	s := &Spending{}
	rate := Allowance{Rate: 5}
	if n, wait, code := take(s, rate, noon, 20); n != 5 || code != "rate_exceeded" || wait != 200*time.Millisecond {
		t.Errorf("at once: %d %v %s", n, wait, code)
	}
	if n, _, _ := take(s, rate, noon.Add(400*time.Millisecond), 20); n != 2 {
		t.Errorf("0.4 s later: %d", n)
	}
	if n, _, _ := take(s, rate, noon.Add(-time.Hour), 20); n != 0 {
		t.Errorf("the clock goes back: %d", n)
	}
	if n, _, _ := take(&Spending{}, Allowance{Rate: 0.1}, noon, 3); n != 1 {
		t.Errorf("less than one a second: %d", n)
	}
	s = NewSpending(Day(noon), 95)
	quota := Allowance{Quota: 100}
	if n, wait, code := take(s, quota, noon, 20); n != 5 || code != "quota_used_up" || wait != 12*time.Hour {
		t.Errorf("a day: %d %v %s", n, wait, code)
	}
	if day, calls := s.Spent(); day != Day(noon) || calls != 100 {
		t.Errorf("spent %d on day %d", calls, day)
	}
	if n, _, _ := take(s, quota, noon.Add(12*time.Hour), 20); n != 20 {
		t.Errorf("the next day: %d", n)
	}
	if n, _, _ := take(&Spending{}, Allowance{}, noon, 1000); n != 1000 {
		t.Errorf("without a limit: %d", n)
	}
}
