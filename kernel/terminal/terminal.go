// Package terminal runs shells for people in a project's container and keeps
// them through closed tabs and restarts of the hub, with what they last showed.
// Its server is PID 1 of the container; its client is the hub's. It knows no
// hub and no projects.
package terminal

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"

	"cellar/kernel/wire"
)

// Port is the TCP port of the server on the container's own loopback.
const Port = 7397

// Scrollback is how many bytes of output a terminal shows to one who comes back.
const Scrollback = 256 << 10

// Frames in both directions: length u32 of what follows (little-endian), kind u8,
// payload.
const (
	kindHello  = 'H' // client: JSON Request; server: JSON Answer
	kindData   = 'D' // bytes of the terminal, either way
	kindResize = 'S' // client: rows u16, columns u16
	kindExit   = 'X' // server: the shell has ended
)

const maxFrame = 1 << 20

// Request opens a connection for one purpose.
type Request struct {
	Op   string `json:"op"` // list, attach, close
	Name string `json:"name,omitempty"`
	// New makes attach start a shell when there is none by that name.
	New  bool   `json:"new,omitempty"`
	Dir  string `json:"dir,omitempty"`
	Rows uint16 `json:"rows,omitempty"`
	Cols uint16 `json:"cols,omitempty"`
}

// Answer is the server's.
type Answer struct {
	Error string `json:"error,omitempty"`
	Names []Info `json:"names,omitempty"`
}

// Info is one terminal.
type Info struct {
	Name string `json:"name"`
	// Active is when it last said or was told something, Unix milliseconds.
	Active int64 `json:"active"`
}

func writeFrame(w *bufio.Writer, kind byte, payload []byte) error {
	var head [5]byte
	binary.LittleEndian.PutUint32(head[:], uint32(len(payload)+1))
	head[4] = kind
	if _, err := w.Write(head[:]); err != nil {
		return err
	}
	if _, err := w.Write(payload); err != nil {
		return err
	}
	return w.Flush()
}

func writeJSON(w *bufio.Writer, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return writeFrame(w, kindHello, b)
}

func readFrame(r *bufio.Reader) (byte, []byte, error) {
	var head [5]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, nil, err
	}
	n := binary.LittleEndian.Uint32(head[:])
	if n < 1 || n > maxFrame {
		return 0, nil, fmt.Errorf("%w: frame of %d bytes", wire.ErrTooLarge, n)
	}
	payload, err := wire.ReadGrowing(r, uint64(n-1))
	return head[4], payload, err
}
