package hub

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"cellar/checkpoint/criu"
	"cellar/kernel"
	"cellar/kernel/keep"
)

// fromTemplate begins a kernel from a template, its deed being held; false when
// there is none for it, or it did not come to life: then it starts as usual.
func (h *Hub) fromTemplate(ctx context.Context, l *Live) bool {
	rec := l.Record()
	s, ok := h.specFor(rec)
	if !ok || rec.Image != s.Image || rec.Parts != h.Parts {
		return false
	}
	t := h.templateOf(s)
	if t == nil {
		return false
	}
	p, err := h.Store.Project(ctx, rec.Project)
	if err == nil {
		err = h.prepareProject(p)
	}
	if err != nil || !plainHome(h.homeDir(p.ID), t.Modules) {
		return false
	}
	start := time.Now()
	if err := h.thawTemplate(ctx, l, p, t); err != nil {
		h.Log.Warn("a kernel did not begin from its template; it starts as usual", "kernel", rec.ID, "template", t.dir, "error", err)
		h.dropTemplate(s)
		return false
	}
	h.Log.Info("began from a template", "kernel", rec.ID, "took", time.Since(start))
	return true
}

func (h *Hub) thawTemplate(ctx context.Context, l *Live, p Project, t *template) error {
	journal, dump := l.journalDir(), filepath.Join(l.folder(), "begin") // the template's own, for the users of this project
	if err := errors.Join(os.RemoveAll(journal), os.RemoveAll(dump)); err != nil {
		return err
	}
	defer os.RemoveAll(dump)
	err := linkFiles(filepath.Join(t.dir, "dump"), dump)
	if err == nil {
		err = criu.Rebase(dump, templateUID, p.UIDBase, idRange)
	}
	if err == nil {
		err = copyTree(filepath.Join(t.dir, "journal"), journal, p.FileOwner(), 64<<20)
	}
	if err == nil {
		err = h.step("begin.copied")
	}
	if err != nil {
		return errors.Join(err, os.RemoveAll(journal))
	}
	c, err := h.container(ctx, l)
	if err == nil {
		err = h.Runtime.Restore(ctx, c, dump)
	}
	if err == nil {
		if err = h.step("begin.thawed"); err == nil {
			err = l.begin(ctx, c.Name, kernel.Starting)
		}
		if err != nil {
			undo, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
			defer cancel()
			l.unlink()
			err = errors.Join(err, h.Runtime.Remove(undo, c.Name))
		}
	}
	if err != nil {
		return errors.Join(err, os.RemoveAll(journal))
	}
	return nil
}

// ownLimit is how long a copy of a template has to become a kernel of its own.
const ownLimit = 20 * time.Second

// becomeOwn makes the copy of a template a kernel of its own. Until then nothing
// is sent to it; one that does not is given to nobody.
func (l *Live) becomeOwn(container string, hold chan struct{}) {
	rec := l.Record()
	r, ok := l.tellHook(l.h.ctx, keep.Hook{Event: keep.HookAfter, Reason: keep.ReasonTemplate, Dir: path.Join("/project", rec.Dir)}, ownLimit)
	if ok && len(r.Errors) == 0 {
		close(hold)
		return
	}
	if l.h.ctx.Err() != nil {
		return // the next hub sees to it
	}
	l.h.Log.Error("the copy of a template does not become a kernel of its own", "kernel", rec.ID, "answered", ok, "errors", r.Errors)
	if s, ok := l.h.specFor(rec); ok {
		l.h.dropTemplate(s)
	}
	if err := l.h.Runtime.Remove(l.h.ctx, container); err != nil { // it is started again, as one that has ended
		l.h.Log.Error("container not removed", "container", container, "error", err)
	}
}

// maxSettings is how many entries of a folder with settings are looked at.
const maxSettings = 500

// plainHome reports whether nothing in a home has a say when an interpreter
// starts: then one that has started with an empty home is the same. modules are
// the packages that it has loaded.
func plainHome(dir string, modules []string) bool {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return false
	}
	defer root.Close()
	return plainSettings(root) && plainPackages(root, modules)
}

// plainSettings: IPython's are as IPython has made them.
func plainSettings(root *os.Root) bool {
	n := 0
	err := fs.WalkDir(root.FS(), ".ipython", func(name string, d fs.DirEntry, err error) error {
		if n++; err != nil || n > maxSettings {
			return errors.Join(err, fs.SkipAll)
		}
		if d.IsDir() || d.Name() == "README" {
			return nil
		}
		rel := strings.TrimPrefix(name, ".ipython/")
		of, below, _ := strings.Cut(strings.TrimPrefix(rel, "profile_default/"), "/")
		if below == "" {
			of = d.Name()
		}
		if d.Type().IsRegular() && (slices.Contains([]string{"db", "log", "pid", "security"}, of) || strings.HasPrefix(of, "history.sqlite")) {
			return nil
		}
		n = maxSettings + 1
		return fs.SkipAll
	})
	return n <= maxSettings && (err == nil || errors.Is(err, fs.ErrNotExist))
}

// plainPackages: the person has installed none that is loaded already, and nothing
// that an interpreter runs by itself when it starts.
func plainPackages(root *os.Root, modules []string) bool {
	versions, err := fs.Glob(root.FS(), ".local/lib/python3*")
	if err != nil {
		return false
	}
	for _, v := range versions {
		f, err := root.Open(v + "/site-packages")
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return false
		}
		names, err := f.Readdirnames(-1)
		f.Close()
		if err != nil {
			return false
		}
		for _, name := range names {
			module, _, _ := strings.Cut(name, ".")
			if module == "usercustomize" || module == "sitecustomize" || slices.Contains(modules, module) {
				return false
			}
		}
	}
	return true
}
