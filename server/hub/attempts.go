package hub

import (
	"net/netip"
	"sync"
	"time"

	"cellar/internal/fault"
)

// attempts counts wrong passwords by name, whether or not there is such a user,
// and by the address they come from: the one guards an account against many
// machines, the other all accounts against one machine.
type attempts struct {
	mu               sync.Mutex
	names, addresses counters
}

type counters map[string]attempt

type attempt struct {
	n     int
	since time.Time
}

const (
	maxAttempts   = 10
	maxFrom       = 50 // more than for a name: an office may be behind one address
	attemptWindow = 5 * time.Minute
	maxCounted    = 10_000 // a stranger must not fill the memory with names and addresses
)

var (
	errTooManyForName = fault.New(fault.Exhausted, "too_many_attempts", "Too many attempts for this name. Wait five minutes and try again.")
	errTooManyFrom    = fault.New(fault.Exhausted, "too_many_attempts", "Too many attempts from your address. Wait five minutes and try again.")
)

// begin counts an attempt before its password is looked at: of many at once no
// more get through than one after the other. A right one is taken back by right.
// An empty from is not counted.
func (a *attempts) begin(name, from string) error {
	from = network(from)
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.names == nil {
		a.names, a.addresses = counters{}, counters{}
	}
	now := time.Now()
	if from != "" && a.addresses.full(from, maxFrom, now) {
		return errTooManyFrom
	}
	if a.names.full(name, maxAttempts, now) {
		return errTooManyForName
	}
	a.names.add(name, now)
	if from != "" {
		a.addresses.add(from, now)
	}
	return nil
}

// right takes back an attempt that was none.
func (a *attempts) right(name, from string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.names.takeBack(name)
	a.addresses.takeBack(network(from))
}

func (list counters) full(key string, limit int, now time.Time) bool {
	t := list[key]
	return t.n >= limit && now.Sub(t.since) <= attemptWindow
}

func (list counters) add(key string, now time.Time) {
	t, known := list[key]
	if !known && len(list) >= maxCounted {
		list.forget(now)
	}
	if now.Sub(t.since) > attemptWindow {
		t = attempt{since: now}
	}
	t.n++
	list[key] = t
}

func (list counters) takeBack(key string) {
	t, known := list[key]
	if t.n--; t.n > 0 {
		list[key] = t
	} else if known {
		delete(list, key)
	}
}

// forget makes room: what is over goes, else the one with the fewest attempts,
// so that nobody gets rid of a full counter by making many new ones.
func (list counters) forget(now time.Time) {
	least, found := "", false
	for key, t := range list {
		if now.Sub(t.since) > attemptWindow {
			delete(list, key)
		} else if !found || t.n < list[least].n {
			least, found = key, true
		}
	}
	if len(list) >= maxCounted {
		delete(list, least)
	}
}

// network is what one person is taken to have of the addresses: one of IPv4, a
// /64 of IPv6. What is no address stands for itself.
func network(from string) string {
	addr, err := netip.ParseAddr(from)
	if err != nil {
		return from
	}
	addr = addr.Unmap().WithZone("")
	if addr.Is4() {
		return addr.String()
	}
	p, err := addr.Prefix(64)
	if err != nil {
		return addr.String()
	}
	return p.String()
}
