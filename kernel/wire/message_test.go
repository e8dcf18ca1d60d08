package wire

import (
	"bytes"
	"errors"
	"slices"
	"testing"
)

func sample(buffers ...string) *Message {
	m := &Message{
		Header:   []byte(`{"msg_id":"m1","msg_type":"stream","session":"s","username":"u","date":"d","version":"5.3"}`),
		Parent:   []byte(`{"msg_id":"p1"}`),
		Metadata: []byte(`{}`),
		Content:  []byte(`{"name":"stdout","text":"héllo <b>\n"}`),
	}
	for _, b := range buffers {
		m.Buffers = append(m.Buffers, []byte(b))
	}
	return m
}

func sameMessage(a, b *Message) bool {
	return bytes.Equal(orEmpty(a.Header), orEmpty(b.Header)) && bytes.Equal(orEmpty(a.Parent), orEmpty(b.Parent)) &&
		bytes.Equal(orEmpty(a.Metadata), orEmpty(b.Metadata)) && bytes.Equal(orEmpty(a.Content), orEmpty(b.Content)) &&
		slices.EqualFunc(a.Buffers, b.Buffers, bytes.Equal)
}

// messages are what every framing must carry unchanged.
var messages = map[string]*Message{
	"plain":         sample(),
	"one buffer":    sample("\x00\xff\x00binary"),
	"empty buffers": sample("", "", "x", ""),
	"no parts":      {},
	"long content":  {Header: []byte(`{"msg_type":"x"}`), Content: append(append([]byte(`{"t":"`), bytes.Repeat([]byte("a"), 1<<20)...), `"}`...)},
}

func TestSignedFramesRoundTrip(t *testing.T) {
	for name, m := range messages {
		for _, key := range []string{"", "secret"} {
			s := NewSigner([]byte(key))
			frames := append([][]byte{[]byte("identity"), []byte("topic")}, s.Frames(m)...)
			got, err := s.Parse(frames)
			if err != nil || !sameMessage(got, m) {
				t.Errorf("%s, key %q: %v, %v", name, key, got, err)
			}
		}
	}
}

func TestParseRefuses(t *testing.T) {
	s := NewSigner([]byte("secret"))
	with := func(change func(f [][]byte) [][]byte) [][]byte { return change(s.Frames(sample("buffer"))) }
	for name, c := range map[string]struct {
		frames [][]byte
		want   error
	}{
		"nothing":          {nil, ErrMalformed},
		"no delimiter":     {with(func(f [][]byte) [][]byte { return f[1:] }), ErrMalformed},
		"four parts":       {with(func(f [][]byte) [][]byte { return f[:5] }), ErrMalformed},
		"delimiter alone":  {[][]byte{delimiter}, ErrMalformed},
		"other key":        {NewSigner([]byte("other")).Frames(sample()), ErrSignature},
		"unsigned":         {NewSigner(nil).Frames(sample()), ErrSignature},
		"changed header":   {with(func(f [][]byte) [][]byte { f[2] = []byte(`{"msg_id":"x"}`); return f }), ErrSignature},
		"changed parent":   {with(func(f [][]byte) [][]byte { f[3] = []byte(`{}`); return f }), ErrSignature},
		"changed metadata": {with(func(f [][]byte) [][]byte { f[4] = []byte(`{"a":1}`); return f }), ErrSignature},
		"changed content":  {with(func(f [][]byte) [][]byte { f[5] = []byte(`{}`); return f }), ErrSignature},
		"half a signature": {with(func(f [][]byte) [][]byte { f[1] = f[1][:32]; return f }), ErrSignature},
	} {
		if m, err := s.Parse(c.frames); !errors.Is(err, c.want) || m != nil {
			t.Errorf("%s: got %v, %v; want %v", name, m, err, c.want)
		}
	}
}

func TestSizeCountsEveryPart(t *testing.T) {
	m := &Message{Header: make([]byte, 1), Parent: make([]byte, 10), Metadata: make([]byte, 100), Content: make([]byte, 1000), Buffers: [][]byte{make([]byte, 10000), make([]byte, 100000)}}
	if got := m.Size(); got != 111111 {
		t.Errorf("Size() = %d, want 111111", got)
	}
}

func TestChannelNames(t *testing.T) {
	for _, ch := range []Channel{Shell, Control, Stdin, IOPub} {
		if got, ok := ChannelOf(ch.String()); !ok || got != ch {
			t.Errorf("ChannelOf(%q) = %v, %v", ch.String(), got, ok)
		}
	}
	for _, name := range []string{"request", "event", "", "Shell", "channel(9)"} {
		if ch, ok := ChannelOf(name); ok {
			t.Errorf("a client may send on %q: %v", name, ch)
		}
	}
	if got := Channel(9).String(); got != "channel(9)" {
		t.Errorf("Channel(9) = %q", got)
	}
}

func TestParseHeader(t *testing.T) {
	if h, err := ParseHeader(sample().Header); err != nil || h != (Header{"m1", "stream", "s", "u", "d", "5.3"}) {
		t.Errorf("got %+v, %v", h, err)
	}
	for _, empty := range []string{"", "{}"} {
		if h, err := ParseHeader([]byte(empty)); err != nil || h != (Header{}) {
			t.Errorf("%q: %+v, %v", empty, h, err)
		}
	}
	for _, bad := range []string{"{", "[]", `{"msg_id":1}`} {
		if _, err := ParseHeader([]byte(bad)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("secret"), bytes.Join(NewSigner([]byte("secret")).Frames(sample("b")), []byte("\n")))
	f.Add([]byte(""), bytes.Join(NewSigner(nil).Frames(&Message{}), []byte("\n")))
	f.Add([]byte("k"), []byte("<IDS|MSG>\n\n\n\n\n"))
	f.Fuzz(func(t *testing.T, key, data []byte) {
		s := NewSigner(key)
		frames := bytes.Split(data, []byte("\n"))
		m, err := s.Parse(frames)
		if err != nil {
			if m != nil || (!errors.Is(err, ErrMalformed) && !errors.Is(err, ErrSignature)) {
				t.Fatalf("%v with %v", m, err)
			}
			return
		}
		if again, err := s.Parse(s.Frames(m)); err != nil || !sameMessage(again, m) {
			t.Fatalf("an accepted message does not round-trip: %v", err)
		}
	})
}
