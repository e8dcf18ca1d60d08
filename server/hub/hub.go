// Package hub holds the records and the rules: who owns what, and what may
// follow what. One file per noun, one per deed that crosses nouns. It knows no
// HTTP and no SQL.
package hub

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"cellar/internal/fault"
	"cellar/kernel"
)

// Notebooks writes outputs into notebooks on disk.
type Notebooks interface {
	// Update rewrites a notebook (in memory form) without its readers being
	// told that the file changed. A missing file is fault.NotFound.
	Update(ctx context.Context, p Project, path string, fn func(nb []byte) ([]byte, error)) error
	// Add makes a new notebook of one in memory form and answers its path: that of
	// the argument, or a like one when there is such a file.
	Add(ctx context.Context, p Project, path string, nb []byte) (string, error)
	// AddForeign is Add for a notebook that somebody else wrote: none of its outputs
	// is trusted.
	AddForeign(ctx context.Context, p Project, path string, nb []byte) (string, error)
	// PutForeign rewrites a notebook with one that somebody else wrote. A missing
	// file is fault.NotFound.
	PutForeign(ctx context.Context, p Project, path string, nb []byte) error
	// Read returns a notebook in memory form.
	Read(ctx context.Context, p Project, path string) ([]byte, error)
}

// Config is what the operator decides.
type Config struct {
	Data           string // the data folder
	Parts          string // version of keeper and support files: Data/parts/<Parts>
	Configurations []Configuration
	Default        string        // name of the configuration of new kernels
	MachineMemory  int64         // bytes; 0: not known
	IdleAfter      time.Duration // a kernel idle that long hibernates; 0: never
	AutosaveAfter  time.Duration // a kernel that rests so long after it ran something is kept as a checkpoint; 0: never
	AutosaveMemory int64         // bytes; larger kernels are not, as that takes long
	NodeIdleAfter  time.Duration // an instance idle that long is removed
	Bridge         Bridge        // network of the kernels; zero: loopback only
	JournalQuota   int64
	DefaultSpec    string // of the first image; empty: see defaultSpec
	NoImage        error  // why no kernel can be started; nil: an image is in order
	ProcViews      string // folder of an lxcfs; empty: none
	// Fault, when set, is asked at every named step of a deed and may kill, fail
	// or disturb: the tests' tables of steps and failures are made with it.
	Fault func(step string) error
	// StoreAfter is how long a checkpoint that nobody needs stays a folder, from
	// which it comes back faster, before it is stored in the Archive; 0: for ever.
	StoreAfter time.Duration
	Files      FilesLimits
	Quota      Quota
	ShortName  string // unique to the data folder, for names outside it
	Poster     Poster // nil: webhooks are refused
	Templates  bool   // kernels begin from frozen ones
	Origin     Origin // this machine
	Links      string // the widest audience that links may have; empty: anyone; LinksOff: there are none
	Overcommit Overcommit
	Clock      func() Moment // of the ledger; nil: the machine's
}

// Bridge is the kernels' network on this machine.
type Bridge struct {
	Name   string
	Prefix [2]byte // first two bytes of the addresses, a /16
}

// Hub is the server's state: the records, and what lives.
type Hub struct {
	Config
	Store      Store
	Runtime    kernel.Runtime
	Notebooks  Notebooks
	Archive    Archive // nil: checkpoints stay folders
	Log        *slog.Logger
	Operations *Operations

	images []Image
	specs  map[string]KernelSpec
	events events

	mu      sync.Mutex
	live    map[kernel.ID]*Live
	session sync.Mutex // one session is opened at a time: four clients, one kernel

	nodes     instances
	keys      keyring
	watches   watches
	figures   figures
	terminals terminals
	apps      apps

	languages   languages
	packages    packagesBusy
	conversions conversions
	attempts    attempts
	webhooks    webhooks
	shelf       shelf
	collecting  collecting
	filing      filing
	measures    measures
	templates   templates
	origins     map[string]Origin // that checkpoints may come from; not changed after Open
	sharing     sharing
	exports     deeds // one at a time in a project: it reads all of a checkpoint twice
	ledger      *ledger
	allowances  allowances
	line        *line

	since time.Time // when this hub began

	ctx  context.Context // of everything that outlives a request
	stop context.CancelFunc
	wg   sync.WaitGroup
}

