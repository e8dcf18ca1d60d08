package api

import (
	"context"
	"time"

	"cellar/internal/fault"
	"cellar/server/hub"
)

type webhookView struct {
	URL            string        `json:"url" doc:"empty: none is set"`
	HasSecret      bool          `json:"has_secret"`
	MinimalSeconds float64       `json:"minimal_seconds"`
	When           string        `json:"when" enum:"always,failure"`
	CreatedAt      time.Time     `json:"created_at"`
	UpdatedAt      time.Time     `json:"updated_at"`
	Last           *deliveryView `json:"last_delivery" doc:"the newest message; null: none yet"`
}

type deliveryView struct {
	ID       string     `json:"id"`
	State    string     `json:"state" enum:"pending,done,failed"`
	MadeAt   time.Time  `json:"created_at"`
	At       *time.Time `json:"attempted_at"`
	Attempts int        `json:"attempts"`
	Status   int        `json:"status" doc:"of the last answer; 0: nobody answered"`
	Error    string     `json:"error,omitempty"`
}

func webhookOf(w hub.Webhook, d hub.Delivery) webhookView {
	v := webhookView{URL: w.URL, HasSecret: w.Secret != "", MinimalSeconds: w.Minimal.Seconds(), When: "always", CreatedAt: w.CreatedAt, UpdatedAt: w.UpdatedAt}
	if w.OnlyFailures {
		v.When = "failure"
	}
	if d.ID != "" {
		v.Last = &deliveryView{ID: d.ID, State: d.State, MadeAt: d.CreatedAt, Attempts: d.Attempts, Status: d.Status, Error: d.Error}
		if !d.At.IsZero() {
			v.Last.At = &d.At
		}
	}
	return v
}

type testView struct {
	Delivered bool   `json:"delivered"`
	Status    int    `json:"status" doc:"of the answer; 0: nobody answered"`
	Error     string `json:"error,omitempty"`
}

// defaultMinimal is how long a cell takes at least that is told of, if a project
// says nothing else.
const defaultMinimal = time.Minute

func (x *api) webhook() {
	const path = "/projects/{p}/webhook"
	add(x, get, path, "Show where long cells are told of when nobody is there", ok, func(ctx context.Context, in *InProject) (*body[webhookView], error) {
		_, p, err := x.project(ctx, in.P)
		if err != nil {
			return nil, err
		}
		w, last, err := x.Hub.Webhook(ctx, p.ID)
		if fault.CodeOf(err) == "webhook_not_set" { // what a page asks on every visit is no error
			w, err = hub.Webhook{Minimal: defaultMinimal}, nil
		}
		if err != nil {
			return nil, err
		}
		return &body[webhookView]{webhookOf(w, last)}, nil
	})
	add(x, put, path, "Set it", ok, func(ctx context.Context, in *struct {
		InProject
		Body struct {
			URL            string  `json:"url"`
			Secret         *string `json:"secret,omitempty" doc:"signs what is sent; left out: the present one stays; empty: nothing is signed"`
			MinimalSeconds float64 `json:"minimal_seconds,omitempty" minimum:"0" maximum:"86400" default:"60" doc:"only runs that take as long"`
			When           string  `json:"when,omitempty" enum:"always,failure" default:"always"`
		}
	}) (*body[webhookView], error) {
		_, p, err := x.project(ctx, in.P)
		if err != nil {
			return nil, err
		}
		w, err := x.Hub.SetWebhook(ctx, hub.Webhook{
			Project: p.ID, URL: in.Body.URL, Minimal: time.Duration(in.Body.MinimalSeconds * float64(time.Second)), OnlyFailures: in.Body.When == "failure",
		}, in.Body.Secret)
		if err != nil {
			return nil, err
		}
		_, last, err := x.Hub.Webhook(ctx, p.ID)
		return &body[webhookView]{webhookOf(w, last)}, err
	})
	add(x, del, path, "Remove it, and what waits for it", gone, func(ctx context.Context, in *InProject) (*none, error) {
		_, p, err := x.project(ctx, in.P)
		if err != nil {
			return nil, err
		}
		return nil, x.Hub.DeleteWebhook(ctx, p.ID)
	})
	add(x, post, path+"/test", "Send a message now, once", ok, func(ctx context.Context, in *InProject) (*body[testView], error) {
		_, p, err := x.project(ctx, in.P)
		if err != nil {
			return nil, err
		}
		status, err := x.Hub.TestWebhook(ctx, p)
		if c := fault.CodeOf(err); c == "webhook_not_set" || c == "webhooks_off" {
			return nil, err
		}
		v := testView{Delivered: err == nil && status >= 200 && status < 300, Status: status}
		if err != nil {
			v.Error = fault.Sentence(err)
		}
		return &body[testView]{v}, nil
	})
}
