package node

import (
	"context"
	"net"
	"sync"
	"time"

	"cellar/internal/fault"
)

// Instance is one thawed copy of a node's published state.
type Instance interface {
	// Dial connects to the worker.
	Dial(ctx context.Context) (net.Conn, error)
	// Done is closed when the instance has ended by itself.
	Done() <-chan struct{}
	// Close removes it.
	Close()
}

// Limits of a pool.
const (
	maxRunning = 64   // calls at a time
	maxWaiting = 1024 // calls waiting beyond those
	maxStarts  = 2    // instances that one call waits for: those that end at once would be started for ever
)

// Pool starts an instance when a call needs one and removes it when none has
// come for a while. All first calls wait for one start.
type Pool struct {
	Start func(context.Context) (Instance, error)
	// Changed, if set before the first call, is told when a start begins or has
	// ended and when an instance comes or goes. No lock is
	// held, so that two may be told at once.
	Changed func()

	mu       sync.Mutex
	instance Instance
	starting chan struct{} // closed when the start under way has ended
	failed   error         // of the last start
	active   int
	used     time.Time
	slots    chan struct{}
	waiting  int
	closed   bool
	quiet    chan struct{} // closed when the last call has ended; nil: nobody waits for that
	stats    Stats
}

// Stats are counts since the hub started.
type Stats struct {
	Calls, Errors, ColdStarts int64
	Instances                 int
	Active                    int // calls in an instance now
	Starting                  bool
	LastError                 string
}

// ErrGone is the answer of a pool that was closed: the call has not begun, and
// may be led elsewhere.
var ErrGone = fault.New(fault.Unavailable, "node_gone", "The node is being removed or paused.")

// NewPool returns an empty pool.
func NewPool(start func(context.Context) (Instance, error)) *Pool {
	return &Pool{Start: start, slots: make(chan struct{}, maxRunning)}
}

// Call runs one call on an instance, starting one if there is none.
func (p *Pool) Call(ctx context.Context, call func(net.Conn) error) error {
	if err := p.enter(ctx); err != nil {
		return err
	}
	defer p.leave()
	err := p.try(ctx, call)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stats.Calls++
	if err != nil {
		p.stats.Errors++
	}
	return err
}

func (p *Pool) enter(ctx context.Context) error {
	p.mu.Lock()
	if p.waiting >= maxWaiting {
		p.mu.Unlock()
		return fault.New(fault.Exhausted, "node_busy", "Too many calls are waiting for this node.")
	}
	p.waiting++
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.waiting--
	}()
	select {
	case p.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (p *Pool) leave() { <-p.slots }

func (p *Pool) try(ctx context.Context, call func(net.Conn) error) error {
	inst, err := p.acquire(ctx)
	if err != nil {
		return err
	}
	conn, err := inst.Dial(ctx)
	if err != nil && ctx.Err() != nil { // the caller has gone, the instance has not
		p.release()
		return context.Cause(ctx)
	}
	if err != nil {
		// It ended between two calls: what it answered is answered, this call has
		// not begun, so another instance may take it.
		p.discard(inst)
		p.release()
		if inst, err = p.acquire(ctx); err != nil {
			return err
		}
		if conn, err = inst.Dial(ctx); err != nil {
			p.release()
			return fault.Wrap(fault.Unavailable, "instance_ended", "The node's instance does not answer.", err)
		}
	}
	defer p.release()
	return call(conn)
}

func (p *Pool) acquire(ctx context.Context) (Instance, error) {
	waited := 0
	for {
		begun := false
		p.mu.Lock()
		if p.closed {
			p.mu.Unlock()
			return nil, ErrGone
		}
		if p.instance != nil {
			select {
			case <-p.instance.Done():
				dead := p.instance
				p.instance = nil
				p.mu.Unlock()
				p.changed()
				dead.Close()
				if waited >= maxStarts {
					return nil, fault.New(fault.Unavailable, "instance_ended", "The node's instances end as soon as they are started.")
				}
				continue
			default:
			}
			p.active++
			p.used = time.Now()
			inst := p.instance
			p.mu.Unlock()
			return inst, nil
		}
		if p.starting == nil {
			p.starting = make(chan struct{})
			p.failed = nil
			begun = true
		}
		wait := p.starting
		p.mu.Unlock()
		if begun {
			p.changed()
			// On its own time: the caller may go, others wait for it too.
			go p.start(context.WithoutCancel(ctx), wait)
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-wait:
			waited++
		}
		p.mu.Lock()
		err := p.failed
		p.mu.Unlock()
		if err != nil {
			return nil, err
		}
	}
}

func (p *Pool) start(ctx context.Context, done chan struct{}) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	inst, err := p.Start(ctx)
	defer close(done)
	defer p.changed()
	p.mu.Lock()
	p.starting, p.failed, p.used = nil, err, time.Now()
	p.stats.ColdStarts++
	p.stats.LastError = ""
	if err != nil {
		p.stats.LastError = fault.Sentence(err)
	}
	late := err == nil && (p.closed || p.instance != nil) // Put may have brought one meanwhile
	if err == nil && !late {
		p.instance = inst
	}
	p.mu.Unlock()
	if late {
		inst.Close() // Close waits for it
	}
}

func (p *Pool) release() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.active--
	p.used = time.Now()
	if p.active == 0 && p.quiet != nil {
		close(p.quiet)
		p.quiet = nil
	}
}

func (p *Pool) discard(inst Instance) {
	p.mu.Lock()
	mine := p.instance == inst
	if mine {
		p.instance = nil
	}
	p.mu.Unlock()
	if mine {
		p.changed()
		inst.Close()
	}
}

// Put gives the pool an instance that was started outside.
func (p *Pool) Put(inst Instance) {
	p.mu.Lock()
	if p.instance == nil && !p.closed {
		p.instance, p.used = inst, time.Now()
		inst = nil
	}
	p.mu.Unlock()
	if inst != nil {
		inst.Close()
		return
	}
	p.changed()
}

// Sweep removes an instance that nobody has called for a while.
func (p *Pool) Sweep(after time.Duration) {
	p.mu.Lock()
	inst := p.instance
	if inst == nil || p.active > 0 || time.Since(p.used) < after {
		p.mu.Unlock()
		return
	}
	p.instance = nil
	p.mu.Unlock()
	p.changed()
	inst.Close()
}

func (p *Pool) changed() {
	if p.Changed != nil {
		p.Changed()
	}
}

// Warm sees to it that there is an instance.
func (p *Pool) Warm(ctx context.Context) error {
	_, err := p.acquire(ctx)
	if err == nil {
		p.release()
	}
	return err
}

// Drain refuses further calls, lets those that are in the instance end, or the
// context, and removes it.
func (p *Pool) Drain(ctx context.Context) {
	p.mu.Lock()
	p.closed = true
	if p.active > 0 && p.quiet == nil {
		p.quiet = make(chan struct{})
	}
	quiet := p.quiet
	p.mu.Unlock()
	if quiet != nil {
		select {
		case <-quiet:
		case <-ctx.Done():
		}
	}
	p.Close()
}

// Close removes the instance and refuses further calls.
func (p *Pool) Close() {
	p.mu.Lock()
	p.closed = true
	inst, starting := p.instance, p.starting
	p.instance = nil
	p.mu.Unlock()
	if starting != nil {
		<-starting
	}
	if inst != nil {
		inst.Close()
	}
}

// Stats returns the counts.
func (p *Pool) Stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.stats
	if p.instance != nil {
		s.Instances = 1
	}
	s.Active = p.active
	s.Starting = p.starting != nil
	return s
}
