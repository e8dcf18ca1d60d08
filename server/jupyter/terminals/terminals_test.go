package terminals

import (
	"strings"
	"testing"
	"unicode/utf8"
)

// FuzzOrder: what a browser sends is an order that can be carried out, or none.
func FuzzOrder(f *testing.F) {
	for _, s := range []string{`["stdin","ls\r"]`, `["set_size",24,80]`, `["set_size",-1,1e308]`, `["set_size",24]`, `["stdin"]`, `["stdin",1]`, `[]`, `{}`, `[[[[`, `null`, `["other"]`, `["set_size","a","b"]`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		o, ok := parseOrder(b)
		if !ok && o != (order{}) {
			t.Fatalf("%q is no order and %+v", b, o)
		}
		if o.resize && (o.rows < 1 || o.rows > 1000 || o.cols < 1 || o.cols > 1000) {
			t.Fatalf("%q is a screen of %d x %d", b, o.rows, o.cols)
		}
		if o.resize && o.text != "" {
			t.Fatalf("%q is two orders", b)
		}
	})
}

// FuzzWhole: wherever a shell's output is cut, its characters arrive whole.
func FuzzWhole(f *testing.F) {
	f.Add([]byte("a€𝔘\xff\xe2\x82"), uint8(3))
	f.Add([]byte(strings.Repeat("\x80", 9)), uint8(1))
	f.Fuzz(func(t *testing.T, b []byte, step uint8) {
		n := int(step)%7 + 1
		var out strings.Builder
		var rest []byte
		for i := 0; i < len(b); i += n {
			piece := append(rest, b[i:min(i+n, len(b))]...)
			k := whole(piece)
			if len(piece)-k >= utf8.UTFMax {
				t.Fatalf("%d bytes are held back of %q", len(piece)-k, piece)
			}
			rest = append([]byte(nil), piece[k:]...)
			out.Write(piece[:k])
		}
		if got := out.String() + string(rest); got != string(b) {
			t.Fatalf("%q became %q", b, got)
		}
		if utf8.Valid(b) && (len(rest) > 0 || !utf8.ValidString(out.String())) {
			t.Fatalf("%q in steps of %d: %q is left", b, n, rest)
		}
	})
}
