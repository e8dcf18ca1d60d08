package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"cellar/internal/fault"
	"cellar/kernel"
	"cellar/server/hub"
)

// clocks are a machine's two clocks, which only the test moves.
type clocks struct {
	mu sync.Mutex
	m  hub.Moment
}

func (c *clocks) now() hub.Moment {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.m
}

func (c *clocks) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.m.Tick, c.m.Wall = c.m.Tick+d.Milliseconds(), c.m.Wall.Add(d)
}

func (c *clocks) set(step time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.m.Wall = c.m.Wall.Add(step)
}

func (c *clocks) reboot(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.m.Boot, c.m.Tick = fmt.Sprint("boot-", n), 5000
}

// span is how long a container was truly there.
type span struct {
	boot       string
	from, to   int64 // ticks
	gone, seen bool  // seen: somebody knows when it ended
	removed    bool  // and has been told
	labels     map[string]string
	atLeast    int64 // the last tick at which a hub was there
}

// TrueRuntime knows to the millisecond which container was there when.
type TrueRuntime struct {
	kernel.Runtime
	clocks *clocks
	refuse bool
	mu     sync.Mutex
	spans  map[string]*span
}

func (r *TrueRuntime) Create(_ context.Context, c kernel.Container) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.refuse {
		return errors.New("no room")
	}
	now := r.clocks.now()
	r.spans[c.Name] = &span{boot: now.Boot, from: now.Tick, labels: c.Labels, atLeast: now.Tick}
	return nil
}

func (r *TrueRuntime) Restore(ctx context.Context, c kernel.Container, _ string) error {
	return r.Create(ctx, c)
}
func (r *TrueRuntime) Freeze(ctx context.Context, name string, f kernel.Freeze) error {
	if f.Leave {
		return nil
	}
	return r.Remove(ctx, name)
}
func (r *TrueRuntime) Remove(_ context.Context, name string) error {
	r.end(name, true)
	r.mu.Lock()
	defer r.mu.Unlock()
	if s := r.spans[name]; s != nil {
		s.removed = true
	}
	return nil
}

func (r *TrueRuntime) end(name string, seen bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s := r.spans[name]; s != nil && !s.gone {
		s.gone, s.seen, s.to = true, seen, r.clocks.now().Tick
	}
}

func (r *TrueRuntime) List(context.Context) (out []kernel.Status, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.clocks.now()
	for name, s := range r.spans {
		if s.boot != now.Boot || (s.gone && !s.seen) || s.removed {
			continue
		}
		st := kernel.Status{Name: name, Labels: s.labels, Running: !s.gone}
		if s.gone {
			st.Ended = now.Wall.Add(-time.Duration(now.Tick-s.to) * time.Millisecond)
		}
		out = append(out, st)
	}
	return out, nil
}
func (r *TrueRuntime) Draining() (map[string]string, error) { return nil, nil }

func (r *TrueRuntime) there() (out []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for name, s := range r.spans {
		if !s.gone {
			out = append(out, name)
		}
	}
	return out
}

// ledgerTown is a machine with hubs that come and go.
type ledgerTown struct {
	t       *testing.T
	store   *Store
	clocks  *clocks
	runtime *TrueRuntime
	h       *hub.Hub
	data    string
	kill    string // the step at which the next deed is cut off
	made    int
	lives   int
}

type killed struct{}

func newLedgerTown(t *testing.T) *ledgerTown {
	s, _ := open(t)
	c := &clocks{m: hub.Moment{Boot: "boot-0", Tick: 1000, Wall: time.Date(2031, 3, 30, 23, 59, 0, 0, time.UTC)}}
	w := &ledgerTown{t: t, store: s, clocks: c, runtime: &TrueRuntime{clocks: c, spans: map[string]*span{}}}
	ok(t, s.AddUser(t.Context(), hub.User{ID: "ada", Name: "ada", CreatedAt: now}))
	_, err := s.AddProject(t.Context(), hub.Project{ID: "p", Name: "P", Owner: "ada", CreatedAt: now})
	ok(t, err)
	w.start()
	return w
}

