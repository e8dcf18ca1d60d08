package pager

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Socket is the name under which CRIU looks for a pager, in its work folder.
const Socket = "lazy-pages.socket"

// Files of a guardian's folder.
const (
	lockFile   = "lock"   // held while the guardian lives
	resultFile = "result" // how it ended: "done" or what went wrong
	pidFile    = "pid"
)

const done = "done"

// watchEvery is how often a guardian whose worker died looks whether the
// processes it holds have been ended.
const watchEvery = time.Second

// Hold is the guardian: it listens at work/lazy-pages.socket, has worker (a
// command that calls Work; it is given two descriptors) do all the rest for the
// dump, and holds every userfaultfd it is sent until the worker has ended. ready
// is called once CRIU may connect. folder is where it says how it went. If the
// worker dies before all memory has come, Hold keeps the processes waiting until
// somebody ends them, and returns the error then.
func Hold(folder, work string, worker *exec.Cmd, ready func()) (err error) {
	lock, err := os.OpenFile(filepath.Join(folder, lockFile), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer lock.Close() // the lock goes with it: after the result is written
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return fmt.Errorf("another pager is in %s: %w", folder, err)
	}
	if err := os.WriteFile(filepath.Join(folder, pidFile), fmt.Appendf(nil, "%d\n", os.Getpid()), 0o600); err != nil {
		return err
	}
	listener, err := listen(work)
	if err != nil {
		return err
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	ours, theirs := pair[0], os.NewFile(uintptr(pair[1]), "guardian")
	worker.ExtraFiles = []*os.File{listener, theirs}
	if err := worker.Start(); err != nil {
		return err
	}
	listener.Close()
	theirs.Close()
	ready()
	var held []uffd
	for {
		fd, err := receiveFD(ours)
		if err != nil {
			break // the worker has ended, or we are no use to it
		}
		held = append(held, uffd(fd))
	}
	err = worker.Wait()
	if err == nil {
		return writeWhole(filepath.Join(folder, resultFile), done)
	}
	err = fmt.Errorf("the pager's worker: %w", err)
	if e := writeWhole(filepath.Join(folder, resultFile), err.Error()); e != nil {
		err = errors.Join(err, e)
	}
	for alive(held) {
		time.Sleep(watchEvery)
	}
	return err
}

// writeWhole writes a file that is there with all its text or not at all.
func writeWhole(name, text string) error {
	if err := os.WriteFile(name+".new", []byte(text), 0o600); err != nil {
		return err
	}
	return os.Rename(name+".new", name)
}

func alive(held []uffd) bool {
	for _, u := range held {
		if !u.gone() {
			return true
		}
	}
	return false
}

// listen opens the socket by a relative name: a path may be too long for one.
func listen(work string) (*os.File, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), Socket)
	dir, err := os.Open(work)
	if err != nil {
		f.Close()
		return nil, err
	}
	defer dir.Close()
	name := fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), Socket)
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: name}); err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", Socket, err)
	}
	if err := unix.Listen(fd, 1); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// Work is the worker's whole life, in the process that Hold started: descriptor
// 3 is the listening socket, 4 leads to the guardian.
func Work(dump string, o Options) (Stats, error) {
	const listener, holder = 3, 4
	unix.CloseOnExec(listener)
	unix.CloseOnExec(holder)
	conn, err := accept(listener, holder)
	unix.Close(listener)
	if err != nil {
		return Stats{}, err
	}
	return Serve(conn, holder, dump, o)
}

// accept waits for CRIU as long as there is a guardian: without one nobody would
// end us if CRIU never came.
func accept(listener, holder int) (conn int, err error) {
	fds := []unix.PollFd{{Fd: int32(listener), Events: unix.POLLIN}, {Fd: int32(holder), Events: unix.POLLRDHUP}}
	for {
		if _, err := unix.Poll(fds, -1); err != nil && err != unix.EINTR {
			return -1, err
		}
		if fds[0].Revents != 0 {
			conn, _, err = unix.Accept4(listener, unix.SOCK_CLOEXEC)
			if err != unix.EINTR && err != unix.ECONNABORTED {
				return conn, err
			}
		} else if fds[1].Revents != 0 {
			return -1, errors.New("the guardian has ended")
		}
	}
}

// Wait blocks until the guardian of a folder has ended and says how it went; a
// folder that is not there, or never had one, is no error.
func Wait(folder string) error {
	lock, err := os.OpenFile(filepath.Join(folder, lockFile), os.O_RDWR, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer lock.Close()
	for {
		if err := Failed(folder); err != nil {
			return err
		}
		// A guardian whose worker died lives on: so not one long wait.
		err := unix.Flock(int(lock.Fd()), unix.LOCK_SH|unix.LOCK_NB)
		if err == nil {
			break
		}
		if err != unix.EWOULDBLOCK && err != unix.EINTR {
			return err
		}
		time.Sleep(2 * time.Millisecond)
	}
	return result(folder)
}

// Failed is what went wrong with the pager of a folder as far as it says; nil
// while it works and when all went well.
func Failed(folder string) error {
	b, err := os.ReadFile(filepath.Join(folder, resultFile))
	if err != nil || string(b) == done {
		return nil
	}
	return errors.New(strings.TrimSpace(string(b)))
}

// Done reports whether all memory has come that a folder's pager was for.
func Done(folder string) bool {
	b, err := os.ReadFile(filepath.Join(folder, resultFile))
	return err == nil && string(b) == done
}

func result(folder string) error {
	if err := Failed(folder); err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(folder, resultFile)); errors.Is(err, os.ErrNotExist) {
		return errors.New("the pager was ended before it was done")
	}
	return nil
}

// End kills the guardian of a folder, if there is one, and forgets the folder.
// What it held reads as zeros from then on: the processes must have been ended.
func End(folder string) error {
	lock, err := os.OpenFile(filepath.Join(folder, lockFile), os.O_RDWR, 0)
	if err == nil {
		defer lock.Close()
		if unix.Flock(int(lock.Fd()), unix.LOCK_SH|unix.LOCK_NB) != nil {
			var pid int
			if b, err := os.ReadFile(filepath.Join(folder, pidFile)); err == nil {
				fmt.Sscan(string(b), &pid)
			}
			if pid > 0 {
				unix.Kill(-pid, unix.SIGKILL) // it leads a group of its own, its worker is in it
				unix.Kill(pid, unix.SIGKILL)
				for unix.Flock(int(lock.Fd()), unix.LOCK_SH) == unix.EINTR { // it is ending
				}
			}
		}
	}
	return os.RemoveAll(folder)
}
