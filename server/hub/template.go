package hub

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"cellar/internal/fault"
	"cellar/kernel"
	"cellar/kernel/keep"
	"cellar/kernel/wire"
)

// A template is a kernel that was frozen when it had started and nothing had been
// run in it. Kernels begin from it: to thaw one takes a third of the time that an
// interpreter needs for its imports. It is made in a container of its own, with an
// empty project and an empty home, so that nothing of any person is in it.

// template is what the hub knows of one.
type template struct {
	// Modules are the packages that are loaded in it: whoever has others by these
	// names in his home begins as usual.
	Modules []string `json:"modules"`
	dir     string
}

// templates are those there are, by key.
type templates struct {
	making sync.Mutex // one at a time

	mu   sync.Mutex
	list map[string]*template
	not  map[string]bool // made at present, or not to be had until the hub is started again
}

const (
	// templateUID is the range of the machine's user IDs that templates are made
	// in: the one below the projects' first.
	templateUID = 1<<28 - idRange
	// templateAfter is how long after a kernel's start its template is made: who
	// has started it works with it now.
	templateAfter = 3 * time.Second
	templateLimit = 2 * time.Minute
	templateFile  = "template.json"
	maxModules    = 64 << 10 // bytes of their names
)

func (h *Hub) templatesDir() string { return filepath.Join(h.Data, "templates") }

// templateKey names what a template depends on.
func (h *Hub) templateKey(s KernelSpec) string {
	b, _ := json.Marshal([]any{s.Image, s.Own, s.Argv, s.Env, h.Parts, bootID()})
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:12])
}

// openTemplates finds those of before and removes what no kernel can begin from.
func (h *Hub) openTemplates() error {
	h.templates.list, h.templates.not = map[string]*template{}, map[string]bool{}
	entries, err := os.ReadDir(h.templatesDir())
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	wanted := map[string]bool{}
	for _, s := range h.specs {
		wanted[h.templateKey(s)] = h.Templates
	}
	for _, e := range entries {
		t := &template{dir: filepath.Join(h.templatesDir(), e.Name())}
		b, err := os.ReadFile(filepath.Join(t.dir, templateFile))
		if err == nil && wanted[e.Name()] && json.Unmarshal(b, t) == nil {
			h.templates.list[e.Name()] = t
			continue
		}
		if err := os.RemoveAll(t.dir); err != nil {
			return err
		}
	}
	return nil
}

// templateOf is the template of a kernel, or nil.
func (h *Hub) templateOf(s KernelSpec) *template {
	h.templates.mu.Lock()
	defer h.templates.mu.Unlock()
	return h.templates.list[h.templateKey(s)]
}

// dropTemplate gives up a template from which a kernel did not come to life.
func (h *Hub) dropTemplate(s KernelSpec) {
	key := h.templateKey(s)
	h.templates.mu.Lock()
	delete(h.templates.list, key)
	h.templates.not[key] = true
	h.templates.mu.Unlock()
	// Its files stay until the next start: another kernel may be beginning from it.
}

// wantTemplate makes a template for kernels like the one that has just started,
// in a while.
func (h *Hub) wantTemplate(s KernelSpec) {
	if !h.Templates || s.Language != "python" { // others cannot be made kernels of their own
		return
	}
	key := h.templateKey(s)
	h.templates.mu.Lock()
	defer h.templates.mu.Unlock()
	if h.templates.list[key] != nil || h.templates.not[key] {
		return
	}
	h.templates.not[key] = true
	h.wg.Go(func() {
		select {
		case <-h.ctx.Done():
			return
		case <-time.After(templateAfter):
		}
		h.templates.making.Lock()
		defer h.templates.making.Unlock()
		ctx, cancel := context.WithTimeout(h.ctx, templateLimit)
		defer cancel()
		start := time.Now()
		t, err := h.makeTemplate(ctx, s, key)
		if err != nil {
			if h.ctx.Err() == nil {
				h.Log.Warn("no template of a kernel; each starts as usual", "spec", s.Name, "error", err)
			}
			return
		}
		h.templates.mu.Lock()
		defer h.templates.mu.Unlock()
		h.templates.list[key] = t
		delete(h.templates.not, key)
		h.Log.Info("template made", "spec", s.Name, "key", key, "took", time.Since(start))
	})
}

