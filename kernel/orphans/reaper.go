// Package orphans waits for processes whose parents have gone. PID 1 of a
// container inherits them, and each would stay a zombie and use up one of the
// container's processes for ever. The package does not know what the program
// runs itself, only that those statuses are not its to take.
package orphans

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Reaper tells a program's own children from those it has inherited. The zero
// value is ready.
type Reaper struct {
	mu  sync.Mutex
	own map[int]bool
}

// Start runs start, which starts cmd, and knows cmd as the program's own before
// a reaper can look: a child may end before it is known otherwise.
func (r *Reaper) Start(cmd *exec.Cmd, start func() error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := start(); err != nil {
		return err
	}
	if r.own == nil {
		r.own = map[int]bool{}
	}
	r.own[cmd.Process.Pid] = true
	return nil
}

// Wait waits for a cmd of Start's, as cmd.Wait does.
func (r *Reaper) Wait(cmd *exec.Cmd) error {
	err := cmd.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.own, cmd.Process.Pid)
	return err
}

// rest is how long Run waits between two looks past the program's own children:
// that reads the whole process table.
const rest = 100 * time.Millisecond

// Run reaps until ctx ends. It takes every child that was not started by Start:
// only PID 1, or another process that inherits orphans and starts nothing
// elsewhere, may call it.
func (r *Reaper) Run(ctx context.Context) {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGCHLD)
	defer signal.Stop(c)
	for {
		if r.reap() {
			// One of ours has ended, and nobody has waited for it yet: a shell whose
			// terminal is held open by a job of it may stay so for days. The system
			// names no other child as long as that is there.
			r.reapBehind()
			select {
			case <-ctx.Done():
				return
			case <-time.After(rest):
			}
		}
		select { // what ends after the look above sends another signal
		case <-ctx.Done():
			return
		case <-c:
		}
	}
}

// reap takes inherited children that have ended. It reports whether it stopped
// at one of the program's own.
func (r *Reaper) reap() bool {
	for {
		// WNOWAIT only looks: a status of our own must stay for exec.Cmd.
		var info unix.Siginfo
		err := unix.Waitid(unix.P_ALL, 0, &info, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil)
		if err == unix.EINTR {
			continue
		}
		pid := siginfoPID(&info)
		if err != nil || pid == 0 {
			return false
		}
		if !r.take(pid) {
			return true
		}
	}
}

// take reaps one child; false if it is the program's own.
func (r *Reaper) take(pid int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.own[pid] {
		return false
	}
	var st syscall.WaitStatus
	syscall.Wait4(pid, &st, syscall.WNOHANG, nil)
	return true
}

// reapBehind finds children that have ended in the process table.
func (r *Reaper) reapBehind() {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if state, parent := stat(pid); state == 'Z' && parent == os.Getpid() {
			r.take(pid)
		}
	}
}

// stat reads a process's state and parent; 0 when it has gone.
func stat(pid int) (state byte, parent int) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0, 0
	}
	// The name, in brackets, may hold anything, brackets too.
	fields := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
	if len(fields) < 2 || len(fields[0]) != 1 {
		return 0, 0
	}
	parent, err = strconv.Atoi(string(fields[1]))
	if err != nil {
		return 0, 0
	}
	return fields[0][0], parent
}
