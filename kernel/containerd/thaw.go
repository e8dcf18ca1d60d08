package containerd

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"cellar/kernel"
	"cellar/kernel/pager"
)

// lazyFrom is how many bytes of memory a dump must have before they come late:
// below it, the pager's own start costs more than copying them at once.
const lazyFrom = 100 << 20

// Processes in a user namespace may have a userfaultfd only if this says so.
const userfaultfd = "/proc/sys/vm/unprivileged_userfaultfd"

// mayBeLate reports whether memory can come after a thawed process has begun.
func mayBeLate() bool {
	b, err := os.ReadFile(userfaultfd)
	return err == nil && strings.TrimSpace(string(b)) == "1"
}

func (r *Runtime) pagerDir(name string) string { return filepath.Join(r.o.Dir, "pagers", name) }

// Late implements kernel.Runtime.
func (r *Runtime) Late(dump string) bool {
	if r.o.Eager || !mayBeLate() {
		return false
	}
	lazy, _, err := pager.LazyBytes(dump)
	if err != nil {
		r.o.Log.Warn("the dump's page maps cannot be read; thawing it whole", "dump", dump, "error", err)
		return false
	}
	return lazy >= lazyFrom
}

// startPager starts the process that brings a container's memory in and waits
// until CRIU can connect to it. It outlives the hub.
func (r *Runtime) startPager(ctx context.Context, c kernel.Container, dump, work string) error {
	name := c.Name
	dir := r.pagerDir(name)
	if err := pager.End(dir); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if err := os.Symlink(dump, filepath.Join(dir, "dump")); err != nil { // for Draining
		return err
	}
	if err := os.WriteFile(r.criuConfig(name), []byte(criuOptions+"lazy-pages\n"), 0o644); err != nil {
		return err
	}
	log, err := os.OpenFile(filepath.Join(dir, "log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	out, in, err := os.Pipe()
	if err != nil {
		return err
	}
	defer out.Close()
	cmd := exec.Command(r.o.Keeper, "pager", "--folder", dir, "--work", work, "--dump", dump, "--wanted", c.Wanted)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(c.LateKey), in, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	err = cmd.Start()
	in.Close()
	if err != nil {
		return err
	}
	go cmd.Wait() // reaps it, should it end before us
	out.SetReadDeadline(time.Now().Add(20 * time.Second))
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "ready\n" {
		text, _ := os.ReadFile(log.Name())
		return fmt.Errorf("the pager did not start: %w: %s", err, text)
	}
	return ctx.Err()
}

// readyForDump waits until all memory of a container is in, as what has not come
// would be dumped as zeros, and takes back what was special of its restore.
func (r *Runtime) readyForDump(ctx context.Context, name string) error {
	if err := r.Drained(ctx, name); err != nil {
		return err
	}
	if _, err := os.Stat(r.criuConfig(name)); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return os.WriteFile(r.criuConfig(name), []byte(criuOptions), 0o644)
}

// pagerFailed waits until the pager of a container says that it failed; nil when
// ctx ends before.
func (r *Runtime) pagerFailed(ctx context.Context, name string) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			if err := pager.Failed(r.pagerDir(name)); err != nil {
				return fmt.Errorf("memory of %s: %w%s", name, err, r.pagerLog(name))
			}
		}
	}
}

// Drained implements kernel.Runtime.
func (r *Runtime) Drained(ctx context.Context, name string) error {
	result := make(chan error, 1)
	go func() { result <- pager.Wait(r.pagerDir(name)) }()
	select {
	case err := <-result:
		if err != nil {
			return fmt.Errorf("memory of %s: %w%s", name, err, r.pagerLog(name))
		}
		return nil // the folder goes with the container
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Draining implements kernel.Runtime.
func (r *Runtime) Draining() (map[string]string, error) {
	entries, err := os.ReadDir(filepath.Join(r.o.Dir, "pagers"))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	for _, e := range entries {
		dump, err := os.Readlink(filepath.Join(r.pagerDir(e.Name()), "dump"))
		if err != nil || pager.Done(r.pagerDir(e.Name())) {
			continue
		}
		out[e.Name()] = dump
	}
	return out, nil
}

func (r *Runtime) pagerLog(name string) string {
	b, err := os.ReadFile(filepath.Join(r.pagerDir(name), "log"))
	if err != nil || len(b) == 0 {
		return ""
	}
	return ": " + strings.TrimSpace(string(b[max(0, len(b)-600):]))
}
