package keep

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"testing"
	"time"

	"cellar/kernel/wire"
)

var epoch = time.Unix(1_700_000_000, 5)

func TestFrames(t *testing.T) {
	var b bytes.Buffer
	w := frameWriter{w: bufio.NewWriter(&b)}
	if err := w.write('A', false, []byte("one"), nil, []byte("two")); err != nil || b.Len() != 0 {
		t.Fatalf("unflushed: %d bytes, %v", b.Len(), err)
	}
	if err := w.write('B', true); err != nil {
		t.Fatal(err)
	}
	r := newFrameReader(&b, 16)
	for _, want := range []struct {
		kind    byte
		payload string
	}{{'A', "onetwo"}, {'B', ""}} {
		if kind, payload, err := r.next(100); err != nil || kind != want.kind || string(payload) != want.payload {
			t.Errorf("got %c %q, %v", kind, payload, err)
		}
	}
	if _, _, err := r.next(100); !errors.Is(err, io.EOF) {
		t.Errorf("after the last: %v", err)
	}
}

func TestReadFrameRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		b    []byte
		want error
	}{
		"no bytes at all in it": {[]byte{0, 0, 0, 0, 'M'}, wire.ErrTooLarge},
		"over the limit":        {[]byte{101, 0, 0, 0, 'M'}, wire.ErrTooLarge},
		"4 GiB":                 {[]byte{0xff, 0xff, 0xff, 0xff, 'M'}, wire.ErrTooLarge},
		"half a head":           {[]byte{1, 0}, io.ErrUnexpectedEOF},
		"half a payload":        {[]byte{9, 0, 0, 0, 'M', 'x'}, io.ErrUnexpectedEOF},
	} {
		r := newFrameReader(bytes.NewReader(c.b), 16)
		if _, _, err := r.next(100); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

func FuzzReadFrame(f *testing.F) {
	f.Add([]byte{1, 0, 0, 0, 'A'})
	f.Add([]byte{4, 0, 0, 0, 'M', 1, 2, 3, 1, 0, 0, 0, 'C'})
	f.Add([]byte{0xff, 0xff, 0xff, 0x7f, 'M', 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		r, used := newFrameReader(bytes.NewReader(b), 4096), 0
		for {
			kind, payload, err := r.next(1 << 20)
			if err != nil {
				return
			}
			again := append(binary.LittleEndian.AppendUint32(nil, uint32(len(payload)+1)), kind)
			again = append(again, payload...)
			if !bytes.HasPrefix(b[used:], again) {
				t.Fatalf("frame at %d came back as % x", used, again)
			}
			used += len(again)
		}
	})
}

// TestParseRecordRefuses names what a hostile keeper may send.
func TestParseRecordRefuses(t *testing.T) {
	good := appendRecord(nil, 1, epoch, wire.IOPub, &wire.Message{Content: []byte("abc")})
	change := func(at int, b ...byte) []byte { c := bytes.Clone(good); copy(c[at:], b); return c }
	for name, b := range map[string][]byte{
		"nothing":              nil,
		"a head alone":         good[:recordHead],
		"channel 6":            change(16, 6),
		"no parts":             change(17, 0, 0),
		"three parts":          change(17, 3, 0),
		"65535 parts":          change(17, 0xff, 0xff),
		"a part of 4 GiB":      change(31, 0xff, 0xff, 0xff, 0xff),
		"a part one too long":  change(31, 4),
		"cut in the last part": good[:len(good)-1],
	} {
		if _, err := ParseRecord(b); !errors.Is(err, wire.ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if r, err := ParseRecord(good); err != nil || r.Seq != 1 || !r.Time.Equal(epoch) || string(r.Message.Content) != "abc" {
		t.Errorf("the good one: %+v, %v", r, err)
	}
}
