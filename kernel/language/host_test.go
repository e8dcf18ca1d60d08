package language

import (
	"context"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// host serves on a port of the loopback; what it logs comes out at the end.
func host(t *testing.T) (dial func() net.Conn, end func() string) {
	t.Helper()
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var log strings.Builder
	h := Host{Dir: t.TempDir(), Log: slog.New(slog.NewTextHandler(&log, nil))}
	done := make(chan struct{})
	go func() {
		defer close(done)
		h.Serve(ctx, ln)
	}()
	end = func() string {
		cancel()
		<-done
		return log.String()
	}
	t.Cleanup(func() { end() })
	return func() net.Conn {
		conn, err := net.Dial("tcp4", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		return conn
	}, end
}

func TestHost(t *testing.T) {
	dial, end := host(t)
	conn := dial()
	if err := Start(conn, []string{"sh", "-c", `echo "$ODD" >&2; cat`}, []string{"ODD=what it complains of"}); err != nil {
		t.Fatal(err)
	}
	for _, said := range []string{`{"a":1}`, `{"b":2}`} {
		if err := Write(conn, []byte(said)); err != nil {
			t.Fatal(err)
		}
	}
	r := NewReader(conn)
	for _, want := range []string{`{"a":1}`, `{"b":2}`} {
		if got, err := r.Next(); err != nil || string(got) != want {
			t.Errorf("%q %v", got, err)
		}
	}
	if err := Start(dial(), []string{"/no/such/program"}, nil); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("a program that is not there: %v", err)
	}
	ended := dial()
	if err := Start(ended, []string{"true"}, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := NewReader(ended).Next(); err != io.EOF {
		t.Errorf("a server that ended: %v", err)
	}
	conn.Close()
	if said := end(); !strings.Contains(said, "what it complains of") {
		t.Errorf("the log: %s", said)
	}
}

// A server and what it started end when its client goes, also those that would
// rather not.
func TestServersEndWithTheirClients(t *testing.T) {
	dial, end := host(t)
	file := filepath.Join(t.TempDir(), "pids")
	conn := dial()
	if err := Start(conn, []string{"sh", "-c", `trap "" TERM; (trap "" TERM; exec sleep 3600) & echo $$ $! >"` + file + `"; echo x; while :; do sleep 3600; done`}, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(conn, make([]byte, 2)); err != nil { // the file is written
		t.Fatal(err)
	}
	conn.Close()
	end()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, field := range strings.Fields(string(b)) {
		pid, err := strconv.Atoi(field)
		if err != nil {
			t.Fatal(err)
		}
		// The signal is sent by now; the process may still be on its way out.
		fd, err := unix.PidfdOpen(pid, 0)
		if err == unix.ESRCH {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if n, err := poll(fd, 10_000); n != 1 {
			t.Errorf("process %d lives on: %v", pid, err)
		}
		unix.Close(fd)
	}
}

// poll waits until a process has ended, so many milliseconds at most.
func poll(fd, limit int) (n int, err error) {
	for {
		n, err = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, limit)
		if err != unix.EINTR {
			return n, err
		}
	}
}

// What a stranger who dials may say ends in nothing.
func TestHostRefuses(t *testing.T) {
	dial, _ := host(t)
	for name, said := range map[string]string{
		"too long": "\xff\xff\xff\xff{}", "no JSON": "\x03\x00\x00\x00abc", "no program": "\x02\x00\x00\x00{}", "no words": "\x0b\x00\x00\x00{\"argv\":[]}",
	} {
		conn := dial()
		io.WriteString(conn, said)
		if b, err := io.ReadAll(conn); len(b) > 0 {
			t.Errorf("%s: %q %v", name, b, err)
		}
	}
}
