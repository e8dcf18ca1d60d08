package wire

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
)

// MaxFrame bounds one ZeroMQ frame, MaxParts the frames of one message: a
// kernel is untrusted and must not make its reader allocate without end.
const (
	MaxFrame = 1 << 30
	MaxParts = 4096
)

// ErrTooLarge says that a peer announced more than this side will read.
var ErrTooLarge = errors.New("message too large")

const (
	flagMore    = 1
	flagLong    = 2
	flagCommand = 4
)

// Socket is one ZMTP 3.0 connection with the NULL mechanism (RFC 23). Reads
// must come from one goroutine; writes may come from many.
type Socket struct {
	conn  net.Conn
	r     *bufio.Reader
	arena Arena

	mu sync.Mutex // serialises writes
	w  *bufio.Writer
}

// DialZMTP performs the handshake on conn as a socket of socketType ("DEALER",
// "SUB" or "REQ"); identity may be empty. The caller sets deadlines on conn.
func DialZMTP(conn net.Conn, socketType, identity string) (*Socket, error) {
	s := &Socket{conn: conn, r: bufio.NewReaderSize(conn, 256<<10), w: bufio.NewWriterSize(conn, 64<<10)}
	if err := s.greet(); err != nil {
		return nil, fmt.Errorf("zmtp greeting: %w", err)
	}
	ready := append([]byte{5}, "READY"...)
	ready = appendProperty(ready, "Socket-Type", socketType)
	ready = appendProperty(ready, "Identity", identity)
	if err := s.writeFrame(ready, flagCommand); err != nil {
		return nil, err
	}
	if err := s.w.Flush(); err != nil {
		return nil, err
	}
	body, flags, err := s.readFrame()
	if err != nil {
		return nil, fmt.Errorf("zmtp handshake: %w", err)
	}
	if flags&flagCommand == 0 || len(body) < 6 || string(body[1:6]) != "READY" {
		return nil, fmt.Errorf("zmtp handshake: %w: peer is not ready: %.40q", ErrMalformed, body)
	}
	if socketType == "SUB" { // ZMTP 3.0 subscribes by a message: one byte 1 and the topic prefix
		if err := s.Send([][]byte{{1}}); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func (s *Socket) greet() error {
	var g [64]byte
	g[0], g[9] = 0xff, 0x7f
	g[10], g[11] = 3, 0
	copy(g[12:], "NULL")
	if _, err := s.conn.Write(g[:]); err != nil {
		return err
	}
	var peer [64]byte
	if _, err := io.ReadFull(s.r, peer[:]); err != nil {
		return err
	}
	if peer[0] != 0xff || peer[9]&1 == 0 || peer[10] < 3 || string(peer[12:17]) != "NULL\x00" {
		return fmt.Errorf("%w: not a ZMTP 3 peer with the NULL mechanism", ErrMalformed)
	}
	return nil
}

func appendProperty(b []byte, name, value string) []byte {
	b = append(b, byte(len(name)))
	b = append(b, name...)
	b = binary.BigEndian.AppendUint32(b, uint32(len(value)))
	return append(b, value...)
}

func (s *Socket) writeFrame(body []byte, flags byte) error {
	var head [9]byte
	n := 2
	if len(body) > 255 {
		flags |= flagLong
		binary.BigEndian.PutUint64(head[1:], uint64(len(body)))
		n = 9
	} else {
		head[1] = byte(len(body))
	}
	head[0] = flags
	if _, err := s.w.Write(head[:n]); err != nil {
		return err
	}
	_, err := s.w.Write(body)
	return err
}

// Send writes one message of the given frames.
func (s *Socket) Send(frames [][]byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, f := range frames {
		var flags byte
		if i < len(frames)-1 {
			flags = flagMore
		}
		if err := s.writeFrame(f, flags); err != nil {
			return err
		}
	}
	return s.w.Flush()
}

func (s *Socket) readHead() (size uint64, flags byte, err error) {
	flags, err = s.r.ReadByte()
	if err != nil {
		return 0, 0, err
	}
	if flags&flagLong == 0 {
		b, err := s.r.ReadByte()
		return uint64(b), flags, err
	}
	var n [8]byte
	if _, err := io.ReadFull(s.r, n[:]); err != nil {
		return 0, 0, err
	}
	return binary.BigEndian.Uint64(n[:]), flags, nil
}

func (s *Socket) readFrame() ([]byte, byte, error) {
	size, flags, err := s.readHead()
	if err != nil {
		return nil, 0, err
	}
	if size > MaxFrame {
		return nil, 0, fmt.Errorf("%w: a frame of %d bytes", ErrTooLarge, size)
	}
	body, err := s.arena.Read(s.r, size)
	return body, flags, err
}

// Arena gives the memory of what is read from a connection: small things share a
// piece, so that a message of six frames does not need six. The zero Arena is
// ready; it is for one goroutine.
type Arena struct{ free []byte }

const (
	arenaPiece = 32 << 10
	arenaSmall = 4 << 10 // larger things have memory of their own: they must not keep a piece alive
)

// Read reads size bytes into memory that is nobody else's.
func (a *Arena) Read(r io.Reader, size uint64) ([]byte, error) {
	if size > arenaSmall {
		return ReadGrowing(r, size)
	}
	if uint64(len(a.free)) < size {
		a.free = make([]byte, arenaPiece)
	}
	b := a.free[:size:size]
	a.free = a.free[size:]
	_, err := io.ReadFull(r, b)
	return b, err
}

// ReadGrowing reads size bytes but believes a large size only as the bytes
// come, so that an announcement alone allocates little.
func ReadGrowing(r io.Reader, size uint64) ([]byte, error) {
	const step = 4 << 20
	if size <= step {
		body := make([]byte, size)
		_, err := io.ReadFull(r, body)
		return body, err
	}
	body := make([]byte, 0, step)
	for uint64(len(body)) < size {
		n := min(size-uint64(len(body)), max(step, uint64(len(body))))
		at := len(body)
		body = append(body, make([]byte, n)...)
		if _, err := io.ReadFull(r, body[at:]); err != nil {
			return nil, err
		}
	}
	return body, nil
}

// Receive reads one message; its frames are fresh memory. Commands (PING) are
// answered or skipped.
func (s *Socket) Receive() ([][]byte, error) {
	frames := make([][]byte, 0, 8)
	total := uint64(0)
	for {
		body, flags, err := s.readFrame()
		if err != nil {
			return nil, err
		}
		if flags&flagCommand != 0 {
			continue
		}
		total += uint64(len(body))
		if len(frames) == MaxParts || total > MaxFrame {
			return nil, fmt.Errorf("%w: %d frames, %d bytes", ErrTooLarge, len(frames)+1, total)
		}
		frames = append(frames, body)
		if flags&flagMore == 0 {
			return frames, nil
		}
	}
}

// Buffered is the number of bytes already read from the peer and not yet
// received: when it is 0, the next Receive may wait.
func (s *Socket) Buffered() int { return s.r.Buffered() }

// Close closes the connection.
func (s *Socket) Close() error { return s.conn.Close() }
