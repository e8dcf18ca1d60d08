package hub

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"cellar/internal/fault"
	"cellar/kernel"
)

// What holds a configuration.
const (
	HolderKernel   = "kernel"
	HolderNode     = "node" // one instance of a node
	HolderTerminal = "terminal"
)

// Moment is a point in time by two clocks: the one on the wall, which places it
// on a day but may be set, and the machine's own, which never steps but begins
// anew with each start of the machine.
type Moment struct {
	Boot string // which start of the machine
	Tick int64  // milliseconds since then; none pass while the machine sleeps
	Wall time.Time
}

// at is the moment that the wall clock showed t, by where it stands now.
func (m Moment) at(t time.Time) Moment {
	return Moment{Boot: m.Boot, Tick: m.Tick - m.Wall.Sub(t).Milliseconds(), Wall: t}
}

// machineClock reads both clocks.
func machineClock() Moment {
	var ts unix.Timespec
	unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts) // fails for an unknown clock only
	return Moment{Boot: bootID(), Tick: ts.Nano() / 1e6, Wall: time.Now()}
}

// Holding is a configuration that is held: the first half of an interval of the
// ledger, which is written before the compute is taken.
type Holding struct {
	ID            int64
	Holder        string // what holds one at a time: a kernel's ID, else the container
	Container     string
	Kind          string
	Node          string
	Project       string
	Owner         string // user ID
	Configuration string
	Price         int64 // thousandths of a unit per second
	Why           string
	By            string // name of who had it done; empty: the hub
	Boot          string
	Tick          int64
	Began         time.Time
}

// Release is its second half.
type Release struct {
	Holding  int64
	Ended    time.Time
	Units    Units
	Why      string
	Inferred bool // nobody saw the end: it is the last moment of which there is a proof
}

// Entry is an interval. One that is still held has no Release: its Ended is the
// moment at which it was asked for.
type Entry struct {
	Holding
	Release
	Open bool
}

// Milliseconds is how long it was held.
func (e Entry) Milliseconds() int64 { return e.Ended.UnixMilli() - e.Began.UnixMilli() }

// within is what of it lies in a span of time.
func (e Entry) within(from, to time.Time) (milliseconds int64, u Units) {
	a, b := max(e.Began.UnixMilli(), from.UnixMilli()), min(e.Ended.UnixMilli(), to.UnixMilli())
	if b <= a {
		return 0, 0
	}
	return b - a, cost(e.Price, b-a)
}

// LedgerQuery chooses intervals; empty fields choose all.
type LedgerQuery struct {
	From, To               time.Time // those that overlap this span
	Project, Owner, Holder string
}

func (q LedgerQuery) fits(e Entry) bool {
	return (q.Project == "" || q.Project == e.Project) && (q.Owner == "" || q.Owner == e.Owner) && (q.Holder == "" || q.Holder == e.Holder) &&
		e.Began.Before(q.To) && e.Ended.After(q.From)
}

// LedgerStore keeps the ledger. It is only ever added to.
type LedgerStore interface {
	// AddHolding writes the end of what was held before, if any, and the new
	// holding, in one step; it gives the holding's ID.
	AddHolding(ctx context.Context, h Holding, before *Release) (int64, error)
	// AddRelease answers fault.Conflict when the holding has ended already.
	AddRelease(ctx context.Context, r Release) error
	OpenHoldings(ctx context.Context) ([]Holding, error)
	// Released gives ended intervals one by one, in the order in which they ended.
	Released(ctx context.Context, q LedgerQuery, fn func(Entry) error) error
	// HolderUnits sums up what kernels that there are have used in ended intervals.
	HolderUnits(ctx context.Context) (map[string]Units, error)
	// CheckLedger counts intervals, and says which contradict one another.
	CheckLedger(ctx context.Context) (intervals int, wrong []string, err error)
}

