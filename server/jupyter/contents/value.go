package contents

import (
	"bytes"
	"fmt"
	"slices"
	"unicode/utf8"

	"cellar/internal/fault"
)

// A value is one parsed JSON value. The standard decoder is not used for notebooks because it loses
// what must survive a load and a save: the digits of a number and a lone surrogate in a string.
// Strings and numbers stay slices of the input, so parsing copies next to nothing.
type value struct {
	kind byte    // one of the kinds below
	key  []byte  // in an object: the member's name, in the form of text
	text []byte  // string: the bytes between the quotes, canonical; number, literal: as written
	kids []value // array: the items; object: the members, names unique
}

const (
	kindObject  = '{'
	kindArray   = '['
	kindString  = '"'
	kindNumber  = '0'
	kindLiteral = 'l' // true, false, null
	kindLines   = 'L' // an array of strings, not taken apart: text is what stands between its brackets
	kindJoined  = 'J' // a string, of the items of such an array
	kindSplit   = 'S' // an array of the lines of text, which is canonical; made only to be written
)

// A kernel writes notebooks too, so a document is hostile until parsed.
const (
	maxDepth  = 500
	maxValues = 8 << 20
	maxCells  = 100_000
	valueSize = 80 * 3 // bytes: one itself, and its place in a parser's stack, which is up to twice as long
)

// valuesIn is how many values a document has at most.
func valuesIn(in []byte) int64 {
	n := 1
	for _, c := range []string{",", "[", "{"} {
		n += bytes.Count(in, []byte(c))
	}
	return int64(min(n, maxValues))
}

type parser struct {
	in    []byte
	at    int
	depth int
	count int
	stack []value // children of what is not at its end yet
}

// parse reads one JSON document. NaN and the infinities, which Python writes and no browser reads,
// become null, as JavaScript writes them.
func parse(in []byte) (value, error) {
	if !utf8.Valid(in) {
		return value{}, fault.New(fault.Invalid, "not_utf8", "The JSON is not UTF-8 encoded.")
	}
	p := &parser{in: in}
	p.space()
	v, err := p.value()
	if err != nil {
		return value{}, err
	}
	p.space()
	if p.at != len(p.in) {
		return value{}, p.fail("something follows the end of the document")
	}
	return v, nil
}

func (p *parser) fail(what string) error {
	return fault.Newf(fault.Invalid, "not_json", "Not valid JSON at byte %d: %s.", p.at, what)
}

func (p *parser) space() {
	for p.at < len(p.in) {
		switch p.in[p.at] {
		case ' ', '\n', '\r', '\t':
			p.at++
		default:
			return
		}
	}
}

// peek answers the next byte that is not space, 0 at the end.
func (p *parser) peek() byte {
	p.space()
	if p.at < len(p.in) {
		return p.in[p.at]
	}
	return 0
}

func (p *parser) value() (v value, err error) {
	if p.count++; p.count > maxValues {
		return v, fault.New(fault.Exhausted, "too_large", "The JSON has too many parts.")
	}
	switch c := p.peek(); {
	case c == '{':
		return p.nested('}', p.member)
	case c == '[':
		return p.nested(']', p.value)
	case c == '"':
		v.kind = kindString
		v.text, err = p.str()
		return v, err
	case c == '-' || c >= '0' && c <= '9':
		return p.number()
	}
	for _, word := range []string{"true", "false", "null", "NaN", "Infinity"} {
		if p.word(word) {
			return literal(word), nil
		}
	}
	return v, p.fail("a value is expected")
}

func literal(word string) value {
	if word == "NaN" || word == "Infinity" {
		word = "null"
	}
	return value{kind: kindLiteral, text: []byte(word)}
}

func (p *parser) word(w string) bool {
	if len(p.in)-p.at < len(w) || string(p.in[p.at:p.at+len(w)]) != w {
		return false
	}
	p.at += len(w)
	return true
}

