package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	client "github.com/containerd/containerd/v2/client"

	"cellar/checkpoint"
	"cellar/internal/fault"
	"cellar/kernel/containerd"
	"cellar/kernel/support"
	"cellar/machine"
	"cellar/server"
	"cellar/server/hub"
	"cellar/server/store"
)

// dataFlags are what every command about a data folder takes.
type dataFlags struct {
	Data  string      `help:"The data folder." default:"./data" type:"path"`
	Tools string      `help:"Folder with containerd, runc and criu." type:"path"`
	Image []imageFlag `help:"OCI archive or layout of a kernel image; may be given several times." placeholder:"[NAME=]ARCHIVE"`
}

// world is everything below the hub, wired: one for each process.
type world struct {
	dataFlags
	log        *slog.Logger
	lock       *os.File
	store      *store.Store
	daemon     containerd.Daemon
	client     *client.Client
	runtime    *containerd.Runtime
	network    machine.Network
	networkErr error
	proc       machine.ProcViews
	procErr    error
	parts      string
	name       string                // shortName of the data folder
	home       string                // the data folder by its own name; Data may be another way to it
	found      map[string]foundImage // by the operator's name of the image
	noImage    error                 // why no kernel can be started
	trees      *server.Trees
	archive    *checkpoint.Archive // nil: checkpoints stay folders
}

// shortName is unique to a data folder and fits an interface's name.
func shortName(data string) string {
	sum := sha256.Sum256([]byte(data))
	return "cel" + hex.EncodeToString(sum[:3])
}

// defaults finds tools and image beside the program.
func (d *dataFlags) defaults() error {
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	top := filepath.Dir(filepath.Dir(exe))
	cache := os.Getenv("CELLAR_CACHE")
	pick := func(candidates ...string) string {
		if cache == "" {
			candidates = candidates[1:] // never a folder of wherever we were started
		}
		for _, c := range candidates {
			if _, err := os.Stat(c); err == nil {
				return c
			}
		}
		return candidates[len(candidates)-1]
	}
	if d.Tools == "" {
		d.Tools = pick(filepath.Join(cache, "tools", "bin"), filepath.Join(top, ".cache", "tools", "bin"), "/usr/local/lib/cellar/tools/bin")
	}
	if len(d.Image) == 0 {
		archive := pick(filepath.Join(cache, "images", "base.oci.tar"), filepath.Join(top, ".cache", "images", "base.oci.tar"), "/usr/local/lib/cellar/images/base.oci.tar")
		d.Image = []imageFlag{{Name: nameOfArchive(archive), Archive: archive}}
	}
	if d.Data, err = filepath.Abs(d.Data); err != nil {
		return err
	}
	if resolved, err := filepath.EvalSymlinks(d.Data); err == nil {
		d.Data = resolved
	}
	return nil
}

var errRunning = errors.New("a hub is running on this data folder already")

// open takes the data folder and brings up what kernels need.
func (d dataFlags) open(ctx context.Context, log *slog.Logger) (*world, error) {
	if err := d.defaults(); err != nil {
		return nil, err
	}
	if os.Geteuid() != 0 {
		return nil, errors.New("containers and checkpoints need root: start it with sudo")
	}
	w := &world{dataFlags: d, log: log, name: shortName(d.Data), home: d.Data}
	if err := os.MkdirAll(d.Data, 0o711); err != nil {
		return nil, err
	}
	// Kernels' users must be able to walk through, not to look around.
	if err := os.Chmod(d.Data, 0o711); err != nil {
		return nil, err
	}
	if err := w.takeLock(); err != nil {
		return nil, err
	}
	var err error
	if w.Data, err = machine.Reach(w.home, w.alias()); err != nil {
		w.close()
		return nil, err
	}
	if err := w.build(ctx); err != nil {
		w.close()
		return nil, err
	}
	return w, nil
}

// alias is where the data folder is bound when a folder above it is private. It
// lies beside the state folder, which is removed with all that is in it.
func (w *world) alias() string { return containerd.StateDir(w.home) + ".data" }

