package machine

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// kdat is where CRIU keeps what it found out about the operating system's
// kernel, so that it need not try everything again at each start (25 ms, several
// times a freeze). It writes it only where a reboot forgets it: on a tmpfs.
const kdat = "/run/criu.kdat"

// RememberKernel gives CRIU its cache on a machine whose /run is no tmpfs, as in
// some virtual machines: made in a mount namespace where it is one, and made
// anew after a reboot. state is a folder that remembers which boot it was made
// in.
func RememberKernel(ctx context.Context, criu, state string) error {
	var st unix.Statfs_t
	if err := unix.Statfs(filepath.Dir(kdat), &st); err != nil || st.Type == unix.TMPFS_MAGIC {
		return err
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return err
	}
	version, err := exec.CommandContext(ctx, criu, "--version").Output()
	if err != nil {
		return fmt.Errorf("criu --version: %w", err)
	}
	want := append(bytes.TrimSpace(boot), append([]byte{'\n'}, version...)...)
	mark := filepath.Join(state, "kdat.boot")
	if have, err := os.ReadFile(mark); err == nil && bytes.Equal(have, want) {
		if _, err := os.Stat(kdat); err == nil {
			return nil
		}
	}
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", `mount -t tmpfs tmpfs /run && "$0" check >&2; cat `+kdat, criu)
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	var said strings.Builder
	cmd.Stderr = &said
	b, err := cmd.Output()
	if err != nil || len(b) == 0 {
		return fmt.Errorf("criu check: %w: %s", err, said.String())
	}
	temporary := kdat + ".new"
	if err := os.WriteFile(temporary, b, 0o600); err != nil {
		return err
	}
	if err := os.Rename(temporary, kdat); err != nil {
		return err
	}
	return os.WriteFile(mark, want, 0o600)
}
