package node

import (
	"math"
	"sync"
	"time"

	"cellar/internal/fault"
)

// Allowance is what a caller may do: so many calls a second, so many a day.
type Allowance struct {
	Rate  float64 // calls a second; 0: no limit
	Quota int64   // calls a day, in UTC; 0: no limit
}

// Spending is what a caller has done of an Allowance. A second's calls may come
// at once.
type Spending struct {
	mu    sync.Mutex
	left  float64
	at    time.Time
	day   int64
	calls int64
}

// NewSpending takes up what was spent on a day.
func NewSpending(day, calls int64) *Spending { return &Spending{day: day, calls: calls} }

// Day is the number of a day, in UTC.
func Day(t time.Time) int64 { return t.Unix() / 86400 }

// Take spends one call. What is refused costs nothing; wait is when to come
// again.
func (s *Spending) Take(a Allowance, now time.Time) (wait time.Duration, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if today := Day(now); today != s.day {
		s.day, s.calls = today, 0
	}
	if a.Quota > 0 && s.calls >= a.Quota {
		tomorrow := time.Unix((s.day+1)*86400, 0)
		return tomorrow.Sub(now), fault.Newf(fault.Exhausted, "quota_used_up", "The %d calls a day of this key are used up. It may call again from midnight, UTC.", a.Quota)
	}
	if a.Rate > 0 {
		burst := math.Max(1, a.Rate)
		if s.at.IsZero() {
			s.left = burst
		} else {
			s.left = math.Min(burst, s.left+a.Rate*math.Max(0, now.Sub(s.at).Seconds()))
		}
		s.at = now
		if s.left < 1 {
			return time.Duration((1 - s.left) / a.Rate * float64(time.Second)), fault.Newf(fault.Exhausted, "rate_exceeded", "This key allows %.4g calls a second.", a.Rate)
		}
		s.left--
	}
	s.calls++
	return 0, nil
}

// Spent is the number of calls of a day.
func (s *Spending) Spent() (day, calls int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.day, s.calls
}
