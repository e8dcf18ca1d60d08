package hub

import (
	"context"
	"io"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"
	"time"

	"cellar/checkpoint/criu"
	"cellar/kernel/packages"
)

// homeTarget is where a project's home is in its containers.
const homeTarget = "/home/cellar"

// packagePlaces are the folders of a home that installers fill: pip, npm with
// the prefix ~/.local, and R. Other things of a person's in ~/.local stay.
var packagePlaces = []string{".local/lib", ".local/bin", ".local/include", ".local/etc", ".local/share/jupyter", "R"}

// What a reset puts aside stays in the home, below a folder with the time in its
// name: who has a file of it open or mapped still finds it there, frozen or not.
const (
	asideTop    = ".cellar"
	asidePrefix = "packages-"
	asideTime   = "20060102T150405.000Z"
	maxAsides   = 100
)

// openAside opens that folder. What else a kernel has put in its place, such as a
// pipe that nobody writes to, is an error, and is not waited for.
func openAside(home *os.Root) (*os.File, error) {
	return home.OpenFile(asideTop, os.O_RDONLY|syscall.O_DIRECTORY|syscall.O_NONBLOCK, 0)
}

func newAside(now time.Time) string {
	return path.Join(asideTop, asidePrefix+now.UTC().Format(asideTime))
}

func timeOfAside(name string) (time.Time, error) {
	return time.Parse(asideTime, strings.TrimPrefix(path.Base(name), asidePrefix))
}

// asides lists what is put aside, the newest first.
func asides(root *os.Root) (out []string) {
	f, err := openAside(root)
	if err != nil {
		return nil
	}
	defer f.Close()
	list, err := f.ReadDir(maxAsides)
	if err != nil && err != io.EOF {
		return nil
	}
	for _, e := range list {
		name := path.Join(asideTop, e.Name())
		if _, err := timeOfAside(name); err == nil && strings.HasPrefix(e.Name(), asidePrefix) && e.IsDir() {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	slices.Reverse(out)
	return out
}

func asideOf(root *os.Root, name string) *Aside {
	at, _ := timeOfAside(name)
	a := &Aside{At: at}
	if below, err := root.OpenRoot(name); err == nil {
		defer below.Close()
		a.Packages = len(packages.InHome(below).List)
	}
	return a
}

// elsewhere finds files of packages that a reset, or bringing back, moved: those
// that a frozen process holds are where they went.
func elsewhere(home string) criu.Moved {
	return func(name string, size uint64) string {
		rel, ok := strings.CutPrefix(name, homeTarget+"/")
		if !ok {
			return ""
		}
		root, err := os.OpenRoot(home)
		if err != nil {
			return ""
		}
		defer root.Close()
		if found := findMoved(root, rel, size); found != "" && found != rel {
			return path.Join(homeTarget, found)
		}
		return ""
	}
}

// findMoved finds a file of packages by where it was and its size.
func findMoved(root *os.Root, rel string, size uint64) string {
	if after, ok := strings.CutPrefix(rel, asideTop+"/"+asidePrefix); ok {
		_, rel, _ = strings.Cut(after, "/")
	}
	if !slices.ContainsFunc(packagePlaces, func(place string) bool { return strings.HasPrefix(rel, place+"/") }) {
		return ""
	}
	for _, top := range append([]string{""}, asides(root)...) {
		name := path.Join(top, rel)
		if st, err := root.Lstat(name); err == nil && st.Mode().IsRegular() && uint64(st.Size()) == size {
			return name
		}
	}
	return ""
}

// asideUsed counts the checkpoints, those of hibernated kernels too, that hold
// files which are in an aside.
func (h *Hub) asideUsed(ctx context.Context, p Project, root *os.Root, aside string) (n int, err error) {
	list, err := h.Store.Checkpoints(ctx, p.ID)
	if err != nil {
		return 0, err
	}
	for _, c := range list {
		var held []criu.Held
		if err := h.heldDump(ctx, c, func(dump string) (err error) { held, err = criu.Holds(dump); return err }); err != nil {
			return 0, err
		}
		if slices.ContainsFunc(held, func(f criu.Held) bool {
			rel, ours := strings.CutPrefix(f.Name, homeTarget+"/")
			return ours && strings.HasPrefix(findMoved(root, rel, f.Size), aside+"/")
		}) {
			n++
		}
	}
	return n, nil
}

// makeLike makes a folder, and those above it, for the owner of the home.
func makeLike(root *os.Root, dir string) error {
	if dir == "." {
		return nil
	}
	if _, err := root.Lstat(dir); err == nil {
		return nil
	}
	if err := makeLike(root, path.Dir(dir)); err != nil {
		return err
	}
	if err := root.Mkdir(dir, 0o755); err != nil {
		return err
	}
	st, err := root.Stat(".")
	if err != nil {
		return err
	}
	if sys, ok := st.Sys().(*syscall.Stat_t); ok {
		return root.Lchown(dir, int(sys.Uid), int(sys.Gid))
	}
	return nil
}
