package terminal

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"cellar/kernel/wire"
)

// ErrNone says that there is no terminal by that name.
var ErrNone = errors.New("there is no such terminal")

// ErrFull says that there are as many terminals as there may be.
var ErrFull = errors.New("there are too many terminals")

// Ask sends a request that has only an answer: list or close.
func Ask(conn net.Conn, q Request) ([]Info, error) {
	defer conn.Close()
	_, a, err := open(conn, q)
	return a.Names, err
}

// Client is an attached terminal. Next is for one goroutine, the rest for any.
type Client struct {
	conn net.Conn
	r    *bufio.Reader
	mu   sync.Mutex
	w    *bufio.Writer
}

// Attach shows a terminal on conn.
func Attach(conn net.Conn, q Request) (*Client, error) {
	q.Op = "attach"
	c, _, err := open(conn, q)
	if err != nil {
		conn.Close()
		return nil, err
	}
	return c, nil
}

func open(conn net.Conn, q Request) (*Client, Answer, error) {
	var a Answer
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	c := &Client{conn: conn, r: bufio.NewReaderSize(conn, 64<<10), w: bufio.NewWriter(conn)}
	if err := writeJSON(c.w, q); err != nil {
		return nil, a, err
	}
	kind, payload, err := readFrame(c.r)
	if err != nil {
		return nil, a, err
	}
	if kind != kindHello || json.Unmarshal(payload, &a) != nil {
		return nil, a, wire.ErrMalformed
	}
	conn.SetDeadline(time.Time{})
	for _, known := range []error{ErrNone, ErrFull} {
		if a.Error == known.Error() {
			return nil, a, known
		}
	}
	if a.Error != "" {
		return nil, a, errors.New(a.Error)
	}
	return c, a, nil
}

// Next waits for output; io.EOF means that the shell has ended.
func (c *Client) Next() ([]byte, error) {
	for {
		kind, payload, err := readFrame(c.r)
		switch {
		case err != nil:
			return nil, err
		case kind == kindExit:
			return nil, io.EOF
		case kind == kindData:
			return payload, nil
		}
	}
}

// Write types b.
func (c *Client) Write(b []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(b) > 0 {
		n := min(len(b), maxFrame-1)
		if err := writeFrame(c.w, kindData, b[:n]); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// Resize changes the size of the screen.
func (c *Client) Resize(rows, cols uint16) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	b := binary.LittleEndian.AppendUint16(nil, rows)
	return writeFrame(c.w, kindResize, binary.LittleEndian.AppendUint16(b, cols))
}

// Close lets go of the terminal, which stays.
func (c *Client) Close() error { return c.conn.Close() }
