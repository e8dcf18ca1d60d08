// Package pager brings a thawed process's memory in while the process already
// runs. CRIU, told to restore lazily, leaves the large private memory of every
// process empty and hands out a userfaultfd for it; whoever holds that answers
// the process's first touch of a page and meanwhile fills the rest.
//
// Two processes do it. The worker (Serve) does the work. The guardian (Hold)
// holds the same descriptors and does nothing: as long as somebody holds them a
// page that has not come blocks whoever touches it, and a worker that dies
// leaves a process that waits, never one that reads zeros for its variables.
//
// Protocol and images: CRIU 4.2, criu/uffd.c and images/pagemap.proto.
package pager

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// faultBlock is filled around a page that somebody waits for: neighbours are
	// wanted next, and a fault costs as much as copying them.
	faultBlock = 64 << 10
	// drainBlock is filled at once when nobody waits: long enough to be fast,
	// short enough (a fifth of a millisecond) for one who comes meanwhile.
	drainBlock = 1 << 20
	// finished is what CRIU sends when the processes run.
	finished = 0x52535446
	// Somebody who begins to run asks for one page after the other. Who would fill
	// between two of them makes each wait: so not until nobody has asked for calm,
	// but for beginning at most.
	calm      = 4 * time.Millisecond
	beginning = 500 * time.Millisecond
	// roomEvery is how often a fill is tried again for which a container has no
	// room: it gets some, or is killed.
	roomEvery = 5 * time.Millisecond
)

// process is one address space that is being filled.
type process struct {
	uffd   uffd
	space  *space
	source Source   // of the bytes of its pages file; nil while it has none
	pid    int      // in its dump; 0 for one that was forked since
	noted  []uint64 // blocks that it waited for
	early  []uint64 // blocks that it will wait for
	// waiting are addresses that somebody waits for. The kernel tells of each once:
	// one that cannot be filled at this moment stays here.
	waiting []uint64
}

// worker fills processes until nothing is missing.
type worker struct {
	conn    int // CRIU's; -1 once it has closed
	holder  int // the guardian's, told of every descriptor; -1 for none
	dir     string
	all     []*process
	running bool      // CRIU is through: fill what nobody asks for
	began   time.Time // when CRIU was through
	asked   time.Time // when somebody last waited for a page
	o       Options
	files   map[string]Source
	stats   Stats
	wanted  wanted // the last time
	warming sync.WaitGroup
	closing atomic.Bool
}

// Options say how a dump is served; the zero value is that its files have all.
type Options struct {
	// Open gives the bytes of a pages file; nil: the files are in the dump's folder.
	Open Opener
	// Wanted is a file that remembers what was asked for first, for the next thaw
	// of the same processes; "": none.
	Wanted string
	// Lazy is for tests: while it is true only what the processes ask for is filled.
	Lazy func() bool
}

// Stats is what it took to bring the memory of a container in.
type Stats struct {
	Bytes  uint64 // filled, all in all
	Faults int    // pages that somebody waited for
	Asked  uint64 // bytes filled because of them
}

// Serve answers for the dump in dir on CRIU's connection conn, until the memory
// of all its processes has come or they have ended. holder is a unix socket to
// which every descriptor is sent, too; -1 for none.
func Serve(conn, holder int, dir string, o Options) (_ Stats, err error) {
	if o.Open == nil {
		o.Open = openMapped
	}
	w := &worker{conn: conn, holder: holder, dir: dir, o: o, files: map[string]Source{}, wanted: readWanted(o.Wanted)}
	defer w.close()
	for err == nil {
		if err = w.wait(); err != nil {
			break
		}
		if !w.running {
			if w.conn < 0 {
				err = errors.New("CRIU has ended before the processes ran")
			}
			continue
		}
		p := w.next()
		if p == nil {
			break
		}
		if w.hasEarly() {
			if p, piece, ok := w.early(); ok {
				err = w.fill(p, piece)
			}
			continue
		}
		if w.holdsBack() {
			continue
		}
		first := p.space.pieces[0]
		err = w.fill(p, first.cut(first.start, first.start+drainBlock))
	}
	if err == nil {
		w.remember()
	}
	return w.stats, err
}

func (w *worker) close() {
	w.closing.Store(true)
	w.warming.Wait()
	for _, p := range w.all {
		unix.Close(int(p.uffd))
	}
	for _, s := range w.files {
		s.Close()
	}
	if w.conn >= 0 {
		unix.Close(w.conn)
	}
}

// next is a process that lacks memory; those that lack none are kept until all
// are through, because zero pages are still asked of us.
func (w *worker) next() *process {
	for _, p := range w.all {
		if !p.space.empty() {
			return p
		}
	}
	return nil
}

func (w *worker) hasEarly() bool {
	return (w.o.Lazy == nil || !w.o.Lazy()) && slices.ContainsFunc(w.all, func(p *process) bool { return len(p.early) > 0 })
}

// holdsBack reports whether to fill only what is asked for now.
func (w *worker) holdsBack() bool {
	if w.o.Lazy != nil && w.o.Lazy() {
		return true
	}
	now := time.Now()
	return now.Sub(w.asked) < calm && now.Sub(w.began) < beginning
}

