package containerd

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"cellar/kernel"
)

const cgroupRoot = "/sys/fs/cgroup"

// Usage implements kernel.Runtime. It reads the control group's files, of
// either version: a shim knows no metrics of a restored task.
func (r *Runtime) Usage(_ context.Context, name string) (kernel.Usage, error) {
	group := filepath.Join(r.o.Cgroup, name)
	if dir := filepath.Join(cgroupRoot, group); exists(filepath.Join(dir, "cgroup.controllers")) {
		return usage2(dir)
	}
	return usage1(group)
}

func exists(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}

func usage1(group string) (kernel.Usage, error) {
	mem, cpu, pids := filepath.Join(cgroupRoot, "memory", group), filepath.Join(cgroupRoot, "cpuacct", group), filepath.Join(cgroupRoot, "pids", group)
	used, err := number(filepath.Join(mem, "memory.usage_in_bytes"))
	if err != nil {
		return kernel.Usage{}, fmt.Errorf("control group of %s: %w", group, err)
	}
	stat := pairs(filepath.Join(mem, "memory.stat"))
	u := kernel.Usage{Memory: used - min(used, stat["total_inactive_file"])}
	u.Limit, _ = number(filepath.Join(mem, "memory.limit_in_bytes"))
	ns, _ := number(filepath.Join(cpu, "cpuacct.usage"))
	u.CPU = uint64(ns)
	u.Pids, _ = number(filepath.Join(pids, "pids.current"))
	u.OOMs = uint64(pairs(filepath.Join(mem, "memory.oom_control"))["oom_kill"])
	return u, nil
}

func usage2(dir string) (kernel.Usage, error) {
	used, err := number(filepath.Join(dir, "memory.current"))
	if err != nil {
		return kernel.Usage{}, fmt.Errorf("control group of %s: %w", dir, err)
	}
	stat := pairs(filepath.Join(dir, "memory.stat"))
	u := kernel.Usage{Memory: used - min(used, stat["inactive_file"])}
	u.Limit, _ = number(filepath.Join(dir, "memory.max")) // "max" reads as 0: no limit
	u.CPU = uint64(pairs(filepath.Join(dir, "cpu.stat"))["usage_usec"]) * 1000
	u.Pids, _ = number(filepath.Join(dir, "pids.current"))
	u.OOMs = uint64(pairs(filepath.Join(dir, "memory.events"))["oom_kill"])
	return u, nil
}

func number(name string) (int64, error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return 0, err
	}
	n, _ := strconv.ParseInt(string(bytes.TrimSpace(b)), 10, 64)
	return n, nil
}

// pairs reads lines of a name and a number.
func pairs(name string) map[string]int64 {
	b, err := os.ReadFile(name)
	if err != nil {
		return nil
	}
	out := map[string]int64{}
	sc := bufio.NewScanner(bytes.NewReader(b))
	for sc.Scan() {
		if k, v, ok := strings.Cut(sc.Text(), " "); ok {
			out[k], _ = strconv.ParseInt(v, 10, 64)
		}
	}
	return out
}

// RemoveGroups removes the parent control groups once no container is left.
func (r *Runtime) RemoveGroups() {
	os.Remove(filepath.Join(cgroupRoot, r.o.Cgroup))
	dirs, _ := filepath.Glob(filepath.Join(cgroupRoot, "*", r.o.Cgroup))
	for _, d := range dirs {
		os.Remove(d)
	}
}
