package hub

import (
	"context"
	"time"

	"cellar/kernel/keep"
)

// hookTime is how long the hooks of a kernel may take before it is frozen all
// the same, and after it was thawed before messages go to it.
const hookTime = 2 * time.Second

// Reasons that hooks are told.
const (
	reasonHibernate = "hibernate"
	reasonSwitch    = "switch"
	reasonApply     = "apply"
	reasonKeep      = "keep"
	reasonBranch    = "branch"
)

// reasonOf is the reason for a checkpoint of a kind.
func reasonOf(kind string) string {
	switch kind {
	case KindHibernate, KindPublish, KindAuto:
		return kind
	case KindRollback:
		return reasonApply
	}
	return reasonKeep
}

// hook has the kernel run its hooks and waits until they are through, for a
// limited time. A kernel whose keeper knows no hooks has none.
func (l *Live) hook(ctx context.Context, event, reason string) {
	r, ok := l.tellHook(ctx, keep.Hook{Event: event, Reason: reason}, hookTime)
	switch {
	case len(r.Errors) > 0:
		l.h.Log.Warn("hooks of a kernel failed", "kernel", l.rec.ID, "event", event, "reason", reason, "errors", r.Errors)
	case !ok && ctx.Err() == nil:
		l.h.Log.Warn("hooks of a kernel are not through in time", "kernel", l.rec.ID, "event", event, "reason", reason)
	}
}

// tellHook is hook with its result; ok is false when the kernel is not through
// within limit. The ID is given here.
func (l *Live) tellHook(ctx context.Context, e keep.Hook, limit time.Duration) (r keep.Hooked, ok bool) {
	l.mu.Lock()
	link := l.link
	if link == nil || !link.Hello.Hooks {
		l.mu.Unlock()
		return r, true
	}
	l.hookID++
	id, done := l.hookID, make(chan keep.Hooked, 1)
	if l.hooking == nil {
		l.hooking = map[uint64]chan keep.Hooked{}
	}
	l.hooking[id] = done
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.hooking, id)
	}()
	e.ID = id
	if link.Tell(e) != nil {
		return r, false
	}
	late := time.NewTimer(limit)
	defer late.Stop()
	select {
	case <-ctx.Done():
	case <-late.C:
	case r = <-done:
		return r, true
	}
	return r, false
}

// hooked takes note that the hooks of an event are through.
func (l *Live) hooked(r keep.Hooked) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if done := l.hooking[r.ID]; done != nil {
		select {
		case done <- r:
		default:
		}
	}
}

// afterwards runs the hooks of a thawed kernel; what was sent to it waits until
// they are through.
func (l *Live) afterwards(reason string) {
	l.mu.Lock()
	hold := l.hold
	l.mu.Unlock()
	l.h.wg.Go(func() {
		defer close(hold)
		l.hook(l.h.ctx, keep.HookAfter, reason)
	})
}
