package hub

import (
	"context"
	"errors"
	"net"
	"slices"
	"sync"
	"time"

	"cellar/internal/fault"
	"cellar/kernel"
	"cellar/kernel/keep"
	"cellar/kernel/terminal"
	"cellar/node"
)

const (
	appDial = 5 * time.Second
	// maxAppConns bounds the connections to applications of one project: each is
	// two descriptors of the hub's.
	maxAppConns = 256
)

var (
	errAppsFull = fault.New(fault.Unavailable, "too_many_connections", "Too many connections to applications of this project are open. Close some pages of it and try again.")
	errOurPort  = fault.New(fault.Invalid, "port_reserved", "The ports 7397 to 7399 are Cellar's own. Let the application listen on another one.")
	errAppPort  = fault.New(fault.Invalid, "port_invalid", "A port is a number from 1 to 65535.")
)

// NothingListens is the code of errors that say that no application was found.
const NothingListens = "nothing_listens"

// apps are the open connections to applications.
type apps struct {
	mu    sync.Mutex
	conns map[*appConn]struct{}
	n     map[string]int // by project, those that are being opened too
}

// appConn is a connection into a container.
type appConn struct {
	net.Conn
	apps      *apps
	project   string
	container string
	once      sync.Once
}

// Close implements net.Conn.
func (c *appConn) Close() error {
	c.once.Do(func() {
		c.apps.mu.Lock()
		delete(c.apps.conns, c)
		c.apps.mu.Unlock()
		c.apps.leave(c.project)
	})
	return c.Conn.Close()
}

func (a *apps) enter(project string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.n[project] >= maxAppConns {
		return errAppsFull
	}
	if a.n == nil {
		a.n, a.conns = map[string]int{}, map[*appConn]struct{}{}
	}
	a.n[project]++
	return nil
}

func (a *apps) leave(project string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.n[project]--; a.n[project] <= 0 {
		delete(a.n, project)
	}
}

func (a *apps) add(project, container string, conn net.Conn) net.Conn {
	c := &appConn{Conn: conn, apps: a, project: project, container: container}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.conns[c] = struct{}{}
	return c
}

// drop closes the connections into a container that was frozen: its sockets went
// without a word, and a page would wait for them for ever.
func (a *apps) drop(container string) {
	a.mu.Lock()
	var list []*appConn
	for c := range a.conns {
		if c.container == container {
			list = append(list, c)
		}
	}
	a.mu.Unlock()
	for _, c := range list {
		c.Close()
	}
}

// DialApp connects to what listens on a port in a project: in its terminals'
// container, else in the kernels that run, the newest first. It wakes none.
func (h *Hub) DialApp(ctx context.Context, p Project, port int) (net.Conn, error) {
	switch {
	case port < 1 || port > 65535:
		return nil, errAppPort
	case slices.Contains([]int{keep.Port, node.WorkerPort, terminal.Port}, port):
		return nil, errOurPort
	}
	if err := h.apps.enter(p.ID); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, appDial)
	defer cancel()
	list, err := h.containers(ctx)
	if err != nil {
		h.apps.leave(p.ID)
		return nil, fault.Wrap(fault.Unavailable, "containerd", "The project's containers cannot be looked at now.", err)
	}
	var failures []error
	for _, name := range appContainers(p.ID, list, h.LiveOf(p.ID)) {
		conn, err := h.Runtime.Dial(ctx, name, port)
		if err == nil {
			return h.apps.add(p.ID, name, conn), nil
		}
		failures = append(failures, err)
	}
	h.apps.leave(p.ID)
	return nil, nothingListens(port, errors.Join(failures...))
}

func nothingListens(port int, cause error) error {
	e := fault.Newf(fault.Unavailable, NothingListens, "Nothing listens on port %d in this project. Start the application in a terminal or a notebook of the project, "+
		"on 127.0.0.1 or 0.0.0.0 and this port, and reload. One that was started in a notebook sleeps while its kernel does: run a cell to wake it.", port)
	e.Cause = cause
	return e
}

// appContainers are the names of the containers in which applications of a
// project may run, in the order in which they are tried.
func appContainers(project string, list []kernel.Status, live []*Live) (out []string) {
	running := map[string]bool{}
	for _, s := range list {
		if s.Labels["cellar.project"] != project || !s.Running {
			continue
		}
		running[s.Name] = true
		if s.Labels["cellar.kind"] == "terminal" {
			out = append(out, s.Name)
		}
	}
	for _, l := range slices.Backward(live) {
		if name := l.Record().Container; running[name] {
			out = append(out, name)
		}
	}
	return out
}
