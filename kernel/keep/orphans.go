package keep

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

// reapOrphans waits for processes whose parents have gone: as PID 1 the keeper
// inherits them. The kernel itself is left to reap.
func (k *Keeper) reapOrphans(ctx context.Context) {
	if os.Getpid() != 1 {
		return
	}
	c := make(chan os.Signal, 8)
	signal.Notify(c, syscall.SIGCHLD)
	defer signal.Stop(c)
	for {
		select {
		case <-ctx.Done():
			return
		case <-c:
		}
		for k.reapOrphan() {
		}
	}
}

func (k *Keeper) reapOrphan() bool {
	// WNOWAIT only looks: the kernel's own status must stay for exec.Cmd.
	var info unix.Siginfo
	if err := unix.Waitid(unix.P_ALL, 0, &info, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil); err != nil {
		return false
	}
	pid := siginfoPID(&info)
	k.mu.Lock()
	own := k.kernel != nil && k.kernel.pid() == pid
	k.mu.Unlock()
	if pid == 0 || own {
		return false
	}
	var st syscall.WaitStatus
	_, err := syscall.Wait4(pid, &st, syscall.WNOHANG, nil)
	return err == nil
}
