package machine

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// ProcViews is an lxcfs of our own: /proc/meminfo, cpuinfo and so on as the
// limits of a container have them. It outlives the hub, as kernels hold files of
// it open.
type ProcViews struct{ Dir string }

// ErrNoLXCFS says that the program is not installed or has no /dev/fuse.
var ErrNoLXCFS = errors.New("lxcfs or /dev/fuse is missing")

func (v ProcViews) look() (ready bool, err error) {
	b, err := os.ReadFile(filepath.Join(v.Dir, "proc", "meminfo"))
	return err == nil && bytes.HasPrefix(b, []byte("MemTotal")), err
}

// Up starts it, or leaves it running.
func (v ProcViews) Up() error {
	if ready, _ := v.look(); ready {
		return nil
	}
	exe, err := exec.LookPath("lxcfs")
	if err != nil {
		return ErrNoLXCFS
	}
	if _, err := os.Stat("/dev/fuse"); err != nil {
		return ErrNoLXCFS
	}
	syscall.Unmount(v.Dir, syscall.MNT_DETACH) // a dead one of before
	if err := os.MkdirAll(v.Dir, 0o711); err != nil {
		return err
	}
	log, err := os.OpenFile(v.Dir+".log", os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(exe, "-f", "-p", v.pidFile(), v.Dir)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan struct{})
	go func() { cmd.Wait(); close(ended) }()
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); {
		ready, err := v.look()
		if ready {
			return nil
		}
		if errors.Is(err, os.ErrPermission) {
			// It is up and refuses to answer, as lxcfs 6 does where it may not look at
			// every process: no use waiting.
			cmd.Process.Kill()
			<-ended
			b, _ := os.ReadFile(v.Dir + ".log")
			return fmt.Errorf("lxcfs does not answer: %s", lastText(b))
		}
		select {
		case <-ended:
			b, _ := os.ReadFile(v.Dir + ".log")
			return fmt.Errorf("lxcfs ended: %s", firstLine(b))
		case <-time.After(10 * time.Millisecond):
		}
	}
	cmd.Process.Kill()
	return errors.New("lxcfs does not come up")
}

func (v ProcViews) pidFile() string { return v.Dir + ".pid" }

// Down ends it.
func (v ProcViews) Down() {
	if b, err := os.ReadFile(v.pidFile()); err == nil {
		var pid int
		if _, err := fmt.Sscan(string(b), &pid); err == nil {
			if exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid)); err == nil && filepath.Base(exe) == "lxcfs" {
				syscall.Kill(pid, syscall.SIGTERM)
			}
		}
	}
	for range 50 {
		if syscall.Unmount(v.Dir, syscall.MNT_DETACH) != nil {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	for _, f := range []string{v.Dir, v.Dir + ".log", v.pidFile()} {
		os.Remove(f)
	}
}
