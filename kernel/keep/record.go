// Package keep is the keeper: the small process that is PID 1 of a kernel's
// container, owns the connection to the kernel and writes down what it says.
// Kernel and keeper are frozen and thawed together, so no message is ever
// between them and the outside when a checkpoint is taken.
//
// It knows no hub, no projects and no notebooks. What it tells is untrusted for
// whoever reads it: it lives in the same container as hostile code.
package keep

import (
	"encoding/binary"
	"fmt"
	"time"

	"cellar/kernel/wire"
)

// Record is one entry of the journal: a message of the kernel, a request to it
// or an event of the keeper (Content then is the event's JSON).
type Record struct {
	Seq     uint64 // 1, 2, 3 ... without holes unless the quota dropped some
	Time    time.Time
	Channel wire.Channel
	Message *wire.Message
}

// MaxRecord bounds one record in bytes.
const MaxRecord = wire.MaxFrame + 1<<20

const recordHead = 8 + 8 + 1 + 2 // seq, unix nanoseconds, channel, number of parts

// appendRecord encodes: seq u64, time i64, channel u8, parts u16, length of each
// part u32, the parts; little-endian.
func appendRecord(dst []byte, seq uint64, at time.Time, ch wire.Channel, m *wire.Message) []byte {
	dst = binary.LittleEndian.AppendUint64(dst, seq)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(at.UnixNano()))
	dst = append(dst, byte(ch))
	return appendMessage(dst, m)
}

func appendMessage(dst []byte, m *wire.Message) []byte {
	four := [...][]byte{m.Header, m.Parent, m.Metadata, m.Content}
	dst = binary.LittleEndian.AppendUint16(dst, uint16(4+len(m.Buffers)))
	for _, p := range four {
		dst = binary.LittleEndian.AppendUint32(dst, uint32(len(p)))
	}
	for _, p := range m.Buffers {
		dst = binary.LittleEndian.AppendUint32(dst, uint32(len(p)))
	}
	for _, p := range four {
		dst = append(dst, p...)
	}
	for _, p := range m.Buffers {
		dst = append(dst, p...)
	}
	return dst
}

// ParseRecord decodes a record; its message aliases b.
func ParseRecord(b []byte) (Record, error) {
	if len(b) < recordHead {
		return Record{}, fmt.Errorf("%w: record of %d bytes", wire.ErrMalformed, len(b))
	}
	r := Record{
		Seq:     binary.LittleEndian.Uint64(b),
		Time:    time.Unix(0, int64(binary.LittleEndian.Uint64(b[8:]))),
		Channel: wire.Channel(b[16]),
	}
	if r.Channel > wire.Event {
		return Record{}, fmt.Errorf("%w: channel %d", wire.ErrMalformed, b[16])
	}
	m, err := parseMessage(b[17:])
	r.Message = m
	return r, err
}

func parseMessage(b []byte) (*wire.Message, error) {
	if len(b) < 2 {
		return nil, fmt.Errorf("%w: no parts", wire.ErrMalformed)
	}
	n := int(binary.LittleEndian.Uint16(b))
	b = b[2:]
	if n < 4 || n > wire.MaxParts+4 || len(b) < 4*n {
		return nil, fmt.Errorf("%w: %d parts in %d bytes", wire.ErrMalformed, n, len(b))
	}
	lengths, body := b[:4*n], b[4*n:]
	part := func(i int) ([]byte, error) {
		l := uint64(binary.LittleEndian.Uint32(lengths[4*i:]))
		if l > uint64(len(body)) {
			return nil, fmt.Errorf("%w: part %d of %d bytes where %d are left", wire.ErrMalformed, i, l, len(body))
		}
		p := body[:l:l]
		body = body[l:]
		return p, nil
	}
	m := &wire.Message{}
	if n > 4 {
		m.Buffers = make([][]byte, n-4)
	}
	for i := range n {
		p, err := part(i)
		if err != nil {
			return nil, err
		}
		switch i {
		case 0:
			m.Header = p
		case 1:
			m.Parent = p
		case 2:
			m.Metadata = p
		case 3:
			m.Content = p
		default:
			m.Buffers[i-4] = p
		}
	}
	return m, nil
}
