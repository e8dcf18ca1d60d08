package wire

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"reflect"
	"runtime"
	"strings"
	"testing"
)

func TestV1RoundTrip(t *testing.T) {
	for name, m := range messages {
		for _, ch := range []Channel{Shell, Control, Stdin, IOPub} {
			frame := EncodeV1(nil, ch, m)
			gotCh, got, err := DecodeV1(frame)
			if err != nil || gotCh != ch || !sameMessage(got, m) {
				t.Errorf("%s on %v: %v, %v", name, ch, gotCh, err)
			}
			if prefixed := EncodeV1([]byte("before"), ch, m); string(prefixed) != "before"+string(frame) {
				t.Errorf("%s: EncodeV1 does not append", name)
			}
		}
	}
}

// TestV1Layout holds the framing against the specification's words, byte by byte.
func TestV1Layout(t *testing.T) {
	m := &Message{Header: []byte(`{"a":1}`), Parent: []byte(`{}`), Metadata: []byte(`{}`), Content: []byte(`{"c":2}`), Buffers: [][]byte{[]byte("BUF")}}
	want := ""
	u64 := func(n uint64) { want += string(binary.LittleEndian.AppendUint64(nil, n)) }
	u64(7) // offsets: six parts and the end
	for _, at := range []uint64{64, 69, 76, 78, 80, 87, 90} {
		u64(at)
	}
	want += "shell" + `{"a":1}` + `{}` + `{}` + `{"c":2}` + "BUF"
	if got := string(EncodeV1(nil, Shell, m)); got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestJSONRoundTrip(t *testing.T) {
	for name, m := range messages {
		for _, ch := range []Channel{Shell, Control, Stdin, IOPub} {
			frame, isBinary, err := EncodeJSON(ch, m)
			if err != nil || isBinary != (len(m.Buffers) > 0) {
				t.Fatalf("%s: binary %v, %v", name, isBinary, err)
			}
			gotCh, got, err := DecodeJSON(frame, isBinary)
			if err != nil || gotCh != ch || !sameJSON(t, got, m) {
				t.Errorf("%s on %v: %v, %v", name, ch, gotCh, err)
			}
		}
	}
}

// sameJSON compares by meaning: this framing writes the parts anew.
func sameJSON(t *testing.T, a, b *Message) bool {
	t.Helper()
	for _, p := range [][2][]byte{{a.Header, b.Header}, {a.Parent, b.Parent}, {a.Metadata, b.Metadata}, {a.Content, b.Content}} {
		var x, y any
		if json.Unmarshal(orEmpty(p[0]), &x) != nil || json.Unmarshal(orEmpty(p[1]), &y) != nil || !reflect.DeepEqual(x, y) {
			return false
		}
	}
	return sameMessage(&Message{Buffers: a.Buffers}, &Message{Buffers: b.Buffers})
}

func TestDecodeJSONReadsWhatClientsSend(t *testing.T) {
	for text, want := range map[string]struct {
		ch Channel
		ok bool
	}{
		`{"channel":"control","header":{},"parent_header":{},"metadata":{},"content":{}}`: {Control, true},
		`{"header":{"msg_type":"x"}}`:                         {Shell, true}, // old clients name no channel
		`{"channel":"shell","header":null,"content":null}`:    {Shell, true},
		`{"channel":"stdin","buffers":["ignored in a text"]}`: {Stdin, true},
		`{"channel":"request","header":{}}`:                   {0, false},
		`{"channel":"shell","header":[]}`:                     {0, false},
		`{"channel":"shell","header":"x"}`:                    {0, false},
		`{"channel":"shell","content":1}`:                     {0, false},
		`{"channel":"shell"}{"channel":"shell"}`:              {0, false},
		`null`:                                                {Shell, true},
		`[]`:                                                  {0, false},
		``:                                                    {0, false},
		`{"channel":"shell","header":{}`:                      {0, false},
		`{"channel":7}`:                                       {0, false},
	} {
		ch, _, err := DecodeJSON([]byte(text), false)
		if (err == nil) != want.ok || (want.ok && ch != want.ch) || (err != nil && !errors.Is(err, ErrMalformed)) {
			t.Errorf("%s: %v, %v", text, ch, err)
		}
	}
}

func v1Frame(count uint64, offsets []uint64, rest string) []byte {
	b := binary.LittleEndian.AppendUint64(nil, count)
	for _, o := range offsets {
		b = binary.LittleEndian.AppendUint64(b, o)
	}
	return append(b, rest...)
}

func binFrame(count uint32, offsets []uint32, rest string) []byte {
	b := binary.BigEndian.AppendUint32(nil, count)
	for _, o := range offsets {
		b = binary.BigEndian.AppendUint32(b, o)
	}
	return append(b, rest...)
}

// hostile frames, with the framing they are for.
var hostile = map[string]struct {
	v1    bool
	frame []byte
}{
	"v1 empty":               {true, nil},
	"v1 seven bytes":         {true, make([]byte, 7)},
	"v1 no offsets":          {true, v1Frame(0, nil, "")},
	"v1 five offsets":        {true, v1Frame(5, []uint64{48, 48, 48, 48, 48}, "shell")},
	"v1 2^31 offsets":        {true, v1Frame(1<<31, nil, strings.Repeat("x", 100))},
	"v1 2^61 offsets":        {true, v1Frame(1<<61, nil, strings.Repeat("x", 100))},
	"v1 2^64-1 offsets":      {true, v1Frame(1<<64-1, nil, strings.Repeat("x", 100))},
	"v1 more than there are": {true, v1Frame(7, []uint64{56, 61, 61, 61, 61, 61}, "shell")},
	"v1 offset 2^64-1":       {true, v1Frame(6, []uint64{56, 1<<64 - 1, 1<<64 - 1, 1<<64 - 1, 1<<64 - 1, 1<<64 - 1}, "shell")},
	"v1 last offset 2^64-1":  {true, v1Frame(6, []uint64{56, 61, 61, 61, 61, 1<<64 - 1}, "shell")},
	"v1 one past the end":    {true, v1Frame(6, []uint64{56, 61, 61, 61, 61, 62}, "shell")},
	"v1 backwards":           {true, v1Frame(6, []uint64{56, 61, 60, 61, 61, 61}, "shell")},
	"v1 into the table":      {true, v1Frame(6, []uint64{0, 61, 61, 61, 61, 61}, "shell")},
	"v1 unknown channel":     {true, v1Frame(6, []uint64{56, 61, 61, 61, 61, 61}, "shill")},
	"v1 keeper's channel":    {true, v1Frame(6, []uint64{56, 61, 61, 61, 61, 61}, "event")},
	"v1 header no object":    {true, v1Frame(6, []uint64{56, 61, 62, 62, 62, 62}, "shell1")},
	"v1 content half JSON":   {true, v1Frame(6, []uint64{56, 61, 61, 61, 61, 62}, "shell{")},
	"binary empty":           {false, nil},
	"binary seven bytes":     {false, make([]byte, 7)},
	"binary no parts":        {false, binFrame(0, []uint32{8}, "{}")},
	"binary 2^31 parts":      {false, binFrame(1<<31, nil, strings.Repeat("x", 100))},
	"binary 2^32-1 parts":    {false, binFrame(1<<32-1, nil, strings.Repeat("x", 100))},
	"binary offset 2^32-1":   {false, binFrame(2, []uint32{12, 1<<32 - 1}, "{}")},
	"binary backwards":       {false, binFrame(2, []uint32{14, 12}, "{}")},
	"binary into the table":  {false, binFrame(2, []uint32{0, 14}, "{}")},
	"binary no JSON":         {false, binFrame(1, []uint32{8}, "x")},
}

func decode(v1 bool, frame []byte) (Channel, *Message, error) {
	if v1 {
		return DecodeV1(frame)
	}
	return DecodeJSON(frame, true)
}

func TestHostileFramesAreRefused(t *testing.T) {
	for name, c := range hostile {
		if _, _, err := decode(c.v1, c.frame); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// allocated is the number of bytes that fn allocates, whatever is freed again.
func allocated(fn func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	fn()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

func TestHostileFramesAllocateLittle(t *testing.T) {
	for name, c := range hostile {
		if n := allocated(func() { decode(c.v1, c.frame) }); n > 64<<10 {
			t.Errorf("%s: a frame of %d bytes made us allocate %d", name, len(c.frame), n)
		}
	}
}

func TestV1PartsDoNotReachIntoEachOther(t *testing.T) {
	frame := EncodeV1(nil, Shell, sample("abc", "def"))
	_, m, err := DecodeV1(frame)
	if err != nil {
		t.Fatal(err)
	}
	_ = append(m.Buffers[0], "overwritten"...)
	_ = append(m.Content, "overwritten"...)
	if string(m.Buffers[1]) != "def" || string(m.Buffers[0]) != "abc" {
		t.Errorf("appending to a part changed another: %q", m.Buffers)
	}
}

func FuzzDecodeV1(f *testing.F) {
	for _, m := range messages {
		f.Add(EncodeV1(nil, Shell, m))
	}
	for _, c := range hostile {
		if c.v1 {
			f.Add(c.frame)
		}
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		ch, m, err := DecodeV1(frame)
		if err != nil {
			if !errors.Is(err, ErrMalformed) {
				t.Fatal(err)
			}
			return
		}
		if m.Size() > len(frame) {
			t.Fatalf("%d bytes out of %d", m.Size(), len(frame))
		}
		ch2, again, err := DecodeV1(EncodeV1(nil, ch, m))
		if err != nil || ch2 != ch || !sameMessage(again, m) {
			t.Fatalf("an accepted message does not round-trip: %v", err)
		}
	})
}

func FuzzDecodeJSON(f *testing.F) {
	for _, m := range messages {
		if frame, isBinary, err := EncodeJSON(IOPub, m); err == nil {
			f.Add(frame, isBinary)
		}
	}
	for _, c := range hostile {
		if !c.v1 {
			f.Add(c.frame, true)
		}
	}
	f.Fuzz(func(t *testing.T, frame []byte, isBinary bool) {
		ch, m, err := DecodeJSON(frame, isBinary)
		if err != nil {
			if !errors.Is(err, ErrMalformed) {
				t.Fatal(err)
			}
			return
		}
		again, isBinary, err := EncodeJSON(ch, m)
		if err != nil {
			return // a header that is an object but not Jupyter's
		}
		ch2, m2, err := DecodeJSON(again, isBinary)
		if err != nil || ch2 != ch || !sameJSON(t, m2, m) {
			t.Fatalf("an accepted message does not round-trip: %v", err)
		}
	})
}

func BenchmarkEncodeV1(b *testing.B) {
	m := sample()
	var buf []byte
	b.SetBytes(int64(m.Size()))
	b.ReportAllocs()
	for b.Loop() {
		buf = EncodeV1(buf[:0], IOPub, m)
	}
}

func BenchmarkDecodeV1(b *testing.B) {
	frame := EncodeV1(nil, Shell, sample())
	b.SetBytes(int64(len(frame)))
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := DecodeV1(frame); err != nil {
			b.Fatal(err)
		}
	}
}

// TestEncodeV1IntoARoomyBufferAllocatesNothing guards the path of every message
// to every browser.
func TestEncodeV1IntoARoomyBufferAllocatesNothing(t *testing.T) {
	m, buf := sample("buffer"), make([]byte, 0, 4096)
	if n := testing.AllocsPerRun(100, func() { buf = EncodeV1(buf[:0], IOPub, m) }); n != 0 {
		t.Errorf("EncodeV1 allocates %v times", n)
	}
}
