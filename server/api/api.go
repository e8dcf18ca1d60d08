// Package api is the hub's own REST API, /api/v1: typed handlers from which the
// OpenAPI document is made. It knows no cookies and no tokens.
package api

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"cellar/internal/fault"
	"cellar/server/hub"
)

// Deps are what the handlers work on.
type Deps struct {
	Hub  *hub.Hub
	Who  func(context.Context) (hub.User, bool)
	By   func(context.Context) (login []byte, from string) // the hash of the login a request came by, nil for none; its address
	Seed func(dir string) error                            // puts the tour into a new project
	Base string                                            // path prefix of the server
	// Doctor checks the machine.
	Doctor func(context.Context) []Finding
	// Gone drops what the server holds for a deleted project.
	Gone func(project string)
	// NodeGone and AliasGone drop what the server has counted of deleted ones.
	NodeGone, AliasGone func(id string)
	// Fail turns an error into one that huma answers with.
	Fail func(context.Context, error) error
}

// Finding is one result of looking at the machine.
type Finding struct {
	Code   string `json:"code" doc:"stable name"`
	Status string `json:"status" enum:"ok,warn,fail"`
	Title  string `json:"title"`
	Detail string `json:"detail"`
	Fix    string `json:"fix,omitempty"`
}

type api struct {
	Deps
	huma.API
}

// Register adds all routes to a.
func Register(a huma.API, d Deps) {
	x := &api{d, a}
	a.UseMiddleware(x.door)
	x.people()
	x.projects()
	x.packages()
	x.kernels()
	x.runs()
	x.webhook()
	x.checkpoints()
	x.files()
	x.artifacts()
	x.shares()
	x.nodes()
	x.aliases()
	x.keys()
	x.units()
	x.operations()
}

// list is the form of every list.
type list[T any] struct {
	Items []T `json:"items"`
}

type body[T any] struct{ Body T }

func listOf[T any](items []T) *body[list[T]] {
	if items == nil {
		items = []T{}
	}
	return &body[list[T]]{list[T]{items}}
}

var errNotSignedIn = fault.New(fault.Denied, "not_signed_in", "Sign in first.")
var errAdmin = fault.New(fault.Denied, "not_administrator", "Only an administrator may do this.")

func (x *api) user(ctx context.Context) (hub.User, error) {
	u, ok := x.Who(ctx)
	if !ok {
		return u, errNotSignedIn
	}
	return u, nil
}

func (x *api) admin(ctx context.Context) (hub.User, error) {
	u, err := x.user(ctx)
	if err == nil && !u.Admin {
		err = errAdmin
	}
	return u, err
}

func (x *api) project(ctx context.Context, id string) (hub.User, hub.Project, error) {
	u, err := x.user(ctx)
	if err != nil {
		return u, hub.Project{}, err
	}
	p, err := x.Hub.MayOpen(ctx, u, id)
	return u, p, err
}

// add registers one operation; errors of fn become problems.
func add[I, O any](x *api, method, path, summary string, status int, fn func(context.Context, *I) (*O, error)) {
	huma.Register(x.API, huma.Operation{
		OperationID: huma.GenerateOperationID(method, path, new(O)), Method: method, Path: path, Summary: summary, DefaultStatus: status,
		MaxBodyBytes: 1 << 20, BodyReadTimeout: 30 * time.Second,
		Security: []map[string][]string{{"token": {}}, {"cookie": {}}},
	}, func(ctx context.Context, in *I) (*O, error) {
		out, err := fn(ctx, in)
		if err != nil {
			return nil, x.Fail(ctx, err)
		}
		return out, nil
	})
}

// door is before every operation, and before its body is looked at: only who is
// signed in comes in, and into a project only who may open it. Operations ask
// again as they look things up; this is so that none can forget to.
func (x *api) door(ctx huma.Context, next func(huma.Context)) {
	u, err := x.user(ctx.Context())
	if id := ctx.Param("p"); err == nil && id != "" {
		_, err = x.Hub.MayOpen(ctx.Context(), u, id)
	}
	if err != nil {
		x.refuse(ctx, err)
		return
	}
	next(ctx)
}

// refuse answers with an error before an operation has begun.
func (x *api) refuse(ctx huma.Context, err error) {
	err = x.Fail(ctx.Context(), err)
	status := http.StatusInternalServerError
	if known, ok := err.(huma.StatusError); ok {
		status = known.GetStatus()
	}
	huma.WriteErr(x.API, ctx, status, err.Error(), err)
}

type none struct{}

// InProject, InKernel and the like are exported only because huma looks at no
// others when they are embedded.
type InProject struct {
	P string `path:"p" doc:"the project's ID"`
}

type operationBody = body[hub.OperationState]

// begin starts an operation and answers with its first state.
func (x *api) begin(ctx context.Context, project, what string, do func(context.Context, *hub.Operation) (any, error)) *operationBody {
	s, _ := x.Hub.Operations.Begin(ctx, project, what, do).State()
	return &operationBody{s}
}

const (
	get   = http.MethodGet
	post  = http.MethodPost
	put   = http.MethodPut
	del   = http.MethodDelete
	patch = http.MethodPatch
	ok    = http.StatusOK
	made  = http.StatusCreated
	begun = http.StatusAccepted
	gone  = http.StatusNoContent
)
