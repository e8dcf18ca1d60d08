package server

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"cellar/internal/fault"
)

// TestReadings: a page is made once for all who ask meanwhile and for a moment
// after; a few are made at a time; who waits too long is told so.
func TestReadings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l readings
		var made, now, most atomic.Int32
		do := func(ctx context.Context) ([]byte, error) {
			made.Add(1)
			for n := now.Add(1); n > most.Load(); {
				most.Store(n)
			}
			defer now.Add(-1)
			time.Sleep(time.Second)
			return []byte("page"), ctx.Err()
		}
		gone, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for i := range 20 {
			for share := range 5 {
				ctx := t.Context()
				if i == 0 {
					ctx = gone // who asked first goes away
				}
				wg.Go(func() {
					b, err := l.get(ctx, fmt.Sprint(share), do)
					if ctx != gone && (err != nil || string(b) != "page") {
						t.Errorf("%q %v", b, err)
					}
				})
			}
		}
		synctest.Wait()
		cancel()
		wg.Wait()
		if made.Load() != 5 || most.Load() != readingsOnce {
			t.Errorf("%d pages were made, %d at a time", made.Load(), most.Load())
		}
		if _, err := l.get(t.Context(), "0", do); err != nil || made.Load() != 5 {
			t.Errorf("made again at once: %d, %v", made.Load(), err)
		}
		time.Sleep(readingLasts + time.Second)
		if _, err := l.get(t.Context(), "0", do); err != nil || made.Load() != 6 {
			t.Errorf("an old page is shown: %d, %v", made.Load(), err)
		}
	})
}

func TestReadingsThatFail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l readings
		l.find("one", time.Now())
		for range readingsOnce {
			l.slots <- struct{}{}
		}
		if _, err := l.get(t.Context(), "waits", nil); fault.ClassOf(err) != fault.Unavailable {
			t.Errorf("without a place: %v", err)
		}
		for range readingsOnce {
			<-l.slots
		}
		func() {
			defer func() { _ = recover() }()
			l.get(t.Context(), "panics", func(context.Context) ([]byte, error) { panic("in a page") })
		}()
		if _, err := l.get(t.Context(), "panics", nil); fault.ClassOf(err) != fault.Unavailable {
			t.Errorf("after a panic: %v", err)
		}
		broken := errors.New("broken")
		if _, err := l.get(t.Context(), "breaks", func(context.Context) ([]byte, error) { return nil, broken }); !errors.Is(err, broken) {
			t.Error(err)
		}
		for i := range 10 { // more than is remembered: the oldest go
			if _, err := l.get(t.Context(), fmt.Sprint("large", i), func(context.Context) ([]byte, error) { return bytes.Repeat([]byte("x"), readingsHeld/4), nil }); err != nil {
				t.Error(err)
			}
		}
		l.find("another", time.Now())
		held := 0
		for _, r := range l.pages {
			held += len(r.page)
		}
		if held > readingsHeld {
			t.Errorf("%d bytes are remembered", held)
		}
	})
}
