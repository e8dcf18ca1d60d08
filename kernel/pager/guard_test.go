package pager

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// What this program is instead of a test, as cellar-keep would be.
const (
	asGuardian = "PAGER_TEST_GUARDIAN" // FOLDER:WORK:DUMP
	asWorker   = "PAGER_TEST_WORKER"   // DUMP
	workerPID  = "worker.pid"          // in the dump
)

func TestMain(m *testing.M) {
	if err := play(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// play is the guardian or the worker and does not return then, if all goes well.
func play() error {
	if dump := os.Getenv(asWorker); dump != "" {
		name := filepath.Join(dump, workerPID)
		if err := writeWhole(name, fmt.Sprint(os.Getpid())); err != nil {
			return err
		}
		if _, err := Work(dump, Options{}); err != nil {
			return err
		}
		os.Exit(0)
	}
	if spec := os.Getenv(asGuardian); spec != "" {
		at := strings.Split(spec, ":")
		worker := exec.Command("/proc/self/exe")
		worker.Env, worker.Stderr = []string{asWorker + "=" + at[2]}, os.Stderr
		if err := Hold(at[0], at[1], worker, func() { fmt.Println("ready"); os.Stdout.Close() }); err != nil {
			return err
		}
		os.Exit(0)
	}
	return nil
}

// held is a victim with a guardian and its worker.
type held struct {
	*victim
	folder   string
	guardian *exec.Cmd
}

func hold(t *testing.T) *held {
	t.Helper()
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	h := &held{victim: startVictim(t, fd), folder: filepath.Join(t.TempDir(), "folder")}
	h.guardian = startGuardian(t, h.folder, h.dump)
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: filepath.Join(filepath.Dir(h.folder), Socket)}); err != nil {
		t.Fatal(err)
	}
	return h
}

// startGuardian starts one with the folder's parent as CRIU's work folder.
func startGuardian(t *testing.T, folder, dump string) *exec.Cmd {
	t.Helper()
	if err := os.MkdirAll(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = []string{asGuardian + "=" + strings.Join([]string{folder, filepath.Dir(folder), dump}, ":")}
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		unix.Kill(-cmd.Process.Pid, unix.SIGKILL)
		cmd.Wait()
	})
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		t.Fatalf("the guardian says %q, %v", line, err)
	}
	return cmd
}

// worker's pid; it is there once the victim's first page is.
func (h *held) worker() (pid int) {
	h.t.Helper()
	b, err := os.ReadFile(filepath.Join(h.dump, workerPID))
	if err != nil {
		h.t.Fatal(err)
	}
	fmt.Sscan(string(b), &pid)
	return pid
}

// awaitGone waits until there is no process of that pid, or only a dead one.
func awaitGone(t *testing.T, pid int) {
	t.Helper()
	for {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil || strings.Contains(string(b[strings.LastIndexByte(string(b), ')'):]), ") Z ") {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

// awaitFault waits until the victim waits for a page; an answer is wrong.
func (v *victim) awaitFault() {
	v.t.Helper()
	for {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/wchan", v.pid))
		if err != nil {
			v.t.Skipf("where a process waits is not told here: %v", err)
		}
		if strings.Contains(string(b), "userfault") {
			return
		}
		fds := []unix.PollFd{{Fd: int32(v.outFD), Events: unix.POLLIN}}
		if n, _ := unix.Poll(fds, 1); n > 0 {
			v.t.Fatalf("the victim went on: %s", v.answer())
		}
	}
}

func TestHoldIsDone(t *testing.T) {
	h := hold(t)
	h.do("send()", "region.check(range(0, 1200, 50))")
	if Done(h.folder) || Failed(h.folder) != nil {
		t.Errorf("before the end: done %v, failed %v", Done(h.folder), Failed(h.folder))
	}
	h.do("region.fork()", "running()")
	if err := Wait(h.folder); err != nil {
		t.Fatal(err)
	}
	if !Done(h.folder) || Failed(h.folder) != nil {
		t.Errorf("at the end: done %v, failed %v", Done(h.folder), Failed(h.folder))
	}
	if err := h.guardian.Wait(); err != nil {
		t.Errorf("the guardian: %v", err)
	}
	h.do("region.check()")
	if err := End(h.folder); err != nil {
		t.Fatal(err)
	}
	if err := Wait(h.folder); err != nil {
		t.Errorf("a folder that is not there: %v", err)
	}
	if Done(h.folder) || Failed(h.folder) != nil {
		t.Error("a folder that is not there is done or has failed")
	}
	h.do("region.check()")
}

func TestWorkerIsKilled(t *testing.T) {
	h := hold(t)
	h.do("send()", "region.check(range(0, 100))")
	unix.Kill(h.worker(), unix.SIGKILL)
	if err := Wait(h.folder); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Fatalf("Wait: %v", err)
	}
	if Failed(h.folder) == nil || Done(h.folder) {
		t.Error("it has not failed")
	}
	h.do("region.check(range(2, 40))") // what has come is there
	h.tell("region.check([700])")
	h.awaitFault() // and who wants more waits, and reads no zeros
	h.kill()
	if err := End(h.folder); err != nil {
		t.Fatal(err)
	}
	h.guardian.Wait()
	if _, err := os.Stat(h.folder); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the folder is left: %v", err)
	}
	if unix.Kill(-h.guardian.Process.Pid, 0) != unix.ESRCH {
		t.Error("a process is left")
	}
}

// TestGuardianEndsWithTheProcesses: nobody calls End.
func TestGuardianEndsWithTheProcesses(t *testing.T) {
	h := hold(t)
	h.do("send()", "region.check([5])")
	unix.Kill(h.worker(), unix.SIGKILL)
	if err := Wait(h.folder); err == nil {
		t.Fatal("Wait: no error")
	}
	h.kill()
	if err := h.guardian.Wait(); err == nil {
		t.Error("the guardian ended without an error")
	}
	if err := Wait(h.folder); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Errorf("Wait, later: %v", err)
	}
}

