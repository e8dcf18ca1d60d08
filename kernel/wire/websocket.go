package wire

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
)

// SubprotocolV1 is the name of Jupyter's binary websocket framing.
const SubprotocolV1 = "v1.kernel.websocket.jupyter.org"

// EncodeV1 frames a message for a v1 websocket: a little-endian u64 count of
// offsets, the offsets, then channel name, header, parent, metadata, content
// and buffers, appended to dst.
func EncodeV1(dst []byte, ch Channel, m *Message) []byte {
	parts := 5 + len(m.Buffers)
	name := ch.String()
	at := uint64(8 * (parts + 2))
	dst = binary.LittleEndian.AppendUint64(dst, uint64(parts+1))
	dst = binary.LittleEndian.AppendUint64(dst, at)
	for _, n := range [...]int{len(name), len(orEmpty(m.Header)), len(orEmpty(m.Parent)), len(orEmpty(m.Metadata)), len(orEmpty(m.Content))} {
		at += uint64(n)
		dst = binary.LittleEndian.AppendUint64(dst, at)
	}
	for _, b := range m.Buffers {
		at += uint64(len(b))
		dst = binary.LittleEndian.AppendUint64(dst, at)
	}
	dst = append(dst, name...)
	dst = append(dst, orEmpty(m.Header)...)
	dst = append(dst, orEmpty(m.Parent)...)
	dst = append(dst, orEmpty(m.Metadata)...)
	dst = append(dst, orEmpty(m.Content)...)
	for _, b := range m.Buffers {
		dst = append(dst, b...)
	}
	return dst
}

// DecodeV1 reads a v1 frame. The count and every offset are checked against the
// frame's length before anything is believed. The parts alias frame.
func DecodeV1(frame []byte) (Channel, *Message, error) {
	if len(frame) < 8 {
		return 0, nil, fmt.Errorf("%w: v1 frame of %d bytes", ErrMalformed, len(frame))
	}
	count := binary.LittleEndian.Uint64(frame)
	if count < 6 || count > MaxParts || count > uint64(len(frame)-8)/8 {
		return 0, nil, fmt.Errorf("%w: v1 frame of %d bytes with %d offsets", ErrMalformed, len(frame), count)
	}
	offsets := frame[8 : 8+8*count]
	part := func(i uint64) []byte {
		from, to := binary.LittleEndian.Uint64(offsets[8*i:]), binary.LittleEndian.Uint64(offsets[8*i+8:])
		return frame[from:to:to]
	}
	last := 8 + 8*count
	for i := range count {
		o := binary.LittleEndian.Uint64(offsets[8*i:])
		if o < last || o > uint64(len(frame)) {
			return 0, nil, fmt.Errorf("%w: v1 offset %d is %d in a frame of %d bytes", ErrMalformed, i, o, len(frame))
		}
		last = o
	}
	ch, ok := ChannelOf(string(part(0)))
	if !ok {
		return 0, nil, fmt.Errorf("%w: unknown channel %.20q", ErrMalformed, part(0))
	}
	m := &Message{Header: part(1), Parent: part(2), Metadata: part(3), Content: part(4)}
	for i := uint64(5); i+1 < count; i++ {
		m.Buffers = append(m.Buffers, part(i))
	}
	return ch, m, checkJSON(m)
}

type jsonMessage struct {
	Channel  string          `json:"channel"`
	Header   json.RawMessage `json:"header"`
	Parent   json.RawMessage `json:"parent_header"`
	Metadata json.RawMessage `json:"metadata"`
	Content  json.RawMessage `json:"content"`
	Buffers  []string        `json:"buffers,omitempty"`
	MsgID    string          `json:"msg_id,omitempty"`
	MsgType  string          `json:"msg_type,omitempty"`
}

