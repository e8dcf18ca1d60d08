package hub

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"sync"
	"time"

	"cellar/internal/fault"
	"cellar/kernel"
	"cellar/kernel/keep"
	"cellar/kernel/wire"
	"cellar/proxy"
)

// Live is a kernel as the hub looks after it, whatever state it is in. Its
// fields are guarded by mu, which is never held across I/O; deed is held by
// whoever changes the kernel's life, for as long as that takes.
type Live struct {
	h      *Hub
	deed   chan struct{}
	drawer drawer

	mu       sync.Mutex
	rec      Kernel
	set      []int // cores it may use
	link     *keep.Client
	linked   chan struct{} // closed when the receiver of the present link has ended
	leaving  bool          // the link is being closed on purpose
	ready    chan struct{} // closed when the kernel of this incarnation has answered
	info     json.RawMessage
	recall   recall
	unsaved  unsaved
	busy     string // Jupyter's execution_state
	seq      uint64 // last journal record seen
	parents  wire.Parents
	book     *book
	out      []*outgoing
	outBytes int
	outWake  chan struct{}
	clients  map[*Client]struct{}
	parked   map[string]*Client // by session: browsers that may come back
	usage    kernel.Usage
	cpu      float64 // cores in use, over the last interval
	usageAt  time.Time
	// What followers were told of it last.
	toldMemory int64
	toldCPU    float64
	awake      time.Time // not hibernated before
	waking     bool
	// rebuilding: the runs found in the journal up to gapUntil were going on while
	// no hub was there, so tabs may lack some of their outputs.
	rebuilding bool
	gapUntil   uint64
	fresh      bool   // nothing was run in this life: there is no state to keep
	quietUntil uint64 // records up to here were told to clients in an earlier life
	ackedAt    time.Time
	released   uint64                        // records up to here the keeper may forget
	asked      map[string]chan *wire.Message // by msg_id: the hub's own questions
	away       []Away                        // what ended while nobody was there
	hold       chan struct{}                 // while open, messages wait for hooks; nil: they do not
	hookID     uint64
	hooking    map[uint64]chan keep.Hooked // hooks that are not through
	asking     asking
	want       *keep.Want // what the kernel waits for, until somebody sees to it
	leasing    bool       // somebody does
	overdue    bool       // somebody waits for the kernel to give back what it borrowed
	timings    []Timing   // the last run of each cell, oldest first
	timingsNew bool       // they are not in their file yet
	meter      meter
	lastRead   chan struct{} // closed when the measurement of the run before is complete
	caughtUp   uint64        // records up to here were written before the present link
	woke       Wake
	comms      comms
	unanswered []unanswered // execute_requests, oldest first
	voice      string       // header.session of what the kernel says
	exitAt     time.Time    // when, as the keeper says
	exit       *keep.Event  // the end of the kernel's process, which the journal tells
	died       *Died        // how the kernel ended by itself last
	revived    int          // how often in a row it was started again
	sender     string       // who sent something last
	blocked    bool         // it could not wake: no units are left
	runMeter   runMeter
	began      time.Time // when this life was; zero: before this hub
}

// outgoing is a message on its way to the kernel.
type outgoing struct {
	ch    wire.Channel
	m     *wire.Message
	msgID string // of an execute_request, which is sent again if it got lost
	sent  bool
}

// Client is one browser or program on a kernel's channels.
type Client struct {
	Session string
	By      string // name of the person
	Queue   *proxy.Queue
	key     string // the session that it came with
	ctx     context.Context
	cancel  context.CancelFunc // ends the connection: the client has come on another
	gone    chan struct{}      // closed when that has been taken note of
	timer   *time.Timer
	behind  *behind // nil: it has got all there is
}

const (
	clientQueue = 32 << 20
	takeOverFor = 5 * time.Second
	parkedFor   = 5 * time.Minute
	outLimit    = 64 << 20
	maxClients  = 256 // of one kernel
	maxParked   = 64  // that may come back to it
)

func (h *Hub) newLive(rec Kernel) *Live {
	l := &Live{
		h: h, deed: make(chan struct{}, 1), rec: rec, busy: "idle", seq: rec.Acked, fresh: rec.Acked == 0,
		clients: map[*Client]struct{}{}, parked: map[string]*Client{}, ready: make(chan struct{}), outWake: make(chan struct{}, 1),
	}
	l.asking.turn, l.asking.waiting = make(chan struct{}, 1), map[uint64]chan json.RawMessage{}
	l.book = newBook(func() string { return h.notebookOf(rec.Project, rec.ID) })
	l.readDisplays()
	l.recalls(timingsFile, &l.timings)
	l.recalls(diedFile, &l.died)
	l.recalls(commsFile, &l.comms)
	return l
}

func sortLive(list []*Live) {
	slices.SortFunc(list, func(a, b *Live) int { return a.rec.CreatedAt.Compare(b.rec.CreatedAt) })
}

// ID is the kernel's ID, Project its project's.
func (l *Live) ID() kernel.ID { return l.rec.ID }

// Project is the ID of the project the kernel belongs to.
func (l *Live) Project() string { return l.rec.Project }

// Record returns the present record.
func (l *Live) Record() Kernel {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.rec
}

// unseen is the seq of the first record that was not taken in.
func (l *Live) unseen() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.seq + 1
}

func (l *Live) cores() []int {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.rec.Container == "" {
		return nil
	}
	return l.set
}

func (l *Live) setCores(set []int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.set = set
}

