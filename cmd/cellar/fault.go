package main

import (
	"fmt"
	"strings"
	"sync"
	"syscall"
)

// faults makes the hub's fault function of STEP=WHAT pairs, nil for none. Each
// fires once: kill ends this process as a power cut would, fail makes the step
// fail, containerd kills the daemon.
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
		switch what {
		case "kill":
			w.log.Warn("injected fault", "step", step, "what", what)
			syscall.Kill(syscall.Getpid(), syscall.SIGKILL)
			select {}
		case "containerd":
			w.log.Warn("injected fault", "step", step, "what", what)
			return syscall.Kill(w.daemon.PID(), syscall.SIGKILL)
		case "fail":
			return fmt.Errorf("injected fault at %s", step)
		}
		return nil
	}
}
