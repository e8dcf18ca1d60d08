package hub

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path"
	"slices"
	"sync"
	"time"

	"cellar/internal/fault"
	"cellar/kernel/packages"
)

// Packages is what is installed in a project: what the person installed, and
// what the image has.
type Packages struct {
	Image      string        `json:"image" doc:"whose packages are listed"`
	Images     []string      `json:"images" doc:"all there are"`
	Items      []PackageView `json:"items"`
	Own        int           `json:"own" doc:"how many the person installed"`
	Incomplete bool          `json:"incomplete" doc:"some could not be read, or there are too many"`
	Aside      *Aside        `json:"aside,omitempty" doc:"what the last reset put aside"`
}

// PackageView is an installed package as it is told.
type PackageView struct {
	Name         string `json:"name"`
	Version      string `json:"version"`
	Language     string `json:"language" enum:"python,r"`
	Own          bool   `json:"own" doc:"installed by the person, not part of the image"`
	Requested    bool   `json:"requested" doc:"asked for by name, not only by another package; known of one's own"`
	ImageVersion string `json:"image_version,omitempty" doc:"the image's, where one's own stands before it"`
}

// Aside is what a reset put aside.
type Aside struct {
	At       time.Time `json:"at"`
	Packages int       `json:"packages"`
}

// Reset says what a reset did, or bringing back.
type Reset struct {
	Packages int    `json:"packages" doc:"how many were put aside, or brought back"`
	Running  int    `json:"running" doc:"kernels that run: they keep what they have imported until they are restarted"`
	Detail   string `json:"detail"`
}

// packagesBusy lets one change of a project's packages go on at a time.
type packagesBusy struct {
	mu   sync.Mutex
	busy map[string]bool
}

func (b *packagesBusy) enter(project string) (leave func(), err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.busy[project] {
		return nil, fault.New(fault.Conflict, "packages_busy", "The packages of this project are being changed already.")
	}
	if b.busy == nil {
		b.busy = map[string]bool{}
	}
	b.busy[project] = true
	return func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.busy, project)
	}, nil
}

// home opens a project's home. All below it is the project's doing.
func (h *Hub) home(p Project) (*os.Root, error) { return os.OpenRoot(h.homeDir(p.ID)) }

// Packages lists what is installed, the image's being those of the image by that
// name; an empty one means the first. Nothing is run for it.
func (h *Hub) Packages(p Project, image string) (Packages, error) {
	out := Packages{Items: []PackageView{}, Images: []string{}}
	var base packages.Set
	for i, one := range h.images {
		out.Images = append(out.Images, one.Name)
		if one.Name == image || image == "" && i == 0 {
			out.Image, base = one.Name, one.Packages
		}
	}
	if image != "" && out.Image == "" {
		return out, fault.Newf(fault.NotFound, "image_not_found", "There is no kernel image %.64q on this server.", image)
	}
	root, err := h.home(p)
	if err != nil {
		return out, err
	}
	defer root.Close()
	own := packages.InHome(root)
	versions := map[string]string{}
	for _, b := range base.List {
		versions[b.Key()] = b.Version
	}
	seen := map[string]bool{}
	for _, o := range own.List {
		seen[o.Key()] = true
		out.Items = append(out.Items, PackageView{Name: o.Name, Version: o.Version, Language: o.Language, Own: true, Requested: o.Requested, ImageVersion: versions[o.Key()]})
	}
	for _, b := range base.List {
		if !seen[b.Key()] {
			out.Items = append(out.Items, PackageView{Name: b.Name, Version: b.Version, Language: b.Language})
		}
	}
	out.Own, out.Incomplete = len(own.List), own.Cut || base.Cut
	if list := asides(root); len(list) > 0 {
		out.Aside = asideOf(root, list[0])
	}
	return out, nil
}

// Requirements are the person's packages of Python, as pip reads them; with all
// the image's too.
func (h *Hub) Requirements(p Project, language string, all bool) (string, error) {
	if language != packages.Python {
		return "", fault.New(fault.Unsupported, "no_requirements", "Only packages of Python can be exported as requirements. The list names those of R with their versions.")
	}
	root, err := h.home(p)
	if err != nil {
		return "", err
	}
	defer root.Close()
	own := packages.InHome(root).List
	if all && len(h.images) > 0 {
		seen := map[string]bool{}
		for _, o := range own {
			seen[o.Key()] = true
		}
		for _, b := range h.images[0].Packages.List {
			if !seen[b.Key()] {
				own = append(own, b)
			}
		}
	}
	return packages.Requirements(own), nil
}

// running counts the kernels of a project that hold what they have imported.
func (h *Hub) running(project string) (n int) {
	for _, l := range h.LiveOf(project) {
		if l.Record().Container != "" {
			n++
		}
	}
	return n
}

// ResetPackages puts what the person installed aside, so that there is what the
// image has. Notebooks and files are not touched. What runs goes on with what it
// has imported: the files are moved, not removed, and frozen kernels find them
// where they went (elsewhere).
func (h *Hub) ResetPackages(ctx context.Context, p Project, o *Operation) (Reset, error) {
	return h.changePackages(ctx, p, func(root *os.Root) (Reset, error) {
		o.Step(0.2, "Putting the packages aside")
		n := len(packages.InHome(root).List)
		aside := newAside(time.Now())
		moved, err := move(ctx, root, packagePlaces, func(place string) (string, string) { return place, path.Join(aside, place) })
		if err != nil {
			removeEmpty(root, aside)
			return Reset{}, err
		}
		if moved == 0 {
			root.RemoveAll(aside)
			return Reset{Detail: "Nothing was installed: the packages are the image's."}, nil
		}
		o.Step(0.8, "Tidying up")
		h.tidyAsides(ctx, p, root, aside)
		return Reset{Packages: n}, nil
	})
}

