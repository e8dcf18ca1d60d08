package store

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

func TestRecent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r recent[int]
		reads := 0
		read := func() (int, error) { reads++; return reads, nil }
		want := func(value, after int) {
			t.Helper()
			if v, err := r.get("a", read); v != value || err != nil || reads != after {
				t.Errorf("got %d, %v after %d reads; want %d after %d", v, err, reads, value, after)
			}
		}
		want(1, 1)
		want(1, 1)
		time.Sleep(recentFor)
		want(2, 2)
		r.forget()
		want(3, 3)
		// A write while it is read: what was read may be from before.
		r.forget()
		r.get("a", func() (int, error) { r.forget(); return read() })
		want(5, 5)
		r.forget()
		failure := errors.New("no")
		if _, err := r.get("a", func() (int, error) { return 0, failure }); err != failure {
			t.Error(err)
		}
		want(6, 6)
		for i := range 2 * maxRecent {
			r.get(fmt.Sprint(i), read)
		}
		if len(r.entries) > maxRecent {
			t.Errorf("%d are remembered", len(r.entries))
		}
	})
}
