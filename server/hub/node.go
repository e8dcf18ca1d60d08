package hub

import (
	"context"
	"crypto/subtle"
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
	Instances     int          `json:"instances"`
	Calls         int64        `json:"calls"`
	Errors        int64        `json:"errors"`
	ColdStarts    int64        `json:"cold_starts"`
	CreatedAt     time.Time    `json:"created_at"`
	Gone          bool         `json:"gone,omitempty" doc:"in events only: the node was deleted"`
}

// NodeView returns what is shown of a node.
func (h *Hub) NodeView(n Node) NodeView {
	v := NodeView{
		ID: n.ID, Name: n.Name, Project: n.Project, State: "idle", URL: "/nodes/" + n.ID + "/execute", Notebook: n.Notebook,
		Cell: n.Cell, Configuration: n.Configuration, CreatedAt: n.CreatedAt,
	}
	json.Unmarshal(n.Inputs, &v.Inputs)
	json.Unmarshal(n.Outputs, &v.Outputs)
	s := h.nodes.stats(n.ID)
	v.Instances, v.Calls, v.Errors, v.ColdStarts, v.StateDetail = s.Instances, s.Calls, s.Errors, s.ColdStarts, s.LastError
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

var errNoNode = fault.New(fault.NotFound, "node_not_found", "There is no node by that ID, or the key is not for it.")

// CheckKey finds a node that key may call. A wrong key and a wrong ID look the
// same.
func (h *Hub) CheckKey(ctx context.Context, id, key string) (Node, error) {
	n, err := h.Store.Node(ctx, id)
	if err != nil && !errors.Is(err, fault.NotFound) {
		return n, err
	}
	if err != nil || subtle.ConstantTimeCompare(HashSecret(key), n.KeyHash) != 1 {
		return Node{}, errNoNode
	}
	return n, nil
}

// CallNode runs one call on a node. body is the caller's JSON.
func (h *Hub) CallNode(ctx context.Context, n Node, body []byte) (json.RawMessage, error) {
	if n.Paused {
		return nil, fault.New(fault.Unavailable, "node_paused", "This node is paused.")
	}
	var inputs []node.Field
	if err := json.Unmarshal(n.Inputs, &inputs); err != nil {
		return nil, err
	}
	if err := node.CheckCall(inputs, body); err != nil {
		return nil, err
	}
	var out json.RawMessage
	err := h.nodes.pool(n).Call(ctx, func(conn net.Conn) error {
		var err error
		out, err = node.Call(ctx, conn, body)
		return err
	})
	return out, err
}

// DeleteNode removes a node and what it kept.
func (h *Hub) DeleteNode(ctx context.Context, p Project, id string) error {
	n, err := h.Store.Node(ctx, id)
	if err == nil && n.Project != p.ID {
		err = errNoNode
	}
	if err != nil {
		return err
	}
	ctx = context.WithoutCancel(ctx)
	if err := h.Store.DeleteNode(ctx, id); err != nil {
		return err
	}
	h.events.send(Event{Project: p.ID, Type: "node", Data: NodeView{ID: id, Name: n.Name, Project: p.ID, Gone: true}})
	h.nodes.drop(id)
	err = os.RemoveAll(h.nodeDir(id))
	if c, e := h.Store.Checkpoint(ctx, p.ID, n.Checkpoint); e == nil && c.Kind == KindPublish {
		err = errors.Join(err, h.DeleteCheckpoint(ctx, p.ID, c.ID))
	}
	return err
}

// nodeChanged tells followers of a node's project how the node is now. One that
// is deleted says nothing any more.
func (h *Hub) nodeChanged(id string) {
	n, err := h.Store.Node(context.WithoutCancel(h.ctx), id)
	if err == nil {
		h.nodes.tell.Lock()
		defer h.nodes.tell.Unlock()
		h.events.send(Event{Project: n.Project, Type: "node", Data: h.NodeView(n)})
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
