package hub

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/uuid"

	"cellar/internal/fault"
	"cellar/kernel"
	"cellar/kernel/keep"
	"cellar/kernel/wire"
)

// kernelUID is the user that kernels run as, inside their containers.
const kernelUID = 1000

// StartKernel starts a kernel for a project. dir is its working folder below
// the project's files.
func (h *Hub) StartKernel(ctx context.Context, p Project, spec, dir, configuration string) (*Live, error) {
	s, err := h.Spec(spec)
	if err != nil {
		h.acted(p.ID, Action{"", spec, "start", err})
		return nil, err
	}
	c, err := h.Offer(configuration)
	if err != nil {
		h.acted(p.ID, Action{"", s.Name, "start", err})
		return nil, err
	}
	if err := h.mayUse(p); err != nil {
		h.acted(p.ID, Action{"", s.Name, "start", err})
		return nil, err
	}
	now := time.Now()
	l := h.newLive(Kernel{
		ID: kernel.ID(uuid.NewString()), Project: p.ID, Spec: s.Name, Image: s.Image, Dir: dir, Configuration: c.Name,
		State: kernel.Starting, Journal: "journal-1", Parts: h.Parts, Address: h.freeAddress(), CreatedAt: now, ActiveAt: now, Since: now,
	})
	release, err := l.take(ctx)
	if err != nil {
		return nil, err
	}
	if err := h.Store.PutKernel(ctx, l.rec); err != nil {
		release()
		return nil, err
	}
	h.mu.Lock()
	h.live[l.rec.ID] = l
	h.mu.Unlock()
	// The kernel starts on its own time: the caller gets its ID at once, as from
	// any Jupyter server, and what is sent meanwhile waits.
	h.wg.Go(func() {
		defer release()
		err := h.startInLine(context.WithoutCancel(ctx), l)
		if err == errShut {
			return
		}
		l.acted("start", err)
		if err != nil {
			h.Log.Error("kernel did not start", "kernel", l.rec.ID, "project", p.ID, "error", err)
		}
	})
	return l, nil
}

// startInLine starts a kernel that is new once there is room for it; the deed is
// held. One that leaves the line ends.
func (h *Hub) startInLine(ctx context.Context, l *Live) error {
	leave, err := h.awaitRoom(ctx, l, l.Record().CreatedAt)
	if err == errShut {
		return err
	}
	if err != nil {
		l.fail(ctx, "The kernel was not started. "+fault.Sentence(err))
		return err
	}
	defer leave()
	return h.start(ctx, l)
}

// start creates a fresh container for l, whose deed is held.
func (h *Hub) start(ctx context.Context, l *Live) error {
	l.mu.Lock()
	l.began = time.Now()
	l.mu.Unlock()
	if h.fromTemplate(ctx, l) {
		return nil
	}
	l.mu.Lock()
	l.hold = nil
	l.mu.Unlock()
	c, err := h.container(ctx, l)
	if err == nil {
		if err = h.Runtime.Create(ctx, c); err == nil {
			if err = l.begin(ctx, c.Name, kernel.Starting); err == nil {
				if s, ok := h.specFor(l.Record()); ok {
					h.wantTemplate(s)
				}
				return nil
			}
		}
	}
	l.fail(ctx, "The kernel's container did not start: "+fault.Detail(err))
	return err
}

// begin records the container as the kernel's and connects to it.
func (l *Live) begin(ctx context.Context, container string, state kernel.State) error {
	if err := l.change(ctx, func(k *Kernel) { k.Container, k.State, k.Detail = container, state, "" }); err != nil {
		return err
	}
	if err := l.connect(ctx); err != nil {
		return err
	}
	l.mu.Lock()
	l.waking = false
	l.mu.Unlock()
	l.h.wg.Go(func() { l.awaitReady() })
	return nil
}

// awaitReady turns starting into running once the kernel has answered.
func (l *Live) awaitReady() {
	l.mu.Lock()
	ready := l.ready
	l.mu.Unlock()
	select {
	case <-l.h.ctx.Done():
	case <-ready:
		if l.Record().State == kernel.Starting {
			l.change(l.h.ctx, func(k *Kernel) { k.State = kernel.Running })
		}
	}
}

