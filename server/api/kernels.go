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
	add(x, del, "/projects/{p}/kernels/{k}/line", "Have a kernel wait for room no more", gone, func(ctx context.Context, in *InKernel) (*none, error) {
		l, err := x.kernel(ctx, *in)
		if err != nil {
			return nil, err
		}
		return nil, x.Hub.LeaveLine(l)
	})
	add(x, post, "/projects/{p}/kernels/{k}/interrupt", "Stop the cell that runs", gone, func(ctx context.Context, in *InKernel) (*none, error) {
		l, err := x.kernel(ctx, *in)
		if err != nil {
			return nil, err
		}
		return nil, l.Interrupt(ctx)
	})
	add(x, post, "/projects/{p}/kernels/{k}/awake", "Keep a kernel from hibernating by itself for a while", ok, func(ctx context.Context, in *struct {
		InKernel
		Body struct {
			Seconds int64 `json:"seconds" minimum:"0" maximum:"86400" doc:"from now on; 0 ends it"`
		}
	}) (*body[hub.View], error) {
		l, err := x.kernel(ctx, in.InKernel)
		if err != nil {
			return nil, err
		}
		until := time.Time{}
		if in.Body.Seconds > 0 {
			until = time.Now().Add(time.Duration(in.Body.Seconds) * time.Second)
		}
		err = l.KeepAwake(ctx, until)
		return &body[hub.View]{l.View()}, err
	})
	add(x, get, "/projects/{p}/kernels/{k}/variables", "List a kernel's variables, running no code of the person's and waking nothing", ok, func(ctx context.Context, in *InKernel) (*body[hub.Variables], error) {
		l, err := x.kernel(ctx, *in)
		if err != nil {
			return nil, err
		}
		v, err := l.Variables(ctx)
		return &body[hub.Variables]{v}, err
	})
	add(x, get, "/kernels", "List the kernels of all projects that I may open", ok, func(ctx context.Context, _ *none) (*body[list[kernelView]], error) {
		u, err := x.user(ctx)
		if err != nil {
			return nil, err
		}
		out, err := x.allKernels(ctx, u)
		return listOf(out), err
	})
}

// kernelView is a kernel in a list over several projects.
type kernelView struct {
	hub.View
	Project projectName `json:"project"`
	Owner   string      `json:"owner" doc:"name of the project's owner"`
	Running string      `json:"running_cell,omitempty" doc:"the cell that runs"`
	Waiting int         `json:"waiting_cells" doc:"how many wait behind it"`
}

type projectName struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

func (x *api) allKernels(ctx context.Context, u hub.User) ([]kernelView, error) {
	projects, err := x.Hub.ProjectsOf(ctx, u)
	if err != nil {
		return nil, err
	}
	people, err := x.Hub.Store.Users(ctx)
	if err != nil {
		return nil, err
	}
	names := map[string]string{}
	for _, p := range people {
		names[p.ID] = p.Name
	}
	var out []kernelView
	for _, p := range projects {
		for _, v := range x.Hub.ViewsOf(ctx, p.ID) {
			out = append(out, kernelView{v.View, projectName{p.ID, p.Name}, names[p.Owner], v.Running, v.Waiting})
		}
	}
	return out, nil
}
