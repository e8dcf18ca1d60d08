package hub

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"

	"cellar/internal/fault"
	"cellar/kernel"
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