// Open takes up the records and brings what lives in line with them. Terminals
// live in the first image; each kernel in the one it comes from.
func Open(ctx context.Context, h *Hub, images []Image) (*Hub, error) {
	if h.ShortName == "" || !filepath.IsLocal(h.ShortName) {
		return nil, fmt.Errorf("%q cannot be the short name of a hub: what is found under it outside the data folder is swept", h.ShortName)
	}
	h.ctx, h.stop = context.WithCancel(context.WithoutCancel(ctx))
	h.since = time.Now()
	h.live = map[kernel.ID]*Live{}
	h.filing = newFiling()
	h.images, h.specs = images, offer(images)
	if h.DefaultSpec == "" {
		h.DefaultSpec = defaultSpec(images, h.specs)
	}
	h.ledger, h.line = newLedger(h, h.Clock), newLine(h)
	h.Runtime = &metered{h.Runtime, h}
	h.Operations = &Operations{list: map[string]*Operation{}, log: h.Log}
	h.nodes.h = h
	for _, dir := range []string{"projects", "kernels", "vault", "nodes"} {
		if err := os.MkdirAll(filepath.Join(h.Data, dir), 0o711); err != nil {
			return nil, err
		}
	}
	if err := h.openWebhooks(ctx); err != nil { // before any run's end is found
		return nil, fmt.Errorf("webhooks: %w", err)
	}
	if err := h.openKeys(ctx); err != nil {
		return nil, fmt.Errorf("keys: %w", err)
	}
	if err := h.openOrigins(ctx); err != nil {
		return nil, fmt.Errorf("origins of checkpoints: %w", err)
	}
	if err := h.openTemplates(); err != nil {
		return nil, fmt.Errorf("templates of kernels: %w", err)
	}
	if err := h.openLimits(ctx); err != nil {
		return nil, fmt.Errorf("limits: %w", err)
	}
	if err := h.reconcile(ctx); err != nil {
		return nil, fmt.Errorf("looking at what is left from before: %w", err)
	}
	h.sweepVariables()
	h.sweepImports()
	h.wg.Go(func() { h.sweepUnfinished(h.ctx) })
	h.wg.Go(h.watch)
	h.wg.Go(h.deliver)
	h.wg.Go(func() { h.checkLedger(h.ctx) })
	if h.Archive != nil {
		h.wg.Go(h.storing)
	}
	if h.keepsFiles() {
		h.wg.Go(h.keepingFiles)
	}
	return h, nil
}

// Close stops looking after kernels; the kernels themselves go on.
func (h *Hub) Close() {
	h.mu.Lock()
	list := make([]*Live, 0, len(h.live))
	for _, l := range h.live {
		list = append(list, l)
	}
	h.mu.Unlock()
	for _, l := range list {
		l.shutClients()
	}
	h.line.close()
	h.Operations.wg.Wait() // a switch under way is finished, not cut
	h.nodes.close()
	h.noteKeys(context.WithoutCancel(h.ctx))
	h.noteShares(h.ctx)
	h.stop()
	for _, l := range list {
		l.unlink()
	}
	h.wg.Wait()
	for _, l := range list {
		l.keepTimings()
	}
	h.ledger.writeLeft(context.WithoutCancel(h.ctx))
	h.ledger.leaveSign(true)
}

// Specs are the kernels that can be started.
func (h *Hub) Specs() map[string]KernelSpec { return h.specs }

// Spec finds a kernel that can be started; an empty name means the default.
func (h *Hub) Spec(name string) (KernelSpec, error) {
	if name == "" {
		name = h.DefaultSpec
	}
	s, ok := h.specs[name]
	switch {
	case ok:
		return s, nil
	case h.NoImage != nil:
		return s, h.NoImage
	}
	return s, fault.Newf(fault.Invalid, "unknown_kernel", "There is no kernel %q on this server.", name)
}

// Follow gives the events of a project; call the function when done.
func (h *Hub) Follow(project string) (<-chan Event, func()) { return h.events.follow(project) }

// Tell hands an event to the followers of its project.
func (h *Hub) Tell(e Event) { h.events.send(e) }

// ErrCallerGone is a fault: at this step whoever asked for the deed cancels it.
var ErrCallerGone = errors.New("the caller is gone")

// step marks a named point of a deed at which a fault may be injected.
func (h *Hub) step(name string) error {
	if h.Fault == nil {
		return nil
	}
	err := h.Fault(name)
	if errors.Is(err, ErrCallerGone) {
		h.Operations.cancelAll()
		return nil
	}
	return err
}

// newID gives a random name of 16 lower-case letters and digits (80 bits).
func newID() string {
	b := make([]byte, 10)
	rand.Read(b)
	return strings.ToLower(base32.StdEncoding.EncodeToString(b))
}

// Secret gives a random token of 32 letters and digits (160 bits).
func Secret() string {
	b := make([]byte, 20)
	rand.Read(b)
	return strings.ToLower(base32.StdEncoding.EncodeToString(b))
}

var errGone = fault.New(fault.NotFound, "kernel_not_found", "There is no kernel by that ID in this project.")

// Live finds a kernel of a project.
func (h *Hub) Live(project string, id kernel.ID) (*Live, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if l := h.live[id]; l != nil && l.Project() == project {
		return l, nil
	}
	return nil, errGone
}

// LiveOf lists the kernels of a project; an empty project means all.
func (h *Hub) LiveOf(project string) []*Live {
	h.mu.Lock()
	defer h.mu.Unlock()
	var out []*Live
	for _, l := range h.live {
		if project == "" || l.Project() == project {
			out = append(out, l)
		}
	}
	sortLive(out)
	return out
}

// containers lists what runs. The daemon may be away for a moment, after a
// crash: it is waited for, as wrong answers here would end kernels.
func (h *Hub) containers(ctx context.Context) ([]kernel.Status, error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	for {
		list, err := h.Runtime.List(ctx)
		if err == nil {
			return list, nil
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(50 * time.Millisecond):
		}
	}
}
