package containerd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"time"

	tasks "github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/containerd/api/types/runc/options"
	client "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/errdefs"
	"github.com/containerd/typeurl/v2"

	"cellar/kernel"
	"cellar/kernel/pager"
)

// Namespace is containerd's namespace for all that is Cellar's.
const Namespace = "cellar"

const snapshotter = "overlayfs"

// Options of a Runtime.
type Options struct {
	Dir    string // for its own small files
	Tools  string // folder with runc; empty: the daemon's own
	Keeper string // the cellar-keep binary on the machine, for hooks
	Cgroup string // parent of all control groups
	Eager  bool   // thaw all memory before a process begins
	Log    *slog.Logger
}

// Runtime is a kernel.Runtime on a containerd.
type Runtime struct {
	c     *client.Client
	o     Options
	peaks peaks
}

var _ kernel.Runtime = (*Runtime)(nil)

// New returns a runtime on the containerd that c talks to.
func New(c *client.Client, o Options) (*Runtime, error) {
	r := &Runtime{c: c, o: o}
	if err := os.MkdirAll(o.Dir, 0o755); err != nil {
		return nil, err
	}
	return r, os.WriteFile(r.criuConfig(""), []byte(criuOptions), 0o644)
}

// Client is the connection, for what is not a container (images).
func (r *Runtime) Client() *client.Client { return r.c }

