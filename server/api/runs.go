package api

import (
	"context"
	"time"

	"cellar/server/hub"
)

// InNotebook names a notebook of a project.
type InNotebook struct {
	InProject
	Path string `query:"path" doc:"the notebook"`
}

func (x *api) runs() {
	add(x, get, "/projects/{p}/runs", "Runs of cells that the notebook's file does not carry yet, and those going on", ok, func(ctx context.Context, in *InNotebook) (*body[list[hub.RunView]], error) {
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
	add(x, get, "/projects/{p}/away", "Cells of a notebook that ended while nobody was there", ok, func(ctx context.Context, in *InNotebook) (*body[list[hub.Away]], error) {
		_, p, err := x.project(ctx, in.P)
		if err != nil {
			return nil, err
		}
		return listOf(x.Hub.Away(p.ID, in.Path)), nil
	})
	add(x, del, "/projects/{p}/away", "Forget them: they were heard of", gone, func(ctx context.Context, in *struct {
		InNotebook
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
	add(x, get, "/projects/{p}/timings", "How long the cells of a notebook took when they were run last, and how much memory the kernel needed", ok, func(ctx context.Context, in *InNotebook) (*body[list[hub.Timing]], error) {
		_, p, err := x.project(ctx, in.P)
		if err != nil {
			return nil, err
		}
		return listOf(x.Hub.Timings(p.ID, in.Path)), nil
	})
}
