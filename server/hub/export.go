package hub

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"cellar/checkpoint/artifact"
	"cellar/checkpoint/tree"
	"cellar/internal/fault"
)

// exported is what an artifact says of its checkpoint.
type exported struct {
	Version  int      `json:"version"`
	Project  string   `json:"project"` // its name
	Manifest manifest `json:"checkpoint"`
	// Of the process, for who thaws it.
	UIDBase uint32          `json:"uid_base,omitempty"` // of the project it was in
	Info    json.RawMessage `json:"kernel_info,omitempty"`
	// What is not in it, in words.
	Notes []string `json:"notes,omitempty"`
}

const exportVersion = 1

// Export is a checkpoint that can be written as one file.
type Export struct {
	Name string // of the file
	plan *artifact.Plan
	done func()
}

// Export makes an artifact of a checkpoint: notebook, files and packages, and with
// state the kernel too, or its variables, with everything in its memory. Call
// Close when it is written, or not.
func (h *Hub) Export(ctx context.Context, p Project, c Checkpoint, state bool) (_ *Export, err error) {
	if h.Archive == nil {
		return nil, fault.New(fault.Unsupported, "no_archive", "This server stores no checkpoints, and exports none.")
	}
	x := &exporting{h: h, c: c}
	config := exported{Version: exportVersion, Project: p.Name}
	if config.Manifest, err = h.description(ctx, c); err != nil {
		return nil, err
	}
	config.Manifest.Checkpoint = c
	done := func() {}
	if state {
		if done, err = h.borrowWhole(ctx, p.ID, c.ID); err != nil {
			return nil, err
		}
		config.UIDBase = p.UIDBase
		if l, err := h.Live(p.ID, c.Kernel); err == nil {
			config.Info = l.Info()
		}
		x.state()
	} else { // first values are in the lists
		config.Manifest.Variables, config.Manifest.Comms, config.Manifest.Portable = nil, nil, nil
		config.Notes = append(config.Notes, "The state of the kernel was not exported.")
	}
	if err := x.rest(ctx, &config); err != nil {
		done()
		return nil, err
	}
	b, err := json.Marshal(config)
	if err == nil {
		var release func()
		if release, err = h.exports.take(ctx, p.ID); err == nil {
			defer release()
		}
	}
	if err == nil {
		notes := map[string]string{"org.opencontainers.image.title": c.Name, "org.opencontainers.image.created": c.CreatedAt.UTC().Format("2006-01-02T15:04:05Z")}
		x.plan, err = artifact.Measure(ctx, b, x.parts, notes, func(digest string) (string, error) { return h.Archive.Sign(ctx, digest) })
	}
	if err != nil {
		done()
		return nil, err
	}
	return &Export{Name: slug(c.Name) + ".cellar.tar", plan: x.plan, done: done}, nil
}

// Size is about how many bytes are written.
func (e *Export) Size() int64 { return e.plan.Size() }

// Write writes it.
func (e *Export) Write(ctx context.Context, w io.Writer) error { return e.plan.Write(ctx, w) }

// Close lets go of the checkpoint.
func (e *Export) Close() { e.done() }

// exporting collects the parts of an artifact.
type exporting struct {
	h     *Hub
	c     Checkpoint
	parts []artifact.Part
	plan  *artifact.Plan
}

func (x *exporting) add(mediaType string, write func(context.Context, io.Writer) error) {
	x.parts = append(x.parts, artifact.Part{MediaType: mediaType, Write: write})
}

// rest adds what is no state: notebook, files and packages.
func (x *exporting) rest(ctx context.Context, config *exported) error {
	nb, err := x.h.keptNotebook(ctx, x.c, maxShared, errSharedLarge)
	switch {
	case err == nil:
		x.add(artifact.NotebookType, func(_ context.Context, w io.Writer) error { _, err := w.Write(nb); return err })
	case fault.CodeOf(err) != "no_notebook":
		return err
	}
	s, err := x.h.KeptFiles(ctx, x.c)
	if fault.CodeOf(err) == "no_files_kept" {
		config.Notes = append(config.Notes, fault.Sentence(err))
		return nil
	}
	if err != nil {
		return err
	}
	x.add(artifact.FilesType, packKept(s, topFiles))
	if !packagesWhole(s) {
		config.Notes = append(config.Notes, fault.Sentence(errPackagesNotKept))
		return nil
	}
	x.add(artifact.PackagesType, packKept(s, topPackages))
	return nil
}

// state adds the process, or the variables where that is all there is.
func (x *exporting) state() {
	dir := x.h.vaultDir(x.c.ID)
	if x.c.Kind == KindVariables {
		x.add(artifact.VariablesType, func(ctx context.Context, w io.Writer) error {
			f, err := os.Open(filepath.Join(dir, portableName))
			if err != nil {
				return err
			}
			defer f.Close()
			_, err = io.Copy(w, &whileWanted{ctx, f})
			return err
		})
		return
	}
	x.add(artifact.ProcessType, func(ctx context.Context, w io.Writer) error { return packFolder(ctx, w, dir, "dump", "journal") })
}

// packKept writes what a snapshot has below a top.
func packKept(s *tree.Snapshot, top string) func(context.Context, io.Writer) error {
	return func(ctx context.Context, w io.Writer) error {
		p, err := artifact.NewPacker(w)
		if err != nil {
			return err
		}
		for _, e := range s.Below(top) {
			rel, ok := e.Below(top)
			if !ok || e.Why != tree.Kept {
				continue
			}
			if err = ctx.Err(); err == nil {
				err = packEntry(ctx, p, s, e, rel)
			}
			if err != nil {
				p.Abort()
				return err
			}
		}
		return p.Close()
	}
}

func packEntry(ctx context.Context, p *artifact.Packer, s *tree.Snapshot, e tree.Entry, rel string) error {
	switch {
	case strings.ContainsRune(rel, 0):
		return nil
	case e.HasContent():
		return p.File(rel, os.FileMode(e.Mode), e.MtimeOf(), e.Size, s.Content(ctx, e))
	case e.Kind == tree.Folder:
		return p.Folder(rel, os.FileMode(e.Mode))
	case e.Kind == tree.Link:
		return p.Link(rel, e.Target)
	}
	return nil
}

// packFolder writes folders of the hub's own, in which nothing changes.
func packFolder(ctx context.Context, w io.Writer, dir string, names ...string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	p, err := artifact.NewPacker(w)
	if err != nil {
		return err
	}
	for _, name := range names {
		err := fs.WalkDir(root.FS(), name, func(name string, d fs.DirEntry, err error) error {
			if err == nil {
				err = ctx.Err()
			}
			if err != nil || !d.Type().IsRegular() {
				return err
			}
			f, err := root.Open(name)
			if err != nil {
				return err
			}
			defer f.Close()
			st, err := f.Stat()
			if err != nil {
				return err
			}
			return p.File(name, st.Mode(), st.ModTime(), st.Size(), f)
		})
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			p.Abort()
			return err
		}
	}
	return p.Close()
}

// whileWanted reads until its context ends.
type whileWanted struct {
	ctx context.Context
	r   io.Reader
}

func (r *whileWanted) Read(b []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(b)
}

// asNotebook checks that a file of a stranger's is a notebook.
func asNotebook(b []byte) bool {
	var nb struct {
		Cells  json.RawMessage `json:"cells"` // not one by one: there may be very many
		Format int             `json:"nbformat"`
	}
	return len(b) <= maxShared && json.Unmarshal(b, &nb) == nil && nb.Format >= 4 && bytes.HasPrefix(nb.Cells, []byte("["))
}
