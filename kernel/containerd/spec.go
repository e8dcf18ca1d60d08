package containerd

import (
	"context"
	"path/filepath"
	"strings"

	"github.com/containerd/containerd/v2/contrib/seccomp"
	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/pkg/oci"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"cellar/kernel"
)

// UIDRange is how many user ids a container has.
const UIDRange = 65536

func idMap(base uint32) []specs.LinuxIDMapping {
	return []specs.LinuxIDMapping{{ContainerID: 0, HostID: base, Size: UIDRange}}
}

// spec is the hardened container: its own user namespace and an unprivileged
// user in it, no capabilities, no new privileges, the default seccomp profile
// (which has no userfaultfd), a read-only root, tmpfs for what is scratch.
func (r *Runtime) spec(c kernel.Container, env []string, late bool) []oci.SpecOpts {
	criu := r.criuConfig("")
	if late {
		criu = r.criuConfig(c.Name)
	}
	return []oci.SpecOpts{
		oci.WithDefaultSpec(),
		oci.WithDefaultUnixDevices,
		oci.WithProcessArgs(c.Argv...),
		oci.WithProcessCwd(c.Dir),
		oci.WithEnv(append(env, c.Env...)),
		oci.WithUserNamespace(idMap(c.UIDBase), idMap(c.UIDBase)),
		oci.WithRootFSReadonly(),
		oci.WithNoNewPrivileges,
		oci.WithCapabilities(nil),
		oci.WithHostname("cellar"),
		oci.WithCgroup("/" + r.o.Cgroup + "/" + c.Name),
		oci.WithAnnotations(map[string]string{"org.criu.config": criu}),
		func(_ context.Context, _ oci.Client, _ *containers.Container, s *specs.Spec) error {
			s.Process.User = specs.User{UID: c.UID, GID: c.UID}
			s.Process.Rlimits = nil
			s.Process.Terminal = false
			s.Mounts = mounts(c)
			s.Linux.Resources = resources(s.Linux.Resources, c.Limits)
			s.Hooks = &specs.Hooks{CreateRuntime: []specs.Hook{r.netHook(c.Network)}}
			return nil
		},
		seccomp.WithDefaultProfile(), // after the capabilities: it depends on them
	}
}

func (r *Runtime) netHook(n kernel.Network) specs.Hook {
	args := []string{"cellar-keep", "net"}
	if n.Bridge != "" {
		args = append(args, "--bridge", n.Bridge, "--address", n.Address, "--gateway", n.Gateway, "--veth", n.Veth)
	}
	return specs.Hook{Path: r.o.Keeper, Args: args}
}

func mounts(c kernel.Container) []specs.Mount {
	tmp := func(target, mode, size string) specs.Mount {
		return specs.Mount{Destination: target, Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "nodev", "mode=" + mode, "size=" + size}}
	}
	list := []specs.Mount{
		{Destination: "/proc", Type: "proc", Source: "proc", Options: []string{"nosuid", "noexec", "nodev"}},
		{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "strictatime", "mode=755", "size=65536k"}},
		{Destination: "/dev/pts", Type: "devpts", Source: "devpts", Options: []string{"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"}},
		{Destination: "/sys", Type: "sysfs", Source: "sysfs", Options: []string{"nosuid", "noexec", "nodev", "ro"}},
		tmp("/dev/shm", "1777", "50%"),
		tmp("/tmp", "1777", "50%"),
		tmp("/var/tmp", "1777", "50%"),
		tmp("/run", "1777", "64m"),
	}
	for _, m := range c.Mounts {
		options := []string{"rbind", "nosuid", "nodev", "rprivate"}
		if m.ReadOnly {
			options = append(options, "ro")
		}
		list = append(list, specs.Mount{Destination: m.Target, Type: "bind", Source: m.Source, Options: options})
	}
	return list
}

const cpuPeriod = 100_000 // microseconds

func resources(res *specs.LinuxResources, l kernel.Limits) *specs.LinuxResources {
	if res == nil {
		res = &specs.LinuxResources{}
	}
	if l.CPUs > 0 {
		quota, period := int64(l.CPUs*cpuPeriod), uint64(cpuPeriod)
		res.CPU = &specs.LinuxCPU{Quota: &quota, Period: &period, Cpus: l.CPUSet}
	}
	if l.Memory > 0 {
		memory, swap := l.Memory, l.Memory // the same: no swap on top, and v1 wants both changed together
		res.Memory = &specs.LinuxMemory{Limit: &memory, Swap: &swap}
	}
	if l.Pids > 0 {
		pids := l.Pids
		res.Pids = &specs.LinuxPids{Limit: &pids}
	}
	return res
}

// criuOptions: tcp-close drops the hub's connection to the keeper and the
// user's connections to the world; files unlinked while open travel up to
// ghost-limit bytes.
const criuOptions = `tcp-close
skip-in-flight
link-remap
ext-unix-sk
file-locks
ghost-limit 536870912
network-lock skip
`

// criuConfig is the file that CRIU reads its options from whenever it dumps or
// restores a container: one for all, or, for a container whose memory came late,
// its own, as what is right for its restore is wrong for its next dump.
func (r *Runtime) criuConfig(late string) string {
	if late != "" {
		return filepath.Join(r.pagerDir(late), "criu.conf")
	}
	return filepath.Join(r.o.Dir, "criu.conf")
}

// imageEnv is the environment of an image's configuration, PATH always set.
func imageEnv(env []string) []string {
	for _, e := range env {
		if strings.HasPrefix(e, "PATH=") {
			return env
		}
	}
	return append([]string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}, env...)
}
