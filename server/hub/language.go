package hub

import (
	"context"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"cellar/internal/fault"
	"cellar/kernel"
	"cellar/kernel/language"
)

// Bounds of the language servers of one project.
const (
	languageIdle   = 2 * time.Minute // without a client, then their container ends
	languageMemory = 2 << 30
	languagePids   = 256
	maxLanguages   = 16 // clients; each has a server of its own
)

// LanguageServer is a language server as a project has it.
type LanguageServer struct {
	language.Server
	Found   bool // it can be started
	Clients int
	// Said and Told are when a server said something last, and when it was told
	// something; zero: never.
	Said, Told time.Time
}

// languages are the containers of language servers: apart from the kernels', as
// a server's pipes and timers would make a kernel unfreezable, and from the
// terminals', which end with the last shell. They end with the hub, too: whoever
// edits comes back by itself, and nothing is in them that is not in the files.
type languages struct {
	mu   sync.Mutex
	list map[languageKey]*languageHost
}

type languageKey struct{ project, image string }

// languageHost is one container, and who uses it.
type languageHost struct {
	turn      chan struct{} // has one place: who starts the container
	container string        // whoever has the turn
	clients   map[*languageConn]struct{}
	pending   int       // clients that are coming
	free      time.Time // since when nobody uses it
}

// languageConn is a connection to a language server.
type languageConn struct {
	net.Conn
	id         string
	said, told atomic.Int64 // Unix nanoseconds
	leave      func()
	once       sync.Once
}

// Read implements io.Reader.
func (c *languageConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.said.Store(time.Now().UnixNano())
	return n, err
}

// Write implements io.Writer.
func (c *languageConn) Write(b []byte) (int, error) {
	c.told.Store(time.Now().UnixNano())
	return c.Conn.Write(b)
}

// Close implements io.Closer.
func (c *languageConn) Close() error {
	err := c.Conn.Close()
	c.once.Do(c.leave)
	return err
}

// homePlace looks into a project's home for language servers.
func (h *Hub) homePlace(p Project) language.Place {
	root, err := os.OpenRoot(h.homeDir(p.ID))
	if err != nil {
		return language.Place{}
	}
	defer root.Close()
	return language.InHome(root)
}

// place finds the first image in which a language server can be started.
func (h *Hub) place(s language.Server, home language.Place) (image Image, found, own bool) {
	for _, image := range h.images {
		if found, own := s.In(image.Languages, home); found {
			return image, true, own
		}
	}
	return Image{}, false, false
}

// LanguageServers lists the language servers that we know, those first that the
// project has. What a person has installed takes the place of the image's for
// the same language: it was installed to be used.
func (h *Hub) LanguageServers(p Project) []LanguageServer {
	home := h.homePlace(p)
	var out []LanguageServer
	owned := map[string]bool{} // languages
	own := map[string]bool{}   // servers
	for _, s := range language.Servers {
		v := LanguageServer{Server: s}
		_, v.Found, own[s.ID] = h.place(s, home)
		for _, l := range s.Languages {
			owned[l] = owned[l] || own[s.ID]
		}
		out = append(out, v)
	}
	for i := range out {
		v := &out[i]
		v.Found = v.Found && (own[v.ID] || !slices.ContainsFunc(v.Languages, func(l string) bool { return owned[l] }))
		h.languages.count(p.ID, v)
	}
	slices.SortStableFunc(out, func(a, b LanguageServer) int {
		if a.Found == b.Found {
			return 0
		} else if a.Found {
			return -1
		}
		return 1
	})
	return out
}

func (ls *languages) count(project string, v *LanguageServer) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	latest := func(t *time.Time, nanos int64) {
		if at := time.Unix(0, nanos); nanos > 0 && at.After(*t) {
			*t = at
		}
	}
	for key, host := range ls.list {
		if key.project != project {
			continue
		}
		for c := range host.clients {
			if c.id == v.ID {
				v.Clients++
				latest(&v.Said, c.said.Load())
				latest(&v.Told, c.told.Load())
			}
		}
	}
}

// OpenLanguage starts a language server for one client and connects to its
// standard input and output. It ends when the connection is closed.
func (h *Hub) OpenLanguage(ctx context.Context, p Project, id string) (net.Conn, error) {
	s, known := language.Find(id)
	if !known {
		return nil, fault.New(fault.NotFound, "language_server_not_found", "There is no language server by that name.")
	}
	image, found, _ := h.place(s, h.homePlace(p))
	switch {
	case !found && len(h.images) == 0 && h.NoImage != nil:
		return nil, h.NoImage
	case !found:
		return nil, missingLanguage(s)
	}
	host, err := h.languages.enter(languageKey{p.ID, image.Ref})
	if err != nil {
		return nil, err
	}
	conn, err := h.startLanguage(ctx, p, image, host, s)
	c := &languageConn{Conn: conn, id: id}
	c.leave = func() { h.languages.leave(host, c) }
	h.languages.arrived(host, c, err == nil)
	if err != nil {
		return nil, fault.Wrap(fault.Unavailable, "language_server_failed", "The language server did not start.", err)
	}
	return c, nil
}

