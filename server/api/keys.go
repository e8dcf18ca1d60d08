package api

import (
	"context"
	"time"

	"cellar/server/hub"
)

// InKey is a request about a key of callers.
type InKey struct {
	InProject
	K string `path:"k" doc:"the key's ID"`
}

func (x *api) keys() {
	add(x, get, "/projects/{p}/keys", "List keys of callers", ok, func(ctx context.Context, in *struct {
		InProject
		For string `query:"for" doc:"only those for the node or alias with this ID"`
	}) (*body[list[hub.KeyView]], error) {
		_, p, err := x.project(ctx, in.P)
		if err != nil {
			return nil, err
		}
		return listOf(x.Hub.Keys(p.ID, in.For)), nil
	})
	add(x, post, "/projects/{p}/keys", "Make a key; its secret is told this once", made, func(ctx context.Context, in *struct {
		InProject
		Body hub.KeyRequest
	}) (*body[hub.KeyView], error) {
		u, p, err := x.project(ctx, in.P)
		if err != nil {
			return nil, err
		}
		v, err := x.Hub.AddKey(ctx, u, p, in.Body)
		return &body[hub.KeyView]{v}, err
	})
	add(x, put, "/projects/{p}/keys/{k}", "Change name, scope and limits of a key", ok, func(ctx context.Context, in *struct {
		InKey
		Body hub.KeyRequest
	}) (*body[hub.KeyView], error) {
		_, p, err := x.project(ctx, in.P)
		if err != nil {
			return nil, err
		}
		v, err := x.Hub.ChangeKey(ctx, p, in.K, in.Body)
		return &body[hub.KeyView]{v}, err
	})
	add(x, post, "/projects/{p}/keys/{k}/rotate", "Give a key a new secret, told this once", ok, func(ctx context.Context, in *struct {
		InKey
		Body struct {
			Overlap int `json:"overlap_seconds" minimum:"0" maximum:"2592000" doc:"how long the old secret stays good"`
		}
	}) (*body[hub.KeyView], error) {
		_, p, err := x.project(ctx, in.P)
		if err != nil {
			return nil, err
		}
		v, err := x.Hub.RotateKey(ctx, p, in.K, time.Duration(in.Body.Overlap)*time.Second)
		return &body[hub.KeyView]{v}, err
	})
	add(x, del, "/projects/{p}/keys/{k}", "Revoke a key", gone, func(ctx context.Context, in *InKey) (*none, error) {
		_, p, err := x.project(ctx, in.P)
		if err != nil {
			return nil, err
		}
		return nil, x.Hub.RevokeKey(ctx, p, in.K)
	})
}
