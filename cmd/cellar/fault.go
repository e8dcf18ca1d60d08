package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"cellar/server/hub"
)

// faults makes the hub's fault function of STEP=WHAT pairs, nil for none. Each
// fires once: kill ends this process as a power cut would, fail makes the step
// fail, containerd kills the daemon (containerd+30ms: that long after the step, while
// the next one is under way), gone makes the caller cancel, full fills the disk of
// the vault.
func (w *world) faults(list []string) func(string) error {
	if len(list) == 0 {
		return nil
	}
	var mu sync.Mutex
	left := map[string]string{}
	for _, f := range list {
		step, what, _ := strings.Cut(f, "=")
		left[step] = what
	}
	return func(step string) error {
		mu.Lock()
		what := left[step]
		delete(left, step)
		mu.Unlock()
		what, delay, _ := strings.Cut(what, "+")
		switch what {
		case "kill":
			w.log.Warn("injected fault", "step", step, "what", what)
			syscall.Kill(syscall.Getpid(), syscall.SIGKILL)
			select {}
		case "containerd":
			w.log.Warn("injected fault", "step", step, "what", what)
			if later, err := time.ParseDuration(delay); err == nil {
				time.AfterFunc(later, func() { syscall.Kill(w.daemon.PID(), syscall.SIGKILL) })
				return nil
			}
			return syscall.Kill(w.daemon.PID(), syscall.SIGKILL)
		case "gone":
			return hub.ErrCallerGone
		case "full":
			return fillDisk(filepath.Join(w.Data, "vault"))
		case "fail":
			return fmt.Errorf("injected fault at %s", step)
		}
		return nil
	}
}

// almostFull is what fillDisk leaves free: enough for a few small files.
const almostFull = 1 << 20

// fillDisk leaves hardly any room where dir is.
func fillDisk(dir string) error {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return err
	}
	f, err := os.Create(filepath.Join(dir, "filler"))
	if err != nil {
		return err
	}
	return errors.Join(unix.Fallocate(int(f.Fd()), 0, 0, int64(st.Bavail)*st.Bsize-almostFull), f.Close())
}