// tidyAsides removes what was put aside, but for keep and what checkpoints need.
func (h *Hub) tidyAsides(ctx context.Context, p Project, root *os.Root, keep string) {
	if err := h.tidyHeld(ctx, p, root); err != nil {
		h.Log.Warn("held files that nobody needs not removed", "project", p.ID, "error", err)
	}
	for _, old := range asides(root) {
		if old == keep {
			continue
		}
		if used, err := h.asideUsed(ctx, p, root, old); err != nil || used > 0 {
			continue
		}
		if err := root.RemoveAll(old); err != nil {
			h.Log.Warn("packages put aside earlier not removed", "project", p.ID, "error", err)
		}
	}
}

// RestorePackages undoes the last reset. What was installed since is put aside in
// turn.
func (h *Hub) RestorePackages(ctx context.Context, p Project, o *Operation) (Reset, error) {
	return h.changePackages(ctx, p, func(root *os.Root) (Reset, error) {
		list := asides(root)
		if len(list) == 0 {
			return Reset{}, errNoAside
		}
		o.Step(0.2, "Bringing the packages back")
		back, aside := list[0], newAside(time.Now())
		toAside := func(place string) (string, string) { return place, path.Join(aside, place) }
		away, err := move(ctx, root, packagePlaces, toAside)
		if err != nil {
			removeEmpty(root, aside)
			return Reset{}, err
		}
		if _, err := move(ctx, root, packagePlaces, func(place string) (string, string) { return path.Join(back, place), place }); err != nil {
			_, undo := move(context.WithoutCancel(ctx), root, packagePlaces, func(place string) (string, string) { return path.Join(aside, place), place })
			return Reset{}, errors.Join(err, undo)
		}
		root.RemoveAll(back)
		if away == 0 {
			root.RemoveAll(aside)
		}
		return Reset{Packages: len(packages.InHome(root).List)}, nil
	})
}

var errNoAside = fault.New(fault.NotFound, "no_packages_aside", "No packages are put aside in this project.")

// ForgetPackages removes what resets put aside.
func (h *Hub) ForgetPackages(ctx context.Context, p Project) error {
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
	list := asides(root)
	if len(list) == 0 {
		return errNoAside
	}
	for _, aside := range list {
		used, err := h.asideUsed(ctx, p, root, aside)
		if err != nil {
			return err
		}
		if used > 0 {
			return fault.Newf(fault.Conflict, "packages_in_use", "These packages cannot be removed: checkpoints (%d) or hibernated kernels need them. Delete those first, or bring the packages back.", used)
		}
		if err := root.RemoveAll(aside); err != nil {
			return fault.Wrap(fault.Unavailable, "packages_not_removed", "The packages could not be removed. Try again.", err)
		}
	}
	return nil
}

// changePackages does what fn does, and then what any change of packages brings.
func (h *Hub) changePackages(ctx context.Context, p Project, fn func(*os.Root) (Reset, error)) (Reset, error) {
	leave, err := h.packages.enter(p.ID)
	if err != nil {
		return Reset{}, err
	}
	defer leave()
	root, err := h.home(p)
	if err != nil {
		return Reset{}, err
	}
	defer root.Close()
	out, err := fn(root)
	if err != nil {
		if fault.ClassOf(err) == fault.Internal {
			err = fault.Wrap(fault.Unavailable, "packages_not_moved", "The packages could not be moved; they are where they were. Try again.", err)
		}
		return out, err
	}
	out.Running = h.running(p.ID)
	if out.Detail == "" {
		out.Detail = "Notebooks and files are as they were."
		if out.Running > 0 {
			out.Detail += " Kernels that run keep what they have imported; restart them to work with the packages as they are now."
		}
	}
	// They read packages, and would tell of those of before.
	return out, h.endLanguages(ctx, p.ID)
}

// move renames what is there of the places; on an error all is where it was.
func move(ctx context.Context, root *os.Root, places []string, how func(place string) (from, to string)) (moved int, err error) {
	var done []string
	defer func() {
		if err == nil {
			return
		}
		for _, place := range slices.Backward(done) {
			from, to := how(place)
			err = errors.Join(err, root.Rename(to, from))
		}
	}()
	for _, place := range places {
		from, to := how(place)
		if _, err := root.Lstat(from); errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		if err := makeLike(root, path.Dir(to)); err != nil {
			return 0, err
		}
		if err := root.Rename(from, to); err != nil {
			return 0, err
		}
		done = append(done, place)
	}
	return len(done), nil
}

// removeEmpty removes dir and the folders in it as far as nothing is in them:
// what could not be moved back stays.
func removeEmpty(root *os.Root, dir string) {
	var folders []string
	fs.WalkDir(root.FS(), dir, func(name string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			folders = append(folders, name)
		}
		return nil
	})
	for _, folder := range slices.Backward(folders) {
		root.Remove(folder)
	}
}