// start begins another hub. The one before is as dead as can be: it has neither
// its store nor its folder any more.
func (w *ledgerTown) start() {
	w.t.Helper()
	sign, _ := os.ReadFile(filepath.Join(w.data, "ledger.sign"))
	w.lives++
	w.data = w.t.TempDir()
	if len(sign) > 0 {
		ok(w.t, os.WriteFile(filepath.Join(w.data, "ledger.sign"), sign, 0o600))
	}
	mortal := &mortalStore{Store: w.store}
	h := &hub.Hub{Store: mortal, Runtime: w.runtime, Log: slog.New(slog.DiscardHandler), Config: hub.Config{
		Data: w.data, ShortName: "celtest-" + filepath.Base(filepath.Dir(w.data)) + fmt.Sprint(w.lives), Default: "c",
		Configurations: []hub.Configuration{{Name: "c", CPUs: 1, Memory: 1 << 28, UnitsPerSecond: 0.125}, {Name: "d", CPUs: 1, Memory: 1 << 28, UnitsPerSecond: 7}},
		Clock:          w.clocks.now,
		Fault: func(step string) error {
			if step == w.kill {
				w.kill = ""
				mortal.die()
				panic(killed{})
			}
			return nil
		},
	}}
	var opened *hub.Hub
	if w.cutOff(mortal, func() {
		var err error
		opened, err = hub.Open(context.Background(), h, nil)
		ok(w.t, err)
	}) {
		w.start() // while it tidied up after the one before
		return
	}
	w.t.Cleanup(func() { mortal.die(); opened.Close() })
	w.h = opened
	w.signs()
}

// signs notes for all that is there that a hub is there, too.
func (w *ledgerTown) signs() {
	w.runtime.mu.Lock()
	defer w.runtime.mu.Unlock()
	for _, s := range w.runtime.spans {
		if !s.gone {
			s.atLeast = w.clocks.now().Tick
		}
	}
}

// deed does something that may be cut off: then another hub is there.
func (w *ledgerTown) deed(do func()) {
	if w.cutOff(w.h.Store.(*mortalStore), do) {
		w.start()
	}
}

// cutOff does something; it reports whether the hub was killed over it.
func (w *ledgerTown) cutOff(s *mortalStore, do func()) (cut bool) {
	defer func() {
		if r := recover(); r != nil {
			if _, mine := r.(killed); !mine {
				panic(r)
			}
			cut = true
			s.die()
			w.clocks.pass(3 * time.Second) // nobody is there
		}
	}()
	do()
	return false
}

func (w *ledgerTown) create(kind, configuration string) string {
	w.made++
	name := fmt.Sprint(kind, "-", w.made)
	w.deed(func() {
		w.h.Runtime.Create(context.Background(), kernel.Container{Name: name, Labels: map[string]string{
			"cellar.kind": kind, "cellar.project": "p", "cellar.node": "n", "cellar.configuration": configuration}})
	})
	return name
}

// mortalStore fails once its hub is dead.
type mortalStore struct {
	*Store
	mu   sync.Mutex
	dead bool
}

// TestAFailedExchangeLeavesTheLedger: what could not be written has not happened.
func TestAFailedExchangeLeavesTheLedger(t *testing.T) {
	w := newLedgerTown(t)
	make := func(name string) error {
		return w.h.Runtime.Create(context.Background(), kernel.Container{Name: name, Labels: map[string]string{
			"cellar.kind": "kernel", "cellar.kernel": "k", "cellar.project": "p", "cellar.configuration": "c"}})
	}
	ok(t, make("k-1"))
	w.clocks.pass(time.Second)
	s := w.h.Store.(*mortalStore)
	s.mu.Lock()
	s.dead = true
	s.mu.Unlock()
	class(t, "nothing can be written", make("k-2"), fault.Unavailable)
	s.mu.Lock()
	s.dead = false
	s.mu.Unlock()
	w.clocks.pass(time.Second)
	w.check()
	ok(t, make("k-3")) // in its place: the one before ends at that moment
	w.runtime.end("k-1", true)
	w.check()
	w.sumsAgree()
}

func (s *mortalStore) die() { s.mu.Lock(); s.dead = true; s.mu.Unlock() }

func (s *mortalStore) lives() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dead {
		return errors.New("dead")
	}
	return nil
}

func (s *mortalStore) AddHolding(ctx context.Context, e hub.Holding, before *hub.Release) (int64, error) {
	if err := s.lives(); err != nil {
		return 0, err
	}
	return s.Store.AddHolding(ctx, e, before)
}

func (s *mortalStore) AddRelease(ctx context.Context, r hub.Release) error {
	return errors.Join(s.lives(), s.Store.AddRelease(ctx, r))
}