// ledger is what is held now, and the sums of what was. Containers are metered
// where they are made and removed, see metered.
type ledger struct {
	h     *Hub
	clock func() Moment

	mu      sync.Mutex
	open    map[string]Holding // by container
	making  map[string]bool    // containers that are only about to be there
	closing map[int64]Entry    // ended, but not yet on the disk
	spent   map[Scope]*spent
	kernels map[string]Units // of ended intervals, by holder
	before  Moment           // the last sign of life of the hub before

	signs sync.Mutex // one sign is written at a time
}

func newLedger(h *Hub, clock func() Moment) *ledger {
	if clock == nil {
		clock = machineClock
	}
	return &ledger{
		h: h, clock: clock, open: map[string]Holding{}, making: map[string]bool{}, closing: map[int64]Entry{}, spent: map[Scope]*spent{}, kernels: map[string]Units{},
	}
}

// endOf is when a holding ends if it ends at a moment: as long after it began as
// the machine's own clock says. Of another start of the machine nothing is known.
func (e Holding) endOf(m Moment) time.Time {
	var held int64
	if m.Boot == e.Boot {
		held = max(0, m.Tick-e.Tick)
	}
	return e.Began.Add(time.Duration(held) * time.Millisecond)
}

// until is the interval as it would be if it ended at a moment.
func (e Holding) until(m Moment, why string, inferred bool) Entry {
	end := e.endOf(m)
	return Entry{Holding: e, Release: Release{Holding: e.ID, Ended: end, Units: cost(e.Price, end.Sub(e.Began).Milliseconds()), Why: why, Inferred: inferred}}
}

// begin writes that a configuration is held from now on. What the holder had
// before, and should have let go of, ends at the same moment: nothing is counted
// twice.
func (g *ledger) begin(ctx context.Context, e Holding, making bool) error {
	now := g.clock()
	e.Boot, e.Tick, e.Began = now.Boot, now.Tick, now.Wall.Truncate(time.Millisecond).UTC()
	g.mu.Lock()
	var old *Entry
	for _, was := range g.open {
		if was.Holder == e.Holder {
			ended := was.until(now, e.Why, false)
			old = &ended
		}
	}
	g.mu.Unlock()
	if old != nil && old.Ended.Sub(e.Began).Abs() < time.Second { // else the clock was set meanwhile
		e.Began = old.Ended // the same moment, which two clocks round differently
	}
	var release *Release
	if old != nil {
		release = &old.Release
	}
	id, err := g.h.Store.AddHolding(ctx, e, release)
	g.mu.Lock()
	defer g.mu.Unlock()
	if err != nil { // what was held still is
		return fault.Wrap(fault.Unavailable, "ledger_failed", "The server could not write down that compute is used, so none is given. Try again, or tell the operator.", err)
	}
	if old != nil {
		if _, open := g.open[old.Container]; open {
			delete(g.open, old.Container)
			g.count(*old)
		}
	}
	e.ID = id
	g.open[e.Container] = e
	g.making[e.Container] = making
	return nil
}

// ID is the holding's.
func (e Entry) ID() int64 { return e.Holding.ID }

// made says that the container of a holding is there.
func (g *ledger) made(container string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.making, container)
}

// end writes that a container holds nothing any more, since a moment. One that
// held nothing is left alone.
func (g *ledger) end(ctx context.Context, container string, m Moment, why string, inferred bool) {
	g.mu.Lock()
	held, ok := g.open[container]
	if !ok {
		g.mu.Unlock()
		return
	}
	e := held.until(m, why, inferred)
	delete(g.open, container)
	delete(g.making, container)
	g.count(e)
	g.closing[held.ID] = e
	g.mu.Unlock()
	g.write(ctx, e)
}

// void ends a holding that never came to be: nothing was held.
func (g *ledger) void(ctx context.Context, container, why string) {
	g.mu.Lock()
	held, ok := g.open[container]
	g.mu.Unlock()
	if ok {
		g.end(ctx, container, Moment{Boot: held.Boot, Tick: held.Tick}, why, false)
	}
}

