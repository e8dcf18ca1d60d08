package acceptance

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"cellar/internal/testkit"
)

// kept is a checkpoint as the API lists it.
type kept struct {
	ID         string
	Name, Kind string
	Size       int64
	AddedBytes int64 `json:"added_bytes"`
	Stored     bool
}

func (h *hub) kept(project string) (list struct{ Items []kept }) {
	h.t.Helper()
	h.Want(200, "GET", "/api/v1/projects/"+project+"/checkpoints", nil, &list)
	return list
}

// awaitStored waits until all checkpoints are in the archive and have no folder any more.
func (h *hub) awaitStored(project string) []kept {
	h.t.Helper()
	for deadline := time.Now().Add(60 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		list, left := h.kept(project).Items, []string{}
		for _, c := range list {
			if _, err := os.Stat(filepath.Join(h.data, "vault", c.ID)); err == nil || !c.Stored {
				left = append(left, c.Name)
			}
		}
		if len(left) == 0 {
			return list
		}
		if time.Now().After(deadline) {
			h.t.Fatalf("not stored: %v of %+v", left, list)
		}
	}
}

const lively = `
import numpy, os, threading, time
x = 41; pid = os.getpid()
block = numpy.random.bytes(32 << 20); total = hash(block)
steps = (i * i for i in range(10)); [next(steps) for _ in range(3)]
book = open('book.txt', 'a+'); book.write('one\n'); book.flush()
beats = 0
def beat():
    global beats
    while True:
        beats += 1; time.sleep(.01)
threading.Thread(target=beat, daemon=True).start()`

// alive asks for all that lively made.
func alive(s *testkit.Socket) string {
	return s.Exec("b = beats; time.sleep(.1); book.write('more\\n'), x, os.getpid() == pid, hash(block) == total, beats > b, steps.gi_frame is not None")
}

const livelyAnswer = "(5, 41, True, True, True, True)"

// TestStored: checkpoints that nobody needs at once cost little, cannot be read on the disk, and come back whole.
func TestStored(t *testing.T) {
	h := startHub(t, "--store-after", "1s")
	p, k := h.project("Stored")
	s := h.Open(p, k)
	s.Exec(lively)
	keep := func(name string) (c kept) {
		h.MustRun("/api/v1/projects/"+p+"/checkpoints", map[string]string{"kernel": k, "name": name}, &c)
		return c
	}
	first := keep("first")
	h.awaitStored(p)
	s.Exec("x = 42; next(steps)")
	second := keep("second")
	for _, c := range h.awaitStored(p) {
		t.Logf("%s: %d MB, added %.2f MB", c.Name, c.Size>>20, float64(c.AddedBytes)/(1<<20))
		if c.ID == second.ID && c.AddedBytes > c.Size/10 {
			t.Errorf("the second checkpoint added %d of %d bytes", c.AddedBytes, c.Size)
		}
	}
	h.secret(s.Exec("block[1 << 20 : (1 << 20) + 48].hex()")) // random: no compression hides it
	var changes struct {
		Variables []struct{ Name, Now, Then string }
	}
	h.Want(200, "GET", "/api/v1/projects/"+p+"/checkpoints/"+first.ID+"/changes", nil, &changes)
	if len(changes.Variables) == 0 {
		t.Error("what applying would change is not known of a stored checkpoint")
	}
	h.MustRun("/api/v1/projects/"+p+"/checkpoints/"+first.ID+"/apply", map[string]any{}, nil)
	s.Close()
	s = h.Open(p, k)
	if got := alive(s); got != livelyAnswer {
		t.Errorf("applied: %s", got)
	}
	if got := s.Exec("next(steps)"); got != "9" {
		t.Errorf("the generator of the first checkpoint: %s", got)
	}
	h.MustRun(h.path(p, k, "hibernate"), nil, nil)
	h.awaitStored(p)
	if got := alive(s); got != livelyAnswer {
		t.Errorf("woken from the archive: %s", got)
	}
	s.Close()
	// Stopped, the archive can be looked after by hand.
	h.MustRun(h.path(p, k, "hibernate"), nil, nil)
	h.awaitStored(p)
	h.kill(syscall.SIGTERM)
	before, _ := os.ReadFile(filepath.Join(h.data, "master.key"))
	h.cli("vault", "rotate-key")
	if after, err := os.ReadFile(filepath.Join(h.data, "master.key")); err != nil || bytes.Equal(before, after) {
		t.Errorf("the master key is the same as before: %v", err)
	}
	h.cli("vault", "verify", "--deep")
	h.start()
	if got := alive(h.Open(p, k)); got != livelyAnswer {
		t.Errorf("after a restart of the hub, and with another master key: %s", got)
	}
	h.Want(204, "DELETE", "/api/v1/projects/"+p, nil, nil)
	h.kill(syscall.SIGTERM)
	h.cli("vault", "gc")
	if n := sizeBelow(t, filepath.Join(h.data, "archive")); n > 4<<20 {
		t.Errorf("%d bytes are stored of nothing", n)
	}
	if left, _ := os.ReadDir(filepath.Join(h.data, "vault")); len(left) > 0 {
		t.Errorf("folders left: %v", left)
	}
}

