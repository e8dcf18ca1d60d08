package hub

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"regexp"
	"slices"
	"time"

	"cellar/internal/fault"
	"cellar/kernel"
	"cellar/kernel/keep"
)

// A cell whose first line is "#!c1.2" runs on that configuration, and the kernel
// goes back to its own when the cell has ended. The kernel asks before it runs
// such a cell and waits (see keep.Want), so that cells queued behind it are where
// all queued cells are, and a hub that is killed meanwhile answers when it is
// back. A kernel is hostile: it is given only what a cell that was sent to it asks
// for in its first line.

var leaseLine = regexp.MustCompile(`^\s*#!([A-Za-z0-9][A-Za-z0-9._-]{0,31})(:[A-Za-z]\w{0,31})?[ \t\r]*(\n|$)`)

// leaseOf is the configuration that the cell of an execute_request asks for;
// empty: none.
func leaseOf(content []byte) string {
	if !bytes.Contains(content, []byte("#!")) { // most cells; JSON may write it otherwise, no client does
		return ""
	}
	var c struct {
		Code   string `json:"code"`
		Silent bool   `json:"silent"`
	}
	if json.Unmarshal(content, &c) != nil || c.Silent {
		return ""
	}
	m := leaseLine.FindStringSubmatch(c.Code)
	if m == nil {
		return ""
	}
	return m[1]
}

// asksFor reports whether a cell that was sent and has not been answered asks for
// a configuration; the lock is held.
func (l *Live) asksFor(name string) bool {
	return slices.ContainsFunc(l.unanswered, func(u unanswered) bool { return u.lease == name && !u.idle })
}

// wants takes note of what the kernel waits for. Only the newest counts.
func (l *Live) wants(w keep.Want) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.want = &w; l.leasing {
		return
	}
	l.leasing = true
	l.h.wg.Go(l.lease)
}

// lease answers what the kernel wants until it wants nothing more.
func (l *Live) lease() {
	for {
		l.mu.Lock()
		w := l.want
		if l.want = nil; w == nil || l.h.ctx.Err() != nil {
			l.leasing = false
			l.mu.Unlock()
			return
		}
		l.mu.Unlock()
		err := l.h.grant(l.h.ctx, l, w.Configuration)
		l.mu.Lock()
		link := l.link
		l.mu.Unlock()
		if link == nil || errors.Is(err, errNotNow) || l.h.ctx.Err() != nil {
			continue // it tells what it waits for when there is a link again: a hub that stops refuses nothing
		}
		g := keep.Grant{ID: w.ID}
		if err != nil {
			g.Error = fault.Sentence(err)
		}
		_ = link.Grant(g) // the next link is told of the want again
	}
}

// errNotNow: the kernel sleeps or is gone. It will ask again, or never.
var errNotNow = errors.New("the kernel does not run")

// grant gives a running kernel the configuration that its cell asks for; with an
// empty name it goes back to its own.
func (h *Hub) grant(ctx context.Context, l *Live, name string) error {
	if rec := l.Record(); name == "" && rec.Home == "" {
		return nil
	}
	what := "lease " + name + " " + string(l.ID())
	if name == "" {
		what = "give back " + string(l.ID())
	}
	var err error
	o := h.Operations.Begin(ctx, l.Project(), what, func(ctx context.Context, o *Operation) (any, error) {
		err = h.leaseTo(ctx, l, name, o)
		return nil, err
	})
	stop := context.AfterFunc(ctx, o.Cancel)
	defer stop()
	if _, e := o.Wait(context.WithoutCancel(ctx)); e != nil {
		return e
	}
	return err
}

func (h *Hub) leaseTo(ctx context.Context, l *Live, name string, o *Operation) error {
	release, err := l.take(ctx)
	if err != nil {
		return errors.Join(errNotNow, err)
	}
	defer release()
	rec := l.Record()
	if rec.State != kernel.Running && rec.State != kernel.Starting {
		return errNotNow
	}
	to, home := rec.home(), ""
	if name != "" {
		l.mu.Lock()
		asked := l.asksFor(name)
		l.mu.Unlock()
		if !asked {
			return fault.Newf(fault.Denied, "not_asked_for", "No cell that was sent to this kernel asks for %s in its first line.", name)
		}
		if to, home = name, rec.home(); to == home {
			home = ""
		}
	}
	conf, err := h.Offer(to)
	if err != nil {
		return h.unknownLease(err)
	}
	if conf.Name == rec.Configuration {
		return l.change(ctx, func(k *Kernel) { k.Home = home })
	}
	leave, err := h.roomToSwitch(conf, rec)
	if err != nil {
		return err
	}
	defer leave()
	if err := h.step("lease.asked"); err != nil {
		return err
	}
	return h.resize(ctx, l, conf, home, o)
}

// unknownLease says what there is, to a person who has mistyped it.
func (h *Hub) unknownLease(err error) error {
	if fault.CodeOf(err) != "unknown_configuration" {
		return err
	}
	names := make([]byte, 0, 200)
	for _, c := range h.Configurations {
		if h.Available(c) {
			if len(names) > 0 {
				names = append(names, ", "...)
			}
			names = append(names, c.Name...)
		}
	}
	return fault.Newf(fault.Invalid, "unknown_configuration", "%s There are: %s.", fault.Sentence(err), names)
}

// home is the kernel's own configuration, whatever a cell has borrowed.
func (k *Kernel) home() string {
	if k.Home != "" {
		return k.Home
	}
	return k.Configuration
}

// goHome gives up what a cell has borrowed: what ran is gone.
func (k *Kernel) goHome() { k.Configuration, k.Home = k.home(), "" }

// leaseGrace is how long after a cell's end the kernel has time to give back what
// it borrowed for it.
const leaseGrace = 2 * time.Second

// giveBack sees to it that a kernel that does not give back what it has borrowed
// loses it: whatever runs in it may have switched that off.
func (l *Live) giveBack() {
	l.mu.Lock()
	lent := l.rec.Home != "" && !l.overdue
	l.overdue = l.overdue || lent
	l.mu.Unlock()
	if !lent {
		return
	}
	l.h.wg.Go(func() {
		select {
		case <-l.h.ctx.Done():
			return
		case <-time.After(leaseGrace):
		}
		l.mu.Lock()
		l.overdue = false
		rec := l.rec
		keeps := rec.Home == "" || l.asksFor(rec.Configuration)
		l.mu.Unlock()
		if keeps {
			return
		}
		if err := l.h.grant(l.h.ctx, l, ""); err != nil {
			l.h.Log.Warn("a kernel keeps what it borrowed", "kernel", rec.ID, "configuration", rec.Configuration, "error", err)
		}
	})
}
