package pager

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// victim is testdata/victim.py: a process whose memory the pager brings.
type victim struct {
	t   testing.TB
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
	// outFD is below out, to ask whether there is an answer.
	outFD int
	pid   int
	base  uint64
	dump  string
	// criu is our descriptor of the end of the connection that it has as well.
	criu int
}

const victimPages = 1200

// startVictim starts one and makes a dump of its memory: page i of the region
// lies in the file at sources[i], -1 for zeros. conn is the end for its pager.
func startVictim(t testing.TB, criu int) *victim {
	t.Helper()
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("there is no python3 on PATH")
	}
	v := &victim{t: t, dump: t.TempDir(), criu: criu}
	conn := os.NewFile(uintptr(dup(t, criu)), "criu")
	v.cmd = exec.Command(python, "testdata/victim.py", fmt.Sprint(victimPages))
	v.cmd.ExtraFiles, v.cmd.Stderr = []*os.File{conn}, os.Stderr
	if v.in, err = v.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := v.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := v.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	conn.Close()
	t.Cleanup(v.kill)
	v.out, v.outFD = bufio.NewReader(out), int(out.(*os.File).Fd())
	line := v.answer()
	if why, no := strings.CutPrefix(line, "no: "); no {
		t.Skipf("userfaultfd is not permitted (needs root, or vm.unprivileged_userfaultfd): %s", why)
	}
	if _, err := fmt.Sscan(line, &v.pid, &v.base); err != nil {
		t.Fatalf("%q: %v", line, err)
	}
	v.makeDump()
	return v
}

func dup(t testing.TB, fd int) int {
	t.Helper()
	n, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// sources of the region's pages: two that are in no map at both ends, a gap, a
// part that came with the process (so: zeros, as nobody fills it here), and
// places in the file that differ from the addresses.
func (v *victim) makeDump() {
	at := func(page uint64) uint64 { return v.base + page*pageSize }
	write(v.t, filepath.Join(v.dump, fmt.Sprintf("pagemap-%d.img", v.pid)), image(1,
		entry{at(0) - 64*pageSize, 5, flagPresent}, // something small that is in already
		entry{at(2), 498, lazyPresent},
		entry{at(500), 100, flagLazy}, // zeros
		entry{at(600), 300, lazyPresent},
		entry{at(900), 298, lazyPresent},
	))
	var pages bytes.Buffer
	for i := range 5 + 498 + 300 + 298 {
		sum := sha256.Sum256(fmt.Append(nil, i))
		pages.Write(bytes.Repeat(sum[:], pageSize/len(sum)))
	}
	write(v.t, v.pages(), pages.Bytes())
	v.do("region = Region(base, [None]*2 + list(range(5, 503)) + [None]*100 + list(range(503, 1101)) + [None]*2)")
}

const lazyPages = 498 + 300 + 298

func (v *victim) pages() string { return filepath.Join(v.dump, "pages-1.img") }

func (v *victim) answer() string {
	v.t.Helper()
	line, err := v.out.ReadString('\n')
	if err != nil {
		v.t.Fatalf("the victim: %v", err)
	}
	return strings.TrimSpace(line)
}

// tell has the victim run a line; its answer comes later.
func (v *victim) tell(code string) {
	v.t.Helper()
	if _, err := fmt.Fprintln(v.in, code); err != nil {
		v.t.Fatal(err)
	}
}

// do has the victim run lines, each of which must be right.
func (v *victim) do(lines ...string) {
	v.t.Helper()
	for _, line := range lines {
		v.tell(line)
		if got := v.answer(); got != "ok" {
			v.t.Fatalf("%s: %s", line, got)
		}
	}
}

func (v *victim) kill() {
	v.cmd.Process.Kill()
	v.cmd.Wait()
}

// served is a victim and the Serve that works for it.
type served struct {
	*victim
	result chan error
	filled uint64
}

func serve(t *testing.T) *served {
	t.Helper()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	s := &served{victim: startVictim(t, pair[1]), result: make(chan error, 1)}
	go func() {
		var err error
		var stats Stats
		stats, err = Serve(pair[0], -1, s.dump, Options{})
		s.filled = stats.Bytes
		s.result <- err
	}()
	return s
}

// hangUp closes our end: the victim's is the only one left.
func (v *victim) hangUp() { unix.Close(v.criu) }

// end waits for Serve, which must be content.
func (s *served) end() {
	s.t.Helper()
	if err := <-s.result; err != nil {
		s.t.Errorf("Serve: %v", err)
	}
}

// TestVictim: whatever a process does to its memory before that has come, it
// finds what it ought to.
func TestVictim(t *testing.T) {
	for name, lines := range map[string][]string{
		"nothing":                nil,
		"touches":                {"region.check(random.sample(range(PAGES), 200))"},
		"touches all":            {"region.check()"},
		"forgets a part":         {"region.forget(100, 200)", "region.check(range(90, 310))"},
		"forgets the gap's edge": {"region.forget(490, 120)", "region.check(range(480, 620))"},
		"unmaps and maps anew":   {"region.renew(100, 200)", "region.check(range(90, 310))"},
		"unmaps":                 {"region.unmap(590, 320)", "region.check(range(560, 590))"},
		"moves within":           {"region.move(10, 700, 150)", "region.check(range(690, 860))", "region.check(range(5, 170))"},
		"moves and untouched":    {"region.move(10, 700, 150)"},
		"moves to and fro":       {"region.move(10, 700, 150)", "region.move(690, 300, 100)", "region.move(250, 1000, 100)"},
		"moves away, longer":     {"part = region.move_away(550, 400)", "part.check(range(0, 800, 7))", "region.check(range(500, 550))"},
		"moves away, untouched":  {"part = region.move_away(450, 200)"},
		"forgets what it moved":  {"region.move(600, 100, 64)", "region.forget(110, 20)", "region.check(range(90, 170))"},
		"writes":                 {"region.write(7)", "region.write(8)", "region.write(550)", "region.check(range(0, 20))"},
		"forks":                  {"region.fork()"},
		"forks after all that":   {"region.forget(20, 40)", "region.move(600, 100, 64)", "region.renew(1000, 20)", "region.write(3)", "region.fork()"},
		"riots":                  {"riot(region, 1, 150)"},
	} {
		for _, after := range []bool{false, true} { // all is missing while it does it, or is coming
			t.Run(fmt.Sprintf("%s/drained=%v", name, after), func(t *testing.T) {
				s := serve(t)
				s.do("part = Region(0, [])", "send()")
				if after {
					s.do("running()")
				}
				s.do(lines...)
				if !after {
					s.do("running()")
				}
				s.end()
				s.do("region.check()", "part.check()", "region.fork()")
			})
		}
	}
}

func TestServeFillsAllOnce(t *testing.T) {
	s := serve(t)
	s.do("send()", "region.check(range(0, 1200, 50))", "running()")
	s.end()
	if s.filled != lazyPages*pageSize {
		t.Errorf("filled %d bytes, want %d", s.filled, lazyPages*pageSize)
	}
}

func TestRiots(t *testing.T) {
	for seed := range 12 {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			s := serve(t)
			s.do("send()", "running()", fmt.Sprintf("riot(region, %d, 250)", 100+seed))
			s.end()
			s.do("region.check()")
		})
	}
}

