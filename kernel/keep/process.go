package keep

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"cellar/kernel/wire"
)

// process is one life of a kernel: its process and the sockets to it.
type process struct {
	cmd    *exec.Cmd
	base   string // path prefix of the kernel's sockets
	signer wire.Signer
	stderr *tail
	hooks  *hooks
	done   chan struct{} // closed when the process has ended
	opened chan struct{} // closed when the sockets are there, or never will be
	heard  chan struct{} // closed when all it said on them is taken in
	ended  chan struct{} // closed when its end is written down

	mu      sync.Mutex
	sockets [wire.IOPub + 1]*wire.Socket
	boxes   [wire.Stdin + 1]*outbox // shell, control, stdin
}

// nudgeSession marks the keeper's own kernel_info requests.
const nudgeSession = "cellar-keeper"

// maxWait is how long a kernel may take to open its sockets.
const maxWait = 10 * time.Minute

func (k *Keeper) start() error {
	key := make([]byte, 32)
	rand.Read(key)
	hexKey := hex.EncodeToString(key)
	if err := os.MkdirAll(k.o.Runtime, 0o700); err != nil {
		return err
	}
	p := &process{
		base:   filepath.Join(k.o.Runtime, "k-"+hexKey[:8]),
		signer: wire.NewSigner([]byte(hexKey)),
		stderr: &tail{max: 16 << 10},
		done:   make(chan struct{}),
		opened: make(chan struct{}),
		heard:  make(chan struct{}),
		ended:  make(chan struct{}),
	}
	for ch := range p.boxes {
		p.boxes[ch] = newOutbox()
	}
	file := p.base + ".json"
	conn, err := json.Marshal(map[string]any{
		"transport": "ipc", "ip": p.base, "key": hexKey, "signature_scheme": "hmac-sha256", "kernel_name": "",
		"shell_port": 1, "iopub_port": 2, "stdin_port": 3, "control_port": 4, "hb_port": 5,
	})
	if err != nil {
		return err
	}
	if err := os.WriteFile(file, conn, 0o600); err != nil {
		return err
	}
	argv := make([]string, len(k.o.Argv))
	for i, a := range k.o.Argv {
		argv[i] = strings.ReplaceAll(a, "{connection_file}", file)
	}
	var ends [2]*os.File
	if p.hooks, ends, err = newHooks(); err != nil {
		return err
	}
	defer ends[0].Close()
	defer ends[1].Close()
	p.cmd = exec.Command(argv[0], argv[1:]...)
	p.cmd.Dir = k.o.Dir
	p.cmd.ExtraFiles = ends[:] // from 3 on
	p.cmd.Env = append(os.Environ(), "JPY_PARENT_PID=1", HookVariable+"=3,4")
	p.cmd.Stdout, p.cmd.Stderr = p.stderr, p.stderr
	p.cmd.WaitDelay = time.Second // a child of the kernel may hold its output open
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := k.orphans.Start(p.cmd, p.cmd.Start); err != nil {
		p.hooks.close()
		return err
	}
	k.mu.Lock()
	k.kernel, k.alive, k.ready, k.heard, k.info = p, true, false, false, nil
	k.mu.Unlock()
	k.event(Event{Event: EventStarted, PID: p.pid()})
	go k.reap(p)
	go k.connect(p)
	go p.hooks.listen(listener{
		done:     func(h Hooked) { k.event(Event{Event: EventHooked, Hooked: &h}) },
		answered: k.asks.answer,
		wanted:   func(w Want) { k.event(Event{Event: EventWants, Want: &w}) },
	})
	return nil
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// hearFor is how long a kernel's last words are waited for: a child of it may
// hold its sockets open.
const hearFor = 2 * time.Second

// reap waits for the kernel's end and writes it down, after all that it said.
func (k *Keeper) reap(p *process) {
	defer close(p.ended)
	k.orphans.Wait(p.cmd)
	close(p.done)
	for _, box := range p.boxes {
		box.close()
	}
	<-p.opened
	select {
	case <-p.heard:
	case <-time.After(hearFor):
	}
	p.close()
	p.hooks.close()
	k.mu.Lock()
	if k.kernel == p {
		k.alive, k.ready = false, false
	}
	k.mu.Unlock()
	e := Event{Event: EventExited, PID: p.pid(), Code: p.cmd.ProcessState.ExitCode(), Detail: p.stderr.String()}
	if st, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus); ok && st.Signaled() {
		e.Signal = st.Signal().String()
	}
	k.event(e)
	os.Remove(p.base + ".json")
	for i := 1; i <= 5; i++ {
		os.Remove(fmt.Sprintf("%s-%d", p.base, i))
	}
}

func (p *process) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.sockets {
		if s != nil {
			s.Close()
		}
	}
}

// connect opens the kernel's sockets, iopub first, and returns the opened state
// once the kernel publishes to us: nothing it says later is missed.
func (k *Keeper) connect(p *process) {
	defer close(p.heard)
	err := k.open(p)
	close(p.opened)
	if err != nil {
		k.o.Log.Error("no connection to the kernel", "error", err)
		p.cmd.Process.Kill()
		return
	}
	var wg sync.WaitGroup
	for _, ch := range []wire.Channel{wire.Shell, wire.Control, wire.Stdin, wire.IOPub} {
		wg.Go(func() { k.pump(p, ch) })
		if ch <= wire.Stdin {
			wg.Go(func() { k.write(p, ch) })
		}
	}
	wg.Go(func() { k.nudge(p) })
	wg.Wait()
}

