// Package wire holds the Jupyter messaging protocol as it travels: message
// parts and their signature, ZeroMQ's transport (ZMTP 3.0, NULL security) and
// the two websocket framings.
//
// Parts stay the bytes that arrived: only headers are ever decoded. The package
// knows no kernel processes, no users and no files.
//
// Formats: https://jupyter-client.readthedocs.io/en/stable/messaging.html and
// https://jupyter-server.readthedocs.io/en/stable/developers/websocket-protocols.html
package wire

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"sync"
)

// Channel is one of the kernel's sockets.
type Channel uint8

// Channels in the order of the Jupyter specification. Request is not a socket:
// it marks a shell request in a journal, so that a reader learns which cell a
// later output belongs to. Event marks a word of the keeper itself.
const (
	Shell Channel = iota
	Control
	Stdin
	IOPub
	Request
	Event
)

var channelNames = [...]string{"shell", "control", "stdin", "iopub", "request", "event"}

func (c Channel) String() string {
	if int(c) < len(channelNames) {
		return channelNames[c]
	}
	return fmt.Sprintf("channel(%d)", uint8(c))
}

// ChannelOf returns the channel of a name that a client may send on.
func ChannelOf(name string) (Channel, bool) {
	for i, n := range channelNames[:IOPub+1] {
		if n == name {
			return Channel(i), true
		}
	}
	return 0, false
}

// Message is one Jupyter message: the four JSON parts and any number of
// buffers. All of them alias the memory they were read into.
type Message struct {
	Header, Parent, Metadata, Content []byte
	Buffers                           [][]byte
}

// Header is the part of a message header that Cellar looks at.
type Header struct {
	MsgID    string `json:"msg_id"`
	MsgType  string `json:"msg_type"`
	Session  string `json:"session"`
	Username string `json:"username"`
	Date     Date   `json:"date"`
	Version  string `json:"version"`
}

// ErrMalformed says that bytes are not a message of this protocol.
var ErrMalformed = errors.New("malformed message")

// ErrSignature says that a message was not signed with the connection's key.
var ErrSignature = errors.New("wrong message signature")

var delimiter = []byte("<IDS|MSG>")

// ParseHeader decodes a header part; an empty object gives a zero Header.
func ParseHeader(part []byte) (Header, error) {
	if len(part) == 0 {
		return Header{}, nil
	}
	if h, ok := fastHeader(part); ok {
		return h, nil
	}
	return slowHeader(part)
}

func slowHeader(part []byte) (h Header, err error) {
	if err := json.Unmarshal(part, &h); err != nil {
		return h, fmt.Errorf("%w: header: %w", ErrMalformed, err)
	}
	return h, nil
}

// Parents decodes parent headers: what a cell prints has the same for all of it.
// It is for one goroutine.
type Parents struct {
	part   []byte
	header Header
}

// Parse is ParseHeader. It keeps part.
func (p *Parents) Parse(part []byte) (Header, error) {
	if len(part) > 0 && bytes.Equal(part, p.part) {
		return p.header, nil
	}
	h, err := ParseHeader(part)
	if err == nil {
		p.part, p.header = part, h
	}
	return h, err
}

// Signer signs and checks messages by HMAC-SHA256 with a connection's key; an
// empty key means unsigned, as in the specification.
type Signer struct{ macs *sync.Pool } // nil: unsigned

// NewSigner returns a signer for key.
func NewSigner(key []byte) Signer {
	if len(key) == 0 {
		return Signer{}
	}
	key = bytes.Clone(key)
	return Signer{&sync.Pool{New: func() any { return &mac{Hash: hmac.New(sha256.New, key)} }}}
}

type mac struct {
	hash.Hash
	sum [sha256.Size]byte
}

// sum appends the signature of m.
func (s Signer) sum(dst []byte, m *Message) []byte {
	if s.macs == nil {
		return dst
	}
	mac := s.macs.Get().(*mac)
	defer s.macs.Put(mac)
	mac.Reset()
	mac.Write(m.Header)
	mac.Write(m.Parent)
	mac.Write(m.Metadata)
	mac.Write(m.Content)
	return hex.AppendEncode(dst, mac.Sum(mac.sum[:0]))
}

var emptyObject = []byte("{}")

func orEmpty(part []byte) []byte {
	if len(part) == 0 {
		return emptyObject
	}
	return part
}

// Frames gives the ZeroMQ frames of m, signed, without routing identities.
func (s Signer) Frames(m *Message) [][]byte {
	full := *m
	full.Header, full.Parent = orEmpty(m.Header), orEmpty(m.Parent)
	full.Metadata, full.Content = orEmpty(m.Metadata), orEmpty(m.Content)
	frames := make([][]byte, 0, 6+len(m.Buffers))
	frames = append(frames, delimiter, s.sum(nil, &full), full.Header, full.Parent, full.Metadata, full.Content)
	return append(frames, m.Buffers...)
}

// Parse reads ZeroMQ frames: identities or a topic, the delimiter, the
// signature, four JSON parts, buffers.
func (s Signer) Parse(frames [][]byte) (*Message, error) {
	start := -1
	for i, f := range frames {
		if string(f) == string(delimiter) {
			start = i
			break
		}
	}
	if start < 0 || len(frames) < start+6 {
		return nil, fmt.Errorf("%w: %d frames without delimiter and five parts", ErrMalformed, len(frames))
	}
	p := frames[start+1:]
	m := &Message{Header: p[1], Parent: p[2], Metadata: p[3], Content: p[4]}
	if len(p) > 5 {
		m.Buffers = p[5:]
	}
	var room [2 * sha256.Size]byte
	if want := s.sum(room[:0], m); len(want) > 0 && !hmac.Equal(want, p[0]) {
		return nil, ErrSignature
	}
	return m, nil
}

// Size is the number of bytes of all parts.
func (m *Message) Size() int {
	n := len(m.Header) + len(m.Parent) + len(m.Metadata) + len(m.Content)
	for _, b := range m.Buffers {
		n += len(b)
	}
	return n
}