// await waits until the daemon answers: after a crash it is away for a moment,
// and what is about to be done should not fail for that.
func (r *Runtime) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	for {
		ok, err := r.c.IsServing(ctx)
		if err == nil && ok {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("containerd does not answer: %w", err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func scoped(ctx context.Context) context.Context { return namespaces.WithNamespace(ctx, Namespace) }

func (r *Runtime) runcOptions(c kernel.Container) *options.Options {
	o := &options.Options{IoUid: c.UIDBase + c.UID, IoGid: c.UIDBase + c.UID}
	if r.o.Tools != "" {
		o.BinaryName = filepath.Join(r.o.Tools, "runc")
	}
	return o
}

// Create implements kernel.Runtime.
func (r *Runtime) Create(ctx context.Context, c kernel.Container) error {
	return r.run(ctx, c, "")
}

// Restore implements kernel.Runtime.
func (r *Runtime) Restore(ctx context.Context, c kernel.Container, dir string) error {
	return r.run(ctx, c, dir)
}

func (r *Runtime) run(ctx context.Context, c kernel.Container, dump string) (err error) {
	ctx = scoped(ctx)
	if err := c.Limits.Check(); err != nil {
		return err
	}
	if err := r.await(ctx); err != nil {
		return err
	}
	image, err := r.c.GetImage(ctx, c.Image)
	if err != nil {
		return fmt.Errorf("image %s: %w", c.Image, err)
	}
	config, err := image.Spec(ctx)
	if err != nil {
		return fmt.Errorf("image %s: %w", c.Image, err)
	}
	defer func() {
		if err != nil { // the undo has its own time: the caller may be gone
			undo, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
			defer cancel()
			err = errors.Join(err, r.Remove(undo, c.Name))
		}
	}()
	late := dump != "" && (r.Late(dump) || pager.Hollow(dump))
	ids := idMap(c.UIDBase)
	container, err := r.c.NewContainer(ctx, c.Name,
		client.WithContainerLabels(c.Labels),
		client.WithImage(image),
		client.WithSnapshotter(snapshotter),
		client.WithNewSnapshot(c.Name, image, client.WithUserNSRemapperLabels(ids, ids)),
		client.WithRuntime("io.containerd.runc.v2", r.runcOptions(c)),
		client.WithNewSpec(r.spec(c, imageEnv(config.Config.Env), late)...),
	)
	if err != nil {
		return fmt.Errorf("container %s: %w", c.Name, err)
	}
	var opts []client.NewTaskOpts
	if dump != "" {
		if err := pager.Check(dump); err != nil { // CRIU would read a file that is cut off for ever
			return err
		}
		work, e := os.MkdirTemp(r.o.Dir, "restore-") // not err: what is deferred here looks at ours
		if e != nil {
			return e
		}
		defer r.removeWork(work)
		opts = append(opts, client.WithRestoreImagePath(dump), client.WithRestoreWorkPath(work))
		if late {
			if err := r.startPager(ctx, c, dump, work); err != nil {
				return err
			}
		}
		defer func() {
			if err != nil {
				err = fmt.Errorf("%w%s", err, criuError(filepath.Join(work, "restore.log")))
			}
		}()
	}
	creator := cio.NullIO
	if c.LogFile != "" {
		creator = cio.LogFile(c.LogFile)
	}
	task, err := container.NewTask(ctx, creator, opts...)
	if err != nil {
		return fmt.Errorf("task %s: %w", c.Name, err)
	}
	if err := r.start(ctx, task, c.Name, late); err != nil {
		return fmt.Errorf("start of %s: %w", c.Name, err)
	}
	return nil
}

// start starts a task. One whose memory comes late would wait for ever if its
// pager died, so the start is given up then.
func (r *Runtime) start(ctx context.Context, task client.Task, name string, late bool) error {
	stuck := time.AfterFunc(startLimit, func() { r.breakOff(name) })
	defer stuck.Stop()
	if !late {
		return task.Start(ctx)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		if err := r.pagerFailed(ctx, name); err != nil {
			cancel(err)
			r.breakOff(name) // it waits for memory that does not come
		}
	}()
	err := task.Start(ctx)
	if cause := context.Cause(ctx); err != nil && cause != nil {
		err = errors.Join(err, cause)
	}
	return err
}

const (
	// freezeLimit is the longest that a dump may take: 100 GiB on a slow disk.
	freezeLimit = 15 * time.Minute
	// startLimit is the longest that a start or a restore may take.
	startLimit = 15 * time.Minute
	// removeLimit is how long a container may resist being killed before what
	// holds it is killed too.
	removeLimit = 10 * time.Second
)

// Freeze implements kernel.Runtime by the raw tasks service: the client's own
// Checkpoint tars the dump files into the content store, which takes seconds.
func (r *Runtime) Freeze(ctx context.Context, name string, f kernel.Freeze) (err error) {
	ctx = scoped(ctx)
	if err := r.await(ctx); err != nil {
		return err
	}
	work, err := os.MkdirTemp(r.o.Dir, "dump-")
	if err != nil {
		return err
	}
	defer r.removeWork(work)
	if err := r.readyForDump(ctx, name); err != nil {
		return err
	}
	if err := os.MkdirAll(f.Dir, 0o755); err != nil {
		return err
	}
	if f.Leave && f.Paused != nil {
		if _, err := r.c.TaskService().Pause(ctx, &tasks.PauseTaskRequest{ContainerID: name}); err != nil {
			return fmt.Errorf("pausing %s: %w", name, err)
		}
		defer func() {
			undo, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
			defer cancel()
			err = errors.Join(err, r.Unpause(undo, name))
		}()
		if err := f.Paused(); err != nil {
			return err
		}
	}
	opts, err := typeurl.MarshalAnyToProto(&options.CheckpointOptions{
		Exit: !f.Leave, OpenTcp: true, ExternalUnixSockets: true, FileLocks: true,
		ImagePath: f.Dir, WorkPath: work,
	})
	if err != nil {
		return err
	}
	stuck := time.AfterFunc(freezeLimit, func() { r.breakOff(name) })
	defer stuck.Stop()
	if _, err := r.c.TaskService().Checkpoint(ctx, &tasks.CheckpointTaskRequest{ContainerID: name, Options: opts}); err != nil {
		return fmt.Errorf("dump of %s: %w%s", name, err, criuError(filepath.Join(work, "dump.log")))
	}
	if err := readable(f.Dir); err != nil {
		return err
	}
	if stuck.Stop(); f.Leave {
		return nil
	}
	return r.Remove(ctx, name)
}

// readable opens the dump files to the restoring child, which has no
// capability any more; the folder's parent keeps everyone else out.
func readable(dir string) error {
	return filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			return os.Chmod(p, 0o755)
		}
		return os.Chmod(p, 0o644)
	})
}

