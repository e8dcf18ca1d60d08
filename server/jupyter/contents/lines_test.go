package contents

import (
	"encoding/json"
	"strings"
	"testing"
)

// TestLists: a list of strings that is not taken apart reads, joins and writes as
// one that is.
func TestLists(t *testing.T) {
	for _, in := range []string{
		`["a"]`, `[""]`, `["",""]`, "[ \"x\" ,\n\t\"y\"\r]", `["a\\","b\"","\\\"c","\\\\"]`, `["{","]","[\",\"","é\n"]`,
		`["\u0041","b"]`, `["\/"]`, `["a",1]`, `["a",["b"]]`, `["a",{"b":"c"}]`,
	} {
		v, err := parse([]byte(in))
		if err != nil {
			t.Fatalf("%s: %v", in, err)
		}
		var want []any
		if err := json.Unmarshal([]byte(in), &want); err != nil {
			t.Fatal(err)
		}
		apart := v
		apart.takeApart()
		for what, write := range map[string]func(*value) []byte{
			"compact":  func(v *value) []byte { return v.appendCompact(nil) },
			"indented": func(v *value) []byte { return v.appendIndented(nil, 3) },
		} {
			if a, b := string(write(&v)), string(write(&apart)); a != b {
				t.Errorf("%s %s: %s and, taken apart, %s", in, what, a, b)
			}
		}
		if len(apart.kids) != len(want) {
			t.Errorf("%s has %d items", in, len(apart.kids))
		}
		a, b := v, apart
		join(&a)
		join(&b)
		joined := string(a.appendCompact(nil))
		if joined != string(b.appendCompact(nil)) {
			t.Errorf("%s joined: %s and %s", in, joined, b.appendCompact(nil))
		}
		if a.is(kindString) && `"`+a.str()+`"` != joined {
			t.Errorf("%s: settled it is %s, not %s", in, a.str(), joined)
		}
	}
	for _, in := range []string{`["a"`, `["a",]`, `["a""b"]`, `["a`, "[\"a\nb\"]", `["\x"]`, `["a"}`} {
		if _, err := parse([]byte(in)); err == nil {
			t.Errorf("%s is taken for JSON", in)
		}
	}
}

// TestCellsThatAreStrings are told of, and not lost in silence.
func TestCellsThatAreStrings(t *testing.T) {
	if _, err := parseNotebook([]byte(`{"nbformat":4,"nbformat_minor":5,"metadata":{},"cells":["a","b"]}`)); err == nil || !strings.Contains(err.Error(), "cell 1") {
		t.Errorf("%v", err)
	}
}
