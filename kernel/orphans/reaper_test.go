package orphans

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// inherit makes this process one that orphans come to, as PID 1 is, and reaps
// them until the test ends.
func inherit(t *testing.T, r *Reaper) {
	t.Helper()
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { r.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		wg.Wait()
		unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)
	})
}

// gone waits until a process is not even a zombie.
func gone(t *testing.T, pid int) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		state, parent := stat(pid)
		if state == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("process %d is still there: state %c, parent %d, we are %d", pid, state, parent, os.Getpid())
		}
	}
}

// twice forks twice: the shell ends at once with a status, its child lives on
// without it, and says its number first.
const twice = `sh -c 'echo $$; exec sleep 0.05' & exit %d`

// Shells keep their status and the orphans of all of them are reaped, though they
// end in any order.
func TestOrphansOfADoubleFork(t *testing.T) {
	var r Reaper
	inherit(t, &r)
	var wg sync.WaitGroup
	orphans := make(chan int, 100)
	for i := range cap(orphans) {
		wg.Go(func() {
			status := i%100 + 1
			cmd := exec.Command("sh", "-c", fmt.Sprintf(twice, status))
			out, err := cmd.StdoutPipe()
			if err == nil {
				err = r.Start(cmd, cmd.Start)
			}
			if err != nil {
				t.Error(err)
				return
			}
			said, err := io.ReadAll(out) // until the orphan has ended as well
			if err != nil {
				t.Error(err)
			}
			pid, err := strconv.Atoi(strings.TrimSpace(string(said)))
			if err != nil {
				t.Errorf("the orphan said %q", said)
				return
			}
			orphans <- pid
			var exit *exec.ExitError
			if err := r.Wait(cmd); !errors.As(err, &exit) || exit.ExitCode() != status {
				t.Errorf("the shell's own status was %d: %v", status, err)
			}
		})
	}
	wg.Wait()
	close(orphans)
	for pid := range orphans {
		gone(t, pid)
	}
	if len(r.own) != 0 {
		t.Errorf("%d processes are remembered", len(r.own))
	}
}

// A child of ours that nobody waits for yet does not keep the others.
func TestOrphansBehindAChildOfOurs(t *testing.T) {
	var r Reaper
	first := exec.Command("sh", "-c", "exit 3")
	if err := r.Start(first, first.Start); err != nil {
		t.Fatal(err)
	}
	for state := byte(0); state != 'Z'; state, _ = stat(first.Process.Pid) {
		time.Sleep(time.Millisecond)
	}
	inherit(t, &r)
	for range 3 {
		cmd := exec.Command("sh", "-c", fmt.Sprintf(twice, 0))
		out, err := cmd.StdoutPipe()
		if err == nil {
			err = r.Start(cmd, cmd.Start)
		}
		if err != nil {
			t.Fatal(err)
		}
		said, _ := io.ReadAll(out)
		if err := r.Wait(cmd); err != nil {
			t.Fatal(err)
		}
		pid, err := strconv.Atoi(strings.TrimSpace(string(said)))
		if err != nil {
			t.Fatal(err)
		}
		gone(t, pid)
	}
	var exit *exec.ExitError
	if err := r.Wait(first); !errors.As(err, &exit) || exit.ExitCode() != 3 {
		t.Errorf("its status was taken: %v", err)
	}
}

func TestAStartThatFails(t *testing.T) {
	var r Reaper
	cmd := exec.Command("/does/not/exist")
	if err := r.Start(cmd, cmd.Start); err == nil || len(r.own) != 0 {
		t.Errorf("%v, %v", err, r.own)
	}
}