// write brings an end to the disk. What cannot be written now is written later;
// should the hub end before, the next one finds the end anew.
func (g *ledger) write(ctx context.Context, e Entry) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	err := g.h.Store.AddRelease(ctx, e.Release)
	if err != nil && !errors.Is(err, fault.Conflict) {
		g.h.Log.Error("ledger: an end is not written yet", "holding", e.ID(), "container", e.Container, "error", err)
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.closing, e.ID())
}

// writeLeft tries again what could not be written.
func (g *ledger) writeLeft(ctx context.Context) {
	g.mu.Lock()
	var left []Entry
	for _, e := range g.closing {
		left = append(left, e)
	}
	g.mu.Unlock()
	for _, e := range left {
		g.write(ctx, e)
	}
}

// exchange has a container hold another configuration from now on.
func (g *ledger) exchange(ctx context.Context, container string, c Configuration, why string) error {
	g.mu.Lock()
	e, ok := g.open[container]
	g.mu.Unlock()
	if !ok || e.Configuration == c.Name && e.Price == c.Price() {
		return nil
	}
	e.Configuration, e.Price, e.Why, e.By = c.Name, c.Price(), why, Actor(ctx)
	return g.begin(ctx, e, false)
}

// of is what a container holds.
func (g *ledger) of(container string) (Holding, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	e, ok := g.open[container]
	return e, ok
}

// held lists what is held now, as intervals up to now, and those whose end is
// not on the disk yet.
func (g *ledger) held() (out []Entry) {
	now := g.clock()
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, e := range g.open {
		one := e.until(now, "", false)
		one.Open = true
		out = append(out, one)
	}
	for _, e := range g.closing {
		out = append(out, e)
	}
	return out
}

// Entries gives the intervals that fit, each once.
func (h *Hub) Entries(ctx context.Context, q LedgerQuery, fn func(Entry) error) error {
	held := h.ledger.held() // first: what ends meanwhile is met again, and not missed
	seen := map[int64]bool{}
	for _, e := range held {
		seen[e.ID()] = true
	}
	err := h.Store.Released(ctx, q, func(e Entry) error {
		if seen[e.ID()] {
			return nil
		}
		return fn(e)
	})
	for _, e := range held {
		if err == nil && q.fits(e) {
			err = fn(e)
		}
	}
	return err
}

// holdingOf is what a container will hold; false when it has no configuration.
func (h *Hub) holdingOf(ctx context.Context, c kernel.Container) (Holding, bool, error) {
	name := c.Labels[labelConfiguration]
	if name == "" {
		return Holding{}, false, nil
	}
	conf, err := h.Configuration(name)
	if err != nil {
		return Holding{}, false, err
	}
	p, err := h.Store.Project(ctx, c.Labels["cellar.project"])
	if err != nil {
		return Holding{}, false, err
	}
	e := Holding{
		Holder: c.Name, Container: c.Name, Kind: c.Labels["cellar.kind"], Node: c.Labels["cellar.node"], Project: p.ID, Owner: p.Owner,
		Configuration: conf.Name, Price: conf.Price(), By: Actor(ctx),
	}
	switch e.Kind {
	case HolderKernel:
		e.Holder = c.Labels["cellar.kernel"]
	case HolderNode, HolderTerminal:
	default:
		return e, false, fmt.Errorf("a container of kind %q cannot hold a configuration", e.Kind)
	}
	return e, true, nil
}

// labelConfiguration names on a container the configuration that it is made with.
const labelConfiguration = "cellar.configuration"

type whyKey struct{}

// because names the deed that is done with a context, where the state that a
// kernel is in does not say it.
func because(ctx context.Context, why string) context.Context {
	return context.WithValue(ctx, whyKey{}, why)
}

func reason(ctx context.Context) string {
	why, _ := ctx.Value(whyKey{}).(string)
	return why
}

type actorKey struct{}

// WithActor says who has done what is done with a context; it is written down.
func WithActor(ctx context.Context, name string) context.Context {
	return context.WithValue(ctx, actorKey{}, name)
}

// Actor is who does what is done with a context; empty: the hub itself.
func Actor(ctx context.Context) string {
	name, _ := ctx.Value(actorKey{}).(string)
	return name
}
