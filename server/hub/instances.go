package hub

import (
	"context"
	"sync"
	"time"

	"cellar/node"
)

// target is a revision of a node.
type target struct {
	node     string
	revision int
}

// instances are the pools of all revisions that were called since the hub
// started. One that nobody calls has none.
type instances struct {
	h      *Hub
	mu     sync.Mutex
	served map[string]*served // by node
	used   map[uint32]bool
	tell   sync.Mutex // one event at a time: the last one sent is the newest
	deeds  deeds
}

// served is what there is of one node, by revision.
type served struct {
	pools map[int]*pool
	past  map[int]node.Stats // of pools that were closed
}

type pool struct{ *node.Pool }

func (i *instances) pool(project string, t target) *pool {
	i.mu.Lock()
	defer i.mu.Unlock()
	of := i.served[t.node]
	if of == nil {
		if i.served == nil {
			i.served = map[string]*served{}
		}
		of = &served{map[int]*pool{}, map[int]node.Stats{}}
		i.served[t.node] = of
	}
	p := of.pools[t.revision]
	if p == nil {
		p = &pool{node.NewPool(func(ctx context.Context) (node.Instance, error) { return i.start(ctx, project, t) })}
		p.Changed = func() { i.h.nodeChanged(t.node) }
		of.pools[t.revision] = p
	}
	return p
}

// start makes an instance of what the records say now: a pool may be older.
func (i *instances) start(ctx context.Context, project string, t target) (node.Instance, error) {
	r, err := i.h.Store.Revision(ctx, t.node, t.revision)
	if err != nil {
		return nil, err
	}
	inst, err := i.h.startInstance(ctx, Node{ID: t.node, Project: project}, r)
	if err != nil {
		return nil, err // not a nil *instance in an interface
	}
	return inst, nil
}

// take takes away the pools of a node, or of one revision of it.
func (i *instances) take(id string, revision int) (out []*pool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	of := i.served[id]
	if of == nil {
		return nil
	}
	for number, p := range of.pools {
		if revision != 0 && number != revision {
			continue
		}
		out = append(out, p)
		delete(of.pools, number)
		of.past[number] = sum(of.past[number], lasting(p.Stats()))
	}
	return out
}

// sum adds up what pools have to tell.
func sum(a, b node.Stats) node.Stats {
	a.Calls, a.Errors, a.ColdStarts = a.Calls+b.Calls, a.Errors+b.Errors, a.ColdStarts+b.ColdStarts
	a.Instances, a.Active, a.Starting = a.Instances+b.Instances, a.Active+b.Active, a.Starting || b.Starting
	if b.LastError != "" {
		a.LastError = b.LastError
	}
	return a
}

// lasting is what stays true of a pool that is closed.
func lasting(s node.Stats) node.Stats {
	return node.Stats{Calls: s.Calls, Errors: s.Errors, ColdStarts: s.ColdStarts}
}

// drop ends all instances of a node that is deleted, with the calls that are in
// them.
func (i *instances) drop(id string) {
	for _, p := range i.take(id, 0) {
		p.Close()
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	delete(i.served, id)
}

// dropRevision ends the instances of one revision.
func (i *instances) dropRevision(id string, revision int) {
	for _, p := range i.take(id, revision) {
		p.Close()
	}
}

// drain lets calls under way end, and then the instances of a node or of one
// revision (0: all).
func (i *instances) drain(ctx context.Context, id string, revision int) {
	ctx, cancel := context.WithTimeout(ctx, drainLimit)
	defer cancel()
	for _, p := range i.take(id, revision) {
		p.Drain(ctx)
	}
}

// drainLimit is more than a call may take.
const drainLimit = 70 * time.Second

// stats adds up what the revisions of a node (0: all, else one) have to tell.
func (i *instances) stats(id string, revision int) (s node.Stats) {
	i.mu.Lock()
	defer i.mu.Unlock()
	of := i.served[id]
	if of == nil {
		return s
	}
	for number, past := range of.past {
		if revision == 0 || number == revision {
			s = sum(s, past)
		}
	}
	for number, p := range of.pools {
		if revision == 0 || number == revision {
			s = sum(s, p.Stats())
		}
	}
	return s
}

func (i *instances) all() []*pool {
	i.mu.Lock()
	defer i.mu.Unlock()
	var out []*pool
	for _, of := range i.served {
		for _, p := range of.pools {
			out = append(out, p)
		}
	}
	return out
}

func (i *instances) sweep() {
	for _, p := range i.all() {
		p.Sweep(i.h.NodeIdleAfter)
	}
}

func (i *instances) close() {
	for _, p := range i.all() {
		p.Close()
	}
}

func (i *instances) addresses() (out []uint32) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for n := range i.used {
		out = append(out, n)
	}
	return out
}

func (i *instances) use(n uint32, used bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.used == nil {
		i.used = map[uint32]bool{}
	}
	if i.used[n] = used; !used {
		delete(i.used, n)
	}
}
