package hub

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path"
	"path/filepath"
	"strconv"
	"sync"
	"time"
	"unicode/utf8"

	"cellar/internal/fault"
	"cellar/kernel"
	"cellar/kernel/terminal"
)

// terminals keeps one container for the shells of each project: beside the
// kernels, as a shell on a terminal would make a kernel unfreezable. The
// containers outlive the hub.
type terminals struct{ mu sync.Mutex }

var errNoTerminal = fault.New(fault.NotFound, "terminal_not_found", "There is no terminal by that name.")

// shells finds the container of a project's terminals; with start it is made.
func (h *Hub) shells(ctx context.Context, p Project, start bool) (string, error) {
	h.terminals.mu.Lock() // one start at a time
	defer h.terminals.mu.Unlock()
	list, err := h.containers(ctx)
	if err != nil {
		return "", err
	}
	name := ""
	for _, s := range list {
		if s.Labels["cellar.kind"] != "terminal" || s.Labels["cellar.project"] != p.ID {
			continue
		}
		if s.Running {
			return s.Name, h.countShells(ctx, p, s)
		}
		if err := h.Runtime.Remove(ctx, s.Name); err != nil {
			return "", err
		}
	}
	if !start {
		return "", nil
	}
	if err := h.mayUse(p); err != nil {
		return "", err
	}
	name = fmt.Sprintf("terminals-%x-%s", p.UIDBase, newID()[:6])
	conf, err := h.Configuration("")
	if err != nil {
		return "", err
	}
	if err := h.prepareProject(p); err != nil {
		return "", err
	}
	s, err := h.Spec("")
	if err != nil {
		return "", err
	}
	c := h.base(p, s, name, "terminal", h.Parts)
	c.Labels[labelConfiguration] = conf.Name
	address := h.freeAddress()
	h.nodes.use(address, true)
	c.Image, c.Limits, c.Network = s.Image, h.limits(conf, nil), h.network(address)
	c.LogFile = filepath.Join(h.projectDir(p.ID), "terminals.log")
	c.Mounts = append(c.Mounts, kernel.Mount{Source: h.FilesDir(p.ID), Target: "/project"}, kernel.Mount{Source: h.homeDir(p.ID), Target: "/home/cellar"})
	c.Argv = []string{"/opt/cellar/cellar-keep", "terminals", "--dir", "/project", "--", "/bin/bash", "-l"}
	c.Env = append(c.Env, `PS1=\w \$ `)
	return name, h.Runtime.Create(ctx, c)
}

// dialShells connects to the terminals' server, waiting for a container that
// has only just begun.
func (h *Hub) dialShells(ctx context.Context, container string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	var conn net.Conn
	err := poll(ctx, func() (err error) {
		conn, err = h.Runtime.Dial(ctx, container, terminal.Port)
		return err
	})
	return conn, err
}

// Terminals lists the terminals of a project.
func (h *Hub) Terminals(ctx context.Context, p Project) ([]terminal.Info, error) {
	name, err := h.shells(ctx, p, false)
	if err != nil || name == "" {
		return nil, err
	}
	conn, err := h.dialShells(ctx, name)
	if err != nil {
		return nil, err
	}
	return terminal.Ask(conn, terminal.Request{Op: "list"})
}

// NewTerminal opens a terminal and returns its name; wish may be empty.
func (h *Hub) NewTerminal(ctx context.Context, p Project, wish, dir string) (string, error) {
	if wish != "" {
		if err := checkTerminalName(wish); err != nil {
			return "", err
		}
	}
	list, err := h.Terminals(ctx, p)
	if err != nil {
		return "", err
	}
	taken := map[string]bool{}
	for _, t := range list {
		taken[t.Name] = true
	}
	for n := 1; wish == ""; n++ {
		if s := strconv.Itoa(n); !taken[s] {
			wish = s
		}
	}
	c, err := h.AttachTerminal(ctx, p, wish, true, dir)
	if err != nil {
		return "", err
	}
	return wish, c.Close()
}

func checkTerminalName(name string) error {
	if name == "" || len(name) > 64 || name != path.Base(path.Clean("/"+name)) || !utf8.ValidString(name) {
		return fault.New(fault.Invalid, "terminal_name", "A terminal's name has up to 64 characters and no slash.")
	}
	return nil
}

// AttachTerminal shows a terminal.
func (h *Hub) AttachTerminal(ctx context.Context, p Project, name string, start bool, dir string) (*terminal.Client, error) {
	if err := checkTerminalName(name); err != nil {
		return nil, err
	}
	container, err := h.shells(ctx, p, start)
	if err != nil && (errors.Is(err, h.NoImage) || fault.CodeOf(err) == UnitsCode) {
		return nil, err // says more, and what the operator can do
	}
	if err != nil {
		return nil, fault.Wrap(fault.Unavailable, "terminal_failed", "The terminals' container did not start.", err)
	}
	if container == "" {
		return nil, errNoTerminal
	}
	conn, err := h.dialShells(ctx, container)
	if err != nil {
		return nil, err
	}
	c, err := terminal.Attach(conn, terminal.Request{Name: name, New: start, Dir: path.Join("/project", cleanDir(dir))})
	if errors.Is(err, terminal.ErrNone) {
		return nil, errNoTerminal
	}
	if errors.Is(err, terminal.ErrFull) {
		return nil, fault.Newf(fault.Exhausted, "too_many_terminals", "This project has %d terminals, or this terminal as many viewers: no more are opened. Close some first.", terminal.MaxTerminals)
	}
	return c, err
}

// CloseTerminal ends a terminal, and with the last one their container.
func (h *Hub) CloseTerminal(ctx context.Context, p Project, name string) error {
	container, err := h.shells(ctx, p, false)
	if err != nil {
		return err
	}
	if container == "" {
		return errNoTerminal
	}
	conn, err := h.dialShells(ctx, container)
	if err != nil {
		return err
	}
	if _, err := terminal.Ask(conn, terminal.Request{Op: "close", Name: name}); errors.Is(err, terminal.ErrNone) {
		return errNoTerminal
	} else if err != nil {
		return err
	}
	if left, err := h.Terminals(ctx, p); err != nil || len(left) > 0 {
		return err
	}
	return h.endShells(ctx, p)
}

func (h *Hub) endShells(ctx context.Context, p Project) error {
	container, err := h.shells(ctx, p, false)
	if err != nil || container == "" {
		return err
	}
	return h.Runtime.Remove(ctx, container)
}

// countShells has the ledger know a container of terminals that is older than it.
func (h *Hub) countShells(ctx context.Context, p Project, s kernel.Status) error {
	if _, held := h.ledger.of(s.Name); held {
		return nil
	}
	conf, err := h.Configuration(s.Labels[labelConfiguration])
	if err != nil {
		return err
	}
	return h.found(ctx, kernel.Container{Name: s.Name, Labels: map[string]string{"cellar.kind": HolderTerminal, "cellar.project": p.ID, labelConfiguration: conf.Name}})
}
