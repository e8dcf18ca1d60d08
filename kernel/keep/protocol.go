package keep

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"sync"

	"cellar/kernel/wire"
)

// Version is the version of the protocol between keeper and hub. A keeper lives
// as long as its kernel's checkpoints, so a hub speaks all versions there were.
const Version = 1

// Port is the TCP port on 127.0.0.1 of the container's own network namespace on
// which a keeper listens. TCP, because CRIU's tcp-close drops the connection at
// a dump while the listener lives on.
const Port = 7399

// Frames are: length u32 of what follows, kind u8, payload.
const (
	kindHello   = 'H' // both ways, JSON
	kindRecord  = 'M' // keeper -> hub: a record
	kindSend    = 'R' // hub -> keeper: channel u8, a message
	kindAck     = 'A' // hub -> keeper: seq u64
	kindCommand = 'C' // hub -> keeper: JSON Command
	kindAnswer  = 'Q' // keeper -> hub: JSON Answer, to who asked and to nobody else
)

// Hello opens a connection: the hub names the version and the first seq it
// wants; the keeper answers with what it has.
type Hello struct {
	Version int    `json:"version"`
	From    uint64 `json:"from,omitempty"`    // hub: first record wanted
	First   uint64 `json:"first,omitempty"`   // keeper: first record kept
	Next    uint64 `json:"next,omitempty"`    // keeper: seq of the next record
	Alive   bool   `json:"alive"`             // keeper: the kernel process runs
	Ready   bool   `json:"ready"`             // keeper: it has answered
	PID     int    `json:"pid,omitempty"`     // keeper: the kernel's, in its own namespace
	Hooks   bool   `json:"hooks,omitempty"`   // keeper: it knows OpHook; those of older checkpoints do not
	Answers bool   `json:"answers,omitempty"` // keeper: it knows OpAsk
	Raw     bool   `json:"raw,omitempty"`     // keeper: the copy of a template, see ReasonTemplate
	Want    *Want  `json:"want,omitempty"`    // keeper: what the kernel waits for
}

// Command tells the keeper to do something that is not a message.
type Command struct {
	Op       string    `json:"op"`                 // OpInterrupt, OpRestart, OpDetach, OpHook, OpAsk, OpGrant
	Hook     *Hook     `json:"hook,omitempty"`     // with OpHook
	Question *Question `json:"question,omitempty"` // with OpAsk
	Grant    *Grant    `json:"grant,omitempty"`    // with OpGrant
}

// Commands of the protocol.
const (
	OpInterrupt = "interrupt" // SIGINT to the kernel's process group
	OpRestart   = "restart"   // kill every process of the container but the keeper, start the kernel anew
	OpDetach    = "detach"    // close all connections: a checkpoint follows
	OpHook      = "hook"      // tell the kernel; EventHooked follows
	OpAsk       = "ask"       // ask the kernel; kindAnswer may follow
	OpGrant     = "grant"     // answer a want
)

// Event is the content of a record on wire.Event.
type Event struct {
	Event  string          `json:"event"` // started, ready, exited, hooked, wants
	PID    int             `json:"pid,omitempty"`
	Code   int             `json:"code"`             // exited: exit status
	Signal string          `json:"signal,omitempty"` // exited: by which signal
	Info   json.RawMessage `json:"info,omitempty"`   // ready: kernel_info_reply's content
	Detail string          `json:"detail,omitempty"` // exited: the last lines of its stderr
	Hooked *Hooked         `json:"hooked,omitempty"`
	Want   *Want           `json:"want,omitempty"`
}

// Events of the protocol.
const (
	EventStarted = "started"
	EventReady   = "ready"
	EventExited  = "exited"
	EventHooked  = "hooked"
	EventWants   = "wants"
)

type frameWriter struct {
	mu sync.Mutex
	w  *bufio.Writer
}

func (f *frameWriter) write(kind byte, flush bool, payload ...[]byte) error {
	n := 1
	for _, p := range payload {
		n += len(p)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	var head [5]byte
	binary.LittleEndian.PutUint32(head[:], uint32(n))
	head[4] = kind
	if _, err := f.w.Write(head[:]); err != nil {
		return err
	}
	for _, p := range payload {
		if _, err := f.w.Write(p); err != nil {
			return err
		}
	}
	if flush {
		return f.w.Flush()
	}
	return nil
}

func (f *frameWriter) writeJSON(kind byte, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return f.write(kind, true, b)
}

// frameReader reads frames; it is for one goroutine.
type frameReader struct {
	*bufio.Reader
	arena wire.Arena
}

func newFrameReader(r io.Reader, size int) frameReader {
	return frameReader{Reader: bufio.NewReaderSize(r, size)}
}

// next reads one frame into fresh memory that grows only as bytes arrive.
func (f *frameReader) next(limit uint32) (kind byte, payload []byte, err error) {
	head, err := peek(f.Reader, 5)
	if err != nil {
		return 0, nil, err
	}
	n, kind := binary.LittleEndian.Uint32(head), head[4]
	f.Discard(5)
	if n < 1 || n > limit {
		return 0, nil, fmt.Errorf("%w: frame of %d bytes", wire.ErrTooLarge, n)
	}
	payload, err = f.arena.Read(f, uint64(n-1))
	return kind, payload, err
}

// peek gives the next n bytes, which fit the buffer of r; errors are io.ReadFull's.
func peek(r *bufio.Reader, n int) ([]byte, error) {
	b, err := r.Peek(n)
	if err == io.EOF && len(b) > 0 {
		err = io.ErrUnexpectedEOF
	}
	return b, err
}
