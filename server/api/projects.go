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
}

func (x *api) projectOf(ctx context.Context, p hub.Project) projectView {
	v := projectView{ID: p.ID, Name: p.Name, CreatedAt: p.CreatedAt, URL: x.Base + "/projects/" + p.ID + "/", Kernels: map[string]int{"running": 0, "hibernated": 0}}
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

type configurationView struct {
	hub.Configuration
	Available bool `json:"available"`
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
	add(x, del, "/projects/{p}", "Delete a project with all that is in it", gone, func(ctx context.Context, in *InProject) (*none, error) {
		_, p, err := x.project(ctx, in.P)
		if err != nil {
			return nil, err
		}
		x.Gone(p.ID)
		return nil, x.Hub.DeleteProject(ctx, p)
	})
	add(x, get, "/configurations", "List configurations", ok, func(ctx context.Context, _ *none) (*body[list[configurationView]], error) {
		if _, err := x.user(ctx); err != nil {
			return nil, err
		}
		var out []configurationView
		for _, c := range x.Hub.Configurations {
			out = append(out, configurationView{c, x.Hub.Available(c)})
		}
		return listOf(out), nil
	})
}