// secret fails the test when these bytes of a kernel, as Python shows their hexadecimal digits, stand in a file of the archive.
func (h *hub) secret(text string) {
	h.t.Helper()
	secret, err := hex.DecodeString(strings.Trim(text, "'"))
	if err != nil || len(secret) != 48 {
		h.t.Fatalf("%s: %v", text, err)
	}
	filepath.WalkDir(filepath.Join(h.data, "archive"), func(name string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			if b, _ := os.ReadFile(name); bytes.Contains(b, secret) {
				h.t.Errorf("%s can be read in %s", text, name)
			}
		}
		return nil
	})
}

func sizeBelow(t testing.TB, dir string) (n int64) {
	t.Helper()
	filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			if st, err := d.Info(); err == nil {
				n += st.Size()
			}
		}
		return nil
	})
	return n
}

// TestStoringMeetsBadLuck: wherever the hub ends while it stores, nothing is lost, nothing is kept twice, and it stores again.
func TestStoringMeetsBadLuck(t *testing.T) {
	for _, fault := range []string{"store.begun=kill", "store.saved=kill", "store.begun=fail", "store.saved=fail"} {
		t.Run(fault, func(t *testing.T) {
			h := startHub(t)
			h.kill(syscall.SIGTERM)
			h.args = []string{"--store-after", "300ms", "--fault", fault}
			h.start()
			p, k := h.project("Luck")
			s := h.Open(p, k)
			s.Exec(lively)
			h.MustRun(h.path(p, k, "hibernate"), nil, nil)
			s.Close()
			if strings.HasSuffix(fault, "kill") {
				h.cmd.Wait()
				h.cmd = nil
			} else {
				time.Sleep(2 * time.Second) // it fails a few times
				if got := alive(h.Open(p, k)); got != livelyAnswer {
					t.Errorf("while storing fails: %s", got)
				}
				h.MustRun(h.path(p, k, "hibernate"), nil, nil)
				h.kill(syscall.SIGKILL)
			}
			h.args = []string{"--store-after", "300ms"}
			h.start()
			list := h.awaitStored(p)
			if got := alive(h.Open(p, k)); got != livelyAnswer {
				t.Errorf("afterwards: %s", got)
			}
			h.kill(syscall.SIGTERM)
			h.cli("vault", "verify", "--deep")
			if out := h.cli("vault", "stats"); !strings.Contains(strings.Join(strings.Fields(out), " "), fmt.Sprintf(" %d ", len(list))) {
				t.Errorf("%d checkpoints, and the archive has: %s", len(list), out)
			}
		})
	}
}
