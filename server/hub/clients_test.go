package hub

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"

	"cellar/internal/fault"
	"cellar/kernel"
	"cellar/kernel/wire"
)

// EmptyStore has no records.
type EmptyStore struct{ Store }

func (EmptyStore) Sessions(context.Context, string) ([]Session, error) { return nil, nil }
func (EmptyStore) Project(context.Context, string) (Project, error) {
	return Project{}, fault.New(fault.NotFound, "x", "x")
}

// TestClientsAreBounded: those at a kernel, and those it waits for to come back.
func TestClientsAreBounded(t *testing.T) {
	h := &Hub{Store: EmptyStore{}, Log: slog.New(slog.DiscardHandler), live: map[kernel.ID]*Live{}}
	h.ctx = t.Context()
	l := h.newLive(Kernel{ID: "k", Project: "p", State: kernel.Running})
	h.live["k"] = l
	var list []*Client
	for i := range maxClients {
		c, err := l.Attach(fmt.Sprint("s", i))
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, c)
	}
	if _, err := l.Attach("more"); fault.CodeOf(err) != "too_many_clients" || fault.ClassOf(err) != fault.Exhausted {
		t.Errorf("one more: %v", err)
	}
	for _, c := range list {
		l.Detach(c, errors.New("the line is cut"))
	}
	h.wg.Wait()
	if len(l.clients) != 0 || len(l.parked) != maxParked {
		t.Errorf("%d clients, %d may come back", len(l.clients), len(l.parked))
	}
	back, err := l.Attach("s0")
	if err != nil || back != list[0] {
		t.Errorf("the first comes back to another queue: %v", err)
	}
	l.closeClients()
	if len(l.parked) != 0 {
		t.Errorf("%d may come back to a kernel that is gone", len(l.parked))
	}
}

// TestAClientIsOnOneConnection: who comes back before it is noticed that the old
// line is gone goes on with the one queue it had, and nothing is told twice.
func TestAClientIsOnOneConnection(t *testing.T) {
	h := &Hub{Store: EmptyStore{}, Log: slog.New(slog.DiscardHandler), live: map[kernel.ID]*Live{}}
	h.ctx = t.Context()
	l := h.newLive(Kernel{ID: "k", Project: "p", State: kernel.Running})
	h.live["k"] = l
	say := func(state string) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.say(wire.IOPub, status(nil, state), "")
	}
	first, err := l.Attach("page")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	go func() { // its handler: it learns from the client's context that it is over
		defer close(served)
		ctx, done := first.Context(t.Context())
		defer done()
		<-ctx.Done()
		l.Detach(first, errors.New("the line is cut"))
	}()
	say("restarting")
	second, err := l.Attach("page")
	if err != nil {
		t.Fatal(err)
	}
	<-served
	say("starting")
	l.mu.Lock()
	clients, parked := len(l.clients), len(l.parked)
	l.mu.Unlock()
	if clients != 1 || parked != 0 {
		t.Errorf("%d connected, %d may come back", clients, parked)
	}
	items, err := second.Queue.Pop(t.Context())
	if err != nil || len(items) != 2 {
		t.Errorf("%d messages, %v", len(items), err)
	}
	l.Detach(second, errors.New("the line is cut"))
	third, err := l.Attach("page")
	if err != nil {
		t.Fatal(err)
	}
	say("idle")
	if items, err := third.Queue.Pop(t.Context()); err != nil || len(items) != 1 {
		t.Errorf("after coming back: %d messages, %v", len(items), err)
	}
	l.Detach(third, errors.New("the line is cut"))
	h.wg.Wait()
}
