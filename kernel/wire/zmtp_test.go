package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"
)

// peer is the other side of a socket, written against the RFC and not with the
// code under test.
type peer struct {
	net.Conn
	t        testing.TB
	property map[string]string // of the READY command it got
}

var greeting = append(append([]byte{0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0x7f, 3, 0}, "NULL"...), make([]byte, 48)...)

func zmtpFrame(flags byte, body []byte) []byte {
	if len(body) > 255 {
		return append(binary.BigEndian.AppendUint64([]byte{flags | 2}, uint64(len(body))), body...)
	}
	return append([]byte{flags, byte(len(body))}, body...)
}

var readyCommand = zmtpFrame(4, []byte("\x05READY\x0bSocket-Type\x00\x00\x00\x06ROUTER"))

// shake answers the handshake with greeting and ready, and returns the peer.
func shake(t testing.TB, conn net.Conn) (*peer, error) {
	p := &peer{Conn: conn, t: t, property: map[string]string{}}
	got := make([]byte, 64)
	if _, err := io.ReadFull(conn, got); err != nil {
		return nil, err
	}
	if !bytes.Equal(got[:12], greeting[:12]) || !bytes.Equal(got[12:32], greeting[12:32]) {
		return nil, fmt.Errorf("greeting % x", got)
	}
	if _, err := conn.Write(greeting); err != nil {
		return nil, err
	}
	body, flags, err := p.frame()
	if err != nil || flags != 4 || !bytes.HasPrefix(body, []byte("\x05READY")) {
		return nil, fmt.Errorf("not ready: flags %d, %q, %v", flags, body, err)
	}
	for b := body[6:]; len(b) > 0; {
		n := int(b[0])
		v := int(binary.BigEndian.Uint32(b[1+n:]))
		p.property[string(b[1:1+n])] = string(b[5+n : 5+n+v])
		b = b[5+n+v:]
	}
	_, err = conn.Write(readyCommand)
	return p, err
}

func (p *peer) frame() ([]byte, byte, error) {
	var head [9]byte
	if _, err := io.ReadFull(p, head[:2]); err != nil {
		return nil, 0, err
	}
	size := uint64(head[1])
	if head[0]&2 != 0 {
		if _, err := io.ReadFull(p, head[2:]); err != nil {
			return nil, 0, err
		}
		size = binary.BigEndian.Uint64(head[1:])
	}
	body := make([]byte, size)
	_, err := io.ReadFull(p, body)
	return body, head[0] &^ 2, err
}

func (p *peer) message() (frames [][]byte, err error) {
	for {
		body, flags, err := p.frame()
		if err != nil {
			return nil, err
		}
		if frames = append(frames, body); flags&1 == 0 {
			return frames, nil
		}
	}
}

// connected gives a socket of the type and its peer.
func connected(t testing.TB, socketType, identity string) (*Socket, *peer) {
	t.Helper()
	near, far := net.Pipe()
	t.Cleanup(func() { near.Close(); far.Close() })
	type result struct {
		p   *peer
		err error
	}
	done := make(chan result, 1)
	go func() {
		p, err := shake(t, far)
		if err == nil && socketType == "SUB" {
			var frames [][]byte
			if frames, err = p.message(); err == nil && (len(frames) != 1 || string(frames[0]) != "\x01") {
				err = fmt.Errorf("subscription %q", frames)
			}
		}
		done <- result{p, err}
	}()
	s, err := DialZMTP(near, socketType, identity)
	r := <-done
	if err != nil || r.err != nil {
		t.Fatalf("handshake: %v, peer: %v", err, r.err)
	}
	return s, r.p
}

func TestHandshake(t *testing.T) {
	for _, socketType := range []string{"DEALER", "SUB", "REQ"} {
		_, p := connected(t, socketType, "me")
		if p.property["Socket-Type"] != socketType || p.property["Identity"] != "me" {
			t.Errorf("%s: %v", socketType, p.property)
		}
	}
}

