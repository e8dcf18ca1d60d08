package hub

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"cellar/checkpoint"
	"cellar/checkpoint/tree"
	"cellar/internal/fault"
	"cellar/kernel/packages"
)

// What is kept of the files of a checkpoint.
const (
	FilesPending = "pending" // soon
	FilesThere   = "kept"
	FilesFailed  = "failed" // for good; the detail says why
)

// FilesKept is what is kept of a project's files and packages with a checkpoint.
// The zero value is that of a checkpoint without.
type FilesKept struct {
	State    string    `json:"state"`
	Begun    time.Time `json:"begun,omitzero"` // the files are those of a moment between these two
	Ended    time.Time `json:"ended,omitzero"`
	Files    int       `json:"files"`
	Bytes    int64     `json:"bytes"`
	Left     int       `json:"left"`  // listed, not kept
	Torn     int       `json:"torn"`  // changed while they were read
	Cut      bool      `json:"cut"`   // more than can be listed
	Added    int64     `json:"added"` // bytes that they took beside all that was stored before
	Packages int       `json:"packages"`
	Detail   string    `json:"detail,omitempty"`
}

// FilesLimits is what the operator lets checkpoints keep, in bytes; 0: nothing.
type FilesLimits struct {
	Each     int64 // of one file
	Total    int64 // of a project's files
	Packages int64 // of the packages in its home
}

const (
	topFiles    = "files"
	topPackages = "packages" // below it, places of the home
)

// skipFiles leaves out what is derived: Jupyter's own older copies, what Python
// compiles, and what is only being written.
func skipFiles(name string) bool {
	return name == ".ipynb_checkpoints" || name == "__pycache__" || strings.HasPrefix(name, tree.TempPrefix)
}

// filing keeps files one project at a time, and a few projects at once.
type filing struct {
	mu    sync.Mutex
	spots map[string]*filingSpot // by project
	wake  chan struct{}
	few   chan struct{}
}

// filingSpot is a project whose files are being kept, or are about to be.
type filingSpot struct {
	users int
	turn  chan struct{} // holds one token
	hurry atomic.Int32  // how many wait for it who must not wait long
}

// fewAtOnce is of how many projects files are kept at the same time.
const fewAtOnce = 2

func newFiling() filing {
	return filing{spots: map[string]*filingSpot{}, wake: make(chan struct{}, 1), few: make(chan struct{}, fewAtOnce)}
}

type hurryKey struct{}

// Hurried reports whether somebody waits for what is done under ctx: it is not
// to be done slowly.
func Hurried(ctx context.Context) bool {
	n, ok := ctx.Value(hurryKey{}).(*atomic.Int32)
	return ok && n.Load() > 0
}

// Filing reports whether what is done under ctx keeps files.
func Filing(ctx context.Context) bool {
	_, ok := ctx.Value(hurryKey{}).(*atomic.Int32)
	return ok
}

