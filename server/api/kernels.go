package api

import (
	"context"
	"time"

	"cellar/kernel"
	"cellar/server/hub"
)

type InKernel struct {
	InProject
	K string `path:"k" doc:"the kernel's ID"`
}

func (x *api) kernel(ctx context.Context, in InKernel) (*hub.Live, error) {
	_, p, err := x.project(ctx, in.P)
	if err != nil {
		return nil, err
	}
	return x.Hub.Live(p.ID, kernel.ID(in.K))
}

func (x *api) kernels() {
	add(x, get, "/projects/{p}/kernels", "List kernels", ok, func(ctx context.Context, in *InProject) (*body[list[hub.View]], error) {
		_, p, err := x.project(ctx, in.P)
		if err != nil {
			return nil, err
		}
		var out []hub.View
		for _, l := range x.Hub.LiveOf(p.ID) {
			out = append(out, l.View())
		}
		return listOf(out), nil
	})
	add(x, get, "/projects/{p}/kernels/{k}", "Show a kernel", ok, func(ctx context.Context, in *InKernel) (*body[hub.View], error) {
		l, err := x.kernel(ctx, *in)
		if err != nil {
			return nil, err
		}
		return &body[hub.View]{l.View()}, nil
	})
	add(x, del, "/projects/{p}/kernels/{k}", "Shut a kernel down", gone, func(ctx context.Context, in *InKernel) (*none, error) {
		l, err := x.kernel(ctx, *in)
		if err != nil {
			return nil, err
		}
		return nil, x.Hub.Shutdown(ctx, l)
	})
	add(x, post, "/projects/{p}/kernels/{k}/switch", "Give a kernel another configuration, keeping its state", begun, func(ctx context.Context, in *struct {
		InKernel
		Body struct {
			Configuration string `json:"configuration"`
			Move          bool   `json:"move,omitempty" doc:"by checkpoint and restore into a new container"`
		}
	}) (*operationBody, error) {
		l, err := x.kernel(ctx, in.InKernel)
		if err != nil {
			return nil, err
		}
		if _, err := x.Hub.Offer(in.Body.Configuration); err != nil {
			return nil, err
		}
		return x.begin(ctx, in.P, "switch "+in.K, func(ctx context.Context, o *hub.Operation) (any, error) {
			if err := x.Hub.Switch(ctx, l, in.Body.Configuration, in.Body.Move, o); err != nil {
				return nil, err
			}
			return l.View(), nil
		}), nil
	})
	add(x, post, "/projects/{p}/kernels/{k}/hibernate", "Freeze a kernel and release what it holds", begun, func(ctx context.Context, in *InKernel) (*operationBody, error) {
		l, err := x.kernel(ctx, *in)
		if err != nil {
			return nil, err
		}
		return x.begin(ctx, in.P, "hibernate "+in.K, func(ctx context.Context, o *hub.Operation) (any, error) {
			c, err := x.Hub.Hibernate(ctx, l, o)
			return checkpointOf(c), err
		}), nil
	})
	add(x, post, "/projects/{p}/kernels/{k}/resume", "Bring a hibernated kernel back", begun, func(ctx context.Context, in *InKernel) (*operationBody, error) {
		l, err := x.kernel(ctx, *in)
		if err != nil {
			return nil, err
		}
		return x.begin(ctx, in.P, "resume "+in.K, func(ctx context.Context, o *hub.Operation) (any, error) {
			if err := x.Hub.Resume(ctx, l, o); err != nil {
				return nil, err
			}
			return l.View(), nil
		}), nil
	})
	add(x, get, "/projects/{p}/runs", "Runs of cells that the notebook's file does not carry yet, and those going on", ok, func(ctx context.Context, in *struct {
		InProject
		Path string `query:"path" doc:"the notebook"`
	}) (*body[list[hub.RunView]], error) {
		_, p, err := x.project(ctx, in.P)
		if err != nil {
			return nil, err
		}
		var out []hub.RunView
		for _, l := range x.Hub.LiveOf(p.ID) {
			out = append(out, l.Runs(in.Path)...)
		}
		return listOf(out), nil
	})
	add(x, get, "/projects/{p}/away", "Cells of a notebook that ended while nobody was there", ok, func(ctx context.Context, in *struct {
		InProject
		Path string `query:"path" doc:"the notebook"`
	}) (*body[list[hub.Away]], error) {
		_, p, err := x.project(ctx, in.P)
		if err != nil {
			return nil, err
		}
		return listOf(x.Hub.Away(p.ID, in.Path)), nil
	})
	add(x, del, "/projects/{p}/away", "Forget them: they were heard of", gone, func(ctx context.Context, in *struct {
		InProject
		Path string    `query:"path" doc:"the notebook"`
		UpTo time.Time `query:"up_to" doc:"those that ended later stay; not given: all go"`
	}) (*none, error) {
		_, p, err := x.project(ctx, in.P)
		if err != nil {
			return nil, err
		}
		if in.UpTo.IsZero() {
			in.UpTo = time.Now()
		}
		x.Hub.Back(p.ID, in.Path, in.UpTo)
		return nil, nil
	})
}
