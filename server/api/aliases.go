package api

import (
	"context"

	"cellar/server/hub"
)

// InAlias is a request about an alias.
type InAlias struct {
	InProject
	A string `path:"a" doc:"the alias's name or ID"`
}

func (x *api) alias(ctx context.Context, in *InAlias) (hub.User, hub.Project, hub.Alias, error) {
	u, p, err := x.project(ctx, in.P)
	if err != nil {
		return u, p, hub.Alias{}, err
	}
	a, err := x.Hub.AliasOf(ctx, p, in.A)
	return u, p, a, err
}

// view makes an alias's address that of this server.
func (x *api) aliasView(v hub.AliasView) hub.AliasView {
	v.URL = x.Base + v.URL
	return v
}

func (x *api) aliases() {
	add(x, get, "/projects/{p}/aliases", "List aliases", ok, func(ctx context.Context, in *InProject) (*body[list[hub.AliasView]], error) {
		_, p, err := x.project(ctx, in.P)
		if err != nil {
			return nil, err
		}
		aliases, err := x.Hub.Store.Aliases(ctx, p.ID)
		var out []hub.AliasView
		for _, a := range aliases {
			out = append(out, x.aliasView(x.Hub.AliasView(ctx, a)))
		}
		return listOf(out), err
	})
	add(x, get, "/projects/{p}/aliases/{a}", "Show an alias", ok, func(ctx context.Context, in *InAlias) (*body[hub.AliasView], error) {
		_, _, a, err := x.alias(ctx, in)
		if err != nil {
			return nil, err
		}
		return &body[hub.AliasView]{x.aliasView(x.Hub.AliasView(ctx, a))}, nil
	})
	add(x, put, "/projects/{p}/aliases/{a}", "Make an alias, or let one lead elsewhere", begun, func(ctx context.Context, in *struct {
		InAlias
		Body hub.AliasRequest
	}) (*operationBody, error) {
		u, p, err := x.project(ctx, in.P)
		if err != nil {
			return nil, err
		}
		if _, err := x.Hub.CheckAlias(ctx, p, in.A, in.Body); err != nil {
			return nil, err
		}
		return x.begin(ctx, in.P, "alias "+in.A, func(ctx context.Context, o *hub.Operation) (any, error) {
			v, err := x.Hub.SetAlias(ctx, u, p, in.A, in.Body, o)
			return x.aliasView(v), err
		}), nil
	})
	add(x, get, "/projects/{p}/aliases/{a}/history", "List the settings of an alias, the one in force first", ok, func(ctx context.Context, in *InAlias) (*body[list[hub.SettingView]], error) {
		_, _, a, err := x.alias(ctx, in)
		if err != nil {
			return nil, err
		}
		out, err := x.Hub.AliasHistory(ctx, a)
		return listOf(out), err
	})
	add(x, post, "/projects/{p}/aliases/{a}/rollback", "Put a former setting in force again", begun, func(ctx context.Context, in *struct {
		InAlias
		Body struct {
			Setting int `json:"setting,omitempty" minimum:"1" doc:"left out: the one before"`
		}
	}) (*operationBody, error) {
		u, p, a, err := x.alias(ctx, &in.InAlias)
		if err != nil {
			return nil, err
		}
		return x.begin(ctx, in.P, "rollback alias "+a.Name, func(ctx context.Context, o *hub.Operation) (any, error) {
			v, err := x.Hub.RestoreAlias(ctx, u, p, a, in.Body.Setting, o)
			return x.aliasView(v), err
		}), nil
	})
	add(x, get, "/projects/{p}/aliases/{a}/figures", "The last hour of an alias, by the minute", ok, func(ctx context.Context, in *InAlias) (*body[list[hub.Minute]], error) {
		_, _, a, err := x.alias(ctx, in)
		if err != nil {
			return nil, err
		}
		return listOf(x.Hub.FiguresOf(a.ID)), nil
	})
	add(x, del, "/projects/{p}/aliases/{a}", "Delete an alias", gone, func(ctx context.Context, in *InAlias) (*none, error) {
		_, _, a, err := x.alias(ctx, in)
		if err != nil {
			return nil, err
		}
		if err := x.Hub.DeleteAlias(ctx, a); err != nil {
			return nil, err
		}
		x.AliasGone(a.ID)
		return nil, nil
	})
}
