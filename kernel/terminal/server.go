package terminal

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"sort"
	"sync"
	"syscall"
	"time"

	"github.com/creack/pty"

	"cellar/kernel/orphans"
)

// Bounds of one project.
const (
	MaxTerminals = 64 // shells
	maxViews     = 64 // of those who look at one
)

// Server keeps the shells.
type Server struct {
	Shell []string // command of a new terminal
	Dir   string   // where it starts
	// Orphans knows the shells as the server's own. Who is PID 1 runs it.
	Orphans orphans.Reaper

	mu   sync.Mutex
	list map[string]*shell
}

type shell struct {
	tty    *os.File
	cmd    *exec.Cmd
	mu     sync.Mutex
	tail   []byte
	views  map[chan []byte]struct{}
	active time.Time
	ended  chan struct{}
}

// Serve answers on ln until ctx ends.
func (s *Server) Serve(ctx context.Context, ln net.Listener) {
	s.list = map[string]*shell{}
	stop := context.AfterFunc(ctx, func() { ln.Close() })
	defer stop()
	var wg sync.WaitGroup
	for {
		conn, err := ln.Accept()
		if err != nil {
			break
		}
		wg.Go(func() {
			defer conn.Close()
			s.serve(ctx, conn)
		})
	}
	wg.Wait()
}

func (s *Server) serve(ctx context.Context, conn net.Conn) {
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	r, w := bufio.NewReader(conn), bufio.NewWriterSize(conn, 64<<10)
	kind, payload, err := readFrame(r)
	var q Request
	if err != nil || kind != kindHello || json.Unmarshal(payload, &q) != nil {
		return
	}
	switch q.Op {
	case "list":
		writeJSON(w, Answer{Names: s.infos()})
	case "close":
		s.mu.Lock()
		sh := s.list[q.Name]
		s.mu.Unlock()
		if sh == nil {
			writeJSON(w, Answer{Error: "there is no such terminal"})
			return
		}
		syscall.Kill(-sh.cmd.Process.Pid, syscall.SIGHUP)
		select {
		case <-sh.ended:
		case <-time.After(2 * time.Second):
			syscall.Kill(-sh.cmd.Process.Pid, syscall.SIGKILL)
			<-sh.ended
		}
		writeJSON(w, Answer{})
	case "attach":
		sh, err := s.find(q)
		if err != nil {
			writeJSON(w, Answer{Error: err.Error()})
			return
		}
		if sh.full() {
			writeJSON(w, Answer{Error: ErrFull.Error()})
		} else if writeJSON(w, Answer{}) == nil {
			sh.attach(conn, r, w)
		}
	}
}

func (s *Server) infos() []Info {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := []Info{}
	for name, sh := range s.list {
		sh.mu.Lock()
		out = append(out, Info{name, sh.active.UnixMilli()})
		sh.mu.Unlock()
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Name < out[j].Name })
	return out
}

func (s *Server) find(q Request) (*shell, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if sh := s.list[q.Name]; sh != nil {
		return sh, nil
	}
	if !q.New {
		return nil, ErrNone
	}
	if len(s.list) >= MaxTerminals {
		return nil, ErrFull
	}
	cmd := exec.Command(s.Shell[0], s.Shell[1:]...)
	cmd.Dir = s.Dir
	if st, err := os.Stat(q.Dir); q.Dir != "" && err == nil && st.IsDir() {
		cmd.Dir = q.Dir
	}
	cmd.Env = append(os.Environ(), "TERM=xterm-256color")
	var tty *os.File
	err := s.Orphans.Start(cmd, func() (err error) {
		tty, err = pty.StartWithSize(cmd, &pty.Winsize{Rows: max(q.Rows, 24), Cols: max(q.Cols, 80)})
		return err
	})
	if err != nil {
		return nil, err
	}
	sh := &shell{tty: tty, cmd: cmd, views: map[chan []byte]struct{}{}, active: time.Now(), ended: make(chan struct{})}
	s.list[q.Name] = sh
	go func() {
		sh.read()
		s.Orphans.Wait(cmd)
		s.mu.Lock()
		delete(s.list, q.Name)
		s.mu.Unlock()
		close(sh.ended)
	}()
	return sh, nil
}

// read hands what the shell says to all who look, keeping the last of it.
func (sh *shell) read() {
	buf := make([]byte, 32<<10)
	for {
		n, err := sh.tty.Read(buf)
		if n > 0 {
			b := append([]byte(nil), buf[:n]...)
			sh.mu.Lock()
			sh.active = time.Now()
			if sh.tail = append(sh.tail, b...); len(sh.tail) > 2*Scrollback {
				sh.tail = append([]byte(nil), sh.tail[len(sh.tail)-Scrollback:]...)
			}
			for v := range sh.views {
				select {
				case v <- b:
				default: // one who does not read is let go; the scrollback has it
					close(v)
					delete(sh.views, v)
				}
			}
			sh.mu.Unlock()
		}
		if err != nil {
			sh.tty.Close()
			return
		}
	}
}

func (sh *shell) full() bool {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return len(sh.views) >= maxViews
}

func (sh *shell) attach(conn net.Conn, r *bufio.Reader, w *bufio.Writer) {
	view := make(chan []byte, 1024)
	sh.mu.Lock()
	tail := sh.tail[max(0, len(sh.tail)-Scrollback):]
	tail = append([]byte(nil), tail...)
	sh.views[view] = struct{}{}
	sh.mu.Unlock()
	defer func() {
		sh.mu.Lock()
		delete(sh.views, view)
		sh.mu.Unlock()
	}()
	go sh.write(conn, r)
	if len(tail) > 0 && writeFrame(w, kindData, tail) != nil {
		return
	}
	for {
		select {
		case b, ok := <-view:
			if !ok || writeFrame(w, kindData, b) != nil {
				return
			}
		case <-sh.ended:
			for len(view) > 0 {
				writeFrame(w, kindData, <-view)
			}
			writeFrame(w, kindExit, nil)
			return
		}
	}
}

// write takes in what the person types until the connection ends, and ends it.
func (sh *shell) write(conn net.Conn, r *bufio.Reader) {
	defer conn.Close()
	for {
		kind, payload, err := readFrame(r)
		if err != nil {
			return
		}
		switch {
		case kind == kindData:
			if _, err := sh.tty.Write(payload); err != nil {
				return
			}
		case kind == kindResize && len(payload) == 4:
			rows, cols := binary.LittleEndian.Uint16(payload), binary.LittleEndian.Uint16(payload[2:])
			if rows > 0 && cols > 0 {
				pty.Setsize(sh.tty, &pty.Winsize{Rows: rows, Cols: cols})
			}
		}
	}
}
