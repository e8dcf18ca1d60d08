// Package containerd runs kernels as containerd tasks: hardened containers,
// checkpoint by CRIU through runc. It can also keep a private containerd for
// those who have none. It knows no hub.
package containerd

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	client "github.com/containerd/containerd/v2/client"
)

// Daemon says where a private containerd lives.
type Daemon struct {
	Tools string // folder with containerd, containerd-shim-runc-v2, runc, criu
	Root  string // images and snapshots: stays through a reboot
	State string // sockets and mounts: gone after a reboot, on a tmpfs best
	Log   *slog.Logger
}

// StateDir is the short folder for sockets that belongs to a data folder: a
// socket's path may have 107 bytes.
func StateDir(data string) string {
	sum := sha256.Sum256([]byte(data))
	return "/run/cellar/" + hex.EncodeToString(sum[:5])
}

// Address is the private daemon's socket.
func (d Daemon) Address() string { return filepath.Join(d.State, "containerd.sock") }

const daemonConfig = `version = 3
root = %q
state = %q
disabled_plugins = [
  "io.containerd.grpc.v1.cri", "io.containerd.cri.v1.images", "io.containerd.cri.v1.runtime",
  "io.containerd.nri.v1.nri", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.blockfile",
  "io.containerd.snapshotter.v1.erofs", "io.containerd.differ.v1.erofs",
  "io.containerd.internal.v1.tracing", "io.containerd.tracing.processor.v1.otlp",
]
[grpc]
  address = %q
[ttrpc]
  address = %q
[plugins."io.containerd.internal.v1.opt"]
  path = %q
`

// Ensure connects to the private containerd, starting it when it does not
// answer. The daemon is not our child for long: it outlives the hub.
func (d Daemon) Ensure(ctx context.Context) (*client.Client, error) {
	if c, err := d.connect(ctx, time.Second); err == nil {
		return c, nil
	}
	if err := d.spawn(); err != nil {
		return nil, fmt.Errorf("starting containerd: %w", err)
	}
	deadline := time.Now().Add(30 * time.Second)
	for {
		c, err := d.connect(ctx, time.Second)
		if err == nil {
			return c, nil
		}
		if time.Now().After(deadline) || ctx.Err() != nil {
			return nil, fmt.Errorf("containerd does not answer: %w; its log ends: %s", err, lastLines(filepath.Join(d.Root, "containerd.log")))
		}
		select {
		case <-ctx.Done():
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (d Daemon) connect(ctx context.Context, limit time.Duration) (*client.Client, error) {
	if _, err := os.Stat(d.Address()); err != nil {
		return nil, err
	}
	c, err := client.New(d.Address(), client.WithDefaultNamespace(Namespace), client.WithTimeout(limit))
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if ok, err := c.IsServing(ctx); err != nil || !ok {
		c.Close()
		return nil, fmt.Errorf("not serving: %w", err)
	}
	return c, nil
}

// HasImage reports whether ref, name@digest, is in the store: by asking the
// daemon or, where none runs, by the content that ref begins with.
func (d Daemon) HasImage(ctx context.Context, ref string) bool {
	if c, err := d.connect(ctx, time.Second); err == nil {
		defer c.Close()
		return (&Runtime{c: c}).HasImage(ctx, ref)
	}
	_, digest, ok := strings.Cut(ref, "@sha256:")
	if _, err := hex.DecodeString(digest); err != nil || !ok {
		return false
	}
	st, err := os.Stat(filepath.Join(d.Root, "io.containerd.content.v1.content", "blobs", "sha256", digest))
	return err == nil && st.Mode().IsRegular()
}

func (d Daemon) spawn() error {
	for _, dir := range []string{d.Root, d.State} {
		if err := os.MkdirAll(dir, 0o711); err != nil {
			return err
		}
	}
	config := filepath.Join(d.Root, "config.toml")
	text := fmt.Sprintf(daemonConfig, d.Root, filepath.Join(d.State, "c"), d.Address(), d.Address()+".ttrpc", filepath.Join(d.Root, "opt"))
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return err
	}
	log, err := os.OpenFile(filepath.Join(d.Root, "containerd.log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	if st, err := log.Stat(); err == nil && st.Size() > 64<<20 {
		log.Truncate(0)
	}
	cmd := exec.Command(filepath.Join(d.Tools, "containerd"), "--config", config)
	cmd.Env = append(os.Environ(), "PATH="+d.Tools+":"+os.Getenv("PATH"))
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Dir = d.Root
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	if err := os.WriteFile(d.pidFile(), fmt.Appendf(nil, "%d\n", cmd.Process.Pid), 0o600); err != nil {
		d.Log.Error("containerd's pid not written", "error", err)
	}
	go cmd.Wait() // reaps it, should it end before us
	return nil
}

func (d Daemon) pidFile() string { return filepath.Join(d.State, "containerd.pid") }

// PID is the running daemon's, or 0.
func (d Daemon) PID() int {
	b, err := os.ReadFile(d.pidFile())
	if err != nil {
		return 0
	}
	var pid int
	if _, err := fmt.Sscan(string(b), &pid); err != nil {
		return 0
	}
	exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
	if err != nil || !strings.HasPrefix(filepath.Base(exe), "containerd") {
		return 0
	}
	return pid
}

// Stop ends the daemon. Containers must have been removed before.
func (d Daemon) Stop() error {
	pid := d.PID()
	if pid == 0 {
		return nil
	}
	syscall.Kill(pid, syscall.SIGTERM)
	for range 500 {
		if d.PID() == 0 {
			return nil
		}
		time.Sleep(20 * time.Millisecond)
	}
	return syscall.Kill(pid, syscall.SIGKILL)
}

func lastLines(name string) string {
	b, err := os.ReadFile(name)
	if err != nil {
		return err.Error()
	}
	return string(b[max(0, len(b)-600):])
}

// Supervise starts the daemon again whenever it has ended, until ctx is done.
// Kernels go on meanwhile; a client's connection finds the new one by itself.
func (d Daemon) Supervise(ctx context.Context) {
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if d.PID() != 0 {
			continue
		}
		d.Log.Warn("containerd has ended; starting it again")
		c, err := d.Ensure(ctx)
		if err != nil {
			d.Log.Error("containerd does not start", "error", err)
			continue
		}
		c.Close()
	}
}
