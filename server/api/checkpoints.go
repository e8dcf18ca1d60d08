package api

import (
	"context"
	"time"

	"cellar/kernel"
	"cellar/server/hub"
)

type checkpointView struct {
	ID         string    `json:"id"`
	Name       string    `json:"name"`
	Kernel     kernel.ID `json:"kernel"`
	Parent     string    `json:"parent" doc:"the checkpoint that the state came from; empty: none"`
	Kind       string    `json:"kind" enum:"auto,manual,hibernate,switch,rollback,publish,variables" doc:"variables: no process, but its variables one by one, for any Python kernel"`
	Notebook   string    `json:"notebook"`
	CreatedAt  time.Time `json:"created_at"`
	Size       int64     `json:"size" doc:"bytes"`
	AddedBytes int64     `json:"added_bytes" doc:"what it takes beside all that was stored before; its size, until it is stored"`
	Stored     bool      `json:"stored" doc:"compressed, encrypted, sharing with others what is equal; it takes a moment longer to come back"`
	Pinned     bool      `json:"pinned"`
	Files      filesView `json:"files" doc:"what is kept of the project's files"`
	AfterCell  string    `json:"after_cell,omitempty" doc:"the notebook's cell that had ended last"`
	AfterCount int       `json:"after_count,omitempty" doc:"its execution count; absent: not known"`
}

func checkpointOf(c hub.Checkpoint) checkpointView {
	return checkpointView{ID: c.ID, Name: c.Name, Kernel: c.Kernel, Parent: c.Parent, Kind: c.Kind, Notebook: c.Notebook, CreatedAt: c.CreatedAt, Size: c.Size, AddedBytes: c.Added, Stored: c.Stored, Pinned: c.Pinned, Files: filesViewOf(c.Files), AfterCell: c.After.Cell, AfterCount: c.After.Count}
}

// appliedView is a checkpoint that was applied.
type appliedView struct {
	checkpointView
	Applied hub.Applied `json:"applied"`
}

// forkedView is a project that was made from a checkpoint.
type forkedView struct {
	hub.Forked
	URL string `json:"url" doc:"base URL of the project's Jupyter server"`
}

// keptVariables is what comes of keeping variables one by one.
type keptVariables struct {
	checkpointView
	Report hub.Portable `json:"report"`
}

type InCheckpoint struct {
	InProject
	C string `path:"c" doc:"the checkpoint's ID"`
}

func (x *api) checkpoint(ctx context.Context, in InCheckpoint) (hub.Project, hub.Checkpoint, error) {
	_, p, err := x.project(ctx, in.P)
	if err != nil {
		return p, hub.Checkpoint{}, err
	}
	c, err := x.Hub.Store.Checkpoint(ctx, p.ID, in.C)
	return p, c, err
}

