package containerd

import (
	"bufio"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestMain lets this program be a shim with children that hang; see hanging.
func TestMain(m *testing.M) {
	if os.Getenv("CELLAR_TEST_SHIM") != "" {
		for _, name := range os.Args[slices.Index(os.Args, "--")+1:] {
			if err := exec.Command(name, "infinity").Start(); err != nil {
				os.Exit(1)
			}
		}
		os.Stdout.WriteString("ready\n")
		io.Copy(io.Discard, os.Stdin) // until the test is through
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// hanging starts what looks like the shim of a container with children of these
// names that never end, and says their pids in that order.
func hanging(t *testing.T, container string, names ...string) (pids []int) {
	t.Helper()
	dir := t.TempDir()
	sleep, err := exec.LookPath("sleep")
	if err != nil {
		t.Fatal(err)
	}
	shim := filepath.Join(dir, "containerd-shim-runc-v2")
	copyFile(t, os.Args[0], shim)
	args := []string{"-namespace", Namespace, "-id", container, "--"}
	for _, name := range names {
		copyFile(t, sleep, filepath.Join(dir, name))
		args = append(args, filepath.Join(dir, name))
	}
	cmd := exec.Command(shim, args...)
	cmd.Env = append(os.Environ(), "CELLAR_TEST_SHIM=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		cmd.Wait()
	})
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		t.Fatalf("the shim says %q, %v", line, err)
	}
	if got := shimOf(container); got != cmd.Process.Pid {
		t.Fatalf("the shim of %s is %d, want %d", container, got, cmd.Process.Pid)
	}
	pids = make([]int, len(names))
	for _, pid := range descendants(cmd.Process.Pid) {
		if i := slices.Index(names, commOf(pid)); i >= 0 {
			pids[i] = pid
		}
	}
	if slices.Contains(pids, 0) {
		t.Fatalf("%v have the pids %v", names, pids)
	}
	return pids
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, b, 0o755); err != nil {
		t.Fatal(err)
	}
}

func commOf(pid int) string {
	b, _ := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "comm"))
	return strings.TrimSpace(string(b))
}

// running reports whether a process has not ended.
func running(pid int) bool {
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	return err == nil && !strings.Contains(string(b[strings.LastIndexByte(string(b), ')'):]), ") Z ")
}

// TestBreakOff: what hangs over one container is killed, and nothing else.
func TestBreakOff(t *testing.T) {
	r := &Runtime{o: Options{Log: slog.New(slog.DiscardHandler)}}
	ours := hanging(t, "hangs-1", "criu", "python3", "runc")
	others := hanging(t, "hangs-11", "criu", "runc")
	r.breakOff("no-such-container")
	r.breakOff("hangs-1")
	for running(ours[0]) || running(ours[2]) { // for ever, if it does not work
		time.Sleep(time.Millisecond)
	}
	if !running(ours[1]) {
		t.Error("the container's own process was killed")
	}
	if !running(others[0]) || !running(others[1]) {
		t.Error("what works on another container was killed")
	}
	if shimOf("hangs-1") == 0 {
		t.Error("the shim was killed")
	}
	if shimOf("no-such-container") != 0 || len(descendants(0)) != 0 {
		t.Error("something was found for a container that is not there")
	}
}
