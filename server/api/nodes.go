package api

import (
	"context"

	"cellar/server/hub"
)

func (x *api) nodes() {
	add(x, get, "/projects/{p}/nodes", "List nodes", ok, func(ctx context.Context, in *InProject) (*body[list[hub.NodeView]], error) {
		_, p, err := x.project(ctx, in.P)
		if err != nil {
			return nil, err
		}
		nodes, err := x.Hub.Store.Nodes(ctx, p.ID)
		var out []hub.NodeView
		for _, n := range nodes {
			out = append(out, x.Hub.NodeView(ctx, n))
		}
		return listOf(out), err
	})
	add(x, post, "/projects/{p}/nodes/describe", "What a cell takes and gives", ok, func(ctx context.Context, in *struct {
		InProject
		Body hub.Source
	}) (*body[hub.Described], error) {
		_, p, err := x.project(ctx, in.P)
		if err != nil {
			return nil, err
		}
		d, err := x.Hub.Describe(ctx, p, in.Body)
		return &body[hub.Described]{d}, err
	})
	add(x, post, "/projects/{p}/nodes", "Publish a cell with the kernel's state of this moment", begun, func(ctx context.Context, in *struct {
		InProject
		Body hub.Publication
	}) (*operationBody, error) {
		u, p, err := x.project(ctx, in.P)
		if err != nil {
			return nil, err
		}
		if err := in.Body.Check(); err != nil {
			return nil, err
		}
		return x.begin(ctx, in.P, "publish "+in.Body.Name, func(ctx context.Context, o *hub.Operation) (any, error) {
			n, err := x.Hub.Publish(ctx, u, p, in.Body, o)
			if err != nil {
				return nil, err
			}
			n.URL = x.Base + n.URL
			return n, nil
		}), nil
	})
	add(x, get, "/projects/{p}/nodes/{n}", "Show a node", ok, func(ctx context.Context, in *InNode) (*body[hub.NodeView], error) {
		_, n, err := x.node(ctx, in)
		if err != nil {
			return nil, err
		}
		return &body[hub.NodeView]{x.Hub.NodeView(ctx, n)}, nil
	})
	add(x, del, "/projects/{p}/nodes/{n}", "Delete a node", gone, func(ctx context.Context, in *InNode) (*none, error) {
		p, n, err := x.node(ctx, in)
		if err != nil {
			return nil, err
		}
		if err := x.Hub.DeleteNode(ctx, p, n.ID); err != nil {
			return nil, err
		}
		x.NodeGone(n.ID)
		return nil, nil
	})
	add(x, get, "/projects/{p}/nodes/{n}/figures", "The last hour of a node, by the minute", ok, func(ctx context.Context, in *InNode) (*body[list[hub.Minute]], error) {
		_, n, err := x.node(ctx, in)
		if err != nil {
			return nil, err
		}
		return listOf(x.Hub.FiguresOf(n.ID)), nil
	})
	for deed, paused := range map[string]bool{"pause": true, "resume": false} {
		add(x, post, "/projects/{p}/nodes/{n}/"+deed, map[bool]string{true: "Refuse calls of a node, after those under way", false: "Take calls again"}[paused], ok,
			func(ctx context.Context, in *InNode) (*body[hub.NodeView], error) {
				_, n, err := x.node(ctx, in)
				if err != nil {
					return nil, err
				}
				v, err := x.Hub.PauseNode(ctx, n, paused)
				return &body[hub.NodeView]{v}, err
			})
	}
	x.revisions()
}

// InNode is a request about a node.
type InNode struct {
	InProject
	N string `path:"n" doc:"the node's ID, or its name where no other has it"`
}

func (x *api) node(ctx context.Context, in *InNode) (hub.Project, hub.Node, error) {
	_, p, err := x.project(ctx, in.P)
	if err != nil {
		return p, hub.Node{}, err
	}
	n, err := x.Hub.NodeNamed(ctx, p, in.N)
	return p, n, err
}
