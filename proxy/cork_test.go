package proxy

import (
	"bytes"
	"errors"
	"net"
	"strings"
	"testing"
)

// limitedConn takes so many bytes, and counts the writes.
type limitedConn struct {
	net.Conn
	room   int
	writes int
	got    bytes.Buffer
}

func (c *limitedConn) Write(p []byte) (int, error) {
	c.writes++
	n := min(len(p), c.room-c.got.Len())
	c.got.Write(p[:n])
	if n < len(p) {
		return n, errors.New("the line is cut")
	}
	return n, nil
}

func TestCork(t *testing.T) {
	to := &limitedConn{room: 1 << 20}
	c := &cork{Conn: to}
	c.Write([]byte("one "))
	c.hold()
	for range 100 {
		c.Write([]byte("a line "))
	}
	if to.writes != 1 {
		t.Errorf("%d writes before the release", to.writes)
	}
	if err := c.release(); err != nil || to.writes != 2 {
		t.Errorf("%d writes, %v", to.writes, err)
	}
	c.hold()
	c.Write([]byte("small "))
	c.Write(bytes.Repeat([]byte("x"), corkSize+1)) // passes by, behind what was before it
	c.Write([]byte(" last"))
	c.release()
	want := "one " + strings.Repeat("a line ", 100) + "small " + strings.Repeat("x", corkSize+1) + " last"
	if to.got.String() != want {
		t.Errorf("%d bytes arrived of %d, or in another order", to.got.Len(), len(want))
	}
}

func TestCorkTellsHowFarItCame(t *testing.T) {
	to := &limitedConn{room: 25}
	c := &cork{Conn: to}
	c.hold()
	for range 5 {
		if _, err := c.Write([]byte("ten bytes ")); err != nil {
			t.Fatal(err)
		}
	}
	if all, passed := c.place(); all != 50 || passed != 0 {
		t.Errorf("%d of %d", passed, all)
	}
	if err := c.release(); err == nil {
		t.Error("no error")
	}
	if _, passed := c.place(); passed != 25 {
		t.Errorf("%d bytes passed", passed)
	}
	if _, err := c.Write([]byte("after a torn frame")); err == nil || to.got.Len() != 25 {
		t.Errorf("goes on after an error: %v", err)
	}
}