func (x *api) checkpoints() {
	add(x, get, "/projects/{p}/checkpoints", "List checkpoints, newest first", ok, func(ctx context.Context, in *struct {
		InProject
		Kernel string `query:"kernel" doc:"only those of this kernel"`
	}) (*body[list[checkpointView]], error) {
		_, p, err := x.project(ctx, in.P)
		if err != nil {
			return nil, err
		}
		all, err := x.Hub.Checkpoints(ctx, p.ID)
		var out []checkpointView
		for _, c := range all {
			if in.Kernel == "" || string(c.Kernel) == in.Kernel {
				out = append(out, checkpointOf(c))
			}
		}
		return listOf(out), err
	})
	add(x, get, "/projects/{p}/checkpoints/{c}", "Show a checkpoint", ok, func(ctx context.Context, in *InCheckpoint) (*body[checkpointView], error) {
		_, c, err := x.checkpoint(ctx, *in)
		return &body[checkpointView]{checkpointOf(c)}, err
	})
	add(x, post, "/projects/{p}/checkpoints", "Keep the state of a kernel", begun, func(ctx context.Context, in *struct {
		InProject
		Body struct {
			Kernel string `json:"kernel"`
			Name   string `json:"name,omitempty"`
			// Not a query: it makes another kind of thing.
			Variables bool `json:"variables,omitempty" doc:"only the variables, one by one: for an image or a machine where the process cannot go. The kernel must not run a cell"`
		}
	}) (*operationBody, error) {
		l, err := x.kernel(ctx, InKernel{in.InProject, in.Body.Kernel})
		if err != nil {
			return nil, err
		}
		return x.begin(ctx, in.P, "checkpoint "+in.Body.Kernel, func(ctx context.Context, o *hub.Operation) (any, error) {
			if in.Body.Variables {
				c, report, err := x.Hub.KeepVariables(ctx, l, in.Body.Name, o)
				return keptVariables{checkpointOf(c), report}, err
			}
			c, err := x.Hub.Keep(ctx, l, hub.KindManual, in.Body.Name, o)
			return checkpointOf(c), err
		}), nil
	})
	add(x, get, "/projects/{p}/checkpoints/{c}/changes", "What applying a checkpoint would change", ok, func(ctx context.Context, in *struct {
		InCheckpoint
		Now string `query:"now" maxLength:"64" doc:"a checkpoint to compare with, instead of the present"`
	}) (*body[hub.Changes], error) {
		p, c, err := x.checkpoint(ctx, in.InCheckpoint)
		if err != nil {
			return nil, err
		}
		if in.Now != "" {
			to, err := x.Hub.Store.Checkpoint(ctx, p.ID, in.Now)
			if err != nil {
				return nil, err
			}
			changes, err := x.Hub.ChangesTo(ctx, c, to)
			return &body[hub.Changes]{changes}, err
		}
		changes, err := x.Hub.Changes(ctx, p, c)
		return &body[hub.Changes]{changes}, err
	})
	add(x, post, "/projects/{p}/checkpoints/{c}/apply", "Go back to a checkpoint, in the kernel it came from", begun, func(ctx context.Context, in *struct {
		InCheckpoint
		Body struct {
			Notebook  bool `json:"notebook,omitempty" doc:"the notebook's text too"`
			Files     bool `json:"files,omitempty" doc:"the project's other files too, but for notebooks; what came since stays"`
			Notebooks bool `json:"notebooks,omitempty" doc:"the project's other notebooks too"`
			Packages  bool `json:"packages,omitempty" doc:"what was installed too; what is there is put aside, as by a reset"`
		}
	}) (*operationBody, error) {
		p, c, err := x.checkpoint(ctx, in.InCheckpoint)
		if err != nil {
			return nil, err
		}
		return x.begin(ctx, in.P, "apply "+in.C, func(ctx context.Context, o *hub.Operation) (any, error) {
			b := in.Body
			if c.Kind == hub.KindVariables {
				return x.Hub.BringVariables(ctx, p, c, b.Notebook, o)
			}
			applied, err := x.Hub.Apply(ctx, p, c, hub.Choice{Notebook: b.Notebook, Files: b.Files, Notebooks: b.Notebooks, Packages: b.Packages}, o)
			if err != nil {
				return nil, err
			}
			return appliedView{checkpointOf(c), applied}, nil
		}), nil
	})
	add(x, post, "/projects/{p}/checkpoints/{c}/branch", "Go on from a checkpoint in a second session, beside the first", begun, func(ctx context.Context, in *InCheckpoint) (*operationBody, error) {
		p, c, err := x.checkpoint(ctx, *in)
		if err != nil {
			return nil, err
		}
		return x.begin(ctx, in.P, "branch "+in.C, func(ctx context.Context, o *hub.Operation) (any, error) {
			return x.Hub.Branch(ctx, p, c, o)
		}), nil
	})
	add(x, post, "/projects/{p}/checkpoints/{c}/project", "Make a project of a checkpoint: kernel, notebook, files and packages; it is yours", begun, func(ctx context.Context, in *struct {
		InCheckpoint
		Body struct {
			Name string `json:"name"`
		}
	}) (*operationBody, error) {
		u, err := x.user(ctx)
		if err != nil {
			return nil, err
		}
		p, c, err := x.checkpoint(ctx, in.InCheckpoint)
		if err != nil {
			return nil, err
		}
		return x.begin(ctx, in.P, "project from "+in.C, func(ctx context.Context, o *hub.Operation) (any, error) {
			f, err := x.Hub.Fork(ctx, u, p, c, in.Body.Name, o)
			if err != nil {
				return nil, err
			}
			return forkedView{f, x.Base + "/projects/" + f.Project + "/"}, nil
		}), nil
	})
	add(x, patch, "/projects/{p}/checkpoints/{c}", "Rename a checkpoint, which also pins it", ok, func(ctx context.Context, in *struct {
		InCheckpoint
		Body struct {
			Name string `json:"name"`
		}
	}) (*body[checkpointView], error) {
		p, c, err := x.checkpoint(ctx, in.InCheckpoint)
		if err != nil {
			return nil, err
		}
		c, err = x.Hub.RenameCheckpoint(ctx, p.ID, c.ID, in.Body.Name)
		return &body[checkpointView]{checkpointOf(c)}, err
	})
	add(x, del, "/projects/{p}/checkpoints/{c}", "Delete a checkpoint", gone, func(ctx context.Context, in *InCheckpoint) (*none, error) {
		p, c, err := x.checkpoint(ctx, *in)
		if err != nil {
			return nil, err
		}
		return nil, x.Hub.DeleteCheckpoint(ctx, p.ID, c.ID)
	})
}
