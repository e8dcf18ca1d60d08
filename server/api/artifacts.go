package api

import (
	"context"
	"io"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"cellar/server/hub"
)

// artifactType is the media type of a checkpoint as a file.
const artifactType = "application/x-tar"

// Streamed is a request whose body is not read before it is wanted.
type Streamed struct{ body io.Reader }

// Resolve implements huma.Resolver.
func (s *Streamed) Resolve(ctx huma.Context) []error {
	s.body = ctx.BodyReader()
	return nil
}

func (x *api) artifacts() {
	add(x, get, "/projects/{p}/checkpoints/{c}/export", "Read a checkpoint as one file: an OCI image layout in a tar", ok, x.export)
	in := huma.Operation{
		OperationID: "import-checkpoint", Method: post, Path: "/checkpoints/import", Summary: "Make a project of a checkpoint that was exported; it is yours. The body is the file", DefaultStatus: begun,
		Security:    []map[string][]string{{"token": {}}, {"cookie": {}}},
		RequestBody: &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{artifactType: {Schema: &huma.Schema{Type: "string", Format: "binary"}}}},
	}
	huma.Register(x.API, in, func(ctx context.Context, in *struct {
		Streamed
		Name string `query:"name" maxLength:"200" doc:"of the project; the checkpoint's if left out"`
	}) (*operationBody, error) {
		out, err := x.importOne(ctx, in.body, in.Name)
		if err != nil {
			return nil, x.Fail(ctx, err)
		}
		return out, nil
	})
}

// export streams a checkpoint. What fails before the first byte is told; after it
// the line is cut.
func (x *api) export(ctx context.Context, in *struct {
	InCheckpoint
	State bool `query:"state" default:"true" doc:"with the kernel, and everything in its memory"`
}) (*huma.StreamResponse, error) {
	p, c, err := x.checkpoint(ctx, in.InCheckpoint)
	if err != nil {
		return nil, err
	}
	e, err := x.Hub.Export(ctx, p, c, in.State)
	if err != nil {
		return nil, err
	}
	return &huma.StreamResponse{Body: func(w huma.Context) {
		defer e.Close()
		w.SetHeader("Content-Type", artifactType)
		w.SetHeader("Content-Disposition", attachment(e.Name))
		w.SetHeader("Cache-Control", "private, no-store")
		w.SetHeader("X-Content-Type-Options", "nosniff")
		if e.Write(ctx, w.BodyWriter()) != nil {
			panic(http.ErrAbortHandler) // the status is gone
		}
	}}, nil
}

// importOne receives the file, while the caller waits, and makes a project of it.
func (x *api) importOne(ctx context.Context, body io.Reader, name string) (*operationBody, error) {
	u, err := x.user(ctx)
	if err != nil {
		return nil, err
	}
	a, err := x.Hub.Receive(ctx, u, body)
	if err != nil {
		return nil, err
	}
	o := x.Hub.Operations.BeginFor(ctx, u, "import of "+a.Digest(), func(ctx context.Context, o *hub.Operation) (any, error) {
		defer a.Close()
		f, err := x.Hub.Import(ctx, u, a, name, o)
		if err != nil {
			return nil, err
		}
		return forkedView{f, x.Base + "/projects/" + f.Project + "/"}, nil
	})
	s, _ := o.State()
	return &operationBody{s}, nil
}