func TestVictimEndsInTheMiddle(t *testing.T) {
	s := serve(t)
	s.do("send()", "region.check(range(2, 40))")
	s.kill()
	if _, err := unix.Write(s.criu, []byte{0x46, 0x54, 0x53, 0x52}); err != nil {
		t.Fatal(err)
	}
	s.end()
	if s.filled >= lazyPages*pageSize {
		t.Errorf("%d bytes were filled in a process that had ended", s.filled)
	}
}

func TestServeFails(t *testing.T) {
	for name, c := range map[string]struct {
		before func(s *served)
		then   func(s *served)
		want   string
	}{
		"CRIU ends before the processes run": {
			before: func(*served) {},
			then:   func(s *served) { s.hangUp(); s.do("criu.close()") },
			want:   "CRIU has ended",
		},
		"CRIU ends in the middle of a word": {
			before: func(*served) {},
			then:   func(s *served) { s.hangUp(); s.do("criu.send(b'ab')", "criu.close()") },
			want:   "cut off",
		},
		"no descriptor comes": {
			before: func(*served) {},
			then:   func(s *served) { s.do("criu.send(struct.pack('<i', os.getpid()) + b'0')") },
			want:   "no descriptor",
		},
		"the pages file is cut off": {
			before: func(s *served) { os.Truncate(s.pages(), 900*pageSize) },
			want:   "cut off",
		},
		"the pages file is gone": {
			before: func(s *served) { os.Remove(s.pages()) },
			want:   "no such file",
		},
		"the page map is cut off": {
			before: func(s *served) { os.Truncate(filepath.Join(s.dump, fmt.Sprintf("pagemap-%d.img", s.pid)), 40) },
			want:   "cut off",
		},
		"the page map is gone": {
			before: func(s *served) { os.Remove(filepath.Join(s.dump, fmt.Sprintf("pagemap-%d.img", s.pid))) },
			want:   "no such file",
		},
		"the pages file is cut off later": {
			before: func(*served) {},
			then: func(s *served) {
				s.do("region.check([3])")
				os.Truncate(s.pages(), 900*pageSize)
				s.tell("running()")
			},
			want: "bad address",
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t)
			c.before(s)
			if name[:4] != "CRIU" && name[:2] != "no" {
				s.do("send()")
			}
			if c.then != nil {
				c.then(s)
			}
			if err := <-s.result; err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("Serve: %v, want %q", err, c.want)
			}
		})
	}
}
