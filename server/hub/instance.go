package hub

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"cellar/checkpoint/criu"
	"cellar/internal/fault"
	"cellar/kernel"
	"cellar/kernel/keep"
	"cellar/kernel/wire"
	"cellar/node"
)

// instance is a thawed copy of a node's checkpoint in a container of its own.
type instance struct {
	h       *Hub
	name    string
	dir     string
	address uint32
	door    kernel.Door
	link    *keep.Client
	done    chan struct{}
	once    sync.Once
}

// startInstance thaws a node's checkpoint and sets the worker going in it.
func (h *Hub) startInstance(ctx context.Context, n Node, r Revision) (_ *instance, err error) {
	p, err := h.Store.Project(ctx, n.Project)
	if err != nil {
		return nil, err
	}
	if err := h.mayUse(p); err != nil {
		return nil, err
	}
	c, err := h.Store.Checkpoint(ctx, n.Project, r.Checkpoint)
	if err != nil {
		return nil, err
	}
	if err := h.mayThaw(c); err != nil {
		return nil, err
	}
	conf, err := h.Configuration(r.Configuration)
	if err != nil {
		return nil, err
	}
	id := newID()[:8]
	i := &instance{h: h, name: "node-" + n.ID + "-" + id, dir: filepath.Join(h.nodeDir(n.ID), "instance-"+id), address: h.freeAddress(), done: make(chan struct{})}
	h.nodes.use(i.address, true)
	defer func() {
		if err != nil {
			i.Close()
			err = fault.Wrap(fault.Unavailable, "instance_failed", "The node's published state could not be brought to life: "+fault.Sentence(err), err)
		}
	}()
	k := h.base(p, h.specs[h.DefaultSpec], i.name, "node", c.Parts)
	k.Labels["cellar.node"], k.Labels[labelConfiguration] = n.ID, conf.Name
	k.Image, k.Limits, k.Network = c.Image, h.limits(conf, nil), h.network(i.address)
	k.Argv = []string{"/opt/cellar/cellar-keep"}
	if err := i.mounts(p, r, &k); err != nil {
		return nil, err
	}
	dump := filepath.Join(h.revisionDir(r), "dump")
	k.Wanted = filepath.Join(h.revisionDir(r), "wanted.json")
	if _, err := criu.AdoptSizes(dump, func(name string) (string, string) { return onMachine(k.Mounts, name) }, elsewhere(filepath.Join(h.revisionDir(r), "home"))); err != nil {
		return nil, err
	}
	if err := h.Runtime.Restore(ctx, k, dump); err != nil {
		return nil, err
	}
	h.wg.Go(func() {
		if err := h.Runtime.Drained(h.ctx, i.name); err != nil && h.ctx.Err() == nil {
			// It would wait for ever: ended, it is replaced.
			h.Log.Error("the memory of a node's instance does not come", "node", n.ID, "instance", i.name, "error", err)
			h.Runtime.Remove(h.ctx, i.name)
		}
	})
	if i.door, err = h.Runtime.Door(ctx, i.name); err != nil {
		return nil, err
	}
	return i, i.serve(ctx, c, r)
}

// mounts gives the instance its own view of the node's files and packages: what
// a call writes stays in the instance and goes with it.
func (i *instance) mounts(p Project, r Revision, k *kernel.Container) error {
	owner := p.FileOwner()
	if err := os.MkdirAll(i.dir, 0o711); err != nil {
		return err
	}
	for sub, target := range map[string]string{"files": "/project", "home": "/home/cellar"} {
		layers := map[string]string{}
		for _, l := range []string{"upper", "work", "merged"} {
			layers[l] = filepath.Join(i.dir, sub+"-"+l)
			if err := errors.Join(os.Mkdir(layers[l], 0o755), os.Lchown(layers[l], owner, owner)); err != nil {
				return err
			}
		}
		options := fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s", filepath.Join(i.h.revisionDir(r), sub), layers["upper"], layers["work"])
		if err := unix.Mount("overlay", layers["merged"], "overlay", unix.MS_NOSUID|unix.MS_NODEV, options); err != nil {
			return os.NewSyscallError("mount overlay", err)
		}
		k.Mounts = append(k.Mounts, kernel.Mount{Source: layers["merged"], Target: target})
	}
	journal := filepath.Join(i.dir, "journal")
	if err := copyTree(filepath.Join(i.h.revisionDir(r), "journal"), journal, owner, 1<<50); err != nil {
		return err
	}
	k.Mounts = append(k.Mounts, kernel.Mount{Source: journal, Target: "/cellar/journal"})
	k.LogFile = filepath.Join(i.h.nodeDir(r.Node), "container.log")
	return nil
}