func TestHandshakeRefusals(t *testing.T) {
	change := func(at int, b byte) []byte { g := slices.Clone(greeting); g[at] = b; return g }
	for name, c := range map[string]struct {
		greeting, after []byte
		want            error
	}{
		"not ZMTP":           {bytes.Repeat([]byte("HTTP"), 16), nil, ErrMalformed},
		"ZMTP 2":             {change(10, 2), nil, ErrMalformed},
		"another mechanism":  {append(append(slices.Clone(greeting[:12]), "PLAIN"...), make([]byte, 47)...), nil, ErrMalformed},
		"a longer mechanism": {change(16, 'X'), nil, ErrMalformed},
		"a message first":    {greeting, zmtpFrame(0, []byte("\x05READY")), ErrMalformed},
		"an error command":   {greeting, zmtpFrame(4, []byte("\x05ERROR\x03no.")), ErrMalformed},
		"an empty command":   {greeting, zmtpFrame(4, nil), ErrMalformed},
		"gone":               {greeting[:10], nil, io.ErrUnexpectedEOF},
		"2^63 bytes":         {greeting, binary.BigEndian.AppendUint64([]byte{6}, 1<<63), ErrTooLarge},
	} {
		near, far := net.Pipe()
		go func() {
			io.ReadFull(far, make([]byte, 64))
			far.Write(c.greeting)
			if c.after == nil {
				far.Close()
			}
			go io.Copy(io.Discard, far)
			far.Write(c.after)
		}()
		if _, err := DialZMTP(near, "DEALER", ""); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
		near.Close()
		far.Close()
	}
}

func TestMessagesBothWays(t *testing.T) {
	for name, frames := range map[string][][]byte{
		"one":         {[]byte("hello")},
		"empty":       {{}},
		"three":       {[]byte("a"), {}, []byte("c")},
		"255 bytes":   {bytes.Repeat([]byte("x"), 255)},
		"256 bytes":   {bytes.Repeat([]byte("x"), 256)},
		"long frames": {bytes.Repeat([]byte("x"), 5<<20), []byte("y"), bytes.Repeat([]byte("z"), 9<<20)},
	} {
		s, p := connected(t, "DEALER", "")
		sent := make(chan error, 1)
		go func() { sent <- s.Send(frames) }()
		got, err := p.message()
		if e := <-sent; err != nil || e != nil || !slices.EqualFunc(got, frames, bytes.Equal) {
			t.Errorf("%s: sending: %v, %v", name, err, e)
		}
		go func() {
			for i, f := range frames {
				flags := byte(1)
				if i == len(frames)-1 {
					flags = 0
				}
				p.Write(zmtpFrame(flags, f))
			}
		}()
		if got, err := s.Receive(); err != nil || !slices.EqualFunc(got, frames, bytes.Equal) {
			t.Errorf("%s: receiving: %v", name, err)
		}
	}
}

