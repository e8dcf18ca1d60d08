package api

import (
	"context"

	"cellar/server/hub"
)

// text is an answer that is no JSON.
type text struct {
	ContentType string `header:"Content-Type"`
	Disposition string `header:"Content-Disposition"`
	Body        []byte
}

func (x *api) packages() {
	add(x, get, "/projects/{p}/packages", "List installed packages: the person's own, and the image's", ok, func(ctx context.Context, in *struct {
		InProject
		Image string `query:"image" doc:"whose packages are listed beside one's own; not given: the first image's"`
	}) (*body[hub.Packages], error) {
		_, p, err := x.project(ctx, in.P)
		if err != nil {
			return nil, err
		}
		list, err := x.Hub.Packages(p, in.Image)
		return &body[hub.Packages]{list}, err
	})
	add(x, get, "/projects/{p}/packages/requirements.txt", "The person's own packages of Python, as pip reads them", ok, func(ctx context.Context, in *struct {
		InProject
		Language string `query:"language" default:"python" enum:"python,r"`
		All      bool   `query:"all" doc:"the image's too"`
	}) (*text, error) {
		_, p, err := x.project(ctx, in.P)
		if err != nil {
			return nil, err
		}
		s, err := x.Hub.Requirements(p, in.Language, in.All)
		return &text{"text/plain; charset=utf-8", `attachment; filename="requirements.txt"`, []byte(s)}, err
	})
	changing := func(path, summary, what string, do func(context.Context, hub.Project, *hub.Operation) (hub.Reset, error)) {
		add(x, post, path, summary, begun, func(ctx context.Context, in *InProject) (*operationBody, error) {
			_, p, err := x.project(ctx, in.P)
			if err != nil {
				return nil, err
			}
			return x.begin(ctx, in.P, what, func(ctx context.Context, o *hub.Operation) (any, error) {
				r, err := do(ctx, p, o)
				if err != nil {
					return nil, err
				}
				return r, nil
			}), nil
		})
	}
	changing("/projects/{p}/packages/reset", "Put the person's own packages aside: what is left is the image's", "reset packages", x.Hub.ResetPackages)
	changing("/projects/{p}/packages/restore", "Bring back what the last reset put aside", "restore packages", x.Hub.RestorePackages)
	add(x, del, "/projects/{p}/packages/aside", "Remove what resets put aside", gone, func(ctx context.Context, in *InProject) (*none, error) {
		_, p, err := x.project(ctx, in.P)
		if err != nil {
			return nil, err
		}
		return nil, x.Hub.ForgetPackages(ctx, p)
	})
}
