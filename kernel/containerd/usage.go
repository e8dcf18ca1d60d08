package containerd

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"cellar/kernel"
)

const cgroupRoot = "/sys/fs/cgroup"

// Usage implements kernel.Runtime. It reads the control group's files, of
// either version: a shim knows no metrics of a restored task.
func (r *Runtime) Usage(_ context.Context, name string) (kernel.Usage, error) {
	group := filepath.Join(r.o.Cgroup, name)
	if dir := filepath.Join(cgroupRoot, group); exists(filepath.Join(dir, "cgroup.controllers")) {
		u, err := usage2(dir)
		if err == nil {
			u.Peak = r.peaks.read(name)
		}
		return u, err
	}
	return usage1(group)
}

// ResetPeak implements kernel.Runtime. Version 1 has one counter for all, which
// outlives us; in version 2 (since Linux 6.12) each open file has its own.
func (r *Runtime) ResetPeak(_ context.Context, name string) error {
	group := filepath.Join(r.o.Cgroup, name)
	if dir := filepath.Join(cgroupRoot, group); exists(filepath.Join(dir, "cgroup.controllers")) {
		return r.peaks.reset(name, filepath.Join(dir, "memory.peak"))
	}
	return os.WriteFile(filepath.Join(cgroupRoot, "memory", group, "memory.max_usage_in_bytes"), []byte("0"), 0o600)
}

// peaks are the open counters of version 2, by container.
type peaks struct {
	mu   sync.Mutex
	open map[string]*os.File
}

// reset begins to count anew; a kernel that cannot leaves nothing to read.
func (p *peaks) reset(name, file string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	f := p.open[name]
	if f == nil {
		var err error
		f, err = os.OpenFile(file, os.O_RDWR, 0)
		if errors.Is(err, os.ErrPermission) || errors.Is(err, os.ErrNotExist) && exists(filepath.Dir(file)) {
			return nil // before 6.12 it can only be read, before 5.19 it is not there
		}
		if err != nil {
			return err
		}
	}
	if _, err := f.WriteAt([]byte("0"), 0); err != nil {
		f.Close()
		delete(p.open, name)
		if errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.EOPNOTSUPP) {
			return nil
		}
		return err
	}
	if p.open == nil {
		p.open = map[string]*os.File{}
	}
	p.open[name] = f
	return nil
}

// read gives what was counted since reset, 0 when nothing is.
func (p *peaks) read(name string) int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	f := p.open[name]
	if f == nil {
		return 0
	}
	b := make([]byte, 32)
	n, err := f.ReadAt(b, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return 0
	}
	peak, _ := strconv.ParseInt(string(bytes.TrimSpace(b[:n])), 10, 64)
	return peak
}

// forget closes the counter of a container that is gone.
func (p *peaks) forget(name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if f := p.open[name]; f != nil {
		f.Close()
		delete(p.open, name)
	}
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
	u := kernel.Usage{Files: min(used, stat["total_inactive_file"])}
	u.Memory = used - u.Files
	u.Peak, _ = number(filepath.Join(mem, "memory.max_usage_in_bytes"))
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
	u := kernel.Usage{Files: min(used, stat["inactive_file"])}
	u.Memory = used - u.Files
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
