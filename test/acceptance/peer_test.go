package acceptance

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/gorilla/websocket"

	"cellar/internal/testkit"
	"cellar/kernel/wire"
)

// jupyter is a Jupyter server under measure, ours or the peer.
type jupyter struct {
	*testkit.Client // Base is the server's base URL, without a slash at its end
	name            string
	pid             int    // of its process
	dir             string // its files, on this machine
}

// jupyterOf is a project of a hub as a Jupyter server.
func jupyterOf(h *hub, project string) jupyter {
	c := *h.Client
	c.Base += "/projects/" + project
	return jupyter{&c, "cellar", h.cmd.Process.Pid, filepath.Join(h.data, "projects", project, "files")}
}

// startPeer starts jupyter_server in the root that scripts/build-peer.sh made,
// with its own defaults.
func startPeer(b *testing.B) jupyter {
	b.Helper()
	script := filepath.Join(testkit.Root(), "scripts", "peer.sh")
	if _, err := os.Stat(filepath.Join(testkit.Cache(), "peer", "root")); err != nil {
		b.Skip("the peer is not built: scripts/build-peer.sh")
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	port := ln.Addr().(*net.TCPAddr).Port
	ln.Close()
	dir := b.TempDir()
	os.Chmod(dir, 0o777)
	const token = "a-token-for-the-peer"
	cmd := exec.Command(script, "--bind", dir, "/project", "jupyter-lab", "--no-browser", "--ip=127.0.0.1", fmt.Sprintf("--port=%d", port),
		"--IdentityProvider.token="+token, "--ServerApp.root_dir=/project")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	log, err := os.Create(filepath.Join(b.TempDir(), "peer.log"))
	if err != nil {
		b.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		cmd.Wait()
	})
	j := jupyter{&testkit.Client{T: b, Base: fmt.Sprintf("http://127.0.0.1:%d", port), Token: token}, "peer", 0, dir}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		if status, _, err := j.Try("GET", "/api/status", nil); err == nil && status == 200 {
			break
		}
		if time.Now().After(deadline) {
			said, _ := os.ReadFile(log.Name())
			b.Fatalf("the peer does not start: %s", said)
		}
	}
	for _, pid := range pids(b, fmt.Sprintf("jupyter-lab .*--port=%d", port)) {
		if exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid)); err == nil && strings.Contains(exe, "python") {
			j.pid = pid
		}
	}
	return j
}

func (j jupyter) startKernel() string {
	j.T.Helper()
	var k struct{ ID string }
	j.Want(201, "POST", "/api/kernels", map[string]string{"name": "python3"}, &k)
	return k.ID
}

func (j jupyter) endKernel(id string) {
	j.T.Helper()
	j.Want(204, "DELETE", "/api/kernels/"+id, nil, nil)
}

// line sends and receives messages of a kernel, whichever way it goes.
type line interface {
	send(ch wire.Channel, m *wire.Message)
	receive() (wire.Channel, *wire.Message)
	close()
}

type socketLine struct {
	t  testing.TB
	ws *websocket.Conn
}

// open opens a kernel's channels as JupyterLab does.
func (j jupyter) open(kernel string) line {
	j.T.Helper()
	d := websocket.Dialer{Subprotocols: []string{wire.SubprotocolV1}, ReadBufferSize: 256 << 10}
	u := strings.Replace(j.Base, "http", "ws", 1) + "/api/kernels/" + kernel + "/channels?session_id=" + uuid.NewString()
	ws, res, err := d.Dial(u, http.Header{"Authorization": {"token " + j.Token}})
	if err != nil {
		j.T.Fatalf("%v: %v", err, res)
	}
	if ws.Subprotocol() != wire.SubprotocolV1 {
		j.T.Fatalf("framing %q", ws.Subprotocol())
	}
	return socketLine{j.T, ws}
}

func (l socketLine) send(ch wire.Channel, m *wire.Message) {
	if err := l.ws.WriteMessage(websocket.BinaryMessage, wire.EncodeV1(nil, ch, m)); err != nil {
		l.t.Fatal(err)
	}
}

func (l socketLine) receive() (wire.Channel, *wire.Message) {
	l.ws.SetReadDeadline(time.Now().Add(time.Minute))
	_, frame, err := l.ws.ReadMessage()
	if err != nil {
		l.t.Fatal(err)
	}
	ch, m, err := wire.DecodeV1(frame)
	if err != nil {
		l.t.Fatal(err)
	}
	return ch, m
}

