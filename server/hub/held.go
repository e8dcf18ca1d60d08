package hub

import (
	"context"
	"os"
	"path"
	"slices"
	"strings"

	"cellar/checkpoint/criu"
	"cellar/checkpoint/tree"
)

// heldPrefix begins the folders of a home with files that frozen processes have
// mapped and that are nowhere else any more: a package was upgraded, or removed.
const heldPrefix = "held-"

// held is next and, for files of packages that it does not find, what the
// checkpoint id keeps: it is written into a folder of its own in the home.
func (h *Hub) held(ctx context.Context, project, id string, next criu.Moved) criu.Moved {
	var s *tree.Snapshot
	opened := false
	return func(name string, size uint64) string {
		if now := next(name, size); now != "" {
			return now
		}
		rel, ok := strings.CutPrefix(name, homeTarget+"/")
		if !ok || !slices.ContainsFunc(packagePlaces, func(place string) bool { return strings.HasPrefix(rel, place+"/") }) {
			return ""
		}
		if !opened {
			opened = true
			if c, err := h.Store.Checkpoint(ctx, project, id); err == nil && c.Files.State == FilesThere {
				s, _ = h.KeptFiles(ctx, c)
			}
		}
		e, found := s.Find(topPackages + "/" + rel)
		if !found || !e.HasContent() || uint64(e.Size) != size {
			return ""
		}
		to := path.Join(asideTop, heldPrefix+id, rel)
		if err := h.layHeld(ctx, project, s, e, to); err != nil {
			h.Log.Warn("file that a frozen process holds not brought back", "project", project, "checkpoint", id, "error", err)
			return ""
		}
		return path.Join(homeTarget, to)
	}
}

func (h *Hub) layHeld(ctx context.Context, project string, s *tree.Snapshot, e tree.Entry, to string) error {
	p, err := h.Store.Project(ctx, project)
	if err != nil {
		return err
	}
	root, err := h.home(p)
	if err != nil {
		return err
	}
	defer root.Close()
	_, err = s.Restore(ctx, e, tree.Target{Root: root, Owner: p.FileOwner(), Present: tree.Replace}, to)
	return err
}

// tidyHeld removes folders of held files that no checkpoint needs. What runs may
// have them mapped: then all stay.
func (h *Hub) tidyHeld(ctx context.Context, p Project, root *os.Root) error {
	f, err := openAside(root)
	if err != nil {
		return nil
	}
	defer f.Close()
	names, _ := f.Readdirnames(maxAsides)
	names = slices.DeleteFunc(names, func(name string) bool { return !strings.HasPrefix(name, heldPrefix) })
	if len(names) == 0 || h.running(p.ID) > 0 {
		return nil
	}
	list, err := h.Store.Checkpoints(ctx, p.ID)
	if err != nil {
		return err
	}
	needed := map[string]bool{}
	for _, c := range list {
		var held []criu.Held
		if err := h.heldDump(ctx, c, func(dump string) (err error) { held, err = criu.Holds(dump); return err }); err != nil {
			return err
		}
		for _, one := range held {
			if rest, ok := strings.CutPrefix(one.Name, path.Join(homeTarget, asideTop)+"/"); ok {
				name, _, _ := strings.Cut(rest, "/")
				needed[name] = true
			}
		}
	}
	for _, name := range names {
		if needed[name] {
			continue
		}
		if err := root.RemoveAll(path.Join(asideTop, name)); err != nil {
			return err
		}
	}
	return nil
}
