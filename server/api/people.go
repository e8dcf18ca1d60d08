package api

import (
	"context"
	"time"

	"cellar/server/hub"
)

type person struct {
	ID          string    `json:"id"`
	Name        string    `json:"name"`
	Admin       bool      `json:"admin"`
	HasPassword bool      `json:"has_password"`
	CreatedAt   time.Time `json:"created_at"`
	Password    string    `json:"password,omitempty" doc:"told once, to the administrator who adds the user"`
}

func personOf(u hub.User) person {
	return person{ID: u.ID, Name: u.Name, Admin: u.Admin, HasPassword: u.PasswordHash != "", CreatedAt: u.CreatedAt}
}

type tokenView struct {
	ID        string     `json:"id"`
	Name      string     `json:"name"`
	CreatedAt time.Time  `json:"created_at"`
	UsedAt    *time.Time `json:"used_at"`
	Token     string     `json:"token,omitempty" doc:"told once"`
}

func tokenOf(t hub.Token) tokenView {
	v := tokenView{ID: t.ID, Name: t.Name, CreatedAt: t.CreatedAt}
	if !t.UsedAt.IsZero() {
		v.UsedAt = &t.UsedAt
	}
	return v
}

func (x *api) people() {
	add(x, get, "/me", "Who am I", ok, func(ctx context.Context, _ *none) (*body[person], error) {
		u, err := x.user(ctx)
		return &body[person]{personOf(u)}, err
	})
	add(x, post, "/password", "Change my password; my other logins end", gone, func(ctx context.Context, in *struct {
		Body struct {
			Present  string `json:"present,omitempty" doc:"the password of now; may be left out only while there is none"`
			Password string `json:"password"`
		}
	}) (*none, error) {
		u, err := x.user(ctx)
		if err != nil {
			return nil, err
		}
		login, from := x.By(ctx)
		return nil, x.Hub.ChangePassword(ctx, u, from, in.Body.Present, in.Body.Password, login)
	})
	add(x, get, "/users", "List users", ok, func(ctx context.Context, _ *none) (*body[list[person]], error) {
		if _, err := x.admin(ctx); err != nil {
			return nil, err
		}
		users, err := x.Hub.Store.Users(ctx)
		var out []person
		for _, u := range users {
			out = append(out, personOf(u))
		}
		return listOf(out), err
	})
	add(x, post, "/users", "Add a user", made, func(ctx context.Context, in *struct {
		Body struct {
			Name  string `json:"name"`
			Admin bool   `json:"admin,omitempty"`
		}
	}) (*body[person], error) {
		if _, err := x.admin(ctx); err != nil {
			return nil, err
		}
		u, password, err := x.Hub.AddUser(ctx, in.Body.Name, in.Body.Admin)
		v := personOf(u)
		v.Password = password
		return &body[person]{v}, err
	})
	add(x, get, "/tokens", "List my API tokens", ok, func(ctx context.Context, _ *none) (*body[list[tokenView]], error) {
		u, err := x.user(ctx)
		if err != nil {
			return nil, err
		}
		tokens, err := x.Hub.Store.TokensOf(ctx, u.ID)
		var out []tokenView
		for _, t := range tokens {
			out = append(out, tokenOf(t))
		}
		return listOf(out), err
	})
	add(x, post, "/tokens", "Make an API token", made, func(ctx context.Context, in *struct {
		Body struct {
			Name string `json:"name,omitempty"`
		}
	}) (*body[tokenView], error) {
		u, err := x.user(ctx)
		if err != nil {
			return nil, err
		}
		t, secret, err := x.Hub.AddToken(ctx, u, in.Body.Name)
		v := tokenOf(t)
		v.Token = secret
		return &body[tokenView]{v}, err
	})
	add(x, del, "/tokens/{id}", "Revoke an API token", gone, func(ctx context.Context, in *struct {
		ID string `path:"id"`
	}) (*none, error) {
		u, err := x.user(ctx)
		if err != nil {
			return nil, err
		}
		return nil, x.Hub.Store.DeleteToken(ctx, u.ID, in.ID)
	})
	add(x, get, "/doctor", "Look at the machine", ok, func(ctx context.Context, _ *none) (*body[list[Finding]], error) {
		if _, err := x.admin(ctx); err != nil {
			return nil, err
		}
		return listOf(x.Doctor(ctx)), nil
	})
}