func (l socketLine) close() { l.ws.Close() }

// directLine speaks ZeroMQ with a kernel of ours, past keeper and hub.
type directLine struct {
	t       testing.TB
	signer  wire.Signer
	sockets map[wire.Channel]*wire.Socket
	said    chan item
}

type item struct {
	ch wire.Channel
	m  *wire.Message
}

// direct opens a line into the container of a kernel.
func direct(b *testing.B, kernel string) line {
	b.Helper()
	folder := ""
	for _, pid := range pids(b, "^/opt/cellar/cellar-keep run") {
		if strings.Contains(cgroup(pid), kernel) {
			folder = fmt.Sprintf("/proc/%d/root/run/cellar", pid)
		}
	}
	list, _ := filepath.Glob(folder + "/k-*.json")
	if folder == "" || len(list) != 1 {
		b.Fatalf("connection files in %s: %v", folder, list)
	}
	text, err := os.ReadFile(list[0])
	if err != nil {
		b.Fatal(err)
	}
	var file struct{ Key string }
	if err := json.Unmarshal(text, &file); err != nil {
		b.Fatal(err)
	}
	l := &directLine{b, wire.NewSigner([]byte(file.Key)), map[wire.Channel]*wire.Socket{}, make(chan item, 1024)}
	for ch, kind := range map[wire.Channel]string{wire.Shell: "DEALER", wire.IOPub: "SUB"} {
		port := map[wire.Channel]int{wire.Shell: 1, wire.IOPub: 2}[ch]
		conn, err := net.Dial("unix", fmt.Sprintf("%s-%d", strings.TrimSuffix(list[0], ".json"), port))
		if err != nil {
			b.Fatal(err)
		}
		if l.sockets[ch], err = wire.DialZMTP(conn, kind, "bench-direct"); err != nil {
			b.Fatal(err)
		}
		go l.pump(ch)
	}
	return l
}

// pump reads one socket until it is closed.
func (l *directLine) pump(ch wire.Channel) {
	for {
		frames, err := l.sockets[ch].Receive()
		if err != nil {
			return
		}
		if m, err := l.signer.Parse(frames); err == nil {
			l.said <- item{ch, m}
		}
	}
}

func (l *directLine) send(ch wire.Channel, m *wire.Message) {
	if err := l.sockets[ch].Send(l.signer.Frames(m)); err != nil {
		l.t.Fatal(err)
	}
}

func (l *directLine) receive() (wire.Channel, *wire.Message) {
	select {
	case it := <-l.said:
		return it.ch, it.m
	case <-time.After(time.Minute):
		l.t.Fatal("the kernel says nothing")
		return 0, nil
	}
}

func (l *directLine) close() {
	for _, s := range l.sockets {
		s.Close()
	}
}

var requests int

// execute runs code and returns how many bytes of text it printed as far as they
// came, once both the reply and idle have.
func execute(l line, code string) (printed int) {
	requests++
	id := fmt.Sprintf("bench-%d", requests)
	header, _ := json.Marshal(wire.Header{MsgID: id, MsgType: "execute_request", Session: "bench", Username: "b", Version: "5.3", Date: wire.Date(time.Now().UTC().Format(time.RFC3339Nano))})
	content, _ := json.Marshal(map[string]any{"code": code, "silent": false, "store_history": true, "user_expressions": map[string]any{}, "allow_stdin": false, "stop_on_error": true})
	l.send(wire.Shell, &wire.Message{Header: header, Parent: []byte("{}"), Metadata: []byte("{}"), Content: content})
	replied, idle := false, false
	for !replied || !idle {
		ch, m := l.receive()
		if parent, err := wire.ParseHeader(m.Parent); err != nil || parent.MsgID != id {
			continue
		}
		h, _ := wire.ParseHeader(m.Header)
		switch {
		case ch == wire.Shell:
			replied = true
		case h.MsgType == "status":
			idle = strings.Contains(string(m.Content), `"idle"`)
		case h.MsgType == "stream":
			printed += streamBytes(m.Content)
		}
	}
	return printed
}

// streamBytes is the length of a stream message's text: all are ASCII here, and
// a newline is written with two characters.
func streamBytes(content []byte) int {
	var c struct{ Text string }
	json.Unmarshal(content, &c)
	return len(c.Text)
}

// discard reads an answer to its end.
func discard(res *http.Response) {
	io.Copy(io.Discard, res.Body)
	res.Body.Close()
}
