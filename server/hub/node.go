package hub

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"os"
	"time"

	"cellar/internal/fault"
	"cellar/node"
)

// NodeView is a node as the hub's API shows it.
type NodeView struct {
	ID            string       `json:"id"`
	Name          string       `json:"name"`
	Project       string       `json:"project"`
	State         string       `json:"state"` // idle starting running paused failed
	StateDetail   string       `json:"state_detail"`
	URL           string       `json:"url"`
	Notebook      string       `json:"notebook"`
	Cell          string       `json:"cell"`
	Configuration string       `json:"configuration"`
	Inputs        []node.Field `json:"inputs"`
	Outputs       []node.Field `json:"outputs"`
	Revision      int          `json:"revision" doc:"the current one, which answers calls that name none"`
	Instances     int          `json:"instances"`
	Calls         int64        `json:"calls"`
	Errors        int64        `json:"errors"`
	ColdStarts    int64        `json:"cold_starts"`
	CreatedAt     time.Time    `json:"created_at"`
	Active        int          `json:"active" doc:"calls that are answered now"`
	Gone          bool         `json:"gone,omitempty" doc:"in events only: the node was deleted"`
}

// NodeView returns what is shown of a node.
func (h *Hub) NodeView(ctx context.Context, n Node) NodeView {
	v := NodeView{ID: n.ID, Name: n.Name, Project: n.Project, State: "idle", URL: "/nodes/" + n.ID + "/execute", Revision: n.Current, CreatedAt: n.CreatedAt}
	if r, err := h.Store.Revision(ctx, n.ID, n.Current); err == nil {
		v.Notebook, v.Cell, v.Configuration = r.Notebook, r.Cell, r.Configuration
		json.Unmarshal(r.Inputs, &v.Inputs)
		json.Unmarshal(r.Outputs, &v.Outputs)
	} else if !errors.Is(err, fault.NotFound) {
		h.Log.Warn("a node is shown without its revision", "node", n.ID, "error", err)
	}
	s := h.nodes.stats(n.ID, 0)
	v.Instances, v.Calls, v.Errors, v.ColdStarts, v.Active, v.StateDetail = s.Instances, s.Calls, s.Errors, s.ColdStarts, s.Active, s.LastError
	switch {
	case n.Paused:
		v.State = "paused"
	case s.Starting:
		v.State = "starting"
	case s.Instances > 0:
		v.State = "running"
	case s.LastError != "":
		v.State = "failed"
	}
	return v
}

var errNoNode = fault.New(fault.NotFound, "node_not_found", "There is no node by that ID in this project.")

// CallNode runs one call on a revision of a node, 0 for its current one. body
// makes the call's JSON for the inputs of the revision.
func (h *Hub) CallNode(ctx context.Context, n Node, revision int, body func(inputs []node.Field) ([]byte, error)) (a Answer, err error) {
	// A pool is closed under a call when somebody pauses the node or deletes the
	// revision just now; the records then say what to do instead.
	for range 3 {
		if a, err = h.callOnce(ctx, n, revision, body); !errors.Is(err, node.ErrGone) {
			break
		}
		now, e := h.Store.Node(ctx, n.ID)
		if e != nil {
			return a, errors.Join(errNoNode, e)
		}
		n = now
	}
	return a, err
}

func (h *Hub) callOnce(ctx context.Context, n Node, revision int, body func([]node.Field) ([]byte, error)) (Answer, error) {
	if n.Paused {
		return Answer{Node: n}, fault.New(fault.Unavailable, "node_paused", "This node is paused.")
	}
	if revision == 0 {
		revision = n.Current
	}
	a := Answer{Node: n}
	r, err := h.revision(ctx, n, revision)
	if err != nil {
		return a, err
	}
	a.Revision = revision
	var inputs []node.Field
	if err := errors.Join(json.Unmarshal(r.Inputs, &inputs), json.Unmarshal(r.Outputs, &a.Fields)); err != nil {
		return a, err
	}
	input, err := body(inputs)
	if err == nil {
		err = node.CheckCall(inputs, input)
	}
	if err != nil {
		return a, err
	}
	pool := h.nodes.pool(n.Project, target{n.ID, revision})
	err = pool.Call(ctx, func(conn net.Conn) error {
		h.see(n.ID, pool.Stats())
		var err error
		a.Outputs, err = node.Call(ctx, conn, input)
		return err
	})
	return a, err
}

// PauseNode makes a node refuse calls, after those under way, or take them again.
func (h *Hub) PauseNode(ctx context.Context, n Node, paused bool) (NodeView, error) {
	release, err := h.nodes.deeds.take(ctx, n.ID)
	if err != nil {
		return NodeView{}, err
	}
	defer release()
	if n, err = h.Store.Node(ctx, n.ID); err != nil {
		return NodeView{}, err
	}
	n.Paused = paused
	ctx = context.WithoutCancel(ctx)
	if err := h.Store.PutNode(ctx, n); err != nil {
		return NodeView{}, err
	}
	h.nodeChanged(n.ID)
	if paused {
		h.nodes.drain(ctx, n.ID, 0)
		h.nodeChanged(n.ID)
	}
	return h.NodeView(ctx, n), nil
}

// DeleteNode removes a node that no alias leads to, and what it kept.
func (h *Hub) DeleteNode(ctx context.Context, p Project, id string) error {
	n, err := h.NodeOf(ctx, p, id)
	if err != nil {
		return err
	}
	list, err := h.forgetNode(ctx, n)
	if err != nil {
		return err
	}
	ctx = context.WithoutCancel(ctx)
	h.events.send(Event{Project: p.ID, Type: "node", Data: NodeView{ID: id, Name: n.Name, Project: p.ID, Gone: true}})
	h.nodes.drop(id)
	for _, r := range list {
		err = errors.Join(err, h.removeFiles(ctx, p, r))
	}
	return errors.Join(err, os.RemoveAll(h.nodeDir(id)))
}

// forgetNode deletes the records, while no alias can be led to the node, and
// answers which revisions it had.
func (h *Hub) forgetNode(ctx context.Context, n Node) ([]Revision, error) {
	release, err := h.nodes.deeds.take(ctx, "use/"+n.Project)
	if err != nil {
		return nil, err
	}
	defer release()
	if err := h.usedBy(ctx, n, 0); err != nil {
		return nil, err
	}
	ctx = context.WithoutCancel(ctx)
	list, err := h.Store.Revisions(ctx, n.ID)
	if err != nil {
		return nil, err
	}
	if err := h.Store.DeleteNode(ctx, n.ID); err != nil {
		return nil, err
	}
	if err := h.unscope(ctx, n.Project, n.ID); err != nil {
		h.Log.Warn("keys of a deleted node are left", "node", n.ID, "error", err)
	}
	return list, nil
}

// nodeChanged tells followers of a node's project how the node is now. One that
// is deleted says nothing any more.
func (h *Hub) nodeChanged(id string) {
	n, err := h.Store.Node(context.WithoutCancel(h.ctx), id)
	if err == nil {
		h.nodes.tell.Lock()
		defer h.nodes.tell.Unlock()
		h.events.send(Event{Project: n.Project, Type: "node", Data: h.NodeView(h.ctx, n)})
	} else if !errors.Is(err, fault.NotFound) {
		h.Log.Warn("followers are not told of a node", "node", id, "error", err)
	}
}

// NodeOf finds a node of a project.
func (h *Hub) NodeOf(ctx context.Context, p Project, id string) (Node, error) {
	n, err := h.Store.Node(ctx, id)
	if err == nil && n.Project != p.ID {
		err = errNoNode
	}
	return n, err
}