// take waits until no other deed is done to the kernel.
func (l *Live) take(ctx context.Context) (release func(), err error) {
	select {
	case l.deed <- struct{}{}:
		return func() { <-l.deed }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// change alters the record, keeps it and tells followers. It checks that a new
// state is one that may follow.
func (l *Live) change(ctx context.Context, fn func(*Kernel)) error {
	l.mu.Lock()
	before := l.rec
	fn(&l.rec)
	if l.rec.State != before.State {
		if !before.State.Can(l.rec.State) {
			next := l.rec.State
			l.rec = before
			l.mu.Unlock()
			return fault.Newf(fault.Conflict, "wrong_state", "The kernel is %s: it cannot become %s now.", before.State, next)
		}
		l.rec.Since = time.Now()
	}
	rec := l.rec
	l.mu.Unlock()
	err := l.h.Store.PutKernel(context.WithoutCancel(ctx), rec)
	if err != nil {
		l.h.Log.Error("kernel record not written", "kernel", rec.ID, "error", err)
	}
	l.tell()
	return err
}

func (l *Live) tell() {
	l.h.events.send(Event{Project: l.rec.Project, Type: "kernel", Data: l.View()})
}

// folder is where the kernel's own files are.
// Attach opens the channels for a client; session is the client's own. One that
// comes back with the session of a lost connection gets what it missed.
func (l *Live) Attach(session string) (*Client, error) {
	l.takeOver(session)
	l.mu.Lock()
	if len(l.clients) >= maxClients {
		l.mu.Unlock()
		return nil, fault.Newf(fault.Exhausted, "too_many_clients", "This kernel has %d connections already, which is the most it can have.", maxClients)
	}
	c := l.parked[session]
	if session != "" && c != nil && c.timer.Stop() {
		delete(l.parked, session)
	} else {
		c = &Client{Session: session, Queue: proxy.NewQueue(clientQueue)}
	}
	c.key, c.gone = session, make(chan struct{})
	c.ctx, c.cancel = context.WithCancel(context.Background())
	l.clients[c] = struct{}{}
	l.mu.Unlock()
	l.tell()
	return c, nil
}

// takeOver ends the connection that a client comes back from, as long as nobody
// has noticed that it is gone. Else the client would have two queues: what is in
// the old one would be told again when it comes back the next time.
func (l *Live) takeOver(session string) {
	l.mu.Lock()
	old := l.withKey(session, nil)
	if old == nil {
		l.mu.Unlock()
		return
	}
	cancel, gone := old.cancel, old.gone
	l.mu.Unlock()
	cancel()
	select {
	case <-gone:
	case <-time.After(takeOverFor):
	}
}

// withKey finds a connected client that came with a session; the lock is held.
func (l *Live) withKey(session string, but *Client) *Client {
	for c := range l.clients {
		if session != "" && c.key == session && c != but {
			return c
		}
	}
	return nil
}

// Context is ctx until the client comes on another connection. Call the function
// when done.
func (c *Client) Context(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(c.ctx, cancel)
	return ctx, func() { stop(); cancel() }
}

// Detach takes note that a client's connection is gone, and why.
func (l *Live) Detach(c *Client, reason error) {
	l.mu.Lock()
	delete(l.clients, c)
	defer close(c.gone)
	c.cancel()
	if c.Session == "" || l.withKey(c.key, c) != nil || l.parked[c.Session] != nil || errors.Is(reason, proxy.ErrSlow) || len(l.parked) == maxParked {
		c.Queue.Close(reason)
	} else {
		l.parked[c.Session] = c
		c.timer = time.AfterFunc(parkedFor, func() {
			l.mu.Lock()
			defer l.mu.Unlock()
			if l.parked[c.Session] == c {
				delete(l.parked, c.Session)
				c.Queue.Close(reason)
			}
		})
	}
	last := len(l.clients) == 0
	l.mu.Unlock()
	l.tell()
	if last {
		l.h.wg.Go(func() { l.persist(l.h.ctx) })
	}
}

func (l *Live) shutClients() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.clients {
		c.Queue.Close(context.Canceled)
	}
}

// closeClients ends all clients: the kernel is gone for good.
func (l *Live) closeClients() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.clients {
		c.Queue.Close(proxy.ErrClosed)
	}
	for s, c := range l.parked {
		c.timer.Stop()
		c.Queue.Close(proxy.ErrClosed)
		delete(l.parked, s)
	}
}

// forward hands a message to those who are to see it: record seq of the journal,
// or with 0 one of the hub's own. The lock is held.
func (l *Live) forward(ch wire.Channel, m *wire.Message, asked string, seq uint64) {
	it := proxy.Item{Channel: ch, Message: m}
	to := func(c *Client) {
		if c.sees(ch, asked) {
			l.give(c, it, seq)
		}
	}
	for c := range l.clients {
		to(c)
	}
	for _, c := range l.parked {
		to(c)
	}
}

// say hands out a message of the hub's own; the lock is held.
func (l *Live) say(ch wire.Channel, m *wire.Message, asked string) { l.forward(ch, m, asked, 0) }

// live reports whether a client of that session is connected; the lock is held.
func (l *Live) hasClient(session string) bool {
	for c := range l.clients {
		if c.Session == session {
			return true
		}
	}
	return false
}

// Settled waits until what was found at the start has been looked at, and gives
// the state.
func (l *Live) Settled(ctx context.Context) (kernel.State, error) {
	release, err := l.take(ctx)
	if err != nil {
		return "", err
	}
	defer release()
	return l.Record().State, nil
}