// serve tells the thawed kernel to become the cell's worker, and waits until it
// takes calls.
func (i *instance) serve(ctx context.Context, c Checkpoint, n Revision) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	var conn net.Conn
	if err := poll(ctx, func() (err error) { conn, err = i.door.Dial(ctx, keep.Port); return err }); err != nil {
		return err
	}
	link, err := keep.Open(conn, c.Seq+1)
	if err != nil {
		conn.Close()
		return err
	}
	i.link = link
	var outputs []node.Field
	if err := json.Unmarshal(n.Outputs, &outputs); err != nil {
		return err
	}
	names := []string{}
	for _, f := range outputs {
		names = append(names, f.Name)
	}
	args, err := json.Marshal([]any{n.Source, n.Cell, names, node.WorkerPort})
	if err != nil {
		return err
	}
	header, _ := json.Marshal(wire.Header{MsgID: newID(), MsgType: "execute_request", Session: hubSession, Username: "cellar", Date: wire.Date(time.Now().UTC().Format(time.RFC3339Nano)), Version: "5.3"})
	content, _ := json.Marshal(map[string]any{
		"code": fmt.Sprintf("__import__('cellar_kernel.worker').worker.serve(get_ipython(), *__import__('json').loads(bytes.fromhex('%s')))", hex.EncodeToString(args)),
		// silent: nothing of it is to be seen; an error comes back as the reply.
		"silent": true, "store_history": false, "allow_stdin": false, "user_expressions": map[string]string{},
	})
	if err := link.Send(wire.Shell, &wire.Message{Header: header, Content: content}); err != nil {
		return err
	}
	failed := make(chan string, 1)
	go i.follow(failed)
	return poll(ctx, func() error {
		select {
		case why := <-failed:
			return permanent{fault.New(fault.Invalid, "cell_failed", why)}
		default:
		}
		conn, err := i.door.Dial(ctx, node.WorkerPort)
		if err == nil {
			conn.Close()
		}
		return err
	})
}

// follow takes in what the instance's keeper says until it ends: an error of
// the worker's start, the kernel's end.
func (i *instance) follow(failed chan<- string) {
	defer close(i.done)
	for {
		r, err := i.link.Next()
		if err != nil {
			return
		}
		if r.Channel == wire.Shell {
			var c struct {
				Status, EName, EValue string
			}
			if json.Unmarshal(r.Message.Content, &c) == nil && c.Status == "error" {
				select {
				case failed <- "The cell cannot be served: " + c.EName + ": " + c.EValue:
				default:
				}
			}
		}
		var e keep.Event
		if r.Channel == wire.Event && json.Unmarshal(r.Message.Content, &e) == nil && e.Event == keep.EventExited {
			return
		}
		if r.Seq%1000 == 0 {
			i.link.Ack(r.Seq)
		}
	}
}

type permanent struct{ error }

func (p permanent) Unwrap() error { return p.error }

// poll tries until it works, the time is over or the error is permanent.
func poll(ctx context.Context, try func() error) error {
	for {
		err := try()
		var p permanent
		if err == nil || errors.As(err, &p) {
			return err
		}
		select {
		case <-ctx.Done():
			return fault.Wrap(fault.Unavailable, "no_answer", "It does not answer.", err)
		case <-time.After(2 * time.Millisecond):
		}
	}
}

// Dial implements node.Instance.
func (i *instance) Dial(ctx context.Context) (net.Conn, error) {
	return i.door.Dial(ctx, node.WorkerPort)
}

// Done implements node.Instance.
func (i *instance) Done() <-chan struct{} { return i.done }

// Close implements node.Instance.
func (i *instance) Close() {
	i.once.Do(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(i.h.ctx), time.Minute)
		defer cancel()
		if i.link != nil {
			i.link.Close()
		}
		if i.door != nil {
			i.door.Close()
		}
		if err := i.h.Runtime.Remove(ctx, i.name); err != nil {
			i.h.Log.Error("instance not removed", "instance", i.name, "error", err)
		}
		i.h.unmountInstance(i.dir)
		i.h.nodes.use(i.address, false)
	})
}

// unmountInstance lets go of an instance's folder.
func (h *Hub) unmountInstance(dir string) {
	for _, sub := range []string{"files-merged", "home-merged"} {
		if err := unix.Unmount(filepath.Join(dir, sub), unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
			h.Log.Warn("not unmounted", "dir", dir, "error", err)
			return // never remove what may still be mounted
		}
	}
	if err := os.RemoveAll(dir); err != nil {
		h.Log.Warn("instance folder not removed", "dir", dir, "error", err)
	}
}

// sweepInstances lets go of folders that instances of an earlier hub left.
func (h *Hub) sweepInstances() {
	dirs, err := filepath.Glob(filepath.Join(h.Data, "nodes", "*", "instance-*"))
	if err != nil {
		return
	}
	for _, d := range dirs {
		h.unmountInstance(d)
	}
}
