package language

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"cellar/kernel/orphans"
	"cellar/kernel/wire"
)

// Port is the TCP port of the host on the container's own loopback.
const Port = 7395

const (
	maxRequest = 64 << 10
	// maxServers bounds the language servers of one container. The hub has a
	// bound of its own; this one holds for whoever dials.
	maxServers = 32
	// endTime is what a server has to end by itself once its client is gone.
	endTime = 2 * time.Second
	// takeTime is how long a server may take nothing in.
	takeTime = time.Minute
	maxTail  = 4 << 10 // of what a server said on its standard error
)

// request asks for a language server. Both it and the answer are a length (u32,
// little-endian) and JSON; after an answer without an error the connection is
// the server's standard input and output.
type request struct {
	Argv []string `json:"argv"`
	Env  []string `json:"env,omitempty"`
}

type answer struct {
	Error string `json:"error,omitempty"`
}

func writeJSON(w io.Writer, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = w.Write(append(binary.LittleEndian.AppendUint32(nil, uint32(len(b))), b...))
	return err
}

func readJSON(r io.Reader, v any) error {
	var size uint32
	if err := binary.Read(r, binary.LittleEndian, &size); err != nil {
		return err
	}
	if size > maxRequest {
		return fmt.Errorf("%w: %d bytes", wire.ErrTooLarge, size)
	}
	b := make([]byte, size)
	if _, err := io.ReadFull(r, b); err != nil {
		return err
	}
	return json.Unmarshal(b, v)
}

// Start asks the host at the other end of conn for a language server. Then conn
// is the server's; closing it ends the server. On an error conn is closed.
func Start(conn net.Conn, argv, env []string) error {
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	var a answer
	err := writeJSON(conn, request{argv, env})
	if err == nil {
		err = readJSON(conn, &a)
	}
	if err == nil && a.Error != "" {
		err = fmt.Errorf("%.300s", a.Error)
	}
	if err != nil {
		conn.Close()
		return err
	}
	return conn.SetDeadline(time.Time{})
}

// Host starts language servers inside a container.
type Host struct {
	Dir string // where they start
	Log *slog.Logger
	// Orphans knows the servers as the host's own. Who is PID 1 runs it.
	Orphans orphans.Reaper
}

// Serve answers on ln until ctx ends.
func (h *Host) Serve(ctx context.Context, ln net.Listener) {
	stop := context.AfterFunc(ctx, func() { ln.Close() })
	defer stop()
	var wg sync.WaitGroup
	slots := make(chan struct{}, maxServers)
	for {
		conn, err := ln.Accept()
		if err != nil {
			break
		}
		select {
		case slots <- struct{}{}:
		default:
			conn.Close()
			continue
		}
		wg.Go(func() {
			defer func() { <-slots }()
			defer conn.Close()
			h.serve(ctx, conn)
		})
	}
	wg.Wait()
}

func (h *Host) serve(ctx context.Context, conn net.Conn) {
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	r := bufio.NewReader(conn)
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	var q request
	if readJSON(r, &q) != nil || len(q.Argv) == 0 {
		return
	}
	conn.SetDeadline(time.Time{})
	p, err := h.start(q)
	if err != nil {
		writeJSON(conn, answer{Error: err.Error()})
		return
	}
	if writeJSON(conn, answer{}) == nil {
		p.pump(conn, r)
	}
	err = p.end()
	h.Log.Info("language server ended", "argv", q.Argv, "error", err, "said", p.said.String())
}

// process is a running language server.
type process struct {
	host *Host
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  io.ReadCloser
	said *tail
}

func (h *Host) start(q request) (*process, error) {
	p := &process{host: h, cmd: exec.Command(q.Argv[0], q.Argv[1:]...), said: &tail{}}
	p.cmd.Dir, p.cmd.Env, p.cmd.Stderr = h.Dir, append(os.Environ(), q.Env...), p.said
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	p.cmd.WaitDelay = endTime // a process it leaves behind may hold its standard error
	var err1, err2 error
	p.in, err1 = p.cmd.StdinPipe()
	p.out, err2 = p.cmd.StdoutPipe()
	err := errors.Join(err1, err2)
	if err == nil {
		err = h.Orphans.Start(p.cmd, p.cmd.Start)
	}
	return p, err
}

// pump carries bytes both ways until either side ends.
func (p *process) pump(conn net.Conn, r io.Reader) {
	var wg sync.WaitGroup
	wg.Go(func() {
		io.Copy(patient{p.in}, r)
		p.in.Close()
		p.out.Close() // the client has gone: nobody reads on
	})
	io.Copy(conn, p.out)
	conn.Close()
	wg.Wait()
}

// patient gives up on a server that takes nothing in: while a write waits, that
// the client has gone is not noticed.
type patient struct{ io.Writer }

func (p patient) Write(b []byte) (int, error) {
	if d, ok := p.Writer.(interface{ SetWriteDeadline(time.Time) error }); ok {
		d.SetWriteDeadline(time.Now().Add(takeTime))
	}
	return p.Writer.Write(b)
}

// end waits for the server to end, and makes it.
func (p *process) end() error {
	p.in.Close()
	p.out.Close()
	group := -p.cmd.Process.Pid
	syscall.Kill(group, syscall.SIGTERM)
	late := time.AfterFunc(endTime, func() { syscall.Kill(group, syscall.SIGKILL) })
	err := p.host.Orphans.Wait(p.cmd)
	late.Stop()
	syscall.Kill(group, syscall.SIGKILL) // what it started and left
	return err
}

// tail keeps the last that was written to it.
type tail struct {
	mu sync.Mutex
	b  []byte
}

// Write implements io.Writer.
func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := len(b)
	if t.b = append(t.b, b[max(0, n-maxTail):]...); len(t.b) > maxTail {
		t.b = append([]byte(nil), t.b[len(t.b)-maxTail:]...)
	}
	return n, nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.b)
}
