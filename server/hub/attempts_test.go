package hub

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// tries counts how many of n attempts are let through.
func tries(a *attempts, n int, name, from func(i int) string) (through int, last error) {
	for i := range n {
		if last = a.begin(name(i), from(i)); last == nil {
			through++
		}
	}
	return through, last
}

func one(s string) func(int) string { return func(int) string { return s } }

func each(format string) func(int) string {
	return func(i int) string { return fmt.Sprintf(format, i) }
}

func TestAttemptsByName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &attempts{}
		if n, err := tries(a, 100, one("ada"), each("192.0.2.%d")); n != maxAttempts || !errors.Is(err, errTooManyForName) {
			t.Errorf("%d of 100 machines get to try one name: %v", n, err)
		}
		if err := a.begin("bob", "192.0.2.1"); err != nil {
			t.Errorf("another name: %v", err)
		}
		time.Sleep(attemptWindow + time.Second)
		if n, _ := tries(a, 100, one("ada"), each("192.0.2.%d")); n != maxAttempts {
			t.Errorf("%d after the window", n)
		}
	})
}

func TestAttemptsByAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &attempts{}
		if n, err := tries(a, 200, each("name%d"), one("192.0.2.1")); n != maxFrom || !errors.Is(err, errTooManyFrom) {
			t.Errorf("%d of 200 names tried from one machine: %v", n, err)
		}
		if err := a.begin("ada", "192.0.2.2"); err != nil {
			t.Errorf("another machine: %v", err)
		}
		if err := a.begin("ada", "::ffff:192.0.2.1"); !errors.Is(err, errTooManyFrom) {
			t.Errorf("the same machine by its other name: %v", err)
		}
		if n, _ := tries(a, 200, each("six%d"), each("2001:db8::%x")); n != maxFrom {
			t.Errorf("%d of 200 addresses of one network", n)
		}
		if err := a.begin("ada", "2001:db8:0:1::1"); err != nil {
			t.Errorf("another network: %v", err)
		}
		if n, _ := tries(a, 200, each("local%d"), one("")); n != 200 {
			t.Errorf("%d without an address", n)
		}
		time.Sleep(attemptWindow + time.Second)
		if err := a.begin("ada", "192.0.2.1"); err != nil {
			t.Errorf("after the window: %v", err)
		}
	})
}

// Who knows the password is not counted, however often it is told.
func TestRightPasswordsAreNotCounted(t *testing.T) {
	a := &attempts{}
	for range 10 * maxFrom {
		if err := a.begin("ada", "192.0.2.1"); err != nil {
			t.Fatal(err)
		}
		a.right("ada", "192.0.2.1")
	}
	if len(a.names)+len(a.addresses) != 0 {
		t.Errorf("%v, %v", a.names, a.addresses)
	}
	tries(a, maxAttempts-1, one("ada"), one("192.0.2.1"))
	a.begin("ada", "192.0.2.1")
	a.right("ada", "192.0.2.1") // takes back one, not the wrong ones before
	if n, _ := tries(a, 5, one("ada"), one("192.0.2.1")); n != 1 {
		t.Errorf("%d more are let through", n)
	}
}

// Many at once get no further than one after the other.
func TestAttemptsAtOnce(t *testing.T) {
	a := &attempts{}
	var through sync.Map
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() {
			if a.begin("ada", "192.0.2.1") == nil {
				through.Store(i, true)
			}
		})
	}
	wg.Wait()
	n := 0
	through.Range(func(any, any) bool { n++; return true })
	if n != maxAttempts {
		t.Errorf("%d get through", n)
	}
}

// Names and addresses without end fill a fixed room, and do not push out the
// counters that hold somebody off.
func TestAttemptsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &attempts{}
		tries(a, 2*maxFrom, one("ada"), one("192.0.2.1"))
		tries(a, 2*maxFrom, each("held%d"), one("192.0.2.1"))
		other := func(i int) string { return fmt.Sprintf("10.%d.%d.%d", i>>16, i>>8&255, i&255) }
		if n, _ := tries(a, maxCounted+500, each("x%d"), other); n != maxCounted+500 {
			t.Errorf("%d get through", n)
		}
		if len(a.names) > maxCounted || len(a.addresses) > maxCounted {
			t.Errorf("%d names, %d addresses", len(a.names), len(a.addresses))
		}
		if err := a.begin("ada", "192.0.2.9"); !errors.Is(err, errTooManyForName) {
			t.Errorf("the name: %v", err)
		}
		if err := a.begin("eve", "192.0.2.1"); !errors.Is(err, errTooManyFrom) {
			t.Errorf("the address: %v", err)
		}
		time.Sleep(attemptWindow + time.Second)
		tries(a, 2, each("y%d"), other)
		if len(a.names) > 2 {
			t.Errorf("%d names are kept though their time is over", len(a.names))
		}
	})
}
