package containerd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/containerd/api/types/task"
	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
)

// breakOff kills a CRIU, and the runc above it, that hangs while it works on a
// container: as long as it traces the container's processes nothing ends them.
func (r *Runtime) breakOff(name string) {
	for _, pid := range descendants(shimOf(name)) {
		comm, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
		if c := strings.TrimSpace(string(comm)); c == "criu" || c == "runc" || strings.HasPrefix(c, "runc:") {
			r.o.Log.Error("killing what hangs over a container", "container", name, "process", c, "pid", pid)
			syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}

// Unpause implements kernel.Runtime. A dump that is still being made is waited
// for: it pauses the container, too. The daemon may be away for a moment.
func (r *Runtime) Unpause(ctx context.Context, name string) error {
	ctx = scoped(ctx)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := r.await(ctx)
		if err == nil && !r.dumping(name) {
			if err = r.unpause(ctx, name); err == nil {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("resuming %s: %w", name, errors.Join(err, ctx.Err()))
		case <-tick.C:
		}
	}
}

func (r *Runtime) unpause(ctx context.Context, name string) error {
	got, err := r.c.TaskService().Get(ctx, &tasks.GetRequest{ContainerID: name})
	if errdefs.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	if s := got.Process.Status; s != task.Status_PAUSED && s != task.Status_PAUSING {
		return nil
	}
	_, err = r.c.TaskService().Resume(ctx, &tasks.ResumeTaskRequest{ContainerID: name})
	return err
}

// dumping reports whether a CRIU works below a container's shim.
func (r *Runtime) dumping(name string) bool {
	for _, pid := range descendants(shimOf(name)) {
		if comm, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid)); strings.TrimSpace(string(comm)) == "criu" {
			return true
		}
	}
	return false
}

// shimOf is the pid of the shim of a container, or 0.
func shimOf(name string) int {
	list, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, f := range list {
		b, err := os.ReadFile(f)
		if err != nil {
			continue
		}
		args := strings.Split(string(b), "\x00")
		if i := slices.Index(args, "-id"); strings.Contains(filepath.Base(args[0]), "containerd-shim") && i > 0 && i+1 < len(args) && args[i+1] == name {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(f)))
			return pid
		}
	}
	return 0
}

// descendants are the processes below pid.
func descendants(pid int) (out []int) {
	if pid == 0 {
		return nil
	}
	children := map[int][]int{}
	list, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, f := range list {
		b, err := os.ReadFile(f)
		if err != nil {
			continue
		}
		// pid (name) state parent ...; the name may hold anything, so from its end.
		fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
		if len(fields) < 2 {
			continue
		}
		child, _ := strconv.Atoi(filepath.Base(filepath.Dir(f)))
		parent, _ := strconv.Atoi(fields[1])
		children[parent] = append(children[parent], child)
	}
	for next := children[pid]; len(next) > 0; next = append(next[1:], children[next[0]]...) {
		out = append(out, next[0])
	}
	return out
}

// removeWork removes a work folder of CRIU's. One that was killed leaves the
// machine's control groups mounted there: removing what is in them would end the
// groups of others, so they are detached first, and if that fails the folder stays.
func (r *Runtime) removeWork(dir string) {
	err := detachBelow(dir)
	if err == nil {
		err = os.RemoveAll(dir)
	}
	if err != nil {
		r.o.Log.Warn("work folder not removed", "folder", dir, "error", err)
	}
}

// detachBelow takes away all that is mounted below a folder, the last first.
func detachBelow(dir string) error {
	dir, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return err
	}
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	lines := bytes.Split(b, []byte("\n"))
	slices.Reverse(lines)
	for _, line := range lines {
		// ID parent device root POINT ...; a space in a name is \040.
		fields := strings.Fields(string(line))
		if len(fields) < 5 {
			continue
		}
		point := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(fields[4])
		if strings.HasPrefix(point, dir+"/") {
			if err := unix.Unmount(point, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); err != nil {
				return fmt.Errorf("detaching %s: %w", point, err)
			}
		}
	}
	return nil
}
