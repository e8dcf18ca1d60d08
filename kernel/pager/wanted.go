package pager

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// A process that is thawed asks for the same memory first as the last time: what
// its interpreter and its libraries are at work with. So what was asked for is
// written down, and brought next time before anybody asks. (Ustiugov et al.,
// "Benchmarking, Analysis, and Optimization of Serverless Function Snapshots",
// ASPLOS 2021, found the same for functions.)

// wanted is what was asked for, by process: an address in each block of faultBlock,
// the latest first.
type wanted map[int][]uint64

const (
	maxWanted = 512             // blocks of a dump, 32 MiB
	wantedFor = 2 * time.Second // after the processes have begun: later it is their work, not their waking
)

// readWanted reads what was written down; a file that is not there, or is not one
// of ours, is nothing.
func readWanted(name string) wanted {
	st, err := os.Stat(name)
	if err != nil || st.Size() > 64*maxWanted {
		return nil
	}
	b, err := os.ReadFile(name)
	if err != nil {
		return nil
	}
	var list wanted
	if json.Unmarshal(b, &list) != nil {
		return nil
	}
	return list
}

func (l wanted) write(name string) error {
	b, err := json.Marshal(l)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(name), ".wanted-") // several may be at it
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}

// note writes down that a process waited for a page.
func (w *worker) note(p *process, addr uint64) {
	if p.pid == 0 || w.o.Wanted == "" || w.running && time.Since(w.began) > wantedFor {
		return
	}
	addr &^= pageSize - 1
	if len(p.noted) < maxWanted && !slices.ContainsFunc(p.noted, sameBlock(addr)) {
		p.noted = append(p.noted, addr)
	}
}

func sameBlock(addr uint64) func(uint64) bool {
	return func(other uint64) bool { return other/faultBlock == addr/faultBlock }
}

// expect prepares for what a process will want: it is read, and decoded if need
// be, while CRIU is still at work.
func (w *worker) expect(p *process) {
	var pieces []piece
	for _, addr := range w.wanted[p.pid] {
		if piece, ok := p.space.around(addr, faultBlock); ok && len(pieces) < maxWanted {
			pieces = append(pieces, piece)
			p.early = append(p.early, addr)
		}
	}
	if len(pieces) == 0 {
		return
	}
	source := p.source
	w.warming.Go(func() {
		for _, piece := range pieces {
			if w.closing.Load() {
				return
			}
			source.Ahead(piece.off, piece.end-piece.start)
		}
	})
}

// early is the next piece that a process will want.
func (w *worker) early() (p *process, want piece, ok bool) {
	for _, p := range w.all {
		for len(p.early) > 0 {
			addr := p.early[0]
			p.early = p.early[1:]
			if piece, ok := p.space.around(addr, faultBlock); ok {
				return p, piece, true
			}
		}
	}
	return nil, piece{}, false
}

// remember writes down what was wanted this time, and after it what was before.
func (w *worker) remember() {
	if w.o.Wanted == "" || !w.running {
		return
	}
	out, room := wanted{}, maxWanted
	for _, older := range []bool{false, true} {
		for _, p := range w.all {
			list := p.noted
			if older {
				list = w.wanted[p.pid]
			}
			for _, addr := range list {
				if p.pid > 0 && room > 0 && !slices.ContainsFunc(out[p.pid], sameBlock(addr)) {
					out[p.pid] = append(out[p.pid], addr)
					room--
				}
			}
		}
	}
	if len(out) > 0 {
		_ = out.write(w.o.Wanted) // without it the next time is slower, no more than that
	}
}