// nested reads an object or an array; one reads a single member or item.
func (p *parser) nested(end byte, one func() (value, error)) (v value, err error) {
	if p.depth++; p.depth > maxDepth {
		return v, fault.New(fault.Invalid, "too_deep", "The JSON is nested too deeply.")
	}
	defer func() { p.depth-- }()
	v.kind = p.in[p.at]
	p.at++
	if p.peek() == end {
		p.at++
		return v, nil
	}
	if v.kind == kindArray && p.peek() == '"' {
		if lines, ok := p.lines(); ok {
			return lines, nil
		}
	}
	first := len(p.stack)
	for {
		kid, err := one()
		if err != nil {
			return v, err
		}
		if len(p.stack) == cap(p.stack) {
			p.stack = slices.Grow(p.stack, len(p.stack)+16) // doubled, where append would add a quarter
		}
		p.stack = append(p.stack, kid)
		switch p.peek() {
		case ',':
			p.at++
		case end:
			p.at++
			v.kids = append(make([]value, 0, len(p.stack)-first), p.stack[first:]...)
			p.stack = p.stack[:first]
			if v.kind == kindObject {
				v.kids = lastOfEachName(v.kids)
			}
			return v, nil
		default:
			return v, p.fail(fmt.Sprintf("%q or a comma is expected", end))
		}
	}
}

func (p *parser) member() (v value, err error) {
	if p.peek() != '"' {
		return v, p.fail("a name in quotes is expected")
	}
	key, err := p.str()
	if err != nil {
		return v, err
	}
	if p.peek() != ':' {
		return v, p.fail("a colon is expected")
	}
	p.at++
	v, err = p.value()
	v.key = key
	return v, err
}

// lastOfEachName drops all but the last member of a name, as Python and JavaScript do.
func lastOfEachName(kids []value) []value {
	if len(kids) <= 16 && allDiffer(kids) { // nearly always, and cheaper than a map
		return kids
	}
	last := make(map[string]int, len(kids))
	for i, k := range kids {
		last[string(k.key)] = i
	}
	if len(last) == len(kids) {
		return kids
	}
	out := kids[:0]
	for i, k := range kids {
		if last[string(k.key)] == i {
			out = append(out, k)
		}
	}
	return out
}

func allDiffer(kids []value) bool {
	for i := range kids {
		for k := range i {
			if string(kids[i].key) == string(kids[k].key) {
				return false
			}
		}
	}
	return true
}

func (p *parser) number() (v value, err error) {
	start := p.at
	if p.in[p.at] == '-' {
		p.at++
		if p.word("Infinity") {
			return literal("Infinity"), nil
		}
	}
	if p.at < len(p.in) && p.in[p.at] == '0' {
		p.at++
	} else if !p.digits() {
		return v, p.fail("a digit is expected")
	}
	if p.at < len(p.in) && p.in[p.at] == '.' {
		p.at++
		if !p.digits() {
			return v, p.fail("a digit is expected")
		}
	}
	if p.at < len(p.in) && p.in[p.at]|0x20 == 'e' {
		p.at++
		if p.at < len(p.in) && (p.in[p.at] == '+' || p.in[p.at] == '-') {
			p.at++
		}
		if !p.digits() {
			return v, p.fail("a digit is expected")
		}
	}
	return value{kind: kindNumber, text: p.in[start:p.at]}, nil
}

func (p *parser) digits() bool {
	start := p.at
	for p.at < len(p.in) && p.in[p.at] >= '0' && p.in[p.at] <= '9' {
		p.at++
	}
	return p.at > start
}

// get answers the member of an object, nil where there is none. The name must need no escapes.
func (v *value) get(name string) *value {
	if v == nil || v.kind != kindObject {
		return nil
	}
	for i := range v.kids {
		if string(v.kids[i].key) == name {
			return &v.kids[i]
		}
	}
	return nil
}

func (v *value) set(name string, to value) {
	to.key = []byte(name)
	if old := v.get(name); old != nil {
		*old = to
		return
	}
	v.kids = append(v.kids, to)
}

func (v *value) drop(name string) {
	if v == nil || v.kind != kindObject {
		return
	}
	for i := range v.kids {
		if string(v.kids[i].key) == name {
			v.kids = append(v.kids[:i], v.kids[i+1:]...)
			return
		}
	}
}

// is says whether v is there and of the kind.
func (v *value) is(kind byte) bool {
	return v != nil && (v.kind == kind || kind == kindArray && v.kind == kindLines || kind == kindString && v.kind == kindJoined)
}

// str answers a string's text as it stands between the quotes, "" for anything else.
// Enough for names and formats, which need no escapes.
func (v *value) str() string {
	if !v.is(kindString) {
		return ""
	}
	v.settle()
	return string(v.text)
}

// unquoted answers a string as it is meant, "" for anything else or what has no UTF-8.
func (v *value) unquoted() string {
	if !v.is(kindString) {
		return ""
	}
	v.settle()
	text, _ := plain(v.text)
	return string(text)
}
