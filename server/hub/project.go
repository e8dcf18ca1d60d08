package hub

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
	"unicode"

	"golang.org/x/text/unicode/norm"

	"cellar/internal/fault"
)

const maxName = 200

// slug makes an ID of a name: lower-case letters and digits of any script, with
// hyphens between; accents are dropped where a plain letter remains.
func slug(name string) string {
	var b strings.Builder
	dash := false
	for _, r := range norm.NFKD.String(strings.ToLower(name)) {
		switch {
		case unicode.Is(unicode.Mn, r):
		case unicode.IsLetter(r) || unicode.IsDigit(r):
			if dash && b.Len() > 0 {
				b.WriteByte('-')
			}
			dash = false
			b.WriteRune(r)
		default:
			dash = true
		}
		if b.Len() >= 60 {
			break
		}
	}
	if b.Len() == 0 {
		return "project"
	}
	return norm.NFC.String(b.String())
}

// checkName refuses names that cannot be shown.
func checkName(name string) (string, error) {
	name = strings.TrimSpace(name)
	if name == "" {
		return "", fault.New(fault.Invalid, "name_missing", "A name is needed.")
	}
	if len(name) > maxName {
		return "", fault.Newf(fault.Invalid, "name_too_long", "The name may have %d bytes at most.", maxName)
	}
	for _, r := range name {
		if unicode.IsControl(r) || r == unicode.ReplacementChar {
			return "", fault.New(fault.Invalid, "name_invalid", "The name has characters that cannot be shown.")
		}
	}
	return name, nil
}

// CreateProject makes a project for its owner. A taken ID gets -2, -3 ...
func (h *Hub) CreateProject(ctx context.Context, owner User, name string, seed func(dir string) error) (Project, error) {
	return h.createProject(ctx, Project{Name: name, Owner: owner.ID}, seed)
}

// createProject is CreateProject for one with more than a name.
func (h *Hub) createProject(ctx context.Context, like Project, seed func(dir string) error) (Project, error) {
	var err error
	if like.Name, err = checkName(like.Name); err != nil {
		return Project{}, err
	}
	if err := h.mayGrow(ctx, like.Owner, "", 1); err != nil {
		return Project{}, err
	}
	base := slug(like.Name)
	for n := 1; n < 1000; n++ {
		id := base
		if n > 1 {
			id = fmt.Sprintf("%s-%d", base, n)
		}
		like.ID, like.CreatedAt = id, time.Now()
		p, err := h.Store.AddProject(ctx, like)
		if errors.Is(err, fault.Conflict) {
			continue
		}
		if err != nil {
			return p, err
		}
		if err = h.prepareProject(p); err == nil && seed != nil {
			if err = seed(h.FilesDir(p.ID)); err == nil {
				err = h.own(p, h.FilesDir(p.ID))
			}
		}
		if err != nil {
			undo := context.WithoutCancel(ctx)
			return p, errors.Join(err, h.Store.DeleteProject(undo, id), os.RemoveAll(h.projectDir(id)))
		}
		return p, nil
	}
	return Project{}, fault.New(fault.Conflict, "name_taken", "There are too many projects of that name.")
}

// MayOpen finds a project for a person. One that is not theirs is not there.
func (h *Hub) MayOpen(ctx context.Context, u User, id string) (Project, error) {
	p, err := h.Store.Project(ctx, id)
	if err == nil && p.Owner != u.ID && !u.Admin {
		err = errNoProject
	}
	if errors.Is(err, fault.NotFound) {
		return Project{}, errNoProject
	}
	return p, err
}

var errNoProject = fault.New(fault.NotFound, "project_not_found", "There is no project by that name.")

// ProjectsOf lists what a person may open.
func (h *Hub) ProjectsOf(ctx context.Context, u User) ([]Project, error) {
	list, err := h.Store.Projects(ctx)
	if err != nil || u.Admin {
		return list, err
	}
	var out []Project
	for _, p := range list {
		if p.Owner == u.ID {
			out = append(out, p)
		}
	}
	return out, nil
}

// DeleteProject removes a project with all that is in it.
func (h *Hub) DeleteProject(ctx context.Context, p Project) error {
	ctx = context.WithoutCancel(ctx)
	for _, l := range h.LiveOf(p.ID) {
		if err := h.Shutdown(ctx, l); err != nil {
			return err
		}
	}
	if err := errors.Join(h.endShells(ctx, p), h.endLanguages(ctx, p.ID)); err != nil {
		return err
	}
	aliases, err := h.Store.Aliases(ctx, p.ID)
	if err != nil {
		return err
	}
	for _, a := range aliases {
		if err := h.DeleteAlias(ctx, a); err != nil {
			return err
		}
	}
	nodes, err := h.Store.Nodes(ctx, p.ID)
	if err != nil {
		return err
	}
	for _, n := range nodes {
		if err := h.DeleteNode(ctx, p, n.ID); err != nil {
			return err
		}
	}
	list, err := h.Store.Checkpoints(ctx, p.ID)
	if err != nil {
		return err
	}
	if err := h.Store.DeleteProject(ctx, p.ID); err != nil {
		return err
	}
	h.forgetUnits(p.ID)
	for _, c := range list {
		if err := h.forget(ctx, p.Owner, c); err != nil {
			h.Log.Error("checkpoint of a deleted project not removed", "checkpoint", c.ID, "error", err)
		}
	}
	return os.RemoveAll(h.projectDir(p.ID))
}

func (h *Hub) projectDir(id string) string { return filepath.Join(h.Data, "projects", id) }

// FilesDir is the folder with a project's files.
func (h *Hub) FilesDir(id string) string { return filepath.Join(h.projectDir(id), "files") }

// homeDir is the kernels' home: packages and settings that persist.
func (h *Hub) homeDir(id string) string { return filepath.Join(h.projectDir(id), "home") }

// LabDir is where the lab's settings and workspaces of a project are.
func (h *Hub) LabDir(id string) string { return filepath.Join(h.projectDir(id), "lab") }

// FileOwner is the machine's user that a project's files belong to.
func (p Project) FileOwner() int { return int(p.UIDBase) + kernelUID }

func (h *Hub) prepareProject(p Project) error {
	for _, dir := range []string{h.FilesDir(p.ID), h.homeDir(p.ID)} {
		if err := h.makeOwned(p, dir); err != nil {
			return err
		}
	}
	return os.MkdirAll(h.LabDir(p.ID), 0o700)
}

// makeOwned makes a folder that belongs to the project's user. Its parents are
// the hub's own.
func (h *Hub) makeOwned(p Project, dir string) error {
	if err := os.MkdirAll(filepath.Dir(dir), 0o711); err != nil {
		return err
	}
	err := os.Mkdir(dir, 0o755)
	if errors.Is(err, os.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return os.Lchown(dir, p.FileOwner(), p.FileOwner())
}

// own gives all below dir to the project's user; nothing in it is foreign yet.
func (h *Hub) own(p Project, dir string) error {
	return filepath.WalkDir(dir, func(name string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(name, p.FileOwner(), p.FileOwner())
	})
}
