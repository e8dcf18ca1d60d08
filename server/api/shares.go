package api

import (
	"context"
	"path"
	"time"

	"cellar/server/hub"
)

// InShare is a request about a link of a project.
type InShare struct {
	InProject
	S string `path:"s" doc:"the link's ID"`
}

// madeShare is a share that was made: its address is told this once.
type madeShare struct {
	hub.ShareView
	URL string `json:"url" doc:"path of the page on this server; its secret is in no other answer"`
}

// sharedView is a share as those see it with whom it is shared.
type sharedView struct {
	ID        string     `json:"id"`
	Name      string     `json:"name"`
	Notebook  string     `json:"notebook" doc:"the name of its file"`
	Owner     string     `json:"owner"`
	Copies    string     `json:"copies" enum:"notebook,files,state" doc:"what a copy has"`
	At        *time.Time `json:"at" doc:"of when it is; null: of now"`
	CreatedAt time.Time  `json:"created_at"`
	ExpiresAt *time.Time `json:"expires_at" doc:"null: never"`
	URL       string     `json:"url"`
}

func (x *api) shares() {
	add(x, get, "/projects/{p}/shares", "List the links that share something of a project, newest first", ok, func(ctx context.Context, in *InProject) (*body[list[hub.ShareView]], error) {
		_, p, err := x.project(ctx, in.P)
		if err != nil {
			return nil, err
		}
		all, err := x.Hub.Shares(ctx, p)
		return listOf(all), err
	})
	add(x, post, "/projects/{p}/shares", "Share a notebook or a checkpoint by a link; its address is told this once", made, func(ctx context.Context, in *struct {
		InProject
		Body hub.ShareRequest
	}) (*body[madeShare], error) {
		u, p, err := x.project(ctx, in.P)
		if err != nil {
			return nil, err
		}
		v, err := x.Hub.AddShare(ctx, u, p, in.Body)
		return &body[madeShare]{madeShare{v, x.Base + "/s/" + v.Secret}}, err
	})
	add(x, del, "/projects/{p}/shares/{s}", "Revoke a link, at once", gone, func(ctx context.Context, in *InShare) (*none, error) {
		_, p, err := x.project(ctx, in.P)
		if err != nil {
			return nil, err
		}
		return nil, x.Hub.RevokeShare(ctx, p, in.S)
	})
	add(x, get, "/shared", "List what others share with me by name, newest first", ok, func(ctx context.Context, _ *none) (*body[list[sharedView]], error) {
		u, err := x.user(ctx)
		if err != nil {
			return nil, err
		}
		all, err := x.Hub.SharedWithMe(ctx, u)
		var out []sharedView
		for _, s := range all {
			out = append(out, x.sharedOf(s))
		}
		return listOf(out), err
	})
	add(x, post, "/shared/copy", "Make a project of what is shared; it is yours", begun, func(ctx context.Context, in *struct {
		Body struct {
			Secret string `json:"secret,omitempty" maxLength:"64" doc:"the last part of a link's address"`
			Share  string `json:"share,omitempty" maxLength:"64" doc:"or the ID of what is shared with me"`
			Name   string `json:"name" doc:"of the new project"`
		}
	}) (*operationBody, error) {
		u, err := x.user(ctx)
		if err != nil {
			return nil, err
		}
		_, from := x.By(ctx)
		var s hub.Shared
		if in.Body.Share != "" {
			s, err = x.Hub.SharedWith(ctx, u, in.Body.Share)
		} else {
			s, err = x.Hub.ByLink(ctx, hub.Visitor{User: u, SignedIn: true, From: from}, in.Body.Secret)
		}
		if err != nil {
			return nil, err
		}
		o := x.Hub.Operations.BeginFor(ctx, u, "copy of "+s.ID, func(ctx context.Context, o *hub.Operation) (any, error) {
			f, err := x.Hub.CopyShared(ctx, u, s, in.Body.Name, o)
			if err != nil {
				return nil, err
			}
			return forkedView{f, x.Base + "/projects/" + f.Project + "/"}, nil
		})
		state, _ := o.State()
		return &operationBody{state}, nil
	})
}

func (x *api) sharedOf(s hub.Shared) sharedView {
	v := sharedView{ID: s.ID, Name: s.Name, Notebook: path.Base(s.Notebook), Owner: s.Owner, Copies: s.Copies, CreatedAt: s.CreatedAt, URL: x.Base + "/shared/" + s.ID}
	if !s.At.IsZero() {
		v.At = &s.At
	}
	if !s.ExpiresAt.IsZero() {
		v.ExpiresAt = &s.ExpiresAt
	}
	return v
}
