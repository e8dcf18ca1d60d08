package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"cellar/internal/fault"
)

// GoodInstance answers every dial until it is closed.
type GoodInstance struct {
	done   chan struct{}
	closed atomic.Int32
}

func NewGoodInstance() *GoodInstance { return &GoodInstance{done: make(chan struct{})} }

func (i *GoodInstance) Dial(context.Context) (net.Conn, error) {
	near, far := net.Pipe()
	far.Close()
	return near, nil
}
func (i *GoodInstance) Done() <-chan struct{} { return i.done }
func (i *GoodInstance) Close()                { i.closed.Add(1) }

// DeadInstance has ended without anyone having noticed: dialling it fails.
type DeadInstance struct{ GoodInstance }

func (i *DeadInstance) Dial(context.Context) (net.Conn, error) {
	return nil, errors.New("connection refused")
}

// SlowInstance takes no connection before the caller's patience ends.
type SlowInstance struct {
	GoodInstance
	dialled chan struct{}
}

func (i *SlowInstance) Dial(ctx context.Context) (net.Conn, error) {
	i.dialled <- struct{}{}
	<-ctx.Done()
	return nil, ctx.Err()
}

// starts gives instances in turn and counts them.
type starts struct {
	mu    sync.Mutex
	next  []Instance
	count int
}

func (s *starts) start(context.Context) (Instance, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.count++; s.count > len(s.next) {
		return nil, fault.New(fault.Exhausted, "no_more", "There are no more instances.")
	}
	return s.next[s.count-1], nil
}

func nothing(net.Conn) error { return nil }

func TestAHundredFirstCallsStartOneInstance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		started := 0
		p := NewPool(func(context.Context) (Instance, error) {
			started++
			time.Sleep(5 * time.Second) // the bubble's clock: a start that takes long
			return NewGoodInstance(), nil
		})
		var called atomic.Int32
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				if err := p.Call(t.Context(), func(net.Conn) error { called.Add(1); return nil }); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		if s := p.Stats(); !s.Starting || s.Instances != 0 || called.Load() != 0 {
			t.Errorf("while it starts: %+v, %d calls", s, called.Load())
		}
		wg.Wait()
		if s := p.Stats(); started != 1 || called.Load() != 100 || s != (Stats{Calls: 100, ColdStarts: 1, Instances: 1}) {
			t.Errorf("%d starts, %d calls, %+v", started, called.Load(), s)
		}
		p.Close()
	})
}

func TestAFailedStartIsToldToAllAndTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fails, good := true, NewGoodInstance()
		p := NewPool(func(context.Context) (Instance, error) {
			time.Sleep(time.Second)
			if fails {
				return nil, fault.New(fault.Exhausted, "no_room", "There is no room.")
			}
			return good, nil
		})
		var failed atomic.Int32
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() {
				if errors.Is(p.Call(t.Context(), nothing), fault.Exhausted) {
					failed.Add(1)
				}
			})
		}
		wg.Wait()
		if s := p.Stats(); failed.Load() != 10 || s.Errors != 10 || s.LastError != "There is no room." || s.Instances != 0 {
			t.Errorf("%d failed, %+v", failed.Load(), s)
		}
		fails = false
		if err := p.Call(t.Context(), nothing); err != nil {
			t.Error(err)
		}
		if s := p.Stats(); s.LastError != "" || s.Instances != 1 || s.ColdStarts != 2 {
			t.Errorf("afterwards: %+v", s)
		}
		p.Close()
	})
}

func TestAnInstanceThatEndedIsReplaced(t *testing.T) {
	noticed, unnoticed, good := NewGoodInstance(), &DeadInstance{}, NewGoodInstance()
	s := &starts{next: []Instance{unnoticed, good}}
	p := NewPool(s.start)
	p.Put(noticed)
	if err := p.Call(t.Context(), nothing); err != nil || s.count != 0 {
		t.Fatalf("the instance that was put: %v, %d starts", err, s.count)
	}
	close(noticed.done) // it ended between two calls, and we know
	if err := p.Call(t.Context(), nothing); err != nil {
		t.Fatal(err)
	}
	if noticed.closed.Load() != 1 || unnoticed.closed.Load() != 1 || s.count != 2 {
		t.Errorf("noticed closed %d times, unnoticed %d, %d starts", noticed.closed.Load(), unnoticed.closed.Load(), s.count)
	}
	if p.Close(); good.closed.Load() != 1 {
		t.Errorf("the good one was closed %d times", good.closed.Load())
	}
}

func TestTwoDeadInstancesInARow(t *testing.T) {
	s := &starts{next: []Instance{&DeadInstance{}, &DeadInstance{}, NewGoodInstance()}}
	p := NewPool(s.start)
	if err := p.Call(t.Context(), nothing); !errors.Is(err, fault.Unavailable) || s.count != 2 {
		t.Errorf("%v after %d starts", err, s.count)
	}
	if err := p.Call(t.Context(), nothing); err != nil {
		t.Errorf("the next call: %v", err)
	}
}

