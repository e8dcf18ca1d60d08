package proxy

import (
	"bufio"
	"net"
	"net/http"
	"sync"
)

// cork is a connection that can gather small writes: a system call for each
// line that a kernel prints costs more than all else that is done with it.
type cork struct {
	net.Conn
	mu      sync.Mutex
	buf     []byte
	holding bool
	written int64 // bytes that the connection took
	err     error
}

const corkSize = 64 << 10

func (c *cork) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return 0, c.err
	}
	if !c.holding || len(c.buf)+len(p) > corkSize {
		if err := c.flush(); err != nil {
			return 0, err
		}
	}
	if !c.holding || len(p) > corkSize {
		return c.pass(p)
	}
	c.buf = append(c.buf, p...)
	return len(p), nil
}

// flush writes what was gathered; the lock is held.
func (c *cork) flush() error {
	if len(c.buf) == 0 {
		return nil
	}
	_, err := c.pass(c.buf)
	c.buf = c.buf[:0]
	return err
}

func (c *cork) pass(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.written += int64(n)
	if err != nil {
		c.err = err // what comes next would follow a torn frame
	}
	return n, err
}

// hold has writes gathered until release.
func (c *cork) hold() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.holding = true; c.buf == nil {
		c.buf = make([]byte, 0, corkSize)
	}
}

func (c *cork) release() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.holding = false
	return c.flush()
}

// place is how many bytes were written by now, in all and by the connection.
func (c *cork) place() (all, passed int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.written + int64(len(c.buf)), c.written
}

// corker makes the connection of a handshake a cork.
type corker struct{ http.ResponseWriter }

// Hijack implements http.Hijacker.
func (c corker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(c.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	return &cork{Conn: conn}, rw, nil
}
