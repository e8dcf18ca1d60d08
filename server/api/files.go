package api

import (
	"context"
	"io"
	"mime"
	"path"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"

	"cellar/internal/fault"
	"cellar/server/hub"
)

// filesView is what is kept of a checkpoint's files, in short.
type filesView struct {
	State    string     `json:"state" enum:"none,pending,kept,failed"`
	Begun    *time.Time `json:"begun,omitempty" doc:"each file is as it was at some moment between this"`
	Ended    *time.Time `json:"ended,omitempty" doc:"and this"`
	Files    int        `json:"files" doc:"how many are kept"`
	Bytes    int64      `json:"bytes"`
	Left     int        `json:"left_out" doc:"how many are listed only: too large, sockets ..."`
	Torn     int        `json:"torn" doc:"how many changed while they were read"`
	Cut      bool       `json:"cut" doc:"there were more than can be listed"`
	Added    int64      `json:"added_bytes" doc:"what they take beside all that was stored before"`
	Packages int        `json:"packages" doc:"how many the person had installed"`
	Detail   string     `json:"detail,omitempty"`
}

func filesViewOf(f hub.FilesKept) filesView {
	v := filesView{State: f.State, Files: f.Files, Bytes: f.Bytes, Left: f.Left, Torn: f.Torn, Cut: f.Cut, Added: f.Added, Packages: f.Packages, Detail: f.Detail}
	if v.State == "" {
		v.State = "none"
	}
	if !f.Ended.IsZero() {
		begun, ended := f.Begun.UTC(), f.Ended.UTC()
		v.Begun, v.Ended = &begun, &ended
	}
	return v
}

// InFile names a path of a checkpoint.
type InFile struct {
	Path string `query:"path" maxLength:"4096" doc:"below the project"`
	Raw  string `query:"raw" maxLength:"8192" doc:"instead of path: the same in base64"`
}

func (x *api) files() {
	add(x, get, "/projects/{p}/checkpoints/{c}/files", "List the project's files as they were at a checkpoint", ok, func(ctx context.Context, in *struct {
		InCheckpoint
		After string `query:"after" maxLength:"8192" doc:"those that follow this path, in base64: next of the answer before"`
	}) (*body[hub.FileList], error) {
		_, c, err := x.checkpoint(ctx, in.InCheckpoint)
		if err != nil {
			return nil, err
		}
		after, err := hub.FilePath("", in.After)
		if err != nil {
			return nil, err
		}
		list, err := x.Hub.ListFiles(ctx, c, after)
		return &body[hub.FileList]{list}, err
	})
	add(x, get, "/projects/{p}/checkpoints/{c}/files/changes", "How the project's files differ from those of a checkpoint", ok, func(ctx context.Context, in *struct {
		InCheckpoint
		Now string `query:"now" maxLength:"64" doc:"a checkpoint to compare with, instead of the present"`
	}) (*body[hub.FileChanges], error) {
		p, c, err := x.checkpoint(ctx, in.InCheckpoint)
		if err != nil {
			return nil, err
		}
		if in.Now == "" {
			out, err := x.Hub.FilesSince(ctx, p, c)
			return &body[hub.FileChanges]{out}, err
		}
		to, err := x.Hub.Store.Checkpoint(ctx, p.ID, in.Now)
		if err != nil {
			return nil, err
		}
		out, err := x.Hub.FilesBetween(ctx, c, to)
		return &body[hub.FileChanges]{out}, err
	})
	add(x, post, "/projects/{p}/checkpoints/{c}/files/restore", "Bring one file of a checkpoint back", ok, func(ctx context.Context, in *struct {
		InCheckpoint
		Body struct {
			Path    string `json:"path,omitempty" maxLength:"4096"`
			Raw     string `json:"raw,omitempty" maxLength:"8192" doc:"instead of path: the same in base64"`
			To      string `json:"to,omitempty" maxLength:"4096" doc:"under this path, not its own"`
			Present string `json:"present,omitempty" enum:"refuse,keep,replace" doc:"what becomes of a file that is there: nothing is done (refuse, the default), it gets the name \"NAME (before restore).EXT\", or it goes"`
		}
	}) (*body[hub.RestoredFile], error) {
		p, c, err := x.checkpoint(ctx, in.InCheckpoint)
		if err != nil {
			return nil, err
		}
		name, err := hub.FilePath(in.Body.Path, in.Body.Raw)
		if err != nil {
			return nil, err
		}
		out, err := x.Hub.RestoreFile(ctx, p, c, name, in.Body.To, in.Body.Present)
		return &body[hub.RestoredFile]{out}, err
	})
	add(x, get, "/projects/{p}/versions", "List the earlier versions of a file that checkpoints have, newest first", ok, func(ctx context.Context, in *struct {
		InProject
		InFile
	}) (*body[list[hub.Version]], error) {
		_, p, err := x.project(ctx, in.P)
		if err != nil {
			return nil, err
		}
		name, err := hub.FilePath(in.Path, in.Raw)
		if err != nil {
			return nil, err
		}
		out, err := x.Hub.Versions(ctx, p, name)
		return listOf(out), err
	})
	add(x, get, "/projects/{p}/checkpoints/{c}/files/content", "Read one file as it was at a checkpoint", ok, x.content)
}

// content streams a file. It is a stranger's: no browser is to run what is in it.
func (x *api) content(ctx context.Context, in *struct {
	InCheckpoint
	InFile
}) (*huma.StreamResponse, error) {
	_, c, err := x.checkpoint(ctx, in.InCheckpoint)
	if err != nil {
		return nil, err
	}
	name, err := hub.FilePath(in.Path, in.Raw)
	if err != nil {
		return nil, err
	}
	r, v, err := x.Hub.OpenKept(ctx, c, name)
	if err != nil {
		return nil, err
	}
	first := make([]byte, min(v.Size, 64<<10)) // what is damaged at once is told as an error
	if _, err := io.ReadFull(r, first); err != nil {
		return nil, fault.Wrap(fault.Unavailable, "files_damaged", "What is kept of this file cannot be read.", err)
	}
	return &huma.StreamResponse{Body: func(w huma.Context) {
		w.SetHeader("Content-Type", "application/octet-stream")
		w.SetHeader("Content-Length", strconv.FormatInt(v.Size, 10))
		w.SetHeader("Content-Disposition", attachment(path.Base(name)))
		w.SetHeader("X-Content-Type-Options", "nosniff")
		w.SetHeader("Content-Security-Policy", "sandbox; default-src 'none'")
		w.SetHeader("Cache-Control", "private, no-store")
		if _, err := w.BodyWriter().Write(first); err == nil {
			io.Copy(w.BodyWriter(), r) // too short: who reads it sees that by its length
		}
	}}, nil
}

// attachment is the header that has a browser save what follows under a name.
func attachment(name string) string {
	if !utf8.ValidString(name) {
		name = strings.ToValidUTF8(name, "_")
	}
	return mime.FormatMediaType("attachment", map[string]string{"filename": name})
}
