package api

import (
	"context"
	"time"

	"cellar/kernel"
	"cellar/server/hub"
)

type projectView struct {
	ID        string         `json:"id"`
	Name      string         `json:"name"`
	Owner     string         `json:"owner"`
	CreatedAt time.Time      `json:"created_at"`
	Kernels   map[string]int `json:"kernels" doc:"how many, by running and hibernated"`
	URL       string         `json:"url" doc:"base URL of the project's Jupyter server"`
	Autosave  string         `json:"autosave" doc:"when its kernels are kept by themselves: cell, idle or off; empty: as the operator chose"`
	IdleAfter int64          `json:"idle_after" doc:"seconds that a kernel does nothing before it hibernates; 0: as the operator chose"`
	IdleMost  int64          `json:"idle_most" doc:"what the operator chose, and the most; 0: never"`
}

func (x *api) projectOf(ctx context.Context, p hub.Project) projectView {
	v := projectView{ID: p.ID, Name: p.Name, CreatedAt: p.CreatedAt, URL: x.Base + "/projects/" + p.ID + "/", Kernels: map[string]int{"running": 0, "hibernated": 0},
		Autosave: p.Autosave, IdleAfter: int64(p.Idle / time.Second), IdleMost: int64(x.Hub.IdleAfter / time.Second)}
	if u, err := x.Hub.Store.UserByID(ctx, p.Owner); err == nil {
		v.Owner = u.Name
	}
	for _, l := range x.Hub.LiveOf(p.ID) {
		switch l.Record().State {
		case kernel.Hibernated:
			v.Kernels["hibernated"]++
		case kernel.Dead:
		default:
			v.Kernels["running"]++
		}
	}
	return v
}

func (x *api) projects() {
	add(x, get, "/projects", "List my projects", ok, func(ctx context.Context, _ *none) (*body[list[projectView]], error) {
		u, err := x.user(ctx)
		if err != nil {
			return nil, err
		}
		projects, err := x.Hub.ProjectsOf(ctx, u)
		var out []projectView
		for _, p := range projects {
			out = append(out, x.projectOf(ctx, p))
		}
		return listOf(out), err
	})
	add(x, post, "/projects", "Create a project", made, func(ctx context.Context, in *struct {
		Body struct {
			Name string `json:"name"`
		}
	}) (*body[projectView], error) {
		u, err := x.user(ctx)
		if err != nil {
			return nil, err
		}
		p, err := x.Hub.CreateProject(ctx, u, in.Body.Name, x.Seed)
		if err != nil {
			return nil, err
		}
		return &body[projectView]{x.projectOf(ctx, p)}, nil
	})
	add(x, get, "/projects/{p}", "Show a project", ok, func(ctx context.Context, in *InProject) (*body[projectView], error) {
		_, p, err := x.project(ctx, in.P)
		if err != nil {
			return nil, err
		}
		return &body[projectView]{x.projectOf(ctx, p)}, nil
	})
	add(x, patch, "/projects/{p}", "Change a project's name and settings", ok, func(ctx context.Context, in *struct {
		InProject
		Body struct {
			Name      *string `json:"name,omitempty"`
			Autosave  *string `json:"autosave,omitempty" enum:",cell,idle,off"`
			IdleAfter *int64  `json:"idle_after,omitempty" minimum:"0" maximum:"31536000"`
		}
	}) (*body[projectView], error) {
		_, p, err := x.project(ctx, in.P)
		if err != nil {
			return nil, err
		}
		s := hub.Settings{Name: in.Body.Name, Autosave: in.Body.Autosave}
		if in.Body.IdleAfter != nil {
			idle := time.Duration(*in.Body.IdleAfter) * time.Second
			s.Idle = &idle
		}
		p, err = x.Hub.ChangeProject(ctx, p, s)
		return &body[projectView]{x.projectOf(ctx, p)}, err
	})
	add(x, del, "/projects/{p}", "Delete a project with all that is in it", gone, func(ctx context.Context, in *InProject) (*none, error) {
		_, p, err := x.project(ctx, in.P)
		if err != nil {
			return nil, err
		}
		x.Gone(p.ID)
		return nil, x.Hub.DeleteProject(ctx, p)
	})
	add(x, get, "/projects/{p}/usage", "What a project and its owner take on the disk, and may take", ok, func(ctx context.Context, in *struct {
		InProject
		Fresh bool `query:"fresh" doc:"counted now; without it, within the last minute"`
	}) (*body[hub.UsageView], error) {
		_, p, err := x.project(ctx, in.P)
		if err != nil {
			return nil, err
		}
		u, err := x.Hub.Usage(ctx, p, in.Fresh)
		return &body[hub.UsageView]{u}, err
	})
	add(x, get, "/configurations", "List configurations", ok, func(ctx context.Context, in *struct {
		Kernel string `query:"kernel" doc:"ID of the kernel that would switch: what it holds counts as free"`
	}) (*body[list[hub.Offered]], error) {
		if _, err := x.user(ctx); err != nil {
			return nil, err
		}
		return listOf(x.Hub.Offers(kernel.ID(in.Kernel))), nil
	})
	add(x, get, "/availability", "What is free on the machine", ok, func(ctx context.Context, _ *none) (*body[hub.Free], error) {
		if _, err := x.user(ctx); err != nil {
			return nil, err
		}
		f, err := x.Hub.Free(ctx)
		return &body[hub.Free]{f}, err
	})
}