func missingLanguage(s language.Server) error {
	how := "It is not in the kernel image."
	for _, by := range slices.Sorted(maps.Keys(s.Install)) {
		how = "Install it in the project, in a terminal: " + s.Install[by]
	}
	return fault.Newf(fault.Unsupported, "language_server_missing", "This project has no %s. %s", s.Name, how)
}

func (ls *languages) enter(key languageKey) (*languageHost, error) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	n := 0
	for k, host := range ls.list {
		if k.project == key.project {
			n += len(host.clients) + host.pending
		}
	}
	if n >= maxLanguages {
		return nil, fault.Newf(fault.Exhausted, "too_many_language_servers", "This project has %d language servers running, which is the limit. Close some pages of it.", n)
	}
	if ls.list == nil {
		ls.list = map[languageKey]*languageHost{}
	}
	host := ls.list[key]
	if host == nil {
		host = &languageHost{turn: make(chan struct{}, 1), clients: map[*languageConn]struct{}{}}
		ls.list[key] = host
	}
	host.pending++
	return host, nil
}

// arrived ends a client's coming: it is there, or it failed.
func (ls *languages) arrived(host *languageHost, c *languageConn, there bool) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	host.pending--
	host.free = time.Now()
	if there {
		host.clients[c] = struct{}{}
	}
}

func (ls *languages) leave(host *languageHost, c *languageConn) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	delete(host.clients, c)
	host.free = time.Now()
}

// startLanguage starts a server, and its container if there is none.
func (h *Hub) startLanguage(ctx context.Context, p Project, image Image, host *languageHost, s language.Server) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	container, err := h.languageContainer(ctx, p, image, host)
	if err != nil {
		return nil, err
	}
	var conn net.Conn
	err = poll(ctx, func() (err error) {
		conn, err = h.Runtime.Dial(ctx, container, language.Port)
		return err
	})
	if err != nil {
		return nil, err
	}
	return conn, language.Start(conn, s.Argv, s.Env)
}

func (h *Hub) languageContainer(ctx context.Context, p Project, image Image, host *languageHost) (string, error) {
	select {
	case host.turn <- struct{}{}:
		defer func() { <-host.turn }()
	case <-ctx.Done():
		return "", ctx.Err()
	}
	list, err := h.containers(ctx)
	if err != nil {
		return "", err
	}
	for _, s := range list {
		if s.Name != host.container {
			continue
		}
		if s.Running {
			return s.Name, nil
		}
		if err := h.Runtime.Remove(ctx, s.Name); err != nil { // it ran out of memory, perhaps
			return "", err
		}
	}
	conf, err := h.Configuration("")
	if err != nil {
		return "", err
	}
	if err := h.prepareProject(p); err != nil {
		return "", err
	}
	name := fmt.Sprintf("languages-%x-%s", p.UIDBase, newID()[:6])
	c := h.base(p, KernelSpec{}, name, "language", h.Parts)
	c.Image, c.Limits = image.Ref, h.limits(conf, nil) // no network: they read what is there
	c.Limits.Memory, c.Limits.Pids = languageMemory, languagePids
	c.LogFile = filepath.Join(h.projectDir(p.ID), "languages.log")
	c.Mounts = append(c.Mounts, kernel.Mount{Source: h.FilesDir(p.ID), Target: "/project"}, kernel.Mount{Source: h.homeDir(p.ID), Target: "/home/cellar"})
	c.Env = slices.DeleteFunc(c.Env, func(e string) bool { return strings.HasPrefix(e, "MPLBACKEND=") })
	c.Argv = []string{"/opt/cellar/cellar-keep", "languages", "--dir", "/project"}
	if err := h.Runtime.Create(ctx, c); err != nil {
		return "", err
	}
	host.container = name
	return name, nil
}

// sweepLanguages ends containers that nobody uses.
func (h *Hub) sweepLanguages(now time.Time) {
	for _, host := range h.languages.take(func(_ languageKey, host *languageHost) bool {
		return len(host.clients)+host.pending == 0 && now.Sub(host.free) > languageIdle
	}) {
		h.wg.Go(func() {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(h.ctx), time.Minute)
			defer cancel()
			if err := h.removeLanguages(ctx, host); err != nil {
				h.Log.Error("container of language servers not removed", "container", host.container, "error", err)
			}
		})
	}
}

// take forgets hosts; who comes next gets another container.
func (ls *languages) take(which func(languageKey, *languageHost) bool) (out []*languageHost) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	for key, host := range ls.list {
		if which(key, host) {
			delete(ls.list, key)
			out = append(out, host)
		}
	}
	return out
}

// endLanguages ends the language servers of a project.
func (h *Hub) endLanguages(ctx context.Context, project string) error {
	for _, host := range h.languages.take(func(key languageKey, _ *languageHost) bool { return key.project == project }) {
		if err := h.removeLanguages(ctx, host); err != nil {
			return err
		}
	}
	return nil
}

func (h *Hub) removeLanguages(ctx context.Context, host *languageHost) error {
	select {
	case host.turn <- struct{}{}: // kept: nobody starts one in a host that is forgotten
	case <-ctx.Done():
		return ctx.Err()
	}
	h.languages.mu.Lock()
	clients := slices.Collect(maps.Keys(host.clients))
	h.languages.mu.Unlock()
	for _, c := range clients {
		c.Close()
	}
	if host.container == "" {
		return nil
	}
	return h.Runtime.Remove(ctx, host.container)
}
