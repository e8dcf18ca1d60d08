package language

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"cellar/kernel/wire"
)

func TestReader(t *testing.T) {
	frame := func(s string) string { return fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(s), s) }
	for name, c := range map[string]struct {
		in   string
		want []string
		err  error
	}{
		"nothing":                   {"", nil, io.EOF},
		"two":                       {frame(`{"a":1}`) + frame(`{}`), []string{`{"a":1}`, `{}`}, io.EOF},
		"bytes are counted":         {frame(`{"a":"жук"}`), []string{`{"a":"жук"}`}, io.EOF},
		"a type too, in any order":  {"Content-Type: application/vscode-jsonrpc; charset=utf-8\r\ncontent-length : 2\r\n\r\n{}", []string{"{}"}, io.EOF},
		"bare line feeds":           {"Content-Length: 2\n\n{}", []string{"{}"}, io.EOF},
		"what a library prints":     {"Loading: 3 models\n\n" + strings.Repeat("x", 10_000) + "\n" + frame("{}"), []string{"{}"}, io.EOF},
		"the last length counts":    {"Content-Length: 9\r\nContent-Length: 2\r\n\r\n{}", []string{"{}"}, io.EOF},
		"no JSON":                   {frame("abc"), nil, wire.ErrMalformed},
		"an array":                  {frame("[]"), nil, wire.ErrMalformed},
		"no bytes":                  {frame(""), nil, wire.ErrMalformed},
		"a length that is none":     {"Content-Length: many\r\n\r\n{}", nil, wire.ErrMalformed},
		"a negative length":         {"Content-Length: -2\r\n\r\n{}", nil, wire.ErrMalformed},
		"a length over the limit":   {"Content-Length: 16777217\r\n\r\n", nil, wire.ErrTooLarge},
		"a length over all numbers": {"Content-Length: 99999999999999999999999\r\n\r\n", nil, wire.ErrTooLarge},
		"a lie":                     {"Content-Length: 16777216\r\n\r\n{}", nil, io.ErrUnexpectedEOF},
		"cut in the header":         {"Content-Length: 2\r\n", nil, io.ErrUnexpectedEOF},
		"cut in a line":             {"Content-Le", nil, io.ErrUnexpectedEOF},
		"noise without end":         {strings.Repeat("x", 70_000), nil, wire.ErrMalformed},
		"lines without end":         {strings.Repeat("\n", 70_000), nil, wire.ErrMalformed},
		"headers without end":       {"Content-Length: 2\r\n" + strings.Repeat("X: y\r\n", 20_000), nil, wire.ErrMalformed},
	} {
		r := NewReader(strings.NewReader(c.in))
		var got []string
		var err error
		for {
			var b []byte
			if b, err = r.Next(); err != nil {
				break
			}
			got = append(got, string(b))
		}
		if fmt.Sprint(got) != fmt.Sprint(c.want) || !errors.Is(err, c.err) {
			t.Errorf("%s: %q %v", name, got, err)
		}
	}
}

// FuzzReader: whatever a server says, what comes out are messages, each within
// the limit; and what we write reads back as it was.
func FuzzReader(f *testing.F) {
	for _, s := range []string{
		"Content-Length: 2\r\n\r\n{}", "Content-Length: 16777216\r\n\r\n{", "x: y\n\nContent-Length: 7\n\n{\"a\":1}Content-Length: 2\r\n\r\n{}", "Content-Length:\n\n", "\n\n\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		r := NewReader(bytes.NewReader(in))
		total := 0
		for {
			b, err := r.Next()
			if err != nil {
				return
			}
			if !IsMessage(b) || len(b) > MaxMessage {
				t.Fatalf("not a message: %q", b)
			}
			if total += len(b); total > len(in) {
				t.Fatal("more came out than went in")
			}
			var out bytes.Buffer
			if err := Write(&out, b); err != nil {
				t.Fatal(err)
			}
			if back, err := NewReader(&out).Next(); err != nil || !bytes.Equal(back, b) {
				t.Fatalf("%q came back as %q: %v", b, back, err)
			}
		}
	})
}
