package hub

import (
	"fmt"
	"math"
	"strings"
	"time"
)

// Units count what compute costs, in millionths of a unit. A configuration held
// for some milliseconds at a price in thousandths a second is a whole number of
// them, so nothing is ever rounded and parts always add up to the whole.
type Units int64

// Unit is one of those that prices are in.
const Unit Units = 1e6

// Number is u as the API writes it: exact up to nine thousand million units.
func (u Units) Number() float64 { return float64(u) / float64(Unit) }

// String writes u exactly, with as many decimals as it has.
func (u Units) String() string {
	s := fmt.Sprintf("%d.%06d", u/Unit, u%Unit)
	return strings.TrimSuffix(strings.TrimRight(s, "0"), ".")
}

// rough is u for people, to a tenth.
func (u Units) rough() string { return (u / (Unit / 10) * (Unit / 10)).String() }

// UnitsOf is a number from the API, to the nearest millionth.
func UnitsOf(n float64) Units { return Units(math.Round(n * float64(Unit))) }

// Price is what a configuration costs, in thousandths of a unit per second.
func (c Configuration) Price() int64 { return int64(math.Round(c.UnitsPerSecond * 1000)) }

// maxPrice bounds a price so that no sum of a ledger's units can overflow.
const maxPrice = 1e6

// priceIsWhole reports whether a price has no more than three decimals.
func priceIsWhole(perSecond float64) bool {
	return math.Abs(perSecond*1000-math.Round(perSecond*1000)) < 1e-6
}

// cost is what a price comes to over so many milliseconds.
func cost(price, milliseconds int64) Units { return Units(price * milliseconds) }

// Window is a span of the calendar, in UTC, that a limit is for.
type Window string

// Windows of limits. A run has no place in the calendar: it is one execution of
// one cell.
const (
	WindowRun   Window = "run"
	WindowHour  Window = "hour"
	WindowDay   Window = "day"
	WindowMonth Window = "month"
)

var calendar = []Window{WindowHour, WindowDay, WindowMonth}

// now names the present window for people.
func (w Window) now() string {
	if w == WindowDay {
		return "today"
	}
	return "this " + string(w)
}

// start is when the window that a moment is in began, next when the one after it
// will.
func (w Window) start(at time.Time) time.Time {
	at = at.UTC()
	switch w {
	case WindowHour:
		return at.Truncate(time.Hour)
	case WindowMonth:
		return time.Date(at.Year(), at.Month(), 1, 0, 0, 0, 0, time.UTC)
	}
	return time.Date(at.Year(), at.Month(), at.Day(), 0, 0, 0, 0, time.UTC)
}

func (w Window) next(at time.Time) time.Time {
	start := w.start(at)
	switch w {
	case WindowHour:
		return start.Add(time.Hour)
	case WindowMonth:
		return start.AddDate(0, 1, 0)
	}
	return start.AddDate(0, 0, 1)
}