func (w *world) takeLock() error {
	f, err := os.OpenFile(filepath.Join(w.Data, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		return errRunning
	}
	if err := f.Truncate(0); err != nil {
		return err
	}
	fmt.Fprintln(f, os.Getpid())
	w.lock = f
	return nil
}

func (w *world) build(ctx context.Context) (err error) {
	if w.store, err = store.Open(ctx, filepath.Join(w.Data, "cellar.db")); err != nil {
		return err
	}
	if err := w.layOutParts(); err != nil {
		return err
	}
	w.daemon = containerd.Daemon{Tools: w.Tools, Root: filepath.Join(w.home, "containerd"), State: containerd.StateDir(w.home), Log: w.log}
	if w.client, err = w.daemon.Ensure(ctx); err != nil {
		return err
	}
	w.runtime, err = containerd.New(w.client, containerd.Options{
		Dir: filepath.Join(w.Data, "runtime"), Tools: w.Tools, Keeper: filepath.Join(w.Data, "parts", w.parts, "cellar-keep"),
		Cgroup: w.name, Log: w.log,
	})
	if err != nil {
		return err
	}
	if err := machine.RememberKernel(ctx, filepath.Join(w.Tools, "criu"), w.daemon.State); err != nil {
		w.log.Warn("CRIU asks the kernel at each start what it can do", "error", err)
	}
	if err := machine.AllowUserfaultfd(); err != nil {
		w.log.Warn("thawed kernels wait for all their memory", "error", err)
	}
	w.network = machine.Network{Name: w.name, Prefix: prefix(w.home)}
	if w.networkErr = w.network.Up(ctx); w.networkErr != nil {
		w.log.Warn("kernels have no network", "error", w.networkErr)
	}
	w.proc = machine.ProcViews{Dir: filepath.Join(w.daemon.State, "proc")}
	if w.procErr = w.proc.Up(); w.procErr != nil {
		w.log.Warn("kernels see the machine's /proc", "error", w.procErr)
	}
	w.trees = &server.Trees{}
	return nil
}

// prefix picks the kernels' /16 in 10.64 to 10.191: away from what home routers
// and clouds hand out first.
func prefix(data string) [2]byte {
	sum := sha256.Sum256([]byte(data))
	return [2]byte{10, 64 + sum[3]%128}
}

// layOutParts puts the keeper and the Python support into a folder named after
// what is in it: frozen kernels need the very files they were started with.
func (w *world) layOutParts() error {
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	keeper, err := os.ReadFile(filepath.Join(filepath.Dir(exe), "cellar-keep"))
	if err != nil {
		return fmt.Errorf("the keeper must lie beside the program: %w", err)
	}
	sum := sha256.New()
	sum.Write(keeper)
	err = fs.WalkDir(support.Files, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := support.Files.ReadFile(name)
		fmt.Fprintf(sum, "%s %d\n", name, len(b))
		sum.Write(b)
		return err
	})
	if err != nil {
		return err
	}
	w.parts = hex.EncodeToString(sum.Sum(nil)[:8])
	dir := filepath.Join(w.Data, "parts", w.parts)
	if _, err := os.Stat(filepath.Join(dir, "cellar-keep")); err == nil {
		return nil
	}
	tmp := dir + ".new"
	os.RemoveAll(tmp)
	if err := os.CopyFS(tmp, support.Files); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(tmp, "cellar-keep"), keeper, 0o755); err != nil {
		return err
	}
	err = filepath.WalkDir(tmp, func(name string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			err = os.Chmod(name, 0o755)
		}
		return err
	})
	if err != nil {
		return err
	}
	return os.Rename(tmp, dir)
}

// hub opens the hub on this world.
func (w *world) hub(ctx context.Context, config hub.Config) (*hub.Hub, error) {
	images, none, err := w.images(ctx)
	if err != nil {
		return nil, err
	}
	config.NoImage, w.noImage = none, none
	config.Data, config.Parts, config.ShortName = w.Data, w.parts, w.name
	config.MachineMemory = machine.TotalMemory()
	config.Origin = originOf(machine.Here(ctx, w.Tools))
	if config.Configurations == nil {
		config.Configurations = hub.DefaultConfigurations(config.MachineMemory)
	}
	if config.Default = hub.FirstThatFits(config.Configurations, config.MachineMemory); config.Default == "" {
		return nil, errors.New("none of the configurations fits this machine: new kernels would have none")
	}
	if w.networkErr == nil {
		config.Bridge = hub.Bridge{Name: w.network.Name, Prefix: w.network.Prefix}
	}
	if w.procErr == nil {
		config.ProcViews = w.proc.Dir
	}
	h := &hub.Hub{Config: config, Store: w.store, Runtime: w.runtime, Notebooks: w.trees, Log: w.log}
	if w.archive != nil {
		var storing, filing hub.Pace // each goes on at its own pace
		w.archive.Limit = func(ctx context.Context, _ int) error {
			if hub.Filing(ctx) {
				return filing.Wait(ctx, h.Working() && !hub.Hurried(ctx))
			}
			return storing.Wait(ctx, h.Working())
		}
		h.Archive = w.archive
	}
	w.trees.Dir, w.trees.Hub = h.FilesDir, h
	return hub.Open(ctx, h, images)
}

func (w *world) doctor(ctx context.Context) machine.Doctor {
	d := machine.Doctor{Tools: w.Tools, Data: w.Data, Network: &w.network, NetworkError: w.networkErr, ProcError: w.procErr}
	for _, f := range w.Image {
		found := w.found[f.Name]
		image := machine.Image{Name: f.Name, Archive: f.Archive, Imported: found.ref, Used: true, Trouble: fault.Sentence(found.err)}
		image.Stored = found.ref != "" && w.runtime.HasImage(ctx, found.ref)
		d.Images = append(d.Images, image)
	}
	return d
}

func (w *world) close() {
	if w.archive != nil {
		if err := w.archive.Close(); err != nil && w.log != nil {
			w.log.Error("archive not closed", "error", err)
		}
	}
	if w.client != nil {
		w.client.Close()
	}
	if w.store != nil {
		w.store.Close()
	}
	if w.lock != nil {
		w.lock.Close()
	}
}

// runningPID is the hub's that holds the data folder, or 0.
func (d dataFlags) runningPID() int {
	b, err := os.ReadFile(filepath.Join(d.Data, "lock"))
	if err != nil {
		return 0
	}
	var pid int
	fmt.Sscan(strings.TrimSpace(string(b)), &pid)
	return pid
}