// Update implements kernel.Runtime.
func (r *Runtime) Update(ctx context.Context, name string, l kernel.Limits) error {
	ctx = scoped(ctx)
	if err := r.await(ctx); err != nil {
		return err
	}
	task, err := r.task(ctx, name)
	if err != nil {
		return err
	}
	return task.Update(ctx, client.WithResources(resources(nil, l)))
}

func (r *Runtime) task(ctx context.Context, name string) (client.Task, error) {
	c, err := r.c.LoadContainer(ctx, name)
	if err != nil {
		return nil, err
	}
	return c.Task(ctx, nil)
}

// Remove implements kernel.Runtime.
func (r *Runtime) Remove(ctx context.Context, name string) error {
	if err := r.remove(scoped(ctx), name); err != nil {
		return err
	}
	r.peaks.forget(name)
	return pager.End(r.pagerDir(name)) // not before: its processes must not read zeros
}

func (r *Runtime) remove(ctx context.Context, name string) error {
	if err := r.await(ctx); err != nil {
		return err
	}
	c, err := r.c.LoadContainer(ctx, name)
	if errdefs.IsNotFound(err) {
		return r.removeSnapshot(ctx, name)
	}
	if err != nil {
		return err
	}
	if task, err := c.Task(ctx, nil); err == nil {
		// Not Wait: it never ends for a task whose restore failed.
		stuck := time.AfterFunc(removeLimit, func() { r.breakOff(name) })
		defer stuck.Stop()
		if _, err := task.Delete(ctx, client.WithProcessKill); err != nil && !errdefs.IsNotFound(err) {
			task.Kill(ctx, syscall.SIGKILL)
			if _, err := task.Delete(ctx, client.WithProcessKill); err != nil && !errdefs.IsNotFound(err) {
				return fmt.Errorf("task %s: %w", name, err)
			}
		}
	} else if !errdefs.IsNotFound(err) {
		return err
	}
	if err := c.Delete(ctx, client.WithSnapshotCleanup); err != nil && !errdefs.IsNotFound(err) {
		return err
	}
	return r.removeSnapshot(ctx, name)
}

func (r *Runtime) removeSnapshot(ctx context.Context, name string) error {
	if err := r.c.SnapshotService(snapshotter).Remove(ctx, name); err != nil && !errdefs.IsNotFound(err) {
		return err
	}
	return nil
}

// List implements kernel.Runtime.
func (r *Runtime) List(ctx context.Context) ([]kernel.Status, error) {
	ctx = scoped(ctx)
	list, err := r.c.ContainerService().List(ctx)
	if err != nil {
		return nil, err
	}
	running, err := r.c.TaskService().List(ctx, &tasks.ListTasksRequest{})
	if err != nil {
		return nil, err
	}
	pids, ended := map[string]int{}, map[string]time.Time{}
	for _, p := range running.Tasks {
		if p.ExitedAt.AsTime().Unix() <= 0 {
			pids[p.ID] = int(p.Pid)
		} else {
			ended[p.ID] = p.ExitedAt.AsTime()
		}
	}
	out := make([]kernel.Status, 0, len(list))
	for _, c := range list {
		pid := pids[c.ID]
		if pid != 0 && syscall.Kill(pid, 0) != nil {
			pid = 0
		}
		out = append(out, kernel.Status{Name: c.ID, Labels: c.Labels, Running: pid != 0, PID: pid, Ended: ended[c.ID]})
	}
	return out, nil
}
