package hub

import (
	"os"
	"strconv"
	"sync"
	"testing"
)

// TestNothingIsRememberedOfTheDead: a kernel's folder goes as a whole, whatever
// is being written down in it at that moment.
func TestNothingIsRememberedOfTheDead(t *testing.T) {
	_, l := timedHub(t)
	if err := os.MkdirAll(l.folder(), 0o700); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	begun, stop := make(chan struct{}, 4), make(chan struct{})
	for i := range 4 {
		wg.Go(func() {
			for n := 0; ; n++ {
				if err := l.remember(strconv.Itoa(i)+"-"+strconv.Itoa(n)+".json", n); err != nil {
					t.Error(err)
					return
				}
				if n == 50 {
					begun <- struct{}{}
				}
				select {
				case <-stop:
					return
				default:
				}
			}
		})
	}
	for range 4 {
		<-begun
	}
	if err := l.clear(); err != nil {
		t.Error(err)
	}
	close(stop)
	wg.Wait()
	if _, err := os.Stat(l.folder()); !os.IsNotExist(err) {
		t.Errorf("the folder is there: %v", err)
	}
}
