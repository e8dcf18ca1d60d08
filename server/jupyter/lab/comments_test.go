package lab

import (
	"bytes"
	"encoding/json"
	"testing"
)

func TestWithoutComments(t *testing.T) {
	for in, want := range map[string]string{
		`{"a": "// no", /* yes */ "b": [1, 2,],}// end`: `{"a":"// no","b":[1,2]}`,
		"{//x\n}":                `{}`,
		`{"a":"\"/*"}`:           `{"a":"\"/*"}`,
		`{"a":1,/*x*/ /**/}`:     `{"a":1}`,
		"{\n// a, b\n\"c\":2\n}": `{"c":2}`,
	} {
		var out bytes.Buffer
		if err := json.Compact(&out, withoutComments([]byte(in))); err != nil || out.String() != want {
			t.Errorf("%s: %s %v, want %s", in, out.String(), err, want)
		}
	}
}

// JSON without comments stays what it is; anything else must only not hang or panic.
func FuzzWithoutComments(f *testing.F) {
	for _, s := range []string{`{"a":1}`, `/*/`, `"\`, `[1,/**/]`, `//`, `/`, `,]`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		out := withoutComments(in)
		if len(out) != len(in) {
			t.Fatalf("%q: the length changed", in)
		}
		if json.Valid(in) && !bytes.Equal(in, out) {
			t.Fatalf("%q became %q", in, out)
		}
	})
}
