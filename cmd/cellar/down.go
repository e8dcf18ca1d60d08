package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"cellar/kernel"
	"cellar/machine"
	"cellar/server/hub"
)

type downCmd struct {
	dataFlags
	keyFlags
	Kill bool `help:"Drop the sessions instead of hibernating them."`
}

func isDir(name string) bool {
	st, err := os.Stat(name)
	return err == nil && st.IsDir()
}

// Run ends the hub, its kernels, its containerd, its network.
func (c *downCmd) Run(ctx context.Context, stdout io.Writer) error {
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	if err := c.defaults(); err != nil {
		return err
	}
	if !isDir(c.Data) {
		return fmt.Errorf("there is no data folder %s", c.Data)
	}
	w, err := c.open(ctx, log)
	for deadline := time.Now().Add(30 * time.Second); errors.Is(err, errRunning) && time.Now().Before(deadline); {
		if pid := c.runningPID(); pid > 0 {
			syscall.Kill(pid, syscall.SIGTERM)
		}
		time.Sleep(50 * time.Millisecond)
		w, err = c.open(ctx, log)
	}
	if err != nil {
		return err
	}
	defer w.close()
	if w.archive, err = c.archive(ctx, w.Data, w.store); err != nil {
		return err
	}
	kept, failed := 0, error(nil)
	if !c.Kill {
		kept, failed = w.hibernateAll(ctx)
		if failed != nil {
			return fmt.Errorf("%w\nnothing was dropped; --kill ends these sessions too", failed)
		}
	}
	if err := w.removeAll(ctx); err != nil {
		return err
	}
	fmt.Fprintf(stdout, "down; %d sessions hibernated\n", kept)
	return nil
}

func (w *world) hibernateAll(ctx context.Context) (kept int, err error) {
	h, err := w.hub(ctx, hub.Config{})
	if err != nil {
		return 0, err
	}
	defer h.Close()
	for _, l := range h.LiveOf("") {
		state, e := l.Settled(ctx)
		if e == nil && state == kernel.Running {
			o := h.Operations.Begin(ctx, l.Project(), "down", func(ctx context.Context, o *hub.Operation) (any, error) {
				return h.Hibernate(ctx, l, o)
			})
			var s hub.OperationState
			if s, e = o.Wait(ctx); e == nil && s.Error != nil {
				e = fmt.Errorf("kernel %s: %s", l.ID(), s.Error.Detail)
			}
			kept++
		}
		err = errors.Join(err, e)
	}
	return kept, err
}

// removeAll leaves no process, mount, control group, namespace or interface.
func (w *world) removeAll(ctx context.Context) error {
	list, err := w.runtime.List(ctx)
	if err != nil {
		return err
	}
	for _, s := range list {
		err = errors.Join(err, w.runtime.Remove(ctx, s.Name))
	}
	dirs, _ := fs.Glob(os.DirFS(w.Data), "nodes/*/instance-*") // not filepath.Glob: the data folder's name is no pattern
	for _, d := range dirs {
		d = filepath.Join(w.Data, d)
		for _, m := range []string{"files-merged", "home-merged"} {
			syscall.Unmount(filepath.Join(d, m), syscall.MNT_DETACH)
		}
		err = errors.Join(err, os.RemoveAll(d))
	}
	w.client.Close()
	err = errors.Join(err, w.daemon.Stop(), w.network.Down(ctx))
	w.proc.Down()
	w.runtime.RemoveGroups()
	os.RemoveAll(filepath.Join("/dev/shm", w.name))
	err = errors.Join(err, machine.Unreach(w.alias()))
	if err != nil {
		return err
	}
	return os.RemoveAll(w.daemon.State)
}