func TestCommandsAreSkipped(t *testing.T) {
	s, p := connected(t, "SUB", "")
	go p.Write(slices.Concat(
		zmtpFrame(4, []byte("\x04PING\x00\x00ctx")), zmtpFrame(1, []byte("a")),
		zmtpFrame(4, bytes.Repeat([]byte("c"), 1000)), zmtpFrame(0, []byte("b")),
	))
	got, err := s.Receive()
	if err != nil || len(got) != 2 || string(got[0]) != "a" || string(got[1]) != "b" {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestReceiveRefusesTooMuch(t *testing.T) {
	long := func(n uint64) []byte { return binary.BigEndian.AppendUint64([]byte{2}, n) }
	for name, sent := range map[string][]byte{
		"a frame over the limit": long(MaxFrame + 1),
		"a frame of 2^64-1":      long(1<<64 - 1),
		"too many frames":        bytes.Repeat([]byte{1, 0}, MaxParts+1),
	} {
		s, p := connected(t, "DEALER", "")
		go p.Write(sent)
		if _, err := s.Receive(); !errors.Is(err, ErrTooLarge) {
			t.Errorf("%s: %v", name, err)
		}
	}
	s, p := connected(t, "DEALER", "")
	go p.Write(append(bytes.Repeat([]byte{1, 0}, MaxParts-1), 0, 0))
	if got, err := s.Receive(); err != nil || len(got) != MaxParts {
		t.Errorf("as many frames as are allowed: %d, %v", len(got), err)
	}
}

func TestAnAnnouncementAloneAllocatesLittle(t *testing.T) {
	s, p := connected(t, "DEALER", "")
	n := allocated(func() {
		go func() {
			p.Write(binary.BigEndian.AppendUint64([]byte{2}, MaxFrame))
			p.Write([]byte("only this"))
			p.Close()
		}()
		if _, err := s.Receive(); err == nil {
			t.Error("a frame that never came was received")
		}
	})
	if n > 16<<20 {
		t.Errorf("a frame announced as %d bytes made us allocate %d", MaxFrame, n)
	}
}

func TestReadGrowing(t *testing.T) {
	for _, size := range []int{0, 1, 4<<20 - 1, 4 << 20, 4<<20 + 1, 13<<20 + 7} {
		want := bytes.Repeat([]byte("abcdefg"), size/7+1)[:size]
		if got, err := ReadGrowing(bytes.NewReader(want), uint64(size)); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d bytes: got %d, %v", size, len(got), err)
		}
		if size > 0 {
			if _, err := ReadGrowing(bytes.NewReader(want[1:]), uint64(size)); err == nil {
				t.Errorf("%d bytes where one is missing: no error", size)
			}
		}
	}
}

func TestBufferedAndClose(t *testing.T) {
	s, p := connected(t, "DEALER", "")
	go p.Write(slices.Concat(zmtpFrame(0, []byte("one")), zmtpFrame(0, []byte("two"))))
	if _, err := s.Receive(); err != nil || s.Buffered() == 0 {
		t.Errorf("buffered %d, %v: the second message came along", s.Buffered(), err)
	}
	if _, err := s.Receive(); err != nil || s.Buffered() != 0 {
		t.Errorf("buffered %d, %v after the last", s.Buffered(), err)
	}
	received := make(chan error, 1)
	go func() { _, err := s.Receive(); received <- err }()
	s.Close()
	if err := <-received; err == nil {
		t.Error("Receive on a closed socket: no error")
	}
}

// FuzzReceive plays a hostile peer: whatever it says after the handshake, the
// receiver neither fails in another way than by an error nor holds more than
// came.
func FuzzReceive(f *testing.F) {
	f.Add(zmtpFrame(0, []byte("x")))
	f.Add(slices.Concat(zmtpFrame(1, []byte("x")), zmtpFrame(4, []byte("c")), zmtpFrame(0, bytes.Repeat([]byte("y"), 300))))
	f.Add(binary.BigEndian.AppendUint64([]byte{2}, 1<<40))
	f.Add(bytes.Repeat([]byte{1, 0}, 50))
	f.Add([]byte{0xff, 0xff, 0, 0, 0})
	f.Fuzz(func(t *testing.T, sent []byte) {
		near, far := net.Pipe()
		defer near.Close()
		go func() {
			defer far.Close()
			if _, err := shake(t, far); err == nil {
				far.Write(sent)
			}
		}()
		near.SetDeadline(time.Now().Add(time.Minute))
		s, err := DialZMTP(near, "DEALER", "")
		if err != nil {
			t.Fatal(err)
		}
		total := 0
		for {
			frames, err := s.Receive()
			if err != nil {
				break
			}
			for _, fr := range frames {
				total += len(fr)
			}
		}
		if total > len(sent) {
			t.Fatalf("%d bytes received of %d sent", total, len(sent))
		}
	})
}

// BenchmarkReceive takes stream messages of 100 bytes from a unix socket.
func BenchmarkReceive(b *testing.B) {
	ln, err := net.Listen("unix", b.TempDir()+"/s")
	if err != nil {
		b.Fatal(err)
	}
	defer ln.Close()
	signer := NewSigner([]byte("key"))
	m := sample()
	m.Content = []byte(`{"name":"stdout","text":"` + strings.Repeat("x", 100) + `"}`)
	var one []byte
	frames := append([][]byte{[]byte("stream")}, signer.Frames(m)...)
	for i, fr := range frames {
		flags := byte(1)
		if i == len(frames)-1 {
			flags = 0
		}
		one = append(one, zmtpFrame(flags, fr)...)
	}
	batch := bytes.Repeat(one, 64)
	done := make(chan struct{})
	go func() {
		defer close(done)
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		if _, err := shake(b, conn); err != nil {
			return
		}
		for {
			if _, err := conn.Write(batch); err != nil {
				return
			}
		}
	}()
	conn, err := net.Dial("unix", ln.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	s, err := DialZMTP(conn, "DEALER", "")
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		frames, err := s.Receive()
		if err != nil {
			b.Fatal(err)
		}
		if _, err := signer.Parse(frames); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msgs/s")
	s.Close()
	<-done
}
