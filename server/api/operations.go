package api

import (
	"context"
	"io"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/sse"

	"cellar/server/hub"
)

type InOperation struct {
	ID string `path:"id"`
}

// operation finds an operation that the person may see: one of their projects.
func (x *api) operation(ctx context.Context, id string) (*hub.Operation, error) {
	u, err := x.user(ctx)
	if err != nil {
		return nil, err
	}
	o, err := x.Hub.Operations.Get(id)
	if err != nil {
		return nil, err
	}
	if o.User != "" && o.User == u.ID {
		return o, nil
	}
	if _, err := x.Hub.MayOpen(ctx, u, o.Project); err != nil {
		_, err = x.Hub.Operations.Get("")
		return nil, err
	}
	return o, nil
}

// stream describes a stream of events that is refused before it begins: once it
// has, its status is 200 and nothing can be said any more. begin refuses it, or
// begins to listen: what happens from then on is sent, and end is called at last.
func (x *api) stream(id, path, summary string, begin func(huma.Context) (begun any, end func(), err error)) huma.Operation {
	return huma.Operation{
		OperationID: id, Method: get, Path: path, Summary: summary, Security: []map[string][]string{{"token": {}}, {"cookie": {}}},
		Middlewares: huma.Middlewares{func(ctx huma.Context, next func(huma.Context)) {
			begun, end, err := begin(ctx)
			if err != nil {
				x.refuse(ctx, err)
				return
			}
			defer end()
			// A comment: the follower knows at once that it follows, however long nothing happens.
			ctx.SetHeader("Content-Type", "text/event-stream")
			io.WriteString(ctx.BodyWriter(), ": following\n\n")
			if w, ok := ctx.BodyWriter().(http.ResponseWriter); ok {
				http.NewResponseController(w).Flush()
			}
			next(huma.WithValue(ctx, begunKey{}, begun))
		}},
	}
}

// begunKey is where a stream's handler finds what begin gave.
type begunKey struct{}

func (x *api) operations() {
	add(x, get, "/operations/{id}", "Show an operation", ok, func(ctx context.Context, in *InOperation) (*operationBody, error) {
		o, err := x.operation(ctx, in.ID)
		if err != nil {
			return nil, err
		}
		s, _ := o.State()
		return &operationBody{s}, nil
	})
	add(x, del, "/operations/{id}", "Cancel an operation; what it has done is undone", ok, func(ctx context.Context, in *InOperation) (*operationBody, error) {
		o, err := x.operation(ctx, in.ID)
		if err != nil {
			return nil, err
		}
		o.Cancel()
		s, _ := o.State()
		return &operationBody{s}, nil
	})
	sse.Register(x.API, x.stream("operation-events", "/operations/{id}/events", "Follow an operation", func(ctx huma.Context) (any, func(), error) {
		_, err := x.operation(ctx.Context(), ctx.Param("id"))
		return nil, func() {}, err
	}),
		map[string]any{"message": hub.OperationState{}}, func(ctx context.Context, in *InOperation, send sse.Sender) {
			o, err := x.operation(ctx, in.ID)
			if err != nil {
				send.Data(hub.OperationState{ID: in.ID, Done: true, Error: hub.FailureOf(err, in.ID)})
				return
			}
			for {
				s, changed := o.State()
				if send.Data(s) != nil || s.Done {
					return
				}
				select {
				case <-ctx.Done():
					return
				case <-changed:
				}
			}
		})
	type kernelEvent struct{ hub.View }
	type runEvent struct{ hub.RunView }
	type nodeEvent struct{ hub.NodeView }
	type restartedEvent struct{ hub.Restarted }
	type limitEvent struct{ hub.LimitNews }
	sse.Register(x.API, x.stream("project-events", "/projects/{p}/events", "Follow what happens in a project", func(ctx huma.Context) (any, func(), error) {
		_, p, err := x.project(ctx.Context(), ctx.Param("p"))
		if err != nil {
			return nil, nil, err
		}
		events, stop := x.Hub.Follow(p.ID)
		return events, stop, nil
	}),
		map[string]any{"kernel": kernelEvent{}, "run": runEvent{}, "node": nodeEvent{}, "restarted": restartedEvent{}, "limit": limitEvent{}}, func(ctx context.Context, in *InProject, send sse.Sender) {
			_, p, err := x.project(ctx, in.P)
			if err != nil {
				return
			}
			events, _ := ctx.Value(begunKey{}).(<-chan hub.Event)
			for _, l := range x.Hub.LiveOf(p.ID) {
				if send.Data(kernelEvent{l.View()}) != nil {
					return
				}
			}
			for {
				select {
				case <-ctx.Done():
					return
				case e := <-events:
					var data any
					switch v := e.Data.(type) {
					case hub.View:
						data = kernelEvent{v}
					case hub.RunView:
						data = runEvent{v}
					case hub.NodeView:
						data = nodeEvent{v}
					case hub.Restarted:
						data = restartedEvent{v}
					case hub.LimitNews:
						data = limitEvent{v}
					default:
						continue
					}
					if send.Data(data) != nil {
						return
					}
				}
			}
		})
}