// TestGuardianIsKilled: nobody knows any more whether all comes, but the worker
// does not leave the processes, whatever they do.
func TestGuardianIsKilled(t *testing.T) {
	h := hold(t)
	h.do("send()", "region.check([5])")
	worker := h.worker()
	h.guardian.Process.Kill()
	h.guardian.Wait()
	if err := Wait(h.folder); err == nil || !strings.Contains(err.Error(), "ended before") {
		t.Errorf("Wait: %v", err)
	}
	if Done(h.folder) {
		t.Error("it is done")
	}
	h.do("region.fork()", "region.forget(20, 9)", "running()")
	awaitGone(t, worker)
	h.do("region.check()")
	if err := End(h.folder); err != nil {
		t.Error(err)
	}
}

// TestGuardianIsKilledBeforeCRIUComes: its worker does not wait for ever.
func TestGuardianIsKilledBeforeCRIUComes(t *testing.T) {
	dump := t.TempDir()
	cmd := startGuardian(t, filepath.Join(t.TempDir(), "folder"), dump)
	pid := workerOf(dump)
	cmd.Process.Kill()
	cmd.Wait()
	awaitGone(t, pid)
}

func TestEndBeforeCRIUComes(t *testing.T) {
	folder, dump := filepath.Join(t.TempDir(), "folder"), t.TempDir()
	cmd := startGuardian(t, folder, dump)
	pid := workerOf(dump)
	if err := End(folder); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(folder); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the folder is left: %v", err)
	}
	cmd.Wait()
	awaitGone(t, pid)
}

// workerOf waits for a worker's process ID: it is started before the guardian is
// ready, and writes this first.
func workerOf(dump string) (pid int) {
	for pid == 0 {
		b, _ := os.ReadFile(filepath.Join(dump, workerPID))
		fmt.Sscan(string(b), &pid)
		time.Sleep(time.Millisecond)
	}
	return pid
}

func TestWorkerFails(t *testing.T) {
	h := hold(t)
	if err := os.Truncate(h.pages(), pageSize); err != nil {
		t.Fatal(err)
	}
	h.do("send()")
	if err := Wait(h.folder); err == nil || !strings.Contains(err.Error(), "exit status 1") {
		t.Errorf("Wait: %v", err)
	}
	h.tell("region.check([700])")
	h.awaitFault()
}

func TestTwoGuardians(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "folder")
	startGuardian(t, folder, t.TempDir())
	err := Hold(folder, t.TempDir(), exec.Command("false"), func() { t.Error("the second is ready") })
	if err == nil || !strings.Contains(err.Error(), "another pager") {
		t.Errorf("the second: %v", err)
	}
}