// enter gives the files of a project to the caller alone, to be kept or changed.
// Hurried: whoever has them now goes on at full speed.
func (f *filing) enter(ctx context.Context, project string, hurried bool) (context.Context, func(), error) {
	f.mu.Lock()
	s := f.spots[project]
	if s == nil {
		s = &filingSpot{turn: make(chan struct{}, 1)}
		s.turn <- struct{}{}
		f.spots[project] = s
	}
	s.users++
	f.mu.Unlock()
	if hurried {
		s.hurry.Add(1)
	}
	leave := func() {
		if hurried {
			s.hurry.Add(-1)
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		if s.users--; s.users == 0 {
			delete(f.spots, project)
			select { // what became pending meanwhile
			case f.wake <- struct{}{}:
			default:
			}
		}
	}
	select {
	case <-s.turn:
		return context.WithValue(ctx, hurryKey{}, &s.hurry), func() { s.turn <- struct{}{}; leave() }, nil
	case <-ctx.Done():
		leave()
		return nil, nil, ctx.Err()
	}
}

// busy reports whether somebody has a project's files, or waits for them.
func (f *filing) busy(project string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.spots[project] != nil
}

// keepsFiles reports whether checkpoints keep the files of their projects.
func (h *Hub) keepsFiles() bool { return h.Archive != nil && h.Files.Total > 0 }

// filesDue has files kept soon.
func (h *Hub) filesDue() {
	select {
	case h.filing.wake <- struct{}{}:
	default:
	}
}

// staleFiles is after what time files are not those of a checkpoint any more, if
// the hub was away meanwhile.
const staleFiles = 5 * time.Minute

// keepingFiles keeps the files of new checkpoints, beside all else.
func (h *Hub) keepingFiles() {
	for {
		if list, err := h.Store.Checkpoints(h.ctx, ""); err == nil {
			h.keepPending(list)
		}
		select {
		case <-h.ctx.Done():
			return
		case <-h.filing.wake:
		}
	}
}

// keepPending begins to keep what is pending; list is newest first.
func (h *Hub) keepPending(list []Checkpoint) {
	pending := map[string][]Checkpoint{}
	for _, c := range list {
		if c.Files.State == FilesPending {
			pending[c.Project] = append(pending[c.Project], c)
		}
	}
	for project, due := range pending {
		if h.filing.busy(project) {
			continue // who has them looks again
		}
		oldest := due[len(due)-1]
		h.wg.Go(func() {
			select {
			case h.filing.few <- struct{}{}:
				defer func() { <-h.filing.few }()
			case <-h.ctx.Done():
				return
			}
			if err := h.keepFiles(h.ctx, oldest, false); err != nil && h.ctx.Err() == nil {
				h.Log.Error("files of a checkpoint not kept yet", "checkpoint", oldest.ID, "error", err)
			}
		})
	}
}

// keepFiles keeps the files of a checkpoint's project as they are now. It answers
// nil when that is on record, also that it failed.
func (h *Hub) keepFiles(ctx context.Context, c Checkpoint, hurried bool) error {
	ctx, leave, err := h.filing.enter(ctx, c.Project, hurried)
	if err != nil {
		return err
	}
	defer leave()
	_, err = h.keepFilesNow(ctx, c)
	return err
}

// keepFilesNow is keepFiles for who has entered. It answers what is on record.
func (h *Hub) keepFilesNow(ctx context.Context, c Checkpoint) (FilesKept, error) {
	c, err := h.Store.Checkpoint(ctx, c.Project, c.ID)
	if errors.Is(err, fault.NotFound) {
		return FilesKept{}, nil // deleted meanwhile
	}
	if err != nil || c.Files.State != FilesPending {
		return c.Files, err
	}
	place, err := h.placeOf(ctx, c.Project, c.ID)
	if err != nil {
		return FilesKept{}, err
	}
	f, err := h.fileCheckpoint(ctx, c)
	if err != nil && ctx.Err() != nil {
		return f, err // the next hub does it
	}
	if err != nil {
		h.Log.Error("files of a checkpoint not kept", "checkpoint", c.ID, "project", c.Project, "error", err)
		f = FilesKept{State: FilesFailed, Detail: "The files could not be kept. " + fault.Sentence(err)}
	}
	err = h.Store.FiledCheckpoint(ctx, c.ID, f)
	if errors.Is(err, fault.NotFound) { // deleted meanwhile
		c.Files = f
		return f, h.forget(ctx, place.Tenant, c)
	}
	h.Tell(Event{Project: c.Project, Type: "checkpoint", Data: map[string]string{"id": c.ID, "files": f.State}})
	return f, err
}

// fileCheckpoint stores files and packages as they are.
func (h *Hub) fileCheckpoint(ctx context.Context, c Checkpoint) (FilesKept, error) {
	if c.CreatedAt.Before(h.since) && time.Since(c.CreatedAt) > staleFiles {
		return FilesKept{State: FilesFailed, Detail: "The server was away when the files were to be kept."}, nil
	}
	p, err := h.Store.Project(ctx, c.Project)
	if err != nil {
		return FilesKept{}, err
	}
	if err := room(h.Data, 0); err != nil {
		return FilesKept{}, err
	}
	if err := h.step("files.begun"); err != nil {
		return FilesKept{}, err
	}
	t, own, done, err := h.taking(p, c.Image)
	if err != nil {
		return FilesKept{}, err
	}
	defer done()
	list, err := h.Store.Checkpoints(ctx, c.Project)
	if err != nil {
		return FilesKept{}, err
	}
	start := time.Now()
	sum, added, err := h.Archive.SaveFiles(ctx, checkpoint.Place{Tenant: p.Owner, Project: p.ID, ID: c.ID}, filesBaseOf(c, list), t)
	if err == nil {
		err = h.step("files.saved")
	}
	if err != nil {
		return FilesKept{}, err
	}
	h.Log.Info("files kept", "checkpoint", c.ID, "project", c.Project, "files", sum.Files, "read", sum.Read, "bytes", sum.Bytes, "added", added, "left", sum.Left, "took", time.Since(start))
	return FilesKept{State: FilesThere, Begun: sum.Begun, Ended: sum.Ended, Files: sum.Files, Bytes: sum.Bytes, Left: sum.Left, Torn: sum.Torn, Cut: sum.Cut, Added: added, Packages: own}, nil
}

// filesBaseOf finds the checkpoint whose files were kept last.
func filesBaseOf(c Checkpoint, list []Checkpoint) (base string) {
	var newest time.Time
	for _, o := range list {
		if o.ID != c.ID && o.Files.State == FilesThere && o.Files.Ended.After(newest) {
			base, newest = o.ID, o.Files.Ended
		}
	}
	return base
}

// aboutFiles is what is said of kept files beside the files themselves.
type aboutFiles struct {
	Image    string        `json:"image"` // which the packages are beside
	Packages []PackageKept `json:"packages"`
	Cut      bool          `json:"cut,omitempty"` // some could not be read
}

// PackageKept is a package that the person had installed.
type PackageKept struct {
	Name     string `json:"name"`
	Version  string `json:"version"`
	Language string `json:"language"`
}

// tops opens what is kept of a project. Call done when done.
func (h *Hub) tops(p Project) (list []tree.Top, home *os.Root, done func(), err error) {
	files, err := os.OpenRoot(h.FilesDir(p.ID))
	if err != nil {
		return nil, nil, nil, err
	}
	if home, err = h.home(p); err != nil {
		return nil, nil, nil, errors.Join(err, files.Close())
	}
	done = func() { files.Close(); home.Close() }
	list = []tree.Top{{Name: topFiles, Root: files, Limits: tree.Limits{File: h.Files.Each, Total: h.Files.Total}}}
	if h.Files.Packages > 0 { // a file of them is not left out: the rest would not work without
		list = append(list, tree.Top{Name: topPackages, Root: home, Places: packagePlaces, Limits: tree.Limits{Total: h.Files.Packages}})
	}
	return list, home, done, nil
}

// taking says what to keep of a project; own is how many packages there are.
func (h *Hub) taking(p Project, image string) (t tree.Taking, own int, done func(), err error) {
	tops, home, done, err := h.tops(p)
	if err != nil {
		return t, 0, nil, err
	}
	set := packages.InHome(home)
	about := aboutFiles{Image: image, Packages: []PackageKept{}, Cut: set.Cut}
	for _, one := range set.List {
		about.Packages = append(about.Packages, PackageKept{one.Name, one.Version, one.Language})
	}
	t = tree.Taking{Tops: tops, Skip: skipFiles}
	if t.About, err = json.Marshal(about); err != nil {
		done()
	}
	return t, len(set.List), done, err
}
