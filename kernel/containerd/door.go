package containerd

import (
	"context"
	"fmt"
	"net"
	"os"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"cellar/kernel"
)

// door is a container's network namespace, held open.
type door struct {
	mu sync.RWMutex
	ns int
}

// Door implements kernel.Runtime.
func (r *Runtime) Door(ctx context.Context, name string) (kernel.Door, error) {
	task, err := r.task(scoped(ctx), name)
	if err != nil {
		return nil, err
	}
	return OpenDoor(int(task.Pid()))
}

// OpenDoor leads to the loopback of the network namespace that pid is in.
func OpenDoor(pid int) (kernel.Door, error) {
	ns, err := unix.Open(fmt.Sprintf("/proc/%d/ns/net", pid), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("network of process %d: %w", pid, err)
	}
	return &door{ns: ns}, nil
}

// Dial implements kernel.Runtime.
func (r *Runtime) Dial(ctx context.Context, name string, port int) (net.Conn, error) {
	d, err := r.Door(ctx, name)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	return d.Dial(ctx, port)
}

// Dial implements kernel.Door: a thread of ours visits the container's network
// namespace to make the socket, and the socket stays there.
func (d *door) Dial(ctx context.Context, port int) (net.Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	d.mu.RLock()
	fd, err := d.socket()
	d.mu.RUnlock()
	if err != nil {
		return nil, err
	}
	return connect(fd, port)
}

func (d *door) socket() (int, error) {
	if d.ns < 0 {
		return 0, net.ErrClosed
	}
	type result struct {
		fd  int
		err error
	}
	done := make(chan result, 1)
	go func() {
		// The thread goes back home before others may run on it; should that fail
		// it stays locked and ends with this goroutine.
		runtime.LockOSThread()
		home, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			runtime.UnlockOSThread()
			done <- result{0, err}
			return
		}
		defer unix.Close(home)
		if err := unix.Setns(d.ns, unix.CLONE_NEWNET); err != nil {
			runtime.UnlockOSThread()
			done <- result{0, os.NewSyscallError("setns", err)}
			return
		}
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if unix.Setns(home, unix.CLONE_NEWNET) == nil {
			runtime.UnlockOSThread()
		}
		done <- result{fd, err}
	}()
	r := <-done
	return r.fd, r.err
}

// Close implements kernel.Door.
func (d *door) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ns < 0 {
		return nil
	}
	ns := d.ns
	d.ns = -1
	return unix.Close(ns)
}

func connect(fd, port int) (net.Conn, error) {
	tv := unix.NsecToTimeval(int64(5 * time.Second))
	unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &tv) // bounds connect
	if err := unix.Connect(fd, &unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		unix.Close(fd)
		return nil, os.NewSyscallError("connect", err)
	}
	unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &unix.Timeval{})
	unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	unix.SetNonblock(fd, true)
	f := os.NewFile(uintptr(fd), "kernel")
	defer f.Close()
	return net.FileConn(f)
}