// check compares the ledger with the truth: every container has one interval, as
// long as it was there; what nobody saw end is between what is proved and what is
// true.
func (w *ledgerTown) check() {
	w.t.Helper()
	got := map[string][]hub.Entry{}
	ok(w.t, w.h.Entries(context.Background(), hub.LedgerQuery{To: time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)}, func(e hub.Entry) error {
		got[e.Container] = append(got[e.Container], e)
		return nil
	}))
	w.runtime.mu.Lock()
	defer w.runtime.mu.Unlock()
	now := w.clocks.now()
	for name, s := range w.runtime.spans {
		list := got[name]
		if len(list) != 1 {
			w.t.Errorf("%s: %d intervals", name, len(list))
			continue
		}
		e, end := list[0], s.to
		if !s.gone {
			end = now.Tick
		}
		if e.Open == s.gone || e.Boot != s.boot || e.Tick != s.from {
			w.t.Errorf("%s: %+v, in truth %+v", name, e, *s)
		}
		most, least := end-s.from, end-s.from
		if s.gone && !s.seen {
			least = s.atLeast - s.from
		}
		if e.Milliseconds() > most || e.Milliseconds() < least || int64(e.Units) != e.Milliseconds()*e.Price {
			w.t.Errorf("%s: held %d ms, %d units, in truth %d to %d ms", name, e.Milliseconds(), e.Units, least, most)
		}
	}
	for name, list := range got {
		if w.runtime.spans[name] != nil {
			continue
		}
		for _, e := range list {
			if e.Open || e.Milliseconds() != 0 {
				w.t.Errorf("%s was never there, and is held: %+v", name, e)
			}
		}
	}
	if n, wrong, err := w.store.CheckLedger(context.Background()); err != nil || len(wrong) > 0 || n == 0 && w.made > 0 {
		w.t.Errorf("%d intervals, %v, %v", n, wrong, err)
	}
}

// TestLedgerAtEachStep: a hub is killed at each step between the books and the
// machine; the next one counts neither too much nor too little.
func TestLedgerAtEachStep(t *testing.T) {
	for _, step := range []string{"ledger.begun", "ledger.made", "ledger.frozen", "ledger.removed"} {
		for _, kind := range []string{"terminal", "node"} {
			t.Run(step+"/"+kind, func(t *testing.T) {
				w := newLedgerTown(t)
				other := w.create("terminal", "d")
				w.clocks.pass(1500 * time.Millisecond)
				w.kill = step
				name := w.create(kind, "c")
				w.clocks.pass(2 * time.Second)
				w.deed(func() {
					if step == "ledger.frozen" {
						w.h.Runtime.Freeze(context.Background(), name, kernel.Freeze{})
					} else {
						w.h.Runtime.Remove(context.Background(), name)
					}
				})
				if w.kill != "" {
					t.Fatal("the step was not reached")
				}
				w.clocks.pass(time.Second)
				w.check()
				if there := w.runtime.there(); len(there) != 1 || there[0] != other {
					t.Errorf("there are %v", there)
				}
			})
		}
	}
}

// TestLedgerIsExact does whatever comes, in an order that a seed gives.
func TestLedgerIsExact(t *testing.T) {
	for seed := range uint64(12) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			w := newLedgerTown(t)
			rnd := rand.New(rand.NewPCG(seed, 62))
			steps, boots := []string{"ledger.begun", "ledger.made", "ledger.frozen", "ledger.removed", "", "", "", ""}, 0
			for range 150 {
				w.clocks.pass(time.Duration(rnd.IntN(90_000)) * time.Millisecond)
				there := w.runtime.there()
				some := ""
				if len(there) > 0 {
					some = there[rnd.IntN(len(there))]
				}
				w.kill = steps[rnd.IntN(len(steps))]
				w.runtime.refuse = false
				switch rnd.IntN(12) {
				case 0, 1, 2:
					w.create([]string{"terminal", "node"}[rnd.IntN(2)], []string{"c", "d"}[rnd.IntN(2)])
				case 3:
					w.runtime.refuse = true
					w.create("node", "c")
				case 4, 5:
					w.deed(func() { w.h.Runtime.Freeze(context.Background(), some, kernel.Freeze{Leave: rnd.IntN(3) == 0}) })
				case 6, 7:
					w.deed(func() { w.h.Runtime.Remove(context.Background(), some) })
				case 8: // the clock on the wall is set
					w.clocks.set(time.Duration(rnd.IntN(7200)-3600) * time.Second)
				case 9: // killed between deeds; meanwhile one ends, and its end is known
					w.h.Store.(*mortalStore).die()
					w.clocks.pass(time.Duration(rnd.IntN(600_000)) * time.Millisecond)
					w.runtime.end(some, true)
					w.clocks.pass(time.Minute)
					w.start()
				case 10: // the same, and nobody knows when
					w.h.Store.(*mortalStore).die()
					w.clocks.pass(time.Duration(rnd.IntN(600_000)) * time.Millisecond)
					w.runtime.end(some, false)
					w.start()
				case 11: // the power fails
					if rnd.IntN(3) > 0 {
						continue
					}
					w.h.Store.(*mortalStore).die()
					w.clocks.pass(time.Duration(rnd.IntN(600_000)) * time.Millisecond)
					for _, name := range there {
						w.runtime.end(name, false)
					}
					boots++
					w.clocks.reboot(boots)
					w.start()
				}
				w.kill = ""
				w.check()
				if t.Failed() {
					return
				}
			}
			w.sumsAgree()
		})
	}
}

