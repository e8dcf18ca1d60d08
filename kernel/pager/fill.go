package pager

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// fill copies a piece into the process, as much of it as can be at this moment.
func (w *worker) fill(p *process, want piece) error {
	for want.start < want.end {
		b, err := p.source.Pages(want.off, want.end-want.start)
		if err != nil {
			return err
		}
		n, err := p.uffd.copy(want.start, b)
		if n > 0 {
			p.space.drop(want.start, want.start+n)
			w.stats.Bytes += n
			want = want.cut(want.start+n, want.end)
			continue
		}
		switch {
		case err == nil:
			return errors.New("nothing was copied")
		case errors.Is(err, unix.EEXIST): // it has come already
			p.space.drop(want.start, want.start+pageSize)
			want = want.cut(want.start+pageSize, want.end)
		case errors.Is(err, unix.ESRCH) || errors.Is(err, unix.ENOSPC): // the process has ended
			p.space.pieces = nil
			return nil
		case errors.Is(err, unix.EAGAIN): // its mappings are changing: an event tells
			return w.takeSoon(p)
		case errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EINVAL):
			// Not in one mapping: the piece spans two, or its mapping is gone.
			if size := want.end - want.start; size > pageSize {
				want.end = want.start + size/2/pageSize*pageSize
				continue
			}
			// What is on its way here by now is another page: so not the other way round.
			p.space.drop(want.start, want.end)
			return w.take(p)
		case errors.Is(err, unix.ENOMEM): // the container's limit: it gets room or is killed
			time.Sleep(roomEvery)
			return nil
		default:
			return fmt.Errorf("copy of %d bytes to %#x: %w", want.end-want.start, want.start, err)
		}
	}
	return nil
}

// takeSoon gives a change of mappings a moment to become an event.
func (w *worker) takeSoon(p *process) error {
	fds := []unix.PollFd{{Fd: int32(p.uffd), Events: unix.POLLIN}}
	if n, err := unix.Poll(fds, 1); err != nil || n == 0 {
		return nil
	}
	return w.take(p)
}

// passing reports errors that mean: not any more; or, of a range given back: not
// needed.
func passing(err error) bool {
	return errors.Is(err, unix.EEXIST) || errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ESRCH) || errors.Is(err, unix.ENOSPC)
}