// fail ends a kernel that cannot go on and says why.
func (l *Live) fail(ctx context.Context, why string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	if name := l.Record().Container; name != "" {
		if err := l.h.Runtime.Remove(ctx, name); err != nil {
			l.h.Log.Error("container not removed", "container", name, "error", err)
		}
	}
	l.change(ctx, func(k *Kernel) { k.State, k.Container, k.Detail = kernel.Dead, "", why })
	l.toldDead()
}

// toldDead tells clients in Jupyter's way that the kernel is dead and closes
// what ran.
func (l *Live) toldDead() {
	l.mu.Lock()
	cut := l.answerOpen(l.rec.Detail, true)
	l.busy = "dead"
	l.waking = false
	l.out, l.outBytes = nil, 0
	l.say(wire.IOPub, l.says("status", nil, statusContent("dead")), "")
	l.mu.Unlock()
	l.cutOff(cut)
	l.h.wg.Go(func() { l.persist(l.h.ctx) })
}

// container describes the next incarnation of l.
func (h *Hub) container(ctx context.Context, l *Live) (kernel.Container, error) {
	l.mu.Lock()
	l.rec.Incarnation++
	rec := l.rec
	l.ready = make(chan struct{})
	l.mu.Unlock()
	p, err := h.Store.Project(ctx, rec.Project)
	if err != nil {
		return kernel.Container{}, err
	}
	conf, err := h.Configuration(rec.Configuration)
	if err != nil {
		return kernel.Container{}, err
	}
	files, home := h.FilesDir(p.ID), h.homeDir(p.ID)
	if err := h.prepareProject(p); err != nil {
		return kernel.Container{}, err
	}
	journal := l.journalDir()
	if err := h.makeOwned(p, journal); err != nil {
		return kernel.Container{}, err
	}
	s, _ := h.specFor(rec) // thawing needs none: a process comes back as it was
	c := h.base(p, s, containerName(rec.ID, rec.Incarnation), "kernel", rec.Parts)
	c.Labels["cellar.kernel"], c.Labels[labelConfiguration] = string(rec.ID), conf.Name
	c.Image = rec.Image
	c.Limits = h.limits(conf, l)
	c.Network = h.network(rec.Address)
	c.LogFile = filepath.Join(l.folder(), "container.log")
	c.Mounts = append(c.Mounts, kernelMounts(files, home, journal)...)
	c.Argv = h.keeperArgv(s, rec.Dir)
	return c, nil
}

// kernelMounts are what a kernel has of the machine's folders, besides its parts.
func kernelMounts(files, home, journal string) []kernel.Mount {
	return []kernel.Mount{{Source: files, Target: "/project"}, {Source: home, Target: "/home/cellar"}, {Source: journal, Target: "/cellar/journal"}}
}

// keeperArgv starts a kernel with its keeper, in a folder of the project.
func (h *Hub) keeperArgv(s KernelSpec, dir string) []string {
	return append([]string{"/opt/cellar/cellar-keep", "run", "--dir", path.Join("/project", dir), "--quota", fmt.Sprint(h.JournalQuota), "--"}, kernelArgv(s)...)
}

// base is what all containers of a project share.
func (h *Hub) base(p Project, s KernelSpec, name, kind, parts string) kernel.Container {
	c := kernel.Container{
		Name: name, Dir: "/project", UID: kernelUID, UIDBase: p.UIDBase,
		Labels: map[string]string{"cellar.kind": kind, "cellar.project": p.ID},
		Env: []string{
			"HOME=/home/cellar", "USER=cellar", "GODEBUG=multipathtcp=0", "PYTHONPATH=/opt/cellar/python",
			// Everything pip installs goes to the project's own place, which persists.
			"PIP_USER=1", "PIP_BREAK_SYSTEM_PACKAGES=1", "PIP_DISABLE_PIP_VERSION_CHECK=1", "PIP_ROOT_USER_ACTION=ignore",
			"JUPYTER_PLATFORM_DIRS=1", "MPLBACKEND=module://matplotlib_inline.backend_inline", "MPLCONFIGDIR=/home/cellar/.config/matplotlib",
			"XDG_RUNTIME_DIR=/run", "SHELL=/bin/bash", "PYDEVD_DISABLE_FILE_VALIDATION=1",
		},
		Mounts: []kernel.Mount{{Source: filepath.Join(h.Data, "parts", parts), Target: "/opt/cellar", ReadOnly: true}},
	}
	for _, file := range []string{"/etc/resolv.conf"} {
		if b, err := os.Stat(file); err == nil && b.Mode().IsRegular() {
			c.Mounts = append(c.Mounts, kernel.Mount{Source: file, Target: file, ReadOnly: true})
		}
	}
	if h.ProcViews != "" {
		for _, f := range []string{"cpuinfo", "meminfo", "stat", "uptime", "loadavg", "swaps"} {
			c.Mounts = append(c.Mounts, kernel.Mount{Source: filepath.Join(h.ProcViews, "proc", f), Target: "/proc/" + f, ReadOnly: true})
		}
	}
	for k, v := range s.Env {
		c.Env = append(c.Env, k+"="+v)
	}
	return c
}