// EncodeJSON frames a message for a websocket without subprotocol. binary says
// whether the frame must be sent as a binary message (it carries buffers): a
// big-endian u32 count, that many u32 offsets, the JSON, the buffers.
func EncodeJSON(ch Channel, m *Message) (frame []byte, isBinary bool, err error) {
	h, err := ParseHeader(m.Header)
	if err != nil {
		return nil, false, err
	}
	text, err := json.Marshal(jsonMessage{
		Channel: ch.String(), Header: orEmpty(m.Header), Parent: orEmpty(m.Parent),
		Metadata: orEmpty(m.Metadata), Content: orEmpty(m.Content), MsgID: h.MsgID, MsgType: h.MsgType,
	})
	if err != nil {
		return nil, false, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if len(m.Buffers) == 0 {
		return text, false, nil
	}
	count := 1 + len(m.Buffers)
	at := 4 * (count + 1)
	out := binary.BigEndian.AppendUint32(nil, uint32(count))
	out = binary.BigEndian.AppendUint32(out, uint32(at))
	at += len(text)
	for _, b := range m.Buffers {
		out = binary.BigEndian.AppendUint32(out, uint32(at))
		at += len(b)
	}
	out = append(out, text...)
	for _, b := range m.Buffers {
		out = append(out, b...)
	}
	return out, true, nil
}

// DecodeJSON reads a frame of the default framing, text or binary.
func DecodeJSON(frame []byte, isBinary bool) (Channel, *Message, error) {
	text, buffers := frame, [][]byte(nil)
	if isBinary {
		var err error
		if text, buffers, err = splitBinary(frame); err != nil {
			return 0, nil, err
		}
	}
	var j jsonMessage
	if err := json.Unmarshal(text, &j); err != nil {
		return 0, nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	ch, ok := ChannelOf(j.Channel)
	if !ok && j.Channel == "" {
		ch, ok = Shell, true
	}
	if !ok {
		return 0, nil, fmt.Errorf("%w: unknown channel %.20q", ErrMalformed, j.Channel)
	}
	m := &Message{Header: j.Header, Parent: j.Parent, Metadata: j.Metadata, Content: j.Content, Buffers: buffers}
	for _, p := range []*[]byte{&m.Header, &m.Parent, &m.Metadata, &m.Content} {
		if string(*p) == "null" {
			*p = nil
		}
	}
	return ch, m, checkJSON(m)
}

func splitBinary(frame []byte) ([]byte, [][]byte, error) {
	if len(frame) < 8 {
		return nil, nil, fmt.Errorf("%w: binary frame of %d bytes", ErrMalformed, len(frame))
	}
	count := uint64(binary.BigEndian.Uint32(frame))
	if count < 1 || count > MaxParts || 4*(count+1) > uint64(len(frame)) {
		return nil, nil, fmt.Errorf("%w: binary frame of %d bytes with %d parts", ErrMalformed, len(frame), count)
	}
	last := 4 * (count + 1)
	bounds := make([]uint64, 0, count+1)
	for i := range count {
		o := uint64(binary.BigEndian.Uint32(frame[4+4*i:]))
		if o < last || o > uint64(len(frame)) {
			return nil, nil, fmt.Errorf("%w: offset %d is %d in a frame of %d bytes", ErrMalformed, i, o, len(frame))
		}
		bounds = append(bounds, o)
		last = o
	}
	bounds = append(bounds, uint64(len(frame)))
	var buffers [][]byte
	for i := 1; i < int(count); i++ {
		buffers = append(buffers, frame[bounds[i]:bounds[i+1]:bounds[i+1]])
	}
	return frame[bounds[0]:bounds[1]:bounds[1]], buffers, nil
}

// checkJSON refuses parts that are not JSON objects: a kernel that meets them
// may stop serving.
func checkJSON(m *Message) error {
	for _, p := range [][]byte{m.Header, m.Parent, m.Metadata, m.Content} {
		if len(p) > 0 && (p[0] != '{' || !json.Valid(p)) {
			return fmt.Errorf("%w: a part is not a JSON object", ErrMalformed)
		}
	}
	return nil
}