// TestACallerWhoGoesDoesNotEndTheInstance: others are still on it.
func TestACallerWhoGoesDoesNotEndTheInstance(t *testing.T) {
	slow := &SlowInstance{dialled: make(chan struct{})}
	s := &starts{}
	p := NewPool(s.start)
	p.Put(slow)
	ctx, cancel := context.WithCancelCause(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- p.Call(ctx, nothing) }()
	<-slow.dialled
	gone := errors.New("the caller went away")
	cancel(gone)
	if err := <-ended; !errors.Is(err, gone) {
		t.Errorf("got %v", err)
	}
	if slow.closed.Load() != 0 || s.count != 0 || p.Stats().Instances != 1 {
		t.Errorf("closed %d times, %d starts, %+v", slow.closed.Load(), s.count, p.Stats())
	}
}

func TestAWaitingCallerMayGoWhileTheStartGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPool(func(ctx context.Context) (Instance, error) {
			time.Sleep(10 * time.Second)
			return NewGoodInstance(), ctx.Err()
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := p.Call(ctx, nothing); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		if err := p.Call(t.Context(), nothing); err != nil {
			t.Error(err)
		}
		if s := p.Stats(); s.ColdStarts != 1 {
			t.Errorf("%+v", s)
		}
		p.Close()
	})
}

func TestTheErrorOfACallCountsAndTheInstanceStays(t *testing.T) {
	good := NewGoodInstance()
	p := NewPool((&starts{}).start)
	p.Put(good)
	mine := &CallError{Name: "ValueError", Message: "no"}
	if err := p.Call(t.Context(), func(net.Conn) error { return mine }); !errors.Is(err, mine) {
		t.Errorf("got %v", err)
	}
	if s := p.Stats(); s != (Stats{Calls: 1, Errors: 1, Instances: 1}) || good.closed.Load() != 0 {
		t.Errorf("%+v", s)
	}
}

func TestPutKeepsOne(t *testing.T) {
	a, b, late := NewGoodInstance(), NewGoodInstance(), NewGoodInstance()
	p := NewPool((&starts{}).start)
	p.Put(a)
	p.Put(b)
	if a.closed.Load() != 0 || b.closed.Load() != 1 {
		t.Errorf("closed: %d, %d", a.closed.Load(), b.closed.Load())
	}
	p.Close()
	p.Put(late)
	if late.closed.Load() != 1 || p.Stats().Instances != 0 {
		t.Errorf("put after Close: closed %d times, %+v", late.closed.Load(), p.Stats())
	}
}

func TestSweep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		good := NewGoodInstance()
		p := NewPool((&starts{}).start)
		p.Sweep(time.Minute) // nothing there
		p.Put(good)
		time.Sleep(50 * time.Second)
		p.Sweep(time.Minute)
		if good.closed.Load() != 0 {
			t.Fatal("swept too early")
		}
		hold, held := make(chan struct{}), make(chan error, 1)
		go func() { held <- p.Call(t.Context(), func(net.Conn) error { <-hold; return nil }) }()
		synctest.Wait()
		time.Sleep(time.Hour)
		p.Sweep(time.Minute)
		if good.closed.Load() != 0 {
			t.Fatal("swept under a call")
		}
		close(hold)
		if err := <-held; err != nil {
			t.Fatal(err)
		}
		p.Sweep(time.Minute)
		if good.closed.Load() != 0 {
			t.Fatal("the end of a call does not count as use")
		}
		time.Sleep(time.Minute)
		p.Sweep(time.Minute)
		if good.closed.Load() != 1 || p.Stats().Instances != 0 {
			t.Errorf("not swept: %+v", p.Stats())
		}
	})
}

func TestCloseWhileStarting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		late := NewGoodInstance()
		p := NewPool(func(context.Context) (Instance, error) {
			time.Sleep(3 * time.Second)
			return late, nil
		})
		called := make(chan error, 1)
		go func() { called <- p.Call(t.Context(), nothing) }()
		synctest.Wait()
		p.Close()
		if late.closed.Load() != 1 {
			t.Errorf("Close came back before the instance was closed: %d times", late.closed.Load())
		}
		if err := <-called; fault.CodeOf(err) != "node_gone" {
			t.Errorf("the call: %v", err)
		}
		if err := p.Call(t.Context(), nothing); !errors.Is(err, fault.Unavailable) {
			t.Errorf("a call afterwards: %v", err)
		}
	})
}

func TestTheQueueHasAnEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPool((&starts{}).start)
		p.Put(NewGoodInstance())
		hold := make(chan struct{})
		var running, peak atomic.Int32
		var wg sync.WaitGroup
		for range maxRunning + maxWaiting {
			wg.Go(func() {
				if err := p.Call(t.Context(), func(net.Conn) error {
					peak.Store(max(peak.Load(), running.Add(1)))
					<-hold
					running.Add(-1)
					return nil
				}); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		if n := running.Load(); n != maxRunning {
			t.Errorf("%d calls at a time", n)
		}
		if err := p.Call(t.Context(), nothing); !errors.Is(err, fault.Exhausted) {
			t.Errorf("one too many: %v", err)
		}
		close(hold)
		wg.Wait()
		if peak.Load() > maxRunning {
			t.Errorf("%d calls ran at a time", peak.Load())
		}
		if err := p.Call(t.Context(), nothing); err != nil {
			t.Errorf("when there is room again: %v", err)
		}
	})
}

func TestAWaitingCallMayBeGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPool((&starts{}).start)
		p.Put(NewGoodInstance())
		hold := make(chan struct{})
		var wg sync.WaitGroup
		for range maxRunning {
			wg.Go(func() { p.Call(t.Context(), func(net.Conn) error { <-hold; return nil }) })
		}
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := p.Call(ctx, nothing); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		close(hold)
		wg.Wait()
		if p.waiting != 0 || len(p.slots) != 0 {
			t.Errorf("%d waiting, %d slots taken", p.waiting, len(p.slots))
		}
	})
}

// TestInstancesThatEndAtOnce are not started for ever for one call.
func TestInstancesThatEndAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		starts := 0
		p := NewPool(func(context.Context) (Instance, error) {
			starts++
			time.Sleep(time.Second)
			i := NewGoodInstance()
			close(i.done)
			return i, nil
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := p.Call(ctx, nothing); fault.CodeOf(err) != "instance_ended" {
			t.Errorf("got %v", err)
		}
		synctest.Wait()
		if starts > 2 {
			t.Errorf("one call started %d instances", starts)
		}
		p.Close()
	})
}

// Every change of what Stats shows of instances is told, none of it under the lock.
func TestChangesAreTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		s := &starts{next: []Instance{NewGoodInstance()}}
		p := NewPool(func(ctx context.Context) (Instance, error) { <-release; return s.start(ctx) })
		var mu sync.Mutex
		var seen []string
		p.Changed = func() {
			stats := p.Stats() // would wait for ever if the lock were held
			mu.Lock()
			defer mu.Unlock()
			seen = append(seen, fmt.Sprintf("%d %v %v", stats.Instances, stats.Starting, stats.LastError != ""))
		}
		expect := func(what string, want ...string) {
			t.Helper()
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			if !slices.Equal(seen, want) {
				t.Errorf("%s: %q, want %q", what, seen, want)
			}
			seen = nil
		}
		go p.Call(t.Context(), nothing)
		expect("a first call", "0 true false")
		release <- struct{}{}
		expect("the instance is there", "1 false false")
		p.Call(t.Context(), nothing)
		expect("another call")
		time.Sleep(time.Minute)
		p.Sweep(time.Second)
		expect("nobody called", "0 false false")
		go p.Call(t.Context(), nothing)
		release <- struct{}{}
		expect("a start that fails", "0 true false", "0 false true")
		dead := &DeadInstance{GoodInstance{done: make(chan struct{})}}
		p.Put(dead)
		expect("put in from outside", "1 false true")
		go p.Call(t.Context(), nothing)
		synctest.Wait()
		release <- struct{}{}
		expect("it had ended", "0 false true", "0 true true", "0 false true")
	})
}

// Drain lets the calls that are in an instance end, and no more in.
func TestDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inst := &drained{closed: make(chan struct{})}
		p := NewPool(func(context.Context) (Instance, error) { return inst, nil })
		begun, end := make(chan struct{}), make(chan struct{})
		answered := make(chan error, 1)
		go func() {
			answered <- p.Call(t.Context(), func(net.Conn) error { close(begun); <-end; return nil })
		}()
		<-begun
		gone := make(chan struct{})
		go func() { p.Drain(t.Context()); close(gone) }()
		synctest.Wait()
		if err := p.Call(t.Context(), func(net.Conn) error { return nil }); !errors.Is(err, ErrGone) {
			t.Errorf("a call of a drained pool: %v", err)
		}
		select {
		case <-inst.closed:
			t.Error("the instance is closed under a call")
		default:
		}
		close(end)
		if err := <-answered; err != nil {
			t.Error(err)
		}
		<-gone
		<-inst.closed
	})
}

// drained is an instance that says when it is closed.
type drained struct{ closed chan struct{} }

func (*drained) Dial(context.Context) (net.Conn, error) { return nil, nil }
func (*drained) Done() <-chan struct{}                  { return nil }
func (d *drained) Close()                               { close(d.closed) }
