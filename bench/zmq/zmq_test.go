// Package zmq compares Cellar's ZMTP receiver with github.com/go-zeromq/zmq4 on
// what a kernel sends most: short stream messages on iopub. It is a module of its
// own so that zmq4 stays out of Cellar's.
package zmq

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-zeromq/zmq4"

	"cellar/kernel/wire"
)

func frame(flags byte, body []byte) []byte {
	if len(body) > 255 {
		return append(binary.BigEndian.AppendUint64([]byte{flags | 2}, uint64(len(body))), body...)
	}
	return append([]byte{flags, byte(len(body))}, body...)
}

// publisher accepts one subscriber on a unix socket and writes messages to it
// as fast as it reads, many per write as libzmq does.
func publisher(b *testing.B) (path string) {
	path = filepath.Join(b.TempDir(), "s")
	ln, err := net.Listen("unix", path)
	if err != nil {
		b.Fatal(err)
	}
	signer := wire.NewSigner([]byte("key"))
	frames := append([][]byte{[]byte("stream")}, signer.Frames(&wire.Message{
		Header:  []byte(`{"msg_id":"0123456789abcdef0123456789abcdef_1_1","msg_type":"stream","session":"0123456789abcdef","username":"u","date":"2026-01-01T00:00:00.000000Z","version":"5.3"}`),
		Parent:  []byte(`{"msg_id":"0123456789abcdef0123456789abcdef_1_0","msg_type":"execute_request","session":"0123456789abcdef","username":"u","date":"2026-01-01T00:00:00.000000Z","version":"5.3"}`),
		Content: []byte(`{"name":"stdout","text":"` + strings.Repeat("x", 100) + `"}`),
	})...)
	var one []byte
	for i, f := range frames {
		flags := byte(1)
		if i == len(frames)-1 {
			flags = 0
		}
		one = append(one, frame(flags, f)...)
	}
	batch := bytes.Repeat(one, 16)
	done := make(chan struct{})
	go func() {
		defer close(done)
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		greeting := append(append([]byte{0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0x7f, 3, 0}, "NULL"...), make([]byte, 48)...)
		conn.Write(greeting)
		io.ReadFull(conn, make([]byte, 64))
		conn.Write(frame(4, []byte("\x05READY\x0bSocket-Type\x00\x00\x00\x03PUB\x08Identity\x00\x00\x00\x00")))
		go io.Copy(io.Discard, conn)
		for {
			if _, err := conn.Write(batch); err != nil {
				return
			}
		}
	}()
	b.Cleanup(func() { ln.Close(); <-done })
	return path
}

func rate(b *testing.B) { b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msgs/s") }

func BenchmarkCellar(b *testing.B) {
	conn, err := net.Dial("unix", publisher(b))
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	s, err := wire.DialZMTP(conn, "SUB", "")
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Receive(); err != nil {
			b.Fatal(err)
		}
	}
	rate(b)
}

func BenchmarkZMQ4(b *testing.B) {
	s := zmq4.NewSub(context.Background())
	defer s.Close()
	if err := s.SetOption(zmq4.OptionSubscribe, ""); err != nil {
		b.Fatal(err)
	}
	if err := s.Dial("ipc://" + publisher(b)); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Recv(); err != nil {
			b.Fatal(err)
		}
	}
	rate(b)
}