// wait serves what waits; it blocks while nothing can be filled unasked.
func (w *worker) wait() error {
	fds := make([]unix.PollFd, 0, len(w.all)+1)
	for _, p := range w.all {
		fds = append(fds, unix.PollFd{Fd: int32(p.uffd), Events: unix.POLLIN})
	}
	if w.conn >= 0 {
		fds = append(fds, unix.PollFd{Fd: int32(w.conn), Events: unix.POLLIN})
	}
	timeout := -1
	switch {
	case w.running && (!w.holdsBack() || w.hasEarly()):
		timeout = 0
	case w.running || w.anyWaiting():
		timeout = 1
	}
	if _, err := unix.Poll(fds, timeout); err != nil && err != unix.EINTR {
		return fmt.Errorf("poll: %w", err)
	}
	for i, p := range w.all[:len(w.all):len(w.all)] {
		if fds[i].Revents != 0 {
			if err := w.take(p); err != nil {
				return err
			}
		}
	}
	for _, p := range w.all {
		if err := w.answer(p); err != nil {
			return err
		}
	}
	if last := len(fds) - 1; w.conn >= 0 && fds[last].Fd == int32(w.conn) && fds[last].Revents != 0 {
		return w.hear()
	}
	return nil
}

// hear takes CRIU's next word: a process (its pid, then its uffd; a negative
// pid is a zombie and has none), that all run, or the end.
func (w *worker) hear() error {
	word, err := readWord(w.conn)
	if err != nil {
		return fmt.Errorf("from CRIU: %w", err)
	}
	switch {
	case word == nil:
		unix.Close(w.conn)
		w.conn = -1
		return nil
	case *word == finished:
		w.running, w.began = true, time.Now()
		return nil
	case int32(*word) < 0:
		return nil
	}
	fd, err := receiveFD(w.conn)
	if err != nil {
		return fmt.Errorf("from CRIU: %w", err)
	}
	p := &process{uffd: uffd(fd), space: &space{}, pid: int(*word)}
	w.add(p) // first of all: from here on it waits whatever becomes of us
	return w.find(p, int(*word))
}

// find finds the memory of a new process in the dump.
func (w *worker) find(p *process, pid int) error {
	s, name, err := pagemap(w.dir, pid)
	if err != nil {
		return err
	}
	source := w.files[name] // processes that were forked share one
	if source == nil {
		if source, err = w.o.Open(name); err != nil {
			return err
		}
		w.files[name] = source
	}
	if source.ByAddress() {
		s.byAddress()
	} else if !s.empty() {
		last := s.pieces[len(s.pieces)-1]
		if _, err := source.Pages(last.off+last.end-last.start-pageSize, pageSize); err != nil {
			return err
		}
	}
	p.space, p.source = s, source
	w.expect(p)
	return nil
}

// add takes a process on and has the guardian hold it, too.
func (w *worker) add(p *process) {
	w.all = append(w.all, p)
	if w.holder >= 0 && sendFD(w.holder, int(p.uffd)) != nil {
		w.holder = -1 // it is gone. That is no reason to leave the processes alone, too.
	}
}

func (w *worker) anyWaiting() bool {
	return slices.ContainsFunc(w.all, func(p *process) bool { return len(p.waiting) > 0 })
}

// take takes the events of a process: changes of its address space are done at
// once, as a fault among them is about what is there afterwards.
func (w *worker) take(p *process) error {
	events, err := p.uffd.read()
	if err != nil {
		return fmt.Errorf("userfaultfd: %w", err)
	}
	for _, e := range events {
		if e.kind == eventFault {
			w.stats.Faults++
			w.asked = time.Now()
			w.note(p, e.b)
			p.waiting = append(p.waiting, e.b&^(pageSize-1))
			continue
		}
		if err := w.changed(p, e); err != nil {
			return err
		}
	}
	return nil
}

// answer gives those who wait what they wait for.
func (w *worker) answer(p *process) error {
	waiting := p.waiting
	p.waiting = nil
	for _, addr := range waiting {
		done, err := w.give(p, addr)
		if err != nil {
			return err
		}
		if !done {
			p.waiting = append(p.waiting, addr)
		}
	}
	return nil
}

// give fills the page at addr and what is beside it; done is false when that
// cannot be now.
func (w *worker) give(p *process, addr uint64) (done bool, err error) {
	if piece, ok := p.space.around(addr, faultBlock); ok {
		before := w.stats.Bytes
		err := w.fill(p, piece)
		if w.stats.Asked += w.stats.Bytes - before; err != nil {
			return false, err
		}
		_, missing := p.space.around(addr, pageSize)
		return !missing, nil
	}
	err = p.uffd.zero(addr)
	switch {
	case errors.Is(err, unix.EAGAIN):
		return false, w.takeSoon(p)
	case errors.Is(err, unix.ENOMEM):
		time.Sleep(roomEvery)
		return false, nil
	case err != nil && !passing(err):
		return false, fmt.Errorf("zero page at %#x: %w", addr, err)
	}
	return true, nil
}

func (w *worker) changed(p *process, e event) error {
	switch e.kind {
	case eventFault:
	case eventUnmap:
		p.space.drop(e.a, e.b)
	case eventRemove: // as by madvise(MADV_DONTNEED): still mapped, zeros from now on
		p.space.drop(e.a, e.b)
		if err := p.uffd.unregister(e.a, e.b-e.a); err != nil && !passing(err) && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOMEM) {
			return fmt.Errorf("unregister %#x: %w", e.a, err)
		}
	case eventRemap:
		p.space.move(e.a, e.b, e.c)
	case eventFork:
		w.add(&process{uffd: uffd(uint32(e.a)), space: p.space.clone(), source: p.source})
	default:
		return fmt.Errorf("unknown event %#x", e.kind)
	}
	return nil
}
