package api

import (
	"context"

	"cellar/server/hub"
)

// InRevision is a request about a revision of a node.
type InRevision struct {
	InNode
	R int `path:"r" minimum:"1" doc:"the revision's number"`
}

func (x *api) revisions() {
	add(x, get, "/projects/{p}/nodes/{n}/revisions", "List revisions of a node, newest first", ok, func(ctx context.Context, in *InNode) (*body[list[hub.RevisionView]], error) {
		_, n, err := x.node(ctx, in)
		if err != nil {
			return nil, err
		}
		out, err := x.Hub.Revisions(ctx, n)
		return listOf(out), err
	})
	add(x, get, "/projects/{p}/nodes/{n}/revisions/{r}", "Show a revision", ok, func(ctx context.Context, in *InRevision) (*body[hub.RevisionView], error) {
		_, n, err := x.node(ctx, &in.InNode)
		if err != nil {
			return nil, err
		}
		v, err := x.Hub.RevisionOf(ctx, n, in.R)
		return &body[hub.RevisionView]{v}, err
	})
	add(x, post, "/projects/{p}/nodes/{n}/revisions", "Make a revision with the state of another and a new configuration", begun, func(ctx context.Context, in *struct {
		InNode
		Body hub.Reconfiguration
	}) (*operationBody, error) {
		u, _, err := x.project(ctx, in.P)
		if err != nil {
			return nil, err
		}
		_, n, err := x.node(ctx, &in.InNode)
		if err != nil {
			return nil, err
		}
		return x.begin(ctx, in.P, "reconfigure "+n.Name, func(ctx context.Context, o *hub.Operation) (any, error) {
			return x.Hub.Reconfigure(ctx, u, n, in.Body, o)
		}), nil
	})
	add(x, post, "/projects/{p}/nodes/{n}/rollback", "Make another revision current", begun, func(ctx context.Context, in *struct {
		InNode
		Body struct {
			Revision int `json:"revision,omitempty" minimum:"1" doc:"left out: the newest that is older than the current one"`
		}
	}) (*operationBody, error) {
		_, n, err := x.node(ctx, &in.InNode)
		if err != nil {
			return nil, err
		}
		to, err := x.Hub.RollbackTo(ctx, n, in.Body.Revision)
		if err != nil {
			return nil, err
		}
		return x.begin(ctx, in.P, "rollback "+n.Name, func(ctx context.Context, o *hub.Operation) (any, error) {
			return x.Hub.SetCurrent(ctx, n, to, o)
		}), nil
	})
	add(x, del, "/projects/{p}/nodes/{n}/revisions/{r}", "Delete a revision that nothing uses", gone, func(ctx context.Context, in *InRevision) (*none, error) {
		p, n, err := x.node(ctx, &in.InNode)
		if err != nil {
			return nil, err
		}
		return nil, x.Hub.DeleteRevision(ctx, p, n, in.R)
	})
}