func (k *Keeper) open(p *process) error {
	ports := [...]int{wire.Shell: 1, wire.Control: 4, wire.Stdin: 3, wire.IOPub: 2}
	for _, ch := range []wire.Channel{wire.IOPub, wire.Shell, wire.Control, wire.Stdin} {
		typ := "DEALER"
		if ch == wire.IOPub {
			typ = "SUB"
		}
		conn, err := p.dial(fmt.Sprintf("%s-%d", p.base, ports[ch]))
		if err != nil {
			return err
		}
		conn.SetDeadline(time.Now().Add(time.Minute))
		// One identity for all sockets: the kernel sends its input requests to it.
		s, err := wire.DialZMTP(conn, typ, nudgeSession)
		if err != nil {
			conn.Close()
			return err
		}
		conn.SetDeadline(time.Time{})
		p.mu.Lock()
		p.sockets[ch] = s
		p.mu.Unlock()
	}
	return nil
}

func (p *process) dial(path string) (net.Conn, error) {
	deadline := time.Now().Add(maxWait)
	for {
		conn, err := net.Dial("unix", path)
		if err == nil {
			return conn, nil
		}
		if time.Now().After(deadline) {
			return nil, err
		}
		select {
		case <-p.done:
			return nil, errors.New("the kernel ended before it opened its sockets")
		case <-time.After(3 * time.Millisecond):
		}
	}
}

// nudge asks kernel_info until an answer shows on iopub: a PUB socket drops what
// comes before it has seen our subscription.
func (k *Keeper) nudge(p *process) {
	for wait := 20 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		id := make([]byte, 16)
		rand.Read(id)
		header, _ := json.Marshal(wire.Header{
			MsgID: hex.EncodeToString(id), MsgType: "kernel_info_request", Session: nudgeSession,
			Username: "keeper", Date: wire.Date(time.Now().UTC().Format(time.RFC3339Nano)), Version: "5.3",
		})
		if err := p.send(wire.Shell, &wire.Message{Header: header}); err != nil {
			return
		}
		select {
		case <-p.done:
			return
		case <-time.After(wait):
		}
		k.mu.Lock()
		ready := k.ready
		k.mu.Unlock()
		if ready {
			return
		}
	}
}

// send hands a message to the writer of its socket.
func (p *process) send(ch wire.Channel, m *wire.Message) error {
	if ch > wire.Stdin {
		return fmt.Errorf("%w: nothing is sent on %s", wire.ErrMalformed, ch)
	}
	p.boxes[ch].put(m)
	return nil
}

// write sends what is in one outbox until the process ends.
func (k *Keeper) write(p *process, ch wire.Channel) {
	for {
		m, ok := p.boxes[ch].take()
		if !ok {
			return
		}
		if err := p.sockets[ch].Send(p.signer.Frames(m)); err != nil {
			return // its end is written down by reap
		}
	}
}

const maxPending = 64 << 20

// pump writes all that comes on one socket to the journal. While the disk is
// full it stops reading, so that the kernel waits rather than loses.
func (k *Keeper) pump(p *process, ch wire.Channel) {
	s := p.sockets[ch]
	for {
		frames, err := s.Receive()
		if err != nil {
			return
		}
		m, err := p.signer.Parse(frames)
		if err != nil {
			k.o.Log.Error("message refused", "channel", ch.String(), "error", err)
			continue
		}
		if bytes.Contains(m.Parent, []byte(nudgeSession)) && k.nudged(ch, m) {
			continue
		}
		if _, err := k.journal.Append(ch, m); err != nil {
			k.o.Log.Error("journal", "error", err)
		}
		if s.Buffered() == 0 {
			k.journal.Flush()
		}
		for k.journal.Pending() > maxPending {
			if k.journal.Flush() != nil {
				time.Sleep(200 * time.Millisecond)
			}
		}
	}
}

// nudged takes the answers to the keeper's own requests out of the stream. The
// kernel is ready when one was published on iopub and one replied on shell. What
// a thread prints while the keeper asks is not such an answer: false.
func (k *Keeper) nudged(ch wire.Channel, m *wire.Message) bool {
	if h, err := wire.ParseHeader(m.Header); err != nil || (ch == wire.IOPub && h.MsgType != "status") {
		return false
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	switch ch {
	case wire.Shell:
		k.info = bytes.Clone(m.Content)
	case wire.IOPub:
		k.heard = true
	}
	if !k.ready && k.heard && k.info != nil {
		k.ready = true
		k.event(Event{Event: EventReady, PID: k.kernel.pid(), Info: k.info})
	}
	return true
}

func (p *process) interrupt() { syscall.Kill(-p.pid(), syscall.SIGINT) }

// kill ends every process of the container but the keeper, which is PID 1
// there, and waits until the kernel's end is written down.
func (k *Keeper) kill() {
	k.mu.Lock()
	p := k.kernel
	k.mu.Unlock()
	if p == nil {
		return
	}
	if os.Getpid() == 1 {
		syscall.Kill(-1, syscall.SIGKILL)
	} else {
		syscall.Kill(-p.pid(), syscall.SIGKILL)
	}
	<-p.ended
}

// tail keeps the last bytes written to it.
type tail struct {
	mu  sync.Mutex
	max int
	b   []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b = append(t.b, p...)
	if over := len(t.b) - t.max; over > 0 {
		t.b = append(t.b[:0], t.b[over:]...)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.ToValidUTF8(string(t.b), "?")
}