// sumsAgree compares what the hub has summed up with the intervals, grouped by
// anything.
func (w *ledgerTown) sumsAgree() {
	w.t.Helper()
	from, to := w.clocks.now().Wall.AddDate(0, 0, -300), w.clocks.now().Wall.AddDate(0, 0, 90)
	sums := map[hub.By]hub.Units{}
	for _, by := range []hub.By{hub.ByProject, hub.ByUser, hub.ByDay} {
		list, err := w.h.Report(context.Background(), hub.LedgerQuery{From: from, To: to}, by)
		ok(w.t, err)
		for _, u := range list {
			sums[by] += u.Units
		}
	}
	var all hub.Units
	ok(w.t, w.h.Entries(context.Background(), hub.LedgerQuery{From: from, To: to}, func(e hub.Entry) error { all += e.Units; return nil }))
	same(w.t, "sums", sums, map[hub.By]hub.Units{hub.ByProject: all, hub.ByUser: all, hub.ByDay: all})
}

// TestTheLedgerIsOnlyAddedTo: what is written stays, and what contradicts it is
// refused by the database itself.
func TestTheLedgerIsOnlyAddedTo(t *testing.T) {
	s, file := open(t)
	e := hub.Holding{Holder: "k", Container: "k-1", Kind: "kernel", Project: "p", Owner: "ada", Configuration: "c", Price: 1500, Boot: "b", Tick: 100, Began: now}
	id, err := s.AddHolding(t.Context(), e, nil)
	ok(t, err)
	if _, err := s.AddHolding(t.Context(), e, nil); err == nil || !strings.Contains(err.Error(), "already") {
		t.Errorf("a second one for the same holder: %v", err)
	}
	end := hub.Release{Holding: id, Ended: now.Add(2 * time.Second), Units: 2000 * 1500, Why: "w"}
	wrong := end
	wrong.Units++
	if err := s.AddRelease(t.Context(), wrong); err == nil {
		t.Error("units that do not fit were taken")
	}
	ok(t, s.AddRelease(t.Context(), end))
	class(t, "a second end", s.AddRelease(t.Context(), end), fault.Conflict)
	e.Tick = 2099
	if _, err := s.AddHolding(t.Context(), e, nil); err == nil {
		t.Error("one that overlaps was taken")
	}
	e.Tick = 2100
	if _, err = s.AddHolding(t.Context(), e, nil); err != nil {
		t.Error(err)
	}
	for _, q := range []string{"UPDATE holdings SET price = 0", "DELETE FROM holdings", "UPDATE releases SET units = 0", "DELETE FROM releases"} {
		if _, err := raw(t, file).Exec(q); err == nil {
			t.Errorf("%s was done", q)
		}
	}
	ok(t, s.Close())
	db := raw(t, file) // as with a tool, past the guards
	for _, q := range []string{"DROP TRIGGER holdings_stay", "DROP TRIGGER releases_stay", "DROP TRIGGER releases_right"} {
		_, err := db.Exec(q)
		ok(t, err)
	}
	for q, want := range map[string]string{
		"UPDATE releases SET units = 5": "has units that are not its length times its price", "UPDATE holdings SET tick = 50 WHERE tick = 2100": "begins before the one before it has ended",
	} {
		_, err := db.Exec(q)
		ok(t, err)
		again, err := Open(t.Context(), file)
		ok(t, err)
		n, found, err := again.CheckLedger(t.Context())
		if err != nil || n != 2 || !strings.Contains(strings.Join(found, " "), want) {
			t.Errorf("%s: %d, %v, %v", q, n, found, err)
		}
		ok(t, again.Close())
	}
}
