package hub

import (
	"context"
	"log/slog"
	"net"
	"testing"

	"cellar/internal/fault"
	"cellar/node"
)

// NodeStore holds one node and nothing else.
type NodeStore struct {
	Store
	node *Node
}

func (s NodeStore) Node(_ context.Context, id string) (Node, error) {
	if s.node == nil || s.node.ID != id {
		return Node{}, fault.New(fault.NotFound, "not_found", "none")
	}
	return *s.node, nil
}

func (s *NodeStore) DeleteNode(context.Context, string) error { s.node = nil; return nil }

func (NodeStore) Revision(context.Context, string, int) (Revision, error) {
	return Revision{}, fault.New(fault.NotFound, "not_found", "none")
}

func (NodeStore) Aliases(context.Context, string) ([]Alias, error) { return nil, nil }

func (NodeStore) Revisions(context.Context, string) ([]Revision, error) { return nil, nil }

func (NodeStore) Checkpoint(context.Context, string, string) (Checkpoint, error) {
	return Checkpoint{}, fault.New(fault.NotFound, "not_found", "none")
}

func TestFollowersAreToldOfNodes(t *testing.T) {
	h := &Hub{Config: Config{Data: t.TempDir()}, Store: &NodeStore{node: &Node{ID: "digit-1", Project: "p", Name: "digit"}}, Log: slog.New(slog.DiscardHandler)}
	h.ctx = t.Context()
	h.nodes.h = h
	mine, stop := h.Follow("p")
	defer stop()
	theirs, stopTheirs := h.Follow("q")
	defer stopTheirs()
	next := func(what string) (v NodeView) {
		t.Helper()
		select {
		case e := <-mine:
			v, _ = e.Data.(NodeView)
			if e.Type != "node" || v.ID != "digit-1" || v.Project != "p" || v.Name != "digit" {
				t.Errorf("%s: %+v", what, e)
			}
		default:
			t.Errorf("%s: nothing is said", what)
		}
		return v
	}
	p := h.nodes.pool("p", target{"digit-1", 1})
	p.Put(&instance{h: h, done: make(chan struct{})})
	if v := next("an instance is there"); v.State != "running" || v.Instances != 1 || v.Gone {
		t.Errorf("%+v", v)
	}
	if err := h.DeleteNode(t.Context(), Project{ID: "q"}, "digit-1"); fault.ClassOf(err) != fault.NotFound {
		t.Errorf("through another project: %v", err)
	}
	// Its instance was never started, so that there is nothing to end.
	p.Pool.Changed = nil
	h.nodes.served = nil
	if err := h.DeleteNode(t.Context(), Project{ID: "p"}, "digit-1"); err != nil {
		t.Fatal(err)
	}
	if v := next("it is deleted"); !v.Gone {
		t.Errorf("%+v", v)
	}
	h.nodeChanged("digit-1")
	if len(mine)+len(theirs) != 0 {
		t.Errorf("%d more, %d in another project", len(mine), len(theirs))
	}
}

// What was counted of a node outlives its pools, and goes with the node.
func TestCountsOutliveAPause(t *testing.T) {
	h := &Hub{Store: &NodeStore{node: &Node{ID: "n"}}, Log: slog.New(slog.DiscardHandler)}
	h.ctx = t.Context()
	h.nodes.h = h
	for _, revision := range []int{1, 2} {
		p := h.nodes.pool("p", target{"n", revision})
		p.Start = func(context.Context) (node.Instance, error) { return nil, fault.New(fault.Unavailable, "none", "none") }
		for range revision {
			p.Call(t.Context(), func(net.Conn) error { return nil })
		}
	}
	check := func(what string, all, first, second int64) {
		t.Helper()
		for revision, want := range []int64{all, first, second} {
			if s := h.nodes.stats("n", revision); s.Calls != want || s.Errors != want {
				t.Errorf("%s: revision %d (0: all) has %d calls, %d errors, want %d", what, revision, s.Calls, s.Errors, want)
			}
		}
	}
	check("called", 3, 1, 2)
	h.nodes.drain(t.Context(), "n", 0)
	check("paused", 3, 1, 2)
	if s := h.nodes.stats("n", 0); s.LastError != "" {
		t.Errorf("paused, it has failed: %s", s.LastError)
	}
	h.nodes.drop("n")
	check("deleted", 0, 0, 0)
}
