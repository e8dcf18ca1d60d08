package hub

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path"
	"time"

	"cellar/checkpoint/tree"
	"cellar/internal/fault"
)

// packagesMoved is a change of a home's packages: what was there is aside, as
// after a reset, and something else is in its place.
type packagesMoved struct {
	Aside string   `json:"aside"`
	In    string   `json:"in"`  // where what comes is made
	Had   []string `json:"had"` // places that were there before
}

// incoming is where the packages of a checkpoint are laid out in a home.
func incoming(checkpoint string) string { return path.Join(asideTop, "incoming-"+checkpoint) }

// errPackagesNotKept is for checkpoints that have only the list.
var errPackagesNotKept = fault.New(fault.Unsupported, "packages_not_kept", "This checkpoint has a list of the packages, not the packages themselves: they are over the operator's limit. Install them from the list.")

// packagesWhole reports whether a snapshot has the packages, not only their list.
func packagesWhole(s *tree.Snapshot) bool {
	for _, e := range s.Below(topPackages) {
		if e.Why == tree.TooMuch || e.Why == tree.TooLarge {
			return false
		}
	}
	return len(s.Below(topPackages)) > 0 || len(packagesOf(s)) == 0
}

// bringPackages puts the packages of a checkpoint in the place of the present
// ones, which are put aside: who has imported them goes on with them.
func (h *Hub) bringPackages(ctx context.Context, p Project, l *Live, then, now *tree.Snapshot, b *bringing) error {
	if !packagesWhole(then) {
		return errPackagesNotKept
	}
	if list, err := tree.Compare(then.Below(topPackages), now.Below(topPackages), tree.SameKept); err != nil || len(list) == 0 {
		return err
	}
	leave, err := h.packages.enter(p.ID)
	if err != nil {
		return err
	}
	defer leave()
	root, err := h.home(p)
	if err != nil {
		return err
	}
	defer root.Close()
	m := packagesMoved{Aside: newAside(time.Now()), In: incoming(b.Checkpoint)}
	for _, place := range packagePlaces {
		if _, err := root.Lstat(place); err == nil {
			m.Had = append(m.Had, place)
		}
	}
	if err := root.RemoveAll(m.In); err != nil {
		return err
	}
	if err := layPackages(ctx, p, root, then, m.In); err != nil {
		return errors.Join(err, root.RemoveAll(m.In))
	}
	b.Packages = &m
	if err := l.writeBringing(*b); err != nil {
		return err
	}
	if err := h.step("apply.packages"); err != nil {
		return err
	}
	if err := m.forth(ctx, root); err != nil {
		return err
	}
	h.tidyAsides(ctx, p, root, m.Aside)
	return h.endLanguages(ctx, p.ID)
}

// layPackages writes packages below a folder of the home.
func layPackages(ctx context.Context, p Project, root *os.Root, s *tree.Snapshot, below string) error {
	if err := makeLike(root, below); err != nil {
		return err
	}
	in, err := root.OpenRoot(below)
	if err != nil {
		return err
	}
	defer in.Close()
	to := tree.Target{Root: in, Owner: p.FileOwner(), Present: tree.Replace}
	for _, e := range s.Below(topPackages) {
		rel, _ := e.Below(topPackages)
		if e.Why != tree.Kept { // a socket
			continue
		}
		if _, err := s.Restore(ctx, e, to, rel); err != nil {
			return err
		}
	}
	return nil
}

// forth puts what was there aside and what comes in its place.
func (m packagesMoved) forth(ctx context.Context, root *os.Root) error {
	if _, err := move(ctx, root, m.Had, func(place string) (string, string) { return place, path.Join(m.Aside, place) }); err != nil {
		return err
	}
	if _, err := move(ctx, root, packagePlaces, func(place string) (string, string) { return path.Join(m.In, place), place }); err != nil {
		return err
	}
	return root.RemoveAll(m.In)
}

// back undoes forth, however far it came; twice is as once.
func (m packagesMoved) back(root *os.Root) error {
	had := map[string]bool{}
	for _, place := range m.Had {
		had[place] = true
	}
	for _, place := range packagePlaces {
		aside := path.Join(m.Aside, place)
		_, err := root.Lstat(aside)
		moved := err == nil
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if had[place] && !moved {
			continue // it was not moved, or is back
		}
		if err := root.RemoveAll(place); err != nil {
			return err
		}
		if moved {
			if err := root.Rename(aside, place); err != nil {
				return err
			}
		}
	}
	removeEmpty(root, m.Aside)
	return root.RemoveAll(m.In)
}