// makeTemplate starts a kernel and freezes it. It is whole under its own name, or
// not there.
func (h *Hub) makeTemplate(ctx context.Context, s KernelSpec, key string) (*template, error) {
	dir := filepath.Join(h.templatesDir(), key+".new")
	if err := os.RemoveAll(dir); err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	if err := room(h.Data, 256<<20); err != nil {
		return nil, err
	}
	c, err := h.templateContainer(s, key, dir)
	if err != nil {
		return nil, err
	}
	if err := h.Runtime.Create(ctx, c); err != nil {
		return nil, err
	}
	t := &template{dir: filepath.Join(h.templatesDir(), key)}
	if t.Modules, err = h.freezeTemplate(ctx, c.Name, filepath.Join(dir, "dump")); err != nil {
		undo, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
		defer cancel()
		return nil, errors.Join(err, h.Runtime.Remove(undo, c.Name))
	}
	if h.Runtime.Late(filepath.Join(dir, "dump")) {
		return nil, fault.New(fault.Unsupported, "template_too_large", "It is so large that its memory would come later.")
	}
	b, err := json.Marshal(t)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, templateFile), b, 0o600)
	}
	for _, name := range []string{"files", "home"} {
		err = errors.Join(err, os.RemoveAll(filepath.Join(dir, name)))
	}
	if err == nil {
		err = os.Rename(dir, t.dir)
	}
	return t, err
}

// templateContainer describes the container that a template is made in. It has no
// network: no kernel that begins from it had a connection.
func (h *Hub) templateContainer(s KernelSpec, key, dir string) (c kernel.Container, err error) {
	conf, err := h.Configuration("")
	if err != nil {
		return c, err
	}
	p := Project{ID: "template", UIDBase: templateUID}
	for _, name := range []string{"files", "home", "journal"} {
		if err := h.makeOwned(p, filepath.Join(dir, name)); err != nil {
			return c, err
		}
	}
	c = h.base(p, s, "template-"+key, "template", h.Parts)
	c.Image, c.Limits, c.LogFile = s.Image, h.limits(conf, nil), filepath.Join(dir, "container.log")
	c.Mounts = append(c.Mounts, kernelMounts(filepath.Join(dir, "files"), filepath.Join(dir, "home"), filepath.Join(dir, "journal"))...)
	c.Argv = h.keeperArgv(s, "")
	return c, nil
}

// loaded asks for the names of the packages that are loaded.
const loaded = `' '.join(sorted({n.partition('.')[0] for n in __import__('sys').modules})).encode().hex()`

// freezeTemplate waits until the kernel in a container has started, warms it up,
// and freezes it. The container is gone then, or an error is told.
func (h *Hub) freezeTemplate(ctx context.Context, container, dump string) (modules []string, err error) {
	l := &Live{h: h}
	client, err := l.dial(ctx, container, 1)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	defer context.AfterFunc(ctx, func() { client.Close() })()
	if err := until(client, func(_ keep.Record, e keep.Event) bool { return e.Event == keep.EventReady }); err != nil {
		return nil, err
	}
	// What it does at its first cell, it has done; and it tells what is loaded.
	const id = "template"
	header, _ := json.Marshal(wire.Header{MsgID: id, MsgType: "execute_request", Session: hubSession, Username: "cellar", Date: wire.Date(time.Now().UTC().Format(time.RFC3339Nano)), Version: "5.3"})
	content, _ := json.Marshal(map[string]any{"code": "1+1", "silent": true, "store_history": false, "allow_stdin": false, "user_expressions": map[string]string{"r": loaded}})
	if err := client.Send(wire.Shell, &wire.Message{Header: header, Content: content}); err != nil {
		return nil, err
	}
	var said string
	err = until(client, func(r keep.Record, _ keep.Event) bool {
		parent, err := wire.ParseHeader(r.Message.Parent)
		if err != nil || parent.MsgID != id || r.Channel != wire.Shell {
			return false
		}
		said, _ = askedAnswer(r.Message)
		return true
	})
	if err != nil {
		return nil, err
	}
	if modules = strings.Fields(said); len(modules) == 0 || len(said) > maxModules {
		return nil, errors.New("it does not tell what is loaded in it")
	}
	if err := client.Tell(keep.Hook{ID: 1, Event: keep.HookBefore, Reason: keep.ReasonTemplate}); err != nil {
		return nil, err
	}
	if err := until(client, func(_ keep.Record, e keep.Event) bool { return e.Hooked != nil }); err != nil {
		return nil, err
	}
	if err := client.Do(keep.OpDetach); err != nil {
		return nil, err
	}
	return modules, h.Runtime.Freeze(ctx, container, kernel.Freeze{Dir: dump})
}

// until reads the journal up to a record.
func until(c *keep.Client, is func(keep.Record, keep.Event) bool) error {
	for {
		r, err := c.Next()
		if err != nil {
			return err
		}
		var e keep.Event
		if r.Channel == wire.Event {
			if err := json.Unmarshal(r.Message.Content, &e); err != nil {
				return err
			}
		}
		if is(r, e) {
			return nil
		}
		if e.Event == keep.EventExited {
			return fmt.Errorf("the kernel ended with status %d: %.300s", e.Code, e.Detail)
		}
	}
}