// kernelArgv is the kernelspec's command with our launcher in ipykernel's place.
func kernelArgv(s KernelSpec) []string {
	argv := make([]string, 0, len(s.Argv))
	for i, a := range s.Argv {
		if a == "ipykernel_launcher" && i > 0 && s.Argv[i-1] == "-m" {
			a = "cellar_launcher"
		}
		if strings.HasPrefix(a, "-Xfrozen_modules") { // helps debugging into the standard library, costs start time
			continue
		}
		argv = append(argv, strings.ReplaceAll(a, "{resource_dir}", s.Dir))
	}
	return argv
}

// network places a container in the kernels' network by its number.
func (h *Hub) network(n uint32) kernel.Network {
	if h.Bridge.Name == "" || n == 0 {
		return kernel.Network{}
	}
	ip := func(n uint32) string {
		return fmt.Sprintf("%d.%d.%d.%d", h.Bridge.Prefix[0], h.Bridge.Prefix[1], n>>8&255, n&255)
	}
	return kernel.Network{
		Bridge: h.Bridge.Name, Address: ip(n) + "/16", Gateway: ip(1), Veth: fmt.Sprintf("%s-%x", h.Bridge.Name, n),
	}
}

// freeAddress is a number no kernel has: 2 to 65533.
func (h *Hub) freeAddress() uint32 {
	used := map[uint32]bool{}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, l := range h.live {
		used[l.rec.Address] = true
	}
	for _, n := range h.nodes.addresses() {
		used[n] = true
	}
	for n := uint32(2); n < 65534; n++ {
		if !used[n] {
			return n
		}
	}
	return 0
}

// Interrupt stops the running cell.
func (l *Live) Interrupt(ctx context.Context) (err error) {
	defer func() { l.acted("interrupt", err) }()
	l.mu.Lock()
	link := l.link
	spec, _ := l.h.specFor(l.rec)
	l.mu.Unlock()
	if link == nil {
		return fault.New(fault.Conflict, "not_running", "The kernel does not run at this moment; there is nothing to interrupt.")
	}
	if spec.InterruptMode == "message" {
		return link.Send(1, message("interrupt_request", nil, []byte("{}")))
	}
	return link.Do(keep.OpInterrupt)
}

// nextJournal names the folder of the next lineage.
func nextJournal(name string) string {
	var n int
	fmt.Sscanf(name, "journal-%d", &n)
	return fmt.Sprintf("journal-%d", n+1)
}

// Shutdown ends a kernel for good. Its checkpoints stay.
func (h *Hub) Shutdown(ctx context.Context, l *Live) (err error) {
	defer func() { l.acted("shutdown", err) }()
	h.line.quit(l.ID())
	release, err := l.take(ctx)
	if err != nil {
		return err
	}
	defer release()
	ctx = because(context.WithoutCancel(ctx), "shutdown")
	l.unlink()
	l.persist(ctx)
	rec := l.Record()
	if rec.Container != "" {
		if err := h.Runtime.Remove(ctx, rec.Container); err != nil {
			return errors.Join(err, l.connect(ctx))
		}
	}
	if err := h.Store.DeleteKernel(ctx, rec.ID); err != nil && !errors.Is(err, fault.NotFound) {
		return err
	}
	h.mu.Lock()
	delete(h.live, rec.ID)
	h.mu.Unlock()
	l.closeClients()
	h.events.send(Event{Project: rec.Project, Type: "kernel", Data: View{ID: rec.ID, State: kernel.Dead, Gone: true}})
	return l.clear()
}
