package keep

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"testing"

	"cellar/kernel/wire"
)

// TestMain lets the test's own program be the kernel that a keeper starts.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "fake-kernel" {
		if err := fakeKernel(os.Args[2]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(70)
		}
		return
	}
	os.Exit(m.Run())
}

// speaker is a kernel that does what the code of a cell says in plain words:
//
//	lines N        print N lines
//	exit C         end with status C, at once
//	forge          publish a message with a wrong signature
//	ask            ask for input and print it
type speaker struct {
	signer  wire.Signer
	sockets map[wire.Channel]*wire.Socket
	mu      sync.Mutex
	parent  []byte
}

func fakeKernel(file string) error {
	b, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var c struct {
		IP, Key string
		Shell   int `json:"shell_port"`
		IOPub   int `json:"iopub_port"`
		Stdin   int `json:"stdin_port"`
		Control int `json:"control_port"`
		Beat    int `json:"hb_port"`
	}
	if err := json.Unmarshal(b, &c); err != nil {
		return err
	}
	interrupts := make(chan os.Signal, 1)
	signal.Notify(interrupts, syscall.SIGINT)
	s := &speaker{signer: wire.NewSigner([]byte(c.Key)), sockets: map[wire.Channel]*wire.Socket{}}
	if _, err := net.Listen("unix", fmt.Sprintf("%s-%d", c.IP, c.Beat)); err != nil {
		return err
	}
	ports := map[wire.Channel]int{wire.Shell: c.Shell, wire.IOPub: c.IOPub, wire.Stdin: c.Stdin, wire.Control: c.Control}
	listeners := map[wire.Channel]net.Listener{}
	for ch, port := range ports {
		if listeners[ch], err = net.Listen("unix", fmt.Sprintf("%s-%d", c.IP, port)); err != nil {
			return err
		}
	}
	for _, ch := range []wire.Channel{wire.IOPub, wire.Shell, wire.Control, wire.Stdin} {
		conn, err := listeners[ch].Accept()
		if err != nil {
			return err
		}
		kind := "ROUTER"
		if ch == wire.IOPub {
			kind = "PUB"
		}
		if s.sockets[ch], err = wire.DialZMTP(conn, kind, ""); err != nil {
			return err
		}
	}
	if _, err := s.sockets[wire.IOPub].Receive(); err != nil { // the subscription
		return err
	}
	go func() {
		for range interrupts {
			s.publish("stream", "interrupted")
		}
	}()
	for {
		frames, err := s.sockets[wire.Shell].Receive()
		if err != nil {
			return err
		}
		m, err := s.signer.Parse(frames)
		if err != nil {
			return err
		}
		if err := s.answer(m); err != nil {
			return err
		}
	}
}

func (s *speaker) answer(m *wire.Message) error {
	h, err := wire.ParseHeader(m.Header)
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.parent = m.Header
	s.mu.Unlock()
	s.publish("status", "busy")
	switch h.MsgType {
	case "kernel_info_request":
		s.send(wire.Shell, "kernel_info_reply", `{"implementation":"fake"}`)
	case "execute_request":
		var c struct{ Code string }
		if err := json.Unmarshal(m.Content, &c); err != nil {
			return err
		}
		for line := range strings.Lines(c.Code) {
			s.do(strings.TrimSpace(line))
		}
		s.send(wire.Shell, "execute_reply", `{"status":"ok"}`)
	}
	s.publish("status", "idle")
	return nil
}

func (s *speaker) do(line string) {
	var n int
	if _, err := fmt.Sscanf(line, "lines %d", &n); err == nil {
		for i := range n {
			s.publish("stream", fmt.Sprint(i))
		}
	}
	if _, err := fmt.Sscanf(line, "exit %d", &n); err == nil {
		fmt.Fprintln(os.Stderr, "my last words")
		os.Exit(n)
	}
	switch line {
	case "forge":
		forger := &speaker{signer: wire.NewSigner([]byte("not the key")), sockets: s.sockets, parent: s.parent}
		forger.publish("stream", "forged")
	case "ask":
		s.send(wire.Stdin, "input_request", `{"prompt":"?"}`)
		frames, err := s.sockets[wire.Stdin].Receive()
		if err != nil {
			return
		}
		if m, err := s.signer.Parse(frames); err == nil {
			s.publish("stream", string(m.Content))
		}
	}
}

func (s *speaker) publish(kind, text string) {
	b, _ := json.Marshal(map[string]string{"text": text})
	s.send(wire.IOPub, kind, string(b))
}

func (s *speaker) send(ch wire.Channel, kind, content string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	header, _ := json.Marshal(wire.Header{MsgID: "k", MsgType: kind})
	s.sockets[ch].Send(s.signer.Frames(&wire.Message{Header: header, Parent: s.parent, Content: []byte(content)}))
}
