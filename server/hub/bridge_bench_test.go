package hub

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"

	"github.com/gorilla/websocket"

	"cellar/kernel"
	"cellar/kernel/keep"
	"cellar/kernel/wire"
	"cellar/proxy"
)

type quietStore struct{ EmptyStore }

func (quietStore) PutKernel(context.Context, Kernel) error { return nil }

// BenchmarkBridge is the whole way of a stream message but for the kernel: from
// ZeroMQ into the journal, out of it to the hub, which notes it for the notebook,
// and to a websocket. Publisher, keeper, hub and client share the process, so the
// messages a second of a core count the work of all four.
func BenchmarkBridge(b *testing.B) {
	h := &Hub{Config: Config{Data: b.TempDir()}, Store: quietStore{}, Log: slog.New(slog.DiscardHandler), live: map[kernel.ID]*Live{}}
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	h.ctx = ctx
	l := h.newLive(Kernel{ID: "k", Project: "p", State: kernel.Running, Journal: "journal-1"})
	j, err := keep.OpenJournal(l.journalDir(), 64<<20)
	if err != nil {
		b.Fatal(err)
	}
	signer := wire.NewSigner([]byte("key"))
	request := []byte(`{"msg_id":"5e0a1c8b-request","msg_type":"execute_request","session":"tab","username":"ada","date":"2026-01-01T00:00:00.000000Z","version":"5.3"}`)
	if _, err := j.Append(wire.Request, &wire.Message{Header: request, Metadata: []byte(`{"cellId":"c"}`), Content: []byte(`{"code":"flood()"}`)}); err != nil {
		b.Fatal(err)
	}

	publisher, subscriber := pair(b)
	go publish(publisher, signer, request)
	go func() {
		s, err := wire.DialZMTP(subscriber, "SUB", "")
		for err == nil {
			var frames [][]byte
			var m *wire.Message
			if frames, err = s.Receive(); err != nil {
				break
			}
			if m, err = signer.Parse(frames); err != nil {
				b.Error(err)
			} else if _, err = j.Append(wire.IOPub, m); err == nil && s.Buffered() == 0 {
				err = j.Flush()
			}
		}
	}()
	keeper, hub := pair(b)
	go tell(ctx, keeper, j)
	link, err := keep.Open(hub, 1)
	if err != nil {
		b.Fatal(err)
	}

	client := make(chan *Client, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ws, err := proxy.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		c, _ := l.Attach("tab")
		client <- c
		l.Detach(c, proxy.Kernel(r.Context(), ws, c.Queue, nil))
	}))
	defer server.Close()
	dialer := websocket.Dialer{Subprotocols: []string{wire.SubprotocolV1}}
	ws, _, err := dialer.Dial("ws"+strings.TrimPrefix(server.URL, "http"), nil)
	if err != nil {
		b.Fatal(err)
	}
	<-client
	go l.receive(link, 0)
	in := bufio.NewReaderSize(ws.NetConn(), 1<<20)
	skip(b, in, 1000)
	b.ReportAllocs()
	before := cpu()
	b.ResetTimer()
	skip(b, in, b.N)
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msgs/s")
	b.ReportMetric(float64(b.N)/(cpu()-before), "msgs/cpu-s")
	l.mu.Lock()
	l.leaving = true
	l.mu.Unlock()
	cancel()
	ws.Close()
}

func pair(b *testing.B) (net.Conn, net.Conn) {
	ln, err := net.Listen("unix", b.TempDir()+"/s")
	if err != nil {
		b.Fatal(err)
	}
	defer ln.Close()
	one, err := net.Dial("unix", ln.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	other, err := ln.Accept()
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { one.Close(); other.Close() })
	return one, other
}

// publish is a kernel that prints without end, in lines of 100 characters.
func publish(conn net.Conn, signer wire.Signer, request []byte) {
	s, err := wire.DialZMTP(conn, "PUB", "")
	if err != nil {
		return
	}
	if _, err := s.Receive(); err != nil { // the subscription
		return
	}
	frames := append([][]byte{[]byte("kernel.stream")}, signer.Frames(&wire.Message{
		Header:  []byte(`{"msg_id":"0d3e9f5c-1fd1-4b50-9d0a_7_31","msg_type":"stream","username":"ada","session":"0d3e9f5c-1fd1-4b50-9d0a","date":"2026-01-01T00:00:00.000000Z","version":"5.3"}`),
		Parent:  request,
		Content: []byte(`{"name":"stdout","text":"` + strings.Repeat("x", 99) + `\n"}`),
	})...)
	var one bytes.Buffer
	for i, f := range frames {
		flags := byte(1)
		if i == len(frames)-1 {
			flags = 0
		}
		if len(f) > 255 {
			one.WriteByte(flags | 2)
			one.Write(binary.BigEndian.AppendUint64(nil, uint64(len(f))))
		} else {
			one.Write([]byte{flags, byte(len(f))})
		}
		one.Write(f)
	}
	batch := bytes.Repeat(one.Bytes(), 64)
	for {
		if _, err := conn.Write(batch); err != nil {
			return
		}
	}
}

// tell is the keeper's side of its protocol: what the journal has, to the hub.
func tell(ctx context.Context, conn net.Conn, j *keep.Journal) {
	w := bufio.NewWriterSize(conn, 256<<10)
	frame := func(kind byte, b []byte) {
		var head [5]byte
		binary.LittleEndian.PutUint32(head[:], uint32(len(b)+1))
		head[4] = kind
		w.Write(head[:])
		w.Write(b)
	}
	frame('H', []byte(`{"version":1,"first":1,"next":1,"alive":true,"ready":true}`))
	w.Flush()
	go func() { // acknowledgements
		r := bufio.NewReader(conn)
		for {
			var head [5]byte
			if _, err := io.ReadFull(r, head[:]); err != nil {
				return
			}
			payload := make([]byte, binary.LittleEndian.Uint32(head[:])-1)
			if _, err := io.ReadFull(r, payload); err != nil {
				return
			}
			if head[4] == 'A' {
				j.Ack(binary.LittleEndian.Uint64(payload))
			}
		}
	}()
	j.Follow(ctx, 1, func(rec []byte, more bool) error {
		frame('M', rec)
		if !more {
			return w.Flush()
		}
		return nil
	})
}

// skip reads n messages of a websocket, without looking at them.
func skip(b *testing.B, r *bufio.Reader, n int) {
	for range n {
		head, err := r.Peek(4)
		if err != nil {
			b.Fatal(err)
		}
		size := 2 + int(head[1]&127)
		if head[1]&127 == 126 {
			size = 4 + int(binary.BigEndian.Uint16(head[2:]))
		}
		if _, err := r.Discard(size); err != nil {
			b.Fatal(err)
		}
	}
}

// cpu is the time that the process has used, in seconds.
func cpu() float64 {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	sec := func(t syscall.Timeval) float64 { return float64(t.Sec) + float64(t.Usec)/1e6 }
	return sec(u.Utime) + sec(u.Stime)
}
