package machine

import (
	"bufio"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Origin is what processes that were frozen on a machine depend on.
type Origin struct {
	Arch     string   // as Go names it
	Features []string // of the processor, those that programs choose their code by, sorted
	System   string   // release of the operating system's kernel: "6.12.1-amd64"
	CRIU     string   // version: "4.2.1"
}

// Here is this machine with the tools of a folder. What cannot be found out is empty.
func Here(ctx context.Context, tools string) Origin {
	o := Origin{Arch: runtime.GOARCH}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		o.System = unix.ByteSliceToString(u.Release[:])
	}
	if f, err := os.Open("/proc/cpuinfo"); err == nil {
		o.Features = features(bufio.NewScanner(f))
		f.Close()
	}
	if out, err := exec.CommandContext(ctx, filepath.Join(tools, "criu"), "--version").Output(); err == nil {
		o.CRIU = strings.TrimSpace(strings.TrimPrefix(firstLine(out), "Version:"))
	}
	return o
}

// features reads the first processor's of /proc/cpuinfo. What the system's kernel
// says of itself there, its mitigations and how it counts time, is left out: it comes
// and goes with the kernel's version.
func features(lines *bufio.Scanner) (out []string) {
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), ":")
		switch strings.TrimSpace(name) {
		case "flags":
			for _, f := range strings.Fields(value) {
				if instructions(f) {
					out = append(out, f)
				}
			}
		case "Features": // arm64: all of them are the programs' business
			out = strings.Fields(value)
		default:
			continue
		}
		slices.Sort(out)
		return slices.Compact(out)
	}
	return nil
}

// instructions reports whether a flag of an x86 processor stands for instructions
// that programs use where it is there.
func instructions(flag string) bool {
	for _, prefix := range []string{"sse", "ssse", "avx", "amx", "xsave", "sha", "bmi", "clflush", "movdir", "vpcl", "pclmul"} {
		if strings.HasPrefix(flag, prefix) {
			return true
		}
	}
	return slices.Contains([]string{
		"fpu", "cmov", "cx8", "cx16", "mmx", "fxsr", "pni", "fma", "fma4", "f16c", "adx", "popcnt", "abm", "lahf_lm", "movbe", "aes", "vaes", "gfni", "rdrand", "rdseed",
		"fsgsbase", "rdpid", "rdtscp", "clwb", "waitpkg", "serialize", "rtm", "hle", "tbm", "xop", "3dnow", "3dnowext", "prefetchw", "pku", "cldemote", "enqcmd", "uintr", "sm3", "sm4",
	}, flag)
}
