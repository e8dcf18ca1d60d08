package containerd

import (
	"bytes"
	"context"
	"fmt"
	"os"

	cgroups1 "github.com/containerd/cgroups/v3/cgroup1/stats"
	cgroups2 "github.com/containerd/cgroups/v3/cgroup2/stats"
	apievents "github.com/containerd/containerd/api/events"
	"github.com/containerd/typeurl/v2"

	"cellar/kernel"
)

// Usage implements kernel.Runtime for both versions of control groups.
func (r *Runtime) Usage(ctx context.Context, name string) (kernel.Usage, error) {
	ctx = scoped(ctx)
	task, err := r.task(ctx, name)
	if err != nil {
		return kernel.Usage{}, err
	}
	m, err := task.Metrics(ctx)
	if err != nil {
		return kernel.Usage{}, err
	}
	v, err := typeurl.UnmarshalAny(m.Data)
	if err != nil {
		return kernel.Usage{}, err
	}
	switch m := v.(type) {
	case *cgroups1.Metrics:
		u := kernel.Usage{CPU: m.GetCPU().GetUsage().GetTotal(), Pids: int64(m.GetPids().GetCurrent())}
		mem := m.GetMemory()
		u.Memory = int64(mem.GetUsage().GetUsage() - min(mem.GetTotalInactiveFile(), mem.GetUsage().GetUsage()))
		u.Limit = int64(mem.GetUsage().GetLimit())
		u.OOMs = m.GetMemoryOomControl().GetOomKill()
		return u, nil
	case *cgroups2.Metrics:
		u := kernel.Usage{CPU: m.GetCPU().GetUsageUsec() * 1000, Pids: int64(m.GetPids().GetCurrent())}
		mem := m.GetMemory()
		u.Memory = int64(mem.GetUsage() - min(mem.GetInactiveFile(), mem.GetUsage()))
		u.Limit = int64(mem.GetUsageLimit())
		u.OOMs = m.GetMemoryEvents().GetOomKill()
		return u, nil
	}
	return kernel.Usage{}, fmt.Errorf("metrics of unknown type %T", v)
}

// Exits implements kernel.Runtime.
func (r *Runtime) Exits(ctx context.Context) (<-chan string, error) {
	events, errs := r.c.Subscribe(scoped(ctx), `topic=="/tasks/exit"`)
	out := make(chan string, 64)
	go func() {
		defer close(out)
		for {
			select {
			case <-ctx.Done():
				return
			case <-errs:
				return
			case e := <-events:
				v, err := typeurl.UnmarshalAny(e.Event)
				if err != nil {
					continue
				}
				// An exec'd process has an ID of its own.
				if exit, ok := v.(*apievents.TaskExit); ok && exit.ID == exit.ContainerID {
					select {
					case out <- exit.ContainerID:
					case <-ctx.Done():
						return
					}
				}
			}
		}
	}()
	return out, nil
}

// criuError is the part of CRIU's log that says why.
func criuError(name string) string {
	b, err := os.ReadFile(name)
	if err != nil {
		return ""
	}
	var out []byte
	for line := range bytes.Lines(b) {
		if bytes.Contains(line, []byte("Error (")) && len(out) < 2000 {
			out = append(out, "; criu: "...)
			out = append(out, bytes.TrimSpace(line)...)
		}
	}
	return string(out)
}
